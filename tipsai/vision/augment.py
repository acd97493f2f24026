"""Augmentation of a batch of pictures on its device: one warp, one colour matrix, one erasing (DA07, DA11, DA17)."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from tipsai.core.device import sent
from tipsai.core.errors import SettingError
from tipsai.core.state import Batch
from tipsai.data.loaders import Draw
from tipsai.vision import geometry, sample
from tipsai.vision.geometry import Size
from tipsai.vision.sample import Padding
from tipsai.vision.view import View, pictures

_SHARES = ("flip", "translate", "p_warp", "brightness", "contrast", "saturation", "p_colour", "erase")
_AT_MOST = dict.fromkeys(_SHARES, 1.0) | {"rotate": 180.0, "perspective": 0.5, "hue": 0.5}
_RANGES = {"scale": (0, 1), "ratio": (0, math.inf), "erase_area": (0, 1)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """What training pictures go through; 0 (or a zoom of 1, a scale of (1, 1)) leaves a transform out.

    Attributes:
        flip: probability of mirroring left and right (Krizhevsky et al. 2012); at 1/2 in turn, every other epoch.
        rotate: degrees at most, either way (fastai's aug_transforms).
        zoom: factor at most, about the centre (fastai's aug_transforms).
        perspective: how far a corner moves inwards at most, as a share of half the side (torchvision's distortion_scale;
            its strength is fastai's max_warp).
        translate: shift at most, as a share of the side, by whole pixels; 1/8 is the 4 of 32 of He et al. 1512.03385.
        p_warp: probability of each of rotation, zoom and perspective (fastai's p_affine).
        scale: least and largest share of the picture's area that is cut out and resized (Szegedy et al. 1409.4842; fastai's
            RandomResizedCrop has 0.35).
        ratio: least and largest stretch of the content's aspect (Szegedy et al. 1409.4842).
        brightness: factor of 1 - this .. 1 + this (fastai's max_lighting, as of the next).
        contrast: likewise.
        saturation: likewise; of three channels only.
        hue: turn at most, either way, as a share of the circle; of three channels only.
        p_colour: probability of each of the four (fastai's p_lighting).
        erase: probability of painting a rectangle with the mean colour (Zhong et al. 1708.04896).
        erase_area: least and largest share of the picture's area that it takes (ibid.).
        padding: what is seen beyond the edges: "reflection", "border" or "zeros".

    Raises:
        SettingError: a value is out of range.
    """

    flip: float = 0.5
    rotate: float = 10.0
    zoom: float = 1.1
    perspective: float = 0.2
    translate: float = 0.0
    p_warp: float = 0.75
    scale: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.0
    hue: float = 0.0
    p_colour: float = 0.75
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.33)
    padding: Padding = "reflection"

    def __post_init__(self) -> None:
        for name, most in _AT_MOST.items():
            if not 0 <= getattr(self, name) <= most:
                raise SettingError(f"{name} is {getattr(self, name)!r}; expected a number in 0..{most:g}.")
        for name, (low, high) in _RANGES.items():
            pair = getattr(self, name)
            if len(pair) != 2 or not low < pair[0] <= pair[1] <= high:
                raise SettingError(
                    f"{name} is {pair!r}; expected two numbers above {low}, the smaller one first, at most {high}."
                )
        if not 1 <= self.zoom < math.inf:
            raise SettingError(f"zoom is {self.zoom!r}; expected a factor of at least 1, such as 1.1.")
        if self.padding not in ("reflection", "border", "zeros"):
            raise SettingError(f"padding is {self.padding!r}; expected 'reflection', 'border' or 'zeros'.")

    @classmethod
    def small(cls, **changes: Any) -> Self:
        """For small pictures: flips and shifts by whole pixels, which blur nothing (He et al. 1512.03385, section 4.2)."""
        plain: dict[str, Any] = {
            "rotate": 0.0,
            "zoom": 1.0,
            "perspective": 0.0,
            "scale": (1.0, 1.0),
            "ratio": (1.0, 1.0),
        }
        return cls(**(plain | {"brightness": 0.0, "contrast": 0.0, "translate": 1 / 16} | changes))


OFF = Augmentation(
    flip=0,
    rotate=0,
    zoom=1,
    perspective=0,
    translate=0,
    p_warp=1,
    scale=(1, 1),
    ratio=(1, 1),
    brightness=0,
    contrast=0,
    saturation=0,
    hue=0,
    p_colour=1,
)
"""Settings that leave every transform out."""


class Drawn(NamedTuple):
    """The parameters of one batch, each [b] unless said otherwise, on the CPU."""

    flip: Tensor  # bool
    degrees: Tensor
    zoom: Tensor
    corners: Tensor  # [b, 4, 2], where the corners come to lie
    shift: Tensor  # [b, 2] uniform numbers, for whole pixels by the picture's size
    crop: Tensor  # [b, 4] uniform numbers, see geometry.crop_boxes
    brightness: Tensor  # factors, as the next two
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    erase: Tensor  # [b, 4]: left, top, right and bottom in coordinates; empty where nothing is erased


def draw_parameters(
    settings: Augmentation, b: int, size: Size, generator: torch.Generator, flip_b: Tensor | None = None
) -> Drawn:
    """Parameters for b pictures.

    Each picture has its own row of uniform numbers and each parameter its own column: neither the number of pictures that
    follow nor another setting changes what is drawn.

    Args:
        settings: what may be drawn.
        b: pictures.
        size: (height, width) of the output.
        generator: on the CPU.
        flip_b: uniform numbers that decide on mirroring, in place of drawn ones; see Draw.alternating.
    """
    u = torch.rand(b, 36, generator=generator)
    flip_b = u[:, 0] if flip_b is None else flip_b

    def either_way(most: float, column: int) -> Tensor:
        return most * (2 * u[:, column] - 1)

    def if_drawn(p: float, column: int, value: Tensor, otherwise: Tensor | float) -> Tensor:
        return torch.where((u[:, column] < p).view(-1, *[1] * (value.ndim - 1)), value, otherwise)

    s = settings
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    factors = [
        if_drawn(s.p_colour, 21 + i, 1 + either_way(most, 25 + i), 1.0)
        for i, most in enumerate((s.brightness, s.contrast, s.saturation))
    ]
    rectangles = geometry.crop_boxes(u[:, 29:33], size[1] / size[0], s.erase_area, (0.3, 3.3))
    return Drawn(
        flip=flip_b < s.flip,
        degrees=if_drawn(s.p_warp, 1, either_way(s.rotate, 2), 0.0),
        zoom=if_drawn(s.p_warp, 3, 1 + (s.zoom - 1) * u[:, 4], 1.0),
        corners=if_drawn(s.p_warp, 5, corners * (1 - s.perspective * u[:, 6:14].view(-1, 4, 2)), corners),
        shift=u[:, 14:16],
        crop=u[:, 16:20],
        brightness=factors[0],
        contrast=factors[1],
        saturation=factors[2],
        hue=if_drawn(s.p_colour, 24, either_way(s.hue, 28), 0.0),
        erase=if_drawn(s.erase, 20, rectangles, 0.0),
    )


def matrix(settings: Augmentation, drawn: Drawn, sizes_b2: Tensor, size: Size) -> Tensor:
    """The geometry of what was drawn, as one homography from output to input coordinates: [b, 3, 3].

    Args:
        settings: what is off is left out, so that flips and shifts alone stay exact.
        drawn: on the device of sizes_b2.
        sizes_b2: (h, w) of the pictures.
        size: of the output.
    """
    aspect_b = geometry.aspects(sizes_b2)
    steps = [geometry.flip(drawn.flip)]
    if settings.rotate:
        steps.append(geometry.rotation(drawn.degrees, aspect_b))
    if settings.zoom > 1:
        steps.append(geometry.zoom(drawn.zoom))
    if settings.perspective:
        steps.append(geometry.perspective(drawn.corners))
    if settings.translate:
        sides_b2 = sizes_b2.flip(1)
        most_b2 = (settings.translate * sides_b2 + 0.5).floor()
        pixels_b2 = (drawn.shift * (2 * most_b2 + 1)).floor() - most_b2
        steps.append(geometry.translation(2 * pixels_b2 / sides_b2))
    boxes_b4 = geometry.crop_boxes(drawn.crop, aspect_b * size[0] / size[1], settings.scale, settings.ratio)
    return geometry.compose(*steps, geometry.crop(boxes_b4))


def erase(x_bchw: Tensor, boxes_b4: Tensor, value: float = 0.0) -> Tensor:
    """Paints a rectangle in each picture, in place.

    Args:
        x_bchw: normalised pictures, of which 0 is the mean colour.
        boxes_b4: left, top, right and bottom in coordinates -1..1; nothing is painted where left is right.
        value: of the paint.
    """
    h, w = x_bchw.shape[2:]
    left, top, right, bottom = sent(boxes_b4, x_bchw.device)[:, :, None].unbind(1)
    u_w, v_h = ((torch.arange(n, device=x_bchw.device) + 0.5) * (2 / n) - 1 for n in (w, h))
    columns_bw, rows_bh = (left <= u_w) & (u_w < right), (top <= v_h) & (v_h < bottom)
    return x_bchw.masked_fill_((rows_bh[:, :, None] & columns_bw[:, None])[:, None], value)


class Augment:
    """Draws, warps, colours and erases training batches; evaluation gets the plain view.

    What a picture undergoes is a function of the run's seed, the epoch, the batch's position, and the picture's place in
    the batch. Mirroring depends on the seed, the epoch and the picture itself: with probability 1/2, each picture is
    mirrored in every other epoch (Draw.alternating).

    Args:
        settings: None for the plain view in training too.
        plain: the view of evaluation; training sees pictures of its size, too.
    """

    on_host = View.on_host

    def __init__(self, settings: Augmentation | None, plain: View) -> None:
        self.settings, self.plain = settings, plain
        self.training = self.plain  # of another size while pictures grow; see progressive.Progressive

    def __call__(self, batch: Batch, draw: Draw | None) -> Batch:
        if draw is None:
            return self.plain(batch)
        if self.settings is None:
            return self.training(batch)
        x_bchw, sizes_b2 = pictures(batch)
        size = self.training.size
        with sample.one_thread():
            drawn = draw_parameters(
                self.settings, len(x_bchw), size, draw.generator("augment"), draw.alternating("flip")
            )
            drawn = Drawn(*(sent(parameter, sizes_b2.device) for parameter in drawn))
            m_b33 = matrix(self.settings, drawn, sizes_b2, size)
        factors = {
            f"{name}_b": getattr(drawn, name)
            for name in ("brightness", "contrast", "saturation", "hue")
            if getattr(self.settings, name)
        }
        made = self.training.show(batch, x_bchw, m_b33, sizes_b2, self.settings.padding, factors)
        if self.settings.erase:
            erase(made.x[0], drawn.erase)
        return made
