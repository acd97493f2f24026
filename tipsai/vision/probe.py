"""A fresh last layer starts as the best linear one on what the body already sees: a linear probe before fine-tuning.

A body that is trained together with a random head is pulled about by gradients that mean nothing yet. A head that is
fitted first leaves it alone, and fine-tuning starts where logistic regression on frozen features ends (Kumar et al.
2202.10054).
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tipsai.core.evaluate import features
from tipsai.learner import Learner
from tipsai.losses import Sums
from tipsai.vision import defaults

log = logging.getLogger("tipsai")
Objective = Callable[[Tensor, Tensor], Sums]

# Of the L2 penalty on standardised features, strongest first.
STRENGTHS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4)
FOLDS = 5
ONE_FOLD_FROM = 1000  # items; from then on a single fifth judges the strengths well enough
N_ITERATIONS = 60  # of L-BFGS at each strength, each beginning where the one before ended


def fit_head(learn: Learner) -> None:
    """Fits a vision model's last layer to at most defaults.PROBED training pictures, as evaluation sees them."""

    def objective(pred: Tensor, y: Tensor) -> Sums:
        return learn.loss_fn.sums(pred if learn.output is None else learn.output(pred), y)

    sample = learn.dls.feed("train", learn.device).loader.sample(defaults.PROBED, learn.seed)
    x_nf, y = features(learn.model, learn.dls.as_evaluated(sample, learn.device), defaults.PROBED)
    assert y is not None  # training pictures have targets
    fit(learn.model.head[-1], x_nf, y, objective)  # type: ignore[arg-type, index]
    log.info("the head starts as the best on the frozen body, by %d pictures", len(x_nf))


def fit(layer: nn.Linear, x_nf: Tensor, y: Tensor, objective: Objective) -> float:
    """Sets a linear layer to the minimum of its loss with an L2 penalty, whose strength is chosen by cross-validation.

    Args:
        layer: its weight and bias are replaced.
        x_nf: features, float [n, f].
        y: targets, n of them.
        objective: the loss's sum and weight, of the layer's outputs and targets.

    Returns:
        The strength: the factor of half the squared norm of the weights on standardised features, beside the mean loss.
    """
    mean, spread = x_nf.mean(0), x_nf.std(0, correction=0)
    spread = torch.where(spread > 1e-6, spread, 1.0)
    z = (x_nf - mean) / spread
    # with fewer items than features the minimum lies in the items' span, whose own coordinates are fewer
    turn = torch.linalg.svd(z, full_matrices=False).Vh.T if len(z) < z.shape[1] else torch.eye(z.shape[1])
    z = z @ turn
    at = torch.arange(len(z)) % FOLDS  # the items come in random order
    judged = torch.zeros(len(STRENGTHS))
    for fold in range(1 if len(z) >= ONE_FOLD_FROM else FOLDS):
        out = at == fold
        if not out.any() or out.all():
            continue
        path = _path(z[~out], y[~out], layer, objective, len(STRENGTHS))
        for i, (weight, bias) in enumerate(path):
            judged[i] += float(objective(z[out] @ weight.T + bias, y[out])[0])
    best = int(judged.argmin())
    *_, (weight, bias) = _path(z, y, layer, objective, best + 1)
    weight = weight @ turn.T / spread
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias - weight @ mean)
    return STRENGTHS[best]


def _path(z_nf: Tensor, y: Tensor, layer: nn.Linear, objective: Objective, n: int) -> list[tuple[Tensor, Tensor]]:
    """The weights and biases at the first n strengths."""
    weight = torch.zeros(layer.out_features, z_nf.shape[1], requires_grad=True)
    bias = layer.bias.detach().float().cpu().clone().requires_grad_()
    found = []
    for strength in STRENGTHS[:n]:
        opt = torch.optim.LBFGS([weight, bias], max_iter=N_ITERATIONS, line_search_fn="strong_wolfe")

        def closure(opt: torch.optim.Optimizer = opt, strength: float = strength) -> Tensor:
            opt.zero_grad()
            total, count = objective(z_nf @ weight.T + bias, y)
            value = total / count + strength / 2 * weight.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        opt.step(closure)  # type: ignore[no-untyped-call]
        found.append((weight.detach().clone(), bias.detach().clone()))
    return found
