import pytest
import torch
from helpers import At, Boom, boom, copied, learner, same

from tipsai import EMA
from tipsai.core.errors import SettingError


class ByHand(At):
    """The average computed the slow way."""

    def before_fit(self, st):
        self.average, self.t = [p.detach().clone() for p in st.model.parameters()], 0

    def after_step(self, st):
        self.t += 1
        decay = min(0.9, (1 + self.t) / (10 + self.t))
        with torch.no_grad():
            self.average = [
                decay * a + (1 - decay) * p for a, p in zip(self.average, st.model.parameters(), strict=True)
            ]


def test_averages_follow_the_formula():
    ema, by_hand = EMA(0.9), ByHand(0, None)
    learner().fit(3, callbacks=[ema, by_hand], progress=False)
    assert ema.n_steps == 18
    for a, b in zip(ema.averages, by_hand.average, strict=True):
        torch.testing.assert_close(a, b)


def test_final_ema_leaves_the_weights_that_were_validated():
    learn = learner()
    learn.fit(2, final="ema", progress=False)
    assert learn.validate()["valid_loss"] == learn.history[-1]["valid_loss"]


def test_without_final_ema_the_model_keeps_its_own_weights():
    averaged, plain = learner(callbacks=[EMA(0.9)]), learner()
    for learn in (averaged, plain):
        learn.fit(2, progress=False)
    assert same(copied(averaged.model), copied(plain.model))
    assert averaged.history[-1]["valid_loss"] != plain.history[-1]["valid_loss"]  # the averages are validated


@pytest.mark.parametrize("end", [boom, lambda st: setattr(st, "stop_reason", "interrupted")])
def test_weights_are_exchanged_on_a_normal_end_only(end):
    learn, last = learner(), []
    keep = At(8, lambda st: last.append(copied(st.model)), order=-1)
    try:
        learn.fit(3, final="ema", callbacks=[keep, At(8, end)], progress=False)
    except Boom:
        pass
    assert same(copied(learn.model), last[0])


def test_a_second_fit_goes_on_from_the_averages_it_left():
    ema = EMA(0.9)
    learn = learner(callbacks=[ema])
    learn.fit(2, final="ema", progress=False)
    at_start = [a.clone() for a in ema.averages]
    assert all(torch.equal(a, p) for a, p in zip(at_start, learn.model.parameters(), strict=True))
    learn.fit(1, progress=False)
    assert ema.n_steps == 18


def test_an_error_while_validating_gives_the_model_its_own_weights_back():
    learn, last = learner(callbacks=[EMA(0.9)]), []
    learn.metrics["bad"] = type("Bad", (), {"reset": boom, "update": None, "compute": None})
    learn.metrics["bad"].reset = staticmethod(boom)
    with pytest.raises(Boom):
        learn.fit(1, callbacks=[At(6, lambda st: last.append(copied(st.model)), order=99)], progress=False)
    assert same(copied(learn.model), last[0])


@pytest.mark.parametrize("decay", [0, 1, -0.5, 2])
def test_a_decay_that_averages_nothing_is_refused(decay):
    with pytest.raises(SettingError, match=f"decay is {decay}; expected a number between 0 and 1"):
        EMA(decay)
