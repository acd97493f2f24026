"""Geometry of pictures: every transform is a matrix, matrices multiply, and the picture is sampled once (DA07).

Coordinates are per picture, whatever its size: (-1, -1) is the top-left corner of its outline and (1, 1) the bottom-right
one, x first. A homography m_b33 maps coordinates of the output to coordinates of the input, so that the transform done
first stands leftmost in a product: compose(flip(...), rotation(...), crop(...)).

Pictures of several sizes share a canvas [b, c, H, W], each in the top-left corner; sizes_b2 holds their (h, w).
"""

import math
from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from tipsai.core.device import sent

Size = tuple[int, int]  # (height, width) in pixels


def _matrix(rows: Sequence[Sequence[Tensor | float]]) -> Tensor:
    """[b, 3, 3] from nine entries, each a number or [b]."""
    like = next(entry for row in rows for entry in row if isinstance(entry, Tensor))
    flat = [e.float() if isinstance(e, Tensor) else like.new_full((), e, dtype=torch.float32) for r in rows for e in r]
    b = len(next(entry for entry in flat if entry.ndim))
    return torch.stack([entry.expand(b) for entry in flat], -1).view(b, 3, 3)


def flip(flags_b: Tensor) -> Tensor:
    """Left becomes right where the flag is set: [b, 3, 3]."""
    return _matrix([[1.0 - 2.0 * flags_b, 0, 0], [0, 1, 0], [0, 0, 1]])


def rotation(degrees_b: Tensor, aspect: Tensor | float = 1.0) -> Tensor:
    """Counter-clockwise about the centre: [b, 3, 3].

    Args:
        degrees_b: angles.
        aspect: width / height of each picture, so that the rotation is rigid in pixels.
    """
    cos, sin = torch.deg2rad(degrees_b).cos(), torch.deg2rad(degrees_b).sin()
    return _matrix([[cos, -sin / aspect, 0], [sin * aspect, cos, 0], [0, 0, 1]])


def zoom(factor_b: Tensor) -> Tensor:
    """About the centre; factors above 1 enlarge: [b, 3, 3]."""
    return _matrix([[1 / factor_b, 0, 0], [0, 1 / factor_b, 0], [0, 0, 1]])


def translation(shift_b2: Tensor) -> Tensor:
    """The content moves right and down by shares of half a side, (x, y): [b, 3, 3]."""
    return _matrix([[1, 0, -shift_b2[:, 0]], [0, 1, -shift_b2[:, 1]], [0, 0, 1]])


def perspective(corners_b42: Tensor) -> Tensor:
    """The picture's corners come to lie at these points: [b, 3, 3].

    Args:
        corners_b42: coordinates for the top-left, top-right, bottom-right and bottom-left corner.
    """
    start_42 = corners_b42.new_tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    zero, one = torch.zeros_like(corners_b42[..., :1]), torch.ones_like(corners_b42[..., :1])
    point_b43 = torch.cat([corners_b42, one], -1)
    blank_b43 = zero.expand(-1, -1, 3)
    # Per corner two equations that are linear in the eight unknown entries: x (g u + h v + 1) = a u + b v + c, and so for y.
    x_rows = torch.cat([point_b43, blank_b43, -start_42[:, :1] * corners_b42], -1)
    y_rows = torch.cat([blank_b43, point_b43, -start_42[:, 1:] * corners_b42], -1)
    goal_b8 = torch.cat([start_42[:, 0], start_42[:, 1]]).expand(len(corners_b42), -1)
    entries_b8 = torch.linalg.solve(torch.cat([x_rows, y_rows], 1), goal_b8)
    return torch.cat([entries_b8, one[:, 0]], -1).view(-1, 3, 3)


def crop(boxes_b4: Tensor) -> Tensor:
    """The box fills the output: [b, 3, 3].

    Args:
        boxes_b4: (left, top, right, bottom) in coordinates; (-1, -1, 1, 1) is the whole picture.
    """
    left, top, right, bottom = boxes_b4.unbind(-1)
    half_width, half_height = (right - left) / 2, (bottom - top) / 2
    return _matrix([[half_width, 0, (left + right) / 2], [0, half_height, (top + bottom) / 2], [0, 0, 1]])


def crop_boxes(
    u_b4: Tensor, relative: Tensor | float, scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """Boxes of random area, shape and place, for crop: [b, 4].

    Args:
        u_b4: uniform numbers in 0..1, for the area, the shape, and the place in x and y.
        relative: the picture's aspect (w / h) over the output's.
        scale: least and largest share of the picture's area.
        ratio: least and largest stretch of the content's aspect; (1, 1) keeps shapes as they are.

    A box that would be wider or higher than the picture is made smaller, as a whole.

    Source: Szegedy et al. 1409.4842, section 6, there drawn until a box fits.
    """
    area = scale[0] + (scale[1] - scale[0]) * u_b4[:, 0]
    low, high = math.log(ratio[0]), math.log(ratio[1])
    stretch = torch.exp(low + (high - low) * u_b4[:, 1]) / relative
    sides_b2 = torch.stack([(area * stretch).sqrt(), (area / stretch).sqrt()], -1)
    sides_b2 = sides_b2 / sides_b2.amax(-1, keepdim=True).clamp(min=1)
    centre_b2 = (1 - sides_b2) * (2 * u_b4[:, 2:] - 1)
    return torch.cat([centre_b2 - sides_b2, centre_b2 + sides_b2], -1)


def draw_crop_boxes(
    relative_b: Tensor, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """crop_boxes from a generator: [b, 4]."""
    u_b4 = torch.rand(len(relative_b), 4, generator=generator, device=generator.device)
    return crop_boxes(u_b4.to(relative_b.device), relative_b, scale, ratio)


def aspects(sizes_b2: Tensor) -> Tensor:
    """Width / height of each picture: [b]."""
    return sizes_b2[:, 1] / sizes_b2[:, 0]


def whole(sizes_b2: Tensor) -> Tensor:
    """The whole picture, squeezed into the output's shape: [b, 3, 3]."""
    return torch.eye(3, device=sizes_b2.device).expand(len(sizes_b2), 3, 3)


def centre_crop(sizes_b2: Tensor, size: Size) -> Tensor:
    """The largest box of the output's shape, from the middle: [b, 3, 3]."""
    relative = aspects(sizes_b2) * size[0] / size[1]
    return _matrix([[1 / relative.clamp(min=1), 0, 0], [0, relative.clamp(max=1), 0], [0, 0, 1]])


def pad(sizes_b2: Tensor, size: Size) -> Tensor:
    """The whole picture in its own shape, with room beside it: [b, 3, 3]."""
    relative = aspects(sizes_b2) * size[0] / size[1]
    return _matrix([[1 / relative.clamp(max=1), 0, 0], [0, relative.clamp(min=1), 0], [0, 0, 1]])


def compose(*matrices_b33: Tensor) -> Tensor:
    """One matrix for several, the one that acts first on the picture given first: [b, 3, 3]."""
    made: Tensor = reduce(torch.matmul, matrices_b33)
    return made


def warp_points(points_bn2: Tensor, m_b33: Tensor) -> Tensor:
    """Where points of the pictures come to lie in the output: [b, n, 2]. Some may lie outside -1..1."""
    back_b33 = sent(torch.linalg.inv(m_b33).to(points_bn2.dtype), points_bn2.device)
    points_bn3 = F.pad(points_bn2, (0, 1), value=1.0) @ back_b33.mT
    return points_bn3[..., :2] / points_bn3[..., 2:]
