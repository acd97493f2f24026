"""Worker processes: what they are sent, what they hand on, how long they stay."""

import copy
import logging
import multiprocessing
import os
import random
import signal

import numpy as np
import pytest
import torch
from commands import process

from tipsai import Learner
from tipsai.core.callback import Callback
from tipsai.core.errors import DataError
from tipsai.data import workers
from tipsai.data.block import Block, CategoryBlock
from tipsai.data.datablock import DataBlock
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import ItemLoader
from tipsai.data.split import index_split

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
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


def make(**options):
    return DataBlock(
        (Block(), CategoryBlock()),
        splitter=lambda items: index_split(len(items), range(12, 16), range(16, 20)),
        **options,
    )


def test_default_workers_leave_room(monkeypatch):
    for n, expected in ((1, 0), (2, 1), (3, 2), (64, 8)):
        monkeypatch.setattr(workers.os, "sched_getaffinity", lambda pid, n=n: set(range(n)), raising=False)
        assert workers.default_workers() == expected


class RandomShift:
    """An augmentation that draws from every global generator."""

    def __call__(self, x):
        return x + random.random() + np.random.random() + torch.rand(())  # noqa: NPY002  that is the point


def read(dls, **options):
    return torch.cat([batch.x[0] for batch in dls.train.batches(seed=5, **options)])


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


# --- how long they stay ---------------------------------------------------------------------------------------------


class Readers:
    """A dataset whose items are the process that reads them, and `value`."""

    def __init__(self, n=8, steady=True):
        self.n, self.steady, self.value = n, steady, 0.0

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return torch.tensor([float(i), float(os.getpid())]), torch.tensor([self.value])


def readers(loader, **options):
    """The processes that read an epoch; its items are checked."""
    rows = torch.cat([batch.x[0] for batch in loader.batches(**options)])
    assert sorted(rows[:, 0].tolist()) == list(range(loader.n_items))
    return set(rows[:, 1].int().tolist())


def test_workers_stay_for_as_long_as_that_is_asked_for():
    loader = ItemLoader(Readers(), bs=2, shuffle=True, n_workers=2)
    assert readers(loader).isdisjoint(readers(loader)), "they end with their pass"
    assert not multiprocessing.active_children()
    with loader.workers.persistent():
        first = readers(loader)
        assert len(first) == 2 and os.getpid() not in first
        with loader.workers.persistent():
            assert readers(loader, epoch=1) == first
        assert readers(loader, epoch=2) == first and len(multiprocessing.active_children()) == 2
    assert not multiprocessing.active_children()
    assert readers(loader, epoch=3).isdisjoint(first)


def test_workers_that_stay_give_the_same_batches():
    def epochs(n_workers):
        dls = make().dataloaders(ITEMS, bs=5, n_workers=n_workers)
        with dls.persistent_workers():
            return [
                batch.x[0] for epoch in range(3) for batch in dls.train.batches(seed=1, epoch=epoch, start=epoch % 2)
            ]

    alone, sent = epochs(0), epochs(2)
    assert len(alone) == 3 + 2 + 3 and all(torch.equal(a, b) for a, b in zip(alone, sent, strict=True))


def test_only_a_dataset_that_never_changes_is_read_by_workers_that_stay():
    """Such as one whose augmentation a callback makes stronger from epoch to epoch."""
    data = Readers(steady=False)
    loader = ItemLoader(data, bs=4, n_workers=1)
    with loader.workers.persistent():
        for value in (1.0, 2.0):
            data.value = value
            assert {float(y) for batch in loader for y in batch.y[0]} == {value}
    assert make().dataloaders(ITEMS).train.dataset.steady
    assert not make(item_aug=RandomShift()).dataloaders(ITEMS).train.dataset.steady


def test_a_copy_of_a_loader_with_other_data_reads_its_own():
    loader = ItemLoader(Readers(), bs=2, n_workers=1)
    other = copy.copy(loader)  # as ImageDataLoaders.resized makes it
    other.dataset = Readers()
    other.dataset.value = 1.0
    with loader.workers.persistent():
        for a_loader, value in ((loader, 0.0), (other, 1.0), (loader, 0.0)):
            assert {float(y) for batch in a_loader for y in batch.y[0]} == {value}
    assert not multiprocessing.active_children()


def test_a_pass_beside_another_and_one_that_breaks_off():
    loader = ItemLoader(Readers(), bs=2, n_workers=1)
    with loader.workers.persistent():
        outer = loader.batches()
        one = {int(next(outer).x[0][0, 1])}
        other = readers(loader)
        assert one.isdisjoint(other) and readers(loader) == other
        assert {int(batch.x[0][0, 1]) for batch in outer} == one
        assert readers(loader) == one, "the last pass to end leaves its workers"
        broken = loader.batches()
        next(broken)
        broken.close()
        assert not multiprocessing.active_children() and readers(loader).isdisjoint(one)


def test_a_fit_keeps_its_workers_and_ends_them():
    seen = []

    class Notes(Callback):
        def after_epoch(self, st):
            seen.append({child.pid for child in multiprocessing.active_children()})

    data = Readers()
    learn = Learner(DataLoaders.from_datasets(data, data, bs=4, n_workers=1), torch.nn.Linear(2, 1))
    learn.fit(3, lr=1e-9, callbacks=[Notes()], progress=False, doctor=False)
    assert len(seen[0]) == 2 and seen[0] == seen[1], "one for training, one for validation"
    assert seen[2] < seen[1], "the last step ends those for training"
    assert not multiprocessing.active_children()


WAITING = """
import multiprocessing, os, time, torch
from tipsai import Learner
from tipsai.core.callback import Callback
from tipsai.data.dataloaders import DataLoaders

class Says(Callback):
    def before_epoch(self, st):
        print("training", flush=True)

class Slow:
    def __len__(self):
        return 8
    def __getitem__(self, i):
        print("read", flush=True)
        time.sleep(1.0)
        return torch.zeros(2), torch.zeros(1)

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    learn = Learner(DataLoaders.from_datasets(Slow(), bs=1, n_workers=1), torch.nn.Linear(2, 1))
    learn.fit(1, lr=1e-3, callbacks=[Says()], progress=False, doctor=False)
    print(learn.n_steps, learn.stop_reason)
"""


def test_ctrl_c_in_a_terminal_reaches_workers_too_which_work_on(tmp_path):
    """Else the training process, which waits for a batch and would stop after its step, finds them dead."""
    program = tmp_path / "program.py"
    program.write_text(WAITING)
    code = "import runpy, sys; sys.argv[1:] = []; runpy.run_path({path!r}, run_name='__main__')"
    with process(code=code.format(path=str(program)), start_new_session=True) as child:
        while child.stdout.readline() != "training\n":
            pass
        assert child.stdout.readline() == "read\n"
        os.killpg(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out.splitlines()[-1:]) == (0, ["1 interrupted"]), err
    assert "Traceback" not in err and "interrupted after step 1 of 8" in err, err
