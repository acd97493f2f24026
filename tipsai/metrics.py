"""Metrics over a whole split, accumulated on the device. Named by a string, or any object with update and compute."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from tipsai.core.errors import SettingError, ShapeError, listing, nearest
from tipsai.core.state import IGNORED, Metric


def _labels(pred: Tensor, target: Tensor) -> Tensor:
    """The predicted class of each target: argmax over dimension 1, or the sign of a logit for yes/no targets."""
    if target.dtype == torch.bool or (target.is_floating_point() and pred.shape == target.shape):
        return pred > 0
    if pred.ndim != target.ndim + 1:
        raise ShapeError(
            f"predictions have shape {list(pred.shape)} and targets {list(target.shape)}; expected logits [rows, classes, ...]."
        )
    return pred.argmax(1)


class MeanMetric:
    """The mean of a value for each target: Σ value / Σ targets.

    Args:
        values: of predictions and targets, one for each target.
        higher_is_better: whether the mean should rise.
        finish: applied to the mean.
        ignore_index: class numbers of this value do not count.
    """

    higher_is_better: bool | None = True

    def __init__(
        self,
        values: Callable[[Tensor, Tensor], Tensor],
        higher_is_better: bool = True,
        finish: Callable[[float], float] | None = None,
        ignore_index: int | None = None,
    ) -> None:
        self.values, self.higher_is_better, self.finish = values, higher_is_better, finish
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        self.total: Tensor | float = 0.0
        self.count: Tensor | int = 0

    def update(self, pred: Tensor, target: Tensor) -> None:
        values = self.values(pred, target)
        count: Tensor | int = values.numel()
        if self.ignore_index is not None and not target.is_floating_point() and target.dtype != torch.bool:
            counted = target != self.ignore_index
            values, count = values * counted, counted.sum()
        self.total = self.total + values.sum(dtype=torch.float32 if values.device.type == "mps" else torch.float64)
        self.count = self.count + count

    def compute(self) -> float:
        count = int(self.count)
        mean = float(self.total) / count if count else math.nan
        return self.finish(mean) if self.finish else mean


class ConfusionMetric:
    """A figure of the confusion matrix [true, predicted], which is all that is kept.

    Args:
        figure: of the matrix, float64 [C, C] on the CPU. Yes/no targets make two classes, of which 1 is yes.
        ignore_index: targets of this value do not count.
    """

    higher_is_better: bool | None = True

    def __init__(self, figure: Callable[[Tensor], Tensor], ignore_index: int = IGNORED) -> None:
        self.figure, self.ignore_index = figure, ignore_index
        self.reset()

    def reset(self) -> None:
        self.matrix: Tensor | None = None

    def update(self, pred: Tensor, target: Tensor) -> None:
        labels = _labels(pred, target)
        if labels.shape != target.shape:
            raise ShapeError(
                f"predictions have shape {list(pred.shape)} and targets {list(target.shape)}; expected one class number "
                "for each of the logits [rows, classes, ...]."
            )
        n = 2 if labels.dtype == torch.bool else pred.shape[1]
        target = target.long().flatten()
        index = torch.where(target == self.ignore_index, n * n, target * n + labels.long().flatten())
        counts = torch.bincount(index, minlength=n * n + 1)[: n * n].reshape(n, n)
        self.matrix = counts if self.matrix is None else self.matrix + counts

    def compute(self) -> float:
        assert self.matrix is not None, "compute before update"
        return float(self.figure(self.matrix.double().cpu()))


class Overlap(ConfusionMetric):
    """How far the predicted and the true area of each class lie on each other, averaged over classes.

    Counted over the whole split, not a picture at a time; classes that occur in neither do not count. Predictions are
    logits [b, C, ...] against class numbers [b, ...], or logits against yes/no targets of one shape, where only the area
    of "yes" counts. Not a number where no class occurs.

    Args:
        name: "dice", twice the area in common over the sum of both (F1 of pixels; Dice 1945), or "iou", the area in common
            over the area of either (Jaccard 1912).
        ignore_index: targets of this value do not count.
        background: whether class 0 counts, where targets are class numbers.
    """

    def __init__(self, name: str, ignore_index: int = IGNORED, background: bool = True) -> None:
        self.name, self.background = name, background
        super().__init__(self._mean, ignore_index)

    def update(self, pred: Tensor, target: Tensor) -> None:
        super().update(pred, target)
        self.only_yes = pred.shape == target.shape

    def _mean(self, matrix: Tensor) -> Tensor:
        first = 1 if self.only_yes or not self.background else 0
        both, true, found = (v[first:] for v in (matrix.diag(), matrix.sum(1), matrix.sum(0)))
        areas = true + found
        shares = 2 * both / areas if self.name == "dice" else both / (areas - both)
        return shares[areas > 0].mean()


class FunctionMetric:
    """A function of the whole split's raw predictions and targets, which are kept for it on the host."""

    def __init__(self, fn: Callable[[Tensor, Tensor], Any], higher_is_better: bool | None = None) -> None:
        self.fn, self.higher_is_better = fn, higher_is_better
        self.reset()

    def reset(self) -> None:
        self.preds: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, pred: Tensor, target: Tensor) -> None:
        self.preds.append(pred.detach().float().cpu())
        self.targets.append(target.cpu())

    def compute(self) -> float:
        return float(self.fn(torch.cat(self.preds), torch.cat(self.targets)))


def _f1_macro(matrix: Tensor) -> Tensor:
    hits, true, found = matrix.diag(), matrix.sum(1), matrix.sum(0)
    present = (true + found) > 0
    return (2 * hits[present] / (true + found)[present]).mean()


def _balanced(matrix: Tensor) -> Tensor:
    true = matrix.sum(1)
    return (matrix.diag()[true > 0] / true[true > 0]).mean()


def roc_auc(pred: Tensor, target: Tensor) -> float:
    """Area under the ROC curve, by ranks with ties halved; for two classes, or yes/no targets [b].

    Args:
        pred: logits [b] or [b, 2].
        target: [b], class numbers 0 and 1, or bool.

    Returns:
        The probability that a positive ranks above a negative; not a number if one of the two is absent.

    Source: Hanley and McNeil 1982.
    """
    if pred.ndim == 2 and pred.shape[1] != 2:
        raise ShapeError(
            f"roc_auc needs two classes; predictions have shape {list(pred.shape)}. Use 'accuracy' or 'f1_macro'."
        )
    score = (pred if pred.ndim == 1 else pred[:, 1] - pred[:, 0]).double()
    _, inverse, counts = torch.unique(score, return_inverse=True, return_counts=True)
    rank = (counts.cumsum(0) - (counts - 1) / 2)[inverse]
    positive = target.bool()
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if not n_pos or not n_neg:
        return float("nan")
    return float((rank[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def _r2(pred: Tensor, target: Tensor) -> Tensor:
    pred, target = pred.double(), target.double()
    return 1 - (pred - target).square().sum() / (target - target.mean(0)).square().sum()


def _same(pred: Tensor, target: Tensor) -> Tensor:
    if pred.shape != target.shape:
        raise ShapeError(
            f"predictions have shape {list(pred.shape)} and targets {list(target.shape)}; expected the same."
        )
    return pred.float() - target.float()


METRICS: dict[str, Callable[[], Metric]] = {
    "accuracy": lambda: MeanMetric(
        lambda p, t: (_labels(p, t) == t.to(torch.long if t.dtype != torch.bool else t.dtype)).float(),
        ignore_index=IGNORED,
    ),
    "error_rate": lambda: MeanMetric(
        lambda p, t: (_labels(p, t) != t).float(), higher_is_better=False, ignore_index=IGNORED
    ),
    "top_5_accuracy": lambda: MeanMetric(
        lambda p, t: (p.topk(min(5, p.shape[1]), 1).indices == t.unsqueeze(1)).any(1).float(), ignore_index=IGNORED
    ),
    "balanced_accuracy": lambda: ConfusionMetric(_balanced),
    "f1_macro": lambda: ConfusionMetric(_f1_macro),
    "dice": lambda: Overlap("dice"),
    "iou": lambda: Overlap("iou"),
    "roc_auc": lambda: FunctionMetric(roc_auc, higher_is_better=True),
    "mse": lambda: MeanMetric(lambda p, t: _same(p, t).square(), higher_is_better=False),
    "rmse": lambda: MeanMetric(
        lambda p, t: _same(p, t).square(), higher_is_better=False, finish=lambda mean: mean**0.5
    ),
    "mae": lambda: MeanMetric(lambda p, t: _same(p, t).abs(), higher_is_better=False),
    "r2": lambda: FunctionMetric(_r2, higher_is_better=True),
}


def as_metrics(metrics: Iterable[Any] | str) -> dict[str, Metric]:
    """Metrics by name, from names, torchmetrics objects, Metric objects and functions of (predictions, targets).

    Raises:
        SettingError: an unknown name, or something that is no metric.
    """
    if isinstance(metrics, str):
        metrics = [metrics]
    named: dict[str, Metric] = {}
    for metric in metrics:
        if isinstance(metric, str):
            if metric not in METRICS:
                raise SettingError(
                    f"there is no metric {metric!r}.{nearest(metric, METRICS)} The names are {listing(METRICS, 20)}."
                )
            named[metric] = METRICS[metric]()
        elif isinstance(metric, type):
            raise SettingError(
                f"the metric {metric.__name__} is a class; expected an instance. Write {metric.__name__}(...)."
            )
        elif hasattr(metric, "update") and hasattr(metric, "compute"):
            named[getattr(metric, "name", None) or _snake(type(metric).__name__)] = metric
        elif callable(metric):
            named[getattr(metric, "__name__", type(metric).__name__)] = FunctionMetric(metric)
        else:
            raise SettingError(
                f"{metric!r} is no metric; expected a name, an object with update and compute, or a function."
            )
    return named


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


def higher_is_better(name: str, metrics: dict[str, Metric]) -> bool:
    """Whether a monitored figure should rise. Losses should fall; a plain function must say so itself."""
    if name == "loss":
        return False
    better = metrics[name].higher_is_better
    if better is None:
        raise SettingError(
            f"the metric {name!r} does not say whether higher is better; wrap it: FunctionMetric(fn, higher_is_better=True)."
        )
    return better


__all__ = [
    "METRICS",
    "ConfusionMetric",
    "Overlap",
    "FunctionMetric",
    "MeanMetric",
    "as_metrics",
    "higher_is_better",
    "roc_auc",
]
