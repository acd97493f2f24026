"""The values of a table's columns, as they come: what is distinct, missing, a number, yes or no."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tipsai.core.errors import ColumnError
from tipsai.data.processor import key
from tipsai.frame.read import MISSING

Codes = NDArray[np.int32]

TRUE = frozenset({"true", "t", "yes", "y", "1", "on"})
FALSE = frozenset({"false", "f", "no", "n", "0", "off"})


def distinct(column: pd.Series) -> tuple[Codes, list[Any]]:
    """Each row's place among the column's distinct values (-1 where missing), and these values.

    Texts that stand for "missing" count as missing, whether they come from a file or a frame.

    Raises:
        ColumnError: the column holds lists, dicts or the like.
    """
    try:
        codes, uniques = pd.factorize(_bools_apart(column), use_na_sentinel=True)
    except TypeError as error:
        raise ColumnError(
            f"the column {str(column.name)!r} holds values that are no single number, text or date ({error}). "
            f"Leave it out (ignore=[{str(column.name)!r}], --ignore), or make columns of its parts."
        ) from error
    found = list(uniques)
    gone = [i for i, value in enumerate(found) if isinstance(value, str) and value.strip().lower() in MISSING]
    if gone:
        kept = np.ones(len(found) + 1, bool)
        kept[[*gone, -1]] = False
        codes = np.where(kept, np.cumsum(kept) - 1, -1)[codes]  # -1, for missing, finds the last
        found = [value for value, keep in zip(found, kept[:-1], strict=True) if keep]
    return codes.astype(np.int32), found


def _bools_apart(column: pd.Series) -> pd.Series:
    """True and 1 are equal to Python; in a column that holds both, the truth values become text, which keeps them apart."""
    if column.dtype != object or not {bool, np.bool_} & set(map(type, column)):
        return column
    is_bool = [isinstance(value, bool | np.bool_) for value in column]
    if any(
        not b and isinstance(value, int | float | np.number) and value in (0, 1)
        for value, b in zip(column, is_bool, strict=True)
    ):
        return column.where(~np.array(is_bool), column.map(str))
    return column


def numbers_of(column: pd.Series) -> tuple[NDArray[np.float64], int, int]:
    """A column as float64 with NaN where missing, the count of stray texts, and that of infinite values, both made NaN."""
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        n_stray = 0
    elif pd.api.types.is_timedelta64_dtype(column.dtype):
        values, n_stray = column.dt.total_seconds().to_numpy(dtype=np.float64, na_value=np.nan), 0
    else:
        codes, found = distinct(column)
        table = np.array([to_number(value) for value in found] + [np.nan])
        values = table[codes]  # -1 is the NaN at the end
        strays = np.isnan(table[:-1])
        n_stray = int(strays[codes[codes >= 0]].sum())
    infinite = np.isinf(values)
    if infinite.any():
        values = np.where(infinite, np.nan, values)
    return values, n_stray, int(infinite.sum())


def to_number(value: Any) -> float:
    """A value as a float, NaN if it is none. "1_000", which Python takes for a number, is none in a table."""
    if isinstance(value, str) and "_" in value:
        return np.nan
    try:
        return float(value.strip().replace("\u2212", "-")) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return np.nan


def yes_or_no(value: Any) -> str:
    """ "yes" or "no" for a value that says so in any spelling, else its own name."""
    name = key(value)
    low = name.lower().removesuffix(".0")
    return "yes" if low in TRUE else "no" if low in FALSE else name


def is_number(value: object) -> bool:
    return not isinstance(value, bool | np.bool_) and not np.isnan(to_number(value))


def is_boolean(present: list[object]) -> bool:
    if len(present) > len(TRUE | FALSE):
        return False
    names = {key(value).lower().removesuffix(".0") for value in present}
    return (
        len(names) <= 2 and names <= TRUE | FALSE and (len(names) == 1 or (bool(names & TRUE) and bool(names & FALSE)))
    )
