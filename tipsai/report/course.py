"""How training went: curves, rate and momentum, activations, gradients and the sizes of steps."""

import math
from collections.abc import Sequence

from tipsai.core.state import Row
from tipsai.plot import APART, alike, smooth
from tipsai.report.contents import Layers, Looks, Report, Steps
from tipsai.report.rows import Interval, heat_map, intervals
from tipsai.report.scale import finite, thinned
from tipsai.report.svg import Series, line_chart
from tipsai.report.words import escaped, named

GOOD = (1e-3, 1e-2)  # of a step over its weights: Karpathy, CS231n, and MO02
SMOOTH = 0.9
FEW = 120  # steps that are shown one by one
MOST_ROWS = 16  # of a heat map
FEW_LAYERS = 4  # that have a colour of their own


def figure(title: str, svg: str, more: str = "", wide: bool = False) -> str:
    """A drawing with its caption; the second line is quieter."""
    quiet = f"<span>{escaped(more)}</span>" if more else ""
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}><figcaption>{escaped(title)}{quiet}</figcaption>{svg}</figure>"


def grid(figures: Sequence[str]) -> str:
    return f'<div class="grid">{"".join(figures)}</div>'


# --- curves -----------------------------------------------------------------------------------------------------------


def curves(report: Report) -> str:
    """Loss, metrics, rate, momentum and gradient norm."""
    steps, rows = report.steps, report.history
    drawn = [*_losses(steps, rows), *_metrics(steps, rows), *_plan(steps)]
    return grid(drawn) if drawn else ""


def course(name: str, y: Sequence[float], first: float = 1.0, tone: int = 1) -> Series:
    """A series of steps as its smoothed mean, with the range that it covers where it is long."""
    made = thinned(y, first)
    if len(y) <= FEW:
        return Series(name, made.x, made.mean, tone)
    return Series(name, made.x, smooth(made.mean, SMOOTH), tone, made.low, made.high)


def _ends(steps: Steps, rows: Sequence[Row]) -> list[float]:
    """The step at the end of each epoch, as if epochs were alike."""
    size = len(steps.losses) / len(rows) if steps.losses and rows else 1.0
    return [(i + 1) * size for i in range(len(rows))]


def _column(rows: Sequence[Row], name: str) -> list[float]:
    return [float(row.get(name, math.nan)) for row in rows]


def _losses(steps: Steps, rows: Sequence[Row]) -> list[str]:
    at = _ends(steps, rows)
    label = "optimizer step" if steps.losses else "epoch"
    valid = Series("validation loss", at, _column(rows, "valid_loss"), 2, dots=len(rows) <= 40)
    objective = (
        course("training objective", steps.losses)
        if steps.losses
        else Series("training objective", at, _column(rows, "train_objective"))
    )
    more = "line: smoothed; area: the range of the steps" if len(steps.losses) > FEW else ""
    known, first = finite(valid.y), finite(_column(rows, "train_objective"))
    together = not known or not first or not first[0] or 1 / APART < known[0] / first[0] < APART
    if together and (known or finite(objective.y)):
        high = [v for v in objective.high if math.isfinite(v)]
        log = _steep([*finite(objective.y), *known, *high])
        title = "Loss" + (" (logarithmic)" if log else "")
        return [figure(title, line_chart("Loss", [objective, valid], x_label=label, log=log), more)]
    drawn = []
    if finite(objective.y):
        made = line_chart("Training objective", [objective], x_label=label)
        drawn.append(figure("Training objective", made, "of the scaled target" + (f"; {more}" if more else "")))
    if known:
        drawn.append(figure("Validation loss", line_chart("Validation loss", [valid], x_label=label)))
    return drawn


def _steep(values: Sequence[float]) -> bool:
    """Whether figures fall so far that a linear axis would show a corner."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > 50


def _metrics(steps: Steps, rows: Sequence[Row]) -> list[str]:
    names = {name for row in rows for name in row if name.startswith("valid_")} - {"valid_loss"}
    sizes = {name: max(map(abs, finite(_column(rows, name))), default=0.0) for name in names}
    label, at = ("optimizer step" if steps.losses else "epoch"), _ends(steps, rows)
    drawn = []
    for group in alike({name: size for name, size in sizes.items() if finite(_column(rows, name))}):
        lines = [
            Series(named(name).removeprefix("validation "), at, _column(rows, name), i + 1, dots=len(rows) <= 40)
            for i, name in enumerate(group)
        ]
        title = f"Validation {lines[0].name}" if len(lines) == 1 else "Validation metrics"
        drawn.append(figure(title, line_chart(title, lines, x_label=label)))
    return drawn


def _plan(steps: Steps) -> list[str]:
    label, drawn = "optimizer step", []
    first = 1.0 + len(steps.losses) - len(steps.lrs) if steps.losses else 1.0
    for title, values in (("Learning rate", steps.lrs), ("Momentum (β1 for Adam)", steps.moms)):
        if finite(values):
            made = thinned(values, first)
            line = Series("", made.x, made.mean)
            drawn.append(figure(title, line_chart(title, [line], x_label=label, height=150)))
    if finite(steps.norms):
        norms = course("gradient norm", steps.norms)
        marks = [(steps.clip, "clipped above")] if steps.clip else []
        clipped = sum(v > steps.clip for v in steps.norms) / len(steps.norms) if steps.clip else 0.0
        more = f"before clipping; {clipped:.0%} of the steps were clipped" if steps.clip else ""
        log = min(finite(steps.norms)) > 0
        title = "Norm of the gradient"
        drawn.append(figure(title, line_chart(title, [norms], x_label=label, log=log, marks=marks, height=150), more))
    return drawn


# --- inside -----------------------------------------------------------------------------------------------------------


def layers(report: Report) -> str:
    """Activations and gradients over time (MO01)."""
    looks, drawn = report.looks, []
    named_shares = (
        ("Silent units", looks.dead, "share of an activation's units that say nothing to any item"),
        ("Saturated outputs", looks.saturated, "share of outputs at an end of their range"),
    )
    for title, values, more in named_shares:
        if values:
            kept = dict(list(values.items())[:MOST_ROWS])
            ends = _first_and_last(looks.steps)
            made = heat_map(title, list(kept.values()), list(kept), ends=ends)
            drawn.append(figure(title, made, more + _worst(values)))
    for title, values, more in (
        ("Spread of activations", looks.spread, "standard deviation of an activation's outputs"),
        ("Norm of the gradient by layer", looks.gradients, "before clipping"),
    ):
        if any(finite(series) for series in values.values()):
            drawn.append(figure(title, _over_time(title, looks, values), more))
    return grid(drawn) if drawn else ""


def _worst(values: Layers) -> str:
    name, largest = max(((n, max(finite(v), default=0.0)) for n, v in values.items()), key=lambda pair: pair[1])
    return f"; at most {largest:.0%} ({name})" if largest >= 0.005 else "; never more than 0.5%"


def _first_and_last(steps: Sequence[int]) -> tuple[str, str]:
    return (f"step {steps[0]:,}", f"step {steps[-1]:,}") if steps else ("", "")


def updates(report: Report) -> str:
    """The size of a step over that of the weights, by layer (MO02)."""
    looks = report.looks
    known = {name: finite(v) for name, v in looks.updates.items() if finite(v)}
    if not known:
        return ""
    title, more = "Update over weight", "shaded: 0.001 to 0.01, where healthy runs mostly lie"
    over = _over_time(title, looks, looks.updates, bands=(GOOD,))
    rows = []
    for name, values in known.items():
        ordered = sorted(values)
        rows.append(Interval(name, ordered[len(ordered) // 2], ordered[0], ordered[-1]))
    by = intervals("Update over weight by layer", rows, log=True, band=GOOD)
    return grid(
        [figure("Over time", over, more), figure("By layer", by, "median, and range over the run; shaded as beside")]
    )


def _over_time(title: str, looks: Looks, values: Layers, bands: Sequence[tuple[float, float]] = ()) -> str:
    """A line a layer on a logarithmic axis; of many layers the colour goes from the first to the last."""
    lines = []
    for i, (name, series) in enumerate(values.items()):
        n = min(len(series), len(looks.steps))
        at = looks.steps[len(looks.steps) - n :]
        depth = i / (len(values) - 1) if len(values) > FEW_LAYERS else None
        lines.append(Series(name, at, series[len(series) - n :], i + 1, depth=depth))
    return line_chart(title, lines, x_label="optimizer step", log=True, bands=bands)
