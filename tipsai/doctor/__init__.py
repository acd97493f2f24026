"""The doctor: checks that measure whether the tips hold for this model and these data."""

from tipsai.doctor import (
    accumulation,
    baselines,
    dependence,
    fit_few,
    flow,
    gaps,
    inputs,
    labels,
    nonfinite,
    order,
    outputs,
    shift,
    splits,
    targets,
    thorough,
    training,
)
from tipsai.doctor.check import Check, Findings, Verdict, examine
from tipsai.doctor.context import Context
from tipsai.doctor.watch import Record, Watch

CHECKS: tuple[Check, ...] = (
    *splits.CHECKS,
    *order.CHECKS,
    inputs.NON_FINITE,
    *targets.CHECKS,
    *inputs.CHECKS,
    *shift.CHECKS,
    *nonfinite.CHECKS,
    *inputs.START,
    *dependence.CHECKS,
    *outputs.CHECKS,
    *flow.CHECKS,
    *accumulation.CHECKS,
    *fit_few.CHECKS,
)

THOROUGH: tuple[Check, ...] = thorough.CHECKS
TRAINING: tuple[Check, ...] = training.CHECKS
ENDING: tuple[Check, ...] = (*baselines.CHECKS, *gaps.CHECKS, *labels.CHECKS)

__all__ = [
    "CHECKS",
    "ENDING",
    "THOROUGH",
    "TRAINING",
    "Check",
    "Context",
    "Findings",
    "Record",
    "Verdict",
    "Watch",
    "examine",
]
