"""The doctor of one run: what it checks, what it leaves out, and what it found so far."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from tipsai.core import modes, rng
from tipsai.core.finding import Finding
from tipsai.doctor import nonfinite
from tipsai.doctor.check import Check, Findings, examine, known_codes, tell
from tipsai.doctor.checks import CHECKS
from tipsai.doctor.context import Context
from tipsai.doctor.watch import Record, Watch

LOOKED = {
    "data": "the data",
    "start": "the untrained model",
    "thorough": "copies that were trained",
    "training": "training",
    "end": "the trained model",
}


class Doctor:
    """Makes checks on one run, and remembers what came of them.

    Args:
        further: checks besides its own.
        silent: codes of checks to leave out.

    Attributes:
        checks: all of them, in the order in which they are made.
        found: what was found so far.
        measured: what checks measured, by code; those that found nothing wrong included.
        record: what was kept of the last fit; None without one, or where the doctor was off.
        due: whether a training ended, or the test was opened, since the end checks were made.
        looked: at what, in words.
        test_open: whether the test's targets may be looked at.

    Raises:
        SettingError: no check has one of the silent codes.
    """

    def __init__(self, further: Sequence[Check] = (), silent: Iterable[str] = ()) -> None:
        self.checks = [*CHECKS, *further]
        self.silent: frozenset[str] = frozenset()
        self.silence(silent)
        self.found: list[Finding] = []
        self.measured: dict[str, Any] = {}
        self.record: Record | None = None
        self.due = self.test_open = False
        self.looked: list[str] = []

    def silence(self, codes: Iterable[str]) -> None:
        """Leaves out further checks, before, in and after training.

        Raises:
            SettingError: no check has such a code.
        """
        self.silent |= known_codes(codes, self.checks)

    def of(self, *stages: str) -> list[Check]:
        """The checks of some stages."""
        return [check for check in self.checks if check.stage in stages]

    def look(
        self, ctx: Context, model: nn.Module, *stages: str, silent: Iterable[str] = (), progress: bool = False
    ) -> Findings:
        """Makes the checks of some stages; what they find takes the place of what they found before.

        Args:
            ctx: what to look at.
            model: the run's own, of which the modes are put back.
            *stages: see Check.
            silent: more codes to leave out.
            progress: see examine.

        Raises:
            SettingError: no check has one of the silent codes.
        """
        left_out = self.silent | known_codes(silent, self.checks)
        self._note(*stages)
        once_more = [check for check in self.checks if check.again and "end" in stages]
        return self._made(ctx, model, [*self.of(*stages), *once_more], left_out, progress)

    def _made(
        self, ctx: Context, model: nn.Module, checks: Sequence[Check], silent: Iterable[str], progress: bool = False
    ) -> Findings:
        codes = {check.code for check in checks}
        known = [f for f in self.found if f.code not in codes]
        with rng.preserved(), modes.kept(model):
            found = examine(ctx, checks, silent, progress, known)
        self.found = [*known, *found]
        self.measured |= found.measured
        return found

    def _note(self, *stages: str) -> None:
        self.looked = list(dict.fromkeys([*self.looked, *(LOOKED[stage] for stage in stages)]))

    def watch(self, default_lr: float | None) -> Watch:
        """A callback for a fit; what was found before is not said again.

        Args:
            default_lr: what the optimizer would take by default.
        """
        return Watch(self.of("training"), default_lr, self.silent, self.found)

    def discharge(self, watch: Watch | None, ended: bool) -> None:
        """Takes over what a fit showed.

        Args:
            watch: that was there; None where the doctor was off.
            ended: whether the fit came to its end, so that what it trained can be judged.
        """
        self.found += watch.found if watch else []
        self.record = watch.record if watch else None
        self._note(*(["training"] if watch else []))
        self.due = ended and watch is not None

    def open_test(self) -> None:
        """The test was opened, so that what a trained model makes of it may be judged as well."""
        self.test_open = True
        self.due |= "gaps" in self.measured

    def judge(self, ctx: Context, model: nn.Module) -> Findings:
        """Makes the checks of a trained model."""
        self.due = False
        return self.look(ctx, model, "end")

    def find_non_finite(self, ctx: Context, model: nn.Module, epoch: int) -> None:
        """Looks for the layer that left the finite numbers in an epoch; the model is at that epoch's first weights."""
        n = len(ctx.dls.train or ())
        place = Check(
            "non-finite-values",
            "training",
            "MO05",
            lambda ctx: nonfinite.in_epoch(ctx, epoch, n),
            nonfinite.judge_place,
        )
        tell(self._made(ctx, model, [place], self.silent))
