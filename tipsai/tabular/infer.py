"""What kind each column is, decided from training rows and said; every decision can be overridden."""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tipsai.core.errors import ColumnError, SettingError, listing, nearest
from tipsai.core.text import table
from tipsai.frame.values import distinct, is_boolean, is_number, numbers_of
from tipsai.tabular.columns import day_first, parse_dates

KINDS = ("number", "category", "boolean", "date", "identifier", "constant", "skip")
NUMERIC_SHARE = 0.9  # of the values that are there, for text to count as numbers (or dates)
UNIQUE_SHARE = 0.95  # distinct texts a row from which on a text column identifies rather than describes
_ID_NAME = re.compile(
    r"(^|[_\s.-])(id|uuid|guid|index|key|rowid|row|no)$|^(id|uuid|guid|index|unnamed)([_\s.:-]|$)|[a-z]I[dD]$",
    re.IGNORECASE,
)
_DATE_LIKE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d{2}|\d{4}-\d{2}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}|\d{1,2} [A-Za-z]{3,9}\.? \d{4}"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A column's kind, and why."""

    name: str
    kind: str
    why: str
    n_distinct: int
    n_missing: int
    n_stray: int = 0  # values that do not fit the kind and count as missing
    n_infinite: int = 0
    is_text: bool = False  # its values are words, whose spelling can count


def infer_kinds(frame: pd.DataFrame, given: Mapping[str, str] | None = None, skip: Sequence[str] = ()) -> list[Kind]:
    """The kind of every column but those to skip (targets, weights).

    Args:
        frame: training rows.
        given: kinds that the user sets, by column.
        skip: columns that are no inputs.

    Raises:
        SettingError: a given kind is unknown, or given for a column that is no input.
        ColumnError: a given column is not there.
    """
    given = dict(given or {})
    for name, kind in given.items():
        if kind not in KINDS:
            raise SettingError(
                f"kinds[{name!r}] is {kind!r}.{nearest(str(kind), KINDS)} Expected one of {listing(KINDS)}."
            )
        if name not in frame.columns:
            raise ColumnError(f"kinds names a column {name!r} that is not there.{nearest(name, frame.columns)}")
        if name in skip:
            raise SettingError(
                f"kinds[{name!r}] would be ignored: the column is a target, a weight or left out. Take it from kinds."
            )
    return [_column(frame[name], given.get(name)) for name in frame.columns if name not in skip]


def _column(column: pd.Series, given: str | None) -> Kind:
    if given == "skip":
        return Kind(str(column.name), given, "given", 0, 0)
    places, found = distinct(column)
    counts = np.bincount(places[places >= 0], minlength=len(found))
    present = [value for value, n in zip(found, counts.tolist(), strict=True) if n]
    n_missing = int((places < 0).sum())
    kind, why = (given, "given") if given else _decide(column, present, n_missing)
    n_stray = n_infinite = 0
    if kind == "number":
        _, n_stray, n_infinite = numbers_of(column)
    elif kind == "date" and not pd.api.types.is_datetime64_any_dtype(column.dtype):
        strays = parse_dates(present, day_first(column)).isna().to_numpy()
        n_stray = int(counts[counts > 0][strays].sum())
    words = _are_words(present)
    return Kind(str(column.name), kind, why, len(present), n_missing, n_stray, n_infinite, words)


def _decide(column: pd.Series, present: list[object], n_missing: int) -> tuple[str, str]:
    n = len(column)
    if not present:
        return "constant", "all missing"
    if len(present) == 1 and not n_missing:
        return "constant", f"always {str(present[0])[:40]!r}"
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "date", "dates"
    if pd.api.types.is_bool_dtype(column.dtype) or is_boolean(present):
        return "boolean", "two values, yes and no"
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = np.asarray(present, np.float64)
        if pd.api.types.is_integer_dtype(column.dtype) and len(present) == n > 20:
            if _ID_NAME.search(str(column.name)):
                return "identifier", "distinct in every row, and named like one"
            if values.max() - values.min() == n - 1:
                return "identifier", "counts the rows"
        return "number", "numbers"
    texts = [value for value in present if isinstance(value, str)]
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "category", "text, and a category in pandas" if len(texts) == len(present) else "a category in pandas"
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        return "number", "durations, in seconds"
    if _mostly_numbers(present):
        stray = sum(not is_number(value) for value in present)
        return "number", "numbers, with some stray text" if stray else "text that reads as numbers"
    if _mostly_dates(present):
        first = ", the day before the month" if day_first(column) else ""
        return "date", ("text that reads as dates" if texts else "dates") + first
    if len(present) > 20 and len(present) >= UNIQUE_SHARE * (n - n_missing):
        what = "text" if len(texts) == len(present) else "values"
        return "identifier", f"{what} that differ{'s' if what == 'text' else ''} in (nearly) every row"
    return "category", "text" if len(texts) == len(present) else "values of mixed types"


def _are_words(present: Sequence[object]) -> bool:
    """Whether values are texts that mostly hold no digit: words, and not codes such as N14228."""
    texts = [value for value in present if isinstance(value, str)]
    return len(texts) == len(present) and 2 * sum(any(map(str.isdigit, text)) for text in texts) <= len(texts)


def _mostly_numbers(present: Sequence[object]) -> bool:
    return sum(is_number(value) for value in present) >= NUMERIC_SHARE * len(present)


def _mostly_dates(present: Sequence[object]) -> bool:
    sample = present[:200]
    alike = sum(
        bool(_DATE_LIKE.search(value))
        if isinstance(value, str)
        else isinstance(value, datetime.date | datetime.time | np.datetime64)
        for value in sample
    )
    return alike >= NUMERIC_SHARE * len(sample) and bool(parse_dates(present).notna().mean() >= NUMERIC_SHARE)


def describe(kinds: Sequence[Kind], most: int = 60) -> str:
    """The kinds as a table; many columns are cut short."""
    rows = []
    for kind in kinds[:most]:
        notes = [kind.why]
        notes += [f"{kind.n_stray:,} stray values count as missing"] if kind.n_stray else []
        notes += [f"{kind.n_infinite:,} infinite values count as missing"] if kind.n_infinite else []
        rows.append([kind.name[:40], kind.kind, f"{kind.n_distinct:,}", f"{kind.n_missing:,}", "; ".join(notes)])
    text = table(rows, ["column", "kind", "distinct", "missing", "because"])
    return text + (f"\n... and {len(kinds) - most:,} more columns" if len(kinds) > most else "")
