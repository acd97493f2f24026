"""What augmentation does to a trained model's predictions."""

import numpy as np
import pytest
import torch
from torch import nn

from tipsai import DataLoaders, Learner
from tipsai.core.errors import SettingError
from tipsai.vision import Augmentation, ImageDataLoaders, vision_learner
from tipsai.vision.invariance import invariances


class Side(nn.Module):
    """Says which half is brighter: right by construction, and wrong of every mirrored picture."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        left, right = x[..., : x.shape[3] // 2].mean((1, 2, 3)), x[..., x.shape[3] // 2 :].mean((1, 2, 3))
        return torch.stack([left, right], 1) * self.scale


def halves(aug):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 40, (200, 12, 12), dtype=np.uint8), rng.integers(0, 2, 200)
    for picture, label in zip(x, y, strict=True):
        picture[:, 6 * label : 6 * label + 6] += 150
    return ImageDataLoaders.from_arrays((x, y), 0.5, aug=aug)


def test_a_transform_that_changes_the_label_is_found():
    learn = Learner(halves(Augmentation.small(brightness=0.2)), Side(), device="cpu")
    found = invariances(learn)
    assert found.table.loc["flip", "flips"] == 1.0 and found.table.loc["flip", "accuracy"] == 0.0
    assert found.table.loc["brightness", "flips"] == 0.0 and found.table.loc["brightness", "accuracy"] == 1.0
    (finding,) = found.findings
    assert finding.tip == "DA05" and finding.message.startswith("flip changes the prediction of 100%")
    assert "flip" in str(found) and found.table.index[0] == "flip"


def test_what_training_does_not_use_is_no_fault():
    learn = Learner(halves(Augmentation.small(flip=0.0)), Side(), device="cpu")
    found = invariances(learn, Augmentation.small(rotate=5))
    assert found.table.loc["flip", "flips"] == 1.0 and not found.table.loc["flip", "trained"]
    assert not found.findings


def test_harmless_augmentation_gives_no_finding():
    learn = Learner(halves(Augmentation.small(flip=0.0)), Side(), device="cpu")
    found = invariances(learn)
    assert list(found.table.index) == ["translate"] and not found.findings


def test_other_models_are_refused():
    x = torch.randn(8, 3)
    learn = Learner(DataLoaders.from_tensors((x, torch.arange(8) % 2), (x, torch.arange(8) % 2)), nn.Linear(3, 2))
    with pytest.raises(SettingError, match="classifiers of pictures"):
        invariances(learn)
    numbers = ImageDataLoaders.from_arrays((np.zeros((8, 9, 9), np.uint8), np.linspace(0, 0.7, 8)), 0.5)
    with pytest.raises(SettingError, match="classifiers of pictures"):
        invariances(vision_learner(numbers, width=8))
