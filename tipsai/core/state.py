"""The types that every floor shares: a batch, a loss, a metric, and the state of a training run."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tipsai.core.device import sent

IGNORED = -100  # class numbers of this value do not count; torch's default


class Batch(NamedTuple):
    """What one step works on. The model is called as model(*x), the loss as loss(pred, *y)."""

    x: tuple[Tensor, ...]
    y: tuple[Tensor, ...]

    def to(self, device: torch.device, stay: Collection[int] = ()) -> "Batch":
        """The batch on a device; core.device.sent says what is waited for.

        Args:
            device: where to.
            stay: positions of inputs that stay where they are.
        """
        if all(t.device == device for t in (*self.x, *self.y)):
            return self
        x = tuple(t if i in stay else sent(t, device) for i, t in enumerate(self.x))
        return Batch(x, tuple(sent(t, device) for t in self.y))

    @property
    def n_rows(self) -> int:
        return len((self.y or self.x)[0])


class Loss(Protocol):
    """A loss as a sum and a weight, so that it can be averaged exactly over any grouping of the data."""

    @property
    def sums(self) -> Callable[..., tuple[Tensor, Tensor | float]]:
        """Called as sums(pred, *y), what is optimised: class and row weights, smoothing and mixing included."""

    @property
    def report(self) -> Callable[..., tuple[Tensor, Tensor | float]]:
        """Called as report(pred, *y), what people read: the plain task loss."""


class Metric(Protocol):
    """A figure over a whole split, accumulated on the device. torchmetrics objects fit as they are."""

    higher_is_better: bool | None

    def reset(self) -> None: ...
    def update(self, pred: Tensor, target: Tensor) -> None: ...
    def compute(self) -> Any: ...


class BatchSource(Protocol):
    """Where the loop takes its batches from, already on the device. See data/loaders.py."""

    exact: bool  # whether the batches are a function of (seed, epoch, position) alone

    def __len__(self) -> int: ...
    def batches(self, *, seed: int = 0, epoch: int = 0, start: int = 0) -> Iterator[Batch]: ...


Row = dict[str, float]


@dataclass(slots=True)
class TrainState:
    """The only owner of what changes while training. Callbacks read it, and change it where its methods say so."""

    model: nn.Module
    opt: Optimizer
    loss_fn: Loss
    device: torch.device
    seed: int
    n_epochs: int  # epochs of this fit, a partial last one counted
    n_steps: int  # optimizer steps of this fit
    steps_per_epoch: int
    clip: float | None = 1.0  # the largest global norm of the gradients; None: no clipping
    epoch: int = 0  # within this fit
    first_epoch: int = 0  # epochs that the learner had trained before this fit
    step: int = 0  # optimizer steps done in this fit
    first_step: int = 0  # optimizer steps that the learner had done before this fit
    seconds: float = 0.0  # wall time of this fit, up to the checkpoint it went on from
    first_seconds: float = 0.0  # wall time of the fits before it
    step_in_epoch: int = 0
    micro: int = 0  # the micro-batch's place within its accumulation group
    batch: Batch | None = None
    pred: Any = None
    loss: Tensor | None = None  # of the micro-batch, attached to its graph until backward
    row: Row = field(default_factory=dict)  # the figures of the epoch that just ended
    history: list[Row] = field(default_factory=list)
    skip_step: bool = False  # set by a callback to leave out the coming optimizer step
    error: BaseException | None = None
    stop_reason: str = ""
    remark: str = ""  # what is to be seen beside the progress, such as "doctor: 1 warning"
    weights: dict[str, Tensor] | None = None  # what to go back to when the loss stops being finite
    # What the steps left on the device since the last fetch: one entry an optimizer step.
    pending_losses: list[Tensor] = field(default_factory=list)
    pending_weights: list[Tensor | float] = field(default_factory=list)
    pending_norms: list[Tensor] = field(default_factory=list)
    pending_rates: list[float] = field(default_factory=list)
    # What the last fetch brought, on the host, for after_log.
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    # Sums over the epoch so far, in the order of the steps.
    objective_sum: float = 0.0
    objective_weight: float = 0.0

    def stop(self, reason: str) -> None:
        """Ends training after the current step, or after the epoch if one just ended. The first reason stands."""
        self.stop_reason = self.stop_reason or reason

    @property
    def total_epoch(self) -> int:
        """The epoch counted over all fits of the learner; what the order of the data depends on."""
        return self.first_epoch + self.epoch


ComputeLoss = Callable[[nn.Module, Batch], tuple[Tensor, Tensor | float] | Tensor]
