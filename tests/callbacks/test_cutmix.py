import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as hyp

from tipsai import Callback, CategoryBlock, CutMix, DataLoaders, Learner, RegressionBlock
from tipsai.callbacks.cutmix import draw_boxes, paste
from tipsai.core.errors import SettingError


@given(
    n=hyp.integers(1, 20),
    size=hyp.tuples(hyp.integers(1, 40), hyp.integers(1, 40)),
    alpha=hyp.floats(0.05, 5),
    seed=hyp.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_the_share_is_that_of_the_pixels_that_stay(n, size, alpha, seed):
    perm, boxes, lam = draw_boxes(n, *size, alpha, torch.Generator().manual_seed(seed))
    assert sorted(perm.tolist()) == list(range(n))
    x = torch.arange(n).float()[:, None, None, None].expand(n, 2, *size)
    mixed = paste(x, perm, boxes)
    stays = (mixed == x).float().mean((1, 2, 3))
    moved = perm != torch.arange(n)
    torch.testing.assert_close(stays[moved], lam[moved])
    assert ((lam >= 0) & (lam <= 1)).all()


def test_the_box_comes_from_the_partner_in_place():
    x = torch.stack([torch.zeros(1, 4, 4), torch.arange(16.0).reshape(1, 4, 4)])
    mixed = paste(x, torch.tensor([1, 0]), torch.tensor([[1, 0, 3, 2], [0, 0, 0, 4]]))
    expected = torch.zeros(4, 4)
    expected[1:3, 0:2] = x[1, 0, 1:3, 0:2]
    assert torch.equal(mixed[0, 0], expected)
    assert torch.equal(mixed[1], x[1])


def test_large_areas_are_as_likely_as_small_ones_at_alpha_one():
    lam = draw_boxes(20_000, 64, 64, 1.0, torch.Generator().manual_seed(0))[2]
    assert 0.6 < float(lam.mean()) < 0.75  # one half, and more since the edges cut rectangles


class Watch(Callback):
    """Keeps the targets that the loss saw."""

    def __init__(self):
        self.seen = []

    def after_loss(self, st):
        self.seen.append(st.batch.y[0].clone())


def _learner(callback, x=None, **options):
    x = torch.randn(32, 1, 6, 6) if x is None else x
    dls = DataLoaders.from_tensors((x, torch.arange(32) % 2), bs=8)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(x[0].numel(), 2))
    return Learner(dls, model, callbacks=[callback], seed=3, **options)


def test_training_sees_mixed_targets_and_the_same_ones_again():
    watches = [Watch(), Watch()]
    for watch in watches:
        learn = _learner(CutMix(CategoryBlock(range(2))))
        learn.callbacks.append(watch)
        learn.fit(1)
    first, second = (watch.seen for watch in watches)
    assert len(first) == 4
    assert all(y.shape == (8, 2) and torch.allclose(y.sum(1), torch.ones(8)) for y in first)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_only_a_share_of_the_batches_is_mixed():
    learn = _learner(CutMix(CategoryBlock(range(2)), p=0.5))
    learn.callbacks.append(watch := Watch())
    learn.fit(20)
    assert 20 < sum(y.is_floating_point() for y in watch.seen) < 60


@pytest.mark.parametrize("p", [0, 1.5, -1])
def test_a_probability_out_of_range_is_refused(p):
    with pytest.raises(SettingError, match="p is"):
        CutMix(CategoryBlock(range(2)), p=p)


def test_inputs_that_are_no_pictures_are_refused():
    with pytest.raises(SettingError, match="expected pictures"):
        _learner(CutMix(CategoryBlock(range(2))), torch.randn(32, 5)).fit(1)


def test_numbers_mix_linearly():
    y = torch.tensor([[0.0], [2.0]])
    (mixed,) = RegressionBlock().mix_targets((y,), torch.tensor([1, 0]), torch.tensor([0.75, 0.5]))
    assert mixed.flatten().tolist() == [0.5, 1.0]
