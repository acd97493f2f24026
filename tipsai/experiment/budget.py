"""How many steps fit into a time: measured on a copy, before training starts."""

import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

from tipsai import optim
from tipsai.core import memory, modes, rng
from tipsai.core.callback import bind, fire, fire_all
from tipsai.core.errors import require_positive
from tipsai.core.state import Batch, TrainState
from tipsai.core.step import Step
from tipsai.learner import TRAIN_SAMPLE, Learner

NO_EVENTS = bind(())
EPOCHS = 1000  # of the fit whose stages are timed: enough to begin each where it would
WARMUP_STEPS = 10  # at most, not timed: the first steps allocate memory and choose kernels
MEASURED = 3.0  # seconds at most in which steps are timed; as long may be spent warming up, and TimeLimit mends what was misjudged
OTHER = 1.05  # the time of a step over that of what is measured of it
JUDGED_AFTERWARDS = 2  # the validation items, by a report that follows training: its figures, and its worst examples


class Budget(NamedTuple):
    """What training may take."""

    n_epochs: float  # a fraction included
    seconds: float  # for them, validations included; what callbacks.TimeLimit keeps to


def epochs_within(learn: Learner, minutes: float, since: float | None = None) -> Budget:
    """How many epochs training can take in so many minutes, by the pace that it has now.

    Steps are timed for at most 3% of the budget (between half a second and three), and one validation. The model, its
    optimizer and the generators are left as they were.

    Args:
        learn: ready to fit.
        minutes: of wall time, this measurement and validations included.
        since: the time.perf_counter() from which the minutes count, where they are a whole run's: what has gone by is taken off,
            and so is what judging the model afterwards will take (a sample of the training items, the validation and the
            test items). Training has half of the minutes at least.
    """
    require_positive("minutes", minutes)
    began = time.perf_counter() if since is None else since
    seconds = minutes * 60
    a_step = seconds_a_step(learn, min(MEASURED, max(0.5, 0.03 * seconds)))
    start = time.perf_counter()
    if learn.dls.valid is not None:
        learn.validate()
    a_validation = time.perf_counter() - start
    n_steps = len(learn.dls.train or ())
    left = seconds - (time.perf_counter() - began)
    if since is not None:
        left = max(left - _judging(learn, a_step, a_validation), seconds / 2)
    return Budget(max(left / (a_step * n_steps + a_validation), 1 / n_steps), max(left, a_step))


def _judging(learn: Learner, a_step: float, a_validation: float) -> float:
    """Seconds that a trained model's figures and report will take, by what a validation takes or, without one, a step."""
    train, valid, test = learn.dls.train, learn.dls.valid, learn.dls.test
    a_batch = a_validation / len(valid) if valid is not None else a_step / 3  # a step goes back and forth
    n_sample = min(len(train or ()), TRAIN_SAMPLE / learn.dls.bs)
    return a_batch * (n_sample + JUDGED_AFTERWARDS * len(valid or ()) + len(test or ()))


def seconds_a_step(learn: Learner, measuring: float) -> float:
    """The mean over a fit: the reading of batches included, and stages in which callbacks make steps cheaper.

    Up to ten steps a stage warm up, for as long as is measured at most.

    Args:
        learn: ready to fit; its model, optimizer and generators are left as they were.
        measuring: seconds in which steps are timed.
    """
    source = learn.dls.feed("train", learn.device)
    model = modes.copied(learn.model)
    groups = optim.layer_groups(model, learn.splitter)
    opt = optim.build(learn.opt_spec, model, groups, [1e-6] * len(groups), learn.wd)
    st = TrainState(model, opt, learn.loss_fn, learn.device, learn.seed, EPOCHS, 1, 1)
    step = Step(learn.precision, learn.compute_loss, learn.output)
    staged = bind(cb for cb in learn.callbacks if cb.stages)
    starts = sorted({0.0, *(start for cb in learn.callbacks for start in cb.stages)})
    mean = 0.0
    with rng.preserved(), memory.reused(), learn.dls.persistent_workers():  # as a fit does
        model.train()
        fire(staged.before_fit, st)
        try:
            for start, end in itertools.pairwise([*starts, 1.0]):
                st.epoch = round(start * EPOCHS)
                fire(staged.before_epoch, st)
                batches = itertools.chain.from_iterable(
                    source.batches(seed=learn.seed, epoch=epoch) for epoch in itertools.count()
                )
                mean += (end - start) * _timed(step, st, batches, measuring / len(starts))
        finally:
            fire_all(staged.after_fit, st)
    return mean * OTHER


def _timed(step: Step, st: TrainState, batches: Iterator[Batch], measuring: float) -> float:
    """Seconds a step, the reading of its batch included, after up to WARMUP_STEPS or `measuring` seconds to warm up."""
    times: list[float] = []
    timed = False
    first = last = time.perf_counter()
    for i, batch in enumerate(batches):
        step(st, (batch,), NO_EVENTS)
        float(st.pending_losses[-1])  # waits for the device, so that the whole step is timed
        now = time.perf_counter()
        if timed:
            times.append(now - last)
        timed = timed or i + 1 >= WARMUP_STEPS or (i > 0 and now - first > measuring)
        last = now
        if sum(times) > measuring:
            break
    return sum(times) / len(times)
