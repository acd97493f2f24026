"""From figures to places: axes with round numbers, and long series thinned to what an eye can see."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

BEYOND = 1e150  # larger numbers would overflow where they are subtracted and squared
LEAST = 1e-300  # that a logarithmic axis knows
BINS = 240  # of a thinned series


def finite(values: Iterable[float]) -> list[float]:
    """Those that can be drawn."""
    return [float(v) for v in values if math.isfinite(v) and abs(v) < BEYOND]


def drawable(value: float, log: bool) -> bool:
    return math.isfinite(value) and abs(value) < BEYOND and (value > 1 / BEYOND if log else True)


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis: figures from low to high at places from start to end.

    Attributes:
        low: the figure at the start; of a logarithmic axis above zero.
        high: at the end.
        start: a place, in units of the drawing.
        end: likewise.
        log: whether it is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a figure; what lies outside is put at the end it lies beyond."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, LEAST))
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return self.start + share * (self.end - self.start)

    def ticks(self, n: int = 5) -> list[float]:
        """Some n round figures within the axis, at least one."""
        return _log_ticks(self.low, self.high, n) if self.log else _ticks(self.low, self.high, n)


def fit(values: Iterable[float], start: float, end: float, *, log: bool = False, zero: bool = False) -> Scale:
    """An axis that holds all values that can be drawn, ends on round figures, and has a width whatever they are.

    Args:
        values: to be drawn on it.
        start: a place.
        end: likewise.
        log: whether it is logarithmic; values must then be above zero.
        zero: whether a linear axis begins or ends at zero.
    """
    known = [v for v in values if drawable(v, log)]
    if not known:
        return Scale(*((1.0, 10.0) if log else (0.0, 1.0)), start, end, log)
    low, high = min(known), max(known)
    if log:
        if high / low < 1.2:
            low, high = low / 1.5, high * 1.5
        room = (high / low) ** 0.04
        return Scale(low / room, high * room, start, end, True)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    least = max(abs(low), abs(high)) * 1e-6
    if high - low <= max(least, 1e-120):
        pad = max(abs(high) * 0.1, 1e-3)
        low, high = (
            (low - pad, high + pad) if not zero or low == high == 0.0 else (low, high + (pad if high > 0 else 0))
        )
        if high - low <= 1e-120:
            low, high = low - 1e-3, high + 1e-3
    room = 0.04 * (high - low)
    return Scale(low if zero and low == 0.0 else low - room, high if zero and high == 0.0 else high + room, start, end)


def _ticks(low: float, high: float, n: int) -> list[float]:
    rough = (high - low) / max(1, n)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next((m * size for m in (1, 2, 5, 10) if m * size >= rough * 0.999), 10 * size)
    first, last = math.ceil(low / step), math.floor(high / step)
    # round-off such as 0.30000000000000004 is taken off by the digits that the step has
    digits = max(0, -math.floor(math.log10(step)))
    return [round(i * step, min(digits, 300)) + 0.0 for i in range(first, min(last, first + 4 * n) + 1)] or [low]


def _log_ticks(low: float, high: float, n: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    decades = [10.0**e for e in range(first, last + 1)]
    if len(decades) >= 2:
        return decades[:: -(-len(decades) // n)]
    base = math.floor(math.log10(low))
    for multiples in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [m * 10.0**e for e in (base, base + 1) for m in multiples if low <= m * 10.0**e <= high]
        if len(found) >= 2:
            return found
    return [low, high]


# --- long series ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Thinned:
    """A long series in bins.

    Attributes:
        x: the middle of each bin.
        low: the least figure in it; NaN where there is none that is finite.
        high: the largest.
        mean: of those that are finite.
    """

    x: list[float]
    low: list[float]
    high: list[float]
    mean: list[float]


def thinned(y: Sequence[float], first: float = 1.0, bins: int = BINS) -> Thinned:
    """A series with one entry a step as least, largest and mean of at most so many bins.

    Args:
        y: figures, at steps first, first + 1, ...
        first: the step of the first.
        bins: at most.
    """
    values = np.asarray(y, np.float64)
    n = len(values)
    if not n:
        return Thinned([], [], [], [])
    edges = np.unique(np.linspace(0, n, min(bins, n) + 1).astype(np.int64)[:-1])
    known = np.isfinite(values) & (np.abs(values) < BEYOND)
    counts = np.add.reduceat(known.astype(np.int64), edges)
    none = counts == 0
    low = np.minimum.reduceat(np.where(known, values, np.inf), edges)
    high = np.maximum.reduceat(np.where(known, values, -np.inf), edges)
    mean = np.add.reduceat(np.where(known, values, 0.0), edges) / np.maximum(counts, 1)
    ends = np.append(edges[1:], n)
    x = first + (edges + ends - 1) / 2
    low, high, mean = (np.where(none, np.nan, part) for part in (low, high, mean))
    return Thinned(x.tolist(), low.tolist(), high.tolist(), mean.tolist())


def averaged(values: Sequence[float], width: int) -> list[float]:
    """The mean of so many figures around each, of fewer at the ends; what is not finite is passed over."""
    y = np.asarray(values, np.float64)
    half = width // 2
    if half < 1 or not len(y):
        return list(map(float, y))
    known = np.isfinite(y) & (np.abs(y) < BEYOND)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, y, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    low, high = np.maximum(np.arange(len(y)) - half, 0), np.minimum(np.arange(len(y)) + half + 1, len(y))
    n = count[high] - count[low]
    return list(map(float, np.where(n > 0, (total[high] - total[low]) / np.maximum(n, 1), np.nan)))
