"""What the command line asks of text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tipsai.core.device import pick_device
from tipsai.core.errors import DataError, SettingError
from tipsai.frame.read import not_given, read_table, with_predictions
from tipsai.learner import Learner
from tipsai.text import defaults
from tipsai.text.classify import text_classifier_learner
from tipsai.text.data import TextDataLoaders
from tipsai.text.demo import run as demo
from tipsai.text.labelled import LabelledText
from tipsai.text.language import language_model_learner
from tipsai.text.planning import FLOPS_PER_TOKEN

METRICS = {"classification": ["accuracy"], "multilabel": ["accuracy"], "regression": ["rmse", "mae"]}
__all__ = ["METRICS", "demo", "learner", "predict"]


def learner(config: Mapping[str, Any]) -> Learner:
    """A learner for text, as the options say: of labels for a table with --text and --target, or a folder a class; else a language model."""
    if config["text"] or config["task"]:
        return _classifier(config)
    if config["target"]:
        raise SettingError(f"--target is given for {config['data']}, and no --text; say which column holds the text.")
    flops = defaults.flops(config["minutes"] or defaults.MINUTES, pick_device(config["device"]).type)
    size = defaults.size(flops)
    n_layers, dim = defaults.shape(size)
    block_size, bs = defaults.windows(size)
    dls = TextDataLoaders.language_model(
        Path(config["data"]),
        test=Path(config["test"]) if config["test"] else None,
        tokenizer=config["tokenizer"],
        block_size=block_size,
        bs=config["bs"] or bs,
        seed=config["seed"],
    )
    n_epochs = config["epochs"] or flops / (FLOPS_PER_TOKEN * size) / dls.counts["train"]["tokens"]
    if not config["minutes"] and not config["epochs"]:
        n_epochs = min(n_epochs, dls.n_epochs or n_epochs)
    return language_model_learner(
        dls,
        n_layers=n_layers,
        dim=dim,
        n_heads=dim // (32 if dim <= 256 else 64),
        dropout=defaults.dropout(n_epochs),
        lr=config["lr"],
        seed=config["seed"],
        device=config["device"],
    )


def _classifier(config: Mapping[str, Any]) -> Learner:
    if config["tokenizer"] is not None:
        raise SettingError("--tokenizer is for language models; leave it out.")
    how = {"task": config["task"], "bs": config["bs"], "seed": config["seed"]}
    if Path(config["data"]).is_dir():
        unused = [name for name in ("text", "target", "test") if config[name]]
        if unused:
            raise SettingError(f"--{unused[0]} is for tables, and {config['data']} is a folder; leave it out.")
        dls = TextDataLoaders.from_folder(config["data"], **how)
    else:
        frame = read_table(config["data"])
        if not config["text"] or not config["target"]:
            raise not_given("--target" if config["text"] else "--text", frame)
        test = read_table(config["test"]) if config["test"] else None
        dls = TextDataLoaders.from_df(frame, config["text"], config["target"], test_df=test, **how)
    return text_classifier_learner(
        dls, metrics=METRICS[dls.task], lr=config["lr"], seed=config["seed"], device=config["device"]
    )


def predict(learn: Learner, source: str) -> pd.DataFrame:
    """The rows of a file with the columns that a classifier adds.

    Raises:
        DataError: the model is a language model.
    """
    if not isinstance(learn.dls, LabelledText):
        raise DataError("the model writes text; use tipsai generate.")
    rows = read_table(source)
    return with_predictions(rows, learn.predict(rows))
