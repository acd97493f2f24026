"""Losses as (sum, weight), so that accumulation, ragged batches and whole splits average exactly.

Predictions are what a model returns: logits for classification, numbers for regression. A batch's `y` is (target,) or,
in training with row weights, (target, weight) with weight float [b].
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tipsai.core.device import sent
from tipsai.core.errors import SettingError, ShapeError
from tipsai.core.state import IGNORED, Loss

Sums = tuple[Tensor, Tensor | float]


def _weighted(values: Tensor, weight: Tensor | None) -> Sums:
    """Sums losses [b, ...] over everything, with a weight a row where there is one."""
    if weight is None:
        return values.sum(), values.numel()
    weight = weight.reshape(-1, *[1] * (values.ndim - 1)).expand_as(values)
    return (values * weight).sum(), _some(weight.sum())


def _some(weight: Tensor) -> Tensor:
    """A weight that can be divided by: where all weights are 0, a tiny number makes the loss 0 and its gradient finite."""
    return weight.clamp(min=1e-30)


def _full(pred: Tensor) -> Tensor:
    """Half precision is widened before anything is summed: a sum over a batch needs more digits than a prediction."""
    return pred.float() if pred.dtype in (torch.bfloat16, torch.float16) else pred


def _same_shape(pred: Tensor, target: Tensor) -> None:
    if pred.shape != target.shape:
        fix = "Give both the same shape"
        if pred.ndim == target.ndim + 1 and pred.shape[-1] == 1:
            fix += ", for instance with Learner(..., output=lambda pred: pred.squeeze(-1))"
        raise ShapeError(
            f"predictions have shape {list(pred.shape)} and targets {list(target.shape)}, which would broadcast. {fix}."
        )


class CrossEntropy:
    """One of several classes. Targets are int64 [b, ...] or, mixed or smoothed, probabilities [b, C, ...]; logits [b, C, ...].

    Args:
        class_weight: float [C]; the sum is divided by the weights of the targets present, as torch does.
        label_smoothing: share of the probability spread over all classes.
        ignore_index: targets of this value do not count.
    """

    def __init__(
        self, class_weight: Tensor | None = None, label_smoothing: float = 0.0, ignore_index: int = IGNORED
    ) -> None:
        self.class_weight, self.label_smoothing, self.ignore_index = class_weight, label_smoothing, ignore_index

    def sums(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Sums:
        self._check(pred, target)
        pred = _full(pred)
        target = target.to(pred.dtype) if target.is_floating_point() else target.long()
        class_weight = None if self.class_weight is None else sent(self.class_weight, pred.device).to(pred.dtype)
        if weight is None and class_weight is None:
            total = F.cross_entropy(
                pred, target, reduction="sum", ignore_index=self.ignore_index, label_smoothing=self.label_smoothing
            )
            return total, self._count(pred, target)
        values = F.cross_entropy(
            pred,
            target,
            weight=class_weight,
            reduction="none",
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )
        if target.is_floating_point():
            each = (
                torch.ones_like(values) if class_weight is None else torch.einsum("bc...,c->b...", target, class_weight)
            )
        else:
            kept = target != self.ignore_index
            each = (
                kept.to(values.dtype)
                if class_weight is None
                else torch.where(kept, class_weight[torch.where(kept, target, 0)], 0.0)
            )
        if weight is None:
            return values.sum(), _some(each.sum())
        rows = weight.reshape(-1, *[1] * (values.ndim - 1))
        return (values * rows).sum(), _some((each * rows).sum())

    def report(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Sums:
        self._check(pred, target)
        target = target.float() if target.is_floating_point() else target.long()
        total = F.cross_entropy(pred.float(), target, reduction="sum", ignore_index=self.ignore_index)
        return total, self._count(pred, target)

    def _count(self, pred: Tensor, target: Tensor) -> Tensor | float:
        if target.is_floating_point():
            return target.numel() / pred.shape[1]
        return target.ne(self.ignore_index).sum()

    def _check(self, pred: Tensor, target: Tensor) -> None:
        if pred.ndim == 2 and target.ndim == 1 and len(pred) == len(target):  # by far the most frequent
            return
        expected = pred.shape if target.is_floating_point() else pred.shape[:1] + pred.shape[2:]
        if target.shape != expected:
            raise ShapeError(
                f"logits have shape {list(pred.shape)} and targets {list(target.shape)}; expected targets of shape {list(expected)} "
                "(one class number for each row of logits [rows, classes, ...])."
            )


class BinaryCrossEntropy:
    """Yes or no for each target. Logits and targets of one shape [b] or [b, n]; targets bool or float in 0..1.

    Args:
        pos_weight: float, [] or [n]; how much a yes counts against a no, while training.
    """

    def __init__(self, pos_weight: Tensor | None = None) -> None:
        self.pos_weight = pos_weight

    def sums(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Sums:
        _same_shape(pred, target)
        pred = _full(pred)
        pos_weight = None if self.pos_weight is None else sent(self.pos_weight, pred.device).to(pred.dtype)
        return _weighted(
            F.binary_cross_entropy_with_logits(pred, target.to(pred.dtype), pos_weight=pos_weight, reduction="none"),
            weight,
        )

    def report(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Sums:
        _same_shape(pred, target)
        return F.binary_cross_entropy_with_logits(pred.float(), target.float(), reduction="sum"), target.numel()


class ElementwiseLoss:
    """A loss of numbers against numbers of the same shape, averaged over rows and outputs.

    Args:
        fn: a function of (pred, target, reduction="none"), such as torch.nn.functional.mse_loss.
    """

    def __init__(self, fn: Callable[..., Tensor], **options: Any) -> None:
        self.fn, self.options = fn, options

    def sums(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Sums:
        _same_shape(pred, target)
        pred = _full(pred)
        return _weighted(self.fn(pred, target.to(pred.dtype), reduction="none", **self.options), weight)

    def report(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Sums:
        _same_shape(pred, target)
        return self.fn(pred.float(), target.float(), reduction="sum", **self.options), target.numel()


class MeanSquaredError(ElementwiseLoss):
    """Squared error. Predictions and targets have one shape; shapes that would broadcast are an error."""

    def __init__(self) -> None:
        super().__init__(F.mse_loss)


class FunctionLoss:
    """Any callable of (pred, *y) that returns the mean over the rows of a batch."""

    def __init__(self, fn: Callable[..., Tensor]) -> None:
        self.fn = fn

    def sums(self, pred: Any, *y: Tensor) -> Sums:
        loss = self.fn(pred, *y)
        if not isinstance(loss, Tensor) or loss.ndim:
            found = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ShapeError(
                f"the loss function {_name(self.fn)} returned {found}; expected one number, the mean over the batch."
            )
        n = len(y[0])
        return loss * n, n

    def report(self, pred: Any, *y: Tensor) -> Sums:
        return self.sums(pred, *y)


def _name(fn: object) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


_ELEMENTWISE: dict[object, Callable[..., Tensor]] = {
    F.mse_loss: F.mse_loss,
    F.l1_loss: F.l1_loss,
    F.smooth_l1_loss: F.smooth_l1_loss,
    F.huber_loss: F.huber_loss,
    nn.MSELoss: F.mse_loss,
    nn.L1Loss: F.l1_loss,
    nn.SmoothL1Loss: F.smooth_l1_loss,
    nn.HuberLoss: F.huber_loss,
}


def as_loss(loss: Any) -> Loss:
    """Any of torch's common losses, a callable or a Loss, as a Loss. torch's own are taken over exactly, weights included.

    Raises:
        SettingError: it cannot be called, or does not average.
    """
    if isinstance(loss, type):
        raise SettingError(f"loss_fn is the class {loss.__name__}; expected an instance. Write {loss.__name__}().")
    if hasattr(loss, "sums") and hasattr(loss, "report"):
        return loss  # type: ignore[no-any-return]
    if getattr(loss, "reduction", "mean") != "mean":
        raise SettingError(
            f"loss_fn has reduction={loss.reduction!r}; expected 'mean'. tipsai averages over the whole data itself."
        )
    if type(loss) is nn.CrossEntropyLoss:  # a subclass may compute something else, and counts as a function
        return CrossEntropy(loss.weight, loss.label_smoothing, loss.ignore_index)
    if type(loss) is nn.BCEWithLogitsLoss and loss.weight is None:
        return BinaryCrossEntropy(loss.pos_weight)
    if loss is F.cross_entropy:
        return CrossEntropy()
    if loss is F.binary_cross_entropy_with_logits:
        return BinaryCrossEntropy()
    found = _ELEMENTWISE.get(loss if loss in _ELEMENTWISE else type(loss)) if loss.__hash__ else None
    if found is not None:
        options = {name: getattr(loss, name) for name in ("beta", "delta") if hasattr(loss, name)}
        return ElementwiseLoss(found, **options)
    if not callable(loss):
        raise SettingError(f"loss_fn is {loss!r}; expected a function of (pred, *targets) or a tipsai.losses.Loss.")
    return FunctionLoss(loss)


def default_loss(target: Tensor) -> Loss:
    """The loss that a target calls for: integers cross-entropy, bool binary cross-entropy, floats mean squared error."""
    if target.dtype == torch.bool:
        return BinaryCrossEntropy()
    return MeanSquaredError() if target.is_floating_point() else CrossEntropy()


def uniform_loss(n_classes: int) -> float:
    """The loss of a classifier that has learned nothing: -ln(1/C) (TR08)."""
    return math.log(n_classes)
