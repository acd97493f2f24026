"""Reading artifacts. The tables below are all that an artifact can name; nothing else is imported for it."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tipsai import artifact
from tipsai.core.errors import SettingError
from tipsai.data.dataloaders import DataLoaders
from tipsai.learner import Learner

BUILDERS = {
    "tabular": "tipsai.tabular.models:TabularModel",
    "vision": "tipsai.vision.backbone:build",
    "unet": "tipsai.vision.unet:build",
    "transformer": "tipsai.text.transformer:Transformer",
    "text_classifier": "tipsai.text.classifier:TextClassifier",
}
BLOCKS = {
    "Block": "tipsai.data.block:Block",
    "CategoryBlock": "tipsai.data.block:CategoryBlock",
    "MultiCategoryBlock": "tipsai.data.block:MultiCategoryBlock",
    "RegressionBlock": "tipsai.data.block:RegressionBlock",
    "TableBlock": "tipsai.tabular.table:TableBlock",
    "ImageBlock": "tipsai.vision.blocks:ImageBlock",
    "MaskBlock": "tipsai.vision.blocks:MaskBlock",
    "PointBlock": "tipsai.vision.blocks:PointBlock",
    "TokenBlock": "tipsai.text.blocks:TokenBlock",
    "NextTokenBlock": "tipsai.text.blocks:NextTokenBlock",
    "TextBlock": "tipsai.text.blocks:TextBlock",
}
# The losses that a builder's model trains with, over that of its target.
LOSSES = {"tabular": "tipsai.tabular.losses:MemberLoss"}
# The loaders that encode new items, by the type of the input's block.
LOADERS = {
    "TableBlock": "tipsai.tabular.data:TabularDataLoaders",
    "ImageBlock": "tipsai.vision.data:ImageDataLoaders",
    "TokenBlock": "tipsai.text.running:RunningText",
    "TextBlock": "tipsai.text.labelled:LabelledText",
}
# Learners that can do more than predict, likewise.
LEARNERS = {
    "TokenBlock": "tipsai.text.language:LanguageModelLearner",
    "TextBlock": "tipsai.text.classify:TextClassifierLearner",
}


def _resolve(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def _builder(name: str) -> Any:
    return _resolve(BUILDERS[name]) if name in BUILDERS else None


def _block(name: str) -> Any:
    return _resolve(BLOCKS[name]).from_dict if name in BLOCKS else None


def _encoding(blocks: tuple[Any, Any]) -> Any:
    return [[type(block).__name__, block.to_dict()] for block in blocks]


def load_learner(
    path: str | Path,
    model: nn.Module | None = None,
    dls: DataLoaders | None = None,
    *,
    device: str | torch.device | None = None,
    **options: Any,
) -> Learner:
    """A Learner from an exported file, ready to predict.

    Args:
        path: what learn.export wrote.
        model: an instance of a hand-made model; built-in ones are made from the file.
        dls: data to validate on or to train further with; without, fit says what is missing.
        device: where to put the model; the best there is by default.
        **options: of Learner, for training further.

    Raises:
        ArtifactError: the file is damaged, of a newer format, or does not fit the model.
        SettingError: dls encode their fields in another way than the model was trained with.
    """
    contents = artifact.read(path, _builder, _block, model)
    kind = type(contents.blocks[0]).__name__ if contents.blocks else ""
    if dls is None:
        dls = (
            _resolve(LOADERS[kind]).for_prediction(contents.blocks)
            if kind in LOADERS
            else DataLoaders(None, blocks=contents.blocks)
        )
    elif contents.blocks and dls.blocks and _encoding(dls.blocks) != _encoding(contents.blocks):
        raise SettingError(
            f"dls encode their fields in another way than the model in {path} was trained with, so it would misread them. "
            "Make dls with like=load_learner(path).dls, or train a new model."
        )
    options.setdefault("metrics", contents.manifest.get("metrics", ()))
    options.setdefault("seed", contents.manifest.get("seed"))
    if dls.train is None and contents.blocks is None and not {"loss_fn", "compute_loss"} & options.keys():
        options["loss_fn"] = (
            torch.nn.functional.mse_loss
        )  # only fit would use it, and fit needs data, which bring their own
    spec = contents.manifest["builder"]
    if spec and spec["name"] in LOSSES and dls.blocks and not {"loss_fn", "compute_loss"} & options.keys():
        options["loss_fn"] = _resolve(LOSSES[spec["name"]])(dls.blocks[1].default_loss())
    make: Callable[..., Learner] = _resolve(LEARNERS[kind]) if kind in LEARNERS else Learner
    learn = make(dls, contents.model, device=device, **options)
    learn.builder = artifact.Builder(spec["name"], spec["arguments"]) if spec else None
    learn.history = contents.manifest.get("history", [])
    learn.test_looks = contents.manifest.get("test_looks", {})
    return learn
