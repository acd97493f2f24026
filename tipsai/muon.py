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
                for p in group["params"] if group["matrix"] else ():
                    if p.grad is not None:
                        self._turn(p, p.grad, group)
        return loss

    def _turn(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state, beta = self.state[p], group["betas"][0]
        if not state:
            state["step"], state["exp_avg"] = torch.zeros(()), torch.zeros_like(p)
        state["step"] += 1  # AdamW looks for it when a state is loaded
        state["exp_avg"].lerp_(grad, 1 - beta)
        update = orthogonal(torch.lerp(grad, state["exp_avg"], beta).flatten(1))
        scale = MATCHED_RMS * math.sqrt(max(update.shape))
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(update.view_as(p), alpha=-group["lr"] * scale)


def orthogonal(m_rc: Tensor, steps: int = STEPS) -> Tensor:
    """About the nearest matrix [r, c] with orthonormal rows or, where those are more, columns: singular values 0.7 to 1.2.

    Args:
        m_rc: of any scale; zeros stay zeros.
        steps: of the iteration.
    """
    a, b, c = COEFFICIENTS
    wide = m_rc.shape[0] <= m_rc.shape[1]
    dtype = torch.bfloat16 if fast_bf16(m_rc.device) else torch.float32  # bf16 does: the result is rough anyway
    x_sl = (m_rc if wide else m_rc.T).to(dtype)
    x_sl = x_sl / (x_sl.norm() + 1e-7)
    for _ in range(steps):
        gram_ss = x_sl @ x_sl.T
        x_sl = torch.addmm(x_sl, torch.addmm(gram_ss, gram_ss, gram_ss, beta=b, alpha=c), x_sl, beta=a)
    return (x_sl if wide else x_sl.T).to(m_rc.dtype)
