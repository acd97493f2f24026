import math

import pytest
from helpers import At, learner, mlp
from hypothesis import given
from hypothesis import strategies as hyp

from tipsai import schedule
from tipsai.core.errors import SettingError
from tipsai.plot import schedule as plot_schedule

SHARE = hyp.floats(0, 1)
PLANS = {
    "flat": schedule.flat(),
    "one_cycle": schedule.one_cycle(),
    "one_cycle without warm-up": schedule.one_cycle(0.0),
    "one_cycle all warm-up": schedule.one_cycle(1.0),
    "flat_cos": schedule.flat_cos(),
    "trapezoid": schedule.trapezoid(),
}
CONTINUOUS = {
    "constant": schedule.constant(2.0),
    "linear": schedule.linear(3, 1),
    "cosine": schedule.cosine(1, 0),
    "exponential": schedule.exponential(1e-7, 10),
    "warmup": schedule.warmup(0.3, schedule.cosine(1, 0)),
}


@pytest.mark.parametrize("name", PLANS)
@given(p=SHARE)
def test_every_plan_stays_between_zero_and_the_peak(name, p):
    plan = PLANS[name]
    assert 0 <= plan.lr(p) <= 1 + 1e-12
    if plan.momentum:
        assert 0.85 - 1e-12 <= plan.momentum(p) <= 0.95 + 1e-12


@pytest.mark.parametrize("name", [*PLANS, *CONTINUOUS])
@given(p=SHARE)
def test_curves_are_continuous(name, p):
    curve = PLANS[name].lr if name in PLANS else CONTINUOUS[name]
    q = min(1.0, p + 1e-7)
    assert math.isfinite(curve(p)) and abs(curve(q) - curve(p)) < 1e-3


@given(start=hyp.floats(1e-6, 10), end=hyp.floats(1e-6, 10), p=SHARE)
@pytest.mark.parametrize("kind", [schedule.linear, schedule.cosine, schedule.exponential])
def test_curves_run_from_start_to_end_without_overshooting(kind, start, end, p):
    curve = kind(start, end)
    assert (curve(0.0), curve(1.0)) == pytest.approx((start, end))
    assert min(start, end) * (1 - 1e-9) <= curve(p) <= max(start, end) * (1 + 1e-9)


def test_one_cycle_has_the_ends_and_the_shape_of_its_source():
    plan = schedule.one_cycle(0.25, 25, 1e5, (0.95, 0.85, 0.95))
    assert plan.lr(0) == pytest.approx(1 / 25)
    assert plan.lr(0.25) == pytest.approx(1)
    assert plan.lr(1) == pytest.approx(1e-5)
    assert plan.lr(0.125) == pytest.approx((1 + 1 / 25) / 2)  # half way up, half the height
    assert plan.lr(0.625) == pytest.approx((1 + 1e-5) / 2)
    assert [plan.momentum(p) for p in (0, 0.25, 1)] == pytest.approx([0.95, 0.85, 0.95])


@given(a=SHARE, b=SHARE)
def test_momentum_mirrors_the_rate(a, b):
    plan = schedule.one_cycle()
    a, b = sorted((a, b))
    if b <= 0.25 or a >= 0.25:  # on one side of the peak
        rise, fall = plan.lr(b) - plan.lr(a), plan.momentum(b) - plan.momentum(a)
        assert rise * fall <= 1e-15


def test_one_cycle_can_leave_momentum_alone():
    assert schedule.one_cycle(momentums=None).momentum is None


@pytest.mark.parametrize("moms", ["automatic", "low", 0.8, (0.9, 0.8), (0.9, 0.8, 1.0)])
def test_momentum_that_cannot_be_is_refused(moms):
    with pytest.raises(SettingError, match="momentums is .*; expected three numbers from 0 to below 1"):
        schedule.one_cycle(momentums=moms)


@pytest.mark.parametrize(
    ("cycle", "words"),
    [
        (schedule.Cycle(), "warm-up 25%, momentum 0.95-0.85-0.95"),
        (schedule.Cycle(0.1, (0.8, 0.8, 0.8)), "warm-up 10%, momentum 0.8"),
        (schedule.Cycle(moms=None), "warm-up 25%, momentum left alone"),
    ],
)
def test_a_cycle_is_put_in_words(cycle, words):
    assert schedule.in_words(cycle) == f"fit_one_cycle: cosine, {words}"
    assert str(schedule.ByLength(cycle, cycle, 7)) == f"{words}; of fewer than 7 epochs: {words}"


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({}, [0.7, 0.6, 0.7]),
        ({"moms": (0.5, 0.4, 0.5)}, [0.5, 0.4, 0.5]),
        ({"moms": None}, [0.9, 0.9, 0.9]),
    ],
)
def test_a_learner_has_a_cycle_of_its_own_and_an_argument_goes_before_it(options, seen):
    learn = learner()
    learn.cycle = schedule.ByLength(schedule.Cycle(0.5, (0.7, 0.6, 0.7)), schedule.Cycle(), 2)
    learn.fit_one_cycle(3, progress=False, **options)
    moms, rates = learn.recorder.moms, learn.recorder.lrs
    assert [moms[0], min(moms), moms[-1]] == pytest.approx(seen, abs=0.01)
    assert rates.index(max(rates)) / (len(rates) - 1) == pytest.approx(0.5, abs=0.05)


@given(shares=hyp.lists(hyp.integers(0, 5), min_size=1, max_size=5).filter(sum), p=SHARE)
def test_joined_curves_see_their_own_progress(shares, p):
    shares = [share / sum(shares) for share in shares]
    parts = [(share, lambda q, i=i: i + q) for i, share in enumerate(shares)]
    value = schedule.join(*parts)(p)
    i = min(int(value), len(shares) - 1)
    assert math.isclose(sum(shares[:i]) + (value - i) * shares[i], p, abs_tol=1e-9) or shares[i] == 0


@pytest.mark.parametrize("shares", [(0.5, 0.6), (0.2,), (1.5, -0.5), ()])
def test_shares_that_do_not_add_up_to_one_are_refused(shares):
    with pytest.raises(SettingError, match=r"shares are \[.*\]; expected shares of at least 0 that add up to 1"):
        schedule.join(*((share, schedule.constant()) for share in shares))


@pytest.mark.parametrize(
    ("make", "name"),
    [(schedule.one_cycle, "warmup_share"), (schedule.flat_cos, "flat_share")],
)
@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_out_of_range_is_refused(make, name, share):
    with pytest.raises(SettingError, match=f"{name} is {share}; expected a share between 0 and 1"):
        make(share)


def test_a_trapezoid_rises_stays_and_falls():
    plan = schedule.trapezoid(0.1, 0.4)
    assert [plan.lr(p) for p in (0, 0.05, 0.1, 0.3, 0.6, 0.8, 1)] == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 0], abs=1e-9)
    with pytest.raises(SettingError, match="add up to 1"):
        schedule.trapezoid(0.7, 0.7)


@given(n=hyp.integers(1, 6), p=hyp.floats(0, 0.999))
def test_restarts_repeat_the_curve(n, p):
    curve = schedule.restarts(schedule.linear(1, 0), n)
    assert curve(p) == pytest.approx(1 - p * n % 1)
    assert curve(1.0) == 0


def test_steps_multiply_after_each_point():
    curve = schedule.steps(0.1, (0.5, 0.75))
    assert [curve(p) for p in (0, 0.49, 0.5, 0.74, 0.75, 1)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@given(n=hyp.integers(2, 1000))
def test_progress_runs_from_zero_at_the_first_step_to_one_at_the_last(n):
    course = [schedule.progress(i, n) for i in range(n)]
    assert (course[0], course[-1]) == (0, 1) and course == sorted(course)


def test_a_single_step_stands_in_the_middle():
    assert schedule.progress(0, 1) == 0.5


class Watch(At):
    def __init__(self):
        super().__init__(0, None)
        self.seen = []

    def after_step(self, st):
        self.seen.append([(g["layer_group"], g["lr"], g.get("momentum") or g["betas"]) for g in st.opt.param_groups])


@pytest.mark.parametrize("opt", ["adamw", "adam", "muon", "sgd", "radam"])
def test_training_follows_the_plan_for_rate_and_momentum(opt):
    import torch

    learn = learner(opt=torch.optim.RAdam if opt == "radam" else opt)
    watch, plan = Watch(), schedule.one_cycle()
    learn.fit_one_cycle(3, 0.05, callbacks=[watch], progress=False)
    assert len(watch.seen) == 18
    for i, groups in enumerate(watch.seen):
        p = i / 17
        for _, lr, momentum in groups:
            assert lr == pytest.approx(0.05 * plan.lr(p))
            assert (momentum if opt == "sgd" else momentum[0]) == pytest.approx(plan.momentum(p))


def test_layer_groups_have_their_own_peaks():
    learn = learner(model=mlp(), splitter=lambda m: [list(m[0].parameters()), list(m[1:].parameters())])
    watch = Watch()
    learn.fit_flat_cos(1, [0.001, 0.1], callbacks=[watch], progress=False)
    for groups in watch.seen:
        by_group = {number: lr for number, lr, _ in groups}
        assert by_group[1] == pytest.approx(100 * by_group[0])
    assert watch.seen[0][-1][1] == 0.1


def test_after_a_cycle_momentum_is_what_the_optimizer_was_made_with():
    learn = learner()
    learn.fit_one_cycle(1, progress=False)
    watch = Watch()
    learn.fit(1, callbacks=[watch], progress=False)
    assert {momentum for groups in watch.seen for *_, momentum in groups} == {(0.9, 0.99)}


def test_a_plan_of_ones_own_is_followed():
    watch = Watch()
    plan = schedule.Schedule("mine", schedule.steps(0.1, (0.5,)))
    learner().fit_schedule(1, plan, 0.2, callbacks=[watch], progress=False)
    assert [groups[0][1] for groups in watch.seen] == pytest.approx([0.2, 0.2, 0.2, 0.02, 0.02, 0.02])


def test_a_plan_can_be_looked_at_before_training():
    axes = plot_schedule(schedule.one_cycle(), 0.1).axes
    assert len(axes) == 2 and max(axes[0].lines[0].get_ydata()) == pytest.approx(0.1, rel=1e-3)
    assert len(plot_schedule(schedule.flat()).axes) == 1
