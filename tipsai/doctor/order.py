"""In what order the data come, and whether evaluation sees them twice alike."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tipsai.core.state import Batch
from tipsai.data.loaders import ForeignLoader
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, digests

LOOKED_AT = 3  # batches of an epoch
MOST = 4000  # items of a split that is read twice


def _head(ctx: Context, split: str, epoch: int, n: int = LOOKED_AT) -> list[Batch]:
    batches = ctx.fed(split, epoch)
    found = [batch for _, batch in zip(range(n), batches, strict=False)]
    close = getattr(batches, "close", None)
    if close is not None:
        close()  # workers end
    return found


def _order(ctx: Context) -> Figures | None:
    """Whether two epochs come in the same order, and how often neighbours have the same target, beside chance."""
    loader = ctx.dls.train
    if loader is None or loader.n_items < 2 * loader.bs or len(loader) < 2:
        return None
    orders = [loader.order(ctx.seed, epoch) for epoch in (0, 1)]
    first = _head(ctx, "train", 0)
    if orders[0] is not None and orders[1] is not None:
        fixed = torch.equal(orders[0], orders[1])
    else:
        again = _head(ctx, "train", 1)
        fixed = all(_same(a, b) for a, b in zip(first, again, strict=False))
    y = torch.cat([batch.y[0].reshape(batch.n_rows, -1)[:, 0] for batch in first if batch.y]) if first[0].y else None
    everything = ctx.sample("train")
    figures = {"fixed": fixed, "batches compared": len(first), "items": 0 if y is None else len(y)}
    if y is None or everything is None or len(y) < 16:
        return figures
    every = everything.y[0].reshape(everything.n_rows, -1)[:, 0]
    if y.is_floating_point():
        return figures | {"alike": _correlation(y.double()), "by chance": 0.0, "spread": 1.0}
    shares = torch.unique(every, return_counts=True)[1].double() / len(every)
    alike, chance = float((y[1:] == y[:-1]).double().mean()), float((shares**2).sum())
    return figures | {"alike": alike, "by chance": chance, "spread": max(1e-9, chance * (1 - chance)) ** 0.5}


def _correlation(y: Tensor) -> float:
    """Between neighbours."""
    y = y - y.mean()
    return float((y[1:] * y[:-1]).sum() / (y * y).sum().clamp(min=1e-30))


def _same(a: Batch, b: Batch) -> bool:
    if [t.shape for t in a.x] != [t.shape for t in b.x]:
        return False
    fields = zip((*a.x, *a.y), (*b.x, *b.y), strict=True)
    return all(torch.equal(s, t) for s, t in fields)


def _judge_order(f: Figures) -> Iterator[Verdict]:
    alike, chance = f.get("alike", 0.0), f.get("by chance", 0.0)
    surprise = (alike - chance) * f["items"] ** 0.5 / f.get("spread", 1.0)  # standard errors of what chance gives
    sorted_ = alike > chance + 0.5 * (1 - chance) and surprise > 5
    fix = "Shuffle: DataLoaders.from_tensors and from_datasets do; torch's DataLoader takes shuffle=True."
    if f["fixed"] and sorted_:
        yield Verdict(
            "error",
            f"training data come sorted by target, in the same order every epoch: {alike:.0%} of neighbours are alike, "
            f"{chance:.0%} would be by chance. Each batch pulls the model to one side.",
            f,
            fix,
        )
    elif f["fixed"]:
        yield Verdict("warning", "training data come in the same order every epoch.", f, fix)
    elif sorted_:
        yield Verdict(
            "warning",
            f"neighbours in a training batch are alike in {alike:.0%} of cases; {chance:.0%} would be by chance.",
            f,
            fix,
        )


ORDER = Check("order", "data", "DA09", _order, _judge_order)


def _rows(batches: list[Batch]) -> list[bytes]:
    """Each row's digest, sorted: the same items in another order are the same."""
    return sorted(digest for batch in batches for digest in digests((*batch.x, *batch.y)))


def _twice(ctx: Context) -> Figures | None:
    loader = ctx.dls.valid
    if loader is None:
        return None
    own_order = isinstance(loader, ForeignLoader)
    if own_order and loader.n_items > MOST:
        return None
    n = len(loader) if own_order else 1
    a, b = (_rows(_head(ctx, "valid", 0, n)) for _ in range(2))
    return {"items": len(a), "differ": len(set(a) - set(b))}


def _judge_twice(f: Figures) -> Iterator[Verdict]:
    if f["differ"]:
        yield Verdict(
            "warning",
            f"validation items look otherwise each time they are read ({f['differ']:,} of {f['items']:,}): they are augmented, "
            "or drawn anew.",
            f,
            "Give validation a dataset of its own without random transforms.",
        )


AUGMENTED_VALIDATION = Check("augmented-validation", "data", "DA11", _twice, _judge_twice)

CHECKS = (ORDER, AUGMENTED_VALIDATION)
