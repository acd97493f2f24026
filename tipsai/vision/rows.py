"""Decoded pictures in memory, batched by slicing; and decoding many of them."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from tipsai.core.errors import DataError
from tipsai.core.state import Batch
from tipsai.data.block import Block
from tipsai.data.workers import default_workers

TINY = 64 * 64  # pixels, whose decoding mostly holds Python's lock: two threads took a third longer than one


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


def decode_all(block: Block, items: Sequence[Any]) -> tuple[list[Tensor | None], dict[int, str]]:
    """Encodes all items, in threads unless they are tiny: Pillow decodes without holding Python's lock.

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

    first = encode(range(len(items))[:1])
    tiny = any(picture is not None and picture[0].numel() <= TINY for picture in first)
    n_threads = 1 if tiny else max(1, default_workers() + 1)
    each = max(1, min(256, -(-len(items) // n_threads)))
    chunks = [range(start, min(start + each, len(items))) for start in range(1, len(items), each)]
    with ThreadPoolExecutor(n_threads) as pool:
        parts = [first, *pool.map(encode, chunks)]
    return [picture for part in parts for picture in part], dict(sorted(problems.items()))
