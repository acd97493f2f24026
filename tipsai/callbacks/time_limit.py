"""A fit that ends in time although its steps take longer, or less, than was thought: its schedule is drawn in or out, not cut off."""

import logging
import math
import time
from collections import deque
from typing import Any

from tipsai.core.callback import Callback
from tipsai.core.errors import SettingError, require_positive
from tipsai.core.state import TrainState

log = logging.getLogger("tipsai")
LOOK_EVERY = 0.01  # of the limit
WINDOW = 25  # looks, a quarter of the limit: a pause of seconds hardly counts, a machine that slows for good does
TOLERANCE = 0.02  # a fit that is late, or early, by less stays as it was planned


class TimeLimit(Callback):
    """Shortens a fit, schedule and all, where the planned steps would take longer than the limit.

    Laptops slow once they are warm, and other programs start. Rates and momentum are functions of progress, so they come
    to their end in the steps that are left. A fit that keeps its pace is left alone, bit for bit. Where a machine recovers,
    steps come back.

    Args:
        seconds: wall time of the fit, validations included; of a fit that is resumed, what it took before counts.
        longest: steps at most, as a multiple of the planned ones: above 1, the time is used where steps turn out faster.

    Raises:
        SettingError: the limit is not above zero, or the longest fit is shorter than the planned one.
    """

    order = 40  # after MixUp, which asks the plan whether the fit is long; before Progress, which shows what is left

    def __init__(self, seconds: float, longest: float = 1.0) -> None:
        require_positive("seconds", seconds)
        require_positive("longest", longest)
        if longest < 1:
            raise SettingError(f"longest is {longest:g}; expected a multiple of the planned steps of at least 1.")
        self.seconds, self.longest = seconds, longest
        self.n_steps = 0  # that the fit was left with; 0: not looked at yet

    def before_fit(self, st: TrainState) -> None:
        self.planned, self.told = st.n_steps, False
        self.began = self.looked = time.perf_counter()
        self.looks: deque[tuple[float, int]] = deque(maxlen=WINDOW)
        self._set(st, (st.step and self.n_steps) or self.planned)  # the former in a fit that goes on

    def after_step(self, st: TrainState) -> None:
        now = time.perf_counter()
        if now - self.looked < LOOK_EVERY * self.seconds or st.step >= st.n_steps:
            return
        self.looked = now
        self.looks.append((now, st.step))
        (since, first), n_done = self.looks[0], st.step
        if n_done == first:
            return  # the first look: until then kernels were chosen and memory was got
        left = self.seconds - st.seconds - (now - self.began)
        fitting = math.floor(n_done + left * (n_done - first) / (now - since))
        target = min(fitting, math.floor(self.longest * self.planned))
        if abs(target / self.planned - 1) <= TOLERANCE:
            target = self.planned
        elif target < self.planned and not self.told:
            fit = max(target, n_done)
            log.info("steps take longer than was planned: some %d of %d fit into the time", fit, self.planned)
            self.told = True
        # At most half of what is left goes at a look, so that rates come down even where the time is long over.
        self._set(st, max(target, n_done + math.ceil((st.n_steps - n_done) / 2)))

    def _set(self, st: TrainState, n_steps: int) -> None:
        self.n_steps = st.n_steps = n_steps
        st.n_epochs = -(-n_steps // st.steps_per_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"n_steps": self.n_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.n_steps = state["n_steps"]
