"""Charts of rows as inline SVG: bars, points with intervals, and heat maps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tipsai.report.scale import Scale, drawable, fit
from tipsai.report.svg import CHARACTER, TONES, WIDTH, at, empty, opened, rule, text
from tipsai.report.words import number, short

ROW = 22.0  # height of one
LABEL = 24  # characters of a row's name at most


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the interval that it lies in.

    Attributes:
        name: of the row.
        value: the figure.
        low: the interval's lower end; NaN without.
        high: likewise.
        tone: the number of its colour, from 1.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    tone: int = 1


def bars(title: str, values: Mapping[str, float], *, log: bool = False, tone: int = 1, most: int = 24) -> str:
    """A bar for each figure, with the figure beside it.

    Args:
        title: what it shows.
        values: figures by name, from above.
        log: whether they stand on a logarithmic axis; those that are not above zero have no bar.
        tone: the number of the colour.
        most: rows; the rest are counted.

    Returns:
        An <svg> element.
    """
    known = {name: float(v) for name, v in values.items() if drawable(v, False)}
    if not known:
        return empty(title)
    shown = dict(list(known.items())[:most])
    left = _left(shown)
    right = 10 + CHARACTER * max(len(number(v)) for v in shown.values())
    x = fit(shown.values(), left, WIDTH - right, log=log, zero=not log)
    base = x.start if log else x(0.0)
    n_rest = len(known) - len(shown)
    height = ROW * len(shown) + 4 + (16 if n_rest else 0)
    told = ", ".join(f"{name} {number(v)}" for name, v in shown.items()) + (f" and {n_rest} more" if n_rest else "")
    drawn = [opened(WIDTH, height, title, told + "."), f'<g class="s{(tone - 1) % TONES + 1}">']
    for i, (name, value) in enumerate(shown.items()):
        y = ROW * i + 2
        drawn.append(text(left - 8, y + 14, short(name, LABEL), "end", "name"))
        end = x(value) if drawable(value, log) else base
        wide = max(abs(end - base), 1.0 if drawable(value, log) else 0.0)
        drawn.append(
            f'<rect x="{at(min(base, end))}" y="{at(y + 3)}" width="{at(wide)}" height="{at(ROW - 8)}" rx="2" class="bar"/>'
        )
        drawn.append(text(max(base, end) + 5, y + 14, number(value), kind="value"))
    drawn.append("</g>")
    if min(shown.values()) < 0 and not log:
        drawn.append(rule(base, 0, base, ROW * len(shown) + 4, "base"))
    if n_rest:
        drawn.append(text(left - 8, height - 4, f"and {n_rest} more", "end"))
    return "".join(drawn) + "</svg>"


def _left(names: Mapping[str, object] | Sequence[str]) -> float:
    return min(12 + CHARACTER * max(min(len(name), LABEL) for name in names), 0.45 * WIDTH)


def intervals(
    title: str,
    rows: Sequence[Interval],
    *,
    zero: bool = False,
    log: bool = False,
    band: tuple[float, float] | None = None,
) -> str:
    """A point with its interval for each figure.

    Args:
        title: what it shows.
        rows: from above.
        zero: whether a line marks zero.
        log: whether figures stand on a logarithmic axis.
        band: a range of good figures, shaded.

    Returns:
        An <svg> element.
    """
    shown = [row for row in rows if drawable(row.value, log)]
    if not shown:
        return empty(title)
    left = _left([row.name for row in shown])
    right = 10 + CHARACTER * max(len(number(row.value)) for row in shown)
    values = [v for row in shown for v in (row.value, row.low, row.high)]
    x = fit([*values, *([0.0] if zero and not log else []), *(band or ())], left + 4, WIDTH - right, log=log)
    bottom = ROW * len(shown) + 4
    drawn = [opened(WIDTH, bottom + 18, title, " ".join(map(_told, shown)))]
    if band is not None:
        drawn.append(
            f'<rect x="{at(x(band[0]))}" y="0" width="{at(x(band[1]) - x(band[0]))}" height="{at(bottom)}" class="band"/>'
        )
    ticks = _apart([v for v in x.ticks(4) if x.low <= v <= x.high], x)
    for value in ticks:
        drawn.append(rule(x(value), 0, x(value), bottom, "grid-line"))
        drawn.append(text(x(value), bottom + 14, number(value), "middle"))
    if zero and not log:
        drawn.append(rule(x(0.0), 0, x(0.0), bottom, "base"))
    for i, row in enumerate(shown):
        y = ROW * i + 13
        drawn.append(text(left - 8, y + 3.5, short(row.name, LABEL), "end", "name"))
        drawn.append(f'<g class="s{(row.tone - 1) % TONES + 1}">')
        end = x(row.value)
        if drawable(row.low, log) and drawable(row.high, log):
            drawn.append(rule(x(row.low), y, x(row.high), y, "span"))
            end = x(row.high)
        drawn.append(f'<circle cx="{at(x(row.value))}" cy="{at(y)}" r="4" class="dot"/></g>')
        drawn.append(text(max(end, x(row.value)) + 8, y + 3.5, number(row.value), kind="value"))
    return "".join(drawn) + "</svg>"


def _apart(ticks: list[float], x: Scale) -> list[float]:
    """Those whose labels do not touch."""
    kept: list[float] = []
    for value in ticks:
        if not kept or x(value) - x(kept[-1]) > CHARACTER * (len(number(value)) + len(number(kept[-1]))) / 2 + 6:
            kept.append(value)
    return kept


def _told(row: Interval) -> str:
    between = f" ({number(row.low)} to {number(row.high)})" if not (math.isnan(row.low) or math.isnan(row.high)) else ""
    return f"{row.name} {number(row.value)}{between}."


def heat_map(
    title: str,
    values: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str] = (),
    *,
    words: Sequence[Sequence[str]] = (),
    ends: tuple[str, str] = ("", ""),
    x_label: str = "",
    description: str = "",
) -> str:
    """Shares from 0 to 1 as the depth of a colour.

    Args:
        title: what it shows.
        values: a row of shares each; what is not finite has no colour.
        rows: a name each.
        columns: a name each, where they have some.
        words: what stands in the cells, if anything.
        ends: what the first and the last column are, where columns have no names.
        x_label: what the columns are.
        description: the figures in words; made of the values by default.

    Returns:
        An <svg> element.
    """
    n = max((len(row) for row in values), default=0)
    if not n or not rows:
        return empty(title)
    left = _left(rows)
    side = (WIDTH - 2 - left) / n
    high = min(max(side, 14.0), 34.0) if words else 18.0
    label = max((len(short(name, 12)) for name in columns), default=0)
    upright = label * CHARACTER <= side
    top = 0.0 if not columns else 18.0 if upright else 8 + 5.0 * label
    foot = 18.0 if any(ends) or x_label else 2.0
    height = top + high * len(rows) + foot
    made = description or " ".join(
        f"{name}: {number(row[0])} first, {number(row[-1])} last, {number(max(row))} at most."
        for name, row in zip(rows, values, strict=True)
        if row
    )
    drawn = [opened(WIDTH, height, title, made)]
    for j, name in enumerate(columns):
        x = left + side * (j + 0.5)
        if upright:
            drawn.append(text(x, top - 6, short(name, 12), "middle", "name"))
        else:
            turned = f'transform="rotate(-55 {at(x)} {at(top - 5)})"'
            drawn.append(text(x, top - 5, short(name, 12), kind="name").replace("<text ", f"<text {turned} ", 1))
    for i, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + high * i
        drawn.append(text(left - 8, y + high / 2 + 3.8, short(name, LABEL), "end", "name"))
        for j, value in enumerate(row):
            x = left + side * j
            if math.isfinite(value) and value > 0:
                drawn.append(
                    f'<rect x="{at(x + 0.5)}" y="{at(y + 0.5)}" width="{at(max(side - 1, 0.5))}" height="{at(high - 1)}" '
                    f'fill-opacity="{min(value, 1.0):.2f}" class="cell"/>'
                )
            if words and words[i][j]:
                drawn.append(text(x + side / 2, y + high / 2 + 3.8, words[i][j], "middle", "value"))
    drawn.append(
        f'<rect x="{at(left)}" y="{at(top)}" width="{at(side * n)}" height="{at(high * len(rows))}" class="frame"/>'
    )
    low = height - 4
    if any(ends):
        drawn += [text(left, low, ends[0]), text(left + side * n, low, ends[1], "end")]
    if x_label:
        drawn.append(text(left + side * n / 2, low, x_label, "middle"))
    return "".join(drawn) + "</svg>"
