"""The learning rate finder (TR01): train at rising rates, look where the loss falls best, and put everything back."""

import bisect
import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tipsai import plot
from tipsai.core import memory, modes, rng
from tipsai.core.callback import bind
from tipsai.core.device import on_one_device
from tipsai.core.errors import SettingError
from tipsai.core.state import Batch, BatchSource, TrainState
from tipsai.core.step import Step
from tipsai.core.weights import load_tensors
from tipsai.optim import load_state
from tipsai.schedule import exponential

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What lr_find found.

    Attributes:
        valley: half way along the longest fall of the loss, without its flat beginning; a good peak for 1cycle.
        steepest: the rate at which the loss falls fastest; cautious.
        minimum: a tenth of the rate with the least loss.
        lrs: the rates tried.
        losses: the smoothed loss at each.
    """

    valley: float
    steepest: float
    minimum: float
    lrs: list[float] = field(repr=False)
    losses: list[float] = field(repr=False)

    def plot(self) -> "Figure":
        return plot.lr_find(
            self.lrs, self.losses, {"valley": self.valley, "steepest": self.steepest, "minimum/10": self.minimum}
        )


def search(
    st: TrainState,
    source: BatchSource,
    step: Step,
    start: float = 1e-7,
    end: float = 10.0,
    n_steps: int = 100,
    accumulate: int = 1,
) -> Suggestion:
    """Trains n_steps at rates from start to end; stops when the loss is four times its best. Restores model, optimizer
    and generators in any case, and writes nothing.

    Args:
        st: a state made for this search; its model and optimizer are restored.
        source: training batches.
        step: as in training.
        start: the lowest rate.
        end: the highest.
        n_steps: rates tried.
        accumulate: micro-batches a step.

    Raises:
        SettingError: the rates are out of order, or too few steps gave a finite loss to suggest anything.

    Source: Smith 1506.01186; the valley is fastai's default (Howard and Gugger 2002.04688).
    """
    if not 0 < start < end or n_steps < 10:
        raise SettingError(
            f"start={start}, end={end}, n_steps={n_steps}; expected 0 < start < end and at least 10 steps."
        )
    weights = {name: t.detach().clone() for name, t in st.model.state_dict().items()}
    opt_state = copy.deepcopy(st.opt.state_dict())
    grads = [(p, p.grad) for p in st.model.parameters()]
    curve, events = exponential(start, end), bind(())
    lrs: list[float] = []
    losses: list[float] = []
    with rng.preserved(), modes.kept(st.model), memory.reused(), on_one_device(st.model, st.device):
        try:
            rng.seed_everything(rng.derive(st.seed, "lr_find"))
            modes.train(st.model)
            best, average = math.inf, 0.0
            for i, group in zip(range(n_steps), _endless(source, st.seed, accumulate), strict=False):
                for param_group in st.opt.param_groups:
                    param_group["lr"] = curve(i / (n_steps - 1))
                step(st, group, events)
                loss = float(st.pending_losses[-1])  # a search may wait for the device
                average = 0.9 * average + 0.1 * loss
                smoothed = average / (1 - 0.9 ** (i + 1))
                if not math.isfinite(smoothed) or (i > n_steps // 10 and smoothed > 4 * best):
                    break
                best = min(best, smoothed)
                lrs.append(curve(i / (n_steps - 1)))
                losses.append(smoothed)
        finally:
            load_tensors(st.model, weights)
            load_state(st.opt, opt_state)
            for p, grad in grads:
                p.grad = grad
            st.pending_losses, st.pending_weights, st.pending_norms, st.pending_rates = [], [], [], []
    return suggest(lrs, losses)


def _endless(source: BatchSource, seed: int, n: int) -> Iterator[tuple[Batch, ...]]:
    """Groups of n batches, epoch after epoch; the last of an epoch may be smaller."""
    for epoch in itertools.count():
        batches = source.batches(seed=seed, epoch=epoch)
        while group := tuple(itertools.islice(batches, n)):
            yield group


def suggest(lrs: Sequence[float], losses: Sequence[float]) -> Suggestion:
    """Reads suggestions off a curve of smoothed losses.

    Raises:
        SettingError: there are fewer than ten points.
    """
    if len(losses) < 10:
        raise SettingError(
            f"only {len(losses)} rates gave a finite loss; start lower, or look for huge values among the inputs."
        )
    logs = [math.log(lr) for lr in lrs]
    lowest = min(range(len(losses)), key=losses.__getitem__)
    settled = len(losses) // 10  # the first averages are over few batches, and swing
    first, last = (settled + i for i in longest_fall(losses[settled:]))
    slopes = [(losses[i + 1] - losses[i - 1]) / (logs[i + 1] - logs[i - 1]) for i in range(1, len(losses) - 1)]
    # At the lowest rates the loss creeps, however long it falls: the fall counts once a tenth of it is done.
    begun = losses[first] - 0.1 * (losses[first] - losses[last])
    first = next(i for i in range(first, last + 1) if losses[i] <= begun)
    inside = range(max(first, 1), max(min(last, len(losses) - 1), max(first, 1) + 1))
    steepest = min(inside, key=lambda i: slopes[i - 1])
    valley = (first + last) // 2
    return Suggestion(lrs[valley], lrs[steepest], lrs[lowest] / 10, list(lrs), list(losses))


def longest_fall(values: Sequence[float]) -> tuple[int, int]:
    """The first and last index of the longest strictly falling subsequence's run, in O(n log n)."""
    tails: list[float] = []  # negated ends of the best subsequences by length
    ends: list[int] = []
    start_of: list[int] = []  # where the subsequence that ends here began
    for i, value in enumerate(values):
        at = bisect.bisect_left(tails, -value)
        begun = i if at == 0 else start_of[ends[at - 1]]
        start_of.append(begun)
        if at == len(tails):
            tails.append(-value)
            ends.append(i)
        else:
            tails[at], ends[at] = -value, i
    return start_of[ends[-1]], ends[-1]
