"""One fit from its options to its end: the callbacks it needs, its checkpoint, and the weights that it leaves."""

import inspect
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor

from tipsai.callbacks import EMA, Checkpointer, KeepBest, Progress
from tipsai.callbacks.checkpoint import Stateful
from tipsai.core import loop, memory, modes, rng
from tipsai.core.callback import Callback, bind
from tipsai.core.device import on_one_device
from tipsai.core.errors import SettingError, require_positive
from tipsai.core.interrupt import INTERRUPTED, stops_on_interrupt
from tipsai.core.state import BatchSource, Metric, Row, TrainState
from tipsai.core.step import Step
from tipsai.core.weights import load_tensors

log = logging.getLogger("tipsai")


class FitOptions(TypedDict, total=False):
    """What every fit takes; Fit says what each means."""

    callbacks: Sequence[Callback]
    accumulate: int
    clip: float | None
    final: str
    monitor: str
    checkpoint: str | Path | None
    checkpoint_seconds: float
    resume: bool
    reset_opt: bool
    progress: bool
    doctor: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """The options of a fit.

    Attributes:
        callbacks: more callbacks, for this fit only.
        accumulate: micro-batches an optimizer step; exactly as if they were one batch.
        clip: the largest global norm of the gradients; None for no clipping.
        final: the weights that a normal end leaves: "last", "best" (by `monitor`) or "ema".
        monitor: the validation figure by which the best is chosen.
        checkpoint: a file that is kept up to date, from which the run can go on.
        checkpoint_seconds: the least time between checkpoints within an epoch.
        resume: go on from the checkpoint, if there is one.
        reset_opt: start with a fresh optimizer.
        progress: show progress on standard error.
        doctor: look at a few steps closely, and say what is wrong; learn.findings keeps it. No number depends on it.

    Raises:
        SettingError: an option is out of range.
    """

    callbacks: Sequence[Callback] = ()
    accumulate: int = 1
    clip: float | None = 1.0
    final: str = "last"
    monitor: str = "valid_loss"
    checkpoint: str | Path | None = None
    checkpoint_seconds: float = 30.0
    resume: bool = False
    reset_opt: bool = False
    progress: bool = True
    doctor: bool = True

    def __post_init__(self) -> None:
        require_positive("accumulate", self.accumulate)
        if self.clip is not None:
            require_positive("clip", self.clip)
        if self.final not in ("last", "best", "ema"):
            raise SettingError(f"final is {self.final!r}; expected 'last', 'best' or 'ema'.")
        if self.resume and self.checkpoint is None:
            raise SettingError("resume=True needs checkpoint=PATH, the file to go on from.")
        if self.checkpoint is not None and Path(self.checkpoint).is_dir():
            raise SettingError(
                f"checkpoint={str(self.checkpoint)!r} is a folder; give a file, such as {str(Path(self.checkpoint) / 'run.ckpt')!r}."
            )


def run(
    fit: Fit,
    st: TrainState,
    source: BatchSource,
    step: Step,
    callbacks: Sequence[Callback],
    judge: Callable[[], Row],
    metrics: Mapping[str, Metric],
    config: Mapping[str, Any],
    n_fits: int,
) -> bool:
    """Trains, resumes where that is asked for, and leaves the weights that `fit.final` names.

    Args:
        fit: the options.
        st: the state to begin with; a checkpoint replaces what it holds.
        source: training batches.
        step: one optimizer step.
        callbacks: all but those that the options call for.
        judge: the figures of the validation split for the model as it stands, {} without one.
        metrics: by name; they know whether higher is better.
        config: what the run's numbers depend on besides callbacks and options.
        n_fits: fits that the learner completed before.

    Returns:
        False if the checkpoint was written by a later fit, so that this one is complete and was passed over.

    Raises:
        NonFiniteLossError: the loss stopped being finite; the model is back at its last good weights.
        ResumeError: the checkpoint belongs to another configuration.
    """
    own = list(callbacks)
    ema, best = _keepers(fit, own, metrics)
    own += [cb for cb in (ema, best) if cb is not None and cb not in own]
    saver = None
    if fit.checkpoint is not None:
        described = {type(cb).__name__: cb.config() for cb in own if cb.config()}
        whole = {**config, "accumulate": fit.accumulate, "clip": fit.clip, "final": fit.final, "callbacks": described}
        stateful: list[Stateful] = [*own, *([step.scaler] if step.scaler else [])]
        saver = Checkpointer(fit.checkpoint, whole, lambda: stateful, n_fits, fit.checkpoint_seconds)
    events = bind([*own, *([Progress()] if fit.progress else []), *([saver] if saver else [])])

    def validate() -> Row:
        with ema.applied(st.model) if ema is not None else nullcontext():
            return judge()

    with rng.preserved(), modes.kept(st.model), memory.reused(), stops_on_interrupt(st):
        rng.seed_everything(rng.derive(st.seed, "fit", n_fits))
        if saver and fit.resume and saver.path.exists():
            saved_fits, tree = saver.read()
            if saved_fits > n_fits:
                log.info("fit %d is complete in the checkpoint, which a later one wrote", n_fits + 1)
                return False
            if saved_fits == n_fits:  # else an earlier fit wrote it, and this one has not begun
                saver.restore(st, tree)
        began = time.perf_counter()
        try:
            with on_one_device(st.model, st.device):
                loop.train(st, source, events, step, validate, fit.accumulate)
        finally:
            st.seconds += time.perf_counter() - began
    if st.stop_reason == INTERRUPTED:
        log.warning("interrupted after step %d of %d; the model and its history are kept", st.step, st.n_steps)
        return True
    if st.stop_reason:
        log.info("stopped: %s", st.stop_reason)
    if fit.final == "ema" and ema is not None:
        ema.take_over(st.model)
    elif fit.final == "best" and best is not None and best.weights is not None:
        load_tensors(st.model, best.weights)
    return True


def _keepers(
    fit: Fit, callbacks: Sequence[Callback], metrics: Mapping[str, Metric]
) -> tuple[EMA | None, KeepBest | None]:
    """The averaging and the best-keeping callback: those that were given, else new ones if `final` calls for them."""
    ema = next((cb for cb in callbacks if isinstance(cb, EMA)), EMA() if fit.final == "ema" else None)
    best = next((cb for cb in callbacks if isinstance(cb, KeepBest)), None)
    if best is None and fit.final == "best":
        metric = metrics.get(fit.monitor.removeprefix("valid_"))
        best = KeepBest(fit.monitor, higher_is_better=getattr(metric, "higher_is_better", None))
    if best is not None:
        best.ema = ema  # the weights that are validated are the ones to keep
    return ema, best


def describe(thing: Any) -> list[Any]:
    """Something's class and the plain arguments it was made with, where it keeps them under their names."""
    found: list[Any] = [type(thing).__name__]
    for name in inspect.signature(type(thing)).parameters:
        value = getattr(thing, name, None)
        if isinstance(value, Tensor):
            value = value.tolist() if value.numel() <= 1000 else float(value.double().sum())
        if isinstance(value, tuple):
            value = list(value)
        if isinstance(value, str | int | float | bool | list) and name != "path":
            found.append([name, value])
        elif hasattr(value, "report") and hasattr(value, "sums"):
            found.append([name, describe(value)])
    return found
