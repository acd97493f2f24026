"""Evaluation: exact sums over a split, never a mean of batch means; and predictions, a batch at a time."""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tipsai.core import memory, modes
from tipsai.core.device import on_one_device
from tipsai.core.errors import DataError, SettingError
from tipsai.core.state import Batch, ComputeLoss, Loss, Metric, Row
from tipsai.core.step import autocast


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is in the mode it was in."""
    with modes.kept(model), memory.reused(), torch.no_grad():
        model.eval()
        yield


@dataclass(frozen=True, slots=True)
class Evaluator:
    """How a split is judged.

    Attributes:
        loss_fn: its report is the loss that people read.
        metrics: by name; each is reset first.
        output: from what the model returns to what the loss takes.
        compute_loss: takes the place of model, output and loss.
        units: maps predictions and targets into the target's own units, before loss and metrics.
        precision: of the forward pass.
    """

    loss_fn: Loss
    metrics: Mapping[str, Metric]
    output: Callable[[Any], Any] | None = None
    compute_loss: ComputeLoss | None = None
    units: Callable[[Tensor], Tensor] | None = None
    precision: str = "fp32"

    def __call__(self, model: nn.Module, batches: Iterable[Batch], device: torch.device) -> Row:
        """{"loss": sum of reports / sum of weights, metric: value, ...} of the batches, which are on the device."""
        for metric in self.metrics.values():
            metric.reset()
        total, weight = (
            torch.zeros((), dtype=torch.float64 if device.type != "mps" else torch.float32, device=device),
            0.0,
        )
        with evaluating(model), autocast(self.precision, device):
            for batch in batches:
                batch_sum, batch_weight = self._batch(model, batch)
                total += batch_sum
                weight = weight + batch_weight
        row = {"loss": float(total) / (float(weight) or math.nan)}  # nothing counted: there is no loss
        return row | {name: float(metric.compute()) for name, metric in self.metrics.items()}

    def _batch(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Any]:
        pred = None
        if self.compute_loss is None or self.metrics:
            pred, batch = self.in_units(predict_batch(model, batch, self.output), batch)
            for metric in self.metrics.values():
                metric.update(pred, batch.y[0])
        if self.compute_loss is None:
            return self.loss_fn.report(pred, *batch.y)
        result = self.compute_loss(model, batch)
        return result if isinstance(result, tuple) else (result * batch.n_rows, batch.n_rows)

    def in_units(self, pred: Any, batch: Batch) -> tuple[Any, Batch]:
        if self.units is None:
            return pred, batch
        return self.units(pred), Batch(batch.x, (self.units(batch.y[0]), *batch.y[1:]))


def predict_batch(model: nn.Module, batch: Batch, output: Callable[[Any], Any] | None) -> Any:
    with on_one_device(model, batch.x[0].device):
        pred = model(*batch.x)
    return pred if output is None else output(pred)


def predictions(
    model: nn.Module, batches: Iterable[Batch], output: Callable[[Any], Any] | None = None
) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
    """(predictions, targets) of each batch, on the host, in fp32. Holds one batch at a time; the caller keeps what it needs."""
    with evaluating(model):
        for batch in batches:
            yield predict_batch(model, batch, output).float().cpu(), tuple(t.cpu() for t in batch.y)


def features(model: nn.Module, batches: Iterable[Batch], n: int) -> tuple[Tensor, Tensor | None]:
    """The inputs of a model's last linear layer for the first n items.

    Args:
        model: any with an nn.Linear.
        batches: on the model's device.
        n: items at most.

    Returns:
        float32 [n, d] on the CPU; targets [n, ...], None where there are none.

    Raises:
        SettingError: the model has no linear layer, or it sees other than one row an item.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise SettingError(f"the model, a {type(model).__name__}, has no nn.Linear, so there is nothing to draw.")
    seen: list[Tensor] = []
    hook = linear[-1].register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().float().cpu()))
    rows: list[Tensor] = []
    targets: list[Tensor] = []
    n_rows = 0
    try:
        with evaluating(model):
            for batch in batches:
                seen.clear()
                model(*batch.x)
                if len(seen) != 1 or seen[0].shape[0] != len(batch.x[0]):
                    raise SettingError("the model's last linear layer does not see one row an item; nothing is drawn.")
                rows.append(seen[0].flatten(1))
                targets.extend(y.cpu() for y in batch.y[:1])
                n_rows += len(rows[-1])
                if n_rows >= n:
                    break
    finally:
        hook.remove()
    if not rows:
        raise DataError("there are no items to draw.")
    return torch.cat(rows)[:n], torch.cat(targets)[:n] if targets else None
