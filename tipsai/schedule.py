"""Schedules as pure functions of progress, which goes from 0 at the first step to 1 at the last (TR07, TR10).

>>> curve = join((0.25, cosine(0.04, 1.0)), (0.75, cosine(1.0, 0.0)))
>>> round(curve(0.25), 6), round(curve(1.0), 6)
(1.0, 0.0)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tipsai.core.errors import SettingError

Curve = Callable[[float], float]


def constant(value: float = 1.0) -> Curve:
    return lambda p: value


def linear(start: float, end: float) -> Curve:
    return lambda p: start + (end - start) * p


def cosine(start: float, end: float) -> Curve:
    """Half a cosine: flat at both ends (Loshchilov and Hutter 1608.03983)."""
    return lambda p: end + (start - end) * (1 + math.cos(math.pi * p)) / 2


def exponential(start: float, end: float) -> Curve:
    """A straight line on a logarithmic axis. Both ends above zero."""
    return lambda p: start * (end / start) ** p


def steps(factor: float, at: Sequence[float]) -> Curve:
    """1, times factor after each of the points of progress in `at`."""
    return lambda p: factor ** sum(p >= point for point in at)


def join(*parts: tuple[float, Curve]) -> Curve:
    """Curves one after another, each over its share of the progress; every curve sees its own progress from 0 to 1.

    Raises:
        SettingError: the shares do not add up to 1.
    """
    if abs(sum(share for share, _ in parts) - 1) > 1e-9 or any(share < 0 for share, _ in parts):
        raise SettingError(
            f"the shares are {[share for share, _ in parts]}; expected shares of at least 0 that add up to 1."
        )
    kept = [(share, curve) for share, curve in parts if share > 0]

    def joined(p: float) -> float:
        start = 0.0
        for share, curve in kept[:-1]:
            if p < start + share:
                return curve((p - start) / share)
            start += share
        share, curve = kept[-1]
        return curve(min(1.0, (p - start) / share))

    return joined


def restarts(curve: Curve, n: int) -> Curve:
    """The curve n times over (warm restarts, Loshchilov and Hutter 1608.03983)."""
    return lambda p: curve(1.0 if p >= 1 else p * n % 1.0)


def warmup(share: float, curve: Curve) -> Curve:
    """A linear rise from 0 to where the curve begins, then the curve over the rest."""
    return join((share, linear(0.0, curve(0.0))), (1 - share, curve))


@dataclass(frozen=True, slots=True)
class Schedule:
    """What varies over a fit: the share of the peak rate and, where given, momentum (β1 for Adam)."""

    name: str
    lr: Curve
    momentum: Curve | None = None


Momentums = tuple[float, float, float]  # at the start, the peak of the rate and the end
RISE, MOMENTUMS = 0.25, (0.95, 0.85, 0.95)  # fast.ai's, of a 1cycle


@dataclass(frozen=True, slots=True)
class Cycle:
    """How a 1cycle goes.

    Attributes:
        pct_start: the share of the steps in which the rate rises.
        moms: momentum (β1 for Adam) at the start, the peak and the end; None leaves it alone.
    """

    pct_start: float = RISE
    moms: Momentums | None = MOMENTUMS

    def within(self, n_epochs: float) -> "Cycle":
        return self

    def __str__(self) -> str:
        if self.moms is None:
            momentum = "left alone"
        else:
            momentum = "-".join(map(str, self.moms if len(set(self.moms)) > 1 else self.moms[:1]))
        return f"warm-up {self.pct_start:.0%}, momentum {momentum}"


@dataclass(frozen=True, slots=True)
class ByLength:
    """A 1cycle by the length of the fit.

    Attributes:
        usual: how it goes.
        short: how it goes in fits of fewer than `below` epochs.
        below: epochs.
    """

    usual: Cycle
    short: Cycle
    below: int

    def within(self, n_epochs: float) -> Cycle:
        return self.short if n_epochs < self.below else self.usual

    def __str__(self) -> str:
        return f"{self.usual}; of fewer than {self.below} epochs: {self.short}"


def flat() -> Schedule:
    """The peak rate throughout."""
    return Schedule("constant", constant())


def one_cycle(
    warmup_share: float = RISE,
    div: float = 25.0,
    div_final: float = 1e5,
    momentums: Momentums | None = MOMENTUMS,
) -> Schedule:
    """Up from peak/div to the peak, then down to peak/div_final, both by cosine; momentum the other way round.

    Source: Smith and Topin 1708.07120; the shape and the figures are fast.ai's (Howard and Gugger 2002.04688).
    """
    if not 0 <= warmup_share <= 1:
        raise SettingError(f"warmup_share is {warmup_share}; expected a share between 0 and 1.")
    lr = join((warmup_share, cosine(1 / div, 1.0)), (1 - warmup_share, cosine(1.0, 1 / div_final)))
    if momentums is None:
        return Schedule("one_cycle", lr)
    if not isinstance(momentums, tuple | list) or len(momentums) != 3 or not all(0 <= m < 1 for m in momentums):
        raise SettingError(
            f"momentums is {momentums!r}; expected three numbers from 0 to below 1, such as (0.95, 0.85, 0.95)."
        )
    high, low, end = momentums
    return Schedule("one_cycle", lr, join((warmup_share, cosine(high, low)), (1 - warmup_share, cosine(low, end))))


def in_words(cycle: Cycle | ByLength) -> str:
    """What fit_one_cycle does by default."""
    return f"fit_one_cycle: cosine, {cycle}"


def flat_cos(flat_share: float = 0.75, div_final: float = 1e5) -> Schedule:
    """The peak rate, then down by cosine; suits optimizers that need no warm-up."""
    if not 0 <= flat_share <= 1:
        raise SettingError(f"flat_share is {flat_share}; expected a share between 0 and 1.")
    return Schedule("flat_cos", join((flat_share, constant()), (1 - flat_share, cosine(1.0, 1 / div_final))))


def trapezoid(warmup_share: float = 0.05, cooldown_share: float = 0.4) -> Schedule:
    """Linear up, flat, linear down to 0 (warm-up, stable, decay: Hu et al. 2404.06395)."""
    middle = 1 - warmup_share - cooldown_share
    return Schedule(
        "trapezoid", join((warmup_share, linear(0.0, 1.0)), (middle, constant()), (cooldown_share, linear(1.0, 0.0)))
    )


def progress(step: int, n_steps: int) -> float:
    """0 at the first of n_steps, 1 at the last; a single step stands in the middle."""
    return step / (n_steps - 1) if n_steps > 1 else 0.5
