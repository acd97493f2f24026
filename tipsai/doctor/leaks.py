"""What gives targets away (DA15): a column, a patch, a number of the item itself, tokens that stand in the inputs."""

import re
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tipsai.core.errors import listing
from tipsai.core.finding import Severity
from tipsai.core.state import IGNORED
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, columns
from tipsai.doctor.features import coarse
from tipsai.losses import BinaryCrossEntropy

# --- given away -----------------------------------------------------------------------------------------------------

GIVEN_AWAY = {True: 0.97, False: 0.995}  # of classes, of numbers: what a column alone tells
SURE = 0.995  # likewise, where the column may name groups
EASY = {True: 0.99, False: 0.998}  # of classes, of numbers: told by the other columns; then a good column is no wonder
LEAST_ROWS, MOST_CLASSES = 200, 100
BETTER = 5.0  # times that the others together leave more untold


def _column_power(column: Tensor, y: Tensor, classes: bool) -> float:
    """How well a column [n] alone tells the target: of classes the accuracy, of numbers the share of variance explained.

    Every other row is judged by the row among the rest whose value is nearest; of numbers a straight line is tried, too.
    """
    column = column.double()
    fit, judged = slice(0, None, 2), slice(1, None, 2)
    known, order = column[fit].sort()
    right = torch.searchsorted(known, column[judged].contiguous()).clamp(1, len(known) - 1)
    nearer = (column[judged] - known[right - 1]) <= (known[right] - column[judged])
    said = y[fit][order][torch.where(nearer, right - 1, right)]
    if classes:
        return float((said == y[judged]).double().mean())
    truth = y[judged].double()
    near = 1 - float(((said - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum().clamp(min=1e-30))
    return max(near, float(torch.corrcoef(torch.stack([column, y.double()]))[0, 1] ** 2))  # a line needs no neighbours


def _joint_power(z: Tensor, y: Tensor, classes: bool) -> float:
    """As _column_power, of columns [n, d] together: ridge regression."""
    z = (z - z.mean(0)) / z.std(0).clamp(min=1e-9)
    z = torch.cat([z, torch.ones(len(z), 1, dtype=torch.float64)], 1)
    t = F.one_hot(y).double() if classes else (y.double() - y.double().mean())[:, None]
    fit, judged = slice(0, None, 2), slice(1, None, 2)
    gram = z[fit].T @ z[fit] + 1e-3 * len(z) * torch.eye(z.shape[1], dtype=torch.float64)
    said = z[judged] @ torch.linalg.solve(gram, z[fit].T @ t[fit])
    if classes:
        return float((said.argmax(1) == y[judged]).double().mean())
    return 1 - float(((said - t[judged]) ** 2).sum() / (t[judged] ** 2).sum().clamp(min=1e-30))


PATCHES, PATCH = 12, "patch {} down, {} across"  # along a picture's side


def patches(x: Sequence[Tensor]) -> dict[str, Tensor]:
    """The mean of each patch of pictures, [n] each, by its place; none where the input is no picture."""
    if len(x) != 1 or x[0].ndim != 4 or not x[0].is_floating_point():
        return {}
    grid = coarse(x[0].float().mean(1, keepdim=True), PATCHES)[:, 0]
    _, height, width = grid.shape
    return {PATCH.format(i + 1, j + 1): grid[:, i, j] for i in range(height) for j in range(width)}


def _beside(name: str, other: str) -> bool:
    """Whether two columns tell much the same: parts of one column of a table, or patches that lie near each other."""
    part = re.compile(r"( \(part \d+\))?(, input \d+)?$")
    if part.sub("", name) == part.sub("", other):
        return True
    a, b = (re.fullmatch(PATCH.format(r"(\d+)", r"(\d+)"), text) for text in (name, other))
    return (
        a is not None
        and b is not None
        and all(abs(int(i) - int(j)) <= 3 for i, j in zip(a.groups(), b.groups(), strict=True))
    )


def _names_groups(column: Tensor) -> bool:
    """Whether a few rows share each of many values: it may name groups, whose rows are alike, and that is another check's."""
    n = len(torch.unique(column))
    return 10 < n < len(column) / 2


def _one_target(ctx: Context) -> tuple[Sequence[Tensor], Tensor, bool] | None:
    """(inputs, targets [n], whether these are classes, which count from 0 then) where each item has one target; else None."""
    batch = ctx.sample("train")
    if batch is None or not batch.y or batch.y[0].ndim > 1 and batch.y[0][0].numel() != 1 or batch.n_rows < LEAST_ROWS:
        return None
    y = batch.y[0].reshape(-1)
    if y.is_floating_point() and not isinstance(ctx.plain_loss, BinaryCrossEntropy):
        return batch.x, y, False
    values, numbered = torch.unique(y, return_inverse=True)
    return (batch.x, numbered, True) if 2 <= len(values) <= MOST_CLASSES else None


def _leak(ctx: Context) -> Figures | None:
    sample = _one_target(ctx)
    if sample is None:
        return None
    x, y, classes = sample
    base = float(torch.bincount(y).max()) / len(y) if classes else 0.0
    table = columns(ctx, x) or patches(x)
    varied = {name: column for name, column in table.items() if bool((column != column[0]).any())}
    if len(varied) < 2:
        return None
    powers = {name: _column_power(column, y, classes) for name, column in varied.items()}
    best = max(powers, key=lambda name: powers[name])
    least = SURE if _names_groups(varied[best]) else GIVEN_AWAY[classes]
    if powers[best] < least:
        return {"column": best, "power": powers[best]}
    rest = [c.double() for name, c in varied.items() if not _beside(name, best)]
    others = _joint_power(torch.stack(rest, 1), y, classes) if rest else 0.0
    return {
        "column": best,
        "power": powers[best],
        "all others": others,
        "base": base,
        "columns": len(powers),
        "classes": classes,
    }


def _judge_leak(f: Figures) -> Iterator[Verdict]:
    if "classes" not in f or f["base"] > 0.9 or f["all others"] > EASY[f["classes"]]:
        return
    if (1 - f["power"]) * BETTER > 1 - f["all others"]:
        return
    what = (
        f"tells the target of {f['power']:.1%} of items"
        if f["classes"]
        else f"explains {f['power']:.1%} of the target's variance"
    )
    yield Verdict(
        "warning",
        f"input column {f['column']!r} alone {what} (all others together: {f['all others']:.1%}). Such a column is often made from the target, "
        "or known only after it.",
        f,
        "Leave it out unless it will be known when the model is used.",
    )


LEAK = Check("leaking-column", "data", "DA15", _leak, _judge_leak, unless=("non-finite-data",))


# --- known only afterwards ------------------------------------------------------------------------------------------

MARKED = 30  # rows in which a column has another value than mostly
RARE = 0.5  # of all rows that are of the class that it marks, at most
# What it amounts to when of that class's rows at least so many are marked, and of the marked rows so many are of the class.
GRAVE: tuple[tuple[Severity, float, float], ...] = (("warning", 0.8, 0.95), ("advice", 0.3, 0.99))


def _marks(column: Tensor, y: Tensor) -> dict[str, float] | None:
    """How surely a column [n] that mostly has one value has another for one class only."""
    _, at, counts = torch.unique(column, return_inverse=True, return_counts=True)
    marked = at != counts.argmax()
    n = int(marked.sum())
    if not MARKED <= n <= len(column) / 2:
        return None
    of_class = torch.bincount(y[marked])
    of = int(of_class.argmax())
    return {
        "pure": float(of_class[of]) / n,
        "base": float((y == of).double().mean()),
        "told": float(of_class[of] / (y == of).sum()),
        "rows": n,
    }


def _grave(f: Figures) -> Severity | None:
    """What a column's marks amount to."""
    return next((severity for severity, told, pure in GRAVE if f["told"] >= told and f["pure"] >= pure), None)


def _afterwards(ctx: Context) -> Figures | None:
    sample = _one_target(ctx)
    if sample is None or not sample[2]:
        return None
    found = {name: _marks(column, sample[1]) for name, column in columns(ctx, sample[0]).items()}
    sure = {name: f for name, f in found.items() if f is not None and f["base"] <= RARE and _grave(f)}
    best = max(sure, key=lambda name: sure[name]["told"], default=None)
    return {"columns": len(found)} if best is None else {"column": best, **sure[best]}


def _judge_afterwards(f: Figures) -> Iterator[Verdict]:
    severity = _grave(f) if "column" in f else None
    if severity:
        yield Verdict(
            severity,
            f"input column {f['column']!r} mostly has one value; where it has another ({f['rows']:,} rows) the class is nearly always the "
            f"same ({f['pure']:.1%}; {f['base']:.0%} of all rows are of it, and the column marks {f['told']:.0%} of those). Such a column is "
            "often filled in only once the outcome is known.",
            f,
            "Leave it out unless it will be known when the model is used.",
        )


AFTERWARDS = Check(
    "known-afterwards", "data", "DA15", _afterwards, _judge_afterwards, unless=("non-finite-data", "leaking-column")
)


# --- numbers of the items --------------------------------------------------------------------------------------------

LEAST_NUMBERED = 100  # items


def _numbers_items(column: Tensor, n_items: int) -> bool:
    """Whether values [n] number the items of which they are a sample: all different, and evenly spaced."""
    gaps = column.double().sort().values.diff()
    if len(gaps) + 1 < LEAST_NUMBERED or not bool((gaps > 0).all()):
        return False
    steps = gaps / gaps.min()
    whole = bool(((steps - steps.round()).abs() < 0.01 * steps.clamp(min=1)).all())
    return whole and float(steps.sum()) < 4 * n_items


def _identifier(ctx: Context) -> Figures | None:
    batch = ctx.sample("train")
    if batch is None:
        return None
    n_items = sum(getattr(loader, "n_items", 0) for loader in (ctx.dls.train, ctx.dls.valid))
    table = columns(ctx, batch.x) | ctx.dls.numbers_as_read("train")
    return {"columns": [name for name, c in table.items() if _numbers_items(c, n_items)], "items": batch.n_rows}


def _judge_identifier(f: Figures) -> Iterator[Verdict]:
    if f["columns"]:
        yield Verdict(
            "warning",
            f"input column {listing(f['columns'])} numbers the items: its values are all different and evenly spaced. "
            "What a model learns of it holds for these items alone.",
            f,
            "Leave it out.",
        )


IDENTIFIER = Check("identifier", "data", "DA15", _identifier, _judge_identifier)


# --- tokens to be told that are known -------------------------------------------------------------------------------

SHOWN = 0.95  # of the places


def _shown(ctx: Context) -> Figures | None:
    """How far the targets of tokens are the tokens at the same place, or at the one before; MO07 looks for the one after."""
    batch = ctx.sample("train")
    if batch is None or len(batch.x) != 1 or not batch.y:
        return None
    x, y = batch.x[0], batch.y[0]
    if x.is_floating_point() or y.is_floating_point() or x.ndim != 2 or x.shape != y.shape or x.shape[1] < 4:
        return None
    counted = y != IGNORED
    if not counted[:, 1:].any():
        return None

    def share(a: Tensor, b: Tensor, counted: Tensor) -> float:
        return float((a == b)[counted].double().mean())

    return {
        "same": share(x, y, counted),
        "before": share(x[:, :-1], y[:, 1:], counted[:, 1:]),
        "after": share(x[:, 1:], y[:, :-1], counted[:, :-1]) if counted[:, :-1].any() else 0.0,
    }


def _judge_shown(f: Figures) -> Iterator[Verdict]:
    place = "same" if f["same"] >= f["before"] else "before"
    if f[place] < SHOWN or f["after"] >= f[place]:  # a text of one token only is all of them
        return
    where = "the token at the same place" if place == "same" else "the token one place before"
    yield Verdict(
        "error",
        f"the target of {f[place]:.0%} of places is {where} of the input; the model need only copy it, and learns nothing of language.",
        f,
        "The target is the token that comes next: x = tokens[:, :-1], y = tokens[:, 1:].",
    )


SHOWN_TARGETS = Check("targets-in-inputs", "data", "DA15", _shown, _judge_shown)

CHECKS = (SHOWN_TARGETS, LEAK, AFTERWARDS, IDENTIFIER)
