"""Intervals of shares and means, and of the difference between two groups of items."""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95  # of an interval
N_DRAWS = 1000  # of a bootstrap
GROUPS = 500  # that a bootstrap draws from at most


def _z(level: float) -> float:
    """How many standard errors an interval reaches to either side."""
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson(n_yes: ArrayLike, n: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Lower and upper ends of intervals of shares, of the shape of the counts; NaN where nothing was counted.

    Source: Wilson 1927, the score interval.
    """
    n_yes, n, z = np.asarray(n_yes, np.float64), np.asarray(n, np.float64), _z(level)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = n_yes / n
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Where all or none are, rounding would leave an end beside the share.
    return np.where(n_yes == 0, centre * 0, centre - half), np.where(n_yes == n, centre * 0 + 1, centre + half)


def bounded(mean: ArrayLike, n: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Intervals of means of values within 0 and 1, wide enough for any number of items and any level.

    Wilson's are too narrow far out in the tails, where a correction for many comparisons looks.

    Args:
        mean: of the items; float64, any shape.
        n: items, likewise.
        level: the chance that each interval holds the true mean, at least.

    Source: Hoeffding 1963, theorem 1: a mean of n values is as far from the truth p as q with a probability of at most
    exp(-n KL(q, p)).
    """
    mean, n = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(n, np.float64))
    most = -math.log((1 - level) / 2) / n
    return _least(mean, most), 1 - _least(1 - mean, most)


def _least(mean: Floats, most: Floats) -> Floats:
    """The least p with KL(mean, p) <= most, by bisection."""
    low, high = np.zeros_like(mean), mean.copy()
    for _ in range(60):
        p = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            yes = np.where(mean > 0, mean * np.log(mean / p), 0)
            no = np.where(mean < 1, (1 - mean) * np.log((1 - mean) / (1 - p)), 0)
        far = yes + no > most
        low, high = np.where(far, p, low), np.where(far, high, p)
    return high


def bootstrap_mean(values: ArrayLike, level: float = LEVEL, seed: int = 0) -> tuple[Floats, Floats]:
    """Intervals of means by drawing items anew, with replacement: the percentiles of 1,000 draws' means.

    Of many items random groups are drawn, 500 of them, so that the cost does not grow with the items.

    Args:
        values: [n] or [n, k]; NaN for both ends where n < 2.
        level: the share of draws between the ends.
        seed: of the draws, which are the same for all k.

    Source: Efron 1979.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
    low, high = np.quantile(_drawn_means(values.reshape(len(values), -1), seed), _ends(level), axis=0)
    return low.reshape(values.shape[1:]), high.reshape(values.shape[1:])


def bootstrap_difference(
    values: ArrayLike, others: ArrayLike, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """The interval of the mean of others less that of values, by drawing both anew; see bootstrap_mean.

    Args:
        values: [n], of items that have nothing to do with the others.
        others: [m].
        level: the share of draws between the ends.
        seed: of the draws.
    """
    drawn = [
        _drawn_means(np.asarray(part, np.float64)[:, None], seed + i)[:, 0] for i, part in enumerate((values, others))
    ]
    low, high = np.quantile(drawn[1] - drawn[0], _ends(level))
    return float(low), float(high)


def _ends(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


def _drawn_means(columns: Floats, seed: int) -> Floats:
    """The means of columns [n, k] in each of 1,000 draws of items, [N_DRAWS, k]."""
    n, n_groups = len(columns), min(len(columns), GROUPS)
    rng = np.random.default_rng(seed)
    group = np.arange(n) % n_groups
    if n > n_groups:
        rng.shuffle(group)
    sums = np.zeros((n_groups, columns.shape[1]))
    np.add.at(sums, group, columns)
    drawn = rng.integers(0, n_groups, (N_DRAWS, n_groups)) + n_groups * np.arange(N_DRAWS)[:, None]
    times = np.bincount(drawn.ravel(), minlength=N_DRAWS * n_groups).reshape(N_DRAWS, n_groups)
    means: Floats = (times @ sums) / (times @ np.bincount(group))[:, None]
    return means


def from_the_rest(
    values: Floats, codes: NDArray[np.integer], n_groups: int, level: float, within_1: bool
) -> tuple[Floats, Floats, Floats]:
    """The mean of each group less that of all other items, and the ends of its interval: float64 [n_groups] each.

    NaN where a group or the rest is empty.

    Args:
        values: float64 [n].
        codes: each item's group, int [n], 0 to n_groups - 1.
        n_groups: of them.
        level: of each interval; 1 - 0.05 / m for m groups, if all are to hold together (Bonferroni).
        within_1: whether the values are shares, 0 to 1. Then the intervals hold for groups of any size; else they are
            normal ones, of the larger of two standard errors: that of the two groups' own spread (Welch 1947), and that
            of items drawn from all, whose spread a small group does not show.

    Source: Zou and Donner 2008 for the difference of two means from an interval of each.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = values.mean()
        n: Floats = np.bincount(codes, minlength=n_groups).astype(np.float64)
        own: Floats = np.bincount(codes, weights=values - middle, minlength=n_groups).astype(np.float64)
        squares: Floats = np.bincount(codes, weights=(values - middle) ** 2, minlength=n_groups).astype(np.float64)
        rest: Floats = len(values) - n
        mean, other = own / n, (own.sum() - own) / rest
        difference = mean - other
        if within_1:
            (low, high), (other_low, other_high) = (
                bounded(np.clip(m + middle, 0, 1), k, level) for m, k in ((mean, n), (other, rest))
            )
            mean, other = mean + middle, other + middle
            return (
                difference,
                difference - np.hypot(mean - low, other_high - other),
                difference + np.hypot(high - mean, other - other_low),
            )
        welch = _variance(squares, mean, n) / n + _variance(squares.sum() - squares, other, rest) / rest
        pooled = squares.sum() / max(1, len(values) - 1) * (1 / n + 1 / rest)
        far = _z(level) * np.sqrt(np.fmax(welch, pooled))
    return difference, difference - far, difference + far


def _variance(squares: Floats, mean: Floats, n: Floats) -> Floats:
    """Of a sample, from its sum of squares; NaN for one item."""
    return np.maximum(squares - n * mean**2, 0) / np.where(n > 1, n - 1, np.nan)
