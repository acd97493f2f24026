"""The built-in network for small pictures."""

import pytest
import torch
import torch.nn.functional as F

from tipsai.core.errors import SettingError
from tipsai.vision.models import PatchWhitening, SmallResNet


def pictures(n=64, channels=3, side=16):
    """Smooth noise, whose neighbouring pixels and channels go together as in photographs."""
    torch.manual_seed(0)
    grey = F.avg_pool2d(torch.randn(n, 1, side + 4, side + 4), 5, 1)
    return 5 * grey + 0.3 * torch.randn(n, channels, side, side)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_whitened_patches_are_uncorrelated_and_of_unit_variance(channels):
    layer = PatchWhitening(channels)
    x = pictures(channels=channels)
    layer.fit(x, least=0.0)
    assert layer.weight.shape == (2 * channels * layer.side**2, channels, layer.side, layer.side)
    seen = F.conv2d(layer._padded(x), layer.weight).transpose(0, 1).flatten(1)
    half = len(seen) // 2
    torch.testing.assert_close(torch.cov(seen[:half], correction=0), torch.eye(half), atol=1e-3, rtol=0)
    torch.testing.assert_close(seen[half:], -seen[:half])


def test_directions_without_variance_are_not_blown_up():
    layer = PatchWhitening(1)
    layer.fit(torch.ones(4, 1, 8, 8))
    assert layer.weight.isfinite().all() and layer.weight.abs().max() < 1 / 5e-4**0.5 + 1e-3


def test_its_filters_are_not_trained():
    layer = PatchWhitening(3)
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    assert set(layer.state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize(
    "side,expected",
    [
        ((32, 32), (4, 4)),
        ((28, 28), (3, 3)),
        ((8, 8), (4, 4)),
        ((96, 96), (6, 6)),
        ((20, 33), (5, 8)),
        ((2, 3), (2, 3)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_maps_of_pictures_of_any_size(side, expected, channels):
    net = SmallResNet(channels, min(side), width=8).eval()
    assert net(torch.randn(2, channels, *side)).shape == (2, 32, *expected) and net.n_features == 32


def test_depth_adds_blocks_that_start_as_the_identity():
    torch.manual_seed(0)
    shallow = SmallResNet(3, 16, width=8, depth=0).eval()
    deep = SmallResNet(3, 16, width=8, depth=2).eval()
    state = deep.state_dict()
    state.update(shallow.state_dict())
    deep.load_state_dict(state)
    x = torch.randn(2, 3, 16, 16)
    shallow_relu, deep_relu = (SmallResNet(3, 16, width=8, depth=d, act="relu").eval() for d in (0, 2))
    state = deep_relu.state_dict()
    state.update(shallow_relu.state_dict())
    deep_relu.load_state_dict(state)
    torch.testing.assert_close(deep_relu(x), shallow_relu(x))
    assert not torch.allclose(deep(x), shallow(x))  # GELU after the sum is no identity


@pytest.mark.parametrize("name,value", [("width", 0), ("size", -1), ("depth", -1), ("act", "rleu")])
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(SettingError, match=name if name != "act" else "Did you mean 'relu'"):
        SmallResNet(**{name: value})
