"""An exponential moving average of the weights."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tipsai.core.callback import Callback
from tipsai.core.errors import NonFiniteLossError, SettingError
from tipsai.core.state import TrainState


class EMA(Callback):
    """Averages the parameters over the steps; while it is on, its weights are the ones validated.

    Args:
        decay: how much of the average stays at each step; less at first, (1 + t) / (10 + t), so that the random start
            is forgotten.

    Source: Polyak and Juditsky 1992; Tarvainen and Valpola 1703.01780.
    """

    order = 10

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise SettingError(f"decay is {decay}; expected a number between 0 and 1, such as 0.999.")
        self.decay = decay
        self.n_steps = 0
        self.averages: list[Tensor] = []

    def config(self) -> dict[str, Any]:
        return {"decay": self.decay}

    def before_fit(self, st: TrainState) -> None:
        params = list(st.model.parameters())
        if self.averages and [a.shape for a in self.averages] == [p.shape for p in params]:
            self.averages = [a.to(p.device) for a, p in zip(self.averages, params, strict=True)]
        else:
            self.averages, self.n_steps = [p.detach().clone() for p in params], 0

    def after_step(self, st: TrainState) -> None:
        self.n_steps += 1
        decay = min(self.decay, (1 + self.n_steps) / (10 + self.n_steps))
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, list(st.model.parameters()), 1 - decay)

    def after_fit(self, st: TrainState) -> None:
        if isinstance(st.error, NonFiniteLossError):
            self.averages = []  # they hold what is not finite; the next fit starts anew

    @contextlib.contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with the averaged weights, and afterwards with its own again."""
        self.exchange(model)
        try:
            yield
        finally:
            self.exchange(model)

    def exchange(self, model: nn.Module) -> None:
        """Swaps the model's parameters with the averages."""
        with torch.no_grad():
            for average, p in zip(self.averages, model.parameters(), strict=True):
                own = p.detach().clone()
                p.copy_(average)
                average.copy_(own)

    def take_over(self, model: nn.Module) -> None:
        """Gives the averages to the model for good."""
        with torch.no_grad():
            for average, p in zip(self.averages, model.parameters(), strict=True):
                p.copy_(average)

    def state_dict(self) -> dict[str, Any]:
        return {"averages": self.averages, "n_steps": self.n_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.averages, self.n_steps = state["averages"], state["n_steps"]
