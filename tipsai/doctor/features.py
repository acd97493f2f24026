"""What simple models see of inputs: numbers, coarse pictures, codes as indicators, counts of tokens."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tipsai.core.state import Batch

MOST = 1024  # columns
GRID = 8  # of a coarse picture
FEW, BUCKETS = 64, 64  # columns, and counts of tokens, where two small samples are compared


def coarse(x: Tensor, grid: int) -> Tensor:
    """Pictures [n, c, h, w] as float of at most so many pixels a side."""
    return F.adaptive_avg_pool2d(x.float(), (min(grid, x.shape[2]), min(grid, x.shape[3])))


def _columns(t: Tensor, like: Tensor) -> Tensor | None:
    """One input as columns, float [n, d]; codes beyond those of `like` have none."""
    if t.ndim == 4 and t.is_floating_point():
        return coarse(t, GRID).flatten(1)
    if t.is_floating_point() or t.dtype == torch.bool:
        return t.float().reshape(len(t), -1)
    flat, known = t.reshape(len(t), -1), like.reshape(len(like), -1)
    if not flat.shape[1] or int(known.min()) < 0:
        return None
    sizes = (known.amax(0) + 1).tolist()
    if sum(sizes) <= MOST and len(sizes) <= MOST // 4:
        return torch.cat([(flat[:, j, None] == torch.arange(size)).float() for j, size in enumerate(sizes)], 1)
    if max(sizes) <= MOST:
        inside = flat.clamp(0, max(sizes) - 1)
        return torch.zeros(len(t), max(sizes)).scatter_add_(1, inside, ((flat >= 0) & (flat == inside)).float())
    return None


def simple_features(x: Sequence[Tensor], new: Sequence[Tensor]) -> tuple[Tensor, Tensor] | None:
    """Inputs [n, ...] and new ones [m, ...] as tables, float64 [n, d] and [m, d], standardised by the first.

    Args:
        x: the model's inputs, of training items.
        new: of others.

    Returns:
        None where the inputs are no simple matter: lists that differ in shape, too many columns, values that are not finite.
    """
    if [t.shape[1:] for t in x] != [t.shape[1:] for t in new]:
        return None
    pairs = [(_columns(a, a), _columns(b, a)) for a, b in zip(x, new, strict=True)]
    parts = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not parts:
        return None
    a, b = (torch.cat(columns, 1).double() for columns in zip(*parts, strict=True))
    if not a.shape[1] or not bool(a.isfinite().all() & b.isfinite().all()):
        return None
    if a.shape[1] > MOST:
        even = torch.linspace(0, a.shape[1] - 1, MOST).long()
        a, b = a[:, even], b[:, even]
    middle, scale = a.mean(0), a.std(0)
    kept = scale > 1e-9
    return None if not kept.any() else tuple((t[:, kept] - middle[kept]) / scale[kept] for t in (a, b))  # type: ignore[return-value]


def coarse_features(batch: Batch) -> Tensor:
    """Fewer columns than simple_features, none of them of codes, float64 [n, d]: for telling two small samples apart."""
    parts = []
    for t in batch.x:
        if t.ndim == 4 and t.is_floating_point():
            coarse = F.adaptive_avg_pool2d(t.float(), 4).flatten(1)
            parts += [coarse, t.float().flatten(2).mean(2), t.float().flatten(2).std(2)]
        elif t.is_floating_point() or t.dtype in (torch.bool, torch.uint8):  # of a table, flags of what is missing
            flat = t.float().reshape(len(t), -1)
            parts.append(flat[:, :: max(1, flat.shape[1] // FEW)][:, :FEW])
        elif t.ndim == 2 and t.shape[1] > 1:
            parts.append(F.one_hot(t % BUCKETS, BUCKETS).sum(1).float())
    return torch.cat(parts, 1).double() if parts else torch.zeros(batch.n_rows, 0, dtype=torch.float64)
