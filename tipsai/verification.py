"""Whether an exported model says of raw items what the learner says (DA10)."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tipsai.core.errors import TipsaiError
from tipsai.core.finding import Finding
from tipsai.learner import Learner
from tipsai.load import load_learner

ITEMS = 64
APART = 1e-5  # of the largest prediction
NEVER_SEEN = "a value that no training row had"


def verify(learn: Learner, path: str | Path, items: Any = None) -> list[Finding]:
    """Sends raw items through the learner and through the artifact, read anew, and compares what comes out.

    Of a table also: columns in another order, categories that training never saw, values that are missing.

    Args:
        learn: that exported it.
        path: what learn.export wrote, of a built-in model.
        items: as predict takes them; some validation items by default, where the data keep them.

    Returns:
        one finding where they differ, or where nothing could be compared; none if all is well.
    """
    given = learn.dls.raw_items(ITEMS) if items is None else items
    if given is None or learn.dls.blocks is None:
        return []
    log, level = logging.getLogger("tipsai"), logging.getLogger("tipsai").level
    log.setLevel(logging.ERROR)  # of values that were never seen it need not speak here
    try:
        fresh = load_learner(path, device=learn.device)
        apart = {}
        expected = learn.predict(given)
        for name, changed in _variants(given).items():
            said = learn.predict(changed)
            apart[name] = _distance(said, fresh.predict(changed))
            if name == "columns in another order":
                apart[name] = max(apart[name], _distance(said, expected))
    except TipsaiError as error:
        return [Finding("artifact", "DA10", "error", f"the exported model cannot be used: {error}")]
    finally:
        log.setLevel(level)
    worst = max(apart, key=lambda name: apart[name])
    if apart[worst] <= APART:
        return []
    message = f"the exported model says something else of {worst} than the learner does (by up to {apart[worst]:.2g} of the largest)."
    fix = "Let every step from raw values to tensors be a Processor of a block: those travel in the artifact."
    return [Finding("artifact", "DA10", "error", message, apart, fix)]


def _variants(given: Any) -> dict[str, Any]:
    """The items, and what new rows of a table may be like."""
    if not isinstance(given, pd.DataFrame):
        return {"the same items": given}
    unseen, missing = given.copy(), given.copy()
    for name in given.columns[[not pd.api.types.is_numeric_dtype(t) and not _is_date_or_bool(t) for t in given.dtypes]]:
        unseen[name] = pd.Series([NEVER_SEEN] * len(given), index=given.index, dtype="str")
    for i, name in enumerate(given.columns):
        if len(given) > 1:
            missing[name] = given[name].mask(np.arange(len(given)) % 5 == i % 5)
    return {
        "the same items": given,
        "columns in another order": given[given.columns[::-1]],
        "categories that training never saw": unseen,
        "missing values": missing,
    }


def _is_date_or_bool(dtype: Any) -> bool:
    return bool(pd.api.types.is_datetime64_any_dtype(dtype) or pd.api.types.is_bool_dtype(dtype))


def _distance(said: Any, other: Any) -> float:
    """The largest difference of predictions, in shares of the largest one; infinite where they are of another kind."""
    if type(said) is not type(other) or list(said) != list(other):
        return float("inf")
    far = 0.0
    for name in said:
        a, b = np.asarray(said[name]), np.asarray(other[name])
        if a.dtype.kind in "fiu":
            scale = max(1e-12, float(np.nanmax(np.abs(a), initial=0.0)))
            far = max(far, float(np.nanmax(np.abs(a.astype(np.float64) - b), initial=0.0)) / scale)
    return far
