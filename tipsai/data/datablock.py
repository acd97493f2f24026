"""A DataBlock says where items come from, how they are split, and what is done to them."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from tipsai.core import rng
from tipsai.core.errors import DataError
from tipsai.core.state import Batch
from tipsai.data.block import Block
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import BatchTransform, Draw, ItemLoader
from tipsai.data.split import Split, random_split
from tipsai.data.workers import travels


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
            self.function, self.items = None, list(self)  # kept, since every worker gets them
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

    @property
    def steady(self) -> bool:
        """Whether an item is the same whenever it is asked for; see data.workers."""
        return self.augment is None

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
            n_workers: processes that read and encode; see workers.default_workers.

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
