import pytest
import torch
from hypothesis import given
from hypothesis import strategies as hyp
from torchvision.transforms.v2 import functional as peer

from tipsai.core.errors import SettingError
from tipsai.vision import colour

SEEDS = hyp.integers(0, 10**6)
FACTORS = hyp.floats(0.0, 2.0)


def pictures(b=2, c=3, h=9, w=8, seed=0):
    return torch.rand(b, c, h, w, generator=torch.Generator().manual_seed(seed))


@given(seed=SEEDS, factor=FACTORS)
def test_each_matrix_is_torchvisions_adjustment(seed, factor):
    x, f = pictures(seed=seed), torch.tensor([factor, 1.0])
    for made, adjust in (
        (colour.brightness(f), peer.adjust_brightness),
        (colour.contrast(f, x.mean((2, 3))), peer.adjust_contrast),
        (colour.saturation(f), peer.adjust_saturation),
    ):
        assert torch.allclose(colour.apply(x, made)[0], adjust(x[0], factor), atol=1e-5)
        assert torch.allclose(colour.apply(x, made)[1], x[1], atol=1e-5)


@given(seed=SEEDS, low=hyp.floats(0.85, 1.15), mid=hyp.floats(0.85, 1.15), high=hyp.floats(0.85, 1.15))
def test_the_jitter_is_the_three_in_turn_where_nothing_clamps(seed, low, mid, high):
    x = 0.4 + 0.2 * pictures(1, seed=seed)
    in_turn = peer.adjust_saturation(peer.adjust_contrast(peer.adjust_brightness(x, low), mid), high)
    made = colour.jitter(x.mean((2, 3)), *(torch.tensor([f]) for f in (low, mid, high)))
    assert torch.allclose(colour.apply(x, made), in_turn, atol=1e-5)


@given(seed=SEEDS)
def test_a_product_of_matrices_is_one_after_the_other(seed):
    x = 0.4 + 0.2 * pictures(seed=seed)
    one, two = colour.saturation(torch.tensor([0.5, 1.2])), colour.hue(torch.tensor([0.1, -0.2]))
    in_turn = colour.apply(colour.apply(x, one), two)
    assert torch.allclose(colour.apply(x, colour.compose(one, two)), in_turn, atol=1e-5)
    moved = colour.moved(x.mean((2, 3)), one)
    assert torch.allclose(moved, colour.apply(x, one).mean((2, 3)), atol=1e-5)


@given(turn=hyp.floats(-0.5, 0.5))
def test_hue_keeps_greys_and_luma_and_turns_back(turn):
    t = torch.tensor([turn])
    grey = torch.full((1, 3, 2, 2), 0.3)
    assert torch.allclose(colour.apply(grey, colour.hue(t)), grey, atol=1e-3)
    there_and_back = colour.compose(colour.hue(t), colour.hue(-t))
    assert torch.allclose(there_and_back, colour.identity(1, 3), atol=1e-4)


@pytest.mark.parametrize("turn", [0.05, -0.05])
def test_hue_turns_the_way_torchvisions_does(turn):
    x = 0.3 + 0.2 * pictures(1)
    difference = [colour.apply(x, colour.hue(torch.tensor([t]))) - x for t in (turn, -turn)]
    other = peer.adjust_hue(x, turn) - x
    assert (difference[0] * other).sum() > 0 > (difference[1] * other).sum()


@pytest.mark.parametrize("side", [8, 100])  # at once, and one by one
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("c", [1, 3, 4, 12])
def test_normalisation_follows_the_clamp(side, overwrite, c):
    x, mean, std = 255 * pictures(3, c, side, side), [0.4] * c, [0.1 * (i + 1) for i in range(c)]
    expected = (1.7 * x / 255).clamp(0, 1).sub(0.4).div(torch.tensor(std)[:, None, None])
    before = x.clone()
    made = colour.apply(x, colour.brightness(torch.full((3,), 1.7), c), mean, std, top=255, overwrite=overwrite)
    assert torch.allclose(made, expected, atol=1e-4)
    assert overwrite or torch.equal(x, before)


@pytest.mark.parametrize("c", [1, 2, 4])
def test_contrast_of_other_channels_goes_about_their_mean(c):
    x = pictures(2, c)
    made = colour.apply(x, colour.jitter(x.mean((2, 3)), contrast_b=torch.zeros(2)))
    assert torch.allclose(made, x.mean((1, 2, 3))[:, None, None, None].expand_as(x), atol=1e-5)


def test_mistakes_are_named():
    with pytest.raises(SettingError, match="4 channels, and saturation and hue"):
        colour.jitter(torch.rand(2, 4), hue_b=torch.zeros(2))
    with pytest.raises(SettingError, match="mean has 2 values, and the pictures 3 channels"):
        colour.apply(pictures(), colour.identity(2, 3), [0.1, 0.2])
