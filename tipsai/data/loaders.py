"""Loaders: a split's batches from any position, as a function of (seed, epoch, position) alone."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from tipsai.core import rng
from tipsai.core.errors import DataError, SettingError
from tipsai.core.state import Batch
from tipsai.core.step import full_precision
from tipsai.data.workers import Workers

EVAL_ROWS = 1024  # rows of an evaluation batch sliced from memory: no gradients are kept, and small batches waste time


class Draw(NamedTuple):
    """What the randomness of one training batch is a function of.

    Attributes:
        seed: of the run.
        epoch: counted from the run's first.
        position: of the batch in its epoch.
        items: int64 [b], which items the batch holds; None where the loader's order is its own.
    """

    seed: int
    epoch: int
    position: int
    items: Tensor | None = None

    def generator(self, purpose: str, device: str | torch.device = "cpu") -> torch.Generator:
        return rng.generator(self.seed, purpose, self.epoch, self.position, device=device)

    def alternating(self, purpose: str) -> Tensor | None:
        """A number in [0, 1) for each item, float64 [b], that jumps by a half with every epoch; None without `items`.

        Each is uniform by itself, so that `< p` still happens with probability p; but with p = 1/2 it happens to an item
        in exactly every other epoch.

        Source: Jordan 2404.00498, section 3.6, alternating flip.
        """
        if self.items is None:
            return None
        return (rng.uniform(self.items, self.seed, purpose) + self.epoch / 2) % 1


class BatchTransform(Protocol):
    """Changes a batch on the device. `draw` is None in evaluation, where nothing may be random.

    One that has `on_host`, positions of inputs, gets these on the host: what it reads by itself would have to be waited for.
    """

    def __call__(self, batch: Batch, draw: Draw | None) -> Batch: ...


def on_host(tfms: Iterable[BatchTransform]) -> set[int]:
    """Positions of the inputs that transforms read on the host."""
    return {i for transform in tfms for i in getattr(transform, "on_host", ())}


def moved(batch: Batch, device: torch.device, tfms: Iterable[BatchTransform] = ()) -> Batch:
    """A batch on a device, but for what its transforms read on the host."""
    return batch.to(device, on_host(tfms))


def transformed(batch: Batch, tfms: Iterable[BatchTransform], draw: Draw | None = None) -> Batch:
    """A batch after a chain of transforms; as evaluation sees it where there is no draw.

    In full precision, whatever the caller's: batches are drawn while a model is judged in half precision, too.
    """
    with full_precision(batch.x[0].device):
        for transform in tfms:
            batch = transform(batch, draw)
    return batch


class Rows(Protocol):
    """A split that lies in memory: any rows of it as a batch, without a loop over items."""

    def __len__(self) -> int: ...
    def take(self, index: Tensor | slice) -> Batch: ...
    def tensors(self) -> Sequence[Tensor]:
        """All that is held, for fingerprints."""


class Loader(Protocol):
    """One split. `exact` says whether batches are a function of (seed, epoch, position) alone."""

    exact: bool
    n_items: int
    bs: int

    def __len__(self) -> int: ...
    def batches(self, *, seed: int = 0, epoch: int = 0, start: int = 0) -> Iterator[Batch]: ...
    def order(self, seed: int, epoch: int) -> Tensor | None:
        """Which items an epoch's batches hold, one after the other: int64 [n_items]; None where that is not known."""

    def sample(self, n: int, seed: int) -> Iterator[Batch]:
        """At most n items, drawn once and for all, without augmentation."""

    def plain(self) -> "Loader":
        """The same items in their own order, without augmentation."""

    def at(self, index: Sequence[int]) -> Batch:
        """The items at these positions of plain()."""


def _n_batches(n_items: int, bs: int, training: bool) -> int:
    """How many batches; in training, a last one of a single row is left out, since batch norm cannot take it."""
    alone = training and bs > 1 and n_items > bs and n_items % bs == 1
    return -(-n_items // bs) - alone


def check_bs(bs: int) -> int:
    """Raises SettingError unless bs is a whole number of at least 1."""
    if isinstance(bs, bool) or not isinstance(bs, int | np.integer) or bs < 1:
        raise SettingError(f"bs is {bs!r}; expected a whole number of rows, at least 1.")
    return int(bs)


class TensorRows:
    """Rows of tensors that share their first dimension."""

    def __init__(self, x: tuple[Tensor, ...], y: tuple[Tensor, ...] = ()) -> None:
        if not x or any(t.ndim == 0 for t in (*x, *y)):
            raise DataError(
                "x or y is a single number or nothing at all; expected tensors whose first dimension is rows."
            )
        lengths = {len(t) for t in (*x, *y)}
        if len(lengths) != 1:
            raise DataError(f"x and y have {sorted(lengths)} rows; expected the same number in each.")
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x[0])

    def tensors(self) -> Sequence[Tensor]:
        return (*self.x, *self.y)

    def take(self, index: Tensor | slice) -> Batch:
        if isinstance(index, slice):
            return Batch(tuple(t[index] for t in self.x), tuple(t[index] for t in self.y))
        return Batch(
            tuple([t.index_select(0, index) for t in self.x]), tuple([t.index_select(0, index) for t in self.y])
        )


def as_tensors(value: Any) -> tuple[Tensor, ...]:
    """One or several tensors, from a tensor, an array, numbers, or a tuple of tensors and arrays.

    NumPy's float64 becomes torch's default type, as Python's numbers do; tensors stay as they are.

    Raises:
        DataError: there is something that makes no tensor, such as text.
    """
    if isinstance(value, tuple | list) and value and all(isinstance(v, Tensor | np.ndarray) for v in value):
        return tuple(_as_tensor(v) for v in value)
    return (_as_tensor(value),)


def _as_tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{type(value).__name__} of type {array.dtype} makes no tensor; expected numbers. "
            "Encode it first, or use TabularDataLoaders.from_df for a table."
        )
    made = torch.from_numpy(np.array(array))  # a copy: pandas hands out memory that must not be written to
    return made.to(torch.get_default_dtype()) if made.dtype == torch.float64 else made


class RowLoader:
    """Batches sliced from rows in memory; shuffled between epochs if asked (DA09).

    The last batch may be smaller. In training, one that would hold a single row is left out, since batch norm cannot
    take it.
    """

    exact = True

    def __init__(self, rows: Rows, bs: int, shuffle: bool = False) -> None:
        self.rows, self.bs, self.shuffle = rows, check_bs(bs), shuffle
        self.n_items = len(rows)

    def __len__(self) -> int:
        return _n_batches(self.n_items, self.bs, self.shuffle)

    def order(self, seed: int, epoch: int) -> Tensor:
        return rng.order(self.n_items, seed, epoch) if self.shuffle else torch.arange(self.n_items)

    def batches(self, *, seed: int = 0, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        order = self.order(seed, epoch) if self.shuffle else None
        for i in range(start * self.bs, len(self) * self.bs, self.bs):
            yield self.rows.take(slice(i, i + self.bs) if order is None else order[i : i + self.bs])

    def sample(self, n: int, seed: int) -> Iterator[Batch]:
        index = rng.order(self.n_items, seed, -1)[:n]
        for i in range(0, len(index), max(self.bs, EVAL_ROWS)):
            yield self.rows.take(index[i : i + max(self.bs, EVAL_ROWS)])

    def plain(self) -> "RowLoader":
        return RowLoader(self.rows, self.bs)

    def at(self, index: Sequence[int]) -> Batch:
        return self.rows.take(torch.as_tensor(index, dtype=torch.int64))

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()


def to_batch(sample: Any) -> Batch:
    """(x, y) as a loader gives them, each a tensor or a tuple of tensors, as a Batch.

    Raises:
        DataError: they are something else.
    """
    if isinstance(sample, Batch):
        return sample
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        found = f"{len(sample)} fields" if isinstance(sample, tuple | list) else type(sample).__name__
        raise DataError(
            f"the loader gave {found}; expected (x, y), each a tensor or a tuple of tensors. Map its samples to that form."
        )
    x, y = (tuple(part) if isinstance(part, tuple | list) else (part,) for part in sample)
    for part in (*x, *y):
        if not isinstance(part, Tensor):
            raise DataError(
                f"the loader gave a {type(part).__name__} among (x, y); expected tensors. Convert it in the dataset or its collate_fn."
            )
    return Batch(x, y)


class ItemLoader:
    """Batches of a map-style torch Dataset, decoded by workers.

    Args:
        dataset: has __len__ and __getitem__.
        bs: items a batch.
        shuffle: a new order each epoch, and randomness in the items seeded by position.
        n_workers: processes; 0 decodes in this one. See data.workers.
        collate: from a list of samples to (x, y); torch's default without.
    """

    exact = True

    def __init__(
        self,
        dataset: Any,
        bs: int,
        shuffle: bool = False,
        n_workers: int = 0,
        collate: Callable[[Any], Any] | None = None,
    ) -> None:
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            raise DataError(
                f"{type(dataset).__name__} has no length or no items by number; give from_loaders a torch DataLoader of it."
            )
        self.dataset, self.bs, self.shuffle = dataset, check_bs(bs), shuffle
        self.collate = collate or torch.utils.data.default_collate
        self.workers = Workers(n_workers)
        self.n_items = len(dataset)
        if not self.n_items:
            raise DataError("a split has no items.")

    def __len__(self) -> int:
        return _n_batches(self.n_items, self.bs, self.shuffle)

    def order(self, seed: int, epoch: int) -> Tensor:
        return rng.order(self.n_items, seed, epoch) if self.shuffle else torch.arange(self.n_items)

    def batches(self, *, seed: int = 0, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        order = self.order(seed, epoch).tolist()
        first, last = start * self.bs, min(len(self) * self.bs, self.n_items)
        keys = [(order[at], rng.derive(seed, "item", epoch, at) if self.shuffle else None) for at in range(first, last)]
        chosen = [keys[i : i + self.bs] for i in range(0, len(keys), self.bs)]
        for sample in self.workers.read(self.dataset, self.collate, chosen, rng.generator(seed, "workers", epoch)):
            yield to_batch(sample)

    def sample(self, n: int, seed: int) -> Iterator[Batch]:
        plain = self.plain()
        plain.dataset = torch.utils.data.Subset(plain.dataset, rng.order(self.n_items, seed, -1)[:n].tolist())
        plain.n_items = len(plain.dataset)
        return plain.batches()

    def plain(self) -> "ItemLoader":
        data = self.dataset.without_augmentation() if hasattr(self.dataset, "without_augmentation") else self.dataset
        return ItemLoader(data, self.bs, n_workers=self.workers.n, collate=self.collate)

    def at(self, index: Sequence[int]) -> Batch:
        data = self.plain().dataset
        return to_batch(self.collate([data[int(i)] for i in index]))

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()


class ForeignLoader:
    """Any iterable of batches, such as a torch DataLoader, as it is. Resume has to read what it skips, and is not exact."""

    exact = False

    def __init__(self, loader: Any) -> None:
        try:
            self.n = len(loader)
        except TypeError:
            raise DataError(
                "the loader has no length, so no schedule can be made; give its dataset a __len__, or wrap it."
            ) from None
        if not self.n:
            raise DataError("the loader has no batches.")
        self.loader = loader
        self.bs = getattr(loader, "batch_size", None) or 1
        dataset = getattr(loader, "dataset", None)
        self.n_items = len(dataset) if dataset is not None and hasattr(dataset, "__len__") else self.n * self.bs

    def __len__(self) -> int:
        return self.n

    def order(self, seed: int, epoch: int) -> None:
        return None

    def batches(self, *, seed: int = 0, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        if start:
            warnings.warn(
                "this loader cannot start in the middle: its first batches are read and thrown away, and its order is its own.",
                stacklevel=2,
            )
        for i, sample in enumerate(self.loader):
            if i >= start:
                yield to_batch(sample)

    def sample(self, n: int, seed: int) -> Iterator[Batch]:
        for batch in self.batches():
            if n <= 0:
                return
            n -= batch.n_rows
            yield batch

    def plain(self) -> "ForeignLoader":
        """As it is: its order is its own."""
        return self

    def at(self, index: Sequence[int]) -> Batch:
        """Refuses.

        Raises:
            SettingError: such a loader gives no item by its position.
        """
        raise SettingError(
            f"this {type(self.loader).__name__} gives batches in its own order, and no item by its position; "
            "make the DataLoaders with from_datasets or from_tensors to look at single items."
        )

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()
