"""Muon: steps that turn all directions of a weight matrix alike, for matrices; AdamW for everything else (TR11)."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from tipsai.core.step import fast_bf16

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of a quintic that brings singular values from 0..1 close to 1 in few steps
STEPS = 5
MATCHED_RMS = 0.2  # of an update's entries at a rate of 1, about AdamW's, so that its rates and decays carry over


class Muon(torch.optim.AdamW):
    """AdamW whose steps for matrices are made orthogonal.

    A matrix's momentum (Nesterov's) is replaced by the nearest orthogonal matrix, found by a few steps of a Newton-Schulz
    iteration, and scaled so that its entries have the root mean square that AdamW's usually have. Convolutions count as
    matrices [n_out, n_in * kh * kw].

    Args:
        groups: parameter groups; those with "matrix": True hold parameters of two dimensions and more.
        lr, betas, eps, weight_decay: as of AdamW; the momentum of matrices is betas[0].

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the scale and decay:
    Liu et al. 2502.16982.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], **options: Any) -> None:
        super().__init__([{"matrix": False} | group for group in groups], **options)
        self._step_supports_amp_scaling = False  # matrices could not skip a step: the scaler is to do it

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        groups, loss = self.param_groups, None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.param_groups = [group for group in groups if not group["matrix"]]
        try:
            super().step()
        finally:
            self.param_groups = groups
        with torch.no_grad():
            for group in groups:
                if group["matrix"]:
                    self._turn(group)
        return loss

    def _turn(self, group: dict[str, Any]) -> None:
        """Steps of a group's matrices; those of one shape are made orthogonal together."""
        beta = group["betas"][0]
        alike: dict[Any, list[tuple[Tensor, Tensor]]] = {}
        for p in group["params"]:
            if p.grad is not None:
                state = self.state[p]
                if not state:
                    state["step"], state["exp_avg"] = torch.zeros(()), torch.zeros_like(p)
                state["step"] += 1  # AdamW looks for it when a state is loaded
                state["exp_avg"].lerp_(p.grad, 1 - beta)
                ahead = torch.lerp(p.grad, state["exp_avg"], beta).flatten(1)
                alike.setdefault((ahead.shape, ahead.dtype, ahead.device), []).append((p, ahead))
        for (shape, *_), pairs in alike.items():
            updates = orthogonal(torch.stack([ahead for _, ahead in pairs]))
            scale = MATCHED_RMS * math.sqrt(max(shape))
            for (p, _), update in zip(pairs, updates, strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.view_as(p), alpha=-group["lr"] * scale)


def orthogonal(m: Tensor, steps: int = STEPS) -> Tensor:
    """About the nearest matrix with orthonormal rows or, where those are more, columns: singular values 0.7 to 1.2.

    Args:
        m: matrices [r, c] or [b, r, c] of any scale; zeros stay zeros.
        steps: of the iteration.
    """
    if m.ndim == 2:
        return orthogonal(m[None], steps)[0]
    wide = m.shape[-2] <= m.shape[-1]
    half = fast_bf16(m.device)  # the result is rough anyway
    x = (m if wide else m.mT).to(torch.bfloat16 if half else torch.float32)
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    made = _directly(x, steps) if half else _by_gram(x, steps)
    return (made if wide else made.mT).to(m.dtype)


def _directly(x: Tensor, steps: int) -> Tensor:
    """p(x x^T) x, again and again, for the polynomial p of COEFFICIENTS."""
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, factor, x, beta=a)  # rounded once where a * x + factor @ x is rounded three times
    return x


def _by_gram(x: Tensor, steps: int) -> Tensor:
    """The same by the small matrix x x^T alone, of which all factors are polynomials: half the work, but no work for bf16."""
    a, b, c = COEFFICIENTS
    gram = x @ x.mT
    product = None
    for i in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        product = factor if product is None else factor @ product
        if i < steps - 1:
            gram = factor @ gram @ factor
    return x if product is None else product @ x
