"""Splits of n items into training, validation and, on request, test: int64 index arrays that share no item."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tipsai.core.errors import SettingError, listing
from tipsai.data.processor import key

Index = NDArray[np.int64]


class Split(NamedTuple):
    train: Index
    valid: Index
    test: Index  # empty where none was asked for


def _sizes(n: int, valid: float, test: float) -> tuple[int, int]:
    if not (0 <= valid < 1 and 0 <= test < 1 and valid + test < 1):
        raise SettingError(
            f"valid={valid} and test={test}; expected shares of at least 0 that leave some for training."
        )
    n_valid = max(1, round(n * valid)) if valid and n > 1 else 0
    n_test = max(1, round(n * test)) if test and n > 2 else 0
    return n_valid, n_test


def _cut(order: Index, n_valid: int, n_test: int) -> Split:
    """Takes validation, then test, from the front of an order; each part comes back sorted."""
    valid, test, train = np.split(order, [n_valid, n_valid + n_test])
    return Split(np.sort(train), np.sort(valid), np.sort(test))


def random_split(n: int, valid: float = 0.2, test: float = 0.0, *, seed: int = 0) -> Split:
    """Shares of the items at random."""
    return _cut(np.random.default_rng(seed).permutation(n).astype(np.int64), *_sizes(n, valid, test))


def stratified_split(
    labels: Sequence[Any] | NDArray[Any], valid: float = 0.2, test: float = 0.0, *, seed: int = 0
) -> Split:
    """Shares at random, with every class in the same proportion in each part.

    A class with a single item goes to training. Proportions hold within one item a class.
    """
    names = np.array([key(label) for label in labels])
    rng = np.random.default_rng(seed)
    n_valid, n_test = _sizes(len(names), valid, test)
    _, inverse, counts = np.unique(names, return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(names))
    # Each item's place within its class, as a share of the class: taking the smallest takes evenly from all classes.
    by_class = shuffled[np.argsort(inverse[shuffled], kind="stable")]
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    place = (np.arange(len(names)) - starts + rng.uniform(0.3, 0.7, len(counts))[inverse[by_class]]) / counts[
        inverse[by_class]
    ]
    place[counts[inverse[by_class]] == 1] = 2.0  # after all others
    return _cut(by_class[np.argsort(place, kind="stable")].astype(np.int64), n_valid, n_test)


def group_split(groups: Sequence[Any] | NDArray[Any], valid: float = 0.2, test: float = 0.0, *, seed: int = 0) -> Split:
    """Whole groups at random (patients, users, sources), so that no group stands on two sides.

    Raises:
        SettingError: there are too few groups for the parts.
    """
    names = np.array([key(group) for group in groups])
    distinct, inverse = np.unique(names, return_inverse=True)
    needed = 1 + (valid > 0) + (test > 0)
    if len(distinct) < needed:
        raise SettingError(
            f"there are {len(distinct)} groups for {needed} parts; split by another column or at random."
        )
    n_valid, n_test = _sizes(len(names), valid, test)
    order = np.random.default_rng(seed).permutation(len(distinct))
    sizes = np.bincount(inverse)[order]
    ends = np.cumsum(sizes)
    part = np.full(len(distinct), 0)
    n_first = max(1, int(np.searchsorted(ends, n_valid))) if valid else 0
    n_second = max(1, int(np.searchsorted(ends, n_valid + n_test)) - n_first) if test else 0
    n_first, n_second = min(n_first, len(distinct) - 1 - (test > 0)), min(n_second, len(distinct) - 1 - n_first)
    part[order[:n_first]], part[order[n_first : n_first + n_second]] = 1, 2
    side = part[inverse]
    return Split(*(np.flatnonzero(side == i).astype(np.int64) for i in range(3)))


def time_split(times: Sequence[Any] | NDArray[Any], valid: float = 0.2, test: float = 0.0) -> Split:
    """The past trains, what follows validates, the last tests. Items of the same time stay on one side."""
    values = np.asarray(times)
    n_valid, n_test = _sizes(len(values), valid, test)
    distinct, inverse = np.unique(values, return_inverse=True)
    needed = 1 + (valid > 0) + (test > 0)
    if len(distinct) < needed:
        raise SettingError(
            f"there are {len(distinct)} distinct times for {needed} parts; split by another column or at random."
        )
    before = np.concatenate([[0], np.cumsum(np.bincount(inverse))])  # items before each distinct time
    last = len(distinct) - 1 if test else len(distinct)
    start_test = (
        min(int(np.argmin(np.abs(before - (len(values) - n_test)))), len(distinct) - 1) if test else len(distinct)
    )
    start_test = max(start_test, 1 + (valid > 0))
    start_valid = int(np.argmin(np.abs(before - (len(values) - n_test - n_valid)))) if valid else start_test
    start_valid = min(max(start_valid, 1), start_test - 1 if valid else start_test)
    assert start_valid <= start_test <= max(last, start_test)
    return Split(
        *(
            np.flatnonzero(mask).astype(np.int64)
            for mask in (
                inverse < start_valid,
                (inverse >= start_valid) & (inverse < start_test),
                inverse >= start_test,
            )
        )
    )


PARTS = {"train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}


def column_split(values: Sequence[Any] | NDArray[Any]) -> Split:
    """By a column that says so: train, valid (or val, validation, dev) and test; or a truth value, true for validation.

    Raises:
        SettingError: other values stand in it.
    """
    names = np.array([key(value).lower() for value in values])
    part_of = PARTS | {"false": 0, "0": 0, "true": 1, "1": 1}
    strange = sorted(set(names.tolist()) - set(part_of))
    if strange:
        raise SettingError(
            f"the split column holds {listing(strange)}; expected train, valid and test, or true for validation."
        )
    side = np.array([part_of[name] for name in names.tolist()], dtype=np.int64)
    return Split(*(np.flatnonzero(side == i).astype(np.int64) for i in range(3)))


def index_split(n: int, valid: Sequence[int] | Index, test: Sequence[int] | Index = ()) -> Split:
    """Given positions validate and test, the rest train.

    Raises:
        SettingError: a position is out of range, or stands in both.
    """
    side = np.zeros(n, np.int64)
    for number, chosen in ((1, valid), (2, test)):
        index = np.asarray(chosen, np.int64)
        if len(index) and (index.min() < 0 or index.max() >= n):
            raise SettingError(f"split positions run from {index.min()} to {index.max()}; expected 0 to {n - 1}.")
        if (side[index] != 0).any():
            raise SettingError("an item stands in both validation and test; each may stand in one part only.")
        side[index] = number
    return Split(*(np.flatnonzero(side == i).astype(np.int64) for i in range(3)))
