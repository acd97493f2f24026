"""What came out: gaps, baselines, confusion, calibration and the worst examples."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tipsai.core.text import amount
from tipsai.report.contents import Example, Report
from tipsai.report.rows import Interval, heat_map, intervals
from tipsai.report.svg import Series, line_chart
from tipsai.report.words import SPLITS, cell, escaped, figure, grid, named, number, plain, short, table

MOST_CLASSES = 12  # of a confusion matrix that can be read on a phone
TEXT = 600  # characters of an example
COLUMNS = 40  # of a row
MEANING = {
    "bias": "training error itself",
    "variance": "from training to validation",
    "validation": "from validation to test",
}


# --- gaps and baselines -----------------------------------------------------------------------------------------------


def _interval(name: str, values: Sequence[float], tone: int = 1) -> Interval:
    value, low, high = (*map(float, values[:3]), *[math.nan] * (3 - len(values[:3])))
    return Interval(name, value, low, high, tone)


def _sure(values: Sequence[float]) -> bool:
    return len(values) >= 3 and (values[1] > 0 or values[2] < 0)


def gaps(report: Report) -> str:
    """The error on each split, and the gaps between them, with intervals (MO03)."""
    splits, found = report.gaps.get("splits") or {}, report.gaps.get("gaps") or {}
    measure, drawn = str(report.gaps.get("measure", "error")), []
    if splits:
        rows = [_interval(SPLITS.get(name, name), values, i + 1) for i, (name, values) in enumerate(splits.items())]
        sizes = ", ".join(f"{SPLITS.get(n, n)} {v[3]:,.0f}" for n, v in splits.items() if len(v) > 3)
        title = f"{measure.capitalize()} by split"
        drawn.append(figure(title, intervals(title, rows), f"items: {sizes}" if sizes else ""))
    if found:
        rows = [_interval(name, values) for name, values in found.items()]
        drawn.append(
            figure("Gaps", intervals("Gaps", rows, zero=True), "a gap is sure where its interval leaves out zero")
        )
    if not drawn:
        return ""
    sure = [
        f"{name} ({MEANING.get(name, name)}, {number(values[0])})" for name, values in found.items() if _sure(values)
    ]
    told = f"Beyond noise: {', '.join(sure)}." if sure else "No gap stands out from noise." if found else ""
    return (f"<p>{escaped(told)}</p>" if told else "") + grid(drawn)


def baselines(report: Report) -> str:
    """The model beside what needs no training, with intervals (MO09)."""
    held = report.baselines
    simple, better = held.get("baselines") or {}, held.get("better") or {}
    if not simple and not held.get("model"):
        return ""
    measure = str(held.get("measure", "error"))
    rows = [_interval("this model", held["model"])] if held.get("model") else []
    rows += [Interval(name, float(value), tone=6) for name, value in simple.items()]
    drawn = [
        figure(measure.capitalize(), intervals(measure.capitalize(), rows), "less is better" * ("error" in measure))
    ]
    if better:
        made = [_interval(name, values, 3) for name, values in better.items()]
        title = "How much better than"
        drawn.append(figure(title, intervals(title, made, zero=True), "sure where the interval leaves out zero"))
    unsure = [name for name, values in better.items() if not (len(values) >= 3 and values[1] > 0)]
    told = (
        f"Not better than {', '.join(unsure)} beyond noise."
        if unsure
        else f"Better than {amount(len(better), 'baseline')} beyond noise."
    )
    return (f"<p>{escaped(told)}</p>" if better else "") + grid(drawn)


# --- confusion and calibration ----------------------------------------------------------------------------------------


def confusion(report: Report) -> str:
    """What is taken for what, the pairs confused most, and how well each class is met."""
    parts: list[str] = []
    if report.confusion is not None and len(report.confusion.names) > 1:
        parts.append(_matrix(report))
    if report.confused:
        words = {"share_of_target": "share of the target", "count": "times"}
        parts.append(table([dict(row) for row in report.confused], "Confused most", words))
    if report.classes:
        kept = list(report.classes)[:MOST_CLASSES]
        more = f", the worst {len(kept)} of {len(report.classes)}" if len(kept) < len(report.classes) else ""
        parts.append(table(kept, f"By {next(iter(kept[0]))}{more}", {"n": "items"}))
    return f'<div class="beside">{"".join(parts)}</div>' if parts else ""


def _matrix(report: Report) -> str:
    assert report.confusion is not None
    names, counts = list(map(str, report.confusion.names)), report.confusion.counts
    kept, more = list(range(len(names))), "a row a target, in percent of its items"
    if len(names) > MOST_CLASSES:
        missed = [sum(counts[i]) + sum(row[i] for row in counts) - 2 * counts[i][i] for i in range(len(names))]
        kept = sorted(sorted(range(len(names)), key=lambda i: -missed[i])[:MOST_CLASSES])
        more = f"the {MOST_CLASSES} classes with the most mistakes, of {len(names):,}; {more}"
    shares = [[counts[i][j] / max(1, sum(counts[i])) for j in kept] for i in kept]
    words = [[f"{100 * share:.0f}" if share >= 0.005 else "" for share in row] for row in shares]
    said = [
        f"{names[i]}: {share[k]:.0%} of {sum(counts[i]):,} met"
        for k, (i, share) in enumerate(zip(kept, shares, strict=True))
    ]
    chosen = [short(names[i], 14) for i in kept]
    drawn = heat_map(
        "Confusion matrix: a row a target, a column a prediction, in percent",
        [[math.sqrt(share) for share in row] for row in shares],  # the root, so that few are seen too
        chosen,
        chosen,
        words=words,
        x_label="prediction",
        description="; ".join(said) + ".",
    )
    return figure("What is taken for what", drawn, more, wide=True)


def calibration(report: Report) -> str:
    """How often the model is right against how sure it is (DA01)."""
    rows = [row for row in report.calibration if row.get("n")]
    if not rows:
        return ""
    columns = {name: [float(row[name]) for row in rows] for name in ("confidence", "accuracy", "low", "high", "n")}
    line = Series("", columns["confidence"], columns["accuracy"], 1, columns["low"], columns["high"], dots=True)
    n = sum(columns["n"])
    off = (
        sum(k * abs(a - c) for k, a, c in zip(columns["n"], columns["accuracy"], columns["confidence"], strict=True))
        / n
    )
    over = (
        sum(k * (c - a) for k, a, c in zip(columns["n"], columns["accuracy"], columns["confidence"], strict=True)) / n
    )
    title = "Right as often as sure"
    least = min([*columns["low"], *columns["confidence"], 0.5])
    drawn = line_chart(
        title,
        [line],
        x_label="how sure the model is",
        diagonal=True,
        span=(0.0 if least < 0.5 else 0.5, 1.0),
        height=240,
    )
    lean = "surer than it should be" if over > 0 else "less sure than it could be"
    told = f"On average confidence is {off:.1%} off (expected calibration error)" + (
        f"; all in all the model is {lean}, by {abs(over):.1%}." if abs(over) > 0.005 else "."
    )
    more = "how often the model is right; bars: 95% intervals; dashed: perfect"
    return f'<p>{escaped(told)}</p><div class="grid">{figure(title, drawn, more)}</div>'


# --- examples ---------------------------------------------------------------------------------------------------------


def examples(report: Report) -> str:
    """Items as a person would see them: pictures, rows, texts."""
    parts = []
    for heading, items in report.examples.items():
        if not items:
            continue
        kind = "pictures" if items[0].picture else "texts" if items[0].text else "plain"
        if kind == "plain" and items[0].row:
            parts.append(f"<h3>{escaped(heading)}</h3>{_rows(heading, items)}")
            continue
        shown = "".join(f"<li>{_example(item)}</li>" for item in items)
        parts.append(f'<h3>{escaped(heading)}</h3><ul class="examples {kind}">{shown}</ul>')
    return "".join(parts)


def _rows(heading: str, items: Sequence[Example]) -> str:
    """Rows of a table, turned so that each is a column: there are few of them, and their own columns may be many."""
    heads = "".join(f'<th scope="col"{_wrong(item)}>{escaped(_both(item.told) or "item")}</th>' for item in items)
    told = dict.fromkeys(name for item in items for name in item.told if name not in ("target", "prediction"))
    names = list(dict.fromkeys(name for item in items for name in item.row))
    lines = [_line(named(name), [item.told.get(name) for item in items], "told") for name in told]
    lines += [_line(name, [item.row.get(name) for item in items]) for name in names[:COLUMNS]]
    left = len(names) - COLUMNS
    more = f'<p class="quiet">and {amount(left, "column")} more</p>' if left > 0 else ""
    return (
        f'<div class="scroll items" tabindex="0" role="region" aria-label="{escaped(heading)}"><table>'
        f"<caption>target → prediction, an item a column</caption><thead><tr><td></td>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>{more}"
    )


def _line(name: str, values: Sequence[Any], kind: str = "") -> str:
    cells = "".join(f"<td>{cell(value)}</td>" for value in values)
    classed = f' class="{kind}"' if kind else ""
    return f'<tr{classed}><th scope="row">{escaped(short(name, 40))}</th>{cells}</tr>'


def _wrong(item: Example) -> str:
    return ' class="wrong"' if item.wrong else ""


def _both(told: Mapping[str, Any]) -> str:
    """The target and the prediction, where they are known."""
    target, said = told.get("target"), told.get("prediction")
    if said is None:
        return _said(target) if target is not None else ""
    return f"{_said(target)} → {_said(said)}"


def _example(item: Example) -> str:
    both, parts = _both(item.told), []
    told = {name: v for name, v in item.told.items() if name not in ("target", "prediction", "name")}
    name = str(item.told.get("name", ""))
    if item.picture:
        words = f"target {_said(item.told.get('target'))}, prediction {_said(item.told.get('prediction'))}"
        words = words if both else name or f"item {told.get('position', '')}"
        small = ' class="small"' if item.picture.startswith("data:image/png") else ""
        parts.append(f'<img src="{escaped(item.picture)}" alt="{escaped(words)}"{small}>')
    if both:
        parts.append(f'<p class="said{" wrong" * item.wrong}">{escaped(both)}</p>')
    if name:
        told.pop("position", None)
    rest = [
        named(key) + ("" if v is True else f" {v if isinstance(v, str) else number(v)}")
        for key, v in told.items()
        if _known(v)
    ]
    lines = [", ".join(rest), short(name, 40)]
    parts += [f'<p class="quiet">{escaped(line)}</p>' for line in lines if line]
    if item.text:
        cut = item.text if len(item.text) <= TEXT else item.text[:TEXT] + "…"
        parts.append(f"<blockquote>{escaped(cut)}</blockquote>")
    return "".join(parts)


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if not isinstance(value, str) else short(value, 40)


def settings_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A setting as the table of the configuration shows it."""
    yours = bool(row.get("overridden"))
    source = row.get("source") or ""
    said = f"yours; the default is {_brief(row.get('default'))}" if yours else "default"
    told = f"{said} ({source})" if source else said
    return {"setting": row.get("name"), "value": _brief(row.get("value")), "where from": told}


def _brief(value: Any) -> str:
    return plain(value, 60)
