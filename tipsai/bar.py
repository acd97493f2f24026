"""A bar on standard error for work that may take long, where somebody watches it."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

PATIENCE = 2.0  # seconds without a bar


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel; asks IPython only if it is already running."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def bar(items: Sequence[T], desc: str, progress: bool = True) -> "tqdm[T]":
    """The items with a bar that shows itself after two seconds and then goes again.

    Files and pipes never get one: its control characters would fill them.

    Args:
        items: to iterate over.
        desc: what stands before the bar.
        progress: False shows none.
    """
    from tqdm import tqdm  # here, since importing tipsai must cost nothing beyond torch

    watched = in_notebook() or sys.stderr.isatty()
    return tqdm(items, desc=desc, delay=PATIENCE, disable=not (progress and watched), leave=False)
