"""Sets rates and momentum as a function of progress; it has no state of its own, and leaves momentum as it was made."""

from collections.abc import Sequence

from tipsai.core.callback import Callback
from tipsai.core.state import TrainState
from tipsai.optim import default_momentum, set_momentum
from tipsai.schedule import Schedule, progress


class Scheduler(Callback):
    """Drives every parameter group by a schedule.

    Args:
        schedule: the course of the rate, as a share of the peak, and of momentum.
        peaks: the peak rate of each layer group.
    """

    order = -50  # before anybody looks at the rates

    def __init__(self, schedule: Schedule, peaks: Sequence[float]) -> None:
        self.schedule, self.peaks = schedule, tuple(peaks)

    def after_backward(self, st: TrainState) -> None:
        p = progress(st.step, st.n_steps)
        share = self.schedule.lr(p)
        for group in st.opt.param_groups:
            group["lr"] = share * self.peaks[group.get("layer_group", -1)]
        if self.schedule.momentum is not None:
            set_momentum(st.opt, self.schedule.momentum(p))

    def after_fit(self, st: TrainState) -> None:
        if self.schedule.momentum is not None:
            set_momentum(st.opt, default_momentum(st.opt))
