"""Regularisation so strong that nothing is learned: dropout, and weight decay (TR13)."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from tipsai.core import modes
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, rows
from tipsai.doctor.heard import Heard

MOST_DROPPED = 0.8  # Srivastava et al. (JMLR 2014, section 7.3) find 0.2 to 0.5 best, and 0.9 to underfit
FEWEST_STEPS = 40  # that weights should take to shrink by 1/e; in published recipes it is 100 to 100,000
DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"}


def _dropout(ctx: Context) -> Figures | None:
    """The largest rate at which a forward pass drops."""
    batch = ctx.batch()
    if batch is None:
        return None
    model, found = ctx.fresh(), [0.0]
    modes.train(model)

    def tell(name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        drops = name.rstrip("_") in DROPOUTS
        rate = kwargs.get("p", args[1] if len(args) > 1 else 0.5) if drops else kwargs.get("dropout_p", 0.0)
        training = kwargs.get("training", args[2] if len(args) > 2 else True) if drops else True
        if isinstance(rate, int | float) and training:
            found.append(float(rate))

    with torch.no_grad(), Heard(tell):
        model(*rows(batch, max(2, batch.n_rows // 4)).x)
    inside = [m.dropout for m in model.modules() if isinstance(m, nn.RNNBase) and m.num_layers > 1]
    return {"rate": max([*found, *inside])}


def _judge_dropout(f: Figures) -> Iterator[Verdict]:
    if f["rate"] >= MOST_DROPPED:
        yield Verdict(
            "warning",
            f"dropout leaves {1 - f['rate']:.0%} of the values that pass through it (p={f['rate']:g}): too few to learn from.",
            f,
            "p is the share that is dropped; 0.1 to 0.5 are usual.",
        )


DROPOUT = Check(
    "dropout-rate", "start", "TR13", _dropout, _judge_dropout, "Srivastava et al., Dropout, JMLR 15, 2014, section 7.3"
)


def _decay(ctx: Context) -> Figures | None:
    opt = ctx.optimize(ctx.fresh())
    groups = [group for group in opt.param_groups if group.get("weight_decay") and group["params"]]
    if not groups:
        return None
    fastest = max(groups, key=lambda group: float(group["lr"] * group["weight_decay"]))
    lr, decay = float(fastest["lr"]), float(fastest["weight_decay"])
    return {"lr": lr, "wd": decay, "steps": 1 / (lr * decay) if lr * decay > 0 else math.inf}


def _judge_decay(f: Figures) -> Iterator[Verdict]:
    if f["steps"] < FEWEST_STEPS:
        yield Verdict(
            "warning",
            f"weight decay of {f['wd']:g} at a rate of {f['lr']:.2g} shrinks weights to a half within {math.log(2) * f['steps']:.0f} steps; they cannot "
            "keep what they learn.",
            f,
            "Leave wd out for the default, or take a few hundredths: wd=0.01 to 0.1.",
        )


DECAY = Check(
    "weight-decay",
    "start",
    "TR13",
    _decay,
    _judge_decay,
    "Loshchilov and Hutter 1711.05101; Wang and Aitchison 2405.13698 for weights as an average over 1/(lr * wd) steps",
)

CHECKS = (DROPOUT, DECAY)
