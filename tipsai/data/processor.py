"""Processors: fitted on training items only, reversible, stored as plain JSON."""

import datetime
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from tipsai.core.errors import DataError, listing, nearest


class Processor(ABC):
    """One reversible step. Fitted attributes end in an underscore; `to_dict` is plain JSON and `from_dict` its inverse.

    Laws, which tests hold every processor to: fitting sees training items only; decode(encode(item)) is the item, or
    what the class says is lost; from_dict(to_dict()) encodes alike.
    """

    @abstractmethod
    def fit(self, items: Any) -> Self: ...

    @abstractmethod
    def encode(self, item: Any) -> Any: ...

    @abstractmethod
    def decode(self, value: Any) -> Any: ...

    @abstractmethod
    def to_dict(self) -> dict[str, Any]: ...

    @classmethod
    @abstractmethod
    def from_dict(cls, d: dict[str, Any]) -> Self: ...


def is_missing(value: Any) -> bool:
    """None, NaN, NaT and pandas' NA."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:  # pandas.NA refuses to be true or false
        return True


def key(value: Any) -> str:
    """The name of a category, the same for 3, 3.0, np.int64(3) and "3", so that codes depend on no dtype.

    Text keeps its inner form and loses white space at its ends.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | np.bool_):
        return "True" if value else "False"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return str(int(value)) if math.isfinite(value) and value == int(value) else repr(float(value))
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    if isinstance(value, datetime.date | np.datetime64):
        return str(np.datetime64(value).astype("datetime64[us]"))
    return str(value).strip()


def plain(value: Any) -> str | int | float | bool:
    """A label as JSON can hold it."""
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, str | int | float | bool) else key(value)


class Labels(Processor):
    """The classes of a target: item to number 0..C-1 and back, each label in the type it had in training.

    Args:
        labels: the classes in order, where they are known beforehand; else they are sorted, numbers by value.
    """

    def __init__(self, labels: Sequence[Any] | None = None) -> None:
        self.labels_: list[str | int | float | bool] = []
        self.codes_: dict[str, int] = {}
        self.known = labels is not None  # beforehand, so that fitting changes nothing
        if labels is not None:
            self._set(labels)

    def _set(self, labels: Iterable[Any]) -> None:
        by_key = {key(label): plain(label) for label in labels}
        self.labels_ = list(by_key.values())
        self.codes_ = {name: code for code, name in enumerate(by_key)}

    def fit(self, items: Iterable[Any]) -> Self:
        if not self.known:
            distinct = {key(item): item for item in items if not is_missing(item)}.values()
            numeric = all(isinstance(item, int | float | np.number) for item in distinct)
            self._set(sorted(distinct) if numeric else sorted(distinct, key=key))
        return self

    @property
    def n(self) -> int:
        return len(self.labels_)

    def encode(self, item: Any) -> int:
        """The class number.

        Raises:
            DataError: training never saw this class.
        """
        name = key(item)
        code = self.codes_.get(name)
        if code is None:
            raise DataError(
                f"the class {name!r} was not in the training data.{nearest(name, self.codes_)} "
                f"The classes are {listing(self.labels_)}. Correct it, or train with rows of this class."
            )
        return code

    def decode(self, value: int) -> str | int | float | bool:
        return self.labels_[int(value)]

    def to_dict(self) -> dict[str, Any]:
        return {"labels": self.labels_}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        return cls(d["labels"])


class Standardize(Processor):
    """Numbers to zero mean and unit variance; arrays [..., n] by column."""

    def fit(self, items: Any) -> Self:
        values = np.asarray(items, np.float64)
        values = values.reshape(len(values), -1)
        self.mean_: list[float] = np.nanmean(values, 0).tolist()
        spread = np.nanstd(values, 0)
        # Equal numbers can differ from their mean by rounding; dividing by that would blow up the next other number.
        self.std_: list[float] = np.where(spread > 1e-14 * np.abs(self.mean_), spread, 1.0).tolist()
        return self

    def encode(self, item: Any) -> Any:
        return (np.asarray(item, np.float64) - self.mean_) / self.std_

    def decode(self, value: Any) -> Any:
        return np.asarray(value, np.float64) * self.std_ + self.mean_

    def to_dict(self) -> dict[str, Any]:
        return {"mean": self.mean_, "std": self.std_}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        made = cls()
        made.mean_, made.std_ = d["mean"], d["std"]
        return made
