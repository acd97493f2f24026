"""What the command line asks of pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tipsai.learner import Learner
from tipsai.vision.data import ImageDataLoaders
from tipsai.vision.demo import run as demo
from tipsai.vision.learner import vision_learner

METRICS = {
    "classification": ["accuracy"],
    "multilabel": ["accuracy"],
    "regression": ["rmse", "mae"],
    "points": ["rmse"],
    "segmentation": ["iou", "dice", "accuracy"],
}
__all__ = ["METRICS", "demo", "learner", "predict"]


def learner(config: Mapping[str, Any]) -> Learner:
    """A learner for a folder of pictures, as the options say."""
    dls = ImageDataLoaders.from_folder(
        Path(config["data"]),
        test=config["test"],
        task=config["task"],
        size=config["size"],
        bs=config["bs"],
        seed=config["seed"],
    )
    return vision_learner(
        dls,
        config["arch"],
        pretrained=config["pretrained"],
        metrics=METRICS[dls.task],
        lr=config["lr"],
        seed=config["seed"],
        device=config["device"],
    )


def predict(learn: Learner, source: str) -> pd.DataFrame:
    """A row a picture of a folder: its path and what the model says."""
    made: pd.DataFrame = learn.predict(source)
    return made.reset_index()
