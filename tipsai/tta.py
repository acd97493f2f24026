"""Test-time augmentation: a model that looks at several views of an item and averages what it sees."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tipsai.core.errors import SettingError
from tipsai.core.state import Batch
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import BatchTransform, Draw, transformed


class Views:
    """A batch transform that makes a batch's inputs several views of it: x is (view 1, view 2, ...).

    Args:
        views: each a chain of batch transforms, without randomness.
    """

    def __init__(self, views: Sequence[Sequence[BatchTransform]]) -> None:
        self.views = views

    def __call__(self, batch: Batch, draw: Draw | None) -> Batch:
        seen = [transformed(batch, chain, draw) for chain in self.views]
        return Batch(tuple(view.x[0] for view in seen), seen[0].y)


class Averaged(nn.Module):
    """A model called with several views.

    Args:
        model: called with each view.
        average: from predictions [views, b, ...] to [b, ...].
    """

    def __init__(self, model: nn.Module, average: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.average = model, average

    def forward(self, *views: Tensor) -> Tensor:
        return self.average(torch.stack([self.model(view).float() for view in views]))


def averaged(dls: DataLoaders, model: nn.Module) -> tuple[nn.Module, tuple[BatchTransform, ...]]:
    """The model and the batch transforms with which a split is judged under test-time augmentation.

    Raises:
        SettingError: the data have no views.
    """
    if not dls.views or dls.blocks is None:
        raise SettingError(
            "these data have no views to average over; test-time augmentation is for pictures with labels or numbers."
        )
    return Averaged(model, dls.blocks[1].average), (Views(dls.views),)
