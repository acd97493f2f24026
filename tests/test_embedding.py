"""Features before the last layer, and their plane."""

import pytest
import torch
from helpers import dataloaders, learner, mlp
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tipsai import Learner
from tipsai.core.errors import SettingError
from tipsai.core.evaluate import features
from tipsai.embedding import drawn, principal_plane


def test_features_are_the_inputs_of_the_last_linear_layer():
    model, dls = mlp(dropout=0.5), dataloaders(n=20)
    found, targets = features(model, dls.valid.batches(), 1000)
    x, y = dls.valid.rows.x[0], dls.valid.rows.y[0]
    torch.testing.assert_close(found, model[1](model[0](x)))
    assert torch.equal(targets, y) and model.training
    assert not model[-1]._forward_pre_hooks
    few, _ = features(model, dls.valid.batches(), 7)
    torch.testing.assert_close(few, found[:7])


def test_what_cannot_be_drawn_is_refused():
    batches = list(dataloaders(n=20).valid.batches())
    with pytest.raises(SettingError, match="a Sequential, has no nn.Linear"):
        features(nn.Sequential(nn.ReLU()), batches, 5)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x):
            return self.layer(torch.cat([x, x]))

    with pytest.raises(SettingError, match="does not see one row an item"):
        features(Model(), batches, 5)
    with pytest.raises(SettingError, match="tunes on them"):
        learner().plot_embedding("test")


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 10**6))
def test_the_plane_holds_the_largest_variance(n, d, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g) * torch.linspace(3, 1, d)
    points, shares = principal_plane(x)
    assert points.shape == (n, 2) and 0 <= sum(shares) <= 1 + 1e-6 and shares[0] >= shares[1]
    centred = x - x.mean(0)
    direction = nn.functional.normalize(torch.randn(d, generator=g), dim=0)
    assert (points[:, 0] ** 2).sum() >= ((centred @ direction) ** 2).sum() * (1 - 1e-4) - 1e-4
    if d <= 2:  # a rotation: distances stay
        torch.testing.assert_close(torch.cdist(points, points), torch.cdist(x, x)[:, :], atol=2e-2, rtol=1e-2)


def labels(fig):
    legend = fig.axes[0].get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else None


def test_a_learner_draws_classes_and_numbers():
    assert labels(learner().plot_embedding()) == ["0", "1", "2"]
    x = torch.randn(40, 5)
    numbers = Learner(dataloaders(), mlp(), seed=0, device="cpu")
    fig = drawn(features(numbers.model, numbers.dls.valid.batches(), 40)[0], x[:, 0], (), "numbers")
    assert labels(fig) is None and len(fig.axes) == 2  # the second is the scale of colours
    assert "of the variance" in fig.axes[0].get_xlabel()


def test_rare_classes_are_grey_together():
    codes = torch.cat([torch.arange(12).repeat(3), torch.tensor([12, 13])])
    fig = drawn(torch.randn(len(codes), 4), codes, [f"c{i}" for i in range(14)], "many")
    assert labels(fig) == ["others", *(f"c{i}" for i in range(12))]
