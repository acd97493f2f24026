"""Views of a batch of pictures: brought to the size that the model sees, with their targets, and normalised (DA07).

Evaluation and test-time augmentation look through views; training looks through one at random (see augment.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tipsai.core.device import sent
from tipsai.core.errors import DataError, SettingError
from tipsai.core.state import IGNORED, Batch
from tipsai.data.loaders import BatchTransform, Draw
from tipsai.vision import colour, geometry, sample
from tipsai.vision.geometry import Size
from tipsai.vision.sample import Padding

SMALL_SIDE = 96  # pixels; smaller pictures are not interpolated where it can be avoided (DA03)
Kind = Literal["label", "mask", "points"]  # what a warp of the picture does to its target


@dataclass(frozen=True)
class View:
    """The same view of every picture, as evaluation needs: brought to size, and normalised.

    A batch's x is (canvas,) or (canvas, sizes): [b, c, H, W] uint8 or float 0..1, and int64 [b, 2] (h, w) of the picture in
    the top-left corner of each canvas. It becomes (pictures,): float [b, c, *size].

    Args:
        size: (height, width) of what the model sees, in pixels.
        mean: of each channel, for pixels of 0..1.
        std: likewise.
        kind: what the target is. A "mask" [b, 1, H, W] or [b, H, W], with or without sizes, becomes int64 [b, *size];
            "points" float [b, n, 2] or [b, 2n], (x, y) in -1..1 of the picture, go where the picture goes; a "label" stays.
        view: how a picture of another shape is brought to size: "crop" takes the middle, "squish" squeezes the whole, "pad"
            leaves room beside it.
        fill: a mask's value where it shows nothing.
        flip: mirrored left and right.
        zoom: factor about the middle.
        shift: (x, y) of the content, right and down, as shares of half a side.
    """

    on_host: ClassVar = (1,)  # the sizes: matrices are worked out where nothing waits for a device
    size: Size
    mean: Sequence[float]
    std: Sequence[float]
    kind: Kind = "label"
    view: str = "crop"
    fill: int = IGNORED
    flip: bool = False
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name, known in (("kind", ("label", "mask", "points")), ("view", ("crop", "squish", "pad"))):
            if getattr(self, name) not in known:
                raise SettingError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(map(repr, known))}.")

    def matrix(self, sizes_b2: Tensor) -> Tensor:
        """From output to input coordinates: [b, 3, 3]."""
        one_b = torch.ones(len(sizes_b2), device=sizes_b2.device)
        fit = {"crop": geometry.centre_crop, "pad": geometry.pad}.get(self.view, _squish)(sizes_b2, self.size)
        shift_b2 = one_b[:, None] * one_b.new_tensor(self.shift)
        moves = (geometry.flip(one_b * self.flip), geometry.zoom(self.zoom * one_b), geometry.translation(shift_b2))
        return geometry.compose(fit, *moves)

    def __call__(self, batch: Batch, draw: Draw | None = None) -> Batch:
        x_bchw, sizes_b2 = pictures(batch)
        with sample.one_thread():
            m_b33 = self.matrix(sizes_b2)
        return self.show(batch, x_bchw, m_b33, sizes_b2, "zeros" if self.view == "pad" else "reflection")

    def undo(self, pred: Tensor) -> Tensor:
        """What was predicted of this view, as of one that is not mirrored; [b, classes, h, w] of masks, others as they are."""
        return pred.flip(-1) if self.flip and self.kind == "mask" else pred

    def show(
        self,
        batch: Batch,
        x_bchw: Tensor,
        m_b33: Tensor,
        sizes_b2: Tensor,
        padding: Padding,
        factors: dict[str, Tensor] | None = None,
    ) -> Batch:
        """A batch through a homography, colour factors (see colour.jitter), and the normalisation."""
        top = 1.0 if x_bchw.is_floating_point() else 255.0
        x_bchw = sample.warp(x_bchw, m_b33, self.size, sizes_b2, padding=padding)
        factors = {name: sent(factor_b, x_bchw.device) for name, factor_b in (factors or {}).items()}
        with sample.one_thread():
            mean_bc = x_bchw.mean((2, 3)) / top if factors else x_bchw.new_zeros(x_bchw.shape[:2])
            changed = colour.jitter(mean_bc, **factors)
        x_bchw = colour.apply(x_bchw, changed, self.mean, self.std, top=top, overwrite=True)
        return Batch((x_bchw,), self._target(batch.y, m_b33, padding))

    def _target(self, y: tuple[Tensor, ...], m_b33: Tensor, padding: Padding) -> tuple[Tensor, ...]:
        if not y or self.kind == "label":
            return y
        if self.kind == "points":
            points = geometry.warp_points(y[0].reshape(len(y[0]), -1, 2), m_b33)
            return (points.reshape(y[0].shape), *y[1:])
        mask_b1hw = y[0] if y[0].ndim == 4 else y[0][:, None]
        warped = sample.warp(
            mask_b1hw, m_b33, self.size, *y[1:2], interpolation="nearest", padding=padding, fill=self.fill
        )
        return (warped[:, 0].long(),)


def views(plain: View, *, flip: bool = True) -> list[BatchTransform]:
    """Views whose predictions are averaged at test time (TTA): plain, and moved to either side, nearer where that blurs little.

    Pictures of up to 96 pixels move by one pixel along both diagonals, which is exact; zooming would blur them. Masks are
    mirrored alone, which undoes exactly, so that every pixel is judged where it is.

    Args:
        plain: the view of evaluation.
        flip: each mirrored as well; not where left and right differ in meaning.
    """
    moves: list[tuple[float, tuple[float, float]]] = [(1.0, (0.0, 0.0))]
    if plain.kind != "mask" and max(plain.size) <= SMALL_SIDE:
        down, right = 2 / plain.size[0], 2 / plain.size[1]
        moves += [(1.0, (right, down)), (1.0, (-right, -down))]
    elif plain.kind != "mask":
        moves += [(1.1, (0.0, 0.0)), (1.1, (0.09, 0.0)), (1.1, (-0.09, 0.0))]
    return [
        replace(plain, flip=mirrored, zoom=zoom, shift=shift)
        for zoom, shift in moves
        for mirrored in ((False, True) if flip else (False,))
    ]


def _squish(sizes_b2: Tensor, size: Size) -> Tensor:
    return geometry.whole(sizes_b2)


def pictures(batch: Batch) -> tuple[Tensor, Tensor]:
    """The canvas and the sizes of its pictures, where they were given, else its own."""
    x_bchw = batch.x[0]
    if len(batch.x) > 2 or x_bchw.ndim != 4:
        raise DataError(
            f"x has the shapes {[tuple(t.shape) for t in batch.x]}; expected pictures [b, c, h, w] and perhaps their sizes [b, 2]."
        )
    if len(batch.x) == 2:
        return x_bchw, batch.x[1]
    return x_bchw, torch.tensor([x_bchw.shape[2:]]).expand(len(x_bchw), 2)
