"""The doctor: checks that measure whether the tips hold for this model and these data."""

from tipsai.doctor import dependence, fit_few, flow, inputs, order, outputs, shift, splits, targets, training
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
    *inputs.START,
    *dependence.CHECKS,
    *outputs.CHECKS,
    *flow.CHECKS,
    *fit_few.CHECKS,
)

TRAINING: tuple[Check, ...] = training.CHECKS

__all__ = ["CHECKS", "TRAINING", "Check", "Context", "Findings", "Record", "Verdict", "Watch", "examine"]
