"""Keeps what training was like, step by step and epoch by epoch."""

from array import array
from typing import Any

import torch

from tipsai.core.callback import Callback
from tipsai.core.state import Row, TrainState
from tipsai.optim import momentum_of


class Recorder(Callback):
    """The objective, the gradient norm, the rate and the momentum of every step, and the figures of every epoch.

    Attributes:
        losses: what was optimised, a float a step.
        norms: the gradient's global norm before clipping, a float a step ([] without clipping).
        lrs: the learning rate of the last parameter group, a float a step.
        moms: its momentum (β1 of Adam), a float a step; NaN where the optimizer has none.
        rows: the figures of the epochs.
        n_clipped: steps whose gradient was clipped.
    """

    order = -10

    def __init__(self) -> None:
        self.losses, self.norms = array("f"), array("f")
        self.lrs, self.moms = array("f"), array("f")
        self.rows: list[Row] = []
        self.n_clipped = 0

    def before_fit(self, st: TrainState) -> None:
        self.rows = st.history
        del self.lrs[len(self.losses) :], self.moms[len(self.losses) :]  # of steps whose loss was never fetched

    def after_backward(self, st: TrainState) -> None:
        self.lrs.append(st.opt.param_groups[-1]["lr"])
        self.moms.append(momentum_of(st.opt))

    def after_log(self, st: TrainState) -> None:
        self.losses.extend(st.losses)
        self.norms.extend(st.norms)
        self.n_clipped += sum(norm > st.clip for norm in st.norms) if st.clip is not None else 0

    @property
    def clipped_share(self) -> float:
        """The share of steps at which the gradient was clipped (TR12)."""
        return self.n_clipped / max(1, len(self.norms))

    def state_dict(self) -> dict[str, Any]:
        kept = {name: torch.tensor(getattr(self, name)) for name in ("losses", "norms", "lrs", "moms")}
        return {**kept, "n_clipped": self.n_clipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("losses", "norms", "lrs", "moms"):
            setattr(self, name, array("f", state[name].tolist() if name in state else ()))
        self.n_clipped = state["n_clipped"]
