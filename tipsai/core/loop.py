"""The training loop. Its events are listed, as pseudocode, in core/callback.py."""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator

from tipsai.core import modes
from tipsai.core.callback import Events, fire, fire_all
from tipsai.core.errors import DataError
from tipsai.core.fetch import fetch
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
        DataError: the source gave fewer batches than its length says.
    """
    try:
        fire(events.before_fit, st)
        # A run that goes on from its last step has still to judge the epoch which that step ended.
        while (st.step < st.n_steps or st.step_in_epoch) and not st.stop_reason:
            if _epoch(st, source, events, step, accumulate):
                objective = st.objective_sum / (st.objective_weight or math.nan)
                st.row = {"epoch": st.total_epoch + 1, "train_objective": objective} | validate()
                st.epoch, st.step_in_epoch = st.epoch + 1, 0
                st.objective_sum = st.objective_weight = 0.0
                st.history.append(st.row)
                fire(events.after_epoch, st)
    except BaseException as error:
        st.error = error
        raise
    finally:
        st.batch = st.pred = st.loss = None
        fire_all(events.after_fit, st)


def _epoch(st: TrainState, source: BatchSource, events: Events, step: Step, accumulate: int) -> bool:
    """Runs one epoch, or what is left of it; True if it came to its end."""
    modes.train(st.model)
    st.weights = {name: t.detach().clone() for name, t in st.model.state_dict().items()}
    fire(events.before_epoch, st)
    left = st.step < st.n_steps  # False in a run that goes on from its last step
    start = st.step_in_epoch * accumulate
    batches = source.batches(seed=st.seed, epoch=st.total_epoch, start=start) if left else iter(())
    last = time.perf_counter()
    with contextlib.closing(_groups(batches, accumulate)) as groups:  # now, and not when memory is tidied: workers end
        for group in groups:
            step(st, group, events)
            st.step += 1
            st.step_in_epoch += 1
            for listen in events.after_step:
                listen(st)
            if time.perf_counter() - last > FETCH_SECONDS:
                fetch(st)
                fire(events.after_log, st)
                last = time.perf_counter()
            if st.stop_reason or st.step == st.n_steps:
                break
    fetch(st)
    fire(events.after_log, st)
    ended = st.step_in_epoch == st.steps_per_epoch or st.step == st.n_steps
    if not ended and not st.stop_reason:
        raise DataError(
            f"the training data ended after {st.step_in_epoch} of {st.steps_per_epoch} steps of an epoch; "
            "the loader's length must be the number of batches it gives, every time."
        )
    return ended


def _groups(batches: Iterator[Batch], n: int) -> Generator[tuple[Batch, ...]]:
    try:
        while group := tuple(itertools.islice(batches, n)):
            yield group
    finally:
        if isinstance(batches, Generator):
            batches.close()
