"""Interpretation: items by loss, doubt and suspicion; what is taken for what."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import learner, mlp
from hypothesis import given, settings
from hypothesis import strategies as hyp
from torch import nn

from tipsai import CategoryBlock, DataBlock, DataLoaders, Learner, MultiCategoryBlock, RegressionBlock, losses, toys
from tipsai.core.errors import SettingError
from tipsai.core.state import Batch
from tipsai.data.block import Block
from tipsai.data.itemwise import item_losses
from tipsai.interpret import Interpretation
from tipsai.tabular import TabularDataLoaders, tabular_learner

seeds = hyp.integers(0, 10_000)


def _interpreted(pred, y, labels=None, bs=7, **options):
    """What is made of given predictions: the inputs are the predictions, the model passes them on."""
    dls = DataLoaders.from_tensors((pred, y), (pred, y), bs=bs)
    dls.valid.bs = bs
    if labels is not None:
        dls.blocks = (Block(), CategoryBlock(labels))
    return Learner(dls, nn.Identity(), lr=0.1, device="cpu", seed=0, **options).interpret()


def _classes(n, c, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, c, generator=g), torch.randint(0, c, (n,), generator=g)


# --- laws ---------------------------------------------------------------------------------------------------------------


@given(n=hyp.integers(1, 60), c=hyp.integers(2, 6), seed=seeds)
@settings(deadline=None, max_examples=40)
def test_items_and_counts_are_those_of_a_loop(n, c, seed):
    pred, y = _classes(n, c, seed)
    interp = _interpreted(pred, y)
    p, loss = pred.softmax(1), nn.functional.cross_entropy(pred, y, reduction="none")
    top = interp.top_losses(n)
    assert top["loss"].is_monotonic_decreasing
    np.testing.assert_allclose(top["loss"], loss.sort(descending=True).values, rtol=1e-6)
    np.testing.assert_allclose(loss[top["position"].tolist()], top["loss"], rtol=1e-6)
    np.testing.assert_allclose(p[torch.arange(n), y][top["position"].tolist()], top["target_probability"], rtol=1e-5)
    assert top["prediction"].tolist() == pred.argmax(1)[top["position"].tolist()].tolist()
    doubt = interp.least_certain(n)
    two = p.sort(1, descending=True).values
    np.testing.assert_allclose(doubt["margin"], (two[:, 0] - two[:, 1]).sort().values, atol=1e-6)

    counts = interp.confusion()
    expected = np.zeros((c, c), int)
    np.add.at(expected, (y.numpy(), pred.argmax(1).numpy()), 1)
    np.testing.assert_array_equal(counts, expected)
    assert counts.to_numpy().sum() == n
    pairs = interp.most_confused(min=1, n=c * c)
    off = expected - np.diag(expected.diagonal())
    assert pairs["count"].tolist() == sorted(off[off > 0].tolist(), reverse=True)
    assert all(off[t, s] == k for t, s, k in zip(pairs["target"], pairs["prediction"], pairs["count"], strict=True))


@given(n=hyp.integers(2, 50), c=hyp.integers(2, 5), seed=seeds)
@settings(deadline=None, max_examples=40)
def test_label_errors_follow_the_rule_of_confident_learning(n, c, seed):
    pred, y = _classes(n, c, seed)
    p, said = (3 * pred).softmax(1).double(), pred.argmax(1)
    usual = {k: p[y == k, k].mean() for k in set(y.tolist())}
    suspects = [i for i in range(n) if said[i] != y[i] and int(said[i]) in usual and p[i].max() > usual[int(said[i])]]
    found = _interpreted(3 * pred, y).label_errors(n)
    expected = sorted(suspects, key=lambda i: float(p[i, y[i]]))
    np.testing.assert_allclose(found["target_probability"], [p[i, y[i]] for i in expected], rtol=1e-5)
    assert sorted(found["position"]) == sorted(suspects)
    assert found["suggestion"].tolist() == said[found["position"].tolist()].tolist()


LOSSES = [
    (losses.CrossEntropy(), (6, 4), lambda g: torch.randint(0, 4, (6,), generator=g)),
    (losses.CrossEntropy(torch.rand(4), 0.1, 3), (6, 4, 2, 3), lambda g: torch.randint(0, 4, (6, 2, 3), generator=g)),
    (losses.BinaryCrossEntropy(), (6, 3), lambda g: torch.rand(6, 3, generator=g) < 0.5),
    (losses.MeanSquaredError(), (6,), lambda g: torch.randn(6, generator=g)),
    (losses.as_loss(nn.HuberLoss(delta=0.3)), (6, 2), lambda g: torch.randn(6, 2, generator=g)),
    (losses.as_loss(lambda p, y: (p - y).abs().mean()), (6, 2), lambda g: torch.randn(6, 2, generator=g)),
    # What depends on a value cannot be mapped over the items, and is called for one after another.
    (
        losses.as_loss(lambda p, y: (p - y).mean() * (2 if p.sum() > 0 else 1)),
        (6,),
        lambda g: torch.randn(6, generator=g),
    ),
]


@pytest.mark.parametrize("loss, shape, targets", LOSSES)
def test_the_loss_of_an_item_is_the_report_of_it_alone(loss, shape, targets):
    g = torch.Generator().manual_seed(0)
    pred, y = torch.randn(shape, generator=g), targets(g)
    found = item_losses(loss, pred, (y,))
    for i in range(len(pred)):
        total, weight = loss.report(pred[i : i + 1], y[i : i + 1])
        assert float(found[i]) == pytest.approx(float(total / weight), rel=1e-5)


def test_an_item_of_which_nothing_counts_has_no_loss():
    y = torch.tensor([[-100, -100], [0, 1]])
    found = item_losses(losses.CrossEntropy(), torch.randn(2, 3, 2), (y,))
    assert found[0] == 0 and found[1] > 0


def test_what_is_kept_does_not_grow_with_the_classes():
    n, c = 20_000, 5_000
    y = torch.arange(n) % c
    x = torch.randn(n, 4)
    dls = DataLoaders.from_tensors((x[:64], y[:64]), (x, y), bs=64)
    interp = Learner(dls, nn.Linear(4, c), lr=0.1, device="cpu", seed=0).interpret()
    held = [*interp.items.values(), *interp.sums.values()]
    assert sum(t.nbytes for t in held) <= 24 * n
    assert all(t.untyped_storage().nbytes() == t.nbytes for t in held)  # nothing is a view of something larger
    assert len(interp.most_confused(min=1)) == 10 and len(str(interp)) < 3000


# --- classes ------------------------------------------------------------------------------------------------------------


def _four():
    """Two classes: 0 is sure and right, 1 sure and wrong, 2 hardly right, 3 hardly wrong."""
    pred = torch.tensor([[4.0, 0.0], [5.0, 0.0], [0.0, 0.1], [0.0, 0.2]])
    return pred, torch.tensor([0, 1, 1, 0])


def test_the_most_wrong_of_two_classes_both_ways():
    interp = _interpreted(*_four(), labels=["no", "yes"])
    wrong = interp.most_wrong()
    assert wrong["position"].tolist() == [1, 3]
    assert wrong["mistake"].tolist() == ["missed yes", "false yes"]
    assert wrong["target"].tolist() == ["yes", "no"] and wrong["prediction"].tolist() == ["no", "yes"]
    assert interp.most_wrong(positive="no")["mistake"].tolist() == ["missed no", "false no"]
    assert interp.least_certain(2)["position"].tolist() == [2, 3]


def test_the_most_wrong_of_several_classes_need_one_that_is_named():
    interp = _interpreted(torch.eye(3), torch.tensor([0, 2, 1]), labels=["a", "b", "c"])
    with pytest.raises(SettingError, match="there are 3 classes; say positive=, one of 'a', 'b', 'c'"):
        interp.most_wrong()
    with pytest.raises(SettingError, match="there is no class 'd'; expected one of 'a', 'b', 'c'"):
        interp.most_wrong(positive="d")
    assert interp.most_wrong(positive="b")["position"].tolist() == [2, 1]


def test_one_logit_and_yes_or_no_are_two_classes():
    y = torch.tensor([True, False, True])
    interp = _interpreted(torch.tensor([2.0, 1.0, -3.0]), y)
    assert interp.kind == "classes" and interp.names == [False, True]
    assert interp.most_wrong()["position"].tolist() == [2, 1]
    assert interp.confusion().loc[True].tolist() == [1, 1]
    shaped = _interpreted(torch.tensor([[2.0], [1.0], [-3.0]]), y[:, None].float(), loss_fn=losses.BinaryCrossEntropy())
    torch.testing.assert_close(shaped.items, interp.items)


def test_the_summary_is_a_table_of_classes_and_pairs():
    pred, y = _classes(200, 3, 0)
    interp = _interpreted(pred, y, labels=["ant", "bee", "cat"])
    text = str(interp)
    right = float((pred.argmax(1) == y).double().mean())
    assert text.startswith("200 valid items, mean loss") and f"accuracy {right:.4f}" in text
    worst = interp.per_class().iloc[0]
    assert f"{worst.name}" in text.splitlines()[5] and "most confused" in text
    assert worst["f1"] == interp.per_class()["f1"].min()
    assert int(interp.per_class()["n"].sum()) == 200


def test_of_many_classes_the_matrix_has_those_that_occur():
    pred = torch.zeros(4, 500)
    pred[range(4), [7, 7, 400, 3]] = 5
    counts = _interpreted(pred, torch.tensor([7, 9, 400, 400])).confusion()
    assert counts.index.tolist() == [3, 7, 9, 400] == counts.columns.tolist()
    assert counts.loc[400, 3] == 1 == counts.loc[9, 7] and counts.to_numpy().sum() == 4


def test_targets_that_are_probabilities_count_as_their_class():
    interp = _interpreted(torch.eye(3), torch.eye(3) * 0.8 + 0.05, loss_fn=losses.CrossEntropy())
    assert interp.kind == "classes" and np.trace(interp.confusion()) == 3


def test_planted_label_errors_come_first():
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    sure = (x[:, 0].abs() > 1).nonzero()[:8, 0]
    y[sure] = 1 - y[sure]
    interp = _interpreted(torch.stack([-2 * x[:, 0], 2 * x[:, 0]], 1), y)
    assert set(interp.label_errors(8)["position"]) == set(sure.tolist())


# --- other targets ------------------------------------------------------------------------------------------------------


def test_of_several_labels_the_worst_of_each_item_is_told():
    pred = torch.tensor([[3.0, -3.0, 0.1], [3.0, 2.0, -5.0]])
    y = torch.tensor([[True, False, False], [False, True, False]])
    dls = DataLoaders.from_tensors((pred, y), (pred, y))
    dls.blocks = (Block(), MultiCategoryBlock(["sea", "sky", "sun"]))
    interp = Learner(dls, nn.Identity(), lr=0.1, device="cpu").interpret()
    top = interp.top_losses()
    assert top["position"].tolist() == [1, 0] and top["label"].tolist() == ["sea", "sun"]
    assert top["target"].tolist() == [False, False] and top["prediction"].tolist() == [True, True]
    assert top["n_wrong"].tolist() == [1, 1] and interp.least_certain(1)["position"].tolist() == [0]
    labels = interp.per_class()
    assert labels.loc["sea", ["n", "recall", "precision"]].tolist() == [1, 1, 0.5]
    with pytest.raises(SettingError, match="most_wrong is for classes, and these targets are labels"):
        interp.most_wrong()


def test_numbers_are_told_in_their_units():
    block = RegressionBlock(["height", "width"]).fit([[100.0, 0.0], [300.0, 2.0]])
    y = torch.stack([block.encode(v) for v in ([100.0, 0.0], [200.0, 1.0])])
    pred = torch.stack([block.encode(v) for v in ([110.0, 0.0], [200.0, 4.0])])
    dls = DataLoaders.from_tensors((pred, y), (pred, y))
    dls.blocks = (Block(), block)
    interp = Learner(dls, nn.Identity(), lr=0.1, device="cpu").interpret()
    top = interp.top_losses()
    assert top["output"].tolist() == ["height", "width"]
    np.testing.assert_allclose(top[["target", "prediction", "residual"]], [[100, 110, 10], [1, 4, 3]], rtol=1e-5)
    np.testing.assert_allclose(top["loss"], [50, 4.5], rtol=1e-5)
    assert interp.per_class().loc["height", "mean_absolute_error"] == pytest.approx(5)
    assert "by number" in str(interp)


@given(seed=seeds, n=hyp.integers(1, 6))
@settings(deadline=None, max_examples=30)
def test_masks_are_judged_by_the_iou_of_the_classes_that_occur(seed, n):
    g = torch.Generator().manual_seed(seed)
    pred, y = torch.randn(n, 4, 3, 2, generator=g), torch.randint(0, 3, (n, 3, 2), generator=g)
    y[torch.rand(y.shape, generator=g) < 0.2] = -100
    y[:, 0, 0] = 1
    interp = _interpreted(pred, y, bs=2)
    said = pred.argmax(1)
    expected = []
    for t, s in zip(y, said, strict=True):
        t, s = t[t >= 0], s[t >= 0]
        ious = [float(((t == k) & (s == k)).sum() / ((t == k) | (s == k)).sum()) for k in set(t.tolist() + s.tolist())]
        expected.append(np.mean(ious))
    worst = interp.lowest_iou(n)
    np.testing.assert_allclose(worst["iou"], sorted(expected), rtol=1e-5)
    assert interp.confusion().to_numpy().sum() == int((y >= 0).sum())
    assert interp.kind == "masks" and "mean IoU of a picture" in str(interp)


def test_of_other_targets_the_losses_are_known():
    pred, y = torch.randn(10, 3, 5), torch.randint(0, 3, (10, 5))
    interp = _interpreted(pred, y)
    assert interp.kind == "others" and list(interp.top_losses()) == ["position", "loss"]
    assert str(interp).startswith("10 valid items, mean loss") and len(interp) == 10


# --- through a learner --------------------------------------------------------------------------------------------------


def test_rows_of_a_table_are_shown_as_they_were_given():
    toy = toys.table(400)
    dls = TabularDataLoaders.from_df(toy.frame[:300], target=toy.target, valid_df=toy.frame[300:])
    learn = tabular_learner(dls, seed=0, device="cpu", width=16, depth=1)
    top = learn.interpret().top_losses(5)
    given = toy.frame[300:].iloc[top["position"]]
    for name in ("area_m2", "built", "balcony_m2"):
        np.testing.assert_array_equal(top[name], given[name].astype(float))
    assert top["lift"].tolist() == given["lift"].tolist()
    assert pd.to_datetime(given["listed"]).tolist() == top["listed"].tolist()
    assert top["target"].tolist() == given[toy.target].tolist()


def test_the_mean_of_the_losses_is_the_loss_of_the_split():
    learn = learner(model=mlp(dropout=0.5, norm=True))
    interp = learn.interpret()
    assert float(interp.items["loss"].mean()) == pytest.approx(learn.validate()["valid_loss"], rel=1e-5)
    assert learn.model.training


def test_training_items_come_in_their_own_order_without_augmentation():
    data = [(float(i), i % 2) for i in range(20)]
    block = DataBlock((Block(), CategoryBlock()), item_aug=lambda x: x + 100, splitter=None)
    dls = block.dataloaders(data, bs=4)
    x = torch.tensor([x for x, _ in (dls.train.dataset.x.items[i] for i in range(len(dls.train.dataset)))])
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(x)
            return torch.stack([-x, x], 1).float()

    interp = Learner(dls, Spy(), lr=0.1, device="cpu", seed=0).interpret("train")
    assert torch.cat(seen).tolist() == x.tolist()
    assert interp.top_losses(1)["position"][0] == max(range(16), key=lambda i: x[i] if x[i] % 2 == 0 else -1)


def test_test_data_are_refused_unless_asked_for_and_counted():
    pred, y = _classes(20, 3, 0)
    dls = DataLoaders.from_tensors((pred, y), (pred, y), (pred, y))
    learn = Learner(dls, nn.Identity(), lr=0.1, device="cpu")
    with pytest.raises(SettingError, match="split is 'test'; whoever looks at test items tunes on them"):
        learn.interpret("test")
    assert not learn.test_looks
    assert len(learn.interpret("test", open_test=True)) == 20
    assert list(learn.test_looks.values()) == [1]


def test_views_are_averaged_if_asked_for():
    pred, y = _classes(20, 3, 0)
    dls = DataLoaders.from_tensors((pred, y), (pred, y))
    dls.blocks = (Block(), CategoryBlock(range(3)))
    dls.views = ((), (lambda batch, draw: Batch((-batch.x[0],), batch.y),))
    learn = Learner(dls, nn.Identity(), lr=0.1, device="cpu")
    interp = learn.interpret(tta=True)
    assert float(interp.items["loss"].mean()) == pytest.approx(learn.validate(tta=True)["valid_loss"], rel=1e-5)


def test_loaders_of_ones_own_are_interpreted_in_their_order():
    pred, y = _classes(30, 3, 0)
    data = torch.utils.data.TensorDataset(pred, y)
    loaders = [torch.utils.data.DataLoader(data, 8) for _ in range(2)]
    learn = Learner(DataLoaders.from_loaders(*loaders), nn.Identity(), lr=0.1, device="cpu")
    torch.testing.assert_close(learn.interpret().items, _interpreted(pred, y).items)


def test_what_cannot_be_interpreted_is_refused():
    pred, y = _classes(20, 3, 0)
    dls = DataLoaders.from_tensors((pred, y), (pred, y))
    own = Learner(dls, nn.Identity(), lr=0.1, device="cpu", compute_loss=lambda model, batch: model(*batch.x).mean())
    with pytest.raises(SettingError, match="compute_loss gives the loss of a batch, not of an item"):
        own.interpret()
    several = nn.Sequential()
    several.forward = lambda x: {"logits": x}
    with pytest.raises(SettingError, match="the model returns a dict; expected a tensor. Give Learner"):
        Learner(dls, several, lr=0.1, device="cpu").interpret()
    interp = _interpreted(pred, y)
    assert isinstance(interp, Interpretation)
    with pytest.raises(SettingError, match="lowest_iou is for masks, and these targets are classes"):
        interp.lowest_iou()
    with pytest.raises(SettingError, match="these items are no pictures; the method of the same name without plot_"):
        interp.plot_top_losses()
