"""Processors of a table's columns. Each is fitted on training rows, encodes whole columns, and is stored as plain JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tipsai.core.errors import ColumnError, listing
from tipsai.data.processor import Processor, key
from tipsai.tabular.ngrams import vectors
from tipsai.tabular.read import MISSING

Floats = NDArray[np.float32]
Flags = NDArray[np.uint8]
Codes = NDArray[np.int32]

TRUE = frozenset({"true", "t", "yes", "y", "1", "on"})
FALSE = frozenset({"false", "f", "no", "n", "0", "off"})


def distinct(column: pd.Series) -> tuple[Codes, list[Any]]:
    """Each row's place among the column's distinct values (-1 where missing), and these values.

    Texts that stand for "missing" count as missing, whether they come from a file or a frame.
    """
    codes, uniques = pd.factorize(column, use_na_sentinel=True)
    found = list(uniques)
    gone = [i for i, value in enumerate(found) if isinstance(value, str) and value.strip().lower() in MISSING]
    places = codes.astype(np.int32)
    if gone:
        places[np.isin(places, gone)] = -1
    return places, found


def numbers_of(column: pd.Series) -> tuple[NDArray[np.float64], int, int]:
    """A column as float64 with NaN where missing, the count of stray texts, and that of infinite values, both made NaN."""
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        n_stray = 0
    else:
        codes, found = distinct(column)
        table = np.array([_number(value) for value in found] + [np.nan])
        values = table[codes]  # -1 is the NaN at the end
        strays = np.isnan(table[:-1])
        n_stray = int(strays[codes[codes >= 0]].sum())
    infinite = np.isinf(values)
    if infinite.any():
        values = np.where(infinite, np.nan, values)
    return values, n_stray, int(infinite.sum())


def _number(value: Any) -> float:
    try:
        return float(value.strip().replace("\u2212", "-")) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return np.nan


class Number(Processor):
    """A number, standardised robustly: zero at the median, one for each interquartile range, large values drawn in.

    x -> z / sqrt(1 + (z/3)^2) with z = (x - median) / scale stays within -3..3 (Holzmüller et al. 2407.04491). Missing
    values become 0, the median, with a flag beside them.
    """

    def fit(self, items: pd.Series) -> Self:
        values, n_stray, _ = numbers_of(items)
        values = values[~np.isnan(values)]
        self.strays_ = n_stray > 0
        self.median_, self.scale_ = 0.0, 1.0
        if len(values):
            low, self.median_, high = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
            # Where half of the values are one (capital gains), the interquartile range is 0 and the whole range serves.
            self.scale_ = (high - low) or float(values.max() - values.min()) / 2 or 1.0
        return self

    def encode(self, item: pd.Series) -> tuple[Floats, Flags]:
        """(float32 [n], uint8 [n]: 1 where missing).

        Raises:
            ColumnError: most values are words.
        """
        values, n_stray, _ = numbers_of(item)
        n_present = n_stray + int((~np.isnan(values)).sum())
        if n_stray * 2 > n_present:
            words = [value for value in distinct(item)[1] if np.isnan(_number(value))]
            raise ColumnError(
                f"the column {str(item.name)!r} was numbers in training and now holds words such as "
                f"{listing(words, 3)}. Check that the columns are in their places."
            )
        return self.encode_values(values)

    def encode_values(self, values: NDArray[np.float64]) -> tuple[Floats, Flags]:
        missing = np.isnan(values)
        z = np.where(missing, 0.0, (values - self.median_) / self.scale_)
        return (z / np.sqrt(1 + (z / 3) ** 2)).astype(np.float32), missing.astype(np.uint8)

    def decode(self, value: tuple[Floats, Flags]) -> NDArray[np.float64]:
        """The numbers again, to about seven digits near the median and fewer far from it; NaN where the flag stands."""
        x = np.clip(np.asarray(value[0], np.float64), -2.999999, 2.999999)
        z = x / np.sqrt(1 - (x / 3) ** 2)
        return np.where(value[1], np.nan, z * self.scale_ + self.median_)

    def to_dict(self) -> dict[str, Any]:
        return {"median": self.median_, "scale": self.scale_, "strays": self.strays_}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        made = cls()
        made.median_, made.scale_, made.strays_ = d["median"], d["scale"], d["strays"]
        return made


class Category(Processor):
    """A nominal value as a code: 0 what training never saw, 1 missing, 2 and up the values by frequency, then by name.

    Codes depend on the values' names alone: not on dtype, pandas' own codes, or the order of columns or rows.

    Args:
        min_count: values that training saw less often share the code 0, which so is trained.
        most_values: the most frequent values that get a code of their own; the others share the code 0.
        text: also give each value's character n-grams as a vector (TA02).
    """

    UNKNOWN, MISSING_CODE = 0, 1
    text_dim: ClassVar[int] = 96

    def __init__(self, min_count: int = 1, text: bool = False, most_values: int = 10_000) -> None:
        self.min_count, self.text, self.most_values = min_count, text, most_values

    @staticmethod
    def name_of(value: Any) -> str:
        return key(value)

    def fit(self, items: pd.Series) -> Self:
        codes, found = distinct(items)
        counts: dict[str, int] = {}
        for value, n in zip(found, np.bincount(codes[codes >= 0], minlength=len(found)).tolist(), strict=True):
            name = self.name_of(value)
            if n:
                counts[name] = counts.get(name, 0) + n
        kept = sorted(
            (name for name, n in counts.items() if n >= self.min_count), key=lambda name: (-counts[name], name)
        )
        self._set(kept[: self.most_values])
        return self

    def _set(self, values: Sequence[str]) -> None:
        self.values_ = list(values)
        self.codes_ = {name: code + 2 for code, name in enumerate(values)}

    @property
    def n_codes(self) -> int:
        """Rows of an embedding table, unknown and missing included."""
        return len(self.values_) + 2

    def encode(self, item: pd.Series) -> Codes:
        """int32 [n]."""
        places, found = distinct(item)
        table = np.array([self._code(value) for value in found] + [self.MISSING_CODE], np.int32)
        return table[places]

    def _code(self, value: Any) -> int:
        name = self.name_of(value)
        code = self.codes_.get(name)
        if code is None and isinstance(value, str) and _number(name) == _number(name):
            code = self.codes_.get(key(_number(name)))  # "3.0" for a category that was 3
        return self.UNKNOWN if code is None else code

    def encode_text(self, item: pd.Series) -> tuple[Codes, Floats]:
        """Each row's place in a table of vectors, int32 [n], and the table, float32 [n_values + 1, text_dim].

        The last row of the table, all zeros, is for missing values.
        """
        places, found = distinct(item)
        table = vectors([self.name_of(value) for value in found], self.text_dim)
        return np.where(places < 0, len(found), places).astype(np.int32), np.concatenate(
            [table, np.zeros((1, self.text_dim), np.float32)]
        )

    def decode(self, value: Codes) -> list[str | None]:
        """The values' names; None for missing and for what was not known."""
        return [self.values_[code - 2] if code >= 2 else None for code in np.asarray(value).tolist()]

    def to_dict(self) -> dict[str, Any]:
        return {"values": self.values_, "min_count": self.min_count, "text": self.text, "most_values": self.most_values}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        made = cls(d["min_count"], d["text"], d["most_values"])
        made._set(d["values"])
        return made


class Boolean(Category):
    """Yes or no, however it is spelt: true/false, yes/no, y/n, t/f, 1/0, on/off."""

    @staticmethod
    def name_of(value: Any) -> str:
        name = key(value)
        low = name.lower().removesuffix(".0")
        return "yes" if low in TRUE else "no" if low in FALSE else name


class Date(Processor):
    """A date as numbers: days since the median date, and those of its parts that vary in training.

    The parts are year, month, day, weekday, day of the year, hour and minute. A date that does not parse is missing.
    """

    PARTS = ("elapsed", "year", "month", "day", "weekday", "yearday", "hour", "minute")

    def fit(self, items: pd.Series) -> Self:
        parts, _ = self.parts(items)
        self.numbers_: dict[str, Number] = {}
        for name, values in parts.items():
            present = values[~np.isnan(values)]
            if name == "elapsed" or (len(present) and present.min() < present.max()):
                self.numbers_[name] = Number().fit(pd.Series(values))
        return self

    @classmethod
    def parts(cls, column: pd.Series) -> tuple[dict[str, NDArray[np.float64]], int]:
        """float64 [n] for each part, NaN where missing; and how many values are there but do not parse."""
        when, n_stray = to_dates(column)
        missing = np.isnat(when)
        days = when.astype("datetime64[D]")
        year, month = days.astype("datetime64[Y]"), days.astype("datetime64[M]")
        seconds = (when - days).astype(np.float64)
        made = {
            "elapsed": when.astype(np.float64) / 86400.0,
            "year": year.astype(np.float64) + 1970,
            "month": (month - year).astype(np.float64) + 1,
            "day": (days - month).astype(np.float64) + 1,
            "weekday": (days.astype(np.float64) + 3) % 7,  # Monday is 0
            "yearday": (days - year).astype(np.float64) + 1,
            "hour": seconds // 3600,
            "minute": seconds // 60 % 60,
        }
        return {name: np.where(missing, np.nan, values) for name, values in made.items()}, n_stray

    def encode(self, item: pd.Series) -> tuple[Floats, Flags]:
        """(float32 [n, parts], uint8 [n, parts])."""
        parts, _ = self.parts(item)
        encoded = [number.encode_values(parts[name]) for name, number in self.numbers_.items()]
        return np.stack([values for values, _ in encoded], 1), np.stack([flags for _, flags in encoded], 1)

    def decode(self, value: tuple[Floats, Flags]) -> NDArray[np.datetime64]:
        """The dates again, to the precision of elapsed days in float32; NaT where missing."""
        at = list(self.numbers_).index("elapsed")
        days = self.numbers_["elapsed"].decode((value[0][:, at], value[1][:, at]))
        seconds = np.where(np.isnan(days), 0, np.round(np.nan_to_num(days) * 86400.0)).astype(np.int64)
        return np.where(np.isnan(days), np.datetime64("NaT", "s"), seconds.astype("datetime64[s]"))

    def to_dict(self) -> dict[str, Any]:
        return {"numbers": {name: number.to_dict() for name, number in self.numbers_.items()}}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        made = cls()
        made.numbers_ = {name: Number.from_dict(state) for name, state in d["numbers"].items()}
        return made


def to_dates(column: pd.Series) -> tuple[NDArray[Any], int]:
    """A column as datetime64[s] (in UTC where it names zones), NaT where missing; and how many values do not parse."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        dates = column
        n_stray = 0
    else:
        codes, found = distinct(column)
        texts = pd.Series([key(value) for value in found], dtype=object)
        parsed = pd.to_datetime(texts, errors="coerce", format="mixed", utc=True)
        strays = parsed.isna().to_numpy()
        n_stray = int(strays[codes[codes >= 0]].sum())
        dates = pd.concat([parsed, pd.Series([pd.NaT], dtype=parsed.dtype)], ignore_index=True).iloc[codes]
    if getattr(dates.dt, "tz", None) is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    return dates.to_numpy().astype("datetime64[s]"), n_stray
