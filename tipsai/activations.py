"""Activations by name, for every built-in model (AR02)."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tipsai.core.errors import SettingError, listing, nearest


class _ReluSquared(torch.autograd.Function):
    """Two buffers backward and one forward, where the graph of relu and square takes four and two."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        rectified = x.clamp_min(0)
        return rectified.mul_(rectified)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]
        return (x.clamp_min(0) * grad).mul_(2)


def relu_squared(x: Tensor) -> Tensor:
    """relu(x)^2 (So et al. 2109.08668)."""
    made: Tensor = _ReluSquared.apply(x)
    return made


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "selu": F.selu,
    "relu_squared": relu_squared,
}


class Activation(nn.Module):
    """One of FUNCTIONS as a module.

    Raises:
        SettingError: there is none of this name.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.function = name, function(name)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return self.name


def function(name: str) -> Callable[[Tensor], Tensor]:
    """The activation of this name.

    Raises:
        SettingError: there is none.
    """
    if name not in FUNCTIONS:
        raise SettingError(f"there is no activation {name!r}.{nearest(name, FUNCTIONS)} Expected {listing(FUNCTIONS)}.")
    return FUNCTIONS[name]
