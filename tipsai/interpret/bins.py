"""Bins of equal mass, whose edges never part what is equal."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tipsai.core.errors import SettingError


def check_bins(n_bins: Any) -> int:
    """Raises SettingError unless n_bins is a whole number of at least 1."""
    if isinstance(n_bins, bool) or not isinstance(n_bins, int | np.integer) or n_bins < 1:
        raise SettingError(f"n_bins is {n_bins!r}; expected a whole number of bins, at least 1.")
    return int(n_bins)


def equal_mass(counts: NDArray[np.int64], n_bins: int) -> NDArray[np.int64]:
    """The bin of each distinct value, int64 [k], ascending from 0: at most n_bins, none of them empty.

    Values go to the bin that the middle of their mass falls into, so that distinct items make bins that differ by one
    at most, and a value that many items share stays whole.

    Args:
        counts: [k] how many items have each value, at least 1, in the values' order.
        n_bins: at most.
    """
    after = np.cumsum(counts)
    place = ((after - counts / 2) * n_bins / after[-1]).astype(np.int64)
    bins: NDArray[np.int64] = np.searchsorted(np.unique(place), place)
    return bins
