"""Whether a trained model says the same of a picture when it is augmented (DA05, DA06)."""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from tipsai.core.errors import SettingError
from tipsai.core.evaluate import predictions
from tipsai.core.finding import Finding
from tipsai.core.state import Batch
from tipsai.data.loaders import Draw, moved, transformed
from tipsai.intervals import wilson
from tipsai.learner import Learner
from tipsai.vision.augment import OFF, Augment, Augmentation
from tipsai.vision.data import ImageDataLoaders

MOST_FLIPS = 0.2  # of the pictures; a transform that changes more predictions than this probably changes labels


@dataclass(frozen=True)
class Invariances:
    """How predictions hold under each transform.

    Attributes:
        table: a row a transform, the least harmless first: `flips`, the share of pictures whose predicted class changes;
            `low` and `high`, its 95% interval (Wilson 1927); `accuracy` under the transform and `plain` without, where
            there are labels; `trained`, whether training used it.
        findings: transforms of the training whose interval lies above MOST_FLIPS.
    """

    table: pd.DataFrame
    findings: list[Finding]

    def __str__(self) -> str:
        return str(self.table.to_string(float_format="{:.3f}".format))


def invariances(learn: Learner, aug: Augmentation | None = None, *, n: int = 2000, seed: int = 0) -> Invariances:
    """Measures, on validation pictures, how often each transform alone changes what a classifier predicts.

    Args:
        learn: a trained classifier of pictures.
        aug: the transforms and their strengths; those of the training by default, or those of large pictures where
            training had none.
        n: pictures at most.
        seed: of the draws.

    Raises:
        SettingError: this is no classifier of pictures.
    """
    dls = learn.dls
    if not isinstance(dls, ImageDataLoaders) or dls.task != "classification":
        raise SettingError("invariances are of classifiers of pictures; make one with vision_learner.")
    settings = aug or dls.aug or Augmentation()
    loader = dls.feed("valid", learn.device).loader
    given = list(itertools.islice(loader.batches(), -(-n // loader.bs)))
    plain, labels = _classes(learn, dls.augment, given)
    right = plain == labels
    rows = {}
    for name in (field for field in OFF.__slots__ if getattr(settings, field) != getattr(OFF, field)):
        if name in ("p_warp", "p_colour", "padding", "erase_area"):
            continue
        strength = 1.0 if name in ("flip", "erase") else getattr(settings, name)  # every picture, at drawn strengths
        changes: dict[str, Any] = {name: strength, "padding": settings.padding, "erase_area": settings.erase_area}
        alone = replace(OFF, **changes)
        change = Augment(alone, dls.augment.plain)
        seen, _ = _classes(learn, change, given, seed)
        changed = seen != plain
        flips = float(changed.double().mean())
        low, high = (float(end) for end in wilson(int(changed.sum()), len(plain)))
        rows[name] = {
            "flips": flips,
            "low": low,
            "high": high,
            "accuracy": float((seen == labels).double().mean()),
            "plain": float(right.double().mean()),
            "trained": dls.aug is not None and getattr(dls.aug, name) != getattr(OFF, name),
        }
    table = pd.DataFrame.from_dict(rows, orient="index").sort_values("flips", ascending=False)
    table.index.name = "transform"
    return Invariances(table, [_finding(name, row) for name, row in rows.items() if _harmful(row)])


def _classes(learn: Learner, change: Augment, given: list[Batch], seed: int | None = None) -> tuple[Tensor, Tensor]:
    """Predicted and true classes: int64 [n] each."""

    def batches() -> "itertools.chain[Batch]":
        return itertools.chain.from_iterable(
            [transformed(moved(batch, learn.device, [change]), [change], None if seed is None else Draw(seed, 0, i))]
            for i, batch in enumerate(given)
        )

    found = [(pred.argmax(1), y[0]) for pred, y in predictions(learn.model, batches(), learn.output)]
    return torch.cat([pred for pred, _ in found]), torch.cat([label for _, label in found])


def _harmful(row: dict[str, float | bool]) -> bool:
    return bool(row["trained"]) and row["low"] > MOST_FLIPS


def _finding(name: str, row: dict[str, float | bool]) -> Finding:
    return Finding(
        code="augmentation-changes-labels",
        tip="DA05",
        severity="warning",
        message=f"{name} changes the prediction of {row['flips']:.0%} of the validation pictures (at least {row['low']:.0%}).",
        evidence=dict(row),
        fix=f"If it changes what a picture shows, leave it out: Augmentation({name}=...) with a smaller value.",
    )
