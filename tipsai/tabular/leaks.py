"""Columns of a table that are made from its targets (DA15)."""

from collections.abc import Iterator

import numpy as np
import torch

from tipsai.core.errors import listing
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.tabular.groups import Floats
from tipsai.tabular.seen import raw_rows, raw_targets

FEWEST = 6  # values of a column that several rows share
EXACT = 1e-5  # of the variance that may be left where a column is a mean of targets


def _is_mean(column: Floats, y: Floats) -> bool:
    """Whether a column [n] is, up to its scale, the mean target of the rows that share its value."""
    values, at, counts = np.unique(column, return_inverse=True, return_counts=True)
    if (counts > 1).sum() < FEWEST:
        return False
    means = np.bincount(at, y) / counts
    return bool(means.std() > 0 and 1 - np.corrcoef(values, means)[0, 1] ** 2 < EXACT)


def _target_means(ctx: Context) -> Figures | None:
    """Columns that are means over training rows, or over those of validation as well; where all rows are at hand."""
    parts = [(raw, raw_targets(ctx, split, raw)) for split in ("train", "valid") if (raw := raw_rows(ctx, split))]
    if not parts or any(len(raw.frame) < raw.n_rows for raw, _ in parts):
        return None
    targets = [y.reshape(len(y), -1) for _, y in parts]
    classes = not targets[0].is_floating_point()
    if targets[0].shape[1] != 1 or (classes and len(torch.unique(torch.cat(targets))) != 2):
        return None
    found = []
    for name in ctx.dls.numbers_as_read("train"):
        columns = [raw.frame[name].to_numpy(float, na_value=np.nan) for raw, _ in parts if name in raw.frame]
        for n in range(1, 1 + len(columns)):
            column, y = np.concatenate(columns[:n]), torch.cat(targets[:n])[:, 0].double().numpy()
            if np.isfinite(column).all() and _is_mean(column, y):
                found.append(name)
                break
    return {"columns": found}


def _judge_target_means(f: Figures) -> Iterator[Verdict]:
    if f["columns"]:
        yield Verdict(
            "warning",
            f"column {listing(f['columns'])} is the mean target of the rows that share its value, their own among them: it gives the "
            "target away.",
            f,
            "Take means over training rows only, for each of them without its own (by folds); or give the category, and leave the rest to its "
            "embedding.",
        )


TARGET_MEANS = Check(
    "target-mean",
    "data",
    "DA15",
    _target_means,
    _judge_target_means,
    "Micci-Barreca, SIGKDD Explorations 3(1), 2001; its leak: Prokhorenkova et al. 1706.09516, section 3.2",
)

CHECKS = (TARGET_MEANS,)
