"""The doctor: checks that measure whether the tips hold for this model and these data."""

from tipsai.doctor.check import Check, Findings, Verdict, examine
from tipsai.doctor.checks import CHECKS
from tipsai.doctor.context import Context
from tipsai.doctor.doctor import Doctor
from tipsai.doctor.watch import Record, Watch

__all__ = ["CHECKS", "Check", "Context", "Doctor", "Findings", "Record", "Verdict", "Watch", "examine"]
