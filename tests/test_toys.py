"""The toy problems' best scores are right: the best possible model reaches them, and nothing is hidden from it."""

import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

from tipsai import toys
from tipsai.core.errors import SettingError


def test_the_best_classifier_of_the_table_reaches_the_best_accuracy():
    toy = toys.table(40_000, noise=0.15)
    assert toy.best == 0.85
    assert (toy.frame[toy.target] == toy.truth).mean() == pytest.approx(0.85, abs=0.006)  # three standard errors
    assert 0.4 < (toy.truth == "yes").mean() < 0.6
    assert set(toys.table(50).frame) == set(toy.frame)


def test_the_best_regressor_of_the_table_reaches_the_best_rmse():
    toy = toys.table(40_000, "regression", noise=50.0)
    error = toy.frame[toy.target] - toy.truth
    assert toy.best == 50.0 and math.sqrt((error**2).mean()) == pytest.approx(50.0, rel=0.02)
    assert abs(error.mean()) < 1 and abs(np.corrcoef(error, toy.truth)[0, 1]) < 0.02


def test_the_best_prediction_is_a_function_of_what_the_row_shows():
    # Rows that look alike have the same truth: here by rebuilding the rent from the columns, missing ones included.
    toy = toys.table(500, "regression", noise=0.0)
    f = toy.frame
    rent = 150 + 9 * f["area_m2"] + f["district"].map(toys.DISTRICTS)
    rent += np.where(f["district"] == "old town", 5 * (f["area_m2"] - 80), 0) + 0.05 * (f["built"] - 1957) ** 2
    rent += np.where(f["lift"] == "yes", 40, 0) + (60 + 8 * f["balcony_m2"]).fillna(0)
    rent += 70 * np.sin(2 * np.pi * (f["listed"] - pd.Timestamp("2022-01-01")).dt.days / 365.25)
    assert np.allclose(rent, toy.truth) and np.allclose(f["rent"], toy.truth)
    assert f["balcony_m2"].isna().mean() == pytest.approx(0.55, abs=0.1)


def direction(x: torch.Tensor, n_classes: int) -> torch.Tensor:
    """The direction of stripes by the mean of the gradient's doubled angle; knows nothing of how they were drawn."""
    grey = x.double().mean(1)
    grey = grey - grey.mean((1, 2), keepdim=True)
    dx, dy = grey[:, :-1, 1:] - grey[:, :-1, :-1], grey[:, 1:, :-1] - grey[:, :-1, :-1]
    angle = torch.atan2((2 * dx * dy).sum((1, 2)), (dx**2 - dy**2).sum((1, 2))) / 2 % math.pi
    return (angle / math.pi * n_classes).round().long() % n_classes


@pytest.mark.parametrize("n_classes, size", [(2, 16), (4, 32), (8, 48)])
def test_the_class_of_a_picture_can_be_seen_and_the_best_accuracy_is_what_the_noise_leaves(n_classes, size):
    toy = toys.images(4000, size, n_classes, noise=0.2)
    assert toy.x.dtype == torch.uint8 and list(toy.x.shape) == [4000, 3, size, size]
    seen = direction(toy.x, n_classes)
    assert (seen == toy.truth).double().mean() > 0.999
    assert toy.best == 0.8 and (seen == toy.y).double().mean().item() == pytest.approx(0.8, abs=0.02)
    wrong = toy.y[toy.y != toy.truth]
    assert torch.bincount(wrong, minlength=n_classes).double().std() < 0.3 * len(wrong) / n_classes
    assert torch.equal(toys.images(9).y, toys.images(9).truth)


def entropy(text: str, order: int) -> float:
    """The plug-in estimate of the entropy of a character given those before it, in nats."""
    longer, shorter = (Counter(text[i : i + k] for i in range(len(text) - order)) for k in (order + 1, order))
    return -sum(n * math.log(n / shorter[piece[:-1]]) for piece, n in longer.items()) / (len(text) - order)


def test_the_entropy_of_the_text_is_what_the_source_says():
    toy = toys.text(300_000)
    assert len(toy.text) == 300_000 and set(toy.text) == set(toys.ALPHABET)
    assert entropy(toy.text, 2) == pytest.approx(toy.best, abs=0.01)
    assert entropy(toy.text, 1) > toy.best + 0.1, "two characters tell more than one"
    assert 0 < toy.best < math.log(len(toys.ALPHABET))


def test_the_entropy_rate_of_sources_that_are_known():
    k = 3
    assert toys.entropy_rate(np.full((k, k, k), 1 / k)) == pytest.approx(math.log(k))
    coin = np.broadcast_to(np.array([0.9, 0.1]), (2, 2, 2))
    assert toys.entropy_rate(coin) == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    # Order 1, two states that are left with probability 0.1 and 0.3: half the weights are 0.75 and 0.25.
    first = np.broadcast_to(np.array([[0.9, 0.1], [0.3, 0.7]]), (2, 2, 2))
    h = [-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in (0.1, 0.3)]
    assert toys.entropy_rate(first) == pytest.approx(0.75 * h[0] + 0.25 * h[1])


def test_a_seed_fixes_a_toy_and_another_changes_it():
    assert toys.table(50, seed=1).frame.equals(toys.table(50, seed=1).frame)
    assert not toys.table(50, seed=1).frame.equals(toys.table(50, seed=2).frame)
    assert torch.equal(toys.images(5, seed=1).x, toys.images(5, seed=1).x)
    assert not torch.equal(toys.images(5, seed=1).x, toys.images(5, seed=2).x)
    assert toys.text(50, seed=1) == toys.text(50, seed=1) != toys.text(50, seed=2)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: toys.table(10, "ranking"), "kind is 'ranking'; expected"),
        (lambda: toys.table(0), "n_rows is 0"),
        (lambda: toys.table(10, noise=0.5), "below 0.5"),
        (lambda: toys.table(10, "regression", noise=-1.0), "noise is -1.0"),
        (lambda: toys.images(10, n_classes=4, noise=0.75), "below 0.75"),
        (lambda: toys.images(10, n_classes=9), "2 to 8 classes"),
        (lambda: toys.images(0), "n is 0"),
        (lambda: toys.text(0), "n is 0"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(SettingError, match=message):
        make()
