"""Fits that end in time: whatever the pace does, the schedule comes to its end, and a steady fit is left alone."""

import logging

import pytest
from helpers import At, Boom, boom, copied, learner, same
from hypothesis import given, settings
from hypothesis import strategies as st

from tipsai import Callback, TimeLimit
from tipsai.callbacks import time_limit
from tipsai.core.errors import SettingError

EPOCHS, PLANNED = 50, 300  # six steps an epoch
LIMIT = 300.0  # a second a step is in time


class Clock(Callback):
    """A clock that steps advance, by what `pace` says of each one's number. It keeps how long the fit was when it began."""

    order = 0  # of MixUp and of callbacks of one's own

    def __init__(self, pace):
        self.now, self.pace = 0.0, pace

    def before_fit(self, st):
        self.n_epochs = st.n_epochs

    def perf_counter(self):
        return self.now

    def after_step(self, st):
        self.now += self.pace(st.step)


def timed(pace, longest=1.0, **options):
    """A fit of PLANNED steps at a pace: the learner, the seconds it took, and its last rate as a share of the peak."""
    clock, learn = Clock(pace), learner()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_limit, "time", clock)
        learn.fit_one_cycle(EPOCHS, callbacks=[clock, TimeLimit(LIMIT, longest)], **{"progress": False} | options)
    return learn, clock.now, learn.recorder.lrs[-1] / learn.lr


def test_a_fit_that_keeps_its_pace_is_left_alone_bit_for_bit():
    plain = learner()
    plain.fit_one_cycle(EPOCHS, progress=False)
    for pace in (0.2, 1.0, 1.015):
        learn, _, _ = timed(lambda step, pace=pace: pace)
        assert learn.n_steps == PLANNED and same(copied(learn.model), copied(plain.model))


@given(st.floats(1.03, 20.0))
@settings(max_examples=25, deadline=None)
def test_slower_steps_are_fewer_and_the_schedule_ends_with_them(pace):
    learn, seconds, rate = timed(lambda step: pace)
    assert 0.9 * LIMIT - 2 * pace < seconds < 1.03 * LIMIT + 2 * pace and rate == pytest.approx(1e-5)


@given(st.floats(0.3, 0.97), st.floats(1.0, 4.0))
@settings(max_examples=25, deadline=None)
def test_faster_steps_are_more_where_the_fit_may_be_longer(pace, longest):
    learn, seconds, rate = timed(lambda step: pace, longest)
    fitting = min(LIMIT / pace, longest * PLANNED)
    assert learn.n_steps == pytest.approx(fitting, rel=time_limit.TOLERANCE, abs=2) and rate == pytest.approx(1e-5)
    assert seconds < 1.01 * LIMIT


def test_a_machine_that_is_fast_and_then_slows_is_in_time():
    learn, seconds, rate = timed(lambda step: 0.5 if step < 200 else 1.5, longest=2.0)
    assert 0.97 * LIMIT < seconds < 1.03 * LIMIT and rate == pytest.approx(1e-5)
    assert learn.n_steps == pytest.approx(333, abs=6)


def test_a_fit_that_may_be_longer_is_left_alone_where_it_keeps_its_pace():
    plain = learner()
    plain.fit_one_cycle(EPOCHS, progress=False)
    learn, _, _ = timed(lambda step: 0.985, longest=2.0)
    assert learn.n_steps == PLANNED and same(copied(learn.model), copied(plain.model))


def test_a_machine_that_slows_meanwhile_is_in_time(capsys, caplog):
    with caplog.at_level(logging.INFO, "tipsai"):
        learn, seconds, rate = timed(lambda step: 1.0 if step < 100 else 1.6, progress=True)
    assert 0.97 * LIMIT < seconds < 1.03 * LIMIT and rate == pytest.approx(1e-5)
    assert learn.n_steps == pytest.approx(225, abs=6)
    n = len(learn.history)
    assert f"epoch {n}/{n} " in capsys.readouterr().err and n < EPOCHS
    assert sum("of 300 fit into the time" in r.message for r in caplog.records) == 1


def test_a_machine_that_recovers_takes_the_steps_that_were_planned():
    learn, seconds, rate = timed(lambda step: 40.0 if step == 50 else 0.8)
    assert learn.n_steps == PLANNED and seconds < LIMIT and rate == pytest.approx(1e-5)


def test_where_the_time_is_long_over_the_rates_still_come_down():
    learn, _, rate = timed(lambda step: 1e5 if step == 120 else 0.9)
    shares = [lr / learn.lr for lr in learn.recorder.lrs]
    assert 122 < learn.n_steps < PLANNED and rate == pytest.approx(1e-5)
    assert max(shares[-3:]) < 0.35 and shares[119] > 0.6  # it did not end at a stroke


@pytest.mark.parametrize("pause", [20.0, 100.0, 1e5], ids=["just late", "late", "long late"])
def test_a_longer_fit_that_is_late_all_at_once_does_not_end_at_a_stroke(pause):
    """At that step more than was planned is done, and so what fits may be less than what is done."""
    learn, _, rate = timed(lambda step: pause if step == 420 else 0.5, longest=2.0)
    shares = [lr / learn.lr for lr in learn.recorder.lrs]
    assert learn.n_steps > 425 and rate == pytest.approx(1e-5)
    assert max(shares[-3:]) < 0.1 < shares[419]


def test_a_longer_fit_that_is_resumed_goes_on_beyond_its_plan(tmp_path):
    clock = Clock(lambda step: 0.5)
    how = {"checkpoint": tmp_path / "run.ckpt", "progress": False}

    def fit(learn, ending, **more):
        learn.fit_one_cycle(EPOCHS, callbacks=[clock, TimeLimit(LIMIT, 2.0), ending], **how, **more)
        return learn

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_limit, "time", clock)
        with pytest.raises(Boom):
            fit(learner(), At(400, boom), checkpoint_seconds=0)
        clock.pace = lambda step: 0.0  # no step is looked at any more
        learn = fit(learner(), At(400, lambda st: None), resume=True)
    assert learn.n_steps == pytest.approx(600, abs=6)


def test_a_resumed_fit_goes_on_with_the_steps_that_were_left(tmp_path):
    clock = Clock(lambda step: 2.0)
    how = {"checkpoint": tmp_path / "run.ckpt", "progress": False}

    def fit(learn, ending, **more):
        learn.fit_one_cycle(EPOCHS, callbacks=[clock, TimeLimit(LIMIT), ending], **how, **more)
        return learn

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_limit, "time", clock)
        with pytest.raises(Boom):
            fit(learner(), At(100, boom), checkpoint_seconds=0)
        clock.pace = lambda step: 0.0  # nothing is late any more, and no step is looked at
        learn = fit(learner(), At(100, lambda st: None), resume=True)
    assert learn.n_steps == pytest.approx(150, abs=6)
    assert clock.n_epochs == EPOCHS  # mixup asks at the beginning whether a fit is long, and must not change its mind


@pytest.mark.parametrize("seconds", [0, -1.0, float("inf"), "long"])
def test_a_limit_that_is_none_is_refused(seconds):
    with pytest.raises(SettingError, match="seconds"):
        TimeLimit(seconds)


@pytest.mark.parametrize("longest", [0, 0.9, float("inf"), "long"])
def test_a_fit_that_must_be_shorter_than_planned_is_refused(longest):
    with pytest.raises(SettingError, match="longest"):
        TimeLimit(1.0, longest)
