"""What is to be learned of pictures: told from the targets."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tipsai.core.errors import SettingError, listing, nearest
from tipsai.data.block import Block, CategoryBlock, MultiCategoryBlock, RegressionBlock
from tipsai.vision import geometry
from tipsai.vision.blocks import ImageBlock, MaskBlock, PointBlock
from tipsai.vision.read import PictureError, probe

TASKS = ("classification", "multilabel", "regression", "points", "segmentation")
TASK_OF: dict[type[Block], str] = {
    CategoryBlock: "classification",
    MultiCategoryBlock: "multilabel",
    RegressionBlock: "regression",
    PointBlock: "points",
    MaskBlock: "segmentation",
}


def infer_task(targets: Sequence[Any], task: str | None) -> str:
    """What to learn: as given, or told from the targets' type.

    Numbers with a fractional part are regression; whole numbers and words are classes; collections of words several labels.

    Raises:
        SettingError: there is no such task.
    """
    first = targets[0]
    if task is not None:
        if task not in TASKS:
            raise SettingError(f"there is no task {task!r}.{nearest(task, TASKS)} Expected {listing(TASKS)}.")
        words = isinstance(first, str) or (isinstance(first, list | tuple) and any(isinstance(v, str) for v in first))
        if task in ("regression", "points") and words:
            raise SettingError(
                f"task is {task!r}, and the targets are words, such as {first!r}; expected numbers. Leave task out, or give others."
            )
        return task
    if isinstance(first, list | tuple | set | frozenset | np.ndarray):
        return "multilabel" if all(isinstance(v, str) for v in first) else "regression"
    if any(isinstance(t, float | np.floating) and not float(t).is_integer() for t in targets):
        return "regression"
    return "classification"


def target_block(task: str, targets: Sequence[Any]) -> Block:
    """A target's block, unfitted; masks, which have settings of their own, are not among them."""
    if task == "classification":
        return CategoryBlock()
    if task == "multilabel":
        return MultiCategoryBlock()
    n = int(np.size(targets[0]))
    if task == "points":
        return PointBlock([f"point{i}" for i in range(n // 2)])
    return RegressionBlock([f"value{i}" for i in range(n)] if n > 1 else ("",))


def one_by_one(targets: Any) -> list[Any]:
    """Targets one by one, as Python's own values where they are numbers."""
    if isinstance(targets, Tensor):
        targets = targets.cpu().numpy()
    if isinstance(targets, np.ndarray):
        return targets.tolist() if targets.ndim == 1 else list(targets)
    return list(targets)


def points_of(target: str | Sequence[str]) -> list[str]:
    """The names of points from columns nose_x, nose_y, ...

    Raises:
        SettingError: the columns are not x and y of each point.
    """
    names = [target] if isinstance(target, str) else list(target)
    if len(names) < 2 or len(names) % 2:
        raise SettingError(f"points need two columns each, x and y; target names {listing(names)}.")
    return [name.removesuffix("x").rstrip("_. ") or f"point{i}" for i, name in enumerate(names[::2])]


def in_outline(paths: Sequence[str], targets: Sequence[Any]) -> list[list[float]]:
    """Points in pixels, (x, y, x, y, ...), as shares of the picture's outline: -1 is the left or upper edge, 1 the other."""
    made = []
    for path, target in zip(paths, targets, strict=True):
        try:
            found = probe(path)
        except PictureError:  # it is left out when all are read, and said
            made.append([0.0] * len(target))
            continue
        halves = [found.width / 2, found.height / 2] * (len(target) // 2)
        made.append([float(value) / half - 1 for value, half in zip(target, halves, strict=True)])
    return made


def in_pixels(columns: Mapping[str, Any], block: ImageBlock, items: Sequence[Any]) -> dict[str, Any]:
    """Columns of points, x and y in turn, from -1..1 of what the model sees to pixels of the pictures as they are.

    Args:
        columns: by name, each [n].
        block: how the model sees a picture.
        items: the n pictures; of one that cannot be read the points are not a number.
    """
    sizes = torch.tensor([_size(item) for item in items])
    shares_b2 = _seen(sizes, block)
    made = {}
    for i, (name, values) in enumerate(columns.items()):
        half = sizes[:, 1 - i % 2].numpy() / 2
        made[name] = np.where(half > 0, half * (1 + np.asarray(values) * shares_b2[:, i % 2]), np.nan)
    return made


def in_picture(mask: NDArray[Any], block: ImageBlock, item: Any) -> NDArray[Any]:
    """A mask of what the model sees as one of the picture as it is, of the same height and width: the nearest pixels.

    Where the model does not see the picture's edges, its own are continued.
    """
    size = _size(item)
    shares = _seen(torch.tensor([size]), block)[0][::-1]
    places = []
    for n, n_seen, share in zip(size, mask.shape, shares, strict=True):
        seen = ((np.arange(n) + 0.5) / n * 2 - 1) / share  # -1..1 of what the model sees
        places.append(((seen + 1) / 2 * n_seen).astype(int).clip(0, n_seen - 1))
    return mask[np.ix_(*places)]


def _seen(sizes_b2: Tensor, block: ImageBlock) -> NDArray[np.float32]:
    """The shares of the pictures' widths and heights that the model sees, [b, 2]; above 1 where there is room beside."""
    fit = {"crop": geometry.centre_crop, "pad": geometry.pad}.get(block.view)
    seen_b33 = geometry.whole(sizes_b2) if fit is None else fit(sizes_b2, block.size)
    shares: NDArray[np.float32] = seen_b33.diagonal(dim1=1, dim2=2)[:, :2].numpy()
    return shares


def _size(item: Any) -> tuple[int, int]:
    try:
        found = probe(item)
    except PictureError:
        return 0, 0
    return found.height, found.width
