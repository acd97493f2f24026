"""What the doctor looks at in pictures: their size, and what pre-trained weights have to do with them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.vision.view import SMALL_SIDE

# --- size -----------------------------------------------------------------------------------------------------------

WORTH_MORE = 1.5  # pictures this many times larger than what the model sees are worth a word
MUCH_SMALLER = 6.0


def _size(ctx: Context) -> Figures | None:
    """None where the pictures' own size is not known."""
    side = getattr(ctx.dls, "side", None)
    block = ctx.dls.blocks[0] if ctx.dls.blocks else None
    return None if side is None or block is None else {"side": side, "size": block.size}  # type: ignore[attr-defined]


def judge_size(f: Figures) -> Iterator[Verdict]:
    own, size = f["side"], f["size"]
    if max(size) >= SMALL_SIDE or own < WORTH_MORE * max(size):
        return
    yield Verdict(
        "warning" if own >= MUCH_SMALLER * max(size) else "advice",
        f"the pictures have {own} pixels a side, the model sees {size[0]}x{size[1]}: below {SMALL_SIDE} networks need other settings, and "
        "what is found there does not carry over to larger pictures.",
        f,
        f"Take size={min(128, own // 32 * 32)} for experiments that shall carry over."
        if own >= SMALL_SIDE
        else "Leave size out.",
    )


SMALL = Check("small-pictures", "data", "DA03", _size, judge_size)


# --- pre-trained weights --------------------------------------------------------------------------------------------

FEW = 5000  # pictures; with fewer, a large network without pre-trained weights is worth a word
FEW_SMALL = 2000  # likewise of the built-in network
LEAST_SIDE = 64  # pixels, from which on weights learned from larger pictures suit


def _weights(ctx: Context) -> Figures | None:
    """None where it is not known whether the backbone brings trained weights."""
    trained, arguments = getattr(ctx.model, "trained", None), getattr(ctx.model, "arguments", None)
    if trained is None or arguments is None or ctx.dls.train is None or ctx.dls.blocks is None:
        return None
    return {
        "arch": arguments["arch"],
        "trained": trained,
        "pictures": ctx.dls.train.n_items,
        "side": min(ctx.dls.blocks[0].size),  # type: ignore[attr-defined]
        "said": any(found.code == "no-weights" for found in ctx.dls.findings),
    }


def _judge_weights(f: Figures) -> Iterator[Verdict]:
    small = f["arch"] == "small_resnet"
    few = f["pictures"] < FEW_SMALL and f["side"] >= LEAST_SIDE if small else f["pictures"] < FEW
    if f["trained"] or f["said"] or not few:
        return
    arch = "resnet18" if small else f["arch"]
    yield Verdict(
        "advice",
        f"{f['arch']} starts from scratch on {f['pictures']:,} pictures, which rarely suffices.",
        f,
        f"learn = vision_learner(dls, {arch!r}, pretrained=True), or weights=PATH; then learn.fine_tune().",
    )


WEIGHTS = Check(
    "no-pretrained-weights", "data", "AR03", _weights, _judge_weights, "Kornblith, Shlens and Le 1805.08974"
)

DARK, LIGHT = 0.15, 0.8  # mean of values in 0..1; photographs' lies about 0.45
FLAT = 0.1  # standard deviation; photographs' is about 0.27
GREY = 0.005  # difference of the channels
ROUGH = 0.6  # correlation of a pixel with its neighbour; photographs' is above 0.9


def looks(pixels: Tensor) -> dict[str, float]:
    """Figures by which photographs are alike.

    Args:
        pixels: values in 0..1, float [n, c, h, w].
    """
    centred = pixels - pixels.mean((2, 3), keepdim=True)
    near = (centred[..., 1:] * centred[..., :-1]).sum() / (centred[..., 1:] ** 2).sum().clamp(min=1e-12)
    colour = (pixels[:, 1:] - pixels[:, :-1]).abs().mean() if pixels.shape[1] > 1 else torch.zeros(())
    return {
        "mean": float(pixels.mean()),
        "std": float(pixels.std()),
        "neighbours": float(near),
        "colour": float(colour),
    }


def _domain(ctx: Context) -> Figures | None:
    batch = ctx.sample("train")
    if not getattr(ctx.model, "trained", False) or batch is None or not ctx.dls.blocks or batch.x[0].ndim != 4:
        return None
    block: Any = ctx.dls.blocks[0]
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (block.mean, block.std))
    return looks((batch.x[0][:500] * std + mean).clamp(0, 1)) | {"pictures": batch.n_rows}


def _judge_domain(f: Figures) -> Iterator[Verdict]:
    reasons = [
        *(["they have no colour"] if f["colour"] < GREY else []),
        *([f"their mean is {f['mean']:.2f}"] if not DARK < f["mean"] < LIGHT else []),
        *([f"their values hardly vary (standard deviation {f['std']:.2f})"] if f["std"] < FLAT else []),
        *([f"neighbouring pixels are hardly alike ({f['neighbours']:.2f})"] if f["neighbours"] < ROUGH else []),
    ]
    if reasons:
        yield Verdict(
            "advice",
            f"the pictures are far from the photographs that the backbone was trained on: {' and '.join(reasons)}. Its earlier layers "
            "have more to learn than usual.",
            f,
            "Train them at a rate nearer to the head's, and longer: learn.fine_tune(lr_mult=3.0).",
        )


DOMAIN = Check("far-from-pretraining", "data", "AR03", _domain, _judge_domain)

CHECKS = (SMALL, WEIGHTS, DOMAIN)
