"""Blocks: what a field means, there and back."""

import json

import numpy as np
import pytest
import torch

from tipsai.core.errors import DataError, SettingError
from tipsai.data.block import Block, CategoryBlock, MultiCategoryBlock, RegressionBlock

BLOCKS = [
    (CategoryBlock(), ["b", "a", "c", "a"]),
    (CategoryBlock(), [3, 1, 2]),
    (MultiCategoryBlock(), [["x", "y"], [], ["z"]]),
    (RegressionBlock(), [1.0, 2.5, 4.0]),
    (RegressionBlock(["low", "high"]), [[1.0, 10.0], [2.0, 30.0], [5.0, 20.0]]),
]


@pytest.mark.parametrize("block, items", BLOCKS, ids=lambda v: type(v).__name__ if isinstance(v, Block) else "")
def test_every_block_round_trips_and_survives_json(block, items):
    block.fit(items)
    again = type(block).from_dict(json.loads(json.dumps(block.to_dict())))
    assert again.n_out == block.n_out
    for item in items:
        encoded = block.encode(item)
        assert torch.equal(torch.as_tensor(again.encode(item)), torch.as_tensor(encoded))
        decoded = block.decode(encoded)
        assert decoded == pytest.approx(item, abs=1e-5) if isinstance(block, RegressionBlock) else decoded == item
    (batch,) = block.collate([block.encode(item) for item in items])
    assert len(batch) == len(items)
    block.default_loss().report(torch.zeros(len(items), block.n_out), batch)
    assert isinstance(block.show(block.encode(items[0])), str)


@pytest.mark.parametrize("block, items", BLOCKS, ids=lambda v: type(v).__name__ if isinstance(v, Block) else "")
def test_mixing_with_a_share_of_one_changes_nothing_and_with_zero_gives_the_partner(block, items):
    block.fit(items)
    (y,) = block.collate([block.encode(item) for item in items])
    perm = torch.arange(len(items)).flip(0)
    same, other = (block.mix_targets((y,), perm, torch.full((len(items),), share))[0] for share in (1.0, 0.0))
    as_weights = torch.nn.functional.one_hot(y, block.n_out) if y.dtype == torch.int64 else y
    assert torch.allclose(same, as_weights.float()) and torch.allclose(other, as_weights[perm].float())


def test_predictions_are_in_the_items_own_terms():
    labels = CategoryBlock(["no", "yes"]).predictions(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
    assert labels["prediction"] == ["yes", "no"] and list(labels) == ["prediction", "p_no", "p_yes"]
    assert labels["p_no"] + labels["p_yes"] == pytest.approx([1.0, 1.0])
    many = MultiCategoryBlock(["x", "y"]).predictions(torch.tensor([[3.0, -3.0], [3.0, 3.0]]))
    assert many["prediction"] == [["x"], ["x", "y"]]
    price = RegressionBlock().fit([10.0, 30.0])
    assert price.predictions(torch.tensor([[0.0], [1.0]]))["prediction"] == pytest.approx([20.0, 30.0])
    assert price.units(torch.tensor([[0.0]])).item() == pytest.approx(20.0)
    two = RegressionBlock(["a", "b"]).fit([[0.0, 0.0], [2.0, 4.0]])
    assert list(two.predictions(torch.zeros(1, 2))) == ["prediction_a", "prediction_b"]


def test_a_base_block_passes_tensors_through_and_is_no_target():
    block = Block()
    (batch,) = block.collate([torch.ones(2), np.zeros(2, np.float32)])
    assert batch.tolist() == [[1, 1], [0, 0]]
    assert block.show(torch.zeros(3, 3)) == "[3, 3] torch.float32, 0 to 0"
    with pytest.raises(SettingError, match="Block is no target"):
        block.default_loss()
    with pytest.raises(SettingError, match="mixup is not defined for targets of Block"):
        block.mix_targets((torch.ones(2),), torch.arange(2), torch.ones(2))


@pytest.mark.parametrize("item", ["cat", 3])
def test_labels_of_several_must_come_in_a_collection(item):
    with pytest.raises(DataError, match="expected a collection of labels"):
        MultiCategoryBlock().fit([item])
    with pytest.raises(DataError, match="expected a collection of labels"):
        MultiCategoryBlock(["cat"]).encode(item)
