"""What is kept of a training run changes none of it, costs little, and is told once."""

import pytest
import torch
from doctor.faults import blobs, learner, mlp, split
from helpers import At, Boom, boom, copied, same
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode

from tipsai.doctor import Check, Verdict


def noisy(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Dropout(0.3), nn.Linear(32, 3))


@pytest.mark.parametrize("options", [{}, {"accumulate": 3}, {"clip": None}], ids=str)
@pytest.mark.parametrize("opt", ["adamw", "sgd", "muon"])
def test_weights_are_the_same_with_and_without_the_doctor(opt, options):
    runs = [learner(split(*blobs(0)), noisy(), 0, opt=opt) for _ in range(2)]
    for learn, on in zip(runs, (True, False), strict=True):
        learn.fit_one_cycle(4, progress=False, doctor=on, **options)
    assert same(*(copied(learn.model) for learn in runs))
    assert list(runs[0].recorder.losses) == list(runs[1].recorder.losses)


def test_a_finding_of_training_has_its_step_and_is_told_once(said):
    learn = learner(split(*blobs(0)), mlp(0), 0, lr=0.2)
    learn.fit_one_cycle(10, progress=False)
    (found,) = [f for f in learn.findings if f.code == "learning-rate"]
    assert found.tip == "TR09" and found.step == learn.n_steps and "33 times the default" in found.message
    assert f"step {found.step}: warning: the learning rate is too high" in said()
    learn.fit_one_cycle(10, progress=False)
    assert [f.code for f in learn.findings].count("learning-rate") == 1 and "learning rate" not in said()
    learn.check(progress=False)
    assert "learning-rate" in [f.code for f in learn.findings], (
        "a look at the data does not forget what training showed"
    )


def test_what_is_looked_at():
    kept = []

    def measure(record):
        kept.append(record)

    own = Check("own", "training", "MO02", measure, lambda figures: ())
    learn = learner(split(*blobs(0)), noisy(), 0, checks=[own])
    learn.fit_one_cycle(4, progress=False)
    record = kept[-1]
    assert record.ended and len(record.losses) == len(record.lrs) == len(record.norms) == learn.n_steps
    assert record.losses == list(learn.recorder.losses)
    assert len(record.steps) == 8 and set(record.updates) == set(record.gradients) == {"0.weight", "4.weight"}
    assert all(len(values) == 8 and min(values) > 0 for values in record.updates.values())
    assert list(record.saturated) == ["tanh 1"] and not record.dead
    assert 0 < record.spent < learn.train_seconds and record.waited < record.spent


def test_a_steps_size_is_measured_as_it_was():
    kept = []
    own = Check("own", "training", "MO02", kept.append, lambda figures: ())
    learn = learner(split(*blobs(0), bs=450), mlp(0), 0, checks=[own], opt="sgd", wd=0.0)
    before = []
    learn.fit(
        1,
        0.1,
        progress=False,
        clip=None,
        callbacks=[At(1, lambda st: before.append(copied(st.model)), "after_backward", order=99)],
    )
    old, new = before[0]["0.weight"], learn.model.state_dict()["0.weight"]
    assert kept[-1].updates["0.weight"] == [pytest.approx(float((new - old).norm() / old.norm()), rel=1e-4)]


def test_a_rate_of_ones_own_is_explained_without_the_default():
    learn = learner(split(*blobs(0)), mlp(0), 0, lr=0.2)
    assert "lr (base)" not in str(learn.settings) and "lr (base)" in str(learner(split(*blobs(0)), mlp(0), 0).settings)


def test_nothing_stays_behind_after_an_error():
    learn = learner(split(*blobs(0)), mlp(0), 0)
    with pytest.raises(Boom):
        learn.fit_one_cycle(1, progress=False, callbacks=[At(1, boom, "before_batch", order=95)])
    assert _get_current_function_mode() is None
    assert not learn.findings


def test_another_mode_of_the_users_own_goes_on():
    class Counting(TorchFunctionMode):
        n = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.n += func is torch.relu or getattr(func, "__name__", "") == "relu"
            return func(*args, **(kwargs or {}))

    learn = learner(split(*blobs(0)), mlp(0), 0)
    with Counting() as counting:
        learn.fit(1, progress=False)
    assert counting.n >= learn.n_steps


def test_a_training_check_of_ones_own_speaks():
    def judge(figures):
        yield Verdict("advice", f"{figures['n']} steps", figures)

    own = Check("steps", "training", "TR13", lambda r: {"n": len(r.lrs)} if r.ended else None, judge)
    learn = learner(split(*blobs(0)), mlp(0), 0, checks=[own])
    learn.fit(2, progress=False)
    assert [f.message for f in learn.findings if f.code == "steps"] == [f"{learn.n_steps} steps"]
    quiet = learner(split(*blobs(0)), mlp(0), 0, checks=[own])
    quiet.fit(2, progress=False, doctor=False)
    assert not quiet.findings


def test_codes_are_unique_and_name_tips():
    from tipsai.doctor import CHECKS
    from tipsai.tips import TIPS

    codes = [check.code for check in CHECKS]
    assert len(set(codes)) == len(codes)
    assert {check.tip for check in CHECKS} <= TIPS.keys()


def test_rectified_places_of_a_text_are_no_units():
    """The last axis may be as long as the longest text of a batch, and differ from look to look."""

    class Places(nn.Module):
        def __init__(self):
            super().__init__()
            self.n, self.head = 0, nn.Linear(12, 3)

        def forward(self, x):
            self.n += 1
            return self.head(x) + torch.relu(x[:, : 3 + self.n % 5]).sum(1, keepdim=True)

    learn = learner(split(*blobs(0)), Places(), 0)
    learn.fit(4, progress=False)
    assert not [f for f in learn.findings if f.step is not None]


def test_a_training_check_that_fails_ends_no_training():
    def broken(record):
        raise KeyError("nothing here")

    learn = learner(split(*blobs(0)), mlp(0), 0, checks=[Check("bad", "training", "TR13", broken, lambda figures: ())])
    learn.fit(2, progress=False)
    assert len(learn.history) == 2 and not learn.findings
