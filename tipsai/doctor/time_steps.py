"""Recurrent layers: how gradients change over their steps (MO05), and whether their gates are stuck (MO01)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tipsai.core import modes
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, before_forward, rows

ROWS = 32
STEPS = 8  # at least
TIMES = 20.0  # larger at the first steps than at the last
FAINT = {
    True: 1e-7,
    False: 1e-12,
}  # of the last steps': in plain recurrent layers, and in gated ones, which learn to keep
STUCK, FAR = 0.5, 6.0  # share of a layer's gates, and how far from 0 their sums lie where a sigmoid is flat


def _through(ctx: Context) -> Figures | None:
    """For each recurrent layer the norm of the loss's gradient at its input, over the first and the last fourth of the steps."""
    batch = ctx.batch()
    if batch is None or not any(isinstance(m, nn.RNNBase) for m in ctx.model.modules()):
        return None
    model = ctx.fresh()
    taken: dict[str, Tensor] = {}

    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.RNNBase) and not m.bidirectional}
    names: dict[nn.Module, str] = {m: name for name, m in layers.items()}

    def keep(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x = args[0]
        if not isinstance(x, Tensor) or x.ndim != 3:
            return args
        taken[names[module]] = x = x if x.requires_grad else x.detach().requires_grad_()
        x.retain_grad()
        return (x, *args[1:])

    modes.train(model)
    with before_forward(layers.values(), keep):
        ctx.loss(model, rows(batch, ROWS)).backward()  # type: ignore[no-untyped-call]
    found: dict[str, float] = {}
    for name, x in taken.items():
        if x.grad is None:
            continue
        by_step = x.grad.transpose(0, 1) if layers[name].batch_first else x.grad
        norms = by_step.flatten(1).norm(dim=1)
        n = len(norms) // 4
        if len(norms) >= STEPS and float(norms[-n:].mean()) > 0:
            found[name] = float(norms[:n].mean() / norms[-n:].mean())
    plain = {name: type(layers[name]) is nn.RNN for name in found}
    return {"first over last": found, "plain": plain, "stuck": _stuck(layers, taken)} if taken else None


def _stuck(layers: dict[str, nn.RNNBase], taken: dict[str, Tensor]) -> dict[str, float]:
    """By layer the share of its gates' sums that the input alone drives to where they are flat."""
    found = {}
    for name, x in taken.items():
        layer = layers[name]
        with torch.no_grad():
            sums = x.detach() @ layer.get_parameter("weight_ih_l0").T
        found[name] = float((sums.abs() > FAR).double().mean()) if layer.mode != "RNN_RELU" else 0.0
    return found


def _judge(f: Figures) -> Iterator[Verdict]:
    stuck = [name for name, share in f["stuck"].items() if share > STUCK]
    if stuck:
        yield Verdict(
            "warning",
            f"{f['stuck'][stuck[0]]:.0%} of the gates of {stuck[0]!r} are saturated: what the input adds to them is so large that sigmoid and tanh are "
            "flat there, and hardly any gradient passes.",
            f,
            "Scale the inputs, and leave the layer's initial weights as PyTorch draws them.",
        )
        return
    if not f["first over last"]:
        return
    name, times = max(f["first over last"].items(), key=lambda item: item[1])
    least, lost = min(f["first over last"].items(), key=lambda item: item[1])
    if lost < FAINT[f["plain"][least]]:
        yield Verdict(
            "warning" if f["plain"][least] else "advice",
            f"gradients vanish over the steps of {least!r}: at the first they are {lost:.1e} of those at the last. What stands early in a sequence "
            "will not be learned.",
            f,
            "nn.LSTM or nn.GRU in place of a plain nn.RNN, orthogonal recurrent weights, a mean over the steps, attention, or shorter sequences.",
        )
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
