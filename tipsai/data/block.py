"""Blocks say what a field means; a DataBlock says where items come from, how they are split, and what is done to them."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from tipsai.core import rng
from tipsai.core.errors import DataError, SettingError
from tipsai.core.state import Batch, Loss
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import BatchTransform, Draw, ItemLoader, travels
from tipsai.data.processor import Labels, Processor, Standardize
from tipsai.data.split import Split, random_split
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


def _first(item: Any) -> Any:
    return item[0]


def _second(item: Any) -> Any:
    return item[1]


class Mapped(Sequence[Any]):
    """A sequence seen through a function, which is called when an item is asked for.

    Sent to a worker process it takes the function with it; a lambda, which cannot travel, is called for all items then,
    and its values go instead.
    """

    def __init__(self, function: Callable[[Any], Any] | None, items: Sequence[Any]) -> None:
        self.function, self.items = function, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index] if self.function is None else self.function(self.items[index])

    def __getstate__(self) -> dict[str, Any]:
        if not travels(self.function):
            self.function, self.items = None, list(self)  # kept, since every worker of every epoch gets them
        return self.__dict__


class EncodedItems:
    """Inputs and targets as a torch Dataset of (x, y), encoded when asked for.

    Args:
        blocks: the input's and the target's, fitted.
        x: inputs.
        y: targets; None for new items, which have none.
        augment: changes an input before it is encoded; in training only (DA11).
    """

    def __init__(
        self,
        blocks: tuple[Block, Block],
        x: Sequence[Any],
        y: Sequence[Any] | None,
        augment: Callable[[Any], Any] | None = None,
    ) -> None:
        self.blocks, self.x, self.y, self.augment = blocks, x, y, augment

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        x = self.x[index]
        if self.augment is not None:
            x = self.augment(x)
        return self.blocks[0].encode(x), None if self.y is None else self.blocks[1].encode(self.y[index])

    def without_augmentation(self) -> "EncodedItems":
        return EncodedItems(self.blocks, self.x, self.y)

    def collate(self, samples: Sequence[tuple[Any, Any]]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        x = self.blocks[0].collate([x for x, _ in samples])
        return x, () if self.y is None else self.blocks[1].collate([y for _, y in samples])


class DataBlock:
    """How a source becomes batches.

    Args:
        blocks: the input's block and the target's.
        get_items: from the source to a sequence of items; by default the source is one.
        splitter: from the items to a Split; 20% at random validate by default.
        get_x: from an item to its input; by default item[0].
        get_y: from an item to its target; by default item[1].
        item_aug: changes an input, in training only, before it is encoded.
        batch_aug: batch transforms, run on the device; see loaders.BatchTransform.
    """

    def __init__(
        self,
        blocks: tuple[Block, Block],
        get_items: Callable[[Any], Sequence[Any]] | None = None,
        splitter: Callable[[Sequence[Any]], Split] | None = None,
        get_x: Callable[[Any], Any] = _first,
        get_y: Callable[[Any], Any] = _second,
        item_aug: Callable[[Any], Any] | None = None,
        batch_aug: Sequence[BatchTransform] = (),
    ) -> None:
        self.x_block, self.y_block = blocks
        self.get_items, self.splitter, self.get_x, self.get_y = get_items, splitter, get_x, get_y
        self.item_aug, self.batch_aug = item_aug, tuple(batch_aug)

    def _split(self, source: Any) -> tuple[Sequence[Any], Split]:
        items = self.get_items(source) if self.get_items else source
        if not hasattr(items, "__len__") or not hasattr(items, "__getitem__"):
            raise DataError(
                f"the items are a {type(items).__name__}; expected a sequence. Give get_items, or a list of the items."
            )
        if not len(items):
            raise DataError("the source has no items; check the path or the function get_items.")
        split = self.splitter(items) if self.splitter else random_split(len(items))
        if not len(split.train):
            raise DataError(f"the splitter left none of {len(items)} items for training.")
        return items, split

    def dataloaders(self, source: Any, bs: int = 64, n_workers: int = 0) -> DataLoaders:
        """Splits the source, fits copies of the blocks on its training items, and gives loaders for each part.

        Args:
            source: what get_items takes, or a sequence of items.
            bs: items a batch.
            n_workers: processes that read and encode; see loaders.default_workers.

        Returns:
            loaders whose `blocks` are the fitted copies.
        """
        return self._loaders(*self._split(source), bs, n_workers)

    def _loaders(self, items: Sequence[Any], split: Split, bs: int, n_workers: int) -> DataLoaders:
        blocks = copy.deepcopy((self.x_block, self.y_block))  # so that one DataBlock serves several sources
        parts = [[items[int(i)] for i in part] for part in split]
        blocks[0].fit(Mapped(self.get_x, parts[0]))
        blocks[1].fit(Mapped(self.get_y, parts[0]))

        def loader(part: list[Any], training: bool) -> ItemLoader | None:
            if not part:
                return None
            augment = self.item_aug if training else None
            data = EncodedItems(blocks, Mapped(self.get_x, part), Mapped(self.get_y, part), augment)
            return ItemLoader(data, bs, shuffle=training, n_workers=n_workers, collate=data.collate)

        def encoder(new: Sequence[Any], bs: int) -> ItemLoader:
            data = EncodedItems(blocks, Mapped(self.get_x, new), None)
            return ItemLoader(data, bs, n_workers=n_workers, collate=data.collate)

        train, valid, test = (loader(part, i == 0) for i, part in enumerate(parts))
        loaders = DataLoaders(train, valid, test, blocks=blocks)
        loaders.batch_tfms = self.batch_aug
        loaders.encoder = encoder
        return loaders

    def summary(self, source: Any, bs: int = 4) -> None:
        """Prints what one sample and one batch are at every stage (DA02)."""
        items, split = self._split(source)
        sizes = f"{len(split.train)} training, {len(split.valid)} validation, {len(split.test)} test"
        print(f"items        {len(items)}: {sizes}")
        item = items[int(split.train[0])]
        x, y = self.get_x(item), self.get_y(item)
        print(f"one item     {_brief(item)}\nget_x        {_brief(x)}\nget_y        {_brief(y)}")
        loaders = self._loaders(items, split, bs, 0)
        assert loaders.train is not None and loaders.blocks is not None
        with rng.preserved():
            if self.item_aug is not None:
                x = self.item_aug(x)
                print(f"item_aug     {_brief(x)}")
        for name, block, value in (("x", loaders.blocks[0], x), ("y", loaders.blocks[1], y)):
            stage = value
            for processor in block.processors:
                stage = processor.encode(stage)
                print(f"{name}: {type(processor).__name__:<10}{_brief(stage)}")
            encoded = block.encode(value)
            print(f"{name}: encoded   {_brief(encoded)}\n{name}: shown     {block.show(encoded)}")
        batch = next(loaders.train.batches())
        _show_batch("batch", batch)
        for transform in self.batch_aug:
            batch = transform(batch, Draw(0, 0, 0))
            _show_batch(getattr(transform, "__name__", type(transform).__name__), batch)


def _show_batch(name: str, batch: Batch) -> None:
    for field, tensors in zip("xy", batch, strict=True):
        for tensor in tensors:
            print(f"{name + '.' + field:<12} {_brief(tensor)}")


def _brief(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__} {list(value.shape)} {value.dtype}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 90 else text[:87] + '...'}"
