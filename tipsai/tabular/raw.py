"""A sample of a table's rows as they were read, for the checks: encoded rows no longer show spellings, groups and dates."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MOST_ROWS = 20_000
MOST_CELLS = 2_000_000  # of a wide table there are fewer rows


class Raw(NamedTuple):
    """Some rows of a split.

    Attributes:
        frame: the rows without targets, but with the columns that are no inputs.
        places: int64 [n], where they stand in the split.
        n_rows: of the split.
    """

    frame: pd.DataFrame
    places: NDArray[np.int64]
    n_rows: int


def sampled(frame: pd.DataFrame, leave_out: list[str]) -> Raw:
    """Evenly spaced rows of a split; all of a small one's.

    Args:
        frame: the split.
        leave_out: columns that a check must not see: targets and weights.
    """
    inputs = frame.columns[~frame.columns.isin(leave_out)]
    most = min(MOST_ROWS, max(1000, MOST_CELLS // max(1, len(inputs))))
    places = np.unique(np.linspace(0, len(frame) - 1, min(len(frame), most)).round().astype(np.int64))
    return Raw(frame[inputs].iloc[places], places, len(frame))
