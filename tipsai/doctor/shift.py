"""Whether validation looks like the test it stands for (DA08), by a classifier that tries to tell them apart."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from tipsai.core.state import Batch
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context

FOLDS = 5
COLUMNS = 64  # of inputs that a classifier sees
BUCKETS = 64  # that tokens are counted in
Z = 3.3  # standard errors: one false alarm in two thousand
LEAST = 0.55  # an AUC that is worth a word


def features(batch: Batch) -> Tensor:
    """What a simple classifier sees of inputs, float64 [n, d]: numbers, coarse pictures, counts of tokens."""
    parts = []
    for t in batch.x:
        if t.ndim == 4 and t.is_floating_point():
            coarse = F.adaptive_avg_pool2d(t.float(), 4).flatten(1)
            parts += [coarse, t.float().flatten(2).mean(2), t.float().flatten(2).std(2)]
        elif t.is_floating_point() or t.dtype in (torch.bool, torch.uint8):  # of a table, flags of what is missing
            flat = t.float().reshape(len(t), -1)
            parts.append(flat[:, :: max(1, flat.shape[1] // COLUMNS)][:, :COLUMNS])
        elif t.ndim == 2 and t.shape[1] > 1:
            parts.append(F.one_hot(t % BUCKETS, BUCKETS).sum(1).float())
    return torch.cat(parts, 1).double() if parts else torch.zeros(batch.n_rows, 0, dtype=torch.float64)


def auc(scores: Tensor, positive: Tensor) -> tuple[float, float]:
    """(area under the ROC curve, its standard error). Source: Hanley and McNeil, Radiology 143, 1982."""
    order = scores.argsort()
    ranks = torch.empty_like(scores)
    ranks[order] = torch.arange(1, len(scores) + 1, dtype=scores.dtype)
    values, inverse = torch.unique(scores, return_inverse=True)
    ranks = (torch.zeros(len(values), dtype=scores.dtype).index_add_(0, inverse, ranks) / torch.bincount(inverse))[
        inverse
    ]
    n, m = int(positive.sum()), int((~positive).sum())
    a = float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (n - 1) * (q1 - a * a) + (m - 1) * (q2 - a * a)) / (n * m)
    return a, math.sqrt(max(variance, 1.0 / (12 * n * m)))


def told_apart(a: Tensor, b: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores of ridge regression of which side a row is from, each row by a model that has not seen it; and the sides."""
    x, side = torch.cat([a, b]), torch.cat([torch.zeros(len(a)), torch.ones(len(b))]).double()
    x = (x - x.mean(0)) / x.std(0).clamp(min=1e-9)
    x = torch.cat([x.clamp(-5, 5), x.square().clamp(max=25)], 1)
    fold = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)) % FOLDS
    scores = torch.zeros(len(x), dtype=torch.float64)
    for k in range(FOLDS):
        seen = fold != k
        middle, share = x[seen].mean(0), side[seen].mean()
        z = x[seen] - middle
        gram = z.T @ z + 0.1 * len(z) * torch.eye(z.shape[1], dtype=torch.float64)
        scores[~seen] = (x[~seen] - middle) @ torch.linalg.solve(gram, z.T @ (side[seen] - share))
    return scores, side > 0.5


def _shift(ctx: Context) -> Figures | None:
    valid, test = ctx.sample("valid"), ctx.sample("test")  # inputs only; targets of the test stay closed (DA14)
    if valid is None or test is None or min(valid.n_rows, test.n_rows) < 50:
        return None
    a, b = features(valid), features(test)
    if a.shape[1] != b.shape[1] or not a.shape[1]:
        return None
    scores, side = told_apart(a, b, ctx.seed)
    area, error = auc(scores, side)
    moved = (a.mean(0) - b.mean(0)).abs() / torch.maximum(a.std(0), b.std(0)).clamp(min=1e-9)
    most = moved.topk(min(3, len(moved)))
    return {
        "auc": area,
        "standard error": error,
        "lower": area - Z * error,
        "valid": len(a),
        "test": len(b),
        "moved most": {int(i): float(v) for v, i in zip(most.values, most.indices, strict=True)},
    }


def _judge(f: Figures) -> Iterator[Verdict]:
    if f["lower"] > 0.5 and f["auc"] > LEAST:
        yield Verdict(
            "warning",
            f"validation and test can be told apart by their inputs: AUC {f['auc']:.3f} (at least {f['lower']:.3f}), where 0.5 means alike. "
            "What is best on validation need not be best on the test.",
            f,
            "Draw validation the way the test was drawn: the latest rows, other groups, the same source.",
        )


SHIFT = Check(
    "valid-test-shift",
    "data",
    "DA08",
    _shift,
    _judge,
    "adversarial validation; Hanley and McNeil 1982 for the interval",
)

CHECKS = (SHIFT,)
