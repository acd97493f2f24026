"""What a model makes of a split: mistakes, doubts, calibration, slices, the columns that matter (DA01)."""

from tipsai.interpret.interpretation import Interpretation

__all__ = ["Interpretation"]
