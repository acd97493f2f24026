import math

import pytest
import torch
from helpers import mlp
from hypothesis import given, settings
from hypothesis import strategies as hyp
from torch import nn

from tipsai import Batch
from tipsai.core import modes
from tipsai.core.evaluate import Evaluator, evaluating, predictions
from tipsai.losses import CrossEntropy, MeanSquaredError
from tipsai.metrics import as_metrics

CPU = torch.device("cpu")


def _batches(x, y, bs):
    return [Batch((a,), (b,)) for a, b in zip(x.split(bs), y.split(bs), strict=True)]


@given(n=hyp.integers(2, 40), bs=hyp.integers(1, 41), seed=hyp.integers(0, 999))
@settings(deadline=None, max_examples=40)
def test_figures_do_not_depend_on_the_batch_size(n, bs, seed):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, 5, generator=g), torch.randint(0, 3, (n,), generator=g)
    judge = Evaluator(CrossEntropy(), as_metrics(["accuracy", "f1_macro", "balanced_accuracy"]))
    whole, parts = (judge(mlp(norm=True), _batches(x, y, size), CPU) for size in (n, bs))
    assert parts == pytest.approx(whole, rel=1e-5)


@given(bs=hyp.integers(1, 13))
@settings(deadline=None, max_examples=13)
def test_ignored_tokens_do_not_count_in_whatever_batch_they_stand(bs):
    g = torch.Generator().manual_seed(0)
    logits, y = torch.randn(12, 4, 6, generator=g), torch.randint(0, 4, (12, 6), generator=g)
    y[torch.rand(12, 6, generator=g) < 0.6] = -100
    row = Evaluator(CrossEntropy(), {})(nn.Identity(), _batches(logits, y, bs), CPU)
    assert row["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, y)), rel=1e-6)


def test_class_weights_and_smoothing_do_not_touch_the_reported_loss():
    x, y = torch.randn(20, 5), torch.randint(0, 3, (20,))
    plain, weighted = (
        Evaluator(loss, {})(mlp(), _batches(x, y, 7), CPU)
        for loss in (CrossEntropy(), CrossEntropy(torch.tensor([1.0, 5.0, 9.0]), 0.2))
    )
    assert plain == weighted


def test_where_nothing_counts_the_loss_is_not_a_number():
    batch = Batch((torch.randn(3, 5),), (torch.full((3,), -100),))
    assert math.isnan(Evaluator(CrossEntropy(), {})(mlp(), [batch], CPU)["loss"])


@pytest.mark.parametrize("as_sums", [True, False])
def test_compute_loss_is_averaged_over_rows(as_sums):
    def own(model, batch):
        values = (model(*batch.x) - batch.y[0]).square().mean(1)
        return (values.sum(), len(values)) if as_sums else values.mean()

    x, y = torch.randn(10, 5), torch.randn(10, 3)
    judge = Evaluator(MeanSquaredError(), as_metrics("mse"), compute_loss=own)
    row = judge(mlp(), _batches(x, y, 4), CPU)
    assert row["loss"] == pytest.approx(row["mse"], rel=1e-5)


def test_units_are_applied_before_loss_and_metrics():
    x, y = torch.randn(10, 5), torch.randn(10, 3)
    plain, scaled = (
        Evaluator(MeanSquaredError(), as_metrics("mae"), units=units)(mlp(), _batches(x, y, 4), CPU)
        for units in (None, lambda t: 10 * t + 3)
    )
    assert scaled["loss"] == pytest.approx(100 * plain["loss"], rel=1e-5)
    assert scaled["mae"] == pytest.approx(10 * plain["mae"], rel=1e-5)


def test_modules_are_put_back_in_their_own_modes_even_after_an_error():
    model = mlp(dropout=0.5, norm=True)
    model[1].eval()
    modes = [m.training for m in model.modules()]
    with pytest.raises(ValueError, match="x"), evaluating(model):
        assert not any(m.training for m in model.modules()) and not torch.is_grad_enabled()
        raise ValueError("x")
    assert [m.training for m in model.modules()] == modes and torch.is_grad_enabled()


def test_a_copys_recurrent_layers_keep_their_weights_in_one_piece(monkeypatch):
    """On a GPU each call would put them together anew, and say so."""
    whole = []
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", lambda layer: whole.append(layer))
    model = nn.Sequential(nn.GRU(3, 4), nn.ModuleList([nn.LSTM(4, 2)]))
    whole.clear()  # a new one is in one piece
    made = modes.copied(model)
    assert whole == [made[0], made[1][0]]
    assert all(torch.equal(a, b) and a is not b for a, b in zip(model.parameters(), made.parameters(), strict=True))


def test_predictions_come_a_batch_at_a_time_on_the_host_in_fp32():
    model = nn.Linear(5, 3).bfloat16()
    batches = _batches(torch.randn(10, 5).bfloat16(), torch.randn(10, 3), 4)
    found = list(predictions(model, batches, lambda out: 2 * out))
    assert [len(pred) for pred, _ in found] == [4, 4, 2]
    assert all(pred.dtype == torch.float32 and not pred.requires_grad for pred, _ in found)
    assert torch.equal(found[0][0], 2 * model(*batches[0].x).float().detach())
