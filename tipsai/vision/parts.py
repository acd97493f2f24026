"""The pictures and targets of a split, from what was given to what can be trained on."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tipsai.core.errors import DataError
from tipsai.core.finding import Finding
from tipsai.data.split import random_split, stratified_split
from tipsai.vision import defaults
from tipsai.vision.blocks import ImageBlock
from tipsai.vision.read import PictureError, check, probe, read_image, reduction, shown
from tipsai.vision.rows import decode_all

LOOKED_AT = 300  # pictures whose headers tell what all are like


@dataclass(frozen=True, slots=True)
class Part:
    """The pictures and targets of one split.

    Attributes:
        items: paths, or pictures in memory.
        targets: of each item.
        pictures: the items decoded, uint8 [c, h, w] each, where they are kept in memory.
    """

    items: Sequence[Any]
    targets: Sequence[Any]
    pictures: Sequence[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def at(self, index: Iterable[int]) -> "Part":
        chosen = [int(i) for i in index]
        pictures = None if self.pictures is None else [self.pictures[i] for i in chosen]
        return Part([self.items[i] for i in chosen], [self.targets[i] for i in chosen], pictures)


class Look(NamedTuple):
    """What a sample of pictures is like."""

    sizes: list[tuple[int, int]]  # (height, width) of each
    channels: int  # 1 where all are grey, else 3

    @property
    def side(self) -> int:
        """The shorter side of the middle one, in pixels."""
        return int(np.median([min(shape) for shape in self.sizes]))

    def bytes_each(self, at_least: int | None) -> float:
        """Memory of one picture, read for that shorter side, on average."""
        pixels = [h * w / reduction(h, w, at_least) ** 2 for h, w in self.sizes]
        return float(np.mean(pixels)) * self.channels


def look(items: Sequence[Any]) -> Look:
    """Reads the headers of up to 300 items, evenly spaced.

    Raises:
        DataError: none of them can be read.
    """
    sizes, channels, reasons = [], 1, []
    for i in np.unique(np.linspace(0, len(items) - 1, LOOKED_AT).astype(int)):
        item = items[int(i)]
        if isinstance(item, Tensor):
            sizes.append((item.shape[1], item.shape[2]))
            channels = max(channels, min(item.shape[0], 3))
            continue
        try:
            found = probe(item)
        except PictureError as error:
            reasons.append(str(error))
            continue
        sizes.append((found.height, found.width))
        channels = max(channels, 1 if found.channels <= 2 else 3)
    if not sizes:
        raise DataError(f"none of the pictures can be read. {reasons[0]}")
    return Look(sizes, channels)


def read(part: Part, block: ImageBlock, kept: bool) -> tuple[Part, dict[str, str]]:
    """Finds what cannot be read, leaves it out, and decodes the rest where it is to be kept in memory.

    Returns:
        what can be trained on, and the reasons of the rest by their paths.
    """
    if part.pictures is not None:  # in memory they came
        alike = all(p.shape[0] == block.channels for p in part.pictures)
        pictures = part.pictures if alike else [read_image(p, block.channels) for p in part.pictures]
        return Part(part.items, part.targets, pictures), {}
    if kept:
        decoded, reasons = decode_all(block, part.items)
        good = [i for i, picture in enumerate(decoded) if picture is not None]
        named = {str(part.items[i]): reason for i, reason in reasons.items()}
        return Part(part.items, part.targets, decoded).at(good), named  # type: ignore[arg-type]
    faults = dict(check(part.items))
    good = [i for i, item in enumerate(part.items) if os.fspath(item) not in faults]
    return part.at(good) if faults else part, faults


def sound(part: Part) -> tuple[Part, dict[str, str]]:
    """A part without the pictures whose masks cannot be read, and the reasons by the masks' paths."""
    faults = dict(check([mask for mask in part.targets if isinstance(mask, str | os.PathLike)]))
    kept = [
        i
        for i, mask in enumerate(part.targets)
        if not isinstance(mask, str | os.PathLike) or os.fspath(mask) not in faults
    ]
    return part.at(kept) if faults else part, faults


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
        fix="Replace or delete them.",
    )


def planes(pictures: Any) -> Tensor:
    """Pictures in memory as uint8 [n, c, h, w].

    Raises:
        DataError: they are no bytes, or of another shape.
    """
    try:
        x = pictures if isinstance(pictures, Tensor) else torch.from_numpy(np.array(pictures))
    except ValueError:
        raise DataError(
            "the pictures have several shapes; expected one array [n, h, w, c]. Bring them to one size, or give files by "
            "from_folder or from_df, where sizes may differ."
        ) from None
    if x.dtype != torch.uint8:
        raise DataError(
            f"the pictures are of type {x.dtype}; expected uint8, 0 to 255. Scale them and write .astype('uint8')."
        )
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[1] in (1, 3, 4):
        return x
    if x.ndim == 4 and x.shape[3] in (1, 3, 4):
        return x.permute(0, 3, 1, 2).contiguous()
    raise DataError(
        f"the pictures have shape {list(x.shape)}; expected [n, h, w], [n, c, h, w] or [n, h, w, c] with 1, 3 or 4 channels."
    )


def split(train: Part, task: str, valid: float | None, seed: int) -> dict[str, Part]:
    """A share of the training pictures validates, defaults.valid_share of them if None; of every class in proportion."""
    by_class = task == "classification"
    if valid is None:
        valid = defaults.valid_share(len(train), len(set(train.targets)) if by_class else 0)
    chosen = (
        stratified_split(train.targets, valid, seed=seed) if by_class else random_split(len(train), valid, seed=seed)
    )
    parts = {"train": train.at(chosen.train)}
    return parts | ({"valid": train.at(chosen.valid)} if len(chosen.valid) else {})
