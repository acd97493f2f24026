"""Whether validation looks like the test it stands for (DA08), by a classifier that tries to tell them apart."""

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.doctor.features import coarse_features

FOLDS = 5
Z = 3.3  # standard errors: one false alarm in two thousand
LEAST = 0.55  # an AUC that is worth a word
FEWEST = 50  # items of each
SOURCE = "adversarial validation; Hanley and McNeil 1982 for the interval"


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


def compared(a: Tensor, b: Tensor, seed: int) -> Figures:
    """How well validation [n, d] and test [m, d] are told apart."""
    scores, side = told_apart(a, b, seed)
    area, error = auc(scores, side)
    return {"auc": area, "standard error": error, "lower": area - Z * error, "valid": len(a), "test": len(b)}


def judge(f: Figures, by: str) -> Iterator[Verdict]:
    """What that comes to.

    Args:
        f: see compared.
        by: what they are told apart by.
    """
    if f["lower"] > 0.5 and f["auc"] > LEAST:
        yield Verdict(
            "warning",
            f"validation and test can be told apart by {by}: AUC {f['auc']:.3f} (at least {f['lower']:.3f}), where 0.5 means alike. "
            "What is best on validation need not be best on the test.",
            f,
            "Draw validation the way the test was drawn: the latest items, other groups, the same source.",
        )


def _shift(ctx: Context) -> Figures | None:
    valid, test = ctx.sample("valid"), ctx.sample("test")  # inputs only; targets of the test stay closed (DA14)
    if valid is None or test is None or min(valid.n_rows, test.n_rows) < FEWEST:
        return None
    a, b = coarse_features(valid), coarse_features(test)
    if a.shape[1] != b.shape[1] or not a.shape[1]:
        return None
    moved = (a.mean(0) - b.mean(0)).abs() / torch.maximum(a.std(0), b.std(0)).clamp(min=1e-9)
    most = moved.topk(min(3, len(moved)))
    by_column = {int(i): float(v) for v, i in zip(most.values, most.indices, strict=True)}
    return {**compared(a, b, ctx.seed), "moved most": by_column}


SHIFT = Check(
    "valid-test-shift",
    "data",
    "DA08",
    _shift,
    partial(judge, by="their inputs"),
    SOURCE,
)

CHECKS = (SHIFT,)
