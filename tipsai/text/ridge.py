"""A linear model of n-grams in closed form, and what it says of texts that it has not seen."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FOLDS = 5
ITERATIONS = 60
TOLERANCE = 1e-3
MOST_SCALE = 12.0  # of scores between -1 and 1; classes that a line divides would be worth infinitely much


@dataclass(frozen=True, slots=True)
class Bags:
    """Texts as weighted features, one after the other.

    Attributes:
        ids: int64 [f], the features of all texts.
        weights: float32 [f].
        starts: int64 [n + 1], where each text's begin; the last is f.
    """

    ids: Tensor
    weights: Tensor
    starts: Tensor

    @property
    def n(self) -> int:
        return len(self.starts) - 1

    def take(self, index: Tensor) -> "Bags":
        lengths = self.starts.diff()[index]
        starts = F.pad(lengths.cumsum(0), (1, 0))
        place = torch.arange(int(starts[-1])) + (self.starts[index] - starts[:-1]).repeat_interleave(lengths)
        return Bags(self.ids[place], self.weights[place], starts)

    def times(self, w_vc: Tensor) -> Tensor:
        """The texts' features times a matrix: [n, c]."""
        return F.embedding_bag(self.ids, w_vc, self.starts[:-1], mode="sum", per_sample_weights=self.weights)

    def transposed_times(self, r_nc: Tensor, n_features: int) -> Tensor:
        """The transposed matrix of features times one of rows: [v, c]."""
        rows = torch.arange(self.n).repeat_interleave(self.starts.diff())
        out = r_nc.new_zeros(n_features, r_nc.shape[1])
        return out.index_add_(0, self.ids, r_nc[rows] * self.weights[:, None])


def solve(bags: Bags, y_nc: Tensor, n_features: int, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """Weights [v, c] and bias [c] that minimise |x w + b - y|^2 + strength * |w|^2, b being the mean of y.

    By conjugate gradients, each column by its own.

    Args:
        bags: the texts.
        y_nc: float32, what to predict.
        n_features: v.
        strength: of the penalty.

    Source: Hoerl and Kennard 1970; Hestenes and Stiefel 1952.
    """
    bias = y_nc.mean(0)
    w = torch.zeros(n_features, y_nc.shape[1])
    r = bags.transposed_times(y_nc - bias, n_features)
    p, rr = r.clone(), r.square().sum(0)
    enough = TOLERANCE**2 * rr
    for _ in range(ITERATIONS):
        if bool((rr <= enough).all()):
            break
        ap = bags.transposed_times(bags.times(p), n_features) + strength * p
        step = rr / (p * ap).sum(0).clamp(min=1e-30)
        w += step * p
        r -= step * ap
        before, rr = rr, r.square().sum(0)
        p = r + rr / before.clamp(min=1e-30) * p
    return w, bias


def held_out(bags: Bags, y_nc: Tensor, n_features: int, seed: int, strength: float = 1.0) -> Tensor:
    """What solve's model says of each text, fitted on other texts alone: [n, c]."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(bags.n))
    found = torch.empty_like(y_nc)
    for part in order.tensor_split(min(FOLDS, bags.n)):
        others = order[~torch.isin(order, part)]
        w, bias = solve(bags.take(others), y_nc[others], n_features, strength)
        found[part] = bags.take(part).times(w) + bias
    return found


def scale_of(scores_nc: Tensor, targets: Tensor) -> float:
    """The factor that makes logits of scores: of least cross-entropy on the targets.

    Args:
        scores_nc: of texts that the model has not seen.
        targets: classes int64 [n], or yes and no, bool [n, c].
    """
    factors = np.geomspace(0.1, MOST_SCALE, 100)
    losses = [float(_loss(scores_nc * factor, targets)) for factor in factors]
    return float(factors[int(np.argmin(losses))])


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    if targets.dtype == torch.bool:
        return F.binary_cross_entropy_with_logits(logits, targets.float())
    return F.cross_entropy(logits, targets)
