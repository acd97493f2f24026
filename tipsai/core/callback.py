"""Callbacks: typed no-ops to override, and bind, which finds the overridden ones once."""

import difflib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tipsai.core.state import TrainState

Listener = Callable[[TrainState], None]


class Callback:
    """Something that happens while training. Override what you need; an event that nobody overrides costs nothing.

    The loop, with its events (core/loop.py is as short as this):

        before_fit
        for epoch in epochs:
            before_epoch
            for group in groups of `accumulate` micro-batches:
                for batch in group:                 # st.batch, on the device, batch transforms done
                    before_batch                    # may replace st.batch
                    pred = output(model(*x)); loss = sum / weight
                    after_loss                      # may set st.skip_step
                    backward
                gradients unscaled, divided by the group's weight
                after_backward                      # rates are set here; may set st.skip_step
                clip; optimizer step
                after_step                          # never read a tensor's value here: that waits for the device
                (every quarter of a second: fetch losses and norms)
                after_log                           # st.losses, st.norms and st.rates hold plain floats
            validate                                # st.row: the epoch's figures
            after_epoch                             # may call st.stop(reason)
        after_fit                                   # always runs; st.error says what ended training, if anything did

    `order` sorts the callbacks of an event, lowest first. `state_dict` holds plain data and tensors and travels in the
    checkpoint. Whatever a callback changes (hooks, modes, patches) it puts back in `after_fit`.
    """

    order: int = 0
    stages: tuple[float, ...] = ()  # shares of the epochs after which a step's time changes; budgets measure each

    def before_fit(self, st: TrainState) -> None: ...
    def before_epoch(self, st: TrainState) -> None: ...
    def before_batch(self, st: TrainState) -> None: ...
    def after_loss(self, st: TrainState) -> None: ...
    def after_backward(self, st: TrainState) -> None: ...
    def after_step(self, st: TrainState) -> None: ...
    def after_log(self, st: TrainState) -> None: ...
    def after_epoch(self, st: TrainState) -> None: ...
    def after_fit(self, st: TrainState) -> None: ...

    def config(self) -> dict[str, Any]:
        """Plain settings that a run's numbers depend on; resuming under others is refused."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


EVENTS = tuple(name for name in vars(Callback) if name.startswith(("before_", "after_")))


class Events(NamedTuple):
    """For each event, the methods that listen to it, in order."""

    before_fit: tuple[Listener, ...]
    before_epoch: tuple[Listener, ...]
    before_batch: tuple[Listener, ...]
    after_loss: tuple[Listener, ...]
    after_backward: tuple[Listener, ...]
    after_step: tuple[Listener, ...]
    after_log: tuple[Listener, ...]
    after_epoch: tuple[Listener, ...]
    after_fit: tuple[Listener, ...]


def bind(callbacks: Iterable[Callback]) -> Events:
    """Sorts the callbacks once and returns, per event, the overridden methods only.

    Raises:
        TypeError: something is no Callback, or has a before_/after_ method that is no event.
    """
    callbacks = list(callbacks)
    for cb in callbacks:
        _check(cb)
    ordered = sorted(callbacks, key=lambda cb: cb.order)
    return Events(
        *(tuple(getattr(cb, e) for cb in ordered if getattr(type(cb), e) is not getattr(Callback, e)) for e in EVENTS)
    )


def fire(listeners: tuple[Listener, ...], st: TrainState) -> None:
    for listen in listeners:
        listen(st)


def fire_all(listeners: tuple[Listener, ...], st: TrainState) -> None:
    """Every after_fit runs, even if one fails. The first failure is raised, unless an error ended training: that one stands."""
    errors = []
    for listen in listeners:
        try:
            listen(st)
        except Exception as error:  # kept, and raised below
            errors.append(error)
    if st.error is not None:
        for failure in errors:
            st.error.add_note(f"after_fit failed too: {type(failure).__name__}: {failure}")
    elif errors:
        raise errors[0]


def _check(cb: Callback) -> None:
    if not isinstance(cb, Callback):
        hint = " Give an instance, not the class." if isinstance(cb, type) else " Derive it from tipsai.Callback."
        raise TypeError(f"{cb!r} is no callback.{hint}")
    for name in dir(type(cb)):
        if name.startswith(("before_", "after_")) and name not in EVENTS and callable(getattr(cb, name)):
            near = difflib.get_close_matches(name, EVENTS, n=1, cutoff=0.0)[0]
            raise TypeError(
                f"{type(cb).__name__}.{name} is no event, so it would never run. Did you mean {near}? The events are {', '.join(EVENTS)}."
            )
