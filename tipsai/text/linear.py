"""A linear model of n-grams, and what it says of texts that it has not seen.

It is the sum of two: ridge regression and, for classes, naive Bayes. Both are in closed form; how much each counts is
learnt from what they say of texts that they have not seen.

Shapes: n texts, f features of all texts, v features that there are, c outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FOLDS = 5
ITERATIONS = 60
TOLERANCE = 1e-3
SMOOTHING = 0.03  # of naive Bayes: what each feature has in each class at least; 0.01 to 0.1 came out alike
PENALTY = 1e-3  # of the factors' squares; classes that a line divides would be worth infinitely much


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

    def transposed(self, n_features: int) -> "Bags":
        """The features as bags of the texts that have them."""
        order = self.ids.argsort(stable=True)
        rows = torch.arange(self.n).repeat_interleave(self.starts.diff())
        starts = F.pad(torch.bincount(self.ids, minlength=n_features).cumsum(0), (1, 0))
        return Bags(rows[order], self.weights[order], starts)


def joined(parts: Sequence[Bags]) -> Bags:
    """Several one after the other."""
    lengths = torch.cat([part.starts.diff() for part in parts])
    ids, weights = torch.cat([part.ids for part in parts]), torch.cat([part.weights for part in parts])
    return Bags(ids, weights, F.pad(lengths.cumsum(0), (1, 0)))


def ridge(bags: Bags, y_nc: Tensor, n_features: int, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """Weights [v, c] and bias [c] that minimise |x w + b - y|^2 + strength * |w|^2, b being the mean of y.

    By conjugate gradients, each column by its own.

    Args:
        bags: the texts.
        y_nc: float32, what to predict.
        n_features: v.
        strength: of the penalty.

    Source: Hoerl and Kennard 1970; Hestenes and Stiefel 1952.
    """
    features = bags.transposed(n_features)
    bias = y_nc.mean(0)
    w = torch.zeros(n_features, y_nc.shape[1])
    r = features.times(y_nc - bias)
    p, rr = r.clone(), r.square().sum(0)
    enough = TOLERANCE**2 * rr
    for _ in range(ITERATIONS):
        if bool((rr <= enough).all()):
            break
        ap = features.times(bags.times(p)) + strength * p
        step = rr / (p * ap).sum(0).clamp(min=1e-30)
        w += step * p
        r -= step * ap
        before, rr = rr, r.square().sum(0)
        p = r + rr / before.clamp(min=1e-30) * p
    return w, bias


def bayes(bags: Bags, y_nc: Tensor, n_features: int) -> Tensor:
    """Weights [v, c]: the logarithm of how much more often a feature comes in texts of a class than in the others.

    Args:
        bags: the texts; their weights count as how often.
        y_nc: bool, the classes of each.
        n_features: v.

    Source: Rennie et al. 2003, "Tackling the poor assumptions of naive Bayes text classifiers"; beside another linear
    model: Wang and Manning 2012, "Baselines and bigrams".
    """
    features = bags.transposed(n_features)
    inside, outside = features.times(y_nc.float()) + SMOOTHING, features.times((~y_nc).float()) + SMOOTHING
    return (inside / inside.sum(0)).log() - (outside / outside.sum(0)).log()


@dataclass(frozen=True, slots=True)
class Fitted:
    """A linear model: logits, or numbers, are the texts' features times weights, plus bias.

    Attributes:
        weights: [v, c].
        bias: [c].
        unseen: what such a model says of each training text when it has not seen it, [n, c].
    """

    weights: Tensor
    bias: Tensor
    unseen: Tensor


def fit(bags: Bags, y: Tensor, n_out: int, n_features: int, seed: int) -> Fitted:
    """Fits the linear model.

    Args:
        bags: the texts.
        y: classes int64 [n], yes and no bool [n, c], or numbers float32 [n, c].
        n_out: c.
        n_features: v.
        seed: of the parts in which texts are held out.
    """
    if y.is_floating_point():
        weights, bias = ridge(bags, y, n_features)
        return Fitted(weights, bias, _held_out(bags, y, n_features, seed)[0])
    true_nc = y if y.dtype == torch.bool else F.one_hot(y, n_out).bool()
    ridges, bayeses = _held_out(bags, true_nc, n_features, seed)
    (of_ridge, of_bayes), bias = blend((ridges, bayeses), y)
    (weights, mean), ratios = _both(bags, true_nc, n_features)
    return Fitted(
        weights * of_ridge + ratios * of_bayes,
        mean * of_ridge + bias,
        ridges * of_ridge + bayeses * of_bayes + bias,
    )


def _both(bags: Bags, true_nc: Tensor, n_features: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Ridge regression to 1 for what is true and -1 for what is not, and naive Bayes."""
    return ridge(bags, true_nc.float() * 2 - 1, n_features), bayes(bags, true_nc, n_features)


def _held_out(bags: Bags, y_nc: Tensor, n_features: int, seed: int) -> tuple[Tensor, Tensor]:
    """What ridge regression and, for classes, naive Bayes say of each text, fitted on other texts alone; [n, c] each."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(bags.n))
    ridges, bayeses = torch.zeros(y_nc.shape), torch.zeros(y_nc.shape)
    for part in order.tensor_split(min(FOLDS, bags.n)):
        others = order[~torch.isin(order, part)]
        seen, to_tell = bags.take(others), bags.take(part)
        if y_nc.dtype == torch.bool:
            (w, bias), ratios = _both(seen, y_nc[others], n_features)
            bayeses[part] = to_tell.times(ratios)
        else:
            w, bias = ridge(seen, y_nc[others], n_features)
        ridges[part] = to_tell.times(w) + bias
    return ridges, bayeses


def blend(scores: Sequence[Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
    """A factor for each kind of scores and a bias for each output, which make logits of least cross-entropy of their sum.

    Args:
        scores: [n, c] each, of texts that their model has not seen.
        y: classes int64 [n], or yes and no, bool [n, c].
    """
    stacked = torch.stack(list(scores)).double()
    unit = stacked.square().mean((1, 2)).sqrt().clamp(min=1e-9)  # so that the penalty means the same for each
    stacked = stacked / unit[:, None, None]
    factors = torch.ones(len(scores), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(stacked.shape[2], dtype=torch.float64, requires_grad=True)
    opt = torch.optim.LBFGS([factors, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        opt.zero_grad()
        logits = (factors[:, None, None] * stacked).sum(0) + bias
        found = (
            F.binary_cross_entropy_with_logits(logits, y.double())
            if y.dtype == torch.bool
            else F.cross_entropy(logits, y)
        )
        found = found + PENALTY * (factors.square().sum() + bias.square().sum())
        found.backward()  # type: ignore[no-untyped-call]
        return float(found.detach())

    with torch.enable_grad():
        opt.step(loss)  # type: ignore[no-untyped-call]
    return (factors.detach() / unit).float(), bias.detach().float()
