"""Laws of the loaders: an epoch is a function of (seed, epoch), and any place in it can be reached without reading."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tipsai.core.errors import DataError, SettingError
from tipsai.core.state import Batch
from tipsai.data.dataloaders import DataLoaders, Feed
from tipsai.data.loaders import EVAL_ROWS, Draw, ForeignLoader, ItemLoader, RowLoader, TensorRows, to_batch

CPU = torch.device("cpu")


class Numbers:
    """A dataset of (i, -i) that counts what is read."""

    def __init__(self, n):
        self.n, self.read = n, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.read.append(i)
        return torch.tensor([float(i)]), torch.tensor([-float(i)])


class CountingRows(TensorRows):
    def __init__(self, n):
        super().__init__((torch.arange(n).float().unsqueeze(1),), (-torch.arange(n).float().unsqueeze(1),))
        self.read = []

    def take(self, index):
        batch = super().take(index)
        self.read.extend(batch.x[0][:, 0].int().tolist())
        return batch


def row_loader(n, bs, shuffle=True):
    rows = CountingRows(n)
    return RowLoader(rows, bs, shuffle), rows.read


def item_loader(n, bs, shuffle=True):
    data = Numbers(n)
    return ItemLoader(data, bs, shuffle), data.read


MAKERS = [row_loader, item_loader]


def flat(batches):
    return [int(i) for batch in batches for i in batch.x[0][:, 0]]


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 40),
    bs=st.integers(1, 12),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
    start=st.integers(0, 6),
)
def test_an_epoch_is_a_function_of_seed_and_epoch_and_a_start_skips(make, n, bs, seed, epoch, start):
    loader, read = make(n, bs)
    whole = [batch.x[0] for batch in loader.batches(seed=seed, epoch=epoch)]
    assert len(whole) == len(loader) and len(set(flat(loader.batches(seed=seed, epoch=epoch)))) == sum(map(len, whole))
    assert all(torch.equal(b.x[0], -b.y[0]) for b in loader), "inputs and targets stay together"
    read.clear()
    rest = [batch.x[0] for batch in loader.batches(seed=seed, epoch=epoch, start=start)]
    assert len(rest) == max(0, len(whole) - start)
    assert all(torch.equal(a, b) for a, b in zip(whole[start:], rest, strict=True))
    assert len(read) == sum(map(len, rest)), "what comes before the start is not read"


@pytest.mark.parametrize("make", MAKERS)
def test_the_order_changes_with_epoch_and_seed_and_only_in_training(make):
    loader, _ = make(50, 8)
    orders = [flat(loader.batches(seed=s, epoch=e)) for s, e in ((0, 0), (0, 1), (1, 0))]
    assert orders[0] == flat(loader.batches(seed=0, epoch=0))
    assert orders[0] != orders[1] != orders[2] != orders[0] and all(sorted(o) == list(range(50)) for o in orders)
    plain, _ = make(50, 8, shuffle=False)
    assert flat(plain.batches(seed=1, epoch=4)) == list(range(50))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("n, bs, in_training, otherwise", [(9, 4, 2, 3), (10, 4, 3, 3), (1, 4, 1, 1), (5, 1, 5, 5)])
def test_a_last_batch_of_one_row_is_left_out_in_training_only(make, n, bs, in_training, otherwise):
    loader, _ = make(n, bs)
    assert len(loader) == len(list(loader)) == in_training
    loader, _ = make(n, bs, shuffle=False)
    assert len(loader) == len(list(loader)) == otherwise


@pytest.mark.parametrize("make", MAKERS)
def test_a_sample_is_drawn_once_and_for_all(make):
    loader, _ = make(30, 4)
    assert flat(loader.sample(10, 3)) == flat(loader.sample(10, 3)) and len(set(flat(loader.sample(10, 3)))) == 10
    assert sorted(flat(loader.sample(1000, 3))) == list(range(30))


@pytest.mark.parametrize("bs", [0, -1, 2.5, True, "8", None])
def test_a_batch_size_that_is_none_is_refused(bs):
    x = torch.zeros(4, 1)
    with pytest.raises(SettingError, match=r"bs is .*; expected a whole number of rows, at least 1"):
        DataLoaders.from_tensors((x, x), bs=bs)
    with pytest.raises(SettingError, match="bs is"):
        DataLoaders.from_datasets(Numbers(4), bs=bs)
    if bs is not None:
        with pytest.raises(SettingError, match="bs is"):
            DataLoaders.from_tensors((x, x)).test_dl(x, bs=bs)


@pytest.mark.parametrize("n_workers", [-1, 1.5, True])
def test_a_number_of_workers_that_is_none_is_refused(n_workers):
    with pytest.raises(SettingError, match="n_workers is"):
        DataLoaders.from_datasets(Numbers(4), n_workers=n_workers)


# --- from_tensors ---------------------------------------------------------------------------------------------------


def test_from_tensors_takes_tensors_arrays_and_several_inputs():
    x, y = torch.rand(6, 2), torch.arange(6)
    batch = DataLoaders.from_tensors((x, y), bs=6).one_batch()
    assert batch.x[0].shape == (6, 2) and batch.y[0].dtype == torch.int64
    frame = pd.DataFrame({"a": np.linspace(0, 1, 6), "b": np.arange(6.0)})
    batch = DataLoaders.from_tensors((frame.to_numpy(), frame["b"].to_numpy()), bs=6).one_batch()
    assert batch.x[0].dtype == batch.y[0].dtype == torch.float32, "NumPy's float64 fits no model of torch's"
    assert DataLoaders.from_tensors((frame, [0, 1, 2, 3, 4, 5])).one_batch().y[0].dtype == torch.int64
    batch = DataLoaders.from_tensors(((x, y), (y, x)), bs=6).one_batch()
    assert len(batch.x) == len(batch.y) == 2 and torch.equal(batch.x[1], batch.y[0])
    assert DataLoaders.from_tensors((x.double(), y)).one_batch().x[0].dtype == torch.float64, (
        "a tensor is left as it is"
    )


def test_from_tensors_copies_arrays_it_may_not_write_to():
    array = np.zeros((4, 2), np.float32)
    array.setflags(write=False)
    DataLoaders.from_tensors((array, array)).one_batch()


def test_from_tensors_evaluates_in_large_batches():
    x = torch.zeros(5000, 1)
    dls = DataLoaders.from_tensors((x, x), (x, x), (x, x), bs=10)
    assert (dls.bs, dls.valid.bs, dls.test.bs) == (10, EVAL_ROWS, EVAL_ROWS)


@pytest.mark.parametrize(
    "train, message",
    [
        ((torch.zeros(3, 1), torch.zeros(4)), r"x and y have \[3, 4\] rows; expected the same number in each"),
        ((torch.zeros(0, 1), torch.zeros(0)), "a split has no rows"),
        (torch.zeros(3), r"train is a Tensor; expected a pair \(x, y\)"),
        ((torch.zeros(3),) * 3, r"train is a tuple; expected a pair \(x, y\)"),
        ((["a", "b"], torch.zeros(2)), "makes no tensor; expected numbers"),
        ((torch.zeros(()), torch.zeros(2)), "a single number"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(train, message):
    with pytest.raises(DataError, match=message):
        DataLoaders.from_tensors(train)


def test_new_rows_come_in_order_and_without_targets():
    dls = DataLoaders.from_tensors((torch.zeros(4, 2), torch.zeros(4)), bs=4)
    new = np.arange(10.0).reshape(5, 2)
    batches = list(dls.test_dl(new, bs=2))
    assert torch.cat([b.x[0] for b in batches]).tolist() == new.tolist() and all(b.y == () for b in batches)
    assert dls.test_dl([[1.0, 2.0], [3.0, 4.0]]).n_items == 2
    two = (torch.zeros(3, 1), torch.ones(3, 1))
    assert len(next(dls.test_dl(two).batches()).x) == 2


# --- from_datasets and from_loaders ---------------------------------------------------------------------------------


def test_from_datasets_shuffles_training_alone():
    dls = DataLoaders.from_datasets(Numbers(20), Numbers(6), Numbers(4), bs=4)
    assert flat(dls.train) != sorted(flat(dls.train)) == list(range(20))
    assert flat(dls.valid) == list(range(6)) and flat(dls.test) == list(range(4))
    with pytest.raises(SettingError, match="new items cannot be encoded; pass a loader to get_preds"):
        dls.test_dl([1])


def test_from_datasets_takes_a_collate_function():
    dls = DataLoaders.from_datasets([1, 2, 3], bs=3, collate=lambda s: (torch.tensor(s), torch.tensor(s)))
    assert sorted(dls.one_batch().x[0].tolist()) == [1, 2, 3]


def test_datasets_that_are_none_are_refused():
    with pytest.raises(DataError, match="generator has no length or no items by number; give from_loaders"):
        DataLoaders.from_datasets(i for i in range(3))
    with pytest.raises(DataError, match="a split has no items"):
        DataLoaders.from_datasets([])


class Noisy(Numbers):
    def __getitem__(self, i):
        noise = random.random() + np.random.random() + torch.rand(1)  # noqa: NPY002  global generators are the point
        return noise, torch.tensor([float(i)])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_items_draw_the_same_in_any_worker():
    def read(n_workers, **options):
        dls = DataLoaders.from_datasets(Noisy(12), bs=4, n_workers=n_workers)
        return torch.cat([b.x[0] for b in dls.train.batches(seed=2, **options)])

    assert torch.equal(read(0), read(2)) and len(read(0).unique()) == 12
    assert torch.equal(read(0)[4:], read(2, start=1)) and not torch.equal(read(0), read(0, epoch=1))


def test_from_loaders_takes_any_batches():
    data = torch.utils.data.TensorDataset(torch.arange(10.0).unsqueeze(1), torch.arange(10))
    dls = DataLoaders.from_loaders(torch.utils.data.DataLoader(data, batch_size=4), [(torch.ones(2), torch.ones(2))])
    assert (len(dls.train), dls.bs, dls.train.n_items, dls.train.exact) == (3, 4, 10, False)
    assert flat(dls.train) == list(range(10)) and dls.valid.n_items == 1
    assert len(flat(dls.train.sample(5, 0))) == 8, "whole batches until there are enough"
    with pytest.warns(UserWarning, match="cannot start in the middle"):
        assert flat(dls.train.batches(start=1)) == list(range(4, 10))
    with pytest.raises(SettingError, match="pass a loader to get_preds"):
        dls.test_dl(data)


def test_loaders_that_are_none_are_refused():
    with pytest.raises(DataError, match="the loader has no length"):
        DataLoaders.from_loaders(i for i in range(3))
    with pytest.raises(DataError, match="the loader has no batches"):
        ForeignLoader([])


@pytest.mark.parametrize(
    "sample, message",
    [
        (torch.zeros(3), "the loader gave Tensor; expected"),
        ((torch.zeros(3),), "the loader gave 1 fields; expected"),
        ({"x": 1}, "the loader gave dict; expected"),
        ((torch.zeros(3), ["a", "b", "c"]), "the loader gave a str among"),
    ],
)
def test_samples_that_are_no_x_and_y_are_named(sample, message):
    with pytest.raises(DataError, match=message):
        to_batch(sample)
    with pytest.raises(DataError, match=message):
        list(DataLoaders.from_loaders([sample]).train)


def test_batches_and_pairs_become_batches():
    x, y = torch.zeros(3), torch.ones(3)
    assert to_batch((x, y)) == Batch((x,), (y,)) and to_batch([(x, y), y]) == Batch((x, y), (y,))
    made = Batch((x,), (y,))
    assert to_batch(made) is made


# --- Feed -----------------------------------------------------------------------------------------------------------


def test_batch_transforms_are_seeded_by_position_and_quiet_in_evaluation():
    def add_noise(batch, draw):
        if draw is None:
            return batch
        noise = torch.rand(batch.x[0].shape, generator=draw.generator("noise"))
        return Batch((batch.x[0] + noise,), batch.y)

    x = torch.zeros(12, 1)
    rows = RowLoader(TensorRows((x,), (x,)), 4, shuffle=True)
    training = Feed(rows, CPU, [add_noise], training=True)
    assert len(training) == 3 and training.exact
    whole = [b.x[0] for b in training.batches(seed=1, epoch=2)]
    rest = [b.x[0] for b in training.batches(seed=1, epoch=2, start=1)]
    assert all(torch.equal(a, b) for a, b in zip(whole[1:], rest, strict=True)) and not torch.equal(whole[0], whole[1])
    assert all((b.x[0] == 0).all() for b in Feed(rows, CPU, [add_noise]).batches(seed=1, epoch=2))


def test_draws_differ_by_purpose_and_place():
    first = [
        torch.rand(1, generator=Draw(*place).generator(purpose)).item()
        for place in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
        for purpose in ("flip", "crop")
    ]
    assert len(set(first)) == len(first)


def test_a_split_that_is_not_there_is_named():
    dls = DataLoaders.from_tensors((torch.zeros(4, 1), torch.zeros(4)))
    with pytest.raises(SettingError, match="there is no valid data"):
        dls.feed("valid", CPU)
    with pytest.raises(SettingError, match="there is no training data here"):
        DataLoaders(None).one_batch()


@pytest.mark.parametrize("make", MAKERS)
def test_a_draw_knows_which_items_its_batch_holds(make):
    seen = []
    feed = Feed(make(23, 4)[0], CPU, [lambda batch, draw: seen.append((batch, draw)) or batch], training=True)
    list(feed.batches(seed=5, epoch=2))
    list(feed.batches(seed=5, epoch=2, start=3))
    assert len(seen) == 6 + 3
    assert all(draw.items.tolist() == flat([batch]) for batch, draw in seen)


def test_what_alternates_happens_to_an_item_in_every_other_epoch():
    items = torch.randperm(5000, generator=torch.Generator().manual_seed(0))
    epochs = [Draw(3, epoch, 0, items).alternating("flip") for epoch in range(4)]
    happens = torch.stack([u < 0.5 for u in epochs])
    assert (happens[0] != happens[1]).all() and torch.equal(happens[:2], happens[2:])
    assert happens[0].float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (epochs[1] < 0.2).float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert torch.equal(Draw(3, 0, 9, items[:7]).alternating("flip"), epochs[0][:7])  # by the item alone, not its place
    assert not torch.equal(Draw(4, 0, 0, items).alternating("flip"), epochs[0])
    assert Draw(3, 0, 0).alternating("flip") is None


def test_loaders_say_how_much_they_hold():
    x, y = torch.zeros(1203, 2), torch.zeros(1203)
    dls = DataLoaders.from_tensors((x, y), (x[:40], y[:40]), bs=8)
    assert repr(dls) == "<DataLoaders: 1,203 train, 40 valid items, batches of 8>"
    assert repr(DataLoaders(None)) == "<DataLoaders: no items>"
