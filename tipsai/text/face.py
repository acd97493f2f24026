"""What the command line asks of text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tipsai.core.errors import DataError, SettingError
from tipsai.learner import Learner
from tipsai.text.data import TextDataLoaders
from tipsai.text.learner import language_model_learner

__all__ = ["learner", "predict"]


def learner(config: Mapping[str, Any]) -> Learner:
    """A learner for a file or a folder of running text, as the options say."""
    if config["target"] or config["task"]:
        option = "target" if config["target"] else "task"
        raise SettingError(
            f"--{option} is for tables and pictures, and {config['data']} is running text; leave it out."
        )
    more = {"tokenizer": config["tokenizer"]} if config["tokenizer"] is not None else {}
    dls = TextDataLoaders.language_model(
        Path(config["data"]),
        test=Path(config["test"]) if config["test"] else None,
        bs=config["bs"],
        seed=config["seed"],
        **more,
    )
    return language_model_learner(dls, lr=config["lr"], seed=config["seed"], device=config["device"])


def predict(learn: Learner, source: str) -> Any:
    """Refuses: what a language model does is to write.

    Raises:
        DataError: always.
    """
    raise DataError(f"the model writes text; use tipsai generate, and not predict {source}.")
