"""What a model makes of samples of the splits, item by item; and intervals for means over them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tipsai.core.evaluate import evaluating
from tipsai.core.state import IGNORED, Batch
from tipsai.data.itemwise import kind_of, measure
from tipsai.doctor.context import Context
from tipsai.intervals import bootstrap_difference, bootstrap_mean

CHUNK = 128  # items that the model sees at a time
Interval = tuple[float, float, float]  # a figure, and the ends of its interval


@dataclass(frozen=True, slots=True)
class Judged:
    """A sample of a split, as the model sees it, and what it says of each item.

    Attributes:
        kind: of the targets; see data.itemwise.kind_of.
        batch: the items, on the CPU; targets in their own units.
        items: figures of each, [n]; "loss" is the reported one.
        n_out: outputs of an item.
    """

    kind: str
    batch: Batch
    items: dict[str, Tensor]
    n_out: int

    @property
    def measure(self) -> str:
        """What people read: of classes the share that is wrong, else the loss."""
        return "error" if self.kind == "classes" else "loss"

    @property
    def errors(self) -> Tensor:
        """The measure, float64 [n]: its mean over the sample is the figure."""
        if self.kind != "classes":
            return self.items["loss"].double()
        target, said = self.items["target"], self.items["prediction"]
        return (said != target)[target >= 0].double()


def judged(ctx: Context, split: str) -> Judged | None:
    """A sample of a split, judged; None without the split, its targets, or predictions of single items."""
    key = ("judged", split)
    if key not in ctx.kept:
        ctx.kept[key] = _judged(ctx, split)
    return ctx.kept[key]  # type: ignore[no-any-return]


def parts(ctx: Context, sample: Batch, most: int) -> Iterator[Batch]:
    """The first items of a sample, some at a time, on the device."""
    n = min(sample.n_rows, most)
    for i in range(0, n, CHUNK):
        yield Batch(*(tuple(t[i : min(n, i + CHUNK)].to(ctx.device) for t in fields) for fields in sample))


def item_preds(ctx: Context, model: nn.Module, batch: Batch) -> Tensor | None:
    """What the loss would take, in fp32; None where it is no row an item."""
    pred = ctx.pred(model, batch)
    return None if pred is None or len(pred) != batch.n_rows else pred.float()


def _judged(ctx: Context, split: str) -> Judged | None:
    sample = ctx.sample(split)
    if sample is None or not sample.y or ctx.compute_loss is not None:
        return None
    kept: dict[str, list[Tensor]] = {}
    targets: list[Tensor] = []
    kind, n_out = "", 1
    with evaluating(ctx.model):
        for part in parts(ctx, sample, ctx.n_judged):
            pred, y = item_preds(ctx, ctx.model, part), part.y[0]
            if pred is None:
                return None
            if ctx.units is not None:
                pred, y = ctx.units(pred), ctx.units(y)
            kind = kind or kind_of(ctx.loss_fn, pred, y)
            n_out = pred.shape[1] if pred.ndim > 1 else 1
            items, _ = measure(kind, ctx.loss_fn, pred, (y, *part.y[1:]))
            targets.append(_counted(ctx, y).cpu())
            for name, values in items.items():
                kept.setdefault(name, []).append(values.cpu())
    y = torch.cat(targets)
    items = {name: torch.cat(values) for name, values in kept.items()}
    return Judged(kind, Batch(tuple(t[: len(y)] for t in sample.x), (y,)), items, n_out)


def _counted(ctx: Context, y: Tensor) -> Tensor:
    """Targets of which those that the loss leaves out are called IGNORED, whatever it calls them itself."""
    out = getattr(ctx.loss_fn, "ignore_index", IGNORED)
    return y if out == IGNORED or y.is_floating_point() else torch.where(y == out, IGNORED, y)


def mean_interval(values: Tensor, level: float = 0.95) -> Interval:
    """The mean of values [n], and its bootstrap interval."""
    low, high = bootstrap_mean(values.double().numpy(), level)
    return float(values.double().mean()), float(low), float(high)


def difference(a: Tensor, b: Tensor, level: float = 0.95) -> Interval:
    """The mean of b less that of a, of samples that have nothing to do with each other, with its interval."""
    return float(b.double().mean() - a.double().mean()), *bootstrap_difference(a.numpy(), b.numpy(), level)
