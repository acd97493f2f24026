"""The table of the doctor's checks, in the order in which they are made."""

from tipsai.doctor import (
    accumulation,
    baselines,
    dependence,
    fit_few,
    flow,
    gaps,
    guards,
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
from tipsai.doctor.check import Check

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
    *thorough.CHECKS,
    *training.CHECKS,
    *guards.CHECKS,
    *baselines.CHECKS,
    *gaps.CHECKS,
    *labels.CHECKS,
)
