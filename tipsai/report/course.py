"""How training went: curves, rate and momentum, activations, gradients and the sizes of steps."""

import math
from collections.abc import Mapping, Sequence

from tipsai.core.state import Row
from tipsai.plot import APART, alike
from tipsai.report.contents import Layers, Looks, Report, Steps
from tipsai.report.rows import Interval, heat_map, intervals
from tipsai.report.scale import averaged, drawable, finite, thinned
from tipsai.report.svg import Series, line_chart
from tipsai.report.words import figure, grid, named

GOOD = (1e-3, 1e-2)  # of a step over its weights: Karpathy, CS231n, and MO02
PARTS = 24  # of a course, each as long as what a smoothed figure is the mean of
FEW = 60  # steps that are shown as they are
SOME = 480  # that are shown behind their smoothed course
HEIGHT = 170.0  # of a chart
MOST_ROWS = 16  # of a heat map
SEEN = 0.005  # a share that is worth a drawing
HIGH = 0.1  # of the peak: where a rate is higher, a step's size says something (MO02)
FEW_LAYERS = 4  # that have a colour of their own


# --- curves -----------------------------------------------------------------------------------------------------------


def curves(report: Report) -> str:
    """Loss, metrics, rate, momentum and gradient norm."""
    steps, rows = report.steps, report.history
    drawn = [*_losses(steps, rows), *_metrics(steps, rows), *_plan(steps)]
    return grid(drawn) if drawn else ""


def course(name: str, y: Sequence[float], log: bool = False, tone: int = 1) -> list[Series]:
    """A series of steps as its smoothed mean; behind it every step where they are few enough, else the range they cover.

    On a logarithmic axis the logarithms are smoothed, since there a mean of figures lies near their largest.
    """

    def smoothed(values: Sequence[float]) -> list[float]:
        if not log:
            return averaged(values, len(values) // PARTS)
        logs = [math.log(v) if drawable(v, True) else math.nan for v in values]
        return [math.exp(v) for v in averaged(logs, len(values) // PARTS)]

    made = thinned(y)
    if len(y) <= FEW:
        return [Series(name, made.x, made.mean, tone)]
    if len(y) <= SOME:
        places = range(1, len(y) + 1)
        return [Series("", places, y, tone, faint=True), Series(name, places, smoothed(y), tone)]
    return [Series(name, made.x, smoothed(made.mean), tone, made.low, made.high)]


def _behind(n: int) -> str:
    """What course draws behind the line, in words."""
    return (
        "" if n <= FEW else f"line: smoothed; {'behind: every step' if n <= SOME else 'area: the range of the steps'}"
    )


def _ends(steps: Steps, rows: Sequence[Row]) -> list[float]:
    """The step at the end of each epoch, as if epochs were alike."""
    size = len(steps.losses) / len(rows) if steps.losses and rows else 1.0
    return [(i + 1) * size for i in range(len(rows))]


def _span(steps: Steps, rows: Sequence[Row]) -> tuple[float, float] | None:
    """The lower axis that charts of a run have in common: all steps or epochs."""
    n = len(steps.losses) or len(rows)
    return (1.0, float(n)) if n > 1 else None


def _column(rows: Sequence[Row], name: str) -> list[float]:
    return [float(row.get(name, math.nan)) for row in rows]


def _losses(steps: Steps, rows: Sequence[Row]) -> list[str]:
    """Objective and validation loss; apart where they are not in the same units."""
    label = "optimizer step" if steps.losses else "epoch"
    valid = Series("validation loss", _ends(steps, rows), _column(rows, "valid_loss"), 2, dots=len(rows) <= 40)
    values = steps.losses or _column(rows, "train_objective")
    seen, known, first = finite(values), finite(valid.y), finite(_column(rows, "train_objective"))
    more = _behind(len(values))
    if not seen and not known:
        return []
    across = _span(steps, rows)
    if not known or not first or not first[0] or 1 / APART < known[0] / first[0] < APART:
        log = _steep([*seen, *known])
        lines = [*course("training objective", values, log), valid]
        title = "Loss" + " (logarithmic)" * log
        return [figure(title, line_chart("Loss", lines, x_label=label, log=log, height=HEIGHT, across=across), more)]
    drawn, log = [], _steep(seen)
    if seen:
        made = line_chart(
            "Training objective", course("", values, log), x_label=label, log=log, height=HEIGHT, across=across
        )
        drawn.append(figure("Training objective", made, "of the scaled target" + (f"; {more}" if more else "")))
    made = line_chart("Validation loss", [valid], x_label=label, height=HEIGHT, across=across)
    return [*drawn, figure("Validation loss", made)]


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
        drawn.append(figure(title, line_chart(title, lines, x_label=label, height=HEIGHT, across=_span(steps, rows))))
    return drawn


def _plan(steps: Steps) -> list[str]:
    label, drawn = "optimizer step", []
    first = 1.0 + len(steps.losses) - len(steps.lrs) if steps.losses else 1.0
    for title, values in (("Learning rate", steps.lrs), ("Momentum (β1 for Adam)", steps.moms)):
        if finite(values):
            made = thinned(values, first)
            line = Series("", made.x, made.mean)
            drawn.append(figure(title, line_chart(title, [line], x_label=label, height=HEIGHT)))
    known = finite(steps.norms)
    if known:
        log = min(known) > 0
        marks = [(steps.clip, "clipped above")] if steps.clip else []
        clipped = sum(v > steps.clip for v in steps.norms) / len(steps.norms) if steps.clip else 0.0
        told = f"{clipped:.0%} of the steps were clipped" if clipped else "no step was clipped"
        title, lines = "Norm of the gradient", course("", steps.norms, log)
        svg = line_chart(title, lines, x_label=label, log=log, marks=marks, height=HEIGHT)
        drawn.append(figure(title, svg, f"before clipping; {told}" if steps.clip else ""))
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
        if _largest(values) >= SEEN:
            kept = dict(list(values.items())[:MOST_ROWS])
            ends = _first_and_last(looks.steps)
            made = heat_map(title, list(kept.values()), list(kept), ends=ends)
            drawn.append(figure(title, made, more + _worst(values)))
    for title, values, more in (
        ("Spread of activations", looks.spread, "standard deviation of an activation's outputs"),
        ("Norm of the gradient by layer", looks.gradients, "before clipping"),
    ):
        if any(finite(series) for series in values.values()):
            drawn.append(figure(title, _over_time(title, looks, values), more + _colours(values)))
    none = [title.lower() for title, values, _ in named_shares if values and _largest(values) < SEEN]
    told = f"<p>Next to no {' and '.join(none)} were seen.</p>" if none else ""
    return told + grid(drawn) if drawn else ""


def _largest(values: Layers) -> float:
    return max((v for series in values.values() for v in finite(series)), default=0.0)


def _worst(values: Layers) -> str:
    largest = _largest(values)
    name = next(name for name, series in values.items() if largest in series)
    return f"; at most {largest:.0%} ({name})"


def _first_and_last(steps: Sequence[int]) -> tuple[str, str]:
    return (f"step {steps[0]:,}", f"step {steps[-1]:,}") if steps else ("", "")


def updates(report: Report) -> str:
    """The size of a step over that of the weights, by layer (MO02)."""
    looks = report.looks
    peak = max(looks.rates, default=0.0)
    high = [i for i, rate in enumerate(looks.rates) if rate >= HIGH * peak]
    known = {name: _chosen(values, high) for name, values in looks.updates.items() if finite(values)}
    if not known:
        return ""
    title, more = "Update over weight", f"shaded: 0.001 to 0.01, as is usual{_colours(known)}"
    over = _over_time(title, looks, looks.updates, bands=(GOOD,))
    rows = []
    for name, values in known.items():
        ordered = sorted(values)
        rows.append(Interval(name, ordered[len(ordered) // 2], ordered[0], ordered[-1]))
    by = intervals("Update over weight by layer", rows, log=True, band=GOOD)
    return grid(
        [
            figure("Over time", over, more),
            figure("By layer", by, "median and range while the rate was at least a tenth of its peak"),
        ]
    )


def _chosen(values: Sequence[float], index: Sequence[int]) -> list[float]:
    """The figures at these looks; all where there are none, or a layer was not seen at every look."""
    whole = bool(index) and index[-1] < len(values)
    return finite(values[i] for i in index) if whole and finite(values[i] for i in index) else finite(values)


def _colours(values: Mapping[str, object]) -> str:
    return "; colours from the first layer to the last" if len(values) > FEW_LAYERS else ""


def _over_time(title: str, looks: Looks, values: Layers, bands: Sequence[tuple[float, float]] = ()) -> str:
    """A line a layer on a logarithmic axis; of many layers the colour goes from the first to the last."""
    lines = []
    for i, (name, series) in enumerate(values.items()):
        n = min(len(series), len(looks.steps))
        at = looks.steps[len(looks.steps) - n :]
        depth = i / (len(values) - 1) if len(values) > FEW_LAYERS else None
        keyed = depth is None or depth in (0.0, 1.0)
        lines.append(Series(name, at, series[len(series) - n :], i + 1, depth=depth, keyed=keyed))
    return line_chart(title, lines, x_label="optimizer step", log=True, bands=bands, height=HEIGHT)
