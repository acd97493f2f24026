"""Checks of what stands beside the figure that is watched: other figures that get worse, and memory that stays empty."""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.watch import Record
from tipsai.metrics import METRICS

# --- guards ---------------------------------------------------------------------------------------------------------

FEWEST = 12  # epochs
LATE = 6  # of them at least
Z = 4.0  # standard errors of a change
NOTICED, MUCH = 0.05, 0.25  # of a figure's range over the run


def moved(values: Sequence[float]) -> tuple[float, float]:
    """How far a series got, from the mean of its first three values to that of its last three, and the standard error.

    Noise is told from curvature by second differences, whose mean square is six times its variance.
    """
    second = [a - 2 * b + c for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    noise = math.sqrt(fmean(d * d for d in second) / 6)
    return fmean(values[-3:]) - fmean(values[:3]), noise * math.sqrt(2 / 3)


def _rises(name: str) -> bool | None:
    """Whether a figure should rise; None where that is not known."""
    if name == "valid_loss":
        return False
    make = METRICS.get(name.removeprefix("valid_"))
    return None if make is None else make().higher_is_better


def _guards(r: Record) -> Figures | None:
    """How far each validation figure got in the second half of the epochs, better counted as positive.

    In the last third of 1cycle the rate is so low that little moves.
    """
    if not r.ended or len(r.rows) < FEWEST:
        return None
    late = max(LATE, len(r.rows) // 2)
    found: dict[str, dict[str, float]] = {}
    for name in r.rows[-1]:
        rises = _rises(name) if name.startswith("valid_") else None
        values = [float(row.get(name, math.nan)) for row in r.rows]
        if rises is None or not all(map(math.isfinite, values)):
            continue
        change, error = moved(values[-late:])
        sign = 1.0 if rises else -1.0
        found[name] = {
            "gain": sign * change,
            "error": error,
            "range": max(values) - min(values),
            "from": values[-late],
            "to": values[-1],
        }
    watched = next((name for name in found if name != "valid_loss"), None)
    return None if watched is None else {"watched": watched, "epochs": late, "figures": found}


def _judge_guards(f: Figures) -> Iterator[Verdict]:
    figures, name = f["figures"], f["watched"]
    main = figures[name]
    if main["gain"] < max(Z * main["error"], NOTICED * main["range"]) or not main["range"]:
        return
    worse = {
        other: c
        for other, c in figures.items()
        if other != name and c["range"] and -c["gain"] > max(Z * c["error"], NOTICED * c["range"])
    }
    if not worse:
        return
    guard, c = min(worse.items(), key=lambda item: item[1]["gain"] / item[1]["range"])
    much = guard != "valid_loss" and -c["gain"] > MUCH * c["range"]
    yield Verdict(
        "warning" if much else "advice",
        f"over the last {f['epochs']} epochs {name} went from {main['from']:.4g} to {main['to']:.4g}, which is better, and {guard} from "
        f"{c['from']:.4g} to {c['to']:.4g}, which is worse. Early they move together; now they part.",
        f,
        f"Decide which of them matters, and stop or keep by it: learn.fit_one_cycle(n, final='best', monitor={guard!r}).",
    )


GUARDS = Check(
    "metric-and-guards",
    "training",
    "TR18",
    _guards,
    _judge_guards,
    "Ng, Machine Learning Yearning, chapter 9: optimizing and satisficing metrics",
    ("learning-rate", "overfitting"),
)


# --- memory ---------------------------------------------------------------------------------------------------------

EMPTY = 0.4  # of the device's memory
FILLED = 0.8  # that is meant to be used
STEPS, SECONDS = 500, 30.0  # of a fit, below which it is no matter
WAITING = 0.3  # of the time; more, and larger batches would not come sooner
LARGEST = 16  # times


def _memory(r: Record) -> Figures | None:
    if not r.ended or r.memory is None or r.spent <= 0:
        return None
    peak, total = r.memory
    return {"peak": peak, "total": total, "steps": len(r.lrs), "seconds": r.spent, "waited": r.waited / r.spent}


def judge_memory(f: Figures) -> Iterator[Verdict]:
    used = f["peak"] / f["total"]
    if used >= EMPTY or f["waited"] > WAITING or f["steps"] < STEPS or f["seconds"] < SECONDS or not f["peak"]:
        return
    most = min(LARGEST, FILLED / used, f["steps"] / (STEPS / 4))
    times = 2 ** int(math.log2(most))
    yield Verdict(
        "advice",
        f"training used {used:.0%} of the device's memory ({f['peak'] / 2**30:.1f} of {f['total'] / 2**30:.1f} GiB) at its peak, and did "
        "not wait for data: larger batches would make fewer steps of the same epochs.",
        f,
        f"Make bs {times} times as large, with lr=tipsai.scale_lr(learn.lr, {times}, 1).",
    )


MEMORY = Check("memory-mostly-empty", "training", "TR04", _memory, judge_memory)

CHECKS: tuple[Check, ...] = (GUARDS, MEMORY)
