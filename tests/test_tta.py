"""Test-time augmentation: several views of each item, averaged."""

import pytest
import torch
from torch import nn

from tipsai import Batch, CategoryBlock, DataLoaders, Learner, MultiCategoryBlock
from tipsai.core.errors import SettingError


def _dls(views):
    x, y = torch.randn(20, 4), torch.arange(20) % 3
    dls = DataLoaders.from_tensors((x, y), (x, y), (x, y), bs=8)
    dls.blocks = (CategoryBlock(range(4)), CategoryBlock(range(3)))
    dls.views = views
    return dls


def _times(factor):
    return lambda batch, draw: Batch((batch.x[0] * factor,), batch.y)


def test_probabilities_are_averaged():
    learn = Learner(_dls(((_times(1.0),), (_times(-2.0),))), nn.Linear(4, 3), metrics=["accuracy"], seed=0)
    pred, target = learn.get_preds(tta=True)
    x, y = learn.dls.valid.rows.x[0], learn.dls.valid.rows.y[0]
    with torch.no_grad():
        expected = (learn.model(x).softmax(1) + learn.model(-2 * x).softmax(1)) / 2
    torch.testing.assert_close(pred.softmax(1), expected)
    torch.testing.assert_close(pred, expected.log())
    assert torch.equal(target, y)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_figures_are_those_of_the_averaged_predictions(split):
    learn = Learner(_dls(((_times(1.0),), (_times(-2.0),))), nn.Linear(4, 3), metrics=["accuracy"], seed=0)
    row = learn.validate(tta=True) if split == "valid" else learn.test(tta=True)
    pred, target = learn.get_preds(tta=True)
    assert row[f"{split}_accuracy"] == pytest.approx(float((pred.argmax(1) == target).double().mean()))
    assert row[f"{split}_loss"] == pytest.approx(float(nn.functional.nll_loss(pred, target)), rel=1e-5)


def test_one_plain_view_changes_nothing():
    learn = Learner(_dls(((),)), nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)), seed=0)
    torch.testing.assert_close(learn.get_preds(tta=True)[0], learn.get_preds()[0].log_softmax(1))
    assert learn.model.training


def test_several_labels_average_as_probabilities():
    preds = torch.randn(3, 5, 2)
    averaged = MultiCategoryBlock(["a", "b"]).average(preds)
    torch.testing.assert_close(averaged.sigmoid(), preds.sigmoid().mean(0))


def test_data_without_views_are_refused():
    with pytest.raises(SettingError, match="no views"):
        Learner(_dls(()), nn.Linear(4, 3)).get_preds(tta=True)
