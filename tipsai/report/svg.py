"""Charts of lines as inline SVG, from figures alone.

Colours come from the page's style: a class s1 to s6 names a series. The viewBox is narrow, so that text can be read on a
phone. Each drawing says what it shows in its title and its figures in its description.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tipsai.report.scale import Scale, drawable, finite, fit
from tipsai.report.style import RAMP
from tipsai.report.words import escaped, number, short

WIDTH = 360.0  # of the viewBox, about the pixels of a phone
CHARACTER = 6.0  # width of one in the labels, on average
TONES = 6


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart.

    Attributes:
        name: in the legend; "" stands in none.
        x: places.
        y: figures; what is not finite interrupts the line.
        tone: the number of its colour, from 1.
        low: of an interval or envelope, as many as x; empty without.
        high: likewise.
        dots: whether each figure has a dot; intervals then are bars, else an area.
        depth: in place of the tone, from 0 for the first of an order to 1 for its last.
        keyed: whether it stands in the legend.
        faint: whether it is drawn thin and pale.
        line: whether the figures are joined.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    tone: int = 1
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dots: bool = False
    depth: float | None = None
    line: bool = True
    keyed: bool = True
    faint: bool = False


def opened(width: float, height: float, title: str, description: str) -> str:
    """The beginning of a drawing, with its text for those who do not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {at(width)} {at(height)}" role="img">'
        f"<title>{escaped(title)}</title><desc>{escaped(description)}</desc>"
    )


def at(place: float) -> str:
    """A place, to a tenth of a unit."""
    return f"{place:.1f}".removesuffix(".0")


def text(x: float, y: float, words: object, anchor: str = "start", kind: str = "") -> str:
    anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
    classed = f' class="{kind}"' if kind else ""
    return f'<text x="{at(x)}" y="{at(y)}"{anchored}{classed}>{escaped(words)}</text>'


def rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{at(x1)}" y1="{at(y1)}" x2="{at(x2)}" y2="{at(y2)}" class="{kind}"/>'


def empty(title: str) -> str:
    """What stands where there is nothing to draw."""
    drawn = opened(WIDTH, 60, title, "There are no figures to draw.")
    return drawn + text(WIDTH / 2, 34, "no figures", "middle") + "</svg>"


def line_chart(
    title: str,
    series: Iterable[Series],
    *,
    x_label: str = "",
    log: bool = False,
    height: float = 200.0,
    zero: bool = False,
    bands: Sequence[tuple[float, float]] = (),
    marks: Sequence[tuple[float, str]] = (),
    diagonal: bool = False,
    span: tuple[float, float] | None = None,
    across: tuple[float, float] | None = None,
    legend: bool = True,
) -> str:
    """Lines over a common axis.

    Args:
        title: what it shows.
        series: the lines.
        x_label: of the lower axis.
        log: whether figures stand on a logarithmic axis; those that are not above zero are left out.
        height: of the plot, in units of a width of 360.
        zero: whether the axis holds zero.
        bands: ranges of good figures, shaded.
        marks: figures that a dashed line marks, each with a word.
        diagonal: whether a dashed line shows where both axes are equal, from 0 to 1.
        span: the ends of both axes, in place of those of the figures.
        across: the ends of the lower axis alone, likewise.
        legend: whether the names of several series stand above.

    Returns:
        An <svg> element.
    """
    shown = [s for s in series if any(drawable(v, log) for v in s.y)]
    if not shown:
        return empty(title)
    named = [s for s in shown if s.name]
    keyed = [s for s in named if s.keyed]
    keys, top = _legend(keyed) if legend and len(keyed) > 1 else ("", 6.0)
    spread = [v for s in shown for part in (s.y, s.low, s.high) for v in part]
    if span is None:
        spread += [v for v, _ in marks] + [v for ends in bands for v in ends]
    y = fit(span or spread, top + height, top, log=log, zero=zero and not log)
    labels = [(v, number(v)) for v in y.ticks()]
    left = 10 + CHARACTER * max((len(words) for _, words in labels), default=1)
    x = _across(span or across, shown, left)
    total = top + height + (34 if x_label else 20)
    drawn = [opened(WIDTH, total, title, described(named or shown, x_label)), keys]
    for low, high in bands:
        a, b = y(low), y(high)
        drawn.append(
            f'<rect x="{at(left)}" y="{at(min(a, b))}" width="{at(WIDTH - 4 - left)}" height="{at(abs(a - b))}" class="band"/>'
        )
    for value, words in labels:
        drawn.append(rule(left, y(value), WIDTH - 4, y(value), "grid-line"))
        drawn.append(text(left - 6, y(value) + 3.8, words, "end"))
    drawn += _foot(x, top + height, x_label)
    if diagonal:
        drawn.append(rule(x(0), y(0), x(1), y(1), "rule"))
    for one in shown:
        drawn += _drawn(one, x, y)
    for value, words in marks:
        if drawable(value, log) and y.low <= value <= y.high:
            drawn.append(rule(left, y(value), WIDTH - 4, y(value), "rule"))
            drawn.append(text(WIDTH - 6, y(value) - 4, words, "end", "over"))
    return "".join(drawn) + "</svg>"


def _across(span: tuple[float, float] | None, shown: Sequence[Series], left: float) -> Scale:
    """The lower axis: from the first place to the last, without room beside them."""
    places = finite([*span] if span else [v for s in shown for v in s.x])
    low, high = (min(places), max(places)) if places else (0.0, 1.0)
    largest = max(abs(low), abs(high), 1e-120)
    if high - low <= 1e-9 * largest:
        pad = max(0.5, 1e-6 * largest)  # a half is lost in the rounding of a number beyond 2**52
        low, high = low - pad, high + pad
    return Scale(low, high, left + 6, WIDTH - 12)


def _foot(x: Scale, bottom: float, label: str) -> list[str]:
    drawn = [rule(x.start - 6, bottom, WIDTH - 4, bottom, "base")]
    ticks = [v for v in x.ticks(4) if x.low <= v <= x.high]
    for value in ticks:
        place = x(value)
        half = CHARACTER * len(number(value)) / 2
        place = min(max(place, half), WIDTH - half)
        drawn.append(text(place, bottom + 14, number(value), "middle"))
    if label:
        drawn.append(text((x.start + x.end) / 2, bottom + 29, label, "middle"))
    return drawn


def _legend(keyed: Sequence[Series]) -> tuple[str, float]:
    """The names with their colours, in as many lines as they need; and where the plot begins."""
    drawn, x, y = [], 0.0, 10.0
    for one in keyed:
        words = short(one.name, 44)
        width = 24 + CHARACTER * len(words)
        if x and x + width > WIDTH:
            x, y = 0.0, y + 15
        mark = rule(x, y - 3.5, x + 12, y - 3.5, "line") if one.line else _circle(x + 6, y - 3.5, 3)
        drawn.append(f"<g{_toned(one)}>{mark}</g>{text(x + 17, y, words, kind='name')}")
        x += width + 8
    return "".join(drawn), y + 10


def _toned(one: Series) -> str:
    if one.depth is not None:
        return f' class="d{round(one.depth * (RAMP - 1))}"'
    return f' class="s{(one.tone - 1) % TONES + 1}"'


def _circle(x: float, y: float, r: float) -> str:
    return f'<circle cx="{at(x)}" cy="{at(y)}" r="{at(r)}" class="dot"/>'


def _polyline(places: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<polyline points="{" ".join(f"{at(a)},{at(b)}" for a, b in places)}" class="{kind}"/>'


def _drawn(one: Series, x: Scale, y: Scale) -> list[str]:
    drawn = [f"<g{_toned(one)}>"]
    places = [(x(a), b) for a, b in zip(one.x, one.y, strict=True) if math.isfinite(a)]
    ranges = [
        (x(a), low, high)
        for a, low, high in zip(one.x, one.low, one.high, strict=False)
        if math.isfinite(a) and drawable(low, y.log) and drawable(high, y.log)
    ]
    if one.dots:
        drawn += [rule(a, y(low), a, y(high), "span") for a, low, high in ranges]
    elif len(ranges) > 1:
        there = " ".join(f"{at(a)},{at(y(high))}" for a, _, high in ranges)
        back = " ".join(f"{at(a)},{at(y(low))}" for a, low, _ in reversed(ranges))
        drawn.append(f'<polygon points="{there} {back}" class="area"/>')
    runs: list[list[tuple[float, float]]] = [[]]
    for a, value in places:
        if drawable(value, y.log):
            runs[-1].append((a, y(value)))
        elif runs[-1]:
            runs.append([])
    known = [run for run in runs if run]
    if one.line:
        kind = "line faint" if one.faint else "line"
        drawn += [_polyline(run, kind) for run in known if len(run) > 1]
    alone = not one.dots and sum(map(len, known)) == 1
    if one.dots or alone:
        drawn += [_circle(a, b, 2.6) for run in known for a, b in run]
    return [*drawn, "</g>"]


def described(series: Sequence[Series], x_label: str = "") -> str:
    """The figures of lines in a sentence each: where they begin and end, the least and the largest."""
    told = []
    for one in series[:12]:
        known = finite(one.y)
        if not known:
            continue
        name = one.name or "the figure"
        along = f" over {len(known):,} points" + (f" of {x_label}" if x_label else "")
        told.append(
            f"{name}{along}: first {number(known[0])}, last {number(known[-1])}, "
            f"least {number(min(known))}, largest {number(max(known))}."
        )
    return " ".join(told) or "There are no figures to draw."


def sparkline(title: str, values: Sequence[float], tone: int = 1) -> str:
    """A small line without axes, its last figure dotted."""
    known = [(i, float(v)) for i, v in enumerate(values) if drawable(v, False)]
    if len(known) < 2:
        return ""
    x = Scale(known[0][0], known[-1][0], 3, 117)
    y = fit([v for _, v in known], 22, 4)
    last = known[-1]
    drawn = opened(120, 26, title, described([Series("", range(len(known)), [v for _, v in known])]))
    drawn = drawn.replace(' role="img"', ' preserveAspectRatio="xMinYMid meet" role="img"', 1)
    line = _polyline([(x(i), y(v)) for i, v in known], "line")
    return f'{drawn}<g class="s{tone}">{line}{_circle(x(last[0]), y(last[1]), 2.4)}</g></svg>'
