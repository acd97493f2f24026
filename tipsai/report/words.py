"""Text, numbers and tables as HTML."""

import html
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

# What XML 1.0 forbids, and halves of a pair that no file can hold.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_UNITS = {"n": "items", "rmse": "RMSE", "mae": "MAE", "roc_auc": "ROC AUC", "iou": "IoU", "f1": "F1", "lr": "LR"}
SPLITS = {"train": "training", "valid": "validation", "test": "test"}


def escaped(text: object) -> str:
    """Text for a page: nothing in it is markup, and what XML forbids is replaced."""
    return html.escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(text)), quote=True)


def short(text: object, most: int = 24) -> str:
    """A name that fits into a figure: its middle left out.

    >>> short("american_staffordshire_terrier", 12)
    'americ…rrier'
    """
    text = str(text)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def number(value: Any) -> str:
    """A number to three digits as people write it; a dash where there is none.

    >>> [number(v) for v in (1234567, 0.5, 0.00012345, 12.0, float("nan"), 3e-7)]
    ['1,234,567', '0.5', '0.000123', '12', '–', '3e-7']
    """
    if value is None:
        return "–"
    if not is_number(value):
        return str(value)
    value = float(value)
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == round(value) and abs(value) < 1e9:
        return f"{value:,.0f}".replace("-", "−")
    if 1e-4 <= abs(value) < 1e6:
        shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{float(f'{value:.3g}'):.6f}".rstrip("0").rstrip(".")
        return shown.replace("-", "−")
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}".replace("-", "−", 1) if value < 0 else f"{mantissa}e{int(exponent)}"


def precise(name: str, value: Any) -> str:
    """A figure of a run: to four digits, a time as such."""
    if name.endswith("seconds") and isinstance(value, numbers.Real) and math.isfinite(value):
        minutes, seconds = divmod(float(value), 60)
        hours, minutes = divmod(int(minutes), 60)
        return (
            f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"
        )
    if isinstance(value, float) and math.isfinite(value) and 1e-3 <= abs(value) < 1e3 and value != round(value):
        return f"{value:.4g}".replace("-", "−")
    return number(value)


def named(name: str) -> str:
    """A figure's name in words.

    >>> named("valid_bits_per_byte")
    'validation bits per byte'
    """
    if name in ("n_parameters", "n_epochs", "n_steps"):
        return name.removeprefix("n_")
    if name == "train_seconds":
        return "training time"
    part, _, rest = name.partition("_")
    if part in SPLITS and rest:
        return f"{SPLITS[part]} {_UNITS.get(rest, rest.replace('_', ' '))}"
    return _UNITS.get(name, name.replace("_", " "))


def plain(value: Any, most: int = 120) -> str:
    """A value in a table, as text; a long one is cut."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if is_number(value):
        return number(value)
    if isinstance(value, str):
        text = value
    elif isinstance(value, Mapping):
        text = ", ".join(f"{key}: {number(v)}" for key, v in value.items()) or "none"
    elif isinstance(value, Iterable):
        kept = [v if isinstance(v, str) else number(v) for v in value]
        text = ", ".join(kept[:8]) + (f" and {len(kept) - 8} more" if len(kept) > 8 else "") if kept else "none"
    else:
        text = getattr(value, "__name__", None) or str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def cell(value: Any, most: int = 120) -> str:
    """A value in a table, as HTML."""
    return escaped(plain(value, most))


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a number; truth is none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def table(rows: Sequence[Mapping[str, Any]], caption: str, words: Mapping[str, str] | None = None) -> str:
    """Rows as a table with a caption, which scrolls within the page where it is too wide; "" without rows.

    Args:
        rows: with the same keys, which are its head.
        caption: what it shows.
        words: for the head, in place of the keys.
    """
    if not rows:
        return ""
    keys = list(rows[0])
    right = {key for key in keys if all(is_number(row.get(key)) or row.get(key) is None for row in rows)}
    right |= {key for key in keys if key in (words or {}) and words and words[key].endswith("%")}
    head = "".join(
        f'<th scope="col"{_side(key in right)}>{escaped((words or {}).get(key, named(str(key))))}</th>' for key in keys
    )
    body = "".join(
        "<tr>" + "".join(f"<td{_side(key in right)}>{cell(row.get(key))}</td>" for key in keys) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(caption)}"><table>'
        f"<caption>{escaped(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _side(right: bool) -> str:
    return ' class="num"' if right else ""


def pairs(values: Mapping[str, Any]) -> str:
    """Names and values side by side, as a list of definitions; "" without any."""
    if not values:
        return ""
    items = "".join(f"<div><dt>{escaped(name)}</dt><dd>{cell(value)}</dd></div>" for name, value in values.items())
    return f'<dl class="pairs">{items}</dl>'


def figure(title: str, svg: str, more: str = "", wide: bool = False) -> str:
    """A drawing with its caption; the second line is quieter."""
    quiet = f"<span>{escaped(more)}</span>" if more else ""
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}><figcaption>{escaped(title)}{quiet}</figcaption>{svg}</figure>"


def grid(figures: Sequence[str]) -> str:
    """Figures beside each other, as many as there is room for."""
    return f'<div class="grid">{"".join(figures)}</div>'
