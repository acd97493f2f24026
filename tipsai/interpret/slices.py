"""Slices: which items, by the value of a column, fare worse than the rest beyond noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tipsai.core.errors import DataError, SettingError
from tipsai.interpret.bins import check_bins, equal_mass
from tipsai.intervals import LEVEL, bootstrap_mean, from_the_rest, wilson

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

MISSING = "missing"
LEAST = 10  # items of a slice that is looked for; fewer are not told from chance
WORST = 20  # slices that a search over all columns shows


@dataclass(frozen=True, slots=True)
class Errors:
    """What is known of each item's error.

    Attributes:
        loss: float64 [n].
        error: float64 [n]: whether it is wrong, the share of it that is, or the square of a number's error; None where
            the losses alone are known.
        name: of the error's column: "error_rate", or "rmse", for the root of its mean.
        yes_no: whether the errors are 0 and 1.
    """

    loss: Floats
    error: Floats | None
    name: str
    yes_no: bool

    @property
    def compared(self) -> Floats:
        """What tells a slice from the rest: the error rate, else the loss."""
        return self.loss if self.error is None or self.name == "rmse" else self.error

    def differences(self, codes: NDArray[np.int64], n: int, n_compared: int) -> tuple[Floats, Floats, Floats]:
        """Of n slices, each less the rest, with intervals that hold for n_compared slices together (Bonferroni)."""
        level = 1 - (1 - LEVEL) / max(1, n_compared)
        return from_the_rest(self.compared, codes, n, level, within_1=self.compared is self.error)

    def told(self, among: NDArray[np.bool_]) -> dict[str, Any]:
        """The figures of one slice, without the rest."""
        n, loss = int(among.sum()), self.loss[among]
        low, high = bootstrap_mean(loss)
        figures: dict[str, Any] = {"n": n, "loss": loss.mean(), "loss_low": float(low), "loss_high": float(high)}
        if self.error is None:
            return figures
        error = self.error[among]
        low, high = wilson(error.sum(), n) if self.yes_no else bootstrap_mean(error)
        ends = [float(v) for v in (error.mean(), low, high)]
        if self.name == "rmse":
            ends = [v**0.5 for v in ends]
        return figures | dict(zip((self.name, f"{self.name}_low", f"{self.name}_high"), ends, strict=True))


def errors_of(items: Mapping[str, Tensor], sums: Mapping[str, Tensor], kind: str) -> tuple[Errors, NDArray[np.bool_]]:
    """The errors of the items that have targets, and which of all items, [n], these are.

    Args:
        items: what is known of each item; see Interpretation.
        sums: what is known of all of them; likewise.
        kind: likewise.

    Raises:
        DataError: none has a target.
    """
    counted = torch.ones(len(items["loss"]), dtype=torch.bool)
    error, name = None, "error_rate"
    if kind == "classes":
        counted, error = items["target"] >= 0, items["prediction"] != items["target"]
    elif kind == "masks":
        counted, error = ~items["accuracy"].isnan(), 1 - items["accuracy"]
    elif kind == "labels":
        error = items["n_wrong"] / sums["counts"].shape[1]
    elif kind == "numbers":
        error, name = items["square"], "rmse"
    if not counted.any():
        raise DataError("none of the items has a target, so nothing can be said about mistakes.")
    loss = items["loss"][counted].double().numpy()
    return Errors(
        loss, None if error is None else error[counted].double().numpy(), name, kind == "classes"
    ), counted.numpy()


def sliced(values: Any, n_bins: int) -> tuple[NDArray[np.int64], list[str]]:
    """The slice of each item, int64 [n], and the slices' names.

    Numbers and dates of more than n_bins values make bins of equal mass, in their order, and so do few numbers, each by
    itself; other values come by how often they occur, then by name. What is missing is a slice of its own, the last.

    Args:
        values: one an item: a Series, an array, a list.
        n_bins: of numbers.
    """
    import pandas as pd

    column = pd.Series(values).reset_index(drop=True)
    gone = column.isna().to_numpy()
    present = column[~gone]
    is_date = pd.api.types.is_datetime64_any_dtype(column.dtype)
    if is_date or (pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)):
        found, places, counts = np.unique(
            present.to_numpy("datetime64[s]" if is_date else np.float64), return_inverse=True, return_counts=True
        )
        place = equal_mass(counts, n_bins) if len(found) > n_bins else np.arange(len(found))
        codes, names = place[places], _ranges(found, place)
    else:
        names = [
            str(name)
            for name in present.map(str).value_counts().sort_index().sort_values(ascending=False, kind="stable").index
        ]
        codes = pd.Index(names).get_indexer(pd.Index(present.map(str)))
    made = np.full(len(column), len(names), np.int64)
    made[~gone] = codes
    return made, names + [MISSING] * bool(gone.any())


def _ranges(found: NDArray[Any], place: NDArray[np.int64]) -> list[str]:
    """The least and the largest value of each bin, in words."""
    if not len(found):
        return []
    if found.dtype.kind == "M":
        days = len(found) < 2 or (found[-1] - found[0]) / max(1, place[-1]) > np.timedelta64(2, "D")
        words = np.datetime_as_string(found, unit="D" if days else "m").tolist()
    else:
        words = [f"{value:.6g}" for value in found.tolist()]
    first = np.flatnonzero(np.diff(place, prepend=-1))
    last = np.append(first[1:], len(found)) - 1
    return [words[a] if words[a] == words[b] else f"{words[a]} to {words[b]}" for a, b in zip(first, last, strict=True)]


def by_values(errors: Errors, values: Any, n_bins: int) -> "pd.DataFrame":
    """Every slice of one column; see Interpretation.by_slice."""
    import pandas as pd

    codes, names = sliced(values, check_bins(n_bins))
    differences = errors.differences(codes, len(names), len(names))
    return pd.DataFrame([_row(errors, codes == i, names[i], [d[i] for d in differences]) for i in range(len(names))])


def worst(errors: Errors, columns: Mapping[Any, Any], n_bins: int) -> "pd.DataFrame":
    """The slices of any column that are worse than the rest by most, at least; see Interpretation.by_slice.

    Raises:
        SettingError: no column has slices of enough items.
    """
    import pandas as pd

    cut = {name: sliced(values, check_bins(n_bins)) for name, values in columns.items()}
    large = {name: np.bincount(codes, minlength=len(names)) >= LEAST for name, (codes, names) in cut.items()}
    large = {name: kept for name, kept in large.items() if len(kept) > 1}  # one slice has no rest
    n_compared = sum(int(kept.sum()) for kept in large.values())
    if not n_compared:
        raise SettingError(
            f"no column parts these {len(errors.loss):,} items into slices of at least {LEAST}; give values of your own, one an item."
        )
    found = []
    for name, kept in large.items():
        codes, names = cut[name]
        differences = errors.differences(codes, len(names), n_compared)
        found += [(name, i, [float(d[i]) for d in differences]) for i in np.flatnonzero(kept).tolist()]
    found.sort(key=lambda entry: -entry[2][1])
    rows = []
    for name, i, difference in found[:WORST]:
        codes, names = cut[name]
        rows.append({"column": name} | _row(errors, codes == i, names[i], difference))
    return pd.DataFrame(rows)


def _row(errors: Errors, among: NDArray[np.bool_], name: str, difference: list[float]) -> dict[str, Any]:
    mean, low, high = difference
    ends = {"difference": mean, "difference_low": low, "difference_high": high}
    return {"slice": name} | errors.told(among) | ends | {"differs": bool(low > 0 or high < 0)}
