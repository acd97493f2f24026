"""CutMix: a rectangle of another picture, and its label by the rectangle's area (TR03)."""

from typing import Any

import torch
from torch import Tensor

from tipsai.callbacks.mixup import MixesTargets, Mixing, beta
from tipsai.core import rng
from tipsai.core.device import sent
from tipsai.core.errors import SettingError
from tipsai.core.state import Batch, TrainState


def draw_boxes(
    n: int, height: int, width: int, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Partners, rectangles and shares of a CutMix.

    Args:
        n: pictures.
        height: of each, in pixels.
        width: likewise.
        alpha: of Beta(alpha, alpha), the share of the area that stays before the picture's edges cut the rectangle.
        generator: on the CPU.

    Returns:
        perm int64 [n]; boxes int64 [n, 4] as (top, left, bottom, right), the last two excluded; lam float32 [n], the
        exact share of pixels that stay.
    """
    side = (1 - beta(n, alpha, generator)).sqrt()
    whole = torch.tensor([height, width], dtype=torch.float64)
    centre = torch.rand(n, 2, generator=generator, dtype=torch.float64) * whole
    half = side[:, None] * whole / 2
    limits = torch.tensor([height, width])
    low = (centre - half).round().long().clamp(min=0)
    high = torch.minimum((centre + half).round().long(), limits)
    area = (high - low).clamp(min=0).prod(1)
    lam = (1 - area.double() / (height * width)).float()
    return torch.randperm(n, generator=generator), torch.cat([low, high], 1), lam


def paste(x: Tensor, perm: Tensor, boxes: Tensor) -> Tensor:
    """Each picture with the pixels of its box taken from the picture that perm names: [b, c, h, w].

    Source: Yun et al. 1905.04899.
    """
    rows = torch.arange(x.shape[2], device=x.device)
    columns = torch.arange(x.shape[3], device=x.device)
    top, left, bottom, right = boxes.T[:, :, None]
    inside = ((rows >= top) & (rows < bottom))[:, None, :, None] & ((columns >= left) & (columns < right))[
        :, None, None
    ]
    return torch.where(inside, x[perm], x)


class CutMix(Mixing):
    """Puts a rectangle of another picture into each training picture, and mixes the targets by its area.

    Args:
        target: the target's block, which knows how its values mix; such as dls.blocks[1] or CategoryBlock(range(10)).
        alpha: of Beta(alpha, alpha); 1 draws all areas alike.
        p: the probability that a batch is mixed.
        fewest_epochs: see Mixing.
    """

    def __init__(
        self, target: MixesTargets | Any, alpha: float = 1.0, p: float = 1.0, *, fewest_epochs: int = 0
    ) -> None:
        super().__init__(target, alpha, fewest_epochs)
        if not 0 < p <= 1:
            raise SettingError(f"p is {p!r}; expected a probability above 0, at most 1.")
        self.p = p

    def config(self) -> dict[str, Any]:
        return super().config() | {"p": self.p}

    def before_batch(self, st: TrainState) -> None:
        batch = st.batch
        assert batch is not None
        if not self.on:
            return
        x = batch.x[0]
        if x.ndim != 4:
            raise SettingError(f"CutMix got inputs of shape {list(x.shape)}; expected pictures [b, c, h, w].")
        source = rng.generator(st.seed, "cutmix", st.total_epoch, st.step_in_epoch, st.micro)
        if self.p < 1 and float(torch.rand((), generator=source)) >= self.p:
            return
        drawn = draw_boxes(batch.n_rows, x.shape[2], x.shape[3], self.alpha, source)
        perm, boxes, lam = (sent(t, st.device) for t in drawn)
        st.batch = Batch((paste(x, perm, boxes), *batch.x[1:]), self.target.mix_targets(batch.y, perm, lam))
