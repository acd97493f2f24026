"""How gradients change over the steps of recurrent layers (MO05)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tipsai.core import modes
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, rows

ROWS = 32
STEPS = 8  # at least
TIMES = 20.0  # larger at the first steps than at the last


def _through(ctx: Context) -> Figures | None:
    """For each recurrent layer the norm of the loss's gradient at its input, over the first and the last fourth of the steps."""
    batch = ctx.batch()
    if batch is None or not any(isinstance(m, nn.RNNBase) for m in ctx.model.modules()):
        return None
    model = ctx.fresh()
    taken: dict[str, Tensor] = {}

    def keep(name: str, module: nn.RNNBase, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x = args[0]
        if not isinstance(x, Tensor) or x.ndim != 3:
            return args
        taken[name] = x.detach().requires_grad_() if not x.requires_grad else x
        taken[name].retain_grad()
        return (taken[name], *args[1:])

    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.RNNBase) and not m.bidirectional}
    hooks = [m.register_forward_pre_hook(lambda m, args, name=name: keep(name, m, args)) for name, m in layers.items()]
    try:
        with modes.kept(model), torch.enable_grad():
            modes.train(model)
            ctx.loss(model, rows(batch, ROWS)).backward()  # type: ignore[no-untyped-call]
    finally:
        for hook in hooks:
            hook.remove()
    found: dict[str, float] = {}
    for name, x in taken.items():
        if x.grad is None:
            continue
        by_step = x.grad.transpose(0, 1) if layers[name].batch_first else x.grad
        norms = by_step.flatten(1).norm(dim=1)
        n = len(norms) // 4
        if len(norms) >= STEPS and bool((norms > 0).all()):
            found[name] = float(norms[:n].mean() / norms[-n:].mean())
    return {"first over last": found} if found else None


def _judge(f: Figures) -> Iterator[Verdict]:
    name, times = max(f["first over last"].items(), key=lambda item: item[1])
    if times > TIMES:
        yield Verdict(
            "warning",
            f"gradients explode over the steps of {name!r}: at the first they are {times:.3g} times those at the last. The state grows with every "
            "step, and long sequences drown short ones.",
            f,
            "Orthogonal recurrent weights of gain 1, nn.LSTM or nn.GRU in place of a plain nn.RNN with rectifiers; fit clips gradients at 1.",
        )


THROUGH = Check(
    "gradient-through-time",
    "start",
    "MO05",
    _through,
    _judge,
    "Pascanu et al. 1211.5063",
    ("non-finite-data", "non-finite-values", "mixes-items", "input-scale"),
)

CHECKS = (THROUGH,)
