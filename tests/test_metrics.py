import math

import pytest
import torch
import torchmetrics
from helpers import learner
from hypothesis import given, settings
from hypothesis import strategies as hyp
from torchmetrics.classification import (
    BinaryAUROC,
    MulticlassAccuracy,
    MulticlassF1Score,
)

from tipsai import FunctionMetric
from tipsai.core.errors import SettingError, ShapeError
from tipsai.metrics import METRICS, Overlap, as_metrics, higher_is_better, roc_auc

CLASSIFICATION = ("accuracy", "error_rate", "top_5_accuracy", "balanced_accuracy", "f1_macro", "dice", "iou")


def _scored(metric, pred, y, bs):
    metric.reset()
    for a, b in zip(pred.split(bs), y.split(bs), strict=True):
        metric.update(a, b)
    return float(metric.compute())


@given(n=hyp.integers(2, 40), bs=hyp.integers(1, 40), seed=hyp.integers(0, 999))
@settings(deadline=None, max_examples=40)
@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_metric_does_not_depend_on_how_the_split_is_batched(name, n, bs, seed):
    g = torch.Generator().manual_seed(seed)
    if name == "roc_auc":
        pred, y = torch.randn(n, generator=g), torch.rand(n, generator=g) < 0.5
        y[0], y[1] = True, False
    elif name in CLASSIFICATION:
        pred, y = torch.randn(n, 7, generator=g), torch.randint(0, 7, (n,), generator=g)
    else:
        pred, y = torch.randn(n, 2, generator=g), torch.randn(n, 2, generator=g)
    whole, parts = (_scored(METRICS[name](), pred, y, size) for size in (n, bs))
    assert math.isfinite(whole) and parts == pytest.approx(whole, rel=1e-6)


@given(n=hyp.integers(6, 60), seed=hyp.integers(0, 999))
@settings(deadline=None, max_examples=30)
def test_figures_agree_with_torchmetrics(n, seed):
    g = torch.Generator().manual_seed(seed)
    pred, y = torch.randn(n, 6, generator=g), torch.randint(0, 6, (n,), generator=g)
    y[:6] = torch.arange(6)
    real = torch.randn(n, 6, generator=g)
    yes = torch.rand(n, generator=g) < 0.5
    yes[:2] = torch.tensor([True, False])
    score = pred[:, 0].round(decimals=1)  # with ties
    for name, theirs, a, b in (
        ("accuracy", MulticlassAccuracy(6, average="micro"), pred, y),
        ("top_5_accuracy", MulticlassAccuracy(6, average="micro", top_k=5), pred, y),
        ("balanced_accuracy", MulticlassAccuracy(6, average="macro"), pred, y),
        ("f1_macro", MulticlassF1Score(6, average="macro"), pred, y),
        ("roc_auc", BinaryAUROC(), score, yes),
        ("mse", torchmetrics.MeanSquaredError(), pred, real),
        ("rmse", torchmetrics.MeanSquaredError(squared=False), pred, real),
        ("mae", torchmetrics.MeanAbsoluteError(), pred, real),
    ):
        assert _scored(METRICS[name](), a, b, 5) == pytest.approx(
            float(theirs(a, b.int() if b is yes else b)), abs=1e-5
        ), name


def test_r2_is_the_share_of_variance_explained():
    y = torch.tensor([1.0, 2.0, 3.0])
    for pred, r2 in ((y, 1.0), (torch.full((3,), 2.0), 0.0), (y.flip(0), -3.0)):
        assert _scored(METRICS["r2"](), pred, y, 2) == pytest.approx(r2)


def test_yes_no_targets_are_judged_by_the_sign_of_the_logit():
    pred, y = torch.tensor([[1.0, -1.0], [0.5, 2.0]]), torch.tensor([[True, True], [True, False]])
    assert _scored(METRICS["accuracy"](), pred, y, 1) == 0.5


def test_tokens_are_counted_one_by_one():
    pred, y = torch.randn(4, 3, 5), torch.randint(0, 3, (4, 5))
    assert _scored(METRICS["accuracy"](), pred, y, 3) == pytest.approx(float((pred.argmax(1) == y).float().mean()))


def test_a_metric_starts_anew_after_reset():
    for name in CLASSIFICATION:
        metric, y = METRICS[name](), torch.tensor([0, 1])
        right, wrong = torch.eye(7)[y], torch.eye(7)[[6, 6]]
        _scored(metric, wrong, y, 2)
        assert _scored(metric, right, y, 2) == _scored(METRICS[name](), right, y, 2)


@pytest.mark.parametrize("pred", [torch.tensor([0.1, 0.9]), torch.tensor([[0.9, 0.1], [0.1, 0.9]])])
def test_roc_auc_takes_one_logit_or_two(pred):
    assert roc_auc(pred, torch.tensor([0, 1])) == 1.0


def test_roc_auc_of_one_class_is_not_a_number():
    assert math.isnan(roc_auc(torch.rand(4), torch.ones(4, dtype=torch.bool)))


def test_shapes_that_do_not_fit_are_errors():
    with pytest.raises(ShapeError, match=r"roc_auc needs two classes; predictions have shape \[4, 3\].*'f1_macro'"):
        roc_auc(torch.rand(4, 3), torch.ones(4))
    with pytest.raises(ShapeError, match=r"\[4, 1\] and targets \[4\]; expected the same"):
        METRICS["rmse"]().update(torch.rand(4, 1), torch.rand(4))
    with pytest.raises(ShapeError, match=r"\[4\] and targets \[4\]; expected logits \[rows, classes"):
        METRICS["accuracy"]().update(torch.rand(4), torch.ones(4, dtype=torch.long))


def test_names_objects_and_functions_are_metrics():
    def median_error(pred, y):
        return (pred - y).abs().median()

    found = as_metrics(["rmse", torchmetrics.MeanAbsoluteError(), median_error, FunctionMetric(len, True)])
    assert list(found) == ["rmse", "mean_absolute_error", "median_error", "function_metric"]
    assert list(as_metrics("accuracy")) == ["accuracy"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["acuracy"], "no metric 'acuracy'. Did you mean 'accuracy'.*'rmse'"),
        ([torchmetrics.MeanSquaredError], r"MeanSquaredError is a class; expected an instance"),
        ([3], "3 is no metric; expected a name"),
    ],
)
def test_what_is_no_metric_is_refused(given, says):
    with pytest.raises(SettingError, match=says):
        as_metrics(given)


def test_torchmetrics_fit_as_they_are_in_training():
    learn = learner(metrics=["accuracy", MulticlassAccuracy(3, average="micro")])
    learn.fit(2, progress=False)
    for row in learn.history:
        assert row["valid_accuracy"] == pytest.approx(row["valid_multiclass_accuracy"])


def test_a_function_sees_the_whole_split_at_once():
    sizes = []
    learn = learner(metrics=[lambda pred, y: sizes.append((pred.shape, y.shape)) or 0.0])
    learn.validate()
    assert sizes == [((40, 3), (40,))]


def test_whether_higher_is_better_is_known_or_asked_for():
    found = as_metrics(["accuracy", "rmse", "error_rate", len])
    assert [higher_is_better(name, found) for name in ("loss", "accuracy", "rmse", "error_rate")] == [
        False,
        True,
        False,
        False,
    ]
    with pytest.raises(SettingError, match="'len' does not say whether higher is better; wrap it"):
        higher_is_better("len", found)


def _overlaps(found, true, classes):
    """Dice and IoU by their definition: sets of pixels, one class at a time."""
    dice, iou = [], []
    for c in classes:
        a, b = ({i for i, v in enumerate(side) if v == c} for side in (found, true))
        if a | b:
            dice.append(2 * len(a & b) / (len(a) + len(b)))
            iou.append(len(a & b) / len(a | b))
    return (sum(dice) / len(dice), sum(iou) / len(iou)) if dice else (math.nan, math.nan)


@given(
    n=hyp.integers(1, 8), bs=hyp.integers(1, 8), seed=hyp.integers(0, 999), ignore=hyp.booleans(), ground=hyp.booleans()
)
@settings(deadline=None, max_examples=60)
def test_dice_and_iou_are_their_definition_over_all_pixels(n, bs, seed, ignore, ground):
    g = torch.Generator().manual_seed(seed)
    pred, y = torch.randn(n, 4, 2, 3, generator=g), torch.randint(0, 3, (n, 2, 3), generator=g)
    if ignore:
        y[torch.rand(y.shape, generator=g) < 0.3] = 255
    kept = y != 255
    expected = _overlaps(pred.argmax(1)[kept].tolist(), y[kept].tolist(), range(0 if ground else 1, 4))
    for metric, value in zip([Overlap(name, 255, ground) for name in ("dice", "iou")], expected, strict=True):
        assert _scored(metric, pred, y, bs) == pytest.approx(value, nan_ok=True)


@given(n=hyp.integers(1, 8), bs=hyp.integers(1, 8), seed=hyp.integers(0, 999))
@settings(deadline=None, max_examples=30)
def test_dice_and_iou_of_yes_no_masks_are_those_of_yes(n, bs, seed):
    g = torch.Generator().manual_seed(seed)
    pred, y = torch.randn(n, 1, 3, 3, generator=g), torch.rand(n, 1, 3, 3, generator=g) < 0.4
    expected = _overlaps((pred > 0).flatten().tolist(), y.flatten().tolist(), [True])
    for name, value in zip(("dice", "iou"), expected, strict=True):
        assert _scored(METRICS[name](), pred, y, bs) == pytest.approx(value, nan_ok=True)


def test_masks_are_judged_pixel_by_pixel():
    pred, y = torch.randn(4, 3, 5, 6), torch.randint(0, 3, (4, 5, 6))
    right = (pred.argmax(1) == y).float().mean()
    assert _scored(METRICS["accuracy"](), pred, y, 3) == pytest.approx(float(right))
    assert list(as_metrics(["dice", Overlap("iou", 255)])) == ["dice", "iou"]
    assert higher_is_better("iou", as_metrics(["iou"]))


@pytest.mark.parametrize("y", [torch.zeros(4, 1, 5, 6).long(), torch.zeros(4, 6, 5).long()])
def test_masks_of_another_shape_are_an_error(y):
    with pytest.raises(ShapeError, match=r"\[4, 3, 5, 6\] and targets \[4, .*; expected"):
        METRICS["iou"]().update(torch.randn(4, 3, 5, 6), y)


@pytest.mark.parametrize("name", ["accuracy", "error_rate", "top_5_accuracy"])
def test_ignored_targets_do_not_count(name):
    g = torch.Generator().manual_seed(0)
    pred, target = torch.randn(4, 7, 5, 6, generator=g), torch.randint(0, 7, (4, 5, 6), generator=g)
    void = torch.rand(4, 5, 6, generator=g) < 0.4
    metric = METRICS[name]()
    for part in (slice(0, 1), slice(1, 4)):
        metric.update(pred[part], target[part].masked_fill(void[part], -100))
    rows = METRICS[name]()
    rows.update(pred.movedim(1, -1)[~void], target[~void])
    assert metric.compute() == pytest.approx(rows.compute()) and 0 < rows.compute() < 1
    nothing = METRICS[name]()
    nothing.update(pred, torch.full_like(target, -100))
    assert math.isnan(nothing.compute())
