"""Callbacks that follow one figure: stopping early, and keeping the best weights (TR13, TR18, TR22)."""

import contextlib
import math
from typing import Any

from torch import Tensor

from tipsai.callbacks.ema import EMA
from tipsai.core.callback import Callback
from tipsai.core.errors import SettingError, listing, nearest, require_positive
from tipsai.core.state import TrainState
from tipsai.core.text import amount

# What names of figures that should fall are made of: "error_rate", "mean_squared_error", "bits_per_byte".
FALLING = frozenset(("loss", "error", "mse", "rmse", "mae", "nll", "perplexity", "bits", "deviance"))


class Monitor(Callback):
    """Follows one validation figure.

    Args:
        monitor: its name in the epoch's row, such as "valid_loss" or "valid_accuracy".
        higher_is_better: whether it should rise; None: losses and errors should fall, other figures rise.
        min_delta: the least change that counts.
    """

    def __init__(
        self, monitor: str = "valid_loss", *, higher_is_better: bool | None = None, min_delta: float = 0.0
    ) -> None:
        if monitor.startswith("train"):
            raise SettingError(
                f"monitor is {monitor!r}: what a model gets right in training says little about new data. Use a valid_ figure (TR22)."
            )
        require_positive("min_delta", min_delta, zero=True)
        self.monitor, self.min_delta = monitor, min_delta
        falling = not FALLING.isdisjoint(monitor.split("_"))
        self.sign = 1.0 if (not falling if higher_is_better is None else higher_is_better) else -1.0
        self.best = -math.inf  # times sign, so that higher is always better
        self.best_epoch = 0

    def config(self) -> dict[str, Any]:
        return {"monitor": self.monitor, "min_delta": self.min_delta, "rises": self.sign > 0}

    def improved(self, st: TrainState) -> bool:
        """Whether the epoch that just ended is the best so far."""
        if self.monitor not in st.row:
            names = [name for name in st.row if name.startswith("valid_")]
            hint = (
                nearest(self.monitor, names)
                if names
                else " There is no validation data; give some, or train without a monitor."
            )
            raise SettingError(
                f"there is no figure {self.monitor!r} to monitor.{hint} The epoch's figures are {listing(st.row)}."
            )
        value = self.sign * st.row[self.monitor]
        if not value > self.best + self.min_delta:  # NaN is no improvement
            return False
        self.best, self.best_epoch = value, int(st.row["epoch"])
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]


class EarlyStopping(Monitor):
    """Stops when the figure has not improved for `patience` epochs. See Monitor for the other arguments."""

    def __init__(
        self,
        monitor: str = "valid_loss",
        patience: int = 3,
        *,
        higher_is_better: bool | None = None,
        min_delta: float = 0.0,
    ) -> None:
        super().__init__(monitor, higher_is_better=higher_is_better, min_delta=min_delta)
        require_positive("patience", patience)
        self.patience, self.waited = patience, 0

    def config(self) -> dict[str, Any]:
        return super().config() | {"patience": self.patience}

    def after_epoch(self, st: TrainState) -> None:
        self.waited = 0 if self.improved(st) else self.waited + 1
        self._stop_if_spent(st)

    def before_fit(self, st: TrainState) -> None:
        self._stop_if_spent(st)  # Ctrl-C came in the very epoch that would have ended the run, which now goes on

    def _stop_if_spent(self, st: TrainState) -> None:
        if self.waited >= self.patience:
            st.stop(
                f"{self.monitor} has not improved for {amount(self.waited, 'epoch')}; its best was {self.sign * self.best:.6g} in epoch {self.best_epoch}"
            )

    def after_fit(self, st: TrainState) -> None:
        self.waited = 0  # the next fit has its own patience

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.waited = state["waited"]


class KeepBest(Monitor):
    """Keeps a copy of the weights of the best epoch; fit(final="best") takes them over at its end.

    Attributes:
        weights: the copy; None before the first epoch.
        ema: the averages, where they are what is validated; then they are what is kept.
    """

    weights: dict[str, Tensor] | None = None
    ema: EMA | None = None

    def after_epoch(self, st: TrainState) -> None:
        if self.improved(st):
            with self.ema.applied(st.model) if self.ema is not None else contextlib.nullcontext():
                self.weights = {name: t.detach().clone() for name, t in st.model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.weights = state["weights"]
