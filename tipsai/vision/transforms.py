"""Single transforms of a batch of pictures, each a pure function that can be used alone."""

import torch
from torch import Tensor

from tipsai.vision import geometry
from tipsai.vision.geometry import Size
from tipsai.vision.sample import Padding, warp


def hflip(x_bchw: Tensor, flags_b: Tensor) -> Tensor:
    """Pictures mirrored where the flag is set: float [b, c, h, w], as of all these."""
    return warp(x_bchw, geometry.flip(flags_b), _size(x_bchw))


def rotate(x_bchw: Tensor, degrees_b: Tensor, padding: Padding = "reflection") -> Tensor:
    """Pictures turned counter-clockwise."""
    return warp(x_bchw, geometry.rotation(degrees_b, x_bchw.shape[3] / x_bchw.shape[2]), _size(x_bchw), padding=padding)


def magnify(x_bchw: Tensor, factor_b: Tensor, padding: Padding = "reflection") -> Tensor:
    """Pictures enlarged (factors above 1) or shrunk about their centres."""
    return warp(x_bchw, geometry.zoom(factor_b), _size(x_bchw), padding=padding)


def translate(x_bchw: Tensor, pixels_b2: Tensor, padding: Padding = "reflection") -> Tensor:
    """Pictures moved right and down by pixels (x, y); exact for whole ones."""
    sides_2 = torch.tensor([x_bchw.shape[3], x_bchw.shape[2]], device=pixels_b2.device)
    return warp(x_bchw, geometry.translation(2 * pixels_b2 / sides_2), _size(x_bchw), padding=padding)


def distort(x_bchw: Tensor, corners_b42: Tensor, padding: Padding = "reflection") -> Tensor:
    """Pictures seen in perspective, their corners brought to these points."""
    return warp(x_bchw, geometry.perspective(corners_b42), _size(x_bchw), padding=padding)


def resized_crop(x_bchw: Tensor, boxes_b4: Tensor, size: Size) -> Tensor:
    """Boxes of the pictures at another size."""
    return warp(x_bchw, geometry.crop(boxes_b4), size)


def _size(x_bchw: Tensor) -> Size:
    return (x_bchw.shape[2], x_bchw.shape[3])
