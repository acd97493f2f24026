import math

import pytest
import torch
from helpers import At, Boom, boom, copied, dataloaders, learner, mlp, same
from torch import Tensor, nn

from tipsai import EMA, DataLoaders
from tipsai.core import loop
from tipsai.core.errors import DataError, NonFiniteLossError, TipsaiError


def poison(st):
    st.batch = st.batch._replace(x=(st.batch.x[0] * math.nan,))


@pytest.fixture
def fetch_always(monkeypatch):
    monkeypatch.setattr(loop, "FETCH_SECONDS", -1.0)


@pytest.fixture
def fetch_rarely(monkeypatch):
    monkeypatch.setattr(loop, "FETCH_SECONDS", 1e9)


@pytest.mark.parametrize("seconds", [-1.0, 1e9])
def test_a_loss_that_is_not_finite_is_an_error_with_the_figures(monkeypatch, seconds):
    monkeypatch.setattr(loop, "FETCH_SECONDS", seconds)
    learn, rates = learner(), []
    watch = [At(9, lambda st: rates.append(st.opt.param_groups[-1]["lr"])), At(9, poison, "before_batch")]
    with pytest.raises(NonFiniteLossError) as caught:
        learn.fit_one_cycle(3, callbacks=watch, progress=False)
    text = str(caught.value)
    assert "The loss is nan at step 9 of 18" in text
    assert f"at a learning rate of {rates[0]:.3g};" in text
    last = float(text.split("last finite loss was ")[1].split(". The")[0])
    losses = learn.recorder.losses  # fetched before the failure, all of them finite
    assert 0 < last < 3 and (seconds > 0 or last == pytest.approx(losses[7], rel=1e-5))
    assert "lr_find()" in text and isinstance(caught.value, TipsaiError)


def test_before_any_weight_moved_the_rate_is_not_blamed():
    with pytest.raises(
        NonFiniteLossError, match=r"step 1 of 18.*the rate is not the cause: learn\.check\(\) names the layer"
    ):
        learner().fit_one_cycle(3, callbacks=[At(1, poison, "before_batch")], progress=False)


def test_after_a_loss_that_is_not_finite_the_model_is_as_at_the_start_of_the_epoch(fetch_rarely):
    learn, starts = learner(), []
    watch = [At(6, lambda st: starts.append(copied(st.model)), "after_epoch"), At(9, poison, "before_batch")]
    with pytest.raises(NonFiniteLossError):
        learn.fit(3, callbacks=watch, progress=False)
    assert same(copied(learn.model), starts[0]) and len(learn.history) == 1


def test_after_a_loss_that_is_not_finite_the_model_is_as_in_a_later_checkpoint(fetch_always, tmp_path):
    learn, at_eight = learner(), []
    watch = [At(8, lambda st: at_eight.append(copied(st.model))), At(9, poison, "before_batch")]
    with pytest.raises(NonFiniteLossError):
        learn.fit(3, callbacks=watch, checkpoint=tmp_path / "c.tips", checkpoint_seconds=0, progress=False)
    assert same(copied(learn.model), at_eight[0])


def test_after_a_loss_that_is_not_finite_the_learner_trains_again(fetch_rarely):
    learn = learner(callbacks=[EMA(0.9)])
    with pytest.raises(NonFiniteLossError):
        learn.fit(1, callbacks=[At(2, poison, "before_batch")], progress=False)
    learn.fit_one_cycle(3, progress=False, final="ema")
    assert all(t.isfinite().all() for t in learn.model.state_dict().values())
    assert learn.history[-1]["valid_loss"] < 1.1


def test_a_gradient_that_is_not_finite_is_an_error_too():
    """The loss is still finite at its step, but the weights are lost; a checkpoint would keep them."""

    def spoil(st):
        next(st.model.parameters()).grad.fill_(math.inf)

    learn = learner()
    with pytest.raises(NonFiniteLossError, match=r"gradient's norm is inf at step 6 of 6.*last finite loss was 1\."):
        learn.fit(1, callbacks=[At(6, spoil, "after_backward")], progress=False)


def test_a_bad_gradient_that_a_callback_leaves_out_does_no_harm():
    def spoil(st):
        next(st.model.parameters()).grad.fill_(math.nan)
        st.skip_step = True

    learn = learner()
    learn.fit(1, callbacks=[At(4, spoil, "after_backward")], progress=False)
    assert all(t.isfinite().all() for t in learn.model.state_dict().values())


def test_stop_ends_training_after_the_step():
    learn, before = learner(), []
    learn.fit(3, callbacks=[At(8, lambda st: st.stop("enough"))], progress=False)
    assert (learn.n_steps, learn.stop_reason, len(learn.history)) == (8, "enough", 1)
    learn.fit(1, callbacks=[At(6, lambda st: before.append(st.total_epoch))], progress=False)
    assert (len(learn.history), before) == (2, [1])


def test_the_first_reason_to_stop_stands():
    learn = learner()
    learn.fit(1, callbacks=[At(2, lambda st: (st.stop("first"), st.stop("second")))], progress=False)
    assert learn.stop_reason == "first"


@pytest.mark.parametrize(("n_epochs", "n_steps", "rows"), [(0.5, 3, 1), (1.5, 9, 2), (2, 12, 2), (0.01, 1, 1)])
def test_a_fraction_of_an_epoch_ends_within_it_and_is_judged(n_epochs, n_steps, rows):
    learn = learner()
    learn.fit_one_cycle(n_epochs, progress=False)
    assert (learn.n_steps, len(learn.history)) == (n_steps, rows)
    assert [row["epoch"] for row in learn.history] == list(range(1, rows + 1))
    assert learn.history[-1]["valid_loss"] == pytest.approx(learn.validate()["valid_loss"])


def test_the_objective_of_an_epoch_is_the_mean_over_its_rows():
    learn = learner(dataloaders(70), lr=1e-30)  # six rows in the last batch
    learn.fit(1, progress=False)
    batches = list(learn.dls.train.batches(seed=learn.seed))
    with torch.no_grad():
        total = sum(nn.functional.cross_entropy(learn.model(*b.x), b.y[0], reduction="sum") for b in batches)
    assert learn.history[0]["train_objective"] == pytest.approx(float(total) / 70, rel=1e-5)


SYNCS = ("item", "cpu", "tolist", "numpy", "__float__", "__bool__", "__int__", "__index__", "__array__", "nonzero")


def _syncs(monkeypatch, n_steps, **options):
    """How often the host waits for tensors in an epoch of n_steps."""
    learn = learner(dataloaders(16 * n_steps), **options)
    count = 0

    def counting(method):
        def counted(*args, **kwargs):
            nonlocal count
            count += 1
            return method(*args, **kwargs)

        return counted

    with monkeypatch.context() as patch:
        for name in SYNCS:
            patch.setattr(Tensor, name, counting(getattr(Tensor, name)))
        learn.fit_one_cycle(1, progress=False, accumulate=2)
    return count


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 3.0])])
def test_steps_never_wait_for_the_device(monkeypatch, fetch_rarely, weights):
    options = {"loss_fn": nn.CrossEntropyLoss(weight=weights), "callbacks": [EMA()]}
    short, long = (_syncs(monkeypatch, n, **options) for n in (4, 40))
    assert short == long > 0


def test_a_loader_that_gives_fewer_batches_than_it_says_is_an_error():
    class Lying(list):
        def __len__(self):
            return 9

    x, y = torch.randn(8, 5), torch.zeros(8, dtype=torch.long)
    learn = learner(DataLoaders.from_loaders(Lying([(x, y)] * 3)))
    with pytest.raises(DataError, match="ended after 3 of 9 steps"):
        learn.fit(1, progress=False)


def test_an_error_in_training_stands_above_one_in_cleaning_up():
    class Messy(At):
        def after_fit(self, st):
            raise ValueError("untidy")

    with pytest.raises(Boom) as caught:
        learner().fit(1, callbacks=[At(2, boom), Messy(0, None)], progress=False)
    assert "untidy" in caught.value.__notes__[0]


def test_every_after_fit_runs_and_the_first_failure_is_raised():
    ran = []

    class Last(At):
        def __init__(self, name, fails, order):
            super().__init__(0, None, order=order)
            self.name, self.fails = name, fails

        def after_fit(self, st):
            ran.append(self.name)
            if self.fails:
                raise ValueError(self.name)

    with pytest.raises(ValueError, match="^a$"):
        learner().fit(1, callbacks=[Last("c", False, 3), Last("a", True, 1), Last("b", True, 2)], progress=False)
    assert ran == ["a", "b", "c"]


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_norm_keeps_its_statistics(frozen):
    learn = learner(model=mlp(norm=True), splitter=lambda m: [list(m[:2].parameters()), list(m[2:].parameters())])
    before = copied(learn.model[1])
    if frozen:
        learn.freeze()
    learn.fit(1, progress=False)
    assert same(copied(learn.model[1]), before) == frozen
    assert learn.model[1].training


def test_norms_without_parameters_go_on_learning_statistics():
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3))
    learn = learner(model=model)
    before = copied(model[1])
    learn.fit(1, progress=False)
    assert not same(copied(model[1]), before)


def test_validation_runs_in_evaluation_mode_and_training_in_training_mode():
    seen = []
    learn = learner(model=mlp(dropout=0.5))
    learn.model[2].register_forward_hook(lambda m, i, o: seen.append(m.training))
    learn.fit(2, progress=False)
    assert seen == [*[True] * 6, False] * 2


def test_the_batches_end_with_the_epoch_even_after_an_error():
    """Workers live as long as the generator of batches; left to the garbage collector they take seconds to go."""
    ended = []

    class Source:
        exact = True

        def __len__(self):
            return 3

        def batches(self, *, seed=0, epoch=0, start=0):
            try:
                yield from dataloaders().train.batches()
            finally:
                ended.append(epoch)

    learn = learner()
    learn.dls.feed = lambda split, device: Source()
    learn.dls.valid = None
    with pytest.raises(Boom) as caught:  # holds the traceback, and with it every name of the epoch
        learn.fit(1, callbacks=[At(2, boom)], progress=False)
    assert ended == [0] and caught
