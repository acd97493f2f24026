"""What kind each column is, decided from training rows and said; every decision can be overridden."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tipsai.core.errors import ColumnError, SettingError, listing, nearest
from tipsai.core.text import table
from tipsai.data.processor import key
from tipsai.tabular.columns import FALSE, TRUE, distinct, numbers_of

KINDS = ("number", "category", "boolean", "date", "identifier", "constant", "skip")
NUMERIC_SHARE = 0.9  # of the values that are there, for text to count as numbers (or dates)
UNIQUE_SHARE = 0.95  # distinct texts a row from which on a text column identifies rather than describes
MOST_CLASSES = 10  # distinct whole numbers up to which a target counts as classes
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


def infer_kinds(frame: pd.DataFrame, given: Mapping[str, str] | None = None, skip: Sequence[str] = ()) -> list[Kind]:
    """The kind of every column but those to skip (targets, weights).

    Args:
        frame: training rows.
        given: kinds that the user sets, by column.
        skip: columns that are no inputs.

    Raises:
        SettingError: a given kind is unknown.
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
    return [_column(frame[name], given.get(name)) for name in frame.columns if name not in skip]


def _column(column: pd.Series, given: str | None) -> Kind:
    places, found = distinct(column)
    counts = np.bincount(places[places >= 0], minlength=len(found))
    present = [value for value, n in zip(found, counts.tolist(), strict=True) if n]
    n_missing = int((places < 0).sum())
    kind, why = (given, "given") if given else _decide(column, present, n_missing)
    n_stray = n_infinite = 0
    if kind == "number":
        _, n_stray, n_infinite = numbers_of(column)
    elif kind == "date" and not pd.api.types.is_datetime64_any_dtype(column.dtype):
        strays = _dates(present).isna().to_numpy()
        n_stray = int(counts[counts > 0][strays].sum())
    return Kind(str(column.name), kind, why, len(present), n_missing, n_stray, n_infinite)


def _decide(column: pd.Series, present: list[object], n_missing: int) -> tuple[str, str]:
    n = len(column)
    if not present:
        return "constant", "all missing"
    if len(present) == 1 and not n_missing:
        return "constant", f"always {str(present[0])[:40]!r}"
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "date", "dates"
    if pd.api.types.is_bool_dtype(column.dtype) or _boolean(present):
        return "boolean", "two values, yes and no"
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = np.asarray(present, np.float64)
        if pd.api.types.is_integer_dtype(column.dtype) and len(present) == n > 20:
            if _ID_NAME.search(str(column.name)):
                return "identifier", "distinct in every row, and named like one"
            if values.max() - values.min() == n - 1:
                return "identifier", "counts the rows"
        return "number", "numbers"
    numeric = sum(_is_number(value) for value in present)
    if numeric >= NUMERIC_SHARE * len(present):
        return "number", "text that reads as numbers" if numeric == len(present) else "numbers, with some stray text"
    texts = [value for value in present if isinstance(value, str)]
    looks_like = sum(bool(_DATE_LIKE.search(text)) for text in texts[:200])
    if texts and looks_like >= NUMERIC_SHARE * min(200, len(texts)) and _dates(texts).notna().mean() >= NUMERIC_SHARE:
        return "date", "text that reads as dates"
    if len(present) > 20 and len(present) >= UNIQUE_SHARE * (n - n_missing):
        return "identifier", "text that differs in (nearly) every row"
    return "category", "text" if len(texts) == len(present) else "values of mixed types"


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _boolean(present: list[object]) -> bool:
    names = {key(value).lower().removesuffix(".0") for value in present}
    return (
        len(names) <= 2 and names <= TRUE | FALSE and (len(names) == 1 or (bool(names & TRUE) and bool(names & FALSE)))
    )


def _dates(values: Sequence[object]) -> pd.Series:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # pandas warns where day and month could be either; said by the kind
        return pd.to_datetime(
            pd.Series([key(value) for value in values], dtype=object), errors="coerce", format="mixed", utc=True
        )


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


def infer_task(column: pd.Series) -> str:
    """ "classification" or "regression", from a target's values."""
    places, found = distinct(column)
    present = [found[i] for i in np.unique(places[places >= 0])]
    if pd.api.types.is_bool_dtype(column.dtype) or _boolean(present):
        return "classification"
    if sum(_is_number(value) for value in present) < len(present):
        return "classification"
    values = np.array([float(value) for value in present])
    whole = bool(np.all(values == np.round(values)))
    return "classification" if whole and len(present) <= MOST_CLASSES else "regression"
