"""The targets: whether the loss fits them, how they are spread, and whether one column gives them away."""

import math
import re
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tipsai.core.errors import listing
from tipsai.core.state import IGNORED
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, columns
from tipsai.losses import BinaryCrossEntropy, CrossEntropy, ElementwiseLoss

FEW = 20  # distinct whole numbers, at most, that look like classes
UNEVEN = 10.0  # times that the largest class is larger than the smallest
SHIFTED = 0.2  # of the items that would have to change class
SURPRISING = 6.0  # standard deviations of chi squared
BALANCED = ("balanced", "f1", "auc", "precision", "recall", "average", "mcc", "iou", "dice", "kappa")


def _targets(ctx: Context, split: str = "train") -> Tensor | None:
    batch = ctx.sample(split)
    return batch.y[0] if batch is not None and batch.y else None


# --- the loss -------------------------------------------------------------------------------------------------------


def _loss(ctx: Context) -> Figures | None:
    y = _targets(ctx)
    if y is None or ctx.compute_loss is not None or y.ndim > 2:
        return None
    kinds = {CrossEntropy: "classes", BinaryCrossEntropy: "yes or no", ElementwiseLoss: "numbers"}
    kind = next((name for cls, name in kinds.items() if isinstance(ctx.plain_loss, cls)), "")
    values = torch.unique(y).double()
    whole = bool((values == values.round()).all())
    return {
        "loss": kind,
        "dtype": str(y.dtype).removeprefix("torch."),
        "distinct": len(values),
        "items": y.numel(),
        "whole": whole,
        "of a row": float(y.double().sum(1).max())
        if kind == "classes" and y.is_floating_point() and y.ndim == 2
        else 1.0,
        "least": float(values.min()),
        "largest": float(values.max()),
    }


def _judge_loss(f: Figures) -> Iterator[Verdict]:
    counted = (
        f["whole"]
        and f["distinct"] <= FEW
        and f["least"] >= 0
        and f["largest"] < 2 * FEW
        and f["items"] >= 5 * f["distinct"]
    )
    if f["loss"] == "numbers" and f["dtype"] in ("int64", "int32", "uint8", "bool", "int16") and counted:
        yield Verdict(
            "warning",
            f"a loss for numbers is set against {f['distinct']} whole numbers that look like classes; class 2 is not twice class 1.",
            f,
            "Leave loss_fn out, which chooses cross-entropy, and let the model return a score for each class.",
        )
    elif (
        f["loss"] == "numbers"
        and counted
        and 2 <= f["distinct"] <= 10
        and f["least"] == 0
        and f["largest"] == f["distinct"] - 1
    ):
        yield Verdict(
            "warning" if f["distinct"] > 2 else "advice",
            f"the targets are the numbers 0 to {f['distinct'] - 1}, and the loss treats them as amounts. If they are classes, "
            "class 2 is not twice class 1.",
            f,
            "For classes pass them as whole numbers: y.long(), and a model with a score for each.",
        )
    elif f["loss"] == "classes" and f["dtype"] != "float32" and f["distinct"] > max(50, 0.3 * f["items"]):
        yield Verdict(
            "warning",
            f"cross-entropy is set against {f['distinct']:,} different numbers among {f['items']:,} targets; they look like amounts.",
            f,
            "For amounts pass y.float(), which calls for mean squared error, and a model with one output.",
        )
    elif f["loss"] == "classes" and f["of a row"] > 1.5:
        yield Verdict(
            "error",
            f"cross-entropy is set against rows of targets that add up to {f['of a row']:.3g}: several labels at once, which it makes compete as if "
            "one alone could be right.",
            f,
            "For several labels take nn.BCEWithLogitsLoss(), the default for targets of yes and no; for one class probabilities that add up to 1.",
        )
    elif f["loss"] == "yes or no" and not (0 <= f["least"] and f["largest"] <= 1):
        yield Verdict(
            "error",
            f"binary cross-entropy is set against targets from {f['least']:.3g} to {f['largest']:.3g}; it needs 0 to 1.",
            f,
            "Pass y > threshold as the target, or choose another loss.",
        )


LOSS = Check("loss-for-targets", "data", "TR08", _loss, _judge_loss)


# --- balance --------------------------------------------------------------------------------------------------------


def _balance(ctx: Context) -> Figures | None:
    y = _targets(ctx)
    if y is None or y.ndim > 1 or ctx.compute_loss is not None:
        return None
    if y.is_floating_point() and not isinstance(ctx.plain_loss, BinaryCrossEntropy):
        return None
    y = y[y != IGNORED] if not y.is_floating_point() and y.dtype != torch.bool else y
    values, counts = torch.unique(y, return_counts=True)
    if not 2 <= len(values) <= 1000:
        return None
    seen = torch.cat([batch.y[0].reshape(-1).cpu() for _, batch in zip(range(20), ctx.fed("train"), strict=False)])
    drawn = torch.stack([(seen == value).sum() for value in values])
    weights = getattr(ctx.plain_loss, "class_weight", None)
    weighted = weights is not None or getattr(ctx.plain_loss, "pos_weight", None) is not None
    names = list(ctx.dls.blocks[1].outputs) if ctx.dls.blocks else []
    rare = int(counts.argmin())
    code = int(values[rare])
    return {
        "classes": len(values),
        "largest": int(counts.max()),
        "smallest": int(counts.min()),
        "rare class": str(names[code]) if 0 <= code < len(names) else str(code),
        "drawn evenly": float(drawn.max()) < UNEVEN / 2 * max(1.0, float(drawn.min())),
        "weighted": weighted,
        "weights": _weights(ctx, values, counts),
        "own loss": not isinstance(ctx.plain_loss, CrossEntropy | BinaryCrossEntropy),
        "metrics": ctx.metrics,
    }


def _weights(ctx: Context, values: Tensor, counts: Tensor) -> list[float] | None:
    """The loss's weights of the largest and of the smallest class; None without any."""
    weights = getattr(ctx.plain_loss, "class_weight", None)
    if (
        not isinstance(weights, Tensor)
        or weights.ndim != 1
        or values.is_floating_point()
        or int(values.max()) >= len(weights)
    ):
        return None
    return [float(weights[int(values[int(i)])]) for i in (counts.argmax(), counts.argmin())]


def _judge_balance(f: Figures) -> Iterator[Verdict]:
    ratio = f["largest"] / f["smallest"]
    if f["weights"] is not None and f["weights"][0] > 1.5 * f["weights"][1] and ratio > 2:
        yield Verdict(
            "warning",
            f"the loss counts the largest class for more ({f['weights'][0]:.3g}) than the rare one, {f['rare class']!r} ({f['weights'][1]:.3g}), though "
            f"it is {ratio:.0f} times as frequent: the weights stand the wrong way round.",
            f,
            "Weight classes by one over how often they occur: weight=len(y) / (n_classes * torch.bincount(y)).",
        )
        return
    watched = any(word in name for name in f["metrics"] for word in BALANCED)
    if ratio < UNEVEN or f["weighted"] or f["drawn evenly"] or watched or f["own loss"]:
        return
    yield Verdict(
        "warning",
        f"classes are uneven: {f['largest']:,} items of the largest, {f['smallest']:,} of {f['rare class']!r} ({ratio:.0f} times). "
        "A model that never names the rare one has a good accuracy.",
        f,
        "Judge by metrics=['balanced_accuracy', 'f1_macro']; to find the rare one more often, "
        "loss_fn=torch.nn.CrossEntropyLoss(weight=...) counts it for more.",
    )


IMBALANCE = Check(
    "imbalance",
    "data",
    "DA13",
    _balance,
    _judge_balance,
    "He and Garcia, Learning from Imbalanced Data, 2009",
    ("class-mix",),
)


def _mix(ctx: Context) -> Figures | None:
    y, valid = _targets(ctx), _targets(ctx, "valid")
    if y is None or valid is None or y.is_floating_point() or y.dtype == torch.bool or y.ndim > 1:
        return None
    values = torch.unique(torch.cat([y, valid]))
    values = values[values != IGNORED]
    if not 2 <= len(values) <= 200:
        return None
    a, b = (torch.stack([(part == value).sum() for value in values]).double() for part in (y, valid))
    p, q, both = a / a.sum(), b / b.sum(), (a + b) / (a.sum() + b.sum())
    freedom = len(values) - 1
    chi = sum(float(((part - part.sum() * both) ** 2 / (part.sum() * both)).sum()) for part in (a, b))
    unseen = values[(a == 0) & (b > 0)] if getattr(ctx.dls.train, "n_items", 0) <= len(y) else values[:0]
    return {
        "moved": float((p - q).abs().sum() / 2),
        "surprise": (chi - freedom) / math.sqrt(2 * freedom),
        "unseen": [int(value) for value in unseen],
        "unseen items": int(sum((valid == value).sum() for value in unseen)),
        "items": len(valid),
    }


def _judge_mix(f: Figures) -> Iterator[Verdict]:
    fix = "Split at random, or by class (stratified); a sorted file cut in two does this."
    if f["unseen items"]:
        yield Verdict(
            "warning",
            f"validation has classes that training never shows: {listing(f['unseen'])} ({f['unseen items']:,} of {f['items']:,} items).",
            f,
            fix,
        )
    elif f["moved"] > SHIFTED and f["surprise"] > SURPRISING:
        yield Verdict(
            "warning",
            f"classes are mixed otherwise in validation than in training: {f['moved']:.0%} of the items would have to change class.",
            f,
            fix,
        )


CLASS_MIX = Check("class-mix", "data", "DA08", _mix, _judge_mix)


# --- given away -----------------------------------------------------------------------------------------------------

GIVEN_AWAY = {True: 0.97, False: 0.995}  # of classes, of numbers: what a column alone tells
EASY = {True: 0.99, False: 0.998}  # of classes, of numbers: told by the other columns; then a good column is no wonder
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
    height, width = (min(PATCHES, side) for side in x[0].shape[2:])
    coarse = F.adaptive_avg_pool2d(x[0].float().mean(1, keepdim=True), (height, width))[:, 0]
    return {PATCH.format(i + 1, j + 1): coarse[:, i, j] for i in range(height) for j in range(width)}


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


def _leak(ctx: Context) -> Figures | None:
    batch = ctx.sample("train")
    if batch is None or not batch.y or batch.y[0].ndim > 1 and batch.y[0][0].numel() != 1 or batch.n_rows < 200:
        return None
    y = batch.y[0].reshape(-1)
    classes = not y.is_floating_point() or isinstance(ctx.plain_loss, BinaryCrossEntropy)
    if classes:
        values, y = torch.unique(y, return_inverse=True)
        if not 2 <= len(values) <= 100:
            return None
        base = float(torch.bincount(y).max()) / len(y)
    else:
        base = 0.0
    if ctx.tokens() is not None:
        return None  # places of a text are no columns
    table = columns(ctx, batch.x) or patches(batch.x)
    varied = {name: column for name, column in table.items() if bool((column != column[0]).any())}
    if len(varied) < 2:
        return None
    powers = {name: _column_power(column, y, classes) for name, column in varied.items()}
    best = max(powers, key=lambda name: powers[name])
    if powers[best] < GIVEN_AWAY[classes]:
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


LEAST_NUMBERED = 100  # items


def numbers_items(column: Tensor, n_items: int) -> bool:
    """Whether values [n] number the items of which they are a sample: all different, and evenly spaced."""
    gaps = column.double().sort().values.diff()
    if len(gaps) + 1 < LEAST_NUMBERED or not bool((gaps > 0).all()):
        return False
    steps = gaps / gaps.min()
    whole = bool(((steps - steps.round()).abs() < 0.01 * steps.clamp(min=1)).all())
    return whole and float(steps.sum()) < 4 * n_items


def n_items(ctx: Context) -> int:
    """How many items training and validation have."""
    return sum(getattr(loader, "n_items", 0) for loader in (ctx.dls.train, ctx.dls.valid))


def _identifier(ctx: Context) -> Figures | None:
    batch = ctx.sample("train")
    if batch is None:
        return None
    table = {} if ctx.tokens() is not None else columns(ctx, batch.x)
    found = [name for name, column in table.items() if numbers_items(column, n_items(ctx))]
    return {"columns": found, "items": batch.n_rows}


def judge_identifier(f: Figures) -> Iterator[Verdict]:
    if f["columns"]:
        yield Verdict(
            "warning",
            f"input column {listing(f['columns'])} numbers the items: its values are all different and evenly spaced. "
            "What a model learns of it holds for these items alone.",
            f,
            "Leave it out.",
        )


IDENTIFIER = Check("identifier", "data", "DA15", _identifier, judge_identifier)


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

CHECKS = (LOSS, SHOWN_TARGETS, CLASS_MIX, IMBALANCE, LEAK, IDENTIFIER)
