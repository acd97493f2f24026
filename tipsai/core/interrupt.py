"""Ctrl-C ends training between two steps, never within one, so that model, history and checkpoint stay whole."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from tipsai.core.state import TrainState

INTERRUPTED = "interrupted"


@contextlib.contextmanager
def stops_on_interrupt(st: TrainState) -> Iterator[None]:
    """The first Ctrl-C stops training after the current step; the second raises KeyboardInterrupt at once.

    Outside the main thread, or where somebody else handles the signal, nothing is changed.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if st.stop_reason == INTERRUPTED:
            raise KeyboardInterrupt
        st.stop_reason = INTERRUPTED

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
