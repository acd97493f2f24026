"""Processors of a table's columns. Each is fitted on training rows, encodes whole columns, and is stored as plain JSON."""

import datetime
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tipsai.core.errors import ColumnError, listing
from tipsai.data.processor import Processor, key
from tipsai.frame.values import Codes, distinct, numbers_of, to_number, yes_or_no
from tipsai.tabular.ngrams import CHUNK, likeness, matches, vectors

Floats = NDArray[np.float32]
Flags = NDArray[np.uint8]

_ARROW_DAYS = ("date32[day][pyarrow]", "date64[ms][pyarrow]")  # which cannot be asked for a zone
_TIME_ALONE = re.compile(r"\s*\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*([ap]m)?\s*", re.IGNORECASE)
_TWO_NUMBERS_FIRST = re.compile(r"\s*(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})\b")


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
            self.scale_ = (high - low) or float(values.max() / 2 - values.min() / 2) or 1.0
        return self

    def encode(self, item: pd.Series) -> tuple[Floats, Flags]:
        """(float32 [n], uint8 [n]: 1 where missing).

        Raises:
            ColumnError: most values are words.
        """
        values, n_stray, _ = numbers_of(item)
        n_present = n_stray + int((~np.isnan(values)).sum())
        if n_stray * 2 > n_present:
            words = [value for value in distinct(item)[1] if np.isnan(to_number(value))]
            raise ColumnError(
                f"the column {str(item.name)!r} was numbers in training and now holds words such as "
                f"{listing(words, 3)}. Check that the columns are in their places."
            )
        return self.encode_values(values)

    def encode_values(self, values: NDArray[np.float64]) -> tuple[Floats, Flags]:
        missing = np.isnan(values)
        with np.errstate(over="ignore"):  # what overflows is as far out as can be
            z = np.where(missing, 0.0, np.clip((values - self.median_) / self.scale_, -1e9, 1e9))
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
        text: the spelling counts (TA02): a value that is rare or unknown takes the code of the one it is most like, if
            any is alike enough, and each value has its character n-grams as a vector besides.
    """

    UNKNOWN, MISSING_CODE = 0, 1
    text_dim: ClassVar[int] = 96
    alike: ClassVar[float] = 0.55  # of ngrams.likeness: 93% of misspellings reach it, four in five other words do not
    variant_share: ClassVar[float] = 0.1  # a value is taken for a misspelling of one that is ten times as frequent ...
    variant_alike: ClassVar[float] = 0.65  # ... and so much alike
    n_mains: ClassVar[int] = 100  # the most frequent values, whose misspellings are looked for

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
        self._set(self._without_variants(kept, counts)[: self.most_values] if self.text else kept[: self.most_values])
        return self

    def _without_variants(self, names: list[str], counts: Mapping[str, int]) -> list[str]:
        """Leaves out what seems to be a misspelling of a far more frequent value; names come by frequency."""
        kept: list[str] = []
        mains = names[: self.n_mains]
        most = self.variant_share * np.array([counts[name] for name in mains])
        for start in range(0, len(names), CHUNK):
            part = names[start : start + CHUNK]
            rarer = np.array([counts[name] for name in part])[:, None] <= most
            variant = np.any(rarer & (likeness(part, mains) >= self.variant_alike), axis=1)
            kept += [part[i] for i in np.flatnonzero(~variant)]
        return kept

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
        return np.append(self._resolve(found), np.int32(self.MISSING_CODE))[places]

    def _resolve(self, found: Sequence[Any]) -> Codes:
        """The code of each of these values, its own or that of the value it is most like."""
        codes = np.array([self._code(value) for value in found], np.int32)
        if self.text:
            unknown = np.flatnonzero(codes == self.UNKNOWN)
            best, score = matches([self.name_of(found[int(i)]) for i in unknown], self.values_)
            codes[unknown] = np.where(score >= self.alike, best + 2, self.UNKNOWN)
        return codes

    def _code(self, value: Any) -> int:
        name = self.name_of(value)
        code = self.codes_.get(name)
        if code is None and to_number(name) == to_number(name):  # "3.0" for a category that was 3, and the reverse
            code = self.codes_.get(key(to_number(name)) if isinstance(value, str) else str(to_number(name)))
        return self.UNKNOWN if code is None else code

    def n_unseen(self, item: pd.Series) -> int:
        """How many rows hold a value without a code of its own, even if its spelling finds it another's."""
        places, found = distinct(item)
        unseen = np.array([self._code(value) == self.UNKNOWN for value in found] + [False])
        return int(unseen[places].sum())

    def encode_text(self, item: pd.Series) -> tuple[Codes, Floats]:
        """Each row's place in a table of vectors, int32 [n], and the table, float32 [n_values + 1, text_dim].

        A value that took another's code has that value's vector too: what is left of the misspelling would be noise.
        The last row of the table, all zeros, is for missing values.
        """
        places, found = distinct(item)
        codes = self._resolve(found).tolist()
        names = [self.values_[c - 2] if c >= 2 else self.name_of(v) for c, v in zip(codes, found, strict=True)]
        table = vectors(names, self.text_dim)
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
        return yes_or_no(value)


class Date(Processor):
    """A date as numbers: days since the median date, and those of its parts that vary in training.

    The parts are year, month, day, weekday, day of the year, hour and minute. A date that does not parse is missing.
    Whether 05/03/2020 has the day or the month first is told from the whole column: see day_first.
    """

    PARTS = ("elapsed", "year", "month", "day", "weekday", "yearday", "hour", "minute")

    def fit(self, items: pd.Series) -> Self:
        self.dayfirst_ = day_first(items)
        parts, _ = self.parts(items, self.dayfirst_)
        self.numbers_: dict[str, Number] = {}
        for name, values in parts.items():
            present = values[~np.isnan(values)]
            if name == "elapsed" or (len(present) and present.min() < present.max()):
                self.numbers_[name] = Number().fit(pd.Series(values))
        return self

    @classmethod
    def parts(cls, column: pd.Series, dayfirst: bool = False) -> tuple[dict[str, NDArray[np.float64]], int]:
        """float64 [n] for each part, NaN where missing; and how many values are there but do not parse."""
        when, n_stray = to_dates(column, dayfirst)
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
        parts, _ = self.parts(item, self.dayfirst_)
        encoded = [number.encode_values(parts[name]) for name, number in self.numbers_.items()]
        return np.stack([values for values, _ in encoded], 1), np.stack([flags for _, flags in encoded], 1)

    def decode(self, value: tuple[Floats, Flags]) -> NDArray[np.datetime64]:
        """The dates again, to the precision of elapsed days in float32; NaT where missing."""
        at = list(self.numbers_).index("elapsed")
        days = self.numbers_["elapsed"].decode((value[0][:, at], value[1][:, at]))
        seconds = np.where(np.isnan(days), 0, np.round(np.nan_to_num(days) * 86400.0)).astype(np.int64)
        return np.where(np.isnan(days), np.datetime64("NaT", "s"), seconds.astype("datetime64[s]"))

    def to_dict(self) -> dict[str, Any]:
        return {
            "dayfirst": self.dayfirst_,
            "numbers": {name: number.to_dict() for name, number in self.numbers_.items()},
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        made = cls()
        made.dayfirst_ = d["dayfirst"]
        made.numbers_ = {name: Number.from_dict(state) for name, state in d["numbers"].items()}
        return made


def day_first(column: pd.Series) -> bool:
    """Whether dates such as 05/03/2020 have the day first: some cannot have the month first, or they are 05.03.2020."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype) or pd.api.types.is_numeric_dtype(column.dtype):
        return False
    found = [_TWO_NUMBERS_FIRST.match(value) for value in distinct(column)[1] if isinstance(value, str)]
    matches = [match for match in found if match]
    if any(int(match[3]) > 12 for match in matches):
        return False
    return any(int(match[1]) > 12 or match[2] == "." for match in matches)


def parse_dates(values: Sequence[Any], dayfirst: bool = False) -> pd.Series:
    """Dates in UTC, NaT for what does not parse. A time alone is one on 1970-01-01, so that it means the same every day."""
    with warnings.catch_warnings():
        # pandas warns where day and month could be either; day_first has decided that.
        warnings.simplefilter("ignore", UserWarning)
        texts = pd.Series([_date_text(value) for value in values], dtype=object)
        return pd.to_datetime(texts, errors="coerce", format="mixed", utc=True, dayfirst=dayfirst)


def _date_text(value: Any) -> str:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.isoformat()
    text = key(value)
    return f"1970-01-01 {text}" if _TIME_ALONE.fullmatch(text) else text


def to_dates(column: pd.Series, dayfirst: bool = False) -> tuple[NDArray[Any], int]:
    """A column as datetime64[s] (in UTC where it names zones), NaT where missing; and how many values do not parse."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        dates = column.astype("datetime64[us]") if str(column.dtype) in _ARROW_DAYS else column
        n_stray = 0
    else:
        codes, found = distinct(column)
        parsed = parse_dates(found, dayfirst)
        strays = parsed.isna().to_numpy()
        n_stray = int(strays[codes[codes >= 0]].sum())
        dates = pd.concat([parsed, pd.Series([pd.NaT], dtype=parsed.dtype)], ignore_index=True).iloc[codes]
    if getattr(dates.dt, "tz", None) is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    return dates.to_numpy().astype("datetime64[s]"), n_stray
