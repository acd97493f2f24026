"""The splits of a data set together: DataLoaders; and a split on its way to the device: Feed."""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tipsai.core.errors import DataError, SettingError
from tipsai.core.finding import Finding
from tipsai.core.state import Batch, Row
from tipsai.data import show
from tipsai.data.loaders import (
    EVAL_ROWS,
    BatchTransform,
    Draw,
    ForeignLoader,
    ItemLoader,
    Loader,
    RowLoader,
    TensorRows,
    as_tensors,
    check_bs,
    moved,
    transformed,
)

if TYPE_CHECKING:
    from tipsai.data.block import Block


class Feed:
    """A split as the loop takes it: on the device, one batch ahead, batch transforms done."""

    def __init__(
        self, loader: Loader, device: torch.device, tfms: Sequence[BatchTransform] = (), training: bool = False
    ) -> None:
        self.loader, self.device, self.tfms, self.training = loader, device, tuple(tfms), training
        self.exact = loader.exact

    def __len__(self) -> int:
        return len(self.loader)

    def batches(self, *, seed: int = 0, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        source = self.loader.batches(seed=seed, epoch=epoch, start=start)
        if self.device.type == "cpu" and not self.tfms:
            return source
        return self._moved(source, seed, epoch, start)

    def _moved(self, source: Iterator[Batch], seed: int, epoch: int, start: int) -> Iterator[Batch]:
        order, bs = self.loader.order(seed, epoch) if self.training else None, self.loader.bs

        def drawn() -> Draw | None:
            if not self.training:
                return None
            items = None if order is None else order[position * bs : (position + 1) * bs]
            return Draw(seed, epoch, position, items)

        ahead: Batch | None = None
        position = start
        for batch in source:
            moving = moved(batch, self.device, self.tfms)  # the host does not wait, so the copy overlaps the step
            if ahead is not None:
                yield transformed(ahead, self.tfms, drawn())
                position += 1
            ahead = moving
        if ahead is not None:
            yield transformed(ahead, self.tfms, drawn())

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()


class DataLoaders:
    """The loaders of training, validation and test, with the blocks that say what their fields mean.

    The test part is opened by Learner.test alone (DA14).
    """

    def __init__(
        self,
        train: Loader | None,
        valid: Loader | None = None,
        test: Loader | None = None,
        *,
        blocks: tuple["Block", "Block"] | None = None,
    ) -> None:
        self.train, self.valid, self.test, self.blocks = train, valid, test, blocks
        self.batch_tfms: tuple[BatchTransform, ...] = ()
        self.base_bs: int | None = None  # the batch size that a modality's default rate was chosen for
        self.n_epochs: float | None = None  # epochs that a modality finds fitting for this much data
        self.most_epochs = math.inf  # after them this data have nothing left to teach, however much time there is
        self.minutes: float | None = None  # of training on the command line that it finds fitting at most
        self.encoder: Callable[[Any, int], Loader] | None = None
        self.items: dict[str, Sequence[Any]] = {}  # each part's items, such as paths, in their own order
        self.item_column = "name"  # what such an item is called in a table
        self.findings: list[Finding] = []  # what was wrong with the data when they were read
        self.views: tuple[tuple[BatchTransform, ...], ...] = ()  # ways to look at an item, for test-time augmentation

    @classmethod
    def from_tensors(cls, train: Any, valid: Any = None, test: Any = None, *, bs: int = 64) -> "DataLoaders":
        """From tensors (or arrays) in memory; each split is (x, y), x and y a tensor or a tuple of them.

        NumPy's float64 becomes float32; tensors keep their type.

        Raises:
            DataError: their lengths differ, or a split is empty.
        """
        for name, part in (("train", train), ("valid", valid), ("test", test)):
            if part is not None and (not isinstance(part, tuple | list) or len(part) != 2):
                raise DataError(f"{name} is a {type(part).__name__}; expected a pair (x, y) of tensors.")

        def loader(part: Any, training: bool) -> RowLoader | None:
            if part is None:
                return None
            rows = TensorRows(*map(as_tensors, part))
            if not len(rows):
                raise DataError("a split has no rows.")
            return RowLoader(rows, bs if training else max(check_bs(bs), EVAL_ROWS), shuffle=training)

        made = cls(loader(train, True), loader(valid, False), loader(test, False))
        made.encoder = lambda items, bs: RowLoader(TensorRows(as_tensors(items)), bs)
        return made

    @classmethod
    def from_datasets(
        cls, train: Any, valid: Any = None, test: Any = None, *, bs: int = 64, n_workers: int = 0, collate: Any = None
    ) -> "DataLoaders":
        """From torch Datasets of (x, y). Resume is exact: order and item randomness depend on seed, epoch and position."""
        parts = [
            None if data is None else ItemLoader(data, bs, shuffle=i == 0, n_workers=n_workers, collate=collate)
            for i, data in enumerate((train, valid, test))
        ]
        return cls(*parts)

    @classmethod
    def from_loaders(cls, train: Any, valid: Any = None, test: Any = None) -> "DataLoaders":
        """From torch DataLoaders, or anything with a length that gives batches (x, y). Resume is not exact."""
        return cls(*(None if loader is None else ForeignLoader(loader) for loader in (train, valid, test)))

    def __repr__(self) -> str:
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        sizes = ", ".join(f"{loader.n_items:,} {name}" for name, loader in parts.items() if loader is not None)
        held = f"{sizes} items, batches of {self.bs:,}" if sizes else "no items"
        return f"<{type(self).__name__}: {held}>"

    def test_dl(self, items: Any, bs: int | None = None) -> Loader:
        """A loader of new items without targets, through the same processing as training.

        Raises:
            SettingError: these loaders cannot encode items.
        """
        if self.encoder is None:
            raise SettingError(
                "these loaders were made from datasets or loaders, so new items cannot be encoded; pass a loader to get_preds."
            )
        return self.encoder(items, max(EVAL_ROWS, self.bs) if bs is None else check_bs(bs))

    @property
    def bs(self) -> int:
        return self.train.bs if self.train is not None else 64

    def one_batch(self) -> Batch:
        """The first training batch, before batch transforms."""
        if self.train is None:
            raise SettingError("there is no training data here; load_learner(path, dls=...) attaches some.")
        return next(iter(self.train.batches()))

    def show_batch(self, n: int = 9, split: str = "train", *, seed: int = 0, epoch: int = 0) -> Any:
        """The first n items of an epoch as the model sees them, with their targets: a figure, or a DataFrame of rows.

        Args:
            n: items.
            split: "train", augmented, or "valid".
            seed: of order and augmentation.
            epoch: likewise.
        """
        return show.show_batch(self, n, split, seed, epoch)

    def present(self, items: Any, loader: Loader, columns: dict[str, Any]) -> Any:
        """Predictions as a person wants them; a table's come as a DataFrame.

        Args:
            items: as they were given.
            loader: what test_dl made of them, read to its end.
            columns: of the predictions.
        """
        return columns

    def raw_items(self, n: int) -> Any:
        """Up to n validation items (else training ones) as they were given, for predict; None where they are not kept."""
        return list((self.items.get("valid") or self.items.get("train") or ())[:n]) or None

    def numbers_as_read(self, split: str) -> dict[str, Tensor]:
        """Columns of numbers of a sample of the items, [n] each, before anything was done to them; none where they are not kept."""
        return {}

    def derived(self, split: str, loss: float) -> Row:
        """Further figures that follow from a split's loss, by name; none here."""
        return {}

    def throughput(self, n_batches: int, seconds: float) -> Row:
        """How much a second of training took in, in a unit of the data's own; none here."""
        return {}

    def as_evaluated(self, batches: Iterable[Batch], device: torch.device | str = "cpu") -> Iterator[Batch]:
        """Batches as evaluation sees them: on the device, batch transforms done, without randomness."""
        for batch in batches:
            yield transformed(moved(batch, torch.device(device), self.batch_tfms), self.batch_tfms)

    def feed(self, split: str, device: torch.device) -> Feed:
        """One of "train" and "valid" (or, for Learner.test, "test") on a device."""
        loader: Loader | None = getattr(self, split)
        if loader is None:
            more = " (a reloaded model takes some by load_learner(path, dls=...))" if self.train is None else ""
            raise SettingError(f"there is no {split} data; give some when the DataLoaders are made{more}.")
        return Feed(loader, device, self.batch_tfms, training=split == "train")

    @contextlib.contextmanager
    def persistent_workers(self) -> Iterator[None]:
        """In here workers stay from epoch to epoch; see data.workers. A fit does it by itself."""
        with contextlib.ExitStack() as stack:
            for loader in (self.train, self.valid):
                if isinstance(loader, ItemLoader):
                    stack.enter_context(loader.workers.persistent())
            yield
