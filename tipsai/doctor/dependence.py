"""Outputs may depend only on what they should (MO07), and evaluation says the same thing twice."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tipsai.core.errors import listing
from tipsai.core.evaluate import evaluating
from tipsai.core.state import Batch
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, class_axis, rows

TOLERANCE = 1e-3  # of the outputs' spread: other rows may change the last digits, by the order of a sum, and no more
ROUNDING = 1e-6  # of the outputs' size: equal rows may come out of a product a step or two of float32 apart
FEW = 8  # rows that are looked at


def _few(ctx: Context) -> Batch | None:
    batch = ctx.batch()
    return None if batch is None or batch.n_rows < 4 else rows(batch, FEW)


def _changed(before: Tensor, after: Tensor) -> float:
    """The largest difference, over the spread of the outputs."""
    return float((before - after).abs().max() / before.std().clamp(min=1e-6))


# --- other rows -----------------------------------------------------------------------------------------------------


def _other_rows(ctx: Context) -> Figures | None:
    """Puts other items between the first and the last, and looks whether what is said of the two changes.

    Both ends are looked at: a recurrent net that takes the batch for time hands on in one direction only.
    """
    batch = _few(ctx)
    if batch is None:
        return None
    n = batch.n_rows
    ends = torch.tensor([0, n - 1], device=batch.x[0].device)
    order, doubled = torch.arange(n), torch.arange(n)
    order[1:-1], doubled[1:-1] = order[1:-1].flip(0), n // 2
    with evaluating(ctx.model):
        said = ctx.pred(ctx.model, batch)
        again = ctx.pred(ctx.model, batch)
        if said is None or again is None or said.ndim == 0:
            return None
        if len(said) != n:
            return {"rows": n, "predictions": len(said)}
        if not torch.equal(said, again):
            return None  # another check's
        changes = [
            _changed(said[ends], found[ends])
            for index in (order.to(ends.device), doubled.to(ends.device))
            if (found := ctx.pred(ctx.model, Batch(tuple(t[index] for t in batch.x), batch.y))) is not None
        ]
    norms = [name for name, m in ctx.model.named_modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    return {"rows": n, "predictions": n, "change": max(changes), "batch norms": norms}


def _judge_rows(f: Figures) -> Iterator[Verdict]:
    if f["rows"] != f["predictions"]:
        yield Verdict(
            "error",
            f"the model returns {f['predictions']} predictions for {f['rows']} items; a view or reshape mixes items.",
            f,
            "Keep the first axis: x.flatten(1), x.view(len(x), -1), batch_first=True.",
        )
    elif f["change"] > TOLERANCE:
        norms = f["batch norms"]
        yield Verdict(
            "error",
            "in evaluation, what the model says of an item changes with the items beside it"
            + (f" (it has batch norms: {listing(norms, 3)})." if norms else "."),
            f,
            "Look for a batch norm that evaluation leaves in training mode (train() overridden, track_running_stats=False), for a recurrent "
            "or attention layer without batch_first=True, and for a view, reshape, mean or softmax over the first axis.",
        )


OTHER_ROWS = Check(
    "mixes-items", "start", "MO07", _other_rows, _judge_rows, "Karpathy, A Recipe for Training Neural Networks, 2019"
)


# --- later tokens ---------------------------------------------------------------------------------------------------


def _later(ctx: Context) -> Figures | None:
    """Changes the second half of each window of tokens, and looks whether what is said in the first half changes."""
    batch = _few(ctx)
    if batch is None or len(batch.x) != 1 or not batch.y:
        return None
    x, y = batch.x[0], batch.y[0]
    if x.is_floating_point() or x.ndim != 2 or x.shape != y.shape or x.shape[1] < 4:
        return None
    if y.is_floating_point() or float((x[:, 1:] == y[:, :-1]).double().mean()) < 0.95:
        return None
    half = x.shape[1] // 2
    other = x.clone()
    other[:, half:] = x.roll(1, 0)[:, half:].flip(1)
    with evaluating(ctx.model):
        said, found = ctx.pred(ctx.model, batch), ctx.pred(ctx.model, Batch((other,), batch.y))
    if said is None or found is None:
        return None
    axis = class_axis(ctx.loss_fn, said, y)
    if axis is None:
        return None
    said, found = said.movedim(axis, -1), found.movedim(axis, -1)
    return {"change": _changed(said[:, :half], found[:, :half]), "window": x.shape[1]}


def _judge_later(f: Figures) -> Iterator[Verdict]:
    if f["change"] > TOLERANCE:
        yield Verdict(
            "error",
            "what the language model says at a place changes with the tokens after it: it sees what it is to predict.",
            f,
            "Mask attention: scaled_dot_product_attention(..., is_causal=True); pad convolutions on the left only.",
        )


LATER_TOKENS = Check("sees-the-future", "start", "MO07", _later, _judge_later)


# --- the input at all -----------------------------------------------------------------------------------------------


def _input(ctx: Context) -> Figures | None:
    """Whether outputs depend on the input at all, after the last layer was shaken so that one starting at zero does not hide it."""
    batch = _few(ctx)
    if batch is None or ctx.compute_loss is not None:
        return None
    model = ctx.fresh()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.is_floating_point() and not bool((p != 0).any()):
                p.add_(0.02 * torch.randn(p.shape, generator=generator).to(p))
    with evaluating(model):
        said = ctx.pred(model, batch)
    if said is None or said.ndim == 0 or len(said) != batch.n_rows:
        return None
    differ = any(bool((t[1:] != t[:1]).any()) for t in batch.x)
    return {
        "spread": float((said[1:] - said[:1]).abs().max()),
        "size": float(said.abs().max()),
        "inputs differ": differ,
    }


def _judge_input(f: Figures) -> Iterator[Verdict]:
    if f["inputs differ"] and f["spread"] <= ROUNDING * max(1.0, f["size"]):
        yield Verdict(
            "error",
            "the model says the same of every item: its outputs do not depend on the input.",
            f,
            "Look for a softmax over one value, a dead rectifier, and a variable that is used in place of another.",
        )


INPUT = Check("ignores-input", "start", "MO09", _input, _judge_input)


# --- twice the same -------------------------------------------------------------------------------------------------


def _twice(ctx: Context) -> Figures | None:
    batch = _few(ctx)
    if batch is None:
        return None
    with evaluating(ctx.model):
        if ctx.compute_loss is not None:
            said, again = ctx.loss(ctx.model, batch)[None], ctx.loss(ctx.model, batch)[None]
            return {"change": float((said - again).abs().max() / said.abs().max().clamp(min=1e-6))}
        a, b = ctx.pred(ctx.model, batch), ctx.pred(ctx.model, batch)
    return None if a is None or b is None else {"change": _changed(a, b)}


def _judge_twice(f: Figures) -> Iterator[Verdict]:
    if f["change"] > TOLERANCE:
        yield Verdict(
            "error",
            "in evaluation the model says something else each time about the same items: something random is left on.",
            f,
            "Use nn.Dropout, which eval() switches off; F.dropout needs training=self.training.",
        )


RANDOM = Check("random-evaluation", "start", "TR13", _twice, _judge_twice)


# --- batch norm -----------------------------------------------------------------------------------------------------

LEAST_ROWS = 8


def _norms(ctx: Context) -> Figures | None:
    loader = ctx.dls.train
    norms = [m for m in ctx.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    trained = [m for m in norms if any(p.requires_grad for p in m.parameters()) or not list(m.parameters())]
    if loader is None or not trained:
        return None
    spatial = all(not isinstance(m, nn.BatchNorm1d) for m in trained)
    return {"bs": min(loader.bs, loader.n_items), "norms": len(trained), "maps": spatial}


def _judge_norms(f: Figures) -> Iterator[Verdict]:
    if f["bs"] < (LEAST_ROWS // 2 if f["maps"] else LEAST_ROWS):
        yield Verdict(
            "warning",
            f"{f['norms']} batch norms estimate mean and variance from batches of {f['bs']}; what they do in training is far from what "
            "they do in evaluation.",
            f,
            "Larger batches, or nn.GroupNorm and nn.LayerNorm, which do not look across the batch; accumulating does not help here.",
        )


SMALL_BATCH = Check("batch-norm-small-batch", "start", "TR14", _norms, _judge_norms, "Wu and He 1803.08494, figure 1")

CHECKS = (RANDOM, OTHER_ROWS, LATER_TOKENS, INPUT, SMALL_BATCH)
