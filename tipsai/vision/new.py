"""New pictures, to be predicted: in any form, and whatever some of them are."""

import io
import logging
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tipsai.core.errors import DataError
from tipsai.core.state import Batch
from tipsai.data.loaders import check_bs
from tipsai.vision import folders
from tipsai.vision.blocks import ImageBlock
from tipsai.vision.parts import planes, unreadable
from tipsai.vision.read import shown
from tipsai.vision.rows import decode_all

log = logging.getLogger("tipsai")

WHOLE = (bytes, bytearray, memoryview, os.PathLike, io.IOBase)  # iterable in part, and yet one picture, or none at all


def as_items(given: Any) -> list[Any]:
    """New pictures one by one: of a folder, a path, PIL pictures or arrays, or several of these in anything iterable.

    Raises:
        DataError: there is no such file, no picture in the folder, or a table in place of its column.
    """
    if isinstance(given, str | Path):
        if not Path(given).exists():
            raise DataError(f"there is no file or folder {given}. Check the path.")
        return folders.list_pictures(given) if Path(given).is_dir() else [given]
    if isinstance(given, pd.DataFrame):
        raise DataError(
            "a table is given, which may hold more than pictures; give the column of their paths: df['path']."
        )
    if isinstance(given, Tensor | np.ndarray):
        channels = given.shape[0 if isinstance(given, Tensor) else -1]
        one = given.ndim == 2 or (given.ndim == 3 and channels in (1, 3, 4))
        return [given] if one else list(planes(given))
    return list(given) if isinstance(given, Iterable) and not isinstance(given, WHOLE) else [given]


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

    def order(self, seed: int, epoch: int) -> Tensor:
        return torch.arange(self.n_items)

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


def emptied(values: Sequence[Any], places: Container[int]) -> Any:
    """A column with nothing at these places: NaN among floats, else None, which leaves the others' type alone."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return np.where([i in places for i in range(len(values))], np.nan, values)
    made = np.empty(len(values), object)
    for i, value in enumerate(values):
        made[i] = None if i in places else value
    return made
