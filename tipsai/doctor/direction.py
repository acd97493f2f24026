"""Where a loss pulls predictions: towards their own targets, or away, or towards all targets at once (TR08)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tipsai.core.state import IGNORED
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, class_axis

AWAY = -0.3  # cosine between where the loss pulls predictions and where their targets lie; 1 for squared errors
FAR = 10.0  # beyond the margin of a loss of distances
OWN = 0.99  # cosine between a row's pull in its batch and in half of it, for losses of rows one by one
OTHERS = 1e-3  # of a row's gradient: more change than that, once other rows' targets change, is no rounding


def _said(ctx: Context) -> tuple[Tensor, Tensor] | None:
    """Predictions and targets where each item has one of either, and nothing else enters the loss."""
    batch, said = ctx.batch(), ctx.said()
    if batch is None or said is None or len(batch.y) != 1 or said[0].ndim == 0 or len(said[0]) != batch.n_rows:
        return None
    return said


def _cosine(a: Tensor, b: Tensor) -> float:
    a, b = a.double().flatten(), b.double().flatten()
    return float(a @ b / (a.norm() * b.norm()).clamp(min=1e-30))


# --- towards the targets --------------------------------------------------------------------------------------------


def _direction(ctx: Context) -> Figures | None:
    said = _said(ctx)
    if said is None:
        return None
    pred, y = said
    pull = ctx.pull(pred, y)
    if pull is None or not bool((pull != 0).any()):
        return {"pulls": False}
    half = max(1, len(pred) // 2)
    alone = ctx.pull(pred[:half], y[:half])
    if not bool(pull.isfinite().all()) or alone is None or _cosine(alone, pull[:half]) < OWN:
        return None  # a loss that compares rows with each other, whose outputs may mean anything
    found = _towards(ctx, pred, y, pull)
    return None if found is None else {"pulls": True, "cosine": found}


def _towards(ctx: Context, pred: Tensor, y: Tensor, pull: Tensor) -> float | None:
    """The cosine between the pull and the way to the targets; None where predictions and targets do not compare."""
    axis = class_axis(ctx.loss_fn, pred, y)
    if axis is not None and not y.is_floating_point():
        counted = y != IGNORED
        everything = ctx.sample("train")
        n = pred.shape[axis]
        if everything is None or not counted.any() or int(everything.y[0].max()) >= n or int(y[counted].min()) < 0:
            return None  # another coding of classes, such as one output for each step of a scale
        own = pull.movedim(axis, -1)[counted].gather(-1, y[counted][:, None].long())[:, 0]
        return float(own.sum() / own.abs().sum().clamp(min=1e-30))
    if pred.shape != y.shape:
        return None
    target = y.float()
    ways = [target - pred]
    if bool(((target == 0) | (target == 1)).all()):
        ways.append(2 * target - 1)  # logits go on beyond 0 and 1
        apart = ctx.pull((1 - target) * FAR, y)
        if apart is not None and not bool(apart.any()):
            return None  # distances: what is alike (1) belongs together, and what is not apart, where the loss ends
    return max(_cosine(pull, way) for way in ways)


def _judge_direction(f: Figures) -> Iterator[Verdict]:
    if not f["pulls"]:
        yield Verdict(
            "error",
            "the loss does not depend on the predictions smoothly: its gradient is zero whatever they are, and nothing can be learned.",
            f,
            "Leave argmax, rounding, comparisons, .detach() and .item() out of the loss; accuracy is a metric and no loss.",
        )
    elif f["cosine"] < AWAY:
        yield Verdict(
            "error",
            "the loss falls as predictions move away from their targets: it has the wrong sign.",
            f,
            "Return minus what is to rise; a squared error is (pred - y) ** 2.",
        )


DIRECTION = Check("loss-direction", "start", "TR08", _direction, _judge_direction, unless=("non-finite-values",))


# --- each towards its own -------------------------------------------------------------------------------------------


def _broadcast(ctx: Context) -> Figures | None:
    """Of predictions [n, 1] and targets [n], or the other way round: whether one row's gradient hangs on other rows' targets."""
    said = _said(ctx)
    if said is None:
        return None
    pred, y = said
    shapes = sorted([tuple(pred.shape), tuple(y.shape)], key=len)
    n = len(pred)
    if n < 4 or shapes != [(n,), (n, 1)]:
        return None
    half = n // 2
    other = y.clone()
    other[half:] = torch.where(y[half:] == y.max(), y.min(), y.max())
    before, after = ctx.pull(pred, y), ctx.pull(pred, other)
    if before is None or after is None:
        return None
    change = (before[:half] - after[:half]).norm() / before[:half].norm().clamp(min=1e-30)
    return {"predictions": list(pred.shape), "targets": list(y.shape), "change": float(change)}


def _judge_broadcast(f: Figures) -> Iterator[Verdict]:
    if f["change"] > OTHERS:
        yield Verdict(
            "error",
            f"the loss compares every prediction with every target: predictions have shape {f['predictions']} and targets {f['targets']}, "
            "which broadcasts to a square. All predictions go to the targets' mean.",
            f,
            "Give both one shape: Learner(..., output=lambda pred: pred.squeeze(-1)), or y[:, None].",
        )


BROADCAST = Check("loss-broadcast", "start", "TR08", _broadcast, _judge_broadcast, unless=("non-finite-values",))

CHECKS = (BROADCAST, DIRECTION)
