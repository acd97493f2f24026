"""The targets: whether the loss fits them, how they are spread, and whether one column gives them away."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from tipsai.core.errors import listing
from tipsai.core.state import IGNORED
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
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


CHECKS = (LOSS, CLASS_MIX, IMBALANCE)
