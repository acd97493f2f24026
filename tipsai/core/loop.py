"""The training loop. Its events are listed, as pseudocode, in core/callback.py."""

import itertools
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tipsai.core.callback import Events
from tipsai.core.errors import NonFiniteLossError
from tipsai.core.state import Batch, BatchSource, Row, TrainState
from tipsai.core.step import Step

FETCH_SECONDS = 0.25  # how often the host looks at the device's results; the numbers do not depend on it


def train(
    st: TrainState, source: BatchSource, events: Events, step: Step, validate: Callable[[], Row], accumulate: int = 1
) -> None:
    """Trains until st.n_steps or a stop. Goes on from st.epoch and st.step_in_epoch, reading no data before them.

    Args:
        st: the state; its counters say where to begin.
        source: gives the batches of an epoch from any position.
        events: the bound callbacks.
        step: one optimizer step.
        validate: the figures of the validation split, {} without one.
        accumulate: micro-batches an optimizer step.

    Raises:
        NonFiniteLossError: the loss stopped being finite; the model was put back to st.weights.
    """
    try:
        _fire(events.before_fit, st)
        while st.step < st.n_steps and not st.stop_reason:
            if _epoch(st, source, events, step, accumulate):
                st.row = {
                    "epoch": st.total_epoch + 1,
                    "train_objective": st.objective_sum / st.objective_weight,
                } | validate()
                st.epoch, st.step_in_epoch = st.epoch + 1, 0
                st.objective_sum = st.objective_weight = 0.0
                st.history.append(st.row)
                _fire(events.after_epoch, st)
    except BaseException as error:
        st.error = error
        raise
    finally:
        st.batch = st.pred = st.loss = None
        _fire_all(events.after_fit, st)


def _epoch(st: TrainState, source: BatchSource, events: Events, step: Step, accumulate: int) -> bool:
    """Runs one epoch, or what is left of it; True if it came to its end."""
    st.model.train()
    st.weights = {name: t.detach().clone() for name, t in st.model.state_dict().items()}
    _fire(events.before_epoch, st)
    batches = source.batches(seed=st.seed, epoch=st.total_epoch, start=st.step_in_epoch * accumulate)
    last = time.perf_counter()
    for group in _groups(batches, accumulate):
        step(st, group, events)
        st.step += 1
        st.step_in_epoch += 1
        for listen in events.after_step:
            listen(st)
        if time.perf_counter() - last > FETCH_SECONDS:
            fetch(st)
            _fire(events.after_log, st)
            last = time.perf_counter()
        if st.stop_reason or st.step == st.n_steps:
            break
    fetch(st)
    _fire(events.after_log, st)
    return st.step_in_epoch == st.steps_per_epoch or st.step == st.n_steps


def _groups(batches: Iterator[Batch], n: int) -> Iterator[tuple[Batch, ...]]:
    while group := tuple(itertools.islice(batches, n)):
        yield group


def fetch(st: TrainState) -> None:
    """Brings what the steps left on the device to the host in one go, and checks that every loss is finite."""
    losses, norms = _floats(st.pending_losses), _floats(st.pending_norms)
    tensors = [w for w in st.pending_weights if isinstance(w, Tensor)]
    counts = iter(_floats(tensors))
    weights = [next(counts) if isinstance(w, Tensor) else float(w) for w in st.pending_weights]
    st.pending_losses, st.pending_weights, st.pending_norms = [], [], []
    bad = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)
    if bad is not None:
        _fail(st, losses, bad)
    for loss, weight in zip(losses, weights, strict=True):
        st.objective_sum += loss * weight
        st.objective_weight += weight
    st.losses, st.norms = losses, norms


def _floats(tensors: list[Tensor]) -> list[float]:
    return torch.stack(tensors).float().cpu().tolist() if tensors else []  # one wait for all of them


def _fail(st: TrainState, losses: list[float], bad: int) -> None:
    step = st.step - len(losses) + bad + 1
    before = losses[bad - 1] if bad else (st.losses[-1] if st.losses else math.nan)
    assert st.weights is not None
    st.model.load_state_dict(st.weights)
    raise NonFiniteLossError(
        f"The loss is {losses[bad]} at step {step} of {st.n_steps}, at a learning rate of {st.opt.param_groups[-1]['lr']:.3g}; "
        f"the last finite loss was {before:.6g}. The model is back at its last good weights. "
        "Lower lr (learn.lr_find() suggests one), or look for infinite or huge values among the inputs."
    )


def _fire(listeners: tuple[Callable[[TrainState], None], ...], st: TrainState) -> None:
    for listen in listeners:
        listen(st)


def _fire_all(listeners: tuple[Callable[[TrainState], None], ...], st: TrainState) -> None:
    """Every after_fit runs, even if one of them fails; the first failure is raised at the end."""
    errors = []
    for listen in listeners:
        try:
            listen(st)
        except Exception as error:  # kept, and raised below
            errors.append(error)
    if errors:
        raise errors[0]
