"""Blocks say what a field means: how it is encoded, batched, shown and drawn, and as a target how it is judged and decided."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from tipsai.core.errors import DataError, SettingError
from tipsai.core.state import Loss
from tipsai.data.processor import Labels, Processor, Standardize
from tipsai.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError


class Block:
    """The meaning of one field: its processors, and how its values are collated, shown, decoded and mixed.

    This base passes tensors through: numbers in, the same numbers out.
    """

    processors: tuple[Processor, ...] = ()
    draws = False  # whether draw has something to draw; else values are read
    beside = False  # whether target and prediction are drawn in a picture each
    n_out: int | None = None  # outputs that a model needs for this field as a target; None: unknown
    checks: Sequence[Any] = ()  # what the doctor looks at where there is such a field: doctor.Check, data and training

    def fit(self, items: Sequence[Any]) -> Self:
        """Fits the processors, each on what the one before it makes of the training items."""
        for i, processor in enumerate(self.processors):
            if i:
                items = [self.processors[i - 1].encode(item) for item in items]
            processor.fit(items)
        return self

    def encode(self, item: Any) -> Any:
        for processor in self.processors:
            item = processor.encode(item)
        return item

    def decode(self, value: Any) -> Any:
        for processor in reversed(self.processors):
            value = processor.decode(value)
        return value

    def collate(self, values: Sequence[Any]) -> tuple[Tensor, ...]:
        """Encoded values of a batch as tensors [b, ...]."""
        return (torch.stack([torch.as_tensor(value) for value in values]),)

    def show(self, value: Any) -> str:
        """An encoded value as a person reads it."""
        if isinstance(value, Tensor) and value.numel() > 8:
            return f"{list(value.shape)} {value.dtype}, {value.float().min():.3g} to {value.float().max():.3g}"
        return str(self.decode(value))

    def draw(self, axes: Any, value: Any, predicted: bool = False) -> None:
        """Draws a value, as the model sees it, on matplotlib axes whose content spans -1..1 both ways.

        Args:
            axes: empty for an input; for a target, with the input drawn.
            value: one item's, encoded.
            predicted: whether a model predicted it.
        """

    def pixels(self, value: Any, under: Any = None, predicted: bool = False) -> Any:
        """A value as a picture, uint8 [h, w, 3]; None where there is nothing to see.

        Args:
            value: one item's, encoded; of an input as the model sees it.
            under: of a target, the input's pixels, on which it is laid.
            predicted: whether a model predicted it.
        """
        return None

    def legend(self, values: Sequence[Any], predicted: bool = False) -> dict[str, str]:
        """Names and colours that explain what draw made of these values."""
        return {}

    def readable(self, x: tuple[Tensor, ...]) -> dict[str, Any]:
        """Columns for people from a batch's inputs; none where these are not read."""
        return {}

    def column_parts(self) -> dict[str, list[tuple[int, slice]]]:
        """Where each column of a table lies in a batch's inputs; none where these have no columns.

        Returns:
            for each column the tensors that hold some of it, as places in x, and the columns [:, slice] of each; first
            the one that tells its values apart, codes of a category or numbers.
        """
        return {}

    def grouped(self, x: tuple[Tensor, ...]) -> dict[str, Any]:
        """The values of these columns by which items are told apart, None, NaN or NaT where missing; see readable."""
        return {}

    @property
    def outputs(self) -> Sequence[Any]:
        """What each output of a model stands for: classes, labels, names of numbers; empty where unknown."""
        return ()

    def decide(self, pred: Tensor) -> Tensor:
        """What a model returns [b, ...] as encoded targets, such as the most probable classes."""
        return pred

    def default_loss(self) -> Loss:
        raise SettingError(f"{type(self).__name__} is no target; give Learner(..., loss_fn=...).")

    def units(self, values: Tensor) -> Tensor:
        """Predictions or encoded targets in the target's own units; the identity unless targets are scaled."""
        return values

    def predictions(self, pred: Tensor) -> dict[str, Any]:
        """Columns for people, from what the model returns [n, ...]."""
        return {"prediction": pred.squeeze(-1).tolist()}

    def average(self, preds: Tensor) -> Tensor:
        """Several predictions of each row, [k, b, ...], as one [b, ...]; for classes the mean is one of probabilities."""
        return preds.mean(0)

    def mix_targets(self, y: tuple[Tensor, ...], perm: Tensor, lam: Tensor) -> tuple[Tensor, ...]:
        """Targets of a mixup of each row with the row perm names (TR03).

        Args:
            y: targets, [b, ...] each.
            perm: int64 [b].
            lam: float [b], the share that stays.

        Raises:
            SettingError: this kind of target cannot be mixed.
        """
        raise SettingError(f"mixup is not defined for targets of {type(self).__name__}; leave it out.")

    def to_dict(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> "Block":
        return cls()


def mean_of_classes(preds: Tensor) -> Tensor:
    """Several predictions [k, b, classes, ...] before softmax as one, whose probabilities are the mean of theirs."""
    return preds.log_softmax(2).logsumexp(0) - math.log(len(preds))


def _blend(values: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    lam = lam.reshape(-1, *[1] * (values.ndim - 1)).to(values.dtype)
    return values * lam + values[perm] * (1 - lam)


class CategoryBlock(Block):
    """One of several classes; targets int64 [b].

    Args:
        labels: the classes in order, where known; else those of the training items, sorted.
    """

    def __init__(self, labels: Sequence[Any] | None = None) -> None:
        self.vocab = Labels(labels)
        self.processors = (self.vocab,)

    @property
    def n_out(self) -> int:  # type: ignore[override]
        return self.vocab.n

    @property
    def outputs(self) -> Sequence[Any]:
        return self.vocab.labels_

    def decide(self, pred: Tensor) -> Tensor:
        return pred.argmax(1)

    def default_loss(self) -> Loss:
        return CrossEntropy()

    def predictions(self, pred: Tensor) -> dict[str, Any]:
        """The most probable class, and the probability of each as p_<class>."""
        probabilities = pred.float().softmax(1)
        labels = np.array(self.vocab.labels_)
        columns: dict[str, Any] = {"prediction": labels[probabilities.argmax(1).numpy()].tolist()}
        return columns | {f"p_{label}": probabilities[:, i].numpy() for i, label in enumerate(self.vocab.labels_)}

    def class_weight(self, given: str | Mapping[Any, float], codes: Tensor) -> Tensor:
        """Weights of the classes in a loss, float [C] (DA13).

        Args:
            given: "balanced", for the inverse of their frequencies, or a weight for each class that is not 1.
            codes: the training targets, int [n].

        Raises:
            SettingError: it is another word.
            DataError: a class is unknown.
        """
        if isinstance(given, str):
            if given != "balanced":
                raise SettingError(f"class_weights is {given!r}; expected 'balanced' or a weight for each class.")
            counts = torch.bincount(codes, minlength=self.n_out).clamp(min=1)
            return counts.sum() / (len(counts) * counts.float())
        weights = torch.ones(self.n_out)
        for label, weight in given.items():
            weights[self.vocab.encode(label)] = float(weight)
        return weights

    def average(self, preds: Tensor) -> Tensor:
        return mean_of_classes(preds)

    def mix_targets(self, y: tuple[Tensor, ...], perm: Tensor, lam: Tensor) -> tuple[Tensor, ...]:
        target = y[0]
        one_hot = torch.nn.functional.one_hot(target, self.n_out).float() if not target.is_floating_point() else target
        return (_blend(one_hot, perm, lam), *(_blend(t, perm, lam) for t in y[1:]))

    def to_dict(self) -> dict[str, Any]:
        return self.vocab.to_dict()

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> "CategoryBlock":
        return cls(d["labels"])


def weighted_loss(target: Block, given: str | Mapping[Any, float], codes: Tensor, loss_fn: Any) -> Loss:
    """Cross-entropy with weights of the classes, in place of the target's own loss (DA13).

    Args:
        target: of one class.
        given: see CategoryBlock.class_weight.
        codes: the training targets, int [n].
        loss_fn: the user's; None without.

    Raises:
        SettingError: the target is another, or the user has a loss.
    """
    if not isinstance(target, CategoryBlock) or loss_fn is not None:
        raise SettingError(
            "class_weights needs a classification with the default loss; otherwise give loss_fn its own weights."
        )
    return CrossEntropy(class_weight=target.class_weight(given, codes))


def _collection(item: Iterable[Any]) -> Iterable[Any]:
    if isinstance(item, str) or not isinstance(item, Iterable):
        raise DataError(f"an item has the labels {item!r}; expected a collection of labels, such as {[item]!r}.")
    return item


class MultiCategoryBlock(Block):
    """Several labels at once; items are collections of labels, targets bool [b, C].

    Args:
        labels: all labels in order, where known; else those of the training items, sorted.
    """

    def __init__(self, labels: Sequence[Any] | None = None) -> None:
        self.vocab = Labels(labels)

    @property
    def n_out(self) -> int:  # type: ignore[override]
        return self.vocab.n

    def fit(self, items: Sequence[Iterable[Any]]) -> Self:
        self.vocab.fit([label for item in items for label in _collection(item)])
        return self

    def encode(self, item: Iterable[Any]) -> Tensor:
        target = torch.zeros(self.vocab.n, dtype=torch.bool)
        target[[self.vocab.encode(label) for label in _collection(item)]] = True
        return target

    def decode(self, value: Tensor) -> list[Any]:
        return [self.vocab.decode(int(i)) for i in value.nonzero().flatten()]

    def show(self, value: Any) -> str:
        return ", ".join(map(str, self.decode(value))) or "none"

    @property
    def outputs(self) -> Sequence[Any]:
        return self.vocab.labels_

    def decide(self, pred: Tensor) -> Tensor:
        return pred > 0

    def default_loss(self) -> Loss:
        return BinaryCrossEntropy()

    def predictions(self, pred: Tensor) -> dict[str, Any]:
        """The labels above one half, and the probability of each as p_<label>."""
        probabilities = pred.float().sigmoid()
        columns: dict[str, Any] = {"prediction": [self.decode(row) for row in probabilities > 0.5]}
        return columns | {f"p_{label}": probabilities[:, i].numpy() for i, label in enumerate(self.vocab.labels_)}

    def average(self, preds: Tensor) -> Tensor:
        return preds.sigmoid().mean(0).logit(1e-7)

    def mix_targets(self, y: tuple[Tensor, ...], perm: Tensor, lam: Tensor) -> tuple[Tensor, ...]:
        return tuple(_blend(t.float(), perm, lam) for t in y)

    def to_dict(self) -> dict[str, Any]:
        return self.vocab.to_dict()

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> "MultiCategoryBlock":
        return cls(d["labels"])


class RegressionBlock(Block):
    """Numbers, standardised inside; targets float32 [b, n]. Predictions and reported figures are in the items' units.

    Args:
        names: a name a number; one unnamed number without.
    """

    def __init__(self, names: Sequence[str] = ("",)) -> None:
        self.names = tuple(names)
        self.scaler = Standardize()

    @property
    def n_out(self) -> int:  # type: ignore[override]
        return len(self.names)

    def fit(self, items: Sequence[Any]) -> Self:
        self.scaler.fit(np.asarray(items, np.float64).reshape(len(items), -1))
        return self

    def encode(self, item: Any) -> Tensor:
        return torch.as_tensor(self.scaler.encode(np.reshape(item, -1)), dtype=torch.float32)

    def decode(self, value: Any) -> Any:
        numbers = self.scaler.decode(value)
        return float(numbers[0]) if self.n_out == 1 else numbers.tolist()

    def show(self, value: Any) -> str:
        numbers = self.scaler.decode(value).tolist()
        return ", ".join(f"{name} {n:.4g}".strip() for name, n in zip(self.names, numbers, strict=True))

    @property
    def outputs(self) -> Sequence[Any]:
        return self.names

    def default_loss(self) -> Loss:
        return MeanSquaredError()

    def units(self, values: Tensor) -> Tensor:
        values = values.float()
        return values * values.new_tensor(self.scaler.std_) + values.new_tensor(self.scaler.mean_)

    def predictions(self, pred: Tensor) -> dict[str, Any]:
        numbers = self.scaler.decode(pred.float().numpy())
        if self.n_out == 1:
            return {"prediction": numbers[:, 0]}
        return {f"prediction_{name}": numbers[:, i] for i, name in enumerate(self.names)}

    def mix_targets(self, y: tuple[Tensor, ...], perm: Tensor, lam: Tensor) -> tuple[Tensor, ...]:
        return tuple(_blend(t, perm, lam) for t in y)

    def to_dict(self) -> dict[str, Any]:
        return {"names": list(self.names), **self.scaler.to_dict()}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> "RegressionBlock":
        made = cls(d["names"])
        made.scaler = Standardize.from_dict({"mean": d["mean"], "std": d["std"]})
        return made
