import pytest
import torch
from helpers import At, dataloaders, learner
from hypothesis import given, settings
from hypothesis import strategies as hyp

from tipsai import Block, CategoryBlock, MixUp, MultiCategoryBlock, RegressionBlock
from tipsai.callbacks.mixup import draw, mix
from tipsai.core import rng
from tipsai.core.errors import SettingError


def _draw(n, alpha=0.4, seed=0):
    return draw(n, alpha, torch.Generator().manual_seed(seed))


@given(n=hyp.integers(1, 50), alpha=hyp.floats(0.01, 5), seed=hyp.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_draws_are_partners_and_the_larger_share(n, alpha, seed):
    perm, lam = _draw(n, alpha, seed)
    assert sorted(perm.tolist()) == list(range(n))
    assert ((lam >= 0.5) & (lam <= 1)).all() and lam.dtype == torch.float32


def test_shares_follow_the_folded_beta_distribution():
    for alpha in (0.2, 1.0, 4.0):
        lam = _draw(20_000, alpha)[1]
        beta = torch.distributions.Beta(alpha, alpha).sample((20_000,))
        assert float(lam.mean()) == pytest.approx(float(torch.maximum(beta, 1 - beta).mean()), abs=0.01)


def test_inputs_are_mixed_linearly():
    x, perm, lam = torch.randn(4, 2, 3), torch.tensor([1, 0, 3, 2]), torch.tensor([1.0, 0.5, 0.75, 0.9])
    mixed = mix(x, perm, lam)
    assert torch.equal(mixed[0], x[0])
    torch.testing.assert_close(mixed[1], (x[1] + x[0]) / 2)
    torch.testing.assert_close(mixed[2], 0.75 * x[2] + 0.25 * x[3])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_whole_numbers_are_not_mixed(dtype):
    with pytest.raises(SettingError, match=f"inputs of {dtype}, which cannot be mixed; convert them to float"):
        mix(torch.ones(4, 2, dtype=dtype), *_draw(4))


PERM, LAM = torch.tensor([1, 0]), torch.tensor([0.75, 0.6])


@pytest.mark.parametrize(
    ("block", "target", "mixed"),
    [
        (CategoryBlock(range(3)), torch.tensor([0, 2]), [[0.75, 0.0, 0.25], [0.4, 0.0, 0.6]]),
        (RegressionBlock(), torch.tensor([[1.0], [3.0]]), [[1.5], [2.2]]),
        (MultiCategoryBlock("ab"), torch.tensor([[True, False], [True, True]]), [[1.0, 0.25], [1.0, 0.6]]),
    ],
)
def test_classes_become_probabilities_and_numbers_mix_linearly(block, target, mixed):
    (found,) = block.mix_targets((target,), PERM, LAM)
    torch.testing.assert_close(found, torch.tensor(mixed))


def test_training_sees_mixed_batches_and_validation_hard_targets():
    seen = []
    learn = learner(metrics="accuracy", callbacks=[MixUp(CategoryBlock(range(3)))])
    learn.fit(1, callbacks=[At(2, lambda st: seen.append(st.batch), "before_batch", order=9)], progress=False)
    (y,) = seen[0].y
    assert y.shape == (16, 3) and torch.allclose(y.sum(1), torch.ones(16))
    assert 0 < learn.history[0]["valid_accuracy"] <= 1


def test_fits_shorter_than_was_asked_are_left_alone():
    seen = []
    learn = learner(callbacks=[MixUp(CategoryBlock(range(3)), fewest_epochs=2)])
    for n_epochs in (1, 2, 1):
        watch = At(2, lambda st: seen.append(st.batch.y[0].is_floating_point()), "before_batch", order=9)
        learn.fit(n_epochs, callbacks=[watch], progress=False)
    assert seen == [False, True, False]
    with pytest.raises(SettingError, match="fewest_epochs is -1"):
        MixUp(CategoryBlock(range(3)), fewest_epochs=-1)


def test_draws_depend_on_seed_epoch_and_position_only():
    def batches(upset):
        seen = []

        class Keep(At):
            order = 9

            def before_batch(self, st):
                if upset:
                    torch.rand(3)  # somebody else draws in between
                seen.append((st.total_epoch, st.step_in_epoch, st.micro, st.batch))

        learner(callbacks=[MixUp(CategoryBlock(range(3)))]).fit(
            2, accumulate=2, callbacks=[Keep(0, None)], progress=False
        )
        return seen

    first, second = batches(False), batches(True)
    for (*place, a), (*same_place, b) in zip(first, second, strict=True):
        assert place == same_place and torch.equal(a.x[0], b.x[0]) and torch.equal(a.y[0], b.y[0])
    shares = {tuple(batch.y[0].flatten().tolist()) for *_, batch in first}
    assert len(shares) == 12
    perm, lam = draw(16, 0.4, rng.generator(1, "mixup", 0, 0, 0))
    plain = next(dataloaders().train.batches(seed=1))
    assert torch.equal(first[0][3].x[0], mix(plain.x[0], perm, lam))


def test_inside_hands_partners_and_shares_to_the_model():
    class Takes(torch.nn.Linear):
        def forward(self, x, perm=None, lam=None):
            assert (perm is not None) == self.training
            return super().forward(x if perm is None else mix(x, perm, lam))

    learn = learner(model=Takes(5, 3), callbacks=[MixUp(CategoryBlock(range(3)), inside=True)])
    learn.fit(1, progress=False)
    assert learn.history[0]["valid_loss"] > 0


def test_a_target_that_cannot_be_mixed_is_refused():
    with pytest.raises(TypeError, match="target is int; expected a block with mix_targets"):
        MixUp(3)
    learn = learner(callbacks=[MixUp(Block())])
    with pytest.raises(SettingError, match="mixup is not defined for targets of Block"):
        learn.fit(1, progress=False)


@pytest.mark.parametrize("alpha", [0, -1])
def test_alpha_must_be_above_zero(alpha):
    with pytest.raises(SettingError, match=f"alpha is {alpha}; it must be above 0"):
        MixUp(CategoryBlock(range(3)), alpha)
