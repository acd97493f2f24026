"""Before anything else a model must be able to learn a few examples by heart (TR02)."""

import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from tipsai.core import modes
from tipsai.core.state import Batch
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, digests

N = 8  # examples
AMONG = 4  # times as many are looked at for those that can be told apart
BLANK = 8  # numbers of a row, at least, that is called blank
SECONDS = 3.0  # at most
STEPS = 300
CREPT = (30.0, 300.0)  # times the run's own rate, tried where that hardly moved the loss
ELSE = (3.0, 0.1)  # tried where it moved
FAR = 10.0  # times: where only a rate so much higher passes, the rate is to blame
PASSED = 0.01  # of the loss between start and floor that may be left
STUCK = 0.5  # what may be left of it after all steps before the check speaks


def _few(ctx: Context) -> Figures | None:
    """On items without augmentation that can be told apart."""
    if ctx.dls.train is None:
        return None
    batch = next(iter(ctx.dls.as_evaluated(ctx.dls.train.sample(AMONG * N, ctx.seed), ctx.device)))
    chosen = _distinct(batch.x)[:N]
    few = Batch(tuple(t[chosen] for t in batch.x), tuple(t[chosen] for t in batch.y))
    return None if few.n_rows < 2 else _learned(ctx, few)


def _distinct(x: Sequence[Tensor]) -> list[int]:
    """The rows that can be told apart: no second one with the same inputs, whose target may differ, and none that is blank."""
    found: dict[bytes, int] = {}
    for i, (digest, empty) in enumerate(zip(digests(x), blank(x).tolist(), strict=True)):
        if not empty:
            found.setdefault(digest, i)
    return list(found.values())


def blank(x: Sequence[Tensor]) -> Tensor:
    """Bool [n]: whether a row says nothing, such as an empty text: each of its tensors holds one value throughout.

    Rows of less than BLANK numbers are not called blank.
    """
    flat = [t.reshape(len(t), -1) for t in x if t.numel()]
    if sum(t.shape[1] for t in flat) < BLANK:
        return torch.zeros(len(x[0]), dtype=torch.bool)
    return torch.stack([(t == t[:, :1]).all(1) for t in flat]).all(0)


def _learned(ctx: Context, batch: Batch) -> Figures:
    began = time.perf_counter()
    first = best = math.inf
    worst, steps, rates, tried = 0.0, 0, [1.0], list[float]()
    while rates:
        rate = rates.pop(0)
        tried.append(rate)
        model = ctx.fresh()
        modes.train(model)
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0
        opt = ctx.optimize(model)
        for group in opt.param_groups:
            group["lr"] *= rate
            group["weight_decay"] = 0.0
        for _ in range(STEPS):
            opt.zero_grad()
            loss = ctx.loss(model, batch)
            value = float(loss.detach())
            if not math.isfinite(value):
                break
            first = value if not steps else first
            best, worst, steps = min(best, value), max(worst, value), steps + 1
            if best <= PASSED * first:
                return {"first": first, "least": best, "steps": steps, "passed": True, "rate": rate, "n": batch.n_rows}
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            if time.perf_counter() - began > SECONDS:
                break
        if time.perf_counter() - began > SECONDS:
            break
        if len(tried) == 1:
            crept = best > 0.8 * first and worst < 1.1 * first
            rates = [*(CREPT if crept else ELSE)]
    return {"first": first, "least": best, "steps": steps, "passed": False, "rate": max(tried), "n": batch.n_rows}


def _judge(f: Figures) -> Iterator[Verdict]:
    if f["passed"] and f["rate"] >= FAR:
        yield Verdict(
            "warning",
            f"the learning rate is probably too low: the model learns {f['n']} examples by heart within "
            f"{STEPS} steps at {f['rate']:g} times the rate, and at the rate itself it does not.",
            f,
            "Leave lr out for the default, or take what learn.lr_find() suggests.",
        )
    if f["passed"] or f["steps"] < 50:
        return
    if f["least"] > STUCK * f["first"]:
        yield Verdict(
            "error" if f["least"] > 0.9 * f["first"] else "warning",
            f"the model cannot learn {f['n']} examples by heart: in {f['steps']} steps without regularisation, at up to {f['rate']:g} times the "
            f"rate, the loss went from {f['first']:.3g} to {f['least']:.3g} at best.",
            f,
            "Look at loss, targets, gradients and rate before training longer: something does not connect.",
        )


FIT_FEW = Check(
    "fit-few",
    "start",
    "TR02",
    _few,
    _judge,
    "Karpathy, A Recipe for Training Neural Networks, 2019",
    (
        "gradient-flow",
        "zero-gradient",
        "loss-direction",
        "loss-broadcast",
        "outputs",
        "first-loss",
        "input-scale",
        "mixes-items",
        "random-evaluation",
        "constant-inputs",
        "ignores-input",
        "non-finite-data",
        "non-finite-values",
        "loss-for-targets",
    ),
)

CHECKS = (FIT_FEW,)
