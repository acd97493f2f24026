"""The doctor: checks that measure whether the tips hold for this model and these data."""

from tipsai.doctor import dependence, fit_few, flow, inputs, order, outputs, shift, splits, targets
from tipsai.doctor.check import Check, Findings, Verdict, examine
from tipsai.doctor.context import Context

CHECKS: tuple[Check, ...] = (
    *splits.CHECKS,
    *order.CHECKS,
    inputs.NON_FINITE,
    *targets.CHECKS,
    *inputs.CHECKS,
    *shift.CHECKS,
    *inputs.START,
    *dependence.CHECKS,
    *outputs.CHECKS,
    *flow.CHECKS,
    *fit_few.CHECKS,
)

__all__ = ["CHECKS", "Check", "Context", "Findings", "Verdict", "examine"]
