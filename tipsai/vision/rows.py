"""Pictures on their way to batches: decoded in memory and sliced, decoded by workers, or new ones."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from tipsai.core.errors import DataError
from tipsai.core.finding import Finding
from tipsai.core.state import Batch
from tipsai.data.block import Block, EncodedItems
from tipsai.data.loaders import ItemLoader, check_bs, default_workers
from tipsai.vision.blocks import ImageBlock
from tipsai.vision.read import shown

log = logging.getLogger("tipsai")


class Column:
    """One field of the items, encoded: a tensor where all values have one shape, else a list.

    Args:
        block: collates values into tensors.
        values: encoded.
    """

    def __init__(self, block: Block, values: Sequence[Any]) -> None:
        self.block = block
        self.values: Sequence[Any] | None = None
        parts = block.collate(values) if _alike(values) else None
        self.stacked: tuple[Tensor, ...] = parts or ()
        if parts is None:
            self.values = values

    def take(self, index: Tensor | slice) -> tuple[Tensor, ...]:
        if self.values is None:
            if isinstance(index, slice):
                return tuple(t[index] for t in self.stacked)
            return tuple(t.index_select(0, index) for t in self.stacked)
        chosen = self.values[index] if isinstance(index, slice) else [self.values[i] for i in index.tolist()]
        return self.block.collate(chosen)

    def tensors(self) -> Sequence[Tensor]:
        return self.stacked if self.values is None else [torch.as_tensor(v) for v in self.values]


def _alike(values: Sequence[Any]) -> bool:
    return len({tuple(v.shape) if isinstance(v, Tensor) else () for v in values}) == 1


class PictureRows:
    """Pictures and targets in memory: a split's Rows. See data.loaders.Rows.

    Args:
        x: encoded pictures, uint8 [c, h, w] each, or one tensor [n, c, h, w].
        y: encoded targets; None for new pictures.
        blocks: the picture's and the target's, fitted.
    """

    def __init__(self, x: Sequence[Any], y: Sequence[Any] | None, blocks: tuple[Block, Block]) -> None:
        self.n = len(x)
        self.x = Column(blocks[0], x)
        self.y = None if y is None else Column(blocks[1], y)

    def __len__(self) -> int:
        return self.n

    def take(self, index: Tensor | slice) -> Batch:
        return Batch(self.x.take(index), () if self.y is None else self.y.take(index))

    def tensors(self) -> Sequence[Tensor]:
        return [*self.x.tensors(), *(self.y.tensors() if self.y is not None else ())]


def memory_budget() -> int:
    """Bytes that decoded pictures may take: a sixth of the machine's memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 6
    except (AttributeError, ValueError, OSError):  # Windows does not tell in this way
        return 2**30


def unreadable(reasons: Mapping[str, str], n_items: int, done: str = "were left out") -> Finding:
    """The pictures that were left out, as a finding.

    Args:
        reasons: why each cannot be read, by path.
        n_items: of all pictures.
        done: what became of them.
    """
    lines = [f"\n  {shown(path)}: {reason}" for path, reason in list(reasons.items())[:10]]
    more = f"\n  and {len(reasons) - 10:,} more" if len(reasons) > 10 else ""
    return Finding(
        code="unreadable-pictures",
        tip="",
        severity="warning",
        message=f"{len(reasons):,} of {n_items:,} pictures cannot be read and {done}:{''.join(lines)}{more}",
        evidence=dict(reasons),
        fix="\nReplace or delete them.",
    )


def decode_all(block: Block, items: Sequence[Any]) -> tuple[list[Tensor | None], dict[int, str]]:
    """Encodes all items, in threads: Pillow decodes without holding Python's lock.

    Returns:
        the encoded items, None for those that cannot be read, and why they cannot, by position.
    """
    problems: dict[int, str] = {}

    def encode(chunk: range) -> list[Tensor | None]:
        made: list[Tensor | None] = []
        for i in chunk:
            try:
                made.append(block.encode(items[i]))
            except DataError as error:
                problems[i] = getattr(error, "reason", "") or str(error)
                made.append(None)
        return made

    n_threads = max(1, default_workers() + 1)
    each = max(1, min(256, -(-len(items) // n_threads)))
    chunks = [range(start, min(start + each, len(items))) for start in range(0, len(items), each)]
    with ThreadPoolExecutor(n_threads) as pool:
        parts = list(pool.map(encode, chunks))
    return [picture for part in parts for picture in part], dict(sorted(problems.items()))


class PictureItems(EncodedItems):
    """Pictures and targets, encoded when asked for. What cannot be read is handed on as the error that it is.

    A worker that raised would send its traceback along, and the message would drown in it; see PictureLoader.
    """

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        try:
            return super().__getitem__(index)
        except DataError as error:
            return error, None

    def without_augmentation(self) -> "PictureItems":
        return PictureItems(self.blocks, self.x, self.y)

    def collate(self, samples: Sequence[tuple[Any, Any]]) -> Any:
        """(x, y); a batch without inputs where one cannot be read, and the error in place of its targets."""
        errors = tuple(x for x, _ in samples if isinstance(x, DataError))
        return Batch((), errors[:1]) if errors else super().collate(samples)  # type: ignore[arg-type]


class PictureLoader(ItemLoader):
    """Batches of PictureItems, decoded by workers.

    Raises:
        DataError: a picture or mask cannot be read any more; the message names it.
    """

    def batches(self, *, seed: int = 0, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        for batch in super().batches(seed=seed, epoch=epoch, start=start):
            yield _sound(batch)

    def plain(self) -> "PictureLoader":
        data = self.dataset.without_augmentation()
        return PictureLoader(data, self.bs, n_workers=self.n_workers, collate=data.collate)

    def at(self, index: Sequence[int]) -> Batch:
        return _sound(super().at(index))


def _sound(batch: Batch) -> Batch:
    if not batch.x:
        raise batch.y[0]  # type: ignore[misc]
    return batch


class NewPictures:
    """New pictures without targets, decoded in threads as they are asked for.

    One that cannot be read is blank, so that each picture has its prediction in its place; at the end of a pass that is said,
    and `problems` tells why.

    Args:
        items: paths, or pictures in memory.
        block: encodes them.
        bs: pictures a batch.

    Attributes:
        problems: why a picture cannot be read, by position; complete after a pass.
    """

    exact = True

    def __init__(self, items: Sequence[Any], block: ImageBlock, bs: int) -> None:
        self.items, self.block, self.bs = items, block, check_bs(bs)
        self.n_items = len(items)
        self.problems: dict[int, str] = {}
        if not self.n_items:
            raise DataError("there are no pictures to predict; expected a path at least.")

    def __len__(self) -> int:
        return -(-self.n_items // self.bs)

    def batches(self, *, seed: int = 0, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """Raises DataError after the last batch if not one picture could be read."""
        for first in range(start * self.bs, self.n_items, self.bs):
            yield self.at(range(first, min(first + self.bs, self.n_items)))
        if len(self.problems) == self.n_items:
            at, reason = next(iter(self.problems.items()))
            which = f"{shown(self.items[at])}: " if isinstance(self.items[at], str | os.PathLike) else ""
            none = f"none of the {self.n_items:,} pictures can be read; " if self.n_items > 1 else ""
            raise DataError(f"{none}{which}{reason}")
        if self.problems:
            reasons = {self.names[i]: self.problems[i] for i in sorted(self.problems)}
            log.warning("%s", unreadable(reasons, self.n_items, "have no prediction"))

    @property
    def names(self) -> list[str]:
        """The paths, as they can be printed anywhere; positions for what is in memory."""
        return [shown(item) if isinstance(item, str | os.PathLike) else str(i) for i, item in enumerate(self.items)]

    def at(self, index: Sequence[int]) -> Batch:
        decoded, problems = decode_all(self.block, [self.items[i] for i in index])
        self.problems |= {index[i]: reason for i, reason in problems.items()}
        blank = torch.zeros((self.block.channels, 1, 1), dtype=torch.uint8)
        return Batch(self.block.collate([blank if picture is None else picture for picture in decoded]), ())

    def sample(self, n: int, seed: int) -> Iterator[Batch]:
        return NewPictures(self.items[:n], self.block, self.bs).batches()

    def plain(self) -> "NewPictures":
        return self

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()
