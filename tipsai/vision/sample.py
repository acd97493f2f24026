"""Pictures through homographies: each is sampled once, and anti-aliased where it shrinks (DA07).

For the coordinates and the matrices see geometry.py.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tipsai.core.device import sent
from tipsai.core.errors import DataError, SettingError
from tipsai.vision.geometry import Size

Padding = Literal["reflection", "border", "zeros"]
MOST_SAMPLES = 8  # a side: what a device without the loop over pictures spends on an output pixel at most
SMALL = 96 * 96  # output pixels; below, a loop over pictures costs more than it saves


def warp(
    x_bchw: Tensor,
    m_b33: Tensor,
    size: Size,
    sizes_b2: Tensor | None = None,
    *,
    interpolation: Literal["area", "nearest"] = "area",
    padding: Padding = "reflection",
    samples: int | None = None,
    fill: float = 0,
) -> Tensor:
    """Pictures through homographies, sampled once: [b, c, *size].

    Where a picture shrinks, an output pixel is the mean over the area that it covers. Maps by whole pixels, such as flips
    and shifts, are copied exactly. On the processor, larger pictures are cut, filtered and sampled one by one, which stays
    in its cache; elsewhere, and for small pictures, the batch is sampled at several points an output pixel.

    Args:
        x_bchw: uint8 or float.
        m_b33: from output to input coordinates. On the processor wherever possible: from a device its values are not
            fetched, since that would wait, and then shifts by whole pixels are not recognised.
        size: (height, width) of the output.
        sizes_b2: (h, w) of the picture in the corner of each canvas; None for the whole of it.
        interpolation: "area" gives float32 on the scale of x; "nearest" picks values, of x's own type, as masks need.
        padding: what lies outside the picture: its mirror image, its edge, or `fill`.
        samples: a side of the grid of points that makes an output pixel. By default by the shrinkage; a large number
            makes a reference.
        fill: with padding "zeros".

    Raises:
        DataError: x, m and sizes do not fit each other.
        SettingError: interpolation or padding is unknown.
    """
    _check(x_bchw, m_b33, sizes_b2, interpolation, padding)
    if sizes_b2 is None:
        sizes_b2 = torch.tensor([x_bchw.shape[2:]], device=m_b33.device).expand(len(x_bchw), 2)
    m_b33 = (m_b33 / m_b33[:, 2:, 2:]).float()  # the last entry is 1 from here on
    known = m_b33.device.type == "cpu" and sizes_b2.device.type == "cpu"
    if interpolation == "nearest":
        return _pick(x_bchw, m_b33, size, sizes_b2, padding, fill)
    if samples is None and known and _by_whole_pixels(m_b33, size, sizes_b2):
        return _pick(x_bchw, m_b33, size, sizes_b2, padding, 0).float()
    if samples is None and known and x_bchw.device.type == "cpu" and math.prod(size) >= SMALL:
        return _one_by_one(x_bchw, m_b33, size, sizes_b2, padding)
    if samples is None:
        # Matrices on a device keep their values there; augmentation rarely shrinks more than squeezing the whole would.
        shrink = [x_bchw.shape[2] / size[0], x_bchw.shape[3] / size[1]]
        shrink = _spread(m_b33, size, sizes_b2).flatten().tolist() if known else shrink
        samples = min(MOST_SAMPLES, math.ceil(max(1, *shrink) - 0.1))
    return _at_once(x_bchw, m_b33, size, sizes_b2, padding, samples)


def _check(x_bchw: Tensor, m_b33: Tensor, sizes_b2: Tensor | None, interpolation: str, padding: str) -> None:
    b = len(x_bchw)
    if x_bchw.ndim != 4 or m_b33.shape != (b, 3, 3) or (sizes_b2 is not None and sizes_b2.shape != (b, 2)):
        found = [tuple(t.shape) for t in (x_bchw, m_b33, sizes_b2) if t is not None]
        raise DataError(f"warp got shapes {found}; expected pictures [b, c, h, w], matrices [b, 3, 3], sizes [b, 2].")
    if interpolation not in ("area", "nearest"):
        raise SettingError(f"interpolation is {interpolation!r}; expected 'area' or 'nearest'.")
    if padding not in ("reflection", "border", "zeros"):
        raise SettingError(f"padding is {padding!r}; expected 'reflection', 'border' or 'zeros'.")


def _entries(m_b33: Tensor, device: torch.device) -> list[list[Any]]:
    """The nine entries on a device, as [b, 1, 1]; those that are known to be zero for all pictures as 0.0, which saves passes."""
    zero = (m_b33 == 0).all(0).tolist() if m_b33.device.type == "cpu" else [[False] * 3] * 3
    m_b33 = sent(m_b33, device)
    entries: list[list[Any]] = [[0.0 if zero[i][j] else m_b33[:, i, j, None, None] for j in range(3)] for i in range(3)]
    entries[2][2] = 1.0  # see warp
    return entries


def _points(size: Size, device: torch.device, at: tuple[float, float] = (0.5, 0.5)) -> tuple[Tensor, Tensor]:
    """Output coordinates of a point (x, y), 0..1, within every pixel: a row [1, w] and a column [h, 1]."""
    u_1w = (torch.arange(size[1], device=device)[None] + at[0]) * (2 / size[1]) - 1
    v_h1 = (torch.arange(size[0], device=device)[:, None] + at[1]) * (2 / size[0]) - 1
    return u_1w, v_h1


def _coordinates(m: list[list[Any]], u_1w: Tensor, v_h1: Tensor) -> list[Any]:
    """Input coordinates x and y of output points: [..., h, w] each, or what broadcasts to it.

    Args:
        m: nine entries, numbers or tensors [b, 1, 1].
        u_1w: coordinates of the columns.
        v_h1: coordinates of the rows.
    """

    def line(a: Any, b: Any, c: Any) -> Any:
        across = 0.0 if isinstance(a, float) and a == 0 else u_1w * a
        down = c if isinstance(b, float) and b == 0 else v_h1 * b + c
        return down if isinstance(across, float) else across + down

    x, y, depth = (line(*row) for row in m)
    return [x, y] if isinstance(depth, float) else [x / depth, y / depth]


def _folded(u: Tensor, padding: Padding) -> Tensor:
    """Coordinates brought back into the picture: mirrored at its outline as often as needed, or held at it."""
    return 1 - ((u + 1) % 4 - 2).abs() if padding == "reflection" else u.clamp(-1, 1)


def _pick(x_bchw: Tensor, m_b33: Tensor, size: Size, sizes_b2: Tensor, padding: Padding, fill: float) -> Tensor:
    """The pixel under the centre of every output pixel: [b, c, *size], of x's type."""
    sizes_b2 = sent(sizes_b2, x_bchw.device)
    x, y = _coordinates(_entries(m_b33, x_bchw.device), *_points(size, x_bchw.device))
    h_b11, w_b11 = sizes_b2[:, 0, None, None], sizes_b2[:, 1, None, None]
    column = torch.minimum(((_folded(x, padding) + 1) * (w_b11 / 2)).long(), w_b11 - 1)
    row = torch.minimum(((_folded(y, padding) + 1) * (h_b11 / 2)).long(), h_b11 - 1)
    place_b1n = (row * x_bchw.shape[3] + column).expand(len(x_bchw), *size).flatten(1)[:, None]
    picked = x_bchw.flatten(2).gather(2, place_b1n.expand(-1, x_bchw.shape[1], -1)).view(*x_bchw.shape[:2], *size)
    if padding == "zeros":
        picked = picked.masked_fill(((x.abs() > 1) | (y.abs() > 1))[:, None], fill)
    return picked


def _by_whole_pixels(m_b33: Tensor, size: Size, sizes_b2: Tensor) -> bool:
    """Whether every picture is only mirrored and moved by whole pixels, without a change of scale."""
    if m_b33[:, [0, 1, 2, 2], [1, 0, 0, 1]].count_nonzero():
        return False
    input_b2, output_2 = sizes_b2.flip(1).float(), torch.tensor([size[1], size[0]])
    diagonal_b2 = m_b33.diagonal(dim1=1, dim2=2)[:, :2]
    step_b2 = diagonal_b2 * input_b2 / output_2  # input pixels an output pixel
    first_b2 = ((diagonal_b2 * (1 / output_2 - 1) + m_b33[:, :2, 2] + 1) * input_b2 - 1) / 2
    drift_b2 = (step_b2.abs() - 1).abs() * output_2
    return bool((torch.maximum(drift_b2, (first_b2 - first_b2.round()).abs()) < 0.01).all())


def _spread(m_b33: Tensor, size: Size, sizes_b2: Tensor) -> Tensor:
    """Input pixels (x, y) that an output pixel extends over, as a root mean square over nine places: [b, 2]."""
    places = torch.tensor([-0.7, 0.0, 0.7], device=m_b33.device)
    point_93 = F.pad(torch.cartesian_prod(places, places), (0, 1), value=1.0)
    image_b93 = point_93 @ m_b33.mT
    depth_b91 = image_b93[..., 2:]
    slope_b922 = m_b33[:, None, :2, :2] - (image_b93[..., :2] / depth_b91)[..., None] * m_b33[:, None, 2:, :2]
    slope_b922 = slope_b922 / depth_b91[..., None] * sizes_b2.flip(1)[:, None, :, None]
    return (slope_b922 / slope_b922.new_tensor([size[1], size[0]])).square().sum(3).mean(1).sqrt()


def _at_once(x_bchw: Tensor, m_b33: Tensor, size: Size, sizes_b2: Tensor, padding: Padding, samples: int) -> Tensor:
    """The batch as a whole; an output pixel is the mean of samples x samples points, each bilinear."""
    b, device, canvas = len(x_bchw), x_bchw.device, (x_bchw.shape[3], x_bchw.shape[2])
    entries, picture_2b11 = _entries(m_b33, device), sent(sizes_b2, device).flip(1).T[:, :, None, None]
    x_bchw = x_bchw.float()
    total: Tensor | None = None
    points = [(i + 0.5) / samples for i in range(samples)]
    for at in itertools.product(points, points):
        grid_bhw2, inside = torch.empty(b, *size, 2, device=device), torch.ones((), dtype=torch.bool, device=device)
        for axis, u in enumerate(_coordinates(entries, *_points(size, device, at))):
            n_b11 = picture_2b11[axis]
            # The edge's own pixel reaches out to the outline, so that what is beside it is not mixed in, not by rounding.
            pixel = torch.minimum((_folded(u, padding) + 1) * (n_b11 / 2), n_b11 - 0.501)
            grid_bhw2[..., axis] = pixel * (2 / canvas[axis]) - 1
            inside = inside & (u.abs() <= 1) if padding == "zeros" else inside
        taken = F.grid_sample(x_bchw, grid_bhw2, padding_mode="border", align_corners=False)
        taken = taken * inside[:, None] if padding == "zeros" else taken
        total = taken if total is None else total.add_(taken)
    assert total is not None
    return total.div_(samples**2)


class _Cut(NamedTuple):
    """How one picture is sampled; pairs are for x and y."""

    start: list[int]  # of the cut, in pixels of the picture
    stop: list[int]
    block: list[int]  # input pixels averaged before all else
    samples: list[int]  # points an output pixel
    near: list[list[float]]  # of the neighbours before and after a pixel, beside a pixel's own 1: see _near
    folds: int  # how often coordinates beyond the picture's edges are mirrored at them
    bent: bool  # whether the homography has a perspective


def _cuts(m_b33: Tensor, size: Size, sizes_b2: Tensor, padding: Padding) -> tuple[list[_Cut], Tensor, Tensor]:
    """A cut for each picture, and scale and offset [b, 2, 1, 1] from coordinates in the picture to those in the cut."""
    n_b2 = sizes_b2.flip(1)
    spread_b2 = _spread(m_b33, size, sizes_b2)
    block_b2 = (spread_b2 / 4).floor().clamp(min=1)
    samples_b2 = (spread_b2 / block_b2 / 2).round().clamp(min=1)
    corner_43 = m_b33.new_tensor([[-1, -1, 1], [1, -1, 1], [-1, 1, 1], [1, 1, 1]])
    corner_b43 = corner_43 @ m_b33.mT
    corner_b42 = corner_b43[..., :2] / corner_b43[..., 2:]
    low_b2, high_b2 = corner_b42.amin(1), corner_b42.amax(1)
    under_b2, over_b2 = low_b2 < -1, high_b2 > 1
    # An output that looks beyond an edge sees what lies as far on this side of it.
    seen_low_b2 = torch.where(over_b2, torch.minimum(low_b2, 2 - high_b2), low_b2).clamp(-1, 1)
    seen_high_b2 = torch.where(under_b2, torch.maximum(high_b2, -2 - low_b2), high_b2).clamp(-1, 1)
    margin_b2 = 2 * block_b2
    start_b2 = ((seen_low_b2 + 1) / 2 * n_b2 - margin_b2).floor().clamp(min=0)
    stop_b2 = torch.minimum(((seen_high_b2 + 1) / 2 * n_b2 + margin_b2).ceil(), n_b2)
    near_b22 = _near(spread_b2, block_b2, samples_b2)
    paired_b2 = (near_b22[..., 0] == 0) & (near_b22[..., 1] > 0)
    extent_b2 = (
        ((stop_b2 - start_b2) / block_b2).ceil() + paired_b2
    ) * block_b2  # the edge may cut the last block short
    folds_b = (torch.maximum(-low_b2, high_b2).amax(1) / 2 - 0.5).ceil().clamp(min=0)
    folds_b = folds_b if padding == "reflection" else torch.zeros_like(folds_b)
    bent_b = m_b33[:, 2, :2].abs().amax(1) > 0
    pixels = (start_b2.int(), stop_b2.int(), block_b2.int(), samples_b2.int())
    columns = (*pixels, near_b22, folds_b.int(), bent_b)
    cuts = [_Cut(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    sign_b1 = 1 - 2 * (folds_b % 2)[:, None]  # see _grid
    shift_b2 = block_b2 * paired_b2 / (1 + near_b22[..., 1])  # see _filtered
    scale_b2, offset_b2 = sign_b1 * n_b2 / extent_b2, (n_b2 - 2 * (start_b2 - shift_b2)) / extent_b2 - 1
    return cuts, scale_b2[..., None, None], offset_b2[..., None, None]


def _one_by_one(x_bchw: Tensor, m_b33: Tensor, size: Size, sizes_b2: Tensor, padding: Padding) -> Tensor:
    """Picture by picture: what is needed is cut out, filtered for the shrinkage, and sampled bilinearly.

    What is small is done for the batch at once, and all views are made beforehand: threads that call many small operations
    mostly wait for Python's lock.
    """
    torch.empty(2**22)  # glibc learns that blocks of 16 MB come and go: from now on it keeps such memory, ready for use
    # NumPy asks for huge pages, torch does not: a fresh batch of 38 MB costs 2 ms instead of 16.
    out_bchw = torch.from_numpy(np.empty((*x_bchw.shape[:2], *size), np.float32))
    edge = "zeros" if padding == "zeros" else "border"

    def sample(cut: _Cut, x_1chw: Tensor, lines: list[_Lines], out_1chw: Tensor) -> None:
        x_1chw = _filtered(x_1chw, cut)
        taken = [F.grid_sample(x_1chw, _grid(line, cut), padding_mode=edge, align_corners=False) for line in lines]
        weight = 1 / (len(taken) * (1 + sum(cut.near[0])) * (1 + sum(cut.near[1])))
        torch.mul(taken[0] if len(taken) == 1 else sum(taken[1:], taken[0]), weight, out=out_1chw)

    with one_thread():
        cuts, scale_b211, offset_b211 = _cuts(m_b33, size, sizes_b2, padding)
        parts: dict[tuple[float, float], list[_Lines]] = {}
        jobs = []
        for i, cut in enumerate(cuts):
            columns, rows = ([(k + 0.5) / n for k in range(n)] for n in cut.samples)
            lines = []
            for at in itertools.product(columns, rows):
                if at not in parts:
                    parts[at] = _lines(m_b33, size, at, scale_b211, offset_b211)
                lines.append(parts[at][i])
            x_1chw = x_bchw[i : i + 1, :, cut.start[1] : cut.stop[1], cut.start[0] : cut.stop[0]]
            jobs.append(partial(sample, cut, x_1chw, lines, out_bchw[i : i + 1]))
    in_threads(jobs)
    return out_bchw


class _Lines(NamedTuple):
    """One homography, taken apart: x, y and their denominator are each the sum of what the column and the row give."""

    xy_across_21w: Tensor
    xy_down_2h1: Tensor
    depth_across_1w: Tensor
    depth_down_h1: Tensor
    scale_211: Tensor
    offset_211: Tensor


def _lines(m_b33: Tensor, size: Size, at: tuple[float, float], scale_b211: Tensor, offset_b211: Tensor) -> list[_Lines]:
    u_1w, v_h1 = _points(size, m_b33.device, at)
    across_b31w, down_b3h1 = m_b33[:, :, :1, None] * u_1w, m_b33[:, :, 1:2, None] * v_h1 + m_b33[:, :, 2:, None]
    sums = (across_b31w[:, :2], down_b3h1[:, :2], across_b31w[:, 2], down_b3h1[:, 2], scale_b211, offset_b211)
    return [_Lines(*parts) for parts in zip(*(part.unbind(0) for part in sums), strict=True)]


def _grid(line: _Lines, cut: _Cut) -> Tensor:
    """Where every output pixel looks, in coordinates of the cut: [1, h, w, 2]."""
    xy_2hw = line.xy_across_21w + line.xy_down_2h1
    if cut.bent:
        xy_2hw.div_(line.depth_across_1w + line.depth_down_h1)
    for _ in range(cut.folds):  # mirrored at the outline; the sign turns with it, which the scale makes good
        xy_2hw.sub_(xy_2hw.clamp(-1, 1), alpha=2)
    return torch.addcmul(line.offset_211, xy_2hw, line.scale_211).permute(1, 2, 0)[None]


def _filtered(x_1chw: Tensor, cut: _Cut) -> Tensor:
    """A cut in blocks, to each of which its neighbours in x, then in y, are added; those at the edge are their own.

    The sums are left to be divided by those of their weights later, when there are fewer numbers. Blocks that take from
    the one after them only are pairs: one more than blocks, the first between the edge's own neighbour and the edge.
    """
    if max(cut.block) > 1:
        x_1chw = F.avg_pool2d(x_1chw.float(), cut.block[::-1], ceil_mode=True)
    if not any(map(any, cut.near)):
        return x_1chw.float()
    around = [int(any(near)) for near in cut.near]
    x_1chw = _edged(x_1chw, *around)
    for dim, (before, after) in ((3, cut.near[0]), (2, cut.near[1])):
        n = x_1chw.shape[dim]
        if before:
            middle, first, last = (x_1chw.narrow(dim, start, n - 2) for start in (1, 0, 2))
            x_1chw = torch.add(middle, first, alpha=before).add_(last, alpha=after)
        elif after:
            x_1chw = torch.add(x_1chw.narrow(dim, 0, n - 1), x_1chw.narrow(dim, 1, n - 1), alpha=after)
    return x_1chw


def _edged(x_1chw: Tensor, across: int, down: int) -> Tensor:
    """As float32, with this many copies, 0 or 1, of the edge around it: F.pad would need floats, and so a pass more."""
    b, c, h, w = x_1chw.shape
    made = x_1chw.new_empty((b, c, h + 2 * down, w + 2 * across), dtype=torch.float32)
    made[:, :, down : down + h, across : across + w] = x_1chw
    for dim in [3] * across + [2] * down:
        made.select(dim, 0).copy_(made.select(dim, 1))
        made.select(dim, -1).copy_(made.select(dim, -2))
    return made


def _near(spread_b2: Tensor, block_b2: Tensor, samples_b2: Tensor) -> Tensor:
    """What is added of the pixels before and after to each, before it is sampled: [b, 2, 2], for x and y, of both.

    The ideal is the mean over a footprint of `spread` input pixels, whose variance is spread² / 12. In blocks, the points
    within an output pixel leave (spread / block / samples)² / 12 of it to do; averaging blocks and interpolating between
    them do (1 - 1 / block²) / 4. Where nothing shrinks, nothing is smoothed. The mean of a pair with weights (1 - a, a)
    does a (1 - a), in one pass; three taps (a, 1 - 2a, a) do 2a, in two. A pair does 1 / 4 at most, yet is nearer to the
    ideal's shape, and on photographs and gratings more exact, up to where 0.4 are left to do.
    """
    rest_b2 = (spread_b2 / block_b2 / samples_b2).square() / 12 - (1 - 1 / block_b2.square()) / 4
    rest_b2 = torch.minimum(rest_b2, (spread_b2.square() - 1) / 6).clamp(min=0)
    pair_b2 = (1 - (1 - 4 * rest_b2.clamp(max=0.25)).sqrt()) / 2
    three_b2 = (rest_b2 / 2).clamp(max=0.3)
    before_b2 = torch.where(rest_b2 > 0.4, three_b2 / (1 - 2 * three_b2), 0)
    return torch.stack([before_b2, torch.where(rest_b2 > 0.4, before_b2, pair_b2 / (1 - pair_b2))], 2)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """For tiny operations: several threads would wait for each other, for milliseconds where the processor is busy."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def in_threads(jobs: Sequence[Callable[[], None]]) -> None:
    """Runs jobs of many small operations, each on one thread: threads that join after every operation mostly wait."""
    n_threads = torch.get_num_threads()
    if min(n_threads, len(jobs)) <= 1:
        for job in jobs:
            job()
        return
    try:
        with ThreadPoolExecutor(min(n_threads, len(jobs)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for done in [pool.submit(job) for job in jobs]:
                done.result()
    finally:
        torch.set_num_threads(n_threads)  # torch also remembers the last number set, for threads that start later
