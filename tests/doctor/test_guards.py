"""Figures that part, and memory that stays empty: what is said of which figures."""

import random
from statistics import fmean, pstdev

import pytest

from tipsai.doctor.guards import GUARDS, MEMORY, moved
from tipsai.doctor.watch import Record

GIB = 2**30


def said(check, record):
    figures = check.measure(record)
    return [] if figures is None else list(check.judge(figures))


def record(ended=True, **figures):
    n = len(next(iter(figures.values())))
    rows = [{"epoch": i + 1.0} | {f"valid_{name}": values[i] for name, values in figures.items()} for i in range(n)]
    return Record(rows=rows, ended=ended)


def rising(n=18, low=0.5, high=0.9):
    return [low + (high - low) * i / (n - 1) for i in range(n)]


def falling(n=18, low=0.5, high=0.9):
    return rising(n, low, high)[::-1]


def test_how_far_a_series_got_and_its_error():
    assert moved([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == (pytest.approx(3.0), pytest.approx(0.0))
    noise = random.Random(0)
    errors = [moved([noise.gauss(0, 1) for _ in range(12)]) for _ in range(2000)]
    assert pstdev(change for change, _ in errors) == pytest.approx((2 / 3) ** 0.5, rel=0.05)
    assert fmean(error**2 for _, error in errors) == pytest.approx(2 / 3, rel=0.05)


def test_a_guard_that_falls_while_the_metric_rises_is_named_with_a_fix():
    (found,) = said(GUARDS, record(loss=falling(), accuracy=rising(), balanced_accuracy=falling()))
    assert found.severity == "warning"
    assert "valid_accuracy went from 0.7118 to 0.9, which is better, and valid_balanced_accuracy" in found.message
    assert "monitor='valid_balanced_accuracy'" in found.fix


def test_a_loss_that_rises_is_worth_advice():
    (found,) = said(GUARDS, record(loss=rising(), accuracy=rising()))
    assert found.severity == "advice" and "valid_loss" in found.message


@pytest.mark.parametrize(
    "figures",
    [
        {"loss": falling(), "accuracy": rising()},
        {"loss": rising(), "accuracy": falling()},
        {"loss": rising()},
        {"loss": rising(8), "accuracy": rising(8)},
        {"loss": [0.5, 0.6] * 9, "accuracy": rising()},
        {"loss": [*falling(17), 0.51], "accuracy": rising()},
        {"loss": falling(), "accuracy": rising(), "of_ones_own": falling()},
        {"loss": falling(), "accuracy": [float("nan"), *rising(17)], "f1_macro": falling()},
    ],
    ids=[
        "both better",
        "both worse",
        "no metric",
        "few epochs",
        "noise",
        "a last wobble",
        "unknown direction",
        "no number",
    ],
)
def test_other_curves_are_left_in_peace(figures):
    assert said(GUARDS, record(**figures)) == []


def test_a_run_that_was_broken_off_is_not_judged():
    assert said(GUARDS, record(False, loss=rising(), accuracy=rising())) == []


def fit(peak=8, total=80, steps=2000, seconds=100.0, waited=5.0, **more):
    return Record(memory=(peak * GIB, total * GIB), lrs=[0.1] * steps, spent=seconds, waited=waited, ended=True, **more)


def test_memory_that_stays_empty_is_worth_larger_batches():
    (found,) = said(MEMORY, fit())
    assert found.severity == "advice"
    assert "10% of the device's memory (8.0 of 80.0 GiB)" in found.message
    assert "8 times as large, with lr=tipsai.scale_lr(learn.lr, 8, 1)" in found.fix


def test_batches_grow_no_further_than_the_steps_allow():
    (found,) = said(MEMORY, fit(steps=600))
    assert "4 times as large" in found.fix


@pytest.mark.parametrize(
    "run",
    [
        fit(peak=40),
        fit(waited=60.0),
        fit(steps=100),
        fit(seconds=5.0),
        Record(lrs=[0.1] * 2000, spent=99.0, ended=True),
    ],
    ids=["in use", "waits for data", "few steps", "a short run", "no CUDA"],
)
def test_no_word_about_memory(run):
    assert said(MEMORY, run) == []
