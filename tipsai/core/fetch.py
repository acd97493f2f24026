"""From the device to the host, now and then and in one go: what the steps left, and whether it is finite."""

import math

import torch
from torch import Tensor

from tipsai.core.errors import NonFiniteLossError
from tipsai.core.state import TrainState
from tipsai.core.weights import load_tensors


def fetch(st: TrainState) -> None:
    """Brings what the steps left on the device to the host in one go, and checks that every loss and gradient is finite."""
    losses, norms, rates = _floats(st.pending_losses), _floats(st.pending_norms), st.pending_rates
    tensors = [w for w in st.pending_weights if isinstance(w, Tensor)]
    counts = iter(_floats(tensors))
    weights = [next(counts) if isinstance(w, Tensor) else float(w) for w in st.pending_weights]
    st.pending_losses, st.pending_weights, st.pending_norms, st.pending_rates = [], [], [], []
    losses = [loss if weight else 0.0 for loss, weight in zip(losses, weights, strict=True)]
    for i, (loss, norm) in enumerate(zip(losses, norms or losses, strict=True)):
        if not (math.isfinite(loss) and math.isfinite(norm)):
            _fail(st, losses[: i + 1], norm, len(losses) - i - 1, rates[i])
    for loss, weight in zip(losses, weights, strict=True):
        st.objective_sum += loss * weight
        st.objective_weight += weight
    st.losses, st.norms, st.rates = losses, norms, rates


def _floats(tensors: list[Tensor]) -> list[float]:
    return torch.stack(tensors).float().cpu().tolist() if tensors else []  # one wait for all of them


def _fail(st: TrainState, losses: list[float], norm: float, n_later: int, rate: float) -> None:
    found = f"loss is {losses[-1]}" if not math.isfinite(losses[-1]) else f"gradient's norm is {norm}"
    finite = [loss for loss in [*st.losses[-1:], *losses] if math.isfinite(loss)]
    before = f"the last finite loss was {finite[-1]:.6g}" if finite else "no loss before it was seen"
    assert st.weights is not None
    load_tensors(st.model, st.weights)
    step = st.step - n_later
    hint = (
        "No weight has moved yet, so the rate is not the cause: learn.check() names the layer that left the finite numbers."
        if st.first_step + step <= 1
        else "Lower lr (learn.lr_find() suggests one), or look for infinite or huge values among the inputs."
    )
    raise NonFiniteLossError(
        f"The {found} at step {step} of {st.n_steps}, at a learning rate of {float(rate):.3g}; "
        f"{before}. The model is back at its last good weights. {hint}"
    )
