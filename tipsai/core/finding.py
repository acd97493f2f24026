"""What a check or a loader found wrong, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "advice"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, with the figures that show it and the way to mend it.

    Attributes:
        code: what found it, such as "corrupt-pictures".
        tip: the tip it comes from, such as "DA12"; "" where none does.
        severity: "error", "warning" or "advice".
        message: what was found, in one sentence.
        evidence: the figures, or the names concerned.
        fix: what to do about it.
        source: of the rule, where it comes from a paper or a course.
        step: the optimizer step at which it was found; None outside training.
    """

    code: str
    tip: str
    severity: Severity
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    fix: str = ""
    source: str = ""
    step: int | None = None

    def __str__(self) -> str:
        between = "\n" if "\n" in self.message else " "  # a message may end with a list
        return f"{self.severity}: {self.message}{between}{self.fix}".rstrip()
