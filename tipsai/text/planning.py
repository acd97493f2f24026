"""Planning a language model before it is trained: what a size costs, and what more compute would bring (LM02 to LM04)."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tipsai.core import rng
from tipsai.core.callback import bind
from tipsai.core.device import pick_device
from tipsai.core.errors import SettingError, require_positive
from tipsai.core.state import Batch, TrainState
from tipsai.core.step import Step, resolve_precision
from tipsai.optim import build, n_parameters
from tipsai.text import defaults
from tipsai.text.losses import TokenLoss
from tipsai.text.transformer import Transformer

TOKENS_PER_PARAMETER = 20.0  # Hoffmann et al. 2203.15556: of the least loss for the compute
FLOPS_PER_TOKEN = 6.0  # a parameter, forward and backward: Kaplan et al. 2001.08361
VOCABULARY = 8192  # of the model that is timed
MEASURED_PARAMETERS = 2e7  # of the largest model that is timed; a larger one runs at about its pace


@dataclass(frozen=True, slots=True)
class Plan:
    """A language model's size and cost; prints as a sentence.

    Attributes:
        n_parameters: of the model, without its embedding.
        n_tokens: to train on, repeated ones counted.
        flops: of the training, about 6 a parameter and token.
        flops_per_second: of this machine, measured.
        hours: that the training takes on it.
    """

    n_parameters: float
    n_tokens: float
    flops: float
    flops_per_second: float
    hours: float

    def __str__(self) -> str:
        return (
            f"{self.n_parameters:.3g} parameters on {self.n_tokens:.3g} tokens: {self.flops:.3g} FLOPs, "
            f"{self.hours:.3g} hours at the {self.flops_per_second:.3g} FLOPs a second measured here"
        )


def plan(
    n_parameters: float | None = None,
    flops: float | None = None,
    *,
    n_tokens: float | None = None,
    hours: float | None = None,
    device: str | None = None,
    seconds: float = 3.0,
) -> Plan:
    """What is left open follows from what is given: compute is about 6 times parameters times tokens (LM02).

    Give one or two of them. Of one, the tokens are 20 a parameter, which gives the least loss for the compute; whether a
    smaller model on more tokens suits you better, since it is cheaper to use, is yours to say.

    Args:
        n_parameters: of the model, without its embedding.
        flops: of the training.
        n_tokens: to train on.
        hours: that the training may take on this machine.
        device: to measure on; the best there is by default.
        seconds: that the measurement may take, about.

    Raises:
        SettingError: nothing is given, or more than two of them.

    Source: Kaplan et al. 2001.08361; Hoffmann et al. 2203.15556.
    """
    given = {"n_parameters": n_parameters, "flops": flops, "n_tokens": n_tokens, "hours": hours}
    known = {name: value for name, value in given.items() if value is not None}
    for name, value in known.items():
        require_positive(name, value)
    if not 1 <= len(known) <= 2 or (flops is not None and hours is not None):
        raise SettingError(
            f"given are {', '.join(known) or 'none'} of n_parameters, n_tokens, and flops or hours; give one, or two."
        )
    size = n_parameters if n_parameters is not None else MEASURED_PARAMETERS
    pace = flops_per_second(min(size, MEASURED_PARAMETERS), device, seconds)
    budget = hours * 3600 * pace if hours is not None else flops
    if budget is None and n_parameters is None:
        assert n_tokens is not None
        n_parameters = n_tokens / TOKENS_PER_PARAMETER
    if budget is not None and n_parameters is None:
        n_parameters = (
            math.sqrt(budget / (FLOPS_PER_TOKEN * TOKENS_PER_PARAMETER))
            if n_tokens is None
            else budget / (FLOPS_PER_TOKEN * n_tokens)
        )
    assert n_parameters is not None
    if n_tokens is None:
        n_tokens = n_parameters * TOKENS_PER_PARAMETER if budget is None else budget / (FLOPS_PER_TOKEN * n_parameters)
    total = FLOPS_PER_TOKEN * n_parameters * n_tokens
    return Plan(n_parameters, n_tokens, total, pace, total / pace / 3600)


def flops_per_second(size: float, device: str | None = None, seconds: float = 3.0) -> float:
    """How many useful FLOPs a second of training a transformer does here: 6 a parameter and token, measured.

    Args:
        size: parameters of the model that is timed, about.
        device: the best there is by default.
        seconds: of the measurement, about.
    """
    n_layers, dim = defaults.shape(size)
    where = pick_device(device)
    block_size, bs = 128, max(1, 4096 // 128 if where.type == "cuda" else 1024 // 128)
    with rng.preserved():
        rng.seed_everything(0)
        model = Transformer(VOCABULARY, block_size, dim, n_layers, dim // 64).to(where)
        opt = build("adamw", model, [list(model.parameters())], [1e-4], 0.1)
        st = TrainState(model, opt, TokenLoss(), where, 0, 1, 1, 1)
        step, events = Step(resolve_precision("auto", where)), bind(())
        tokens = torch.randint(0, VOCABULARY, (bs, block_size + 1), device=where)
        batch = Batch((tokens[:, :-1],), (tokens[:, 1:],))
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            step(st, (batch,), events)
            float(st.pending_losses[-1])  # waits for the device
            times.append(time.perf_counter() - start)
    counted = n_parameters(model)  # the output layer's work is real, and it is the embedding's
    return FLOPS_PER_TOKEN * counted * bs * block_size / float(np.median(times[1:]))


@dataclass(frozen=True, slots=True)
class ScalingFit:
    """Loss as a function of compute: floor + scale * flops^-exponent.

    Attributes:
        floor: what no compute goes below.
        scale: of what compute removes.
        exponent: of it.
        spread: standard deviation of the runs around the curve, in nats.
        samples: the three, fitted again and again on runs drawn anew, [n, 3].
    """

    floor: float
    scale: float
    exponent: float
    spread: float
    samples: NDArray[np.float64]

    def predict(self, flops: float, share: float = 0.9) -> tuple[float, float, float]:
        """(loss, low, high) at a compute: the curve, and the interval that holds a new run with this probability.

        Further than ten times beyond the runs the interval says little: the form of the curve itself is then a guess.
        """
        draws = np.random.default_rng(1).normal(0.0, self.spread, len(self.samples))
        losses = _curve(self.samples, flops) + draws
        low, high = np.quantile(losses, [(1 - share) / 2, (1 + share) / 2])
        return float(_curve(np.array([[self.floor, self.scale, self.exponent]]), flops)[0]), float(low), float(high)


def _curve(fits: NDArray[np.float64], flops: float) -> NDArray[np.float64]:
    return np.asarray(fits[:, 0] + fits[:, 1] * flops ** -fits[:, 2])


def scaling_fit(runs: Sequence[tuple[float, float]], metric: str = "loss") -> ScalingFit:
    """Fits loss against compute, with its uncertainty (LM03, LM04).

    Args:
        runs: (FLOPs, validation loss in nats) of each; four at least, over a factor of ten in compute, and rather more.
        metric: what the figures are; losses alone follow such a curve.

    Raises:
        SettingError: the figures are no losses, or too few to fit.

    Source: Kaplan et al. 2001.08361; that single tasks do not follow such curves: Wei et al. 2206.07682.
    """
    if metric not in ("loss", "valid_loss", "bits_per_byte", "valid_bits_per_byte"):
        raise SettingError(
            f"metric is {metric!r}: tasks scale unpredictably, and no curve is fitted to them (LM04). Give validation losses."
        )
    figures = np.array([(float(flops), float(loss)) for flops, loss in runs], np.float64).reshape(-1, 2)
    if len(figures) < 4 or not np.isfinite(figures).all() or (figures <= 0).any():
        raise SettingError(f"runs holds {len(figures)} pairs; expected four and more of (FLOPs, loss), all above 0.")
    if figures[:, 0].max() < 10 * figures[:, 0].min():
        raise SettingError("the runs differ by less than ten times in compute; train smaller or larger ones as well.")
    best = _fit(figures)
    residuals = figures[:, 1] - np.array([_curve(best[None], c)[0] for c in figures[:, 0]])
    spread = float(np.sqrt((residuals**2).sum() / max(1, len(figures) - 3)))
    generator = np.random.default_rng(0)
    fitted = figures[:, 1] - residuals
    samples = []
    for _ in range(400):
        drawn = fitted + generator.normal(0.0, max(spread, 1e-9), len(figures))
        samples.append(_fit(np.stack([figures[:, 0], drawn], 1)))
    floor, scale, exponent = (float(value) for value in best)
    return ScalingFit(floor, scale, exponent, spread, np.array(samples))


def _fit(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Floor, scale and exponent of least squares: a line in logarithms for each of many floors, the best one kept."""
    log_c, loss = np.log(figures[:, 0]), figures[:, 1]
    floors = np.concatenate([[0.0], loss.min() * (1 - np.geomspace(1.0, 1e-3, 60))])[:, None]
    above = loss - floors  # [floors, runs]
    log_above, weight = np.log(above), above**2  # weights: errors of the loss count, not of its logarithm
    weight = weight / weight.sum(1, keepdims=True)
    x, y = log_c - (weight * log_c).sum(1, keepdims=True), (weight * log_above).sum(1, keepdims=True)
    slope = (weight * x * (log_above - y)).sum(1, keepdims=True) / (weight * x**2).sum(1, keepdims=True)
    offset = y - slope * (log_c - x)[:, :1]
    best = int(((floors + np.exp(offset + slope * log_c) - loss) ** 2).sum(1).argmin())
    return np.array([floors[best, 0], np.exp(offset[best, 0]), -slope[best, 0]])
