"""DataBlock: from a source to batches."""

import functools
import logging
import multiprocessing
import random

import numpy as np
import pytest
import torch

from tipsai.core.errors import DataError
from tipsai.data.block import Block, CategoryBlock
from tipsai.data.datablock import DataBlock, Mapped
from tipsai.data.loaders import ItemLoader
from tipsai.data.split import index_split

ITEMS = [(torch.full((3,), float(i)), "ab"[i % 2]) for i in range(20)]


@pytest.fixture
def spawning(monkeypatch):
    """Worker processes start afresh, as on macOS and Windows, for as long as a test runs."""
    context = multiprocessing.get_context("spawn")
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none=False: "spawn")
    loader = torch.utils.data.DataLoader
    monkeypatch.setattr(
        torch.utils.data,
        "DataLoader",
        lambda *args, **options: loader(
            *args, **options, multiprocessing_context=context if options["num_workers"] else None
        ),
    )


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


# --- workers --------------------------------------------------------------------------------------------------------


def first_of(item):
    return item[0]


class RandomShift:
    """An augmentation that draws from every global generator."""

    def __call__(self, x):
        return x + random.random() + np.random.random() + torch.rand(())  # noqa: NPY002  that is the point


def read(dls, **options):
    return torch.cat([batch.x[0] for batch in dls.train.batches(seed=5, **options)])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_item_randomness_depends_on_seed_epoch_and_position_not_on_workers():
    source = [(torch.zeros(1), i % 2) for i in range(30)]

    def loaders(n_workers):
        return DataBlock((Block(), CategoryBlock()), item_aug=RandomShift()).dataloaders(
            source, bs=5, n_workers=n_workers
        )

    none, two = read(loaders(0)), read(loaders(2))
    assert torch.equal(none, two)
    assert len(none.unique()) == len(none), "each item has randomness of its own"
    assert torch.equal(none[10:], read(loaders(0), start=2)) and torch.equal(none[10:], read(loaders(2), start=2))
    assert not torch.equal(none, read(loaders(0), epoch=1))


class Refusing(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        if i == 5:
            raise DataError("item 5 is no item. Leave it out.")
        return torch.zeros(2), torch.tensor(0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_worker_hands_a_mistake_on_as_it_is(n_workers):
    batches = ItemLoader(Refusing(), bs=2, n_workers=n_workers).batches()
    assert next(batches).n_rows == 2
    with pytest.raises(DataError) as error:
        list(batches)
    assert str(error.value) == "item 5 is no item. Leave it out."


def test_item_randomness_leaves_the_global_generators_alone():
    dls = DataBlock((Block(), CategoryBlock()), item_aug=RandomShift()).dataloaders(ITEMS)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    read(dls)
    assert random.getstate() == before[0] and np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.usefixtures("spawning")
def test_workers_that_start_afresh_take_lambdas_for_get_x_and_get_y(caplog):
    def loaders(n_workers):
        return make(get_x=lambda item: item[0] * 2, get_y=lambda item: item[1].upper()).dataloaders(
            ITEMS, bs=6, n_workers=n_workers
        )

    alone, sent = (list(loaders(n).train.batches(seed=1)) for n in (0, 2))
    assert not caplog.records
    assert all(torch.equal(a.x[0], b.x[0]) and torch.equal(a.y[0], b.y[0]) for a, b in zip(alone, sent, strict=True))


@pytest.mark.usefixtures("spawning")
def test_where_a_lambda_cannot_be_sent_the_items_are_decoded_here_and_that_is_said(caplog):
    dls = make(item_aug=lambda x: x + 100).dataloaders(ITEMS, bs=6, n_workers=2)
    with caplog.at_level(logging.WARNING):
        assert sorted(read(dls)[:, 0].tolist()) == [100.0 + i for i in range(12)]
        read(dls, epoch=1)
    (record,) = caplog.records
    assert "decoded in this process, not in 2 workers" in record.getMessage() and "def" in record.getMessage()


def test_mapped_calls_its_function_when_asked_and_travels_with_it_or_with_its_values():
    calls = []
    mapped = Mapped(lambda item: calls.append(item) or item + 1, [1, 2, 3])
    assert len(mapped) == 3 and not calls
    assert mapped[1] == 3 and calls == [2]
    assert mapped.__getstate__() == {"function": None, "items": [2, 3, 4]} and list(mapped) == [2, 3, 4]
    partial = functools.partial(first_of)
    assert Mapped(partial, ITEMS).__getstate__()["function"] is partial
