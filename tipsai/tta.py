"""Test-time augmentation: a model that looks at several views of an item and averages what it sees."""

import functools
import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tipsai.core.errors import SettingError
from tipsai.core.state import Batch
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import BatchTransform, Draw, on_host, transformed


class Views:
    """A batch transform that makes a batch's inputs several views of it: x is (view 1, view 2, ...).

    Args:
        views: each a chain of batch transforms, without randomness.
    """

    def __init__(self, views: Sequence[Sequence[BatchTransform]]) -> None:
        self.views = views
        self.on_host = on_host(itertools.chain.from_iterable(views))

    def __call__(self, batch: Batch, draw: Draw | None) -> Batch:
        seen = [transformed(batch, chain, draw) for chain in self.views]
        return Batch(tuple(view.x[0] for view in seen), seen[0].y)


class Averaged(nn.Module):
    """A model called with several views.

    Args:
        model: called with each view.
        average: from predictions [views, b, ...] to [b, ...].
        back: for each view, from what is predicted of it to what that says of the item.
    """

    def __init__(
        self, model: nn.Module, average: Callable[[Tensor], Tensor], back: Sequence[Callable[[Tensor], Tensor]]
    ) -> None:
        super().__init__()
        self.model, self.average, self.back = model, average, back

    def forward(self, *views: Tensor) -> Tensor:
        seen = [back(self.model(view).float()) for back, view in zip(self.back, views, strict=True)]
        return self.average(torch.stack(seen))


def _back(chain: Sequence[BatchTransform]) -> Callable[[Tensor], Tensor]:
    """Undoes to predictions what transforms with an `undo` did to the items, the last one first."""
    undos = [transform.undo for transform in reversed(chain) if hasattr(transform, "undo")]
    return lambda pred: functools.reduce(lambda done, undo: undo(done), undos, pred)


def averaged(dls: DataLoaders, model: nn.Module) -> tuple[nn.Module, tuple[BatchTransform, ...]]:
    """The model and the batch transforms with which a split is judged under test-time augmentation.

    Raises:
        SettingError: the data have no views.
    """
    if not dls.views or dls.blocks is None:
        raise SettingError(
            "these data have no views to average over; test-time augmentation is for pictures with labels, numbers, or masks that "
            "may be mirrored."
        )
    return Averaged(model, dls.blocks[1].average, [_back(chain) for chain in dls.views]), (Views(dls.views),)
