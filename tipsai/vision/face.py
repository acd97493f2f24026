"""What the command line asks of pictures."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from tipsai.container import writing
from tipsai.core.errors import DataError, SettingError
from tipsai.experiment.budget import seconds_a_step
from tipsai.frame.read import not_given, read_table
from tipsai.learner import Learner
from tipsai.vision import defaults
from tipsai.vision.backbone import VisionModel
from tipsai.vision.data import ImageDataLoaders
from tipsai.vision.demo import run as demo
from tipsai.vision.learner import vision_learner
from tipsai.vision.models import SmallResNet
from tipsai.vision.new import NewPictures
from tipsai.vision.targets import in_picture

log = logging.getLogger("tipsai")
METRICS = {
    "classification": ["accuracy"],
    "multilabel": ["accuracy"],
    "regression": ["rmse", "mae"],
    "points": ["rmse"],
    "segmentation": ["iou", "dice", "accuracy"],
}
__all__ = ["METRICS", "demo", "learner", "predict"]


def learner(config: dict[str, Any]) -> Learner:
    """A learner for pictures, as the options say; the width that was chosen by time is added to them."""
    dls = _loaders(config)

    def made(width: int | None) -> Learner:
        return vision_learner(
            dls,
            config["arch"],
            pretrained=config["pretrained"],
            weights=config["weights"],
            width=width,
            metrics=METRICS[dls.task],
            lr=config["lr"],
            seed=config["seed"],
            device=config["device"],
        )

    learn = made(config["width"])
    if config["width"] is None and config.get("minutes") and _may_be_narrower(learn):
        epoch = len(dls.train or ()) * seconds_a_step(learn, min(3.0, 0.6 * config["minutes"]))
        width = config["width"] = defaults.width_within(60 * config["minutes"] / epoch)
        if width < defaults.WIDTH:
            log.info("a network of width %d, so that it sees each picture often enough", width)
            return made(width)
    return learn


def _loaders(config: dict[str, Any]) -> ImageDataLoaders:
    """The pictures of a folder; or those that a column of a table names."""
    data = Path(config["data"])
    how = {name: config[name] for name in ("task", "size", "bs", "seed")}
    if not config["image"]:
        if config["target"]:
            raise SettingError(f"--target is for tables, and {data} holds pictures; leave it out.")
        return ImageDataLoaders.from_folder(data, test=config["test"], **how)
    frame = read_table(data)
    target = config["target"]
    if not target:
        raise not_given("--target", frame)
    return ImageDataLoaders.from_df(
        frame,
        config["image"],
        target[0] if len(target) == 1 else target,
        root=data.parent,
        test_df=read_table(config["test"]) if config["test"] else None,
        **how,
    )


def _may_be_narrower(learn: Learner) -> bool:
    """Whether the model is the built-in classifier of small pictures, without weights that fix its width."""
    model = learn.model
    return isinstance(model, VisionModel) and isinstance(model.body, SmallResNet) and not model.trained


def predict(learn: Learner, source: str, masks: Path | None = None, tta: bool = False) -> pd.DataFrame:
    """A row a picture of a folder: its path and what the model says; of masks the share of each class.

    Args:
        learn: with a model of pictures.
        source: a folder or a picture.
        masks: a folder for predicted masks, as PNG: of the pictures' names and sizes, with the values of the training masks.
        tta: the mean over several views of each picture.
    """
    dls = learn.dls
    assert isinstance(dls, ImageDataLoaders)
    if dls.task == "segmentation":
        loader = dls.test_dl(source)
        made = dls.present(source, loader, _shares(learn, loader, source, masks, tta))
    else:
        made = learn.predict(source, tta=tta)
    return made.reset_index()


def _shares(learn: Learner, loader: NewPictures, source: str, masks: Path | None, tta: bool) -> dict[str, Any]:
    """The columns of shares; masks are written as they come, since together they may be larger than memory."""
    dls = learn.dls
    assert isinstance(dls, ImageDataLoaders) and dls.blocks is not None
    names = mask_names(loader.items, source)
    columns: list[dict[str, Any]] = []
    n_done = 0
    for pred, _ in learn.iter_preds(loader, tta=tta):
        columns.append(dls.blocks[1].predictions(pred))
        for i, mask in enumerate(columns[-1].pop("prediction"), n_done):
            if masks is not None and i not in loader.problems:
                _write(masks / names[i], in_picture(mask, dls.picture, loader.items[i]))
        n_done += len(pred)
    return {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}


def mask_names(paths: Sequence[str | Path], source: str) -> list[str]:
    """Where a picture's mask goes: its path within the source with the ending .png, added where two would meet."""
    within = [os.path.relpath(path, source) if os.path.isdir(source) else os.path.basename(path) for path in paths]
    stems = [os.path.splitext(name)[0] for name in within]
    times = Counter(stems)
    return [f"{stem if times[stem] == 1 else name}.png" for stem, name in zip(stems, within, strict=True)]


def _write(path: Path, mask: NDArray[Any]) -> None:
    if mask.max() > 65535:
        raise DataError(
            f"the mask {path} holds the value {mask.max()}, and a PNG at most 65535. Use learn.predict in Python."
        )
    with writing(path) as file:
        Image.fromarray(mask.astype(np.uint8 if mask.max() < 256 else np.uint16)).save(file, "PNG")
