"""How long training may be, by a clock that only a validation moves."""

import pytest
from helpers import learner

from tipsai.experiment import budget
from tipsai.experiment.budget import epochs_within

STEP, VALIDATION = 0.01, 2.0  # seconds


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    monkeypatch.setattr(budget, "time", clock := Clock())
    monkeypatch.setattr(budget, "seconds_a_step", lambda learn, measuring: STEP)
    return clock


def made(monkeypatch, clock):
    learn = learner()
    learn.dls.test = learn.dls.valid
    monkeypatch.setattr(learn, "validate", lambda: setattr(clock, "now", clock.now + VALIDATION))
    return learn


def test_minutes_of_training_lack_only_the_measurement(monkeypatch, clock):
    learn = made(monkeypatch, clock)
    found = epochs_within(learn, 1.0)
    assert found.seconds == pytest.approx(60 - VALIDATION)
    assert found.n_epochs == pytest.approx(found.seconds / (STEP * len(learn.dls.train) + VALIDATION))


def test_minutes_of_a_run_lack_what_went_before_and_what_follows(monkeypatch, clock):
    learn = made(monkeypatch, clock)
    sample = len(learn.dls.train) * VALIDATION / len(learn.dls.valid)  # all of these few training items
    judged = sample + (budget.JUDGED_AFTERWARDS + 1) * VALIDATION  # validation, and as many test items
    found = epochs_within(learn, 1.0, since=90.0)
    assert found.seconds == pytest.approx(60 - 10 - VALIDATION - judged)


def test_a_run_whose_time_went_by_with_reading_trains_for_half_of_it(monkeypatch, clock):
    assert epochs_within(made(monkeypatch, clock), 1.0, since=-500.0).seconds == 30


def test_without_validation_items_judging_is_reckoned_by_steps(monkeypatch, clock):
    learn = learner()
    learn.dls.valid = None
    found = epochs_within(learn, 1.0, since=100.0)
    assert found.seconds == pytest.approx(60 - len(learn.dls.train) * STEP / 3)
