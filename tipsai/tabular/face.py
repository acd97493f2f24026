"""What the command line asks of tables."""

import logging
import mimetypes
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tipsai.core.errors import SettingError
from tipsai.frame.read import not_given, read_table, with_predictions
from tipsai.learner import Learner
from tipsai.tabular.data import TabularDataLoaders
from tipsai.tabular.demo import run as demo
from tipsai.tabular.learner import tabular_learner

log = logging.getLogger("tipsai")
METRICS = {"classification": ["accuracy"], "multilabel": ["accuracy"], "regression": ["rmse", "mae"]}
__all__ = ["METRICS", "demo", "learner", "predict"]


def learner(config: Mapping[str, Any]) -> Learner:
    """A learner for a table, as the options say."""
    frame = read_table(Path(config["data"]))
    if not config["target"]:
        raise not_given("--target", frame)
    _hint_at_pictures(frame, Path(config["data"]).parent, {*config["target"], *(config["ignore"] or ())})
    target = config["target"][0] if len(config["target"]) == 1 else config["target"]
    dls = TabularDataLoaders.from_df(
        frame,
        target,
        test_df=read_table(config["test"]) if config["test"] else None,
        task=config["task"],
        kinds=dict(_kind(text) for text in config["kind"] or ()),
        ignore=config["ignore"] or (),
        bs=config["bs"],
        seed=config["seed"],
    )
    metrics = METRICS[dls.task]
    if dls.task == "classification" and dls.blocks is not None and dls.blocks[1].n_out == 2:
        metrics = [*metrics, "roc_auc"]
    return tabular_learner(dls, metrics=metrics, lr=config["lr"], seed=config["seed"], device=config["device"])


def _hint_at_pictures(frame: pd.DataFrame, root: Path, others: set[str]) -> None:
    """Says how to learn from pictures where a column names them: as words of a table their paths teach nothing."""
    for name in frame.columns.difference(list(others), sort=False):
        first = str(next(iter(frame[name].dropna()), ""))
        if (mimetypes.guess_type(first)[0] or "").startswith("image/") and os.path.isfile(root / first):
            log.warning("the column %r names pictures; to learn from what they show, add --image %s", name, name)


def _kind(text: str) -> tuple[str, str]:
    name, separator, kind = text.rpartition("=")
    if not separator:
        raise SettingError(f"--kind is {text!r}; expected COLUMN=KIND, such as --kind zip=category.")
    return name, kind


def predict(learn: Learner, source: str) -> pd.DataFrame:
    """The rows of a file with the columns that a model adds."""
    rows = read_table(source)
    return with_predictions(rows, learn.predict(rows))
