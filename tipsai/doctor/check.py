"""A check: what it measures, and how the figures are judged. And the round in which checks are made."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tqdm import tqdm

from tipsai.core.finding import Finding, Severity
from tipsai.core.text import table
from tipsai.doctor.context import Context

log = logging.getLogger("tipsai")
Stage = Literal["data", "start", "thorough", "training", "end"]
Figures = Mapping[str, Any]
PATIENCE = 2.0  # seconds until progress is shown


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
        unless: codes whose findings explain this one's; after them it is not made.
    """

    code: str
    stage: Stage
    tip: str
    measure: Callable[[Any], Figures | None]
    judge: Callable[[Figures], Iterable[Verdict]]
    source: str = ""
    unless: tuple[str, ...] = ()

    def __call__(self, ctx: Context) -> list[Finding]:
        figures = self.measure(ctx)
        return [] if figures is None else list(self.found(figures))

    def found(self, figures: Figures, step: int | None = None) -> Iterator[Finding]:
        for v in self.judge(figures):
            yield Finding(self.code, self.tip, v.severity, v.message, v.evidence, v.fix, self.source, step)


class Findings(list[Finding]):
    """Findings, the gravest first; prints as a table.

    Attributes:
        failed: checks that could not be made, and why.
    """

    def __init__(self, findings: Iterable[Finding] = (), failed: Mapping[str, str] | None = None) -> None:
        grave = ("error", "warning", "advice")
        super().__init__(sorted(findings, key=lambda finding: grave.index(finding.severity)))
        self.failed = dict(failed or {})

    def __str__(self) -> str:
        if not self:
            return "nothing found"
        rows = [[f.severity, f.tip, f.code] for f in self]
        lines = table(rows, ["severity", "tip", "code"]).splitlines()
        told = [f"{line}  {f.message}\n{'':>4}{f.fix}".rstrip() for line, f in zip(lines[2:], self, strict=True)]
        return "\n".join([f"{lines[0]}  what was found", *told])

    __repr__ = __str__


def examine(ctx: Context, checks: Sequence[Check], silent: Iterable[str] = (), progress: bool = True) -> Findings:
    """Makes checks one after the other. One that fails is passed over and named in the result; it says nothing of the run.

    Args:
        ctx: what to look at.
        checks: in the order in which they are to be made.
        silent: codes of checks to leave out.
        progress: show a bar on standard error once it takes longer than two seconds.
    """
    found: list[Finding] = []
    failed: dict[str, str] = {}
    left_out = set(silent)
    with tqdm(checks, desc="checks", delay=PATIENCE, disable=not progress, leave=False) as bar:
        for check in bar:
            spoken = {finding.code for finding in found if finding.severity != "advice"}
            if check.code in left_out or spoken & set(check.unless):
                continue
            began = time.perf_counter()
            try:
                found += check(ctx)
            except Exception as error:  # whatever a model or a dataset may raise: the check fails, not the run
                failed[check.code] = f"{type(error).__name__}: {error}"
                log.debug("check %s failed", check.code, exc_info=True)
            log.debug("check %s: %.2f s", check.code, time.perf_counter() - began)
    return Findings(found, failed)
