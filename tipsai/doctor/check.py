"""A check: what it measures, and how the figures are judged. And the round in which checks are made."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

from tipsai.bar import bar
from tipsai.core.errors import SettingError, nearest
from tipsai.core.finding import Finding, Severity
from tipsai.core.text import amount, table
from tipsai.doctor.context import Context, own_orders_kept

log = logging.getLogger("tipsai")
Stage = Literal["data", "start", "thorough", "training", "end"]
Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check makes of its figures; with the check's code, tip and source it becomes a Finding."""

    severity: Severity
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        code: its name, such as "first-loss".
        stage: "data" (no model), "start" (the model before training), "thorough" (trains something), "training", "end".
        tip: the tip it comes from, such as "TR08".
        measure: from the Context (in training: the Record) to figures; None where the check does not apply.
        judge: from figures to verdicts, none if all is well.
        source: of the rule and its thresholds.
        unless: codes whose findings explain this one's; after them it is not made. "error" stands for any error.
        again: whether it is made once more after training.
    """

    code: str
    stage: Stage
    tip: str
    measure: Callable[[Any], Figures | None]
    judge: Callable[[Figures], Iterable[Verdict]]
    source: str = ""
    unless: tuple[str, ...] = ()
    again: bool = False

    def findings(self, figures: Figures, step: int | None = None) -> list[Finding]:
        """What the figures amount to, in training at some step."""
        return [
            Finding(self.code, self.tip, v.severity, v.message, v.evidence, v.fix, self.source, step)
            for v in self.judge(figures)
        ]


class Findings(list[Finding]):
    """Findings, the gravest first; prints as a table.

    Attributes:
        failed: checks that could not be made, and why.
        measured: what checks measured, by code; those that found nothing wrong included.
    """

    def __init__(
        self,
        findings: Iterable[Finding] = (),
        failed: Mapping[str, str] | None = None,
        measured: Mapping[str, Figures] | None = None,
    ) -> None:
        grave = ("error", "warning", "advice")
        super().__init__(sorted(findings, key=lambda finding: grave.index(finding.severity)))
        self.failed, self.measured = dict(failed or {}), dict(measured or {})

    def __str__(self) -> str:
        if not self:
            return "nothing found"
        rows = [[f.severity, f.tip, f.code] for f in self]
        lines = table(rows, ["severity", "tip", "code"]).splitlines()
        told = [f"{line}  {f.message}\n{'':>4}{f.fix}".rstrip() for line, f in zip(lines[2:], self, strict=True)]
        return "\n".join([f"{lines[0]}  what was found", *told])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same table for notebooks, its lines wrapped."""
        if not self:
            return "<p>nothing found</p>"
        cell = "<td style='text-align:left;vertical-align:top'>"
        rows = "".join(
            f"<tr>{cell}<b>{f.severity}</b></td>{cell}{f.tip}</td>{cell}{f.code}</td>{cell}{escape(f.message)}"
            f"<br><i>{escape(f.fix)}</i></td></tr>"
            for f in self
        )
        names = "".join(
            f"<th style='text-align:left'>{name}</th>" for name in ("severity", "tip", "code", "what was found")
        )
        return f"<table><tr>{names}</tr>{rows}</table>"


def known_codes(codes: Iterable[str], checks: Iterable[Check]) -> frozenset[str]:
    """The codes of checks to leave out.

    Raises:
        SettingError: no check has such a code.
    """
    found, known = frozenset([codes] if isinstance(codes, str) else codes), {check.code for check in checks}
    for code in sorted(found - known):
        raise SettingError(f"there is no check {code!r}.{nearest(code, known)} Codes stand in the findings' table.")
    return found


def tell(findings: Iterable[Finding]) -> None:
    """Says what is more than advice through the log."""
    for finding in findings:
        if finding.severity != "advice":
            step = "" if finding.step is None else f"step {finding.step}: "
            log.warning("%s%s", step, finding)


def counted(findings: Iterable[Finding]) -> str:
    """How many findings are more than advice, in words; "" for none."""
    found = [f.severity for f in findings]
    counts = [(found.count(word), word) for word in ("error", "warning")]
    return ", ".join(amount(n, word) for n, word in counts if n)


def make(
    checks: Iterable[Check],
    subject: Any,
    found: list[Finding],
    step: int | None = None,
    measured: dict[str, Figures] | None = None,
) -> dict[str, str]:
    """Makes checks one after the other, save those that a finding explains.

    One that fails says nothing of the run, and must not end a training: it is passed over.

    Args:
        checks: in the order in which they are to be made.
        subject: what they measure.
        found: what was found before; what is found now is added.
        step: of training.
        measured: takes what each check measured, by code.

    Returns:
        why checks failed, by code.
    """
    failed: dict[str, str] = {}
    for check in checks:
        grave = {f.code for f in found if f.severity != "advice"} | {f.severity for f in found}
        explained = not grave.isdisjoint(check.unless)
        if explained and check.stage != "end":
            continue  # of a trained model it is measured all the same, for whoever asks for the figures
        began = time.perf_counter()
        try:
            figures = check.measure(subject)
            if figures is not None:
                found += [] if explained else check.findings(figures, step)
                if measured is not None:
                    measured[check.code] = figures
        except Exception as error:  # whatever a model, a dataset or a check of one's own may raise
            failed[check.code] = f"{type(error).__name__}: {error}"
            log.debug("check %s failed", check.code, exc_info=True)
        log.debug("check %s: %.2f s", check.code, time.perf_counter() - began)
    return failed


def examine(
    ctx: Context,
    checks: Sequence[Check],
    silent: Iterable[str] = (),
    progress: bool = True,
    known: Iterable[Finding] = (),
) -> Findings:
    """What checks find before or after training; one that fails is named in the result.

    Args:
        ctx: what to look at.
        checks: in the order in which they are to be made.
        silent: codes of checks to leave out.
        progress: show a bar on standard error once it takes longer than two seconds; files and pipes get none.
        known: what was found before, and may explain what would be found now.
    """
    found, measured = list(known), dict[str, Figures]()
    n = len(found)
    left_out = set(silent)
    chosen = [check for check in checks if check.code not in left_out]
    with bar(chosen, "checks", progress) as shown, own_orders_kept(ctx.dls):
        failed = make(shown, ctx, found, measured=measured)
    return Findings(found[n:], failed, measured)
