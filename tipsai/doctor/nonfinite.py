"""Which layer made the first value that is not finite (MO05)."""

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from tipsai.core import modes
from tipsai.core.state import Batch
from tipsai.core.step import autocast
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.doctor.flow import flow

SECONDS = 5.0  # of looking for the batch


def _bad(value: Any) -> bool:
    """Whether a tensor, or one in a tuple, list or dict, holds a number that is not finite."""
    if isinstance(value, Tensor):
        return value.is_floating_point() and not bool(value.isfinite().all())
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return any(_bad(part) for part in parts)


@contextlib.contextmanager
def watched(model: nn.Module) -> Iterator[list[str]]:
    """Names, in the order in which they come, of the modules that return what is not finite though nothing that they take is.

    A layer is named before the block that holds it, and the block alone where its own operations are to blame.
    """
    found: list[str] = []
    names = {module: name for name, module in model.named_modules()}

    def look(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        if _bad(out) and not _bad(args) and not _bad(tuple(kwargs.values())):
            found.append(f"{names[module]} ({type(module).__name__})" if names[module] else type(module).__name__)

    hooks = [module.register_forward_hook(look, with_kwargs=True) for module in names]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def first_non_finite(ctx: Context, model: nn.Module, batch: Batch) -> Figures | None:
    """Where a batch's forward and backward pass first leave the finite numbers; None if they do not.

    Args:
        ctx: says how the loss is computed.
        model: in training mode; its gradients are used.
        batch: on the device.
    """
    if any(_bad(t) for t in (*batch.x, *batch.y)):
        return {"where": "the data", "what": "a value"}
    bad = [name for name, p in model.named_parameters() if not bool(p.isfinite().all())]
    if bad:
        return {"where": bad[0], "what": "a weight"}
    with watched(model) as found, autocast(ctx.precision, ctx.device):
        loss = ctx.loss(model, batch)
    if found:
        return {"where": found[0], "what": "the output"}
    if not bool(loss.isfinite().all()):
        return {"where": "the loss", "what": "the value"}
    model.zero_grad(set_to_none=True)
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    bad = [name for name, p in model.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all())]
    return {"where": bad[-1], "what": "the gradient"} if bad else None  # the last is where it came from


def in_epoch(ctx: Context, epoch: int, n_batches: int) -> Figures:
    """The first of an epoch's batches that leaves the finite numbers with the model as it stands; without one, it diverged."""
    model, began = ctx.fresh(), time.perf_counter()
    modes.train(model)
    for i, batch in enumerate(ctx.fed("train", epoch)):
        if i >= n_batches or time.perf_counter() - began > SECONDS:
            break
        found = first_non_finite(ctx, model, batch)
        if found is not None:
            return {**found, "batch": i}
    return {"where": "", "what": "training"}


def _start(ctx: Context) -> Figures | None:
    batch, moved, said = ctx.batch(), flow(ctx), ctx.said()
    if batch is None or moved is None:
        return None
    trained = all(math.isfinite(norm) for norm in moved.get("norms", {"": 0.0}).values())
    if trained and (said is None or bool(said[0].isfinite().all())):
        return None
    model = ctx.fresh()
    modes.train(model)
    return first_non_finite(ctx, model, batch)


def judge_place(f: Figures) -> Iterator[Verdict]:
    """Of what first_non_finite found."""
    when = f" in batch {f['batch'] + 1} of the epoch" if "batch" in f else ""
    if f["what"] == "training":
        message = "training diverged: with the weights at the epoch's start every layer is finite on the same batches."
        fix = "Lower the rate (learn.lr_find() suggests one), keep clip=1.0, or bf16 in place of fp16."
    elif f["where"] == "the data":
        message = f"the data hold a value that is not finite{when}."
        fix = "Fill or drop missing and infinite values before training."
    else:
        message = f"{f['what']} of {f['where']} is not finite{when}, and all that it takes is."
        fix = "Keep logarithms, roots and divisions away from 0; half precision ends at 65,504, bf16 and fp32 do not."
    yield Verdict("error", message, f, fix)


NON_FINITE_VALUES = Check(
    "non-finite-values",
    "start",
    "MO05",
    _start,
    judge_place,
    unless=("non-finite-data",),
)

CHECKS = (NON_FINITE_VALUES,)
