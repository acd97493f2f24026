"""Whether rows of a group, such as a patient's, have more alike targets than others: the figures of a leak across the split (DA15)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
CLASSES = 20  # the most frequent ones count
BESIDE = 5  # values on either side that tell what a smooth function gives
PAIRS = 4000


def centred(y: Tensor) -> Floats:
    """Targets as float64 [n, k] of mean 0: ranks of numbers, whose outliers so count no more than others; classes one-hot."""
    if y.is_floating_point():
        values = y.double().reshape(len(y), -1).numpy()
        made = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0).astype(np.float64)
        for i, column in enumerate(values.T):  # equal numbers have equal ranks
            _, place = np.unique(column, return_inverse=True)
            made[:, i] = (np.bincount(place, made[:, i]) / np.bincount(place))[place]
    elif y.dtype == torch.bool:
        made = y.reshape(len(y), -1).double().numpy()
    else:
        codes = y.reshape(-1).numpy()
        most = np.argsort(-np.bincount(codes), kind="stable")[:CLASSES]
        made = (codes[:, None] == most).astype(np.float64)
    return np.asarray(made - made.mean(0))


def sums_of(y: Floats, group: Index) -> tuple[Floats, Floats]:
    """Of each group the sum of its rows, [g, k], and their number, [g]."""
    n = np.bincount(group).astype(np.float64)
    return np.stack([np.bincount(group, column, len(n)) for column in y.T], 1), n


def agreement(y: Floats, group: Index, variance: float | None = None) -> float:
    """The mean product of a row with another of its group, over the variance: 0 by chance, 1 where groups are uniform.

    Args:
        y: [n, k], of mean 0.
        group: the number of each row's group, [n].
        variance: of a row; y's own by default.

    Source: the intraclass correlation of one-way analysis of variance, Shrout and Fleiss, Psychological Bulletin 86, 1979.
    """
    sums, n = sums_of(y, group)
    squares = np.bincount(group, (y**2).sum(1), len(n))
    several = n > 1
    with_others = ((sums**2).sum(1) - squares)[several] / (n[several] - 1)
    variance = float((y**2).sum(1).mean()) if variance is None else variance
    return float(with_others.sum() / n[several].sum() / max(variance, 1e-12)) if several.any() else 0.0


def by_chance(y: Floats, group: Index, variance: float, n: int = 100, seed: int = 0) -> Floats:
    """The agreement in n random permutations of the rows."""
    rng = np.random.default_rng(seed)
    return np.array([agreement(y[rng.permutation(len(y))], group, variance) for _ in range(n)])


def without_trend(y: Floats, values: Floats) -> Floats:
    """What is left of y when a smooth function of a number is taken away: at each value a line through those beside it.

    So an age, whose neighbours tell as much, is told from a number that only names a group.

    Args:
        y: [n, k].
        values: [n].
    """
    distinct, group = np.unique(values, return_inverse=True)
    sums, n = sums_of(y, group)
    at = np.arange(len(distinct))
    x = (at - at.mean()) / max(
        float(at.std()), 1e-12
    )  # by rank: a line through values near each other says nothing of one far off
    table = np.concatenate([np.stack([n, n * x, n * x * x], 1), sums, sums * x[:, None]], 1)
    total = np.concatenate([np.zeros((1, table.shape[1])), np.cumsum(table, 0)])
    around = total[np.minimum(at + BESIDE + 1, len(distinct))] - total[np.maximum(at - BESIDE, 0)] - table
    m, sx, sxx = around[:, :1].clip(min=1.0), around[:, 1:2], around[:, 2:3]
    sy, sxy = around[:, 3 : 3 + y.shape[1]], around[:, 3 + y.shape[1] :]
    spread = sxx - sx**2 / m
    slope = np.where(spread > 1e-12, (sxy - sx * sy / m) / np.maximum(spread, 1e-12), 0.0)
    line = sy / m + slope * (x[:, None] - sx / m)
    left: Floats = y - line[group]
    left -= left.mean(0)
    return left


def inputs_alike(numbers: Tensor, codes: Tensor, group: Index, seed: int = 0) -> float:
    """How far apart inputs of two rows of a group are, over the distance of any two rows; 1 by chance.

    Args:
        numbers: float [n, a], each of about the same scale.
        codes: int [n, b].
        group: the number of each row's group, [n].
    """
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(group)), group))
    pairs = np.stack([order[:-1], order[1:]])[:, group[order[:-1]] == group[order[1:]]]
    pairs = pairs[:, rng.permutation(pairs.shape[1])[:PAIRS]]
    if not pairs.shape[1]:
        return 1.0
    others = rng.integers(0, len(group), (2, PAIRS))

    def apart(two: Index) -> float:
        a, b = torch.from_numpy(two[0]), torch.from_numpy(two[1])
        far = (numbers[a] - numbers[b]).abs().sum(1) + (codes[a] != codes[b]).sum(1)
        return float(far.double().mean())

    return apart(pairs) / max(apart(others), 1e-12)
