"""The report of a run: one page of HTML that needs nothing else."""

from tipsai.report.contents import Example, Figure, Looks, Report, Steps
from tipsai.report.page import html

__all__ = ["Example", "Figure", "Looks", "Report", "Steps", "html"]
