"""Splits of n items into training, validation and, on request, test: int64 index arrays that share no item."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tipsai.core.errors import SettingError, listing
from tipsai.data.processor import is_missing, key

Index = NDArray[np.int64]


class Split(NamedTuple):
    train: Index
    valid: Index
    test: Index  # empty where none was asked for


def _sizes(n: int, valid: float, test: float) -> tuple[int, int]:
    numbers = isinstance(valid, Real) and isinstance(test, Real)
    if not numbers or not (0 <= valid < 1 and 0 <= test < 1 and valid + test < 1):
        raise SettingError(
            f"valid={valid} and test={test}; expected shares of at least 0 that leave some for training."
        )
    n_valid = min(max(1, round(n * valid)), n - 1 - (test > 0 and n > 2)) if valid and n > 1 else 0
    n_test = min(max(1, round(n * test)), n - 1 - n_valid) if test and n > 1 else 0
    return n_valid, n_test


def _cut(order: Index, n_valid: int, n_test: int) -> Split:
    """Takes validation, then test, from the front of an order; each part comes back sorted."""
    valid, test, train = np.split(order, [n_valid, n_valid + n_test])
    return Split(np.sort(train), np.sort(valid), np.sort(test))


def _by_side(side: Index) -> Split:
    """From 0 (training), 1 (validation) or 2 (test) for each item."""
    return Split(*(np.flatnonzero(side == i).astype(np.int64) for i in range(3)))


def random_split(n: int, valid: float = 0.2, test: float = 0.0, *, seed: int = 0) -> Split:
    """Shares of the items at random."""
    return _cut(np.random.default_rng(seed).permutation(n).astype(np.int64), *_sizes(n, valid, test))


def stratified_split(
    labels: Sequence[Any] | NDArray[Any], valid: float = 0.2, test: float = 0.0, *, seed: int = 0
) -> Split:
    """Shares at random, with every class in the same proportion in each part, within one item a class.

    Every class keeps at least one item in training; where classes are tiny, the other parts may end up smaller for it.
    """
    names = np.array([key(label) for label in labels], dtype=str)
    rng = np.random.default_rng(seed)
    totals = _sizes(len(names), valid, test)
    _, inverse, counts = np.unique(names, return_inverse=True, return_counts=True)
    room = counts - 1
    n_valid = _apportion(counts, valid, totals[0], room, rng)
    n_test = _apportion(counts, test, totals[1], room - n_valid, rng)
    shuffled = rng.permutation(len(names))
    by_class = shuffled[np.argsort(inverse[shuffled], kind="stable")]
    place = np.arange(len(names)) - np.repeat(np.cumsum(counts) - counts, counts)  # within the class
    end_valid, end_test = np.repeat(n_valid, counts), np.repeat(n_valid + n_test, counts)
    side = np.empty(len(names), np.int64)
    side[by_class] = np.where(place < end_valid, 1, np.where(place < end_test, 2, 0))
    return _by_side(side)


def _apportion(counts: Index, share: float, total: int, room: Index, rng: np.random.Generator) -> Index:
    """How many of each class, so that they add up to total: the whole parts, then one more by largest remainder.

    Args:
        counts: items of each class.
        share: of each class.
        total: over all classes; less comes out where there is no room.
        room: the most of each class.
        rng: breaks ties.
    """
    exact = counts * share
    whole: Index = np.minimum(np.floor(exact + 1e-9).astype(np.int64), room)
    rest = exact - whole
    open_to = np.flatnonzero((whole < room) & (rest > 1e-9))
    ranked = open_to[np.lexsort((rng.random(len(open_to)), -rest[open_to].round(9)))]
    whole[ranked[: max(0, total - int(whole.sum()))]] += 1
    return whole


def group_split(groups: Sequence[Any] | NDArray[Any], valid: float = 0.2, test: float = 0.0, *, seed: int = 0) -> Split:
    """Whole groups at random (patients, users, sources), so that no group stands on two sides.

    Raises:
        SettingError: there are too few groups for the parts.
    """
    names = np.array([key(group) for group in groups], dtype=str)
    distinct, inverse = np.unique(names, return_inverse=True)
    needed = 1 + (valid > 0) + (test > 0)
    if len(distinct) < needed:
        raise SettingError(
            f"there are {len(distinct)} groups for {needed} parts; split by another column or at random."
        )
    n_valid, n_test = _sizes(len(names), valid, test)
    order = np.random.default_rng(seed).permutation(len(distinct))
    ends = np.cumsum(np.bincount(inverse)[order])  # items in the first 1, 2, ... groups
    n_first = min(_closest(ends, n_valid) + 1, len(distinct) - 1 - (test > 0)) if valid else 0
    taken = int(ends[n_first - 1]) if n_first else 0
    n_both = min(max(_closest(ends, taken + n_test), n_first) + 1, len(distinct) - 1) if test else n_first
    part = np.zeros(len(distinct), np.int64)
    part[order[:n_first]], part[order[n_first:n_both]] = 1, 2
    return _by_side(part[inverse])


def _closest(values: NDArray[Any], wanted: int) -> int:
    return int(np.argmin(np.abs(values - wanted)))


def time_split(times: Sequence[Any] | NDArray[Any], valid: float = 0.2, test: float = 0.0) -> Split:
    """The past trains, what follows validates, the last tests. Items of the same time stay on one side.

    Raises:
        SettingError: times are missing, or there are too few distinct ones for the parts.
    """
    values = np.asarray(times)
    n_missing = int(sum(map(is_missing, values)) if values.dtype == object else (values != values).sum())
    if n_missing:
        raise SettingError(
            f"{n_missing} of {len(values)} times are missing, so it is open where they belong; fill them or leave the items out."
        )
    n_valid, n_test = _sizes(len(values), valid, test)
    distinct, inverse = np.unique(values, return_inverse=True)
    needed = 1 + (valid > 0) + (test > 0)
    if len(distinct) < needed:
        raise SettingError(
            f"there are {len(distinct)} distinct times for {needed} parts; split by another column or at random."
        )
    before = np.concatenate([[0], np.cumsum(np.bincount(inverse))])  # items before each distinct time
    start_test = start_valid = len(distinct)  # the first distinct time of each part
    if test:
        start_test = max(min(_closest(before, len(values) - n_test), len(distinct) - 1), 1 + (valid > 0))
        start_valid = start_test
    if valid:
        start_valid = max(min(_closest(before, int(before[start_test]) - n_valid), start_test - 1), 1)
    return _by_side((inverse >= start_valid).astype(np.int64) + (inverse >= start_test))


PARTS = {"train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}


def column_split(values: Sequence[Any] | NDArray[Any]) -> Split:
    """By a column that says so: train, valid (or val, validation, dev) and test; or a truth value, true for validation.

    Raises:
        SettingError: other values stand in it.
    """
    names = np.array([key(value).lower() for value in values], dtype=str)
    part_of = PARTS | {"false": 0, "0": 0, "true": 1, "1": 1}
    strange = sorted(set(names.tolist()) - set(part_of))
    if strange:
        raise SettingError(
            f"the split column holds {listing(strange)}; expected train, valid and test, or true for validation."
        )
    return _by_side(np.array([part_of[name] for name in names.tolist()], dtype=np.int64))


def index_split(n: int, valid: Sequence[int] | Index, test: Sequence[int] | Index = ()) -> Split:
    """Given positions validate and test, the rest train.

    Raises:
        SettingError: a position is out of range, or stands in both, or they are no whole numbers.
    """
    side = np.zeros(n, np.int64)
    for number, chosen in ((1, valid), (2, test)):
        given = np.asarray(chosen)
        if given.size and given.dtype.kind not in "iu":
            raise SettingError(
                f"split positions are of type {given.dtype}; expected whole numbers. For a mask write np.flatnonzero(mask)."
            )
        index = given.astype(np.int64)
        if len(index) and (index.min() < 0 or index.max() >= n):
            raise SettingError(f"split positions run from {index.min()} to {index.max()}; expected 0 to {n - 1}.")
        if (side[index] != 0).any():
            raise SettingError("an item stands in both validation and test; each may stand in one part only.")
        side[index] = number
    return _by_side(side)
