"""The loop never waits for the device: the host goes ahead, and a GPU always has work."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import learner
from pictures import encoded, smooth
from waits import META, Waits, waits_in_training

from tipsai.callbacks import EMA
from tipsai.core.device import sent
from tipsai.data.loaders import on_host
from tipsai.tabular import TabularDataLoaders, tabular_learner
from tipsai.text import TextDataLoaders, language_model_learner, text_classifier_learner
from tipsai.tta import averaged
from tipsai.vision import Augmentation, ImageDataLoaders, vision_learner

RNG = np.random.default_rng(0)
OPTIONS = {"seed": 0, "device": "cpu"}


def pictures(side, n=24):
    return np.stack([smooth(side, side + 2, seed=i) for i in range(n)])


def vision(side, targets, aug="auto", task=None, **options):
    dls = ImageDataLoaders.from_arrays((pictures(side), targets), bs=8, aug=aug, task=task)
    own = {} if task == "segmentation" else {"arch": "small_resnet", "width": 4}
    return vision_learner(dls, **OPTIONS, **own, **options)


def several_sizes():
    with tempfile.TemporaryDirectory() as folder:
        for i in range(24):
            place = Path(folder) / "ab"[i % 2] / f"{i}.png"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(encoded(smooth(60 + i, 70, seed=i)))
        dls = ImageDataLoaders.from_folder(folder, bs=8, size=64, cache=True)
    return vision_learner(dls, arch="small_resnet", width=4, **OPTIONS)


def table(**options):
    n = 96
    frame = pd.DataFrame({"a": RNG.normal(size=n), "b": RNG.choice(list("xyz"), n), "t": np.arange(n) % 2})
    return tabular_learner(TabularDataLoaders.from_df(frame, "t", bs=16, task="classification"), **OPTIONS, **options)


def language():
    dls = TextDataLoaders.language_model("the cat sat on the mat. " * 90, tokenizer="char", block_size=16, bs=8)
    return language_model_learner(dls, n_layers=1, n_heads=2, dim=16, dropout=0.1, **OPTIONS)


def texts():
    frame = pd.DataFrame({"text": [f"{'good' if i % 2 else 'bad'} film {i % 7}" for i in range(96)]})
    frame["mood"] = np.arange(96) % 2
    dls = TextDataLoaders.from_df(frame, text="text", target="mood", bs=16)
    return text_classifier_learner(dls, dim=8, class_weights="balanced", **OPTIONS)


CLASSES = np.arange(24) % 3
EVERYTHING = Augmentation(saturation=0.2, hue=0.1, erase=0.5, translate=0.1)
LEARNERS = {
    "tensors, averaged weights": lambda: learner(callbacks=[EMA()]),
    "small pictures, mixed": lambda: vision(16, CLASSES, mixup=0.4, cutmix=1.0),
    "pictures, every transform": lambda: vision(100, CLASSES, EVERYTHING, class_weights="balanced"),
    "pictures of several sizes": several_sizes,
    "masks": lambda: vision(32, np.arange(24 * 32 * 34).reshape(24, 32, 34) % 3, task="segmentation"),
    "points": lambda: vision(100, RNG.uniform(0, 90, (24, 4)).astype(np.float32), task="points"),
    "several labels": lambda: vision(16, RNG.integers(0, 2, (24, 4)), task="multilabel"),
    "table": table,
    "table, mixed": lambda: table(mixup=0.4),
    "table, balanced": lambda: table(class_weights="balanced"),
    "language": language,
    "texts": texts,
}


@pytest.mark.parametrize("name", LEARNERS)
def test_no_step_waits_for_the_device(name):
    assert waits_in_training(LEARNERS[name]()) == []


@pytest.mark.parametrize(
    "waiting",
    [
        lambda there: torch.tensor([1.0, 2.0], device=META),
        lambda there: torch.ones(3).to(META),
        lambda there: there.copy_(torch.ones(3)),
        lambda there: there[torch.tensor([0, 1])],
        lambda there: torch.linalg.inv(torch.empty(2, 3, 3, device=META)),
    ],
)
def test_what_waits_is_noted(waiting):
    there = torch.empty(3, device=META)
    with Waits() as noted:
        waiting(there)
    assert len(noted.found) == 1


def test_what_does_not_wait_is_not():
    there = torch.empty(3, device=META)
    with Waits() as noted:
        sent(torch.ones(3), META)
        there.copy_(torch.ones(3), non_blocking=True)
        torch.full((3,), 2.0, device=META)[1:] = there[:2] * 3.0
        torch.linalg.inv(torch.eye(3))
    assert noted.found == []


class Given:
    """A tensor on the host that notes how it is sent."""

    def __init__(self, expanded=True):
        self.device, self.expanded, self.pinned, self.how = torch.device("cpu"), expanded, False, None

    def is_pinned(self):
        return self.pinned

    def contiguous(self):
        return Given(expanded=False)

    def pin_memory(self):
        assert not self.expanded
        self.pinned = True
        return self

    def to(self, device, non_blocking=False):
        self.how = (device.type, self.pinned, non_blocking)
        return self


@pytest.mark.parametrize(
    "device, pinned, non_blocking",
    [("cuda", True, True), ("xpu", False, True), ("mps", False, False), ("cpu", False, False)],
)
def test_only_memory_that_stays_in_place_is_fetched_without_waiting(device, pinned, non_blocking):
    assert sent(Given(), device).how == (device, pinned, non_blocking)


def test_sizes_stay_on_the_host_and_pictures_do_not():
    dls = several_sizes().dls
    assert on_host(dls.batch_tfms) == {1}
    model, tfms = averaged(dls, torch.nn.Identity())
    assert on_host(tfms) == {1}
    batch = dls.one_batch().to(META, on_host(tfms))
    assert [t.device.type for t in (*batch.x, *batch.y)] == ["meta", "cpu", "meta"]
