"""What is to be learned of pictures: told from the targets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from tipsai.core.errors import SettingError, listing, nearest
from tipsai.data.block import Block, CategoryBlock, MultiCategoryBlock, RegressionBlock
from tipsai.vision.blocks import MaskBlock, PointBlock
from tipsai.vision.read import probe

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
    if task is not None:
        if task not in TASKS:
            raise SettingError(f"there is no task {task!r}.{nearest(task, TASKS)} Expected {listing(TASKS)}.")
        return task
    first = targets[0]
    if isinstance(first, list | tuple | set | frozenset | np.ndarray):
        return "multilabel" if all(isinstance(v, str) for v in first) else "regression"
    if any(isinstance(t, float | np.floating) and not float(t).is_integer() for t in targets):
        return "regression"
    return "classification"


def target_block(task: str, targets: Sequence[Any]) -> Block:
    """A target's block, unfitted."""
    if task == "classification":
        return CategoryBlock()
    if task == "multilabel":
        return MultiCategoryBlock()
    if task == "segmentation":
        return MaskBlock()
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
        found = probe(path)
        halves = [found.width / 2, found.height / 2] * (len(target) // 2)
        made.append([float(value) / half - 1 for value, half in zip(target, halves, strict=True)])
    return made
