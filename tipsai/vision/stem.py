"""The first layer of the built-in network, fixed early: what is below it need not be known (TR07)."""

from typing import Any

from torch import nn

from tipsai.core.callback import Callback
from tipsai.core.state import TrainState
from tipsai.vision.models import PatchWhitening


class EarlyStem(Callback):
    """Lets the first layer's bias learn in the first epochs of a short fit only.

    It is all that learns there, and no gradient need come down to it afterwards: a fifteenth of a step's time. Longer fits are
    left alone. So are the steps by which a budget is reckoned, which are those of a long fit: TimeLimit uses what is saved.

    Args:
        share: of the epochs in which it learns, the first one always.
        below: epochs; fits of so many and more are left alone.

    Source: Jordan 2404.00498, section 3.2, where it learns for 3 epochs.
    """

    def __init__(self, share: float, below: int) -> None:
        self.share, self.below = share, below
        self.biases: list[nn.Parameter] = []

    def config(self) -> dict[str, Any]:
        return {"share": self.share, "below": self.below}

    def before_fit(self, st: TrainState) -> None:
        stems = [module for module in st.model.modules() if isinstance(module, PatchWhitening)]
        self.biases = [
            stem.bias for stem in stems if stem.bias.requires_grad and st.n_steps < self.below * st.steps_per_epoch
        ]

    def before_epoch(self, st: TrainState) -> None:
        if st.epoch >= max(1, round(self.share * st.n_epochs)):
            for bias in self.biases:
                bias.requires_grad_(False)

    def after_fit(self, st: TrainState) -> None:
        for bias in self.biases:
            bias.requires_grad_(True)
        self.biases = []
