"""Before anything else a model must be able to learn a few examples by heart (TR02)."""

import math
import time
from collections.abc import Iterator

import torch
from torch import nn

from tipsai.core import modes
from tipsai.core.state import Batch
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, rows

N = 8  # examples
SECONDS = 3.0  # at most
STEPS = 300
RATES = (1.0, 3.0, 0.1)  # times the run's own, tried one after the other
PASSED = 0.01  # of the loss between start and floor that may be left
STUCK = 0.5  # what may be left of it after all steps before the check speaks


def _few(ctx: Context) -> Figures | None:
    """On items without augmentation."""
    if ctx.dls.train is None:
        return None
    batch = rows(next(iter(ctx.dls.as_evaluated(ctx.dls.train.sample(N, ctx.seed), ctx.device))), N)
    return None if batch.n_rows < 2 else _learned(ctx, batch)


def _learned(ctx: Context, batch: Batch) -> Figures:
    began = time.perf_counter()
    first = best = math.inf
    steps = 0
    for rate in RATES:
        model = ctx.fresh()
        modes.train(model)
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0
        opt = ctx.optimize(model)
        for group in opt.param_groups:
            group["lr"] *= rate
            group["weight_decay"] = 0.0
        for step in range(STEPS):
            opt.zero_grad()
            loss = ctx.loss(model, batch)
            value = float(loss.detach())
            if not math.isfinite(value):
                break
            first = value if step == 0 and rate == RATES[0] else first
            best, steps = min(best, value), steps + 1
            if best <= PASSED * first:
                return {"first": first, "least": best, "steps": steps, "passed": True, "n": batch.n_rows}
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            if time.perf_counter() - began > SECONDS:
                break
        if time.perf_counter() - began > SECONDS:
            break
    return {"first": first, "least": best, "steps": steps, "passed": False, "n": batch.n_rows}


def _judge(f: Figures) -> Iterator[Verdict]:
    if f["passed"] or f["steps"] < 50:
        return
    if f["least"] > STUCK * f["first"]:
        yield Verdict(
            "error" if f["least"] > 0.9 * f["first"] else "warning",
            f"the model cannot learn {f['n']} examples by heart: in {f['steps']} steps without regularisation the loss went from "
            f"{f['first']:.3g} to {f['least']:.3g}.",
            f,
            "Look at loss, targets and gradients before training longer: something does not connect.",
        )


FIT_FEW = Check(
    "fit-few",
    "start",
    "TR02",
    _few,
    _judge,
    "Karpathy, A Recipe for Training Neural Networks, 2019",
    ("gradient-flow", "outputs", "mixes-items", "ignores-input", "non-finite-data", "loss-for-targets"),
)

CHECKS = (FIT_FEW,)
