"""Augmentation that turns one class into another (DA05), by looking at the pictures alone."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
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
    height, width = (min(GRID, side) for side in x.shape[2:])
    return F.adaptive_avg_pool2d(x.float(), (height, width)).flatten(1)


def _changed(ctx: Context) -> Figures | None:
    """How often an augmented picture is as clearly nearer to another class's pictures as it was to its own before.

    Pictures moved to where there are none are about as far from all classes, and say nothing of labels.
    """
    loader = ctx.dls.train
    order = None if loader is None else loader.order(ctx.seed, 0)
    plain = ctx.sample("train")
    if loader is None or order is None or plain is None or not plain.y or len(plain.x) != 1 or plain.x[0].ndim != 4:
        return None
    y = plain.y[0]
    if y.ndim != 1 or y.is_floating_point() or not 2 <= len(torch.unique(y)) <= 100:
        return None
    known, target = _coarse(plain.x[0]), y
    pictures, labels, same = [], [], True
    for epoch in range(TIMES):
        order = loader.order(ctx.seed, epoch)
        assert order is not None
        for i, batch in enumerate(ctx.fed("train", epoch)):
            index = order[i * loader.bs : i * loader.bs + batch.n_rows].tolist()
            before = next(iter(ctx.dls.as_evaluated([loader.at(index)], ctx.device)))
            if before.x[0].shape != batch.x[0].shape or batch.x[0].shape[1:] != plain.x[0].shape[1:]:
                return None
            same &= torch.equal(before.x[0], batch.x[0])
            if same and i:
                return None  # nothing is augmented
            pictures.append(_coarse(batch.x[0]).cpu())
            labels.append(before.y[0].cpu())
            if sum(map(len, pictures)) >= (epoch + 1) * MOST // TIMES:
                break
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

CHECKS = (CHANGED,)
