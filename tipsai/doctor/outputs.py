"""What the untrained model says: its first loss, how that is spread, and whether its outputs can reach the targets."""

import math
import re
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tipsai.core import modes
from tipsai.core.state import IGNORED
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, class_axis, rows
from tipsai.losses import BinaryCrossEntropy, CrossEntropy, ElementwiseLoss

OFF = 0.2  # of the first loss
MASKED = 7.0  # nats below its even share: a class that is never nearer is masked, unless a target names it


# --- the first loss -------------------------------------------------------------------------------------------------


def _first(ctx: Context) -> Figures | None:
    said = ctx.said()
    if said is None or ctx.n_steps:
        return None
    pred, y = said
    axis = class_axis(ctx.loss_fn, pred, y)
    if axis is not None and _fits(ctx, pred, y):
        logs = pred.movedim(axis, -1).flatten(0, -2).log_softmax(-1)
        finite = logs.clamp(min=-1e3)
        live = logs.amax(0) > -math.log(logs.shape[1]) - MASKED  # a masked class (LM05) counts for no class at all
        live[y[(y >= 0) & (y < len(live))] if not y.is_floating_point() else slice(None)] = True
        n = int(live.sum())
        if n < 2:
            return None
        uniform = float(-finite[:, live].mean())
        mean = logs.exp().mean(0)
        entropy = float(-(mean * mean.clamp(min=1e-30).log()).sum())
        return {
            "kind": "classes",
            "first loss": uniform,
            "expected": math.log(n),
            "on the targets": float(ctx.loss(ctx.model.eval(), ctx.batch()).detach()),  # type: ignore[arg-type]
            "classes": n,
            "spread over": math.exp(entropy),
        }
    if isinstance(ctx.loss_fn, BinaryCrossEntropy) and pred.shape == y.shape:
        uniform = float((F.softplus(-pred) + F.softplus(pred)).mean() / 2)
        told = float(ctx.loss_fn.report(pred, y)[0] / y.numel())
        return {"kind": "yes or no", "first loss": uniform, "expected": math.log(2), "on the targets": told}
    if isinstance(ctx.loss_fn, ElementwiseLoss) and pred.shape == y.shape and y.is_floating_point():
        total, weight = ctx.loss_fn.report(pred, y)
        everything = ctx.sample("train")  # one batch may hold targets that are much alike
        assert everything is not None
        every = everything.y[0].float()
        base, counted = ctx.loss_fn.report(every.mean(0, keepdim=True).expand_as(every), every)
        if len(every) < 8 or float(base) <= 0:
            return None
        return {"kind": "numbers", "first loss": float(total / weight), "expected": float(base / counted)}
    return None


def _fits(ctx: Context, pred: Tensor, y: Tensor) -> bool:
    """Whether the loss is a cross-entropy over these classes: it gives the logarithm of their number for equal logits."""
    if y.is_floating_point() or isinstance(ctx.loss_fn, CrossEntropy):
        return True
    try:
        total, weight = ctx.loss_fn.report(torch.zeros_like(pred[:2]), y[:2])
    except Exception:  # a loss of one's own that takes nothing but what the model returns
        return False
    axis = class_axis(ctx.loss_fn, pred, y)
    counted = bool((y[:2] != IGNORED).any())
    return counted and axis is not None and abs(float(total / weight) - math.log(pred.shape[axis])) < 1e-3


def _judge_first(f: Figures) -> Iterator[Verdict]:
    loss, expected = f["first loss"], f["expected"]
    if f["kind"] == "numbers":
        if loss > 10 * expected:
            yield Verdict(
                "warning",
                f"the first loss is {loss:.3g}, and guessing the targets' mean gives {expected:.3g}: the model begins far from where "
                "the targets lie.",
                f,
                "Scale the targets to mean 0 and deviation 1, or tipsai.init_bias(last_layer, y).",
            )
        return
    if f["on the targets"] < 0.9 * expected:
        return  # it has learned before
    if not abs(loss - expected) <= OFF * expected:
        yield Verdict(
            "warning",
            f"the first loss is {loss:.3g} against targets spread evenly, and guessing gives {expected:.3g}: the model begins "
            "sure of what it cannot know.",
            f,
            "Make the last layer's weights smaller (or zero), and look at the scale of the inputs.",
        )
    elif f["kind"] == "classes" and f["spread over"] < 0.5 * f["classes"]:
        yield Verdict(
            "warning",
            f"the untrained model spreads its probability over some {f['spread over']:.1f} of {f['classes']} classes.",
            f,
            "Make the last layer's weights smaller (or zero), and its bias that of the base rates: tipsai.init_bias.",
        )


FIRST_LOSS = Check(
    "first-loss",
    "start",
    "TR08",
    _first,
    _judge_first,
    "Karpathy, A Recipe for Training Neural Networks, 2019",
    ("input-scale", "non-finite-data", "non-finite-values", "ignores-input"),
)


# --- what the outputs can be ----------------------------------------------------------------------------------------


RANGES = {
    "Sigmoid": (0.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Relu": (0.0, math.inf),
    "Threshold": (0.0, math.inf),
    "Clamp": (0.0, math.inf),  # where outputs are not below zero
    "ClampMin": (0.0, math.inf),
    "Hardtanh": (0.0, 6.0),  # likewise: ReLU6
    "Softplus": (0.0, math.inf),
    "Gelu": (-0.17, math.inf),
    "Silu": (-0.28, math.inf),
    "Elu": (-1.0, math.inf),
}
BOUNDED = {"Sigmoid", "Hardsigmoid", "Softmax", "Tanh"}
RECTIFIERS = {"Relu", "Threshold", "Clamp", "ClampMin", "Hardtanh", "Gelu", "Silu"}
MOVES = {"View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Select", "Slice", "Transpose", "Permute", "T",
         "Clone", "Alias", "ToCopy", "Index"}  # fmt: skip


def last_function(ctx: Context) -> str:
    """What made the outputs, as autograd calls it, "Sigmoid" for instance; "" where that is not known.

    What only moves numbers is passed over, and what cuts the ends of a sigmoid off.
    """
    batch = ctx.batch()
    assert batch is not None
    with modes.kept(ctx.model):
        ctx.model.eval()
        pred = ctx.pred(ctx.model, rows(batch, 2))
    node, met = None if pred is None else pred.grad_fn, ""
    while node is not None:
        name = re.sub(r"Backward\d*$", "", node.name().rpartition("::")[2])
        if name not in MOVES and not name.startswith("Clamp"):
            return name if name in BOUNDED or not met else met
        if name.startswith("Clamp"):
            met = name
        node = node.next_functions[0][0]
    return met


def _outputs(ctx: Context) -> Figures | None:
    """The range of the outputs, and what function bounds it."""
    said = ctx.said()
    if said is None:
        return None
    pred, y = said
    axis = class_axis(ctx.loss_fn, pred, y)
    figures: dict[str, Any] = {"n": pred.numel(), "least": float(pred.min()), "largest": float(pred.max())}
    last = last_function(ctx)
    below = last in ("Clamp", "Hardtanh") and figures["least"] < 0  # it cuts off something else than what is below zero
    figures["last"] = "" if below else last
    figures["zeros"] = float((pred == 0).double().mean())
    if axis is not None and _takes_logs(ctx, pred, y):
        return figures | {"kind": "logarithms", "total": float(pred.logsumexp(axis).exp().mean())}
    if axis is not None and _fits(ctx, pred, y):
        sums = pred.sum(axis)
        ones = bool((sums - 1).abs().max() < 1e-3) and figures["least"] >= 0
        return figures | {"kind": "classes", "sum to 1": ones, "n": sums.numel(), "classes": pred.shape[axis]}
    if isinstance(ctx.loss_fn, BinaryCrossEntropy) and pred.shape == y.shape:
        return figures | {"kind": "yes or no"}
    if isinstance(ctx.loss_fn, ElementwiseLoss) and pred.shape == y.shape:
        target = ctx.sample("train")
        assert target is not None
        t = target.y[0].float()
        low, high = RANGES.get(figures["last"], (-math.inf, math.inf))
        room = 0.02 * float(t.max() - t.min())
        beyond = (t < low - room) | (t > high + room)
        return figures | {
            "kind": "numbers",
            "least target": float(t.min()),
            "largest target": float(t.max()),
            "range": [low, high],
            "beyond": float(beyond.float().mean()),
        }
    return None


def _takes_logs(ctx: Context, pred: Tensor, y: Tensor) -> bool:
    """Whether the loss takes log-probabilities, as torch's nll_loss does: it is minus the target's output, and no more."""
    small = pred / pred.abs().max().clamp(min=1e-6)  # of large ones a cross-entropy is hardly more than a difference
    try:
        values = [
            float(total / weight) for total, weight in (ctx.loss_fn.report(p, y) for p in (small, 2 * small, small + 1))
        ]
    except Exception:  # a loss of one's own that takes nothing but what the model returns
        return False
    one, double, shifted = values
    return abs(double - 2 * one) < 1e-4 * max(1.0, abs(one)) and abs(shifted - (one - 1)) < 1e-4 * max(1.0, abs(one))


ENOUGH = 32  # outputs that speak for themselves, where the function that made them is not known
BEYOND = 0.02  # of the targets


def _judge_outputs(f: Figures) -> Iterator[Verdict]:
    low, high = f["least"], f["largest"]
    probable = f["last"] in ("Sigmoid", "Softmax") or (
        f["last"] == "" and f["n"] >= ENOUGH and low >= 0 and high <= 1 > low
    )
    if f["kind"] == "logarithms":
        if abs(f["total"] - 1) > 0.01 and f["last"] != "LogSoftmax":
            yield Verdict(
                "error",
                f"the loss takes the logarithms of probabilities, and the model's outputs are none: their exponentials add up to {f['total']:.3g}. "
                "It can fall below zero for ever, and teaches nothing.",
                f,
                "End the model with LogSoftmax, or return logits and take nn.CrossEntropyLoss().",
            )
        return
    if f["kind"] == "classes" and f["sum to 1"] and f["classes"] > 1 and (probable or f["n"] >= 8):
        yield Verdict(
            "error",
            "the model returns probabilities, and cross-entropy takes the softmax of them again; its gradient becomes faint "
            f"and its loss cannot fall below {math.log(1 + (f['classes'] - 1) / math.e):.3g}.",
            f,
            "Return logits: leave the softmax at the model's end out.",
        )
    elif f["kind"] == "yes or no" and probable and high - low > 1e-6:
        yield Verdict(
            "error",
            f"the model returns probabilities (from {low:.3g} to {high:.3g}), and the loss takes the sigmoid of them again; it can never "
            "say less than a half.",
            f,
            "Return logits: leave the sigmoid at the model's end out.",
        )
    elif f["kind"] in ("classes", "yes or no") and f["last"] in RECTIFIERS:
        yield Verdict(
            "error",
            f"a rectifier ({f['last']}) stands after the last layer: outputs are never below zero, {f['zeros']:.0%} of them are zero now, and what is "
            "cut off gets no gradient.",
            f,
            "Return logits: leave the activation at the model's end out.",
        )
    elif f["kind"] in ("classes", "yes or no") and f["last"] in BOUNDED:
        least, most = RANGES[f["last"]]
        yield Verdict(
            "error" if f["last"] != "Tanh" else "warning",
            f"a {f['last'].lower()} keeps the model's outputs between {least:.0f} and {most:.0f}, and the loss takes them for logits, which have "
            "no bounds: the model can never be sure of anything.",
            f,
            "Return logits: leave the activation at the model's end out.",
        )
    elif f["kind"] == "numbers" and f["beyond"] > BEYOND:
        least, most = f["range"]
        yield Verdict(
            "error" if f["beyond"] > 0.25 else "warning",
            f"the outputs lie {f'above {least:.3g}' if math.isinf(most) else f'between {least:.3g} and {most:.3g}'} on any input, and the targets "
            f"go from {f['least target']:.3g} to {f['largest target']:.3g}; {f['beyond']:.0%} of them cannot be reached.",
            f,
            "Leave the activation at the model's end out, or scale the targets into its range.",
        )


OUTPUTS = Check("outputs", "start", "TR08", _outputs, _judge_outputs, unless=("non-finite-values",))

CHECKS = (OUTPUTS, FIRST_LOSS)
