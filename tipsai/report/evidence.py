"""A finding's figures, drawn: bars for what can be compared, a line for what goes on, intervals where there are some."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tipsai.core.finding import Finding
from tipsai.report.rows import Interval, bars, intervals
from tipsai.report.scale import finite
from tipsai.report.svg import Series, line_chart
from tipsai.report.words import SPLITS, figure, is_number, named, pairs, table

# Figures of one unit that are worth seeing side by side, by check.
COMPARED: Mapping[str, tuple[str, ...]] = {
    "always-clipped": ("median", "clip"),
    "data-starves-training": ("waited", "spent"),
    "duplicates": ("in both", "valid"),
    "augmented-validation": ("differ", "items"),
    "first-loss": ("first loss", "on the targets", "expected"),
    "fit-few": ("first", "least"),
    "imbalance": ("largest", "smallest"),
    "input-scale": ("mean", "std", "largest"),
    "known-afterwards": ("pure", "told", "base"),
    "leaking-column": ("power", "all others", "base"),
    "near-duplicates": ("near", "valid"),
    "no-validation": ("train", "valid"),
    "overfitting": ("best", "last"),
    "steps-left-out": ("skipped", "steps"),
    "validation-tokens": ("train", "valid"),
}
# What sets of figures are, in words.
TITLES: Mapping[str, str] = {
    "against guessing": "how much better than guessing, with intervals",
    "baselines": "what simple answers get",
    "better": "how much better than each, with intervals",
    "better by class": "how much better than each, classes counted alike",
    "blocks": "the loss, averaged over parts of the run",
    "highest": "the highest median loss of a part of the run",
    "dead": "share of an activation's units that are silent",
    "moved most": "columns that moved most",
    "norms": "norm of the gradient by layer",
    "ratios": "update over weight by layer",
    "saturated": "share of outputs at an end of their range",
}
MANY = 5  # figures in a row that make a line
WIDE = 100.0  # times that figures differ before they stand on a logarithmic axis


def evidence(finding: Finding) -> str:
    """The figures of a finding as drawings and, for the rest of them, a list; "" without any."""
    rest = dict(finding.evidence)
    drawn = _compared(finding.code, rest) + _with_interval(rest) + _alike(rest)
    for name, value in list(rest.items()):
        made = _drawn(name, value, rest)
        if made:
            drawn.append(made)
            rest.pop(name)
    left = {named(str(name)): value for name, value in rest.items() if not _empty(value)}
    parts = "".join(drawn) + (f"<div>{pairs(left)}</div>" if left else "")
    return f'<div class="evidence">{parts}</div>' if parts else ""


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, Sequence | Mapping) and not len(value))


def _numbers(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and all(map(is_number, value))


def _compared(code: str, rest: dict[str, Any]) -> list[str]:
    """Bars of the figures that belong together; taken out of the rest."""
    names = [name for name in COMPARED.get(code, ()) if is_number(rest.get(name))]
    if len(names) < 2:
        return []
    values = {name: float(rest.pop(name)) for name in names}
    title = listed(names)
    return [figure(title, bars(title, values, log=_log(values.values())))]


def _log(values: Any) -> bool:
    known = [abs(v) for v in finite(values) if v]
    return bool(known) and max(known) / min(known) > WIDE and len(known) == len(list(values))


def _with_interval(rest: dict[str, Any]) -> list[str]:
    """A figure beside its own "low" and "high" (or "lower" and "upper") as a point with an interval.

    Where the lower end alone is known, the upper one is as far away.
    """
    for ends in (("low", "high"), ("lower", "upper")):
        low, high = (rest.get(end) for end in ends)
        if not is_number(low):
            continue
        most = high if is_number(high) else math.inf
        name = next((n for n, v in rest.items() if n not in ends and is_number(v) and low <= v <= most), None)
        if name is None:
            continue
        value = float(rest[name])
        row = Interval(named(name), value, float(low), float(high) if is_number(high) else 2 * value - float(low))
        for taken in (name, *ends):
            rest.pop(taken, None)
        title = f"{named(name)}, with its interval"
        return [figure(title, intervals(title, [row], zero=row.low <= 0 <= row.high))]
    return []


def _alike(rest: dict[str, Any]) -> list[str]:
    """Entries with the same figures, such as the mean and the spread of two splits, in one drawing."""
    sets = {
        name: {str(key): float(v) for key, v in value.items()}
        for name, value in rest.items()
        if isinstance(value, Mapping) and value and all(map(is_number, value.values()))
    }
    for first in sets:
        same = [name for name in sets if sets[name].keys() == sets[first].keys()]
        if len(same) < 2:
            continue
        values = {f"{key}, {SPLITS.get(name, name)}": sets[name][key] for key in sets[first] for name in same}
        for name in same:
            rest.pop(name)
        title = f"{listed(list(sets[first]))} by {'split' if set(same) <= SPLITS.keys() else 'part'}"
        return [figure(title, bars(title, values, log=_log(values.values()) and min(values.values()) > 0))]
    return []


def listed(words: Sequence[str]) -> str:
    """Words as a sentence has them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _drawn(name: str, value: Any, rest: Mapping[str, Any]) -> str:
    """One entry as a drawing; "" where it is no set of figures."""
    title = TITLES.get(str(name), named(str(name)))
    if _numbers(value) and len(value) >= MANY:
        first = rest.get("first")
        marks = [(float(first), "first")] if is_number(first) and math.isfinite(first) else []
        places = range(1, len(value) + 1)
        return figure(
            title, line_chart(title, [Series("", places, [float(v) for v in value])], height=130, marks=marks)
        )
    if not isinstance(value, Mapping) or not value:
        return ""
    values = {str(key): v for key, v in value.items()}
    if all(map(is_number, values.values())):
        if len(values) < 2 and str(name) not in TITLES:
            return ""
        figures = {key: float(v) for key, v in values.items()}
        return figure(title, bars(title, figures, log=_log(figures.values()) and min(figures.values()) > 0))
    if all(_numbers(v) and len(v) >= 3 for v in values.values()):
        rows = [
            Interval(key, float(v[0]), float(v[1]), float(v[2]), i + 1) for i, (key, v) in enumerate(values.items())
        ]
        zero = any(row.low <= 0 <= row.high for row in rows)
        return figure(title, intervals(title, rows, zero=zero))
    if all(isinstance(v, Mapping) for v in values.values()):
        keys = list(dict.fromkeys(key for v in values.values() for key in v))
        return f"<div>{table([{title: key, **{k: v.get(k) for k in keys}} for key, v in values.items()], title)}</div>"
    return ""
