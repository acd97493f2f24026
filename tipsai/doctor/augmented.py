"""Augmentation that changes labels (DA05): by the pictures alone, and by what a trained model makes of them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tipsai.core.evaluate import evaluating
from tipsai.core.state import Batch
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.doctor.features import coarse
from tipsai.doctor.judged import judged
from tipsai.intervals import wilson

GRID = 12  # a coarse picture's side: small shifts and noise do not matter there
MOST = 400  # pictures
LEAST = 30  # pictures that look clearly like one of a class
SURE = 0.99  # of an interval
CLEAR = 0.05  # how much nearer, as a logarithm, the own class must be as a rule
DECIDED = 0.5  # of what is usual: nearer by so much is clear
MORE = 0.05  # share of pictures that look clearly like another class's, beyond that of pictures as they are
TIMES = 2  # how often each picture is augmented


def _coarse(x: Tensor) -> Tensor:
    """Float [n, d]."""
    return coarse(x, GRID).flatten(1)


def _pairs(ctx: Context, epoch: int = 0) -> Iterator[tuple[Batch, Batch]]:
    """(as evaluation sees them, as training does) of an epoch's items; none where their order is not known."""
    loader = ctx.dls.train
    order = None if loader is None else loader.order(ctx.seed, epoch)
    if loader is None or order is None:
        return
    for i, batch in enumerate(ctx.fed("train", epoch)):
        index = order[i * loader.bs : i * loader.bs + batch.n_rows].tolist()
        yield next(iter(ctx.dls.as_evaluated([loader.at(index)], ctx.device))), batch


# --- by the pictures ------------------------------------------------------------------------------------------------


def _changed(ctx: Context) -> Figures | None:
    """How often an augmented picture is as clearly nearer to another class's pictures as it was to its own before.

    Pictures moved to where there are none are about as far from all classes, and say nothing of labels.
    """
    plain = ctx.sample("train")
    if plain is None or not plain.y or len(plain.x) != 1 or plain.x[0].ndim != 4:
        return None
    y = plain.y[0]
    if y.ndim != 1 or y.is_floating_point() or not 2 <= len(torch.unique(y)) <= 100:
        return None
    known, target = _coarse(plain.x[0]), y
    pictures, labels, same = [], [], True
    for epoch in range(TIMES):
        for i, (before, after) in enumerate(_pairs(ctx, epoch)):
            if before.x[0].shape != after.x[0].shape or after.x[0].shape[1:] != plain.x[0].shape[1:]:
                return None
            same &= torch.equal(before.x[0], after.x[0])
            if same and i:
                return None  # nothing is augmented
            pictures.append(_coarse(after.x[0]).cpu())
            labels.append(before.y[0].cpu())
            if sum(map(len, pictures)) >= (epoch + 1) * MOST // TIMES:
                break
    if not pictures:
        return None
    new, truth = torch.cat(pictures), torch.cat(labels)
    plainly, moved = _margins(known, target, known, target, True), _margins(new, truth, known, target, False)
    usual = float(plainly.median())
    if not usual > CLEAR:
        return None  # neighbours tell the classes badly
    return {
        "clearly another class": int((moved < -DECIDED * usual).sum()),
        "clearly its own": int((moved > DECIDED * usual).sum()),
        "plain": float((plainly < -DECIDED * usual).double().mean()),
        "n": len(new),
    }


def _margins(x: Tensor, y: Tensor, known: Tensor, target: Tensor, leave: bool) -> Tensor:
    """How much nearer the nearest of a row's own class is than that of any other, as a logarithm; `leave` leaves the row itself out."""
    distance = torch.cdist(x, known)
    if leave:
        distance.fill_diagonal_(torch.inf)
    own = y[:, None] == target[None]
    near = torch.where(own, distance, torch.inf).amin(1).clamp(min=1e-6)
    other = torch.where(own, torch.inf, distance).amin(1).clamp(min=1e-6)
    margin: Tensor = (other / near).log()
    return margin


def _judge(f: Figures) -> Iterator[Verdict]:
    n = f["clearly another class"] + f["clearly its own"]
    if n < LEAST:
        return
    low, _ = wilson(f["clearly another class"], f["n"], SURE)
    if low > f["plain"] + MORE:
        yield Verdict(
            "warning",
            f"augmentation probably changes labels: {f['clearly another class'] / f['n']:.0%} of {f['n']:,} augmented training pictures look clearly "
            f"like another class's (of pictures as they are {f['plain']:.0%}).",
            f,
            "Leave out what turns one class into another: aug=Augmentation(flip=0) for what has a left and a right, rotate=0, hue=0.",
        )


CHANGED = Check("augmentation-changes-labels", "data", "DA05", _changed, _judge, unless=("constant-inputs",))


# --- by a trained model ---------------------------------------------------------------------------------------------

ITEMS = 512  # that are looked at augmented
KNOWN = 60  # of them that the model must know
FLIPPED = 0.2  # of the items that a model knows: an augmentation that changes more probably changes labels


def _flips(ctx: Context) -> Figures | None:
    """Of the training items that the model knows, how many it takes for another class once they are augmented."""
    train = judged(ctx, "train")
    if train is None or train.kind != "classes":
        return None
    known = flipped = seen = 0
    with evaluating(ctx.model):
        for plain, batch in _pairs(ctx):
            alike = [a.shape == b.shape for a, b in zip(plain.x, batch.x, strict=True)]
            if not all(alike) or all(torch.equal(a, b) for a, b in zip(plain.x, batch.x, strict=True)):
                return None
            before, after = (_classes(ctx.pred(ctx.model, part)) for part in (plain, batch))
            target = plain.y[0]
            if before is None or after is None or target.shape != before.shape:
                return None
            right = before == target
            known, flipped = known + int(right.sum()), flipped + int((right & (after != before)).sum())
            seen += batch.n_rows
            if seen >= ITEMS:
                break
    if known < KNOWN:
        return None
    low, high = wilson(flipped, known, SURE)
    return {"flipped": [flipped / known, float(low), float(high)], "n": known}


def _classes(pred: Tensor | None) -> Tensor | None:
    """The most probable class of each item, [n]."""
    return pred.argmax(1) if pred is not None and pred.ndim == 2 and pred.shape[1] > 1 else None


def _judge_flips(f: Figures) -> Iterator[Verdict]:
    share, low, _ = f["flipped"]
    if low > FLIPPED:
        yield Verdict(
            "warning",
            f"augmentation changes what the model sees in {share:.0%} of {f['n']:,} training items that it knows (at least {low:.0%}): "
            "it probably changes their labels.",
            f,
            "Leave out the transform that does: for pictures tipsai.vision.invariances(learn) names it, aug=Augmentation(flip=False, ...).",
        )


FLIPS = Check(
    "augmentation-flips",
    "end",
    "DA05",
    _flips,
    _judge_flips,
    unless=("error", "augmentation-changes-labels", "baselines", "learning-rate"),
)

CHECKS = (CHANGED,)
END = (FLIPS,)
