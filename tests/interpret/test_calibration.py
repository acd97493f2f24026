"""Calibration: bins of equal mass, whose accuracy is what their confidence says of a calibrated model."""

import io
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as hyp
from torch import nn

from tipsai import DataLoaders, Learner
from tipsai.core.errors import DataError, SettingError
from tipsai.interpret.bins import equal_mass
from tipsai.interpret.calibration import bins, cells_of_items, error_by_chance
from tipsai.intervals import wilson

seeds = hyp.integers(0, 10_000)


def _interpreted(pred, y, bs=64, **options):
    dls = DataLoaders.from_tensors((pred, y), (pred, y), bs=bs)
    dls.valid.bs = bs
    return Learner(dls, nn.Identity(), lr=0.1, device="cpu", seed=0, **options).interpret()


def _calibrated(n, c, seed, shape=None):
    """Logits, and targets drawn from the probabilities that they stand for."""
    g = torch.Generator().manual_seed(seed)
    pred = 2 * torch.randn(n, c, generator=g)
    if shape == "labels":
        return pred, torch.rand(n, c, generator=g) < pred.sigmoid()
    return pred, torch.multinomial(pred.softmax(1), 1, generator=g)[:, 0]


@given(counts=hyp.lists(hyp.integers(1, 9), min_size=1, max_size=40), n_bins=hyp.integers(1, 12))
def test_bins_are_in_order_none_is_empty_and_distinct_items_part_evenly(counts, n_bins):
    place = equal_mass(np.array(counts), n_bins)
    assert place[0] == 0 and set(np.diff(place)) <= {0, 1} and place[-1] < n_bins
    alone = np.bincount(equal_mass(np.ones(len(counts), int), n_bins))
    assert alone.max() - alone.min() <= 1 and len(alone) == min(n_bins, len(counts))


@given(n=hyp.integers(1, 200), seed=seeds, n_bins=hyp.integers(1, 15), steps=hyp.sampled_from([7, 1000]))
def test_bins_hold_all_answers_whatever_their_order(n, seed, n_bins, steps):
    rng = np.random.default_rng(seed)
    confidence, right = (rng.integers(0, steps, n) / steps).astype(np.float32), rng.random(n) < 0.6
    frame = bins(cells_of_items(confidence, right), n_bins)
    assert frame["n"].sum() == n and len(frame) <= n_bins and frame["confidence"].is_monotonic_increasing
    assert (frame["confidence"] * frame["n"]).sum() == pytest.approx(confidence.astype(float).sum())
    assert (frame["accuracy"] * frame["n"]).sum() == pytest.approx(right.sum())
    np.testing.assert_allclose(frame[["low", "high"]].T, wilson(frame["accuracy"] * frame["n"], frame["n"]))
    order = rng.permutation(n)
    assert frame.equals(bins(cells_of_items(confidence[order], right[order]), n_bins))


def test_a_calibrated_model_lies_within_its_intervals_and_a_sure_one_does_not():
    pred, y = _calibrated(4000, 4, 0)
    interp = _interpreted(pred, y)
    frame = interp.calibration()
    assert list(frame) == ["confidence", "accuracy", "n", "low", "high"] and frame["n"].tolist() == [400] * 10
    assert ((frame["low"] <= frame["confidence"]) & (frame["confidence"] <= frame["high"])).sum() >= 8
    assert interp.expected_calibration_error() == pytest.approx(error_by_chance(frame), rel=0.6)
    sure = _interpreted(3 * pred, y)
    assert (sure.calibration()["confidence"] > sure.calibration()["high"]).sum() >= 8
    assert sure.expected_calibration_error() > 0.1 > 5 * interp.expected_calibration_error()


@given(n=hyp.integers(1, 60), c=hyp.integers(2, 5), seed=seeds, n_bins=hyp.integers(1, 6))
@settings(deadline=None, max_examples=30)
def test_the_error_is_that_of_a_loop(n, c, seed, n_bins):
    pred, y = _calibrated(n, c, seed)
    p, said = pred.softmax(1).max(1)
    order = p.argsort()
    place = torch.arange(n) * n_bins // n if n_bins <= n else torch.arange(n)
    expected = 0.0
    for i in place.unique():
        among = order[place == i]
        expected += abs(float((said == y)[among].double().mean() - p[among].double().mean())) * len(among) / n
    # Bins that differ by one item may be cut one item further: with as many in each they are the same.
    if n % n_bins == 0:
        assert _interpreted(pred, y).expected_calibration_error(n_bins) == pytest.approx(expected, abs=1e-6)


def test_a_target_that_is_ignored_is_no_answer():
    pred, y = _calibrated(40, 3, 0)
    y[:10] = -100
    assert _interpreted(pred, y).calibration(4)["n"].sum() == 30
    with pytest.raises(DataError, match="none of the items has a target"):
        _interpreted(pred, torch.full_like(y, -100)).calibration()


# --- labels -------------------------------------------------------------------------------------------------------------


def test_every_label_of_an_item_is_an_answer():
    pred, y = _calibrated(500, 8, 0, "labels")
    frame = _interpreted(pred, y, bs=33).calibration(5)
    p = pred.double().sigmoid()
    confidence, right = torch.maximum(p, 1 - p).flatten(), ((p > 0.5) == y).flatten()
    assert frame["n"].sum() == 4000 and frame["n"].between(780, 820).all()
    assert (frame["confidence"] * frame["n"]).sum() == pytest.approx(float(confidence.sum()), rel=1e-6)
    order, start = confidence.argsort(), 0
    for row in frame.itertuples():
        among = order[start : start + row.n]
        start += row.n
        assert row.confidence == pytest.approx(float(confidence[among].mean()), abs=1e-3)
        assert row.accuracy == pytest.approx(float(right[among].double().mean()), abs=1e-2)
    assert ((frame["low"] <= frame["confidence"]) & (frame["confidence"] <= frame["high"])).sum() >= 4


def test_labels_of_any_logit_are_counted():
    pred = torch.tensor([[0.0, 1e4], [-1e4, float("inf")]])
    frame = _interpreted(pred, torch.tensor([[True, True], [True, True]])).calibration()
    assert frame["n"].tolist() == [1, 3]
    np.testing.assert_allclose(frame[["confidence", "accuracy"]], [[0.5, 0], [1, 2 / 3]])


def test_what_is_kept_grows_with_neither_classes_nor_labels():
    n = 20_000
    x, g = torch.randn(n, 4), torch.Generator().manual_seed(0)
    for n_out, y in ((10_000, torch.arange(n) % 10_000), (200, torch.rand(n, 200, generator=g) < 0.1)):
        dls = DataLoaders.from_tensors((x[:64], y[:64]), (x, y), bs=64)
        interp = Learner(dls, nn.Linear(4, n_out), lr=0.1, device="cpu", seed=0).interpret()
        assert sum(t.nbytes for t in [*interp.items.values(), *interp.sums.values()]) <= 24 * n
        tracemalloc.start()
        interp.calibration(), interp.by_slice([i % 7 for i in range(n)])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6  # of which 12 MB are the draws of a bootstrap; a table of the classes would have 800 MB


# --- what is refused, and the figure ------------------------------------------------------------------------------------


def test_what_has_no_confidence_is_refused():
    x = torch.randn(20, 1)
    with pytest.raises(SettingError, match="calibration is for classes and labels, and these targets are numbers"):
        _interpreted(x, x).calibration()
    pred, y = _calibrated(20, 3, 0)
    with pytest.raises(SettingError, match="n_bins is 0; expected a whole number of bins, at least 1"):
        _interpreted(pred, y).calibration(0)


def test_the_figure_shows_bins_their_intervals_and_the_error():
    pred, y = _calibrated(800, 3, 0)
    interp = _interpreted(2 * pred, y)
    fig = interp.plot_calibration(8)
    (ax,) = fig.axes
    frame = interp.calibration(8)
    np.testing.assert_allclose(ax.lines[1].get_xydata(), frame[["confidence", "accuracy"]])
    assert f"expected calibration error {interp.expected_calibration_error(8):.3f}" in ax.get_title()
    assert "8 bins of about 100 valid answers" in ax.get_title()
    left, right = ax.get_xlim()
    assert left <= frame["low"].min() and right >= 1
    fig.savefig(io.BytesIO(), format="png")
