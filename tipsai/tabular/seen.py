"""A table's rows as the checks see them: as they were read, with the processors that encode them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from tipsai.data.processor import key
from tipsai.doctor.context import Context
from tipsai.frame.values import distinct
from tipsai.tabular.raw import Raw


def raw_rows(ctx: Context, split: str) -> Raw | None:
    """A sample of a split's rows as they were read; None where the data are no table, or a reloaded one."""
    kept: Mapping[str, Raw] = getattr(ctx.dls, "raw", {})
    return kept.get(split)


def processors(ctx: Context) -> Mapping[str, Any]:
    """The processors of the input columns."""
    return ctx.dls.blocks[0].columns if ctx.dls.blocks else {}  # type: ignore[attr-defined]


def value_counts(column: pd.Series, name_of: Any = key) -> Counter[str]:
    """How often each value of a column occurs, by its name."""
    codes, found = distinct(column)
    made: Counter[str] = Counter()
    for value, n in zip(found, np.bincount(codes[codes >= 0], minlength=len(found)).tolist(), strict=True):
        made[name_of(value)] += n
    return Counter({name: n for name, n in made.items() if n})


def raw_targets(ctx: Context, split: str, raw: Raw) -> torch.Tensor:
    """The encoded targets of the raw rows."""
    rows = getattr(ctx.dls, split).rows
    found: torch.Tensor = rows.y[0][torch.from_numpy(raw.places)]
    return found
