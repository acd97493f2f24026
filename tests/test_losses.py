import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as hyp
from torch import nn

from tipsai.core.errors import SettingError, ShapeError
from tipsai.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    ElementwiseLoss,
    FunctionLoss,
    MeanSquaredError,
    as_loss,
    default_loss,
    uniform_loss,
)

C = 4
W = torch.tensor([0.2, 1.0, 3.0, 0.7])


def _classes(*shape, ignored=None):
    y = torch.randint(0, C, shape)
    return y if ignored is None else torch.where(torch.rand(shape) < 0.4, ignored, y)


def _cases():
    logits, tokens, maps = torch.randn(9, C), torch.randn(9, C, 7), torch.randn(3, C, 5, 5)
    numbers = torch.randn(9, 3)
    yield nn.CrossEntropyLoss(), logits, _classes(9)
    yield nn.CrossEntropyLoss(), logits, _classes(9, ignored=-100)
    yield nn.CrossEntropyLoss(), tokens, _classes(9, 7, ignored=-100)
    yield nn.CrossEntropyLoss(), maps, _classes(3, 5, 5)
    yield nn.CrossEntropyLoss(), logits, torch.rand(9, C).softmax(1)
    yield nn.CrossEntropyLoss(label_smoothing=0.2), logits, torch.rand(9, C).softmax(1)
    yield nn.CrossEntropyLoss(weight=W), logits, _classes(9)
    yield nn.CrossEntropyLoss(weight=W, ignore_index=2), tokens, _classes(9, 7)
    yield nn.CrossEntropyLoss(weight=W, ignore_index=255), maps, _classes(3, 5, 5, ignored=255)
    yield nn.CrossEntropyLoss(ignore_index=0), logits, _classes(9)
    yield nn.CrossEntropyLoss(label_smoothing=0.1), tokens, _classes(9, 7, ignored=-100)
    yield nn.CrossEntropyLoss(weight=W, label_smoothing=0.1, ignore_index=1), tokens, _classes(9, 7)
    yield F.cross_entropy, logits, _classes(9)
    yield nn.BCEWithLogitsLoss(), numbers, torch.rand(9, 3)
    yield nn.BCEWithLogitsLoss(pos_weight=torch.tensor([0.5, 2.0, 9.0])), numbers, (torch.rand(9, 3) < 0.5).float()
    yield nn.BCEWithLogitsLoss(weight=torch.tensor([0.5, 2.0, 9.0])), numbers, torch.rand(9, 3)
    yield F.binary_cross_entropy_with_logits, numbers, torch.rand(9, 3)
    for make in (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss):
        yield make(), numbers, torch.randn(9, 3)
    for fn in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss):
        yield fn, numbers, torch.randn(9, 3)
    yield nn.HuberLoss(delta=0.3), numbers, 5 * torch.randn(9, 3)
    yield nn.SmoothL1Loss(beta=0.3), numbers, 5 * torch.randn(9, 3)
    yield (lambda pred, y: (pred - y).abs().pow(1.5).mean()), numbers, torch.randn(9, 3)


with torch.random.fork_rng():
    torch.manual_seed(0)
    CASES = list(_cases())


@pytest.mark.parametrize(("theirs", "pred", "y"), CASES)
def test_torchs_losses_are_taken_over_with_their_own_mean(theirs, pred, y):
    ours = as_loss(theirs)
    total, weight = ours.sums(pred, y)
    torch.testing.assert_close(total / weight, theirs(pred, y))


@pytest.mark.parametrize(("theirs", "pred", "y"), CASES)
def test_sums_add_up_over_any_split_of_the_rows(theirs, pred, y):
    ours = as_loss(theirs)
    whole = ours.sums(pred, y)
    parts = [ours.sums(a, b) for a, b in zip(pred.split(2), y.split(2), strict=True)]
    assert float(sum(p[0] for p in parts)) == pytest.approx(float(whole[0]), rel=1e-5)
    assert float(sum(p[1] for p in parts)) == pytest.approx(float(whole[1]), rel=1e-5)


@pytest.mark.parametrize(
    ("theirs", "plain"),
    [
        (nn.CrossEntropyLoss(weight=W, label_smoothing=0.3), nn.CrossEntropyLoss()),
        (nn.BCEWithLogitsLoss(pos_weight=W), nn.BCEWithLogitsLoss()),
        (nn.HuberLoss(delta=0.3), nn.HuberLoss(delta=0.3)),
    ],
)
def test_what_is_reported_is_the_plain_loss(theirs, plain):
    pred = torch.randn(9, C)
    y = _classes(9) if isinstance(theirs, nn.CrossEntropyLoss) else torch.rand(9, C)
    total, weight = as_loss(theirs).report(pred, y)
    torch.testing.assert_close(total / weight, plain(pred, y))


def test_one_hot_targets_with_class_weights_count_like_their_classes():
    pred, y = torch.randn(9, C), _classes(9)
    loss = CrossEntropy(W)
    for a, b in zip(loss.sums(pred, y), loss.sums(pred, F.one_hot(y, C).float()), strict=True):
        torch.testing.assert_close(a, b)


@given(n=hyp.integers(1, 12), seed=hyp.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_a_row_weight_of_two_is_the_row_twice(n, seed):
    g = torch.Generator().manual_seed(seed)
    pred, y = torch.randn(n, C, 2, generator=g), torch.randint(0, C, (n, 2), generator=g)
    times = torch.randint(0, 3, (n,), generator=g)
    numbers = torch.randn(n, C, 2, generator=g)
    for loss, target in ((CrossEntropy(), y), (CrossEntropy(W), y), (MeanSquaredError(), numbers)):
        weighted = loss.sums(pred, target, times.float())
        repeated = loss.sums(pred.repeat_interleave(times, 0), target.repeat_interleave(times, 0))
        for a, b in zip(weighted, repeated, strict=True):
            assert float(a) == pytest.approx(float(b), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("loss", [nn.L1Loss(), nn.MSELoss(), nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss(weight=W)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_before_it_is_summed(loss, dtype):
    pred = torch.randn(3001, C).to(dtype)
    y = _classes(3001) if isinstance(loss, nn.CrossEntropyLoss) else torch.rand(3001, C)
    narrow, wide = (as_loss(loss).sums(p, y) for p in (pred, pred.float()))
    assert float(narrow[0]) == float(wide[0]) and float(narrow[1]) == float(wide[1])


@pytest.mark.parametrize("loss", [MeanSquaredError(), BinaryCrossEntropy(), ElementwiseLoss(F.l1_loss)])
@pytest.mark.parametrize("which", ["sums", "report"])
def test_shapes_that_would_broadcast_are_an_error_that_names_the_fix(loss, which):
    with pytest.raises(ShapeError, match=r"shape \[8, 1\] and targets \[8\], which would broadcast.*squeeze\(-1\)"):
        getattr(loss, which)(torch.randn(8, 1), torch.rand(8))
    with pytest.raises(ShapeError, match=r"shape \[8\] and targets \[8, 1\].*Give both the same shape\."):
        getattr(loss, which)(torch.randn(8), torch.rand(8, 1))


@pytest.mark.parametrize(
    ("pred", "y", "expected"),
    [((8, C), (8, 1), r"\[8\]"), ((8, C, 5), (8, 4), r"\[8, 5\]"), ((8, C), (7,), r"\[8\]")],
)
@pytest.mark.parametrize("which", ["sums", "report"])
def test_class_targets_of_another_shape_are_an_error(pred, y, expected, which):
    with pytest.raises(ShapeError, match=f"expected targets of shape {expected}"):
        getattr(CrossEntropy(), which)(torch.randn(pred), torch.zeros(y, dtype=torch.long))


def test_probabilities_of_another_width_are_an_error():
    with pytest.raises(ShapeError, match=r"logits have shape \[8, 4\] and targets \[8, 3\]"):
        CrossEntropy().sums(torch.randn(8, C), torch.rand(8, 3))


def test_a_function_counts_as_a_mean_over_rows():
    total, weight = as_loss(lambda pred, a, b: (pred - a * b).mean()).sums(
        torch.ones(6, 2), torch.ones(6, 2), torch.zeros(6, 2)
    )
    assert (float(total), weight) == (6.0, 6)


@pytest.mark.parametrize(
    ("returns", "says"), [(torch.ones(3), r"a tensor of shape \[3\]"), (1.5, "float"), (None, "NoneType")]
)
def test_a_function_that_returns_no_single_number_is_an_error(returns, says):
    def mine(pred, y):
        return returns

    with pytest.raises(ShapeError, match=f"loss function mine returned {says}; expected one number, the mean"):
        FunctionLoss(mine).sums(torch.ones(3), torch.ones(3))


def test_a_subclass_with_its_own_forward_is_not_taken_for_its_base():
    class Half(nn.CrossEntropyLoss):
        def forward(self, pred, y):
            return super().forward(pred, y) / 2

    pred, y = torch.randn(6, C), _classes(6)
    total, weight = as_loss(Half()).sums(pred, y)
    torch.testing.assert_close(total / weight, F.cross_entropy(pred, y) / 2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (nn.MSELoss, r"is the class MSELoss; expected an instance. Write MSELoss\(\)"),
        (CrossEntropy, r"is the class CrossEntropy"),
        (nn.MSELoss(reduction="sum"), "reduction='sum'; expected 'mean'"),
        (nn.CrossEntropyLoss(reduction="none"), "reduction='none'; expected 'mean'"),
        ("mse", "loss_fn is 'mse'; expected a function"),
        (3, "loss_fn is 3; expected a function"),
    ],
)
def test_what_is_no_loss_is_refused(given, says):
    with pytest.raises(SettingError, match=says):
        as_loss(given)


def test_a_loss_is_taken_as_it_is():
    loss = CrossEntropy(W)
    assert as_loss(loss) is loss


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (torch.int64, CrossEntropy),
        (torch.int32, CrossEntropy),
        (torch.uint8, CrossEntropy),
        (torch.bool, BinaryCrossEntropy),
        (torch.float32, MeanSquaredError),
        (torch.float64, MeanSquaredError),
    ],
)
def test_the_default_follows_the_targets_dtype(dtype, kind):
    target = torch.zeros(4, dtype=dtype)
    loss = default_loss(target)
    assert type(loss) is kind
    pred = torch.zeros(4, 2) if kind is CrossEntropy else torch.zeros(4)
    for which in (loss.sums, loss.report):
        assert float(which(pred, target)[1]) == 4


def test_the_loss_of_knowing_nothing():
    y = _classes(5)
    total, weight = CrossEntropy().report(torch.zeros(5, C), y)
    assert uniform_loss(C) == pytest.approx(float(total / weight)) == math.log(C)
