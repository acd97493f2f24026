"""DataBlock: from a source to batches."""

import functools
import random

import pytest
import torch

from tipsai.core.errors import DataError
from tipsai.data.block import Block, CategoryBlock
from tipsai.data.datablock import DataBlock, Mapped
from tipsai.data.split import index_split

ITEMS = [(torch.full((3,), float(i)), "ab"[i % 2]) for i in range(20)]


def split_last(items):
    return index_split(len(items), range(12, 16), range(16, 20))


def make(**options):
    return DataBlock((Block(), CategoryBlock()), splitter=split_last, **options)


def test_blocks_are_fitted_on_training_items_alone():
    seen = []

    class Spy(CategoryBlock):
        def fit(self, items):
            seen.extend(items)
            return super().fit(items)

    DataBlock((Block(), Spy()), splitter=split_last).dataloaders(ITEMS)
    assert seen == [label for _, label in ITEMS[:12]]


def test_one_datablock_serves_several_sources():
    block = make()
    first = block.dataloaders(ITEMS)
    second = block.dataloaders([(x, y.upper()) for x, y in ITEMS])
    assert first.blocks[1].vocab.labels_ == ["a", "b"] and second.blocks[1].vocab.labels_ == ["A", "B"]
    assert first.one_batch().y[0].shape == (12,)


def test_each_part_gets_its_items_and_training_is_shuffled():
    dls = make().dataloaders(ITEMS, bs=4)
    read = {name: torch.cat([b.x[0][:, 0] for b in getattr(dls, name)]).tolist() for name in ("train", "valid", "test")}
    assert sorted(read["train"]) == list(range(12)) and read["train"] != list(range(12))
    assert read["valid"] == [12, 13, 14, 15] and read["test"] == [16, 17, 18, 19]
    assert make(get_items=lambda n: ITEMS[:n]).dataloaders(20).train.n_items == 12


def test_inputs_are_augmented_in_training_only():
    dls = make(item_aug=lambda x: x + 100).dataloaders(ITEMS, bs=4)
    assert all((b.x[0] >= 100).all() for b in dls.train)
    assert all((b.x[0] < 100).all() for part in (dls.valid, dls.test) for b in part)
    assert all((b.x[0] < 100).all() for b in dls.train.sample(8, 0)), "what train_loss is measured on"
    assert all((b.x[0] < 100).all() for b in dls.test_dl(ITEMS))


def test_batch_transforms_have_a_draw_in_training_only():
    draws = []

    def transform(batch, draw):
        draws.append(draw)
        return batch

    dls = make(batch_aug=[transform]).dataloaders(ITEMS, bs=5)
    list(dls.feed("train", torch.device("cpu")).batches(seed=3, epoch=2, start=1))
    assert [draw[:3] for draw in draws] == [(3, 2, 1), (3, 2, 2)]
    draws.clear()
    list(dls.feed("valid", torch.device("cpu")).batches())
    assert draws == [None]


def test_new_items_go_through_the_same_processing_without_targets():
    dls = make(get_x=lambda item: item[0] * 2).dataloaders(ITEMS)
    batches = list(dls.test_dl([(torch.ones(3),), (torch.zeros(3),)], bs=1))
    assert [b.x[0].tolist() for b in batches] == [[[2, 2, 2]], [[0, 0, 0]]] and batches[0].y == ()


def test_nothing_is_read_that_no_processor_needs():
    reads = []

    def get_x(item):
        reads.append(item)
        return item[0]

    dls = make(get_x=get_x).dataloaders(ITEMS, bs=4)
    assert not reads, "a block without processors has nothing to fit"
    next(dls.valid.batches())
    assert len(reads) == 4


def test_a_source_that_cannot_be_used_is_named():
    with pytest.raises(DataError, match="the source has no items"):
        make().dataloaders([])
    with pytest.raises(DataError, match="the items are a generator; expected a sequence"):
        make().dataloaders(item for item in ITEMS)
    with pytest.raises(DataError, match="left none of 20 items for training"):
        DataBlock((Block(), CategoryBlock()), splitter=lambda items: index_split(20, range(20))).dataloaders(ITEMS)
    with pytest.raises(DataError, match="the class 'new' was not in the training data"):
        list(make().dataloaders([*ITEMS[:12], *[(torch.ones(3), "new")] * 8]).valid)


def test_summary_prints_every_stage(capsys):
    def brighter(batch, draw):
        assert draw is not None
        return batch

    block = make(item_aug=lambda x: x + 1, batch_aug=[brighter])
    state = random.getstate(), torch.get_rng_state()
    block.summary(ITEMS, bs=2)
    printed = capsys.readouterr().out
    assert random.getstate() == state[0] and torch.equal(torch.get_rng_state(), state[1])
    stages = [line.split("  ")[0].strip() for line in printed.splitlines()]
    expected = ["items", "one item", "get_x", "get_y", "item_aug", "x: encoded", "x: shown"]
    expected += ["y: Labels", "y: encoded", "y: shown", "batch.x", "batch.y", "brighter.x", "brighter.y"]
    assert stages == expected, printed
    assert "20: 12 training, 4 validation, 4 test" in printed and "[2, 3] torch.float32" in printed


def first_of(item):
    return item[0]


def test_mapped_calls_its_function_when_asked_and_travels_with_it_or_with_its_values():
    calls = []
    mapped = Mapped(lambda item: calls.append(item) or item + 1, [1, 2, 3])
    assert len(mapped) == 3 and not calls
    assert mapped[1] == 3 and calls == [2]
    assert mapped.__getstate__() == {"function": None, "items": [2, 3, 4]} and list(mapped) == [2, 3, 4]
    partial = functools.partial(first_of)
    assert Mapped(partial, ITEMS).__getstate__()["function"] is partial
