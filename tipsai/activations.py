"""Activations by name, for every built-in model (AR02)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from tipsai.core.errors import SettingError, listing, nearest


def relu_squared(x: Tensor) -> Tensor:
    """relu(x)^2 (So et al. 2109.08668)."""
    return F.relu(x).square()


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
