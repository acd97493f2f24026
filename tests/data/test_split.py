"""Laws of the splitters."""

import datetime
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tipsai.core.errors import SettingError
from tipsai.data.split import (
    Split,
    column_split,
    group_split,
    index_split,
    random_split,
    stratified_split,
    time_split,
)

SHARES = st.floats(0.0, 0.49)
few = settings(max_examples=60, deadline=None)


def assert_partition(split: Split, n: int) -> None:
    assert all(part.dtype == np.int64 for part in split)
    assert np.sort(np.concatenate(split)).tolist() == list(range(n))
    assert all((np.diff(part) > 0).all() for part in split), "parts come back sorted"


@few
@given(st.integers(0, 200), SHARES, SHARES, st.integers(0, 9))
def test_random_split_partitions_with_the_sizes_asked_for(n, valid, test, seed):
    split = random_split(n, valid, test, seed=seed)
    assert_partition(split, n)
    assert abs(len(split.valid) - n * valid) <= 1 and abs(len(split.test) - n * test) <= 1
    assert not n or len(split.train)
    if n > 2:
        assert bool(len(split.valid)) == bool(valid) and bool(len(split.test)) == bool(test)


def test_random_split_leaves_something_to_train_on():
    assert len(random_split(2, 0.9).train) == 1
    assert [len(part) for part in random_split(3, 0.5, 0.4)] == [1, 1, 1]
    assert [len(part) for part in random_split(1, 0.5, 0.4)] == [1, 0, 0]


@few
@given(st.lists(st.integers(0, 5), max_size=150), SHARES, SHARES, st.integers(0, 9))
def test_stratified_split_holds_proportions_within_one_item_a_class(labels, valid, test, seed):
    split = stratified_split(labels, valid, test, seed=seed)
    assert_partition(split, len(labels))
    train, in_valid, in_test = (Counter(labels[i] for i in part) for part in split)
    for label, count in Counter(labels).items():
        assert train[label] >= 1, "every class is trained on"
        room = count - 1
        assert abs(in_valid[label] - min(valid * count, room)) <= 1
        assert abs(in_test[label] - min(test * count, room - in_valid[label])) <= 1


def test_stratified_split_has_exact_sizes_where_classes_are_large():
    labels = np.repeat(["a", "b", "c"], [500, 300, 207])
    split = stratified_split(labels, 0.2, 0.1)
    assert [len(part) for part in split] == [705, 201, 101]


def test_stratified_split_keeps_single_items_in_training():
    labels = [*range(10), *["many"] * 10]
    split = stratified_split(labels, 0.2)
    assert set(range(10)) <= set(split.train.tolist())
    assert len(split.valid) == 2, "two of the ten, not four: the single items have no part in it"
    assert not len(stratified_split(list(range(10)), 0.2).valid), "a class that was never trained on cannot be judged"


@few
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=100), SHARES, SHARES, st.integers(0, 9))
def test_groups_never_stand_on_two_sides(groups, valid, test, seed):
    needed = 1 + (valid > 0) + (test > 0)
    if len(set(groups)) < needed:
        with pytest.raises(SettingError, match=f"{len(set(groups))} groups for {needed} parts"):
            group_split(groups, valid, test, seed=seed)
        return
    split = group_split(groups, valid, test, seed=seed)
    assert_partition(split, len(groups))
    sides = [{groups[i] for i in part} for part in split]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sides[0] and bool(sides[1]) == bool(valid) and bool(sides[2]) == bool(test)


def test_group_split_comes_as_close_as_whole_groups_allow():
    split = group_split(np.repeat(np.arange(10), 100), 0.2, 0.3)
    assert [len(part) for part in split] == [500, 200, 300]


@few
@given(st.lists(st.integers(0, 40), min_size=1, max_size=100), SHARES, SHARES)
def test_time_never_runs_backwards(times, valid, test):
    needed = 1 + (valid > 0) + (test > 0)
    if len(set(times)) < needed:
        with pytest.raises(SettingError, match="distinct times"):
            time_split(times, valid, test)
        return
    split = time_split(times, valid, test)
    assert_partition(split, len(times))
    parts = [[times[i] for i in part] for part in split if len(part)]
    assert len(parts) == needed and len(split.train)
    assert all(max(early) < min(late) for early, late in zip(parts, parts[1:], strict=False))


def test_time_split_sizes_and_kinds_of_time():
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=i) for i in range(100)]
    for times in (days, np.array(days, "datetime64[D]"), list(range(100)), [str(day) for day in days]):
        assert [len(part) for part in time_split(times, 0.2, 0.1)] == [70, 20, 10]
        assert time_split(times, 0.2).valid.tolist() == list(range(80, 100))


@pytest.mark.parametrize(
    "times",
    [[1.0, float("nan"), 2.0], np.array(["2024-01-01", "NaT"], "datetime64[s]"), [datetime.date(2024, 1, 1), None]],
)
def test_missing_times_are_refused(times):
    with pytest.raises(SettingError, match=r"1 of \d times are missing"):
        time_split(times)


def test_column_split():
    split = column_split(["train", "Valid", " TEST ", "val", "dev", "training"])
    assert [part.tolist() for part in split] == [[0, 5], [1, 3, 4], [2]]
    for values in ([False, True], [0, 1], [0.0, 1.0], np.array([False, True]), ["False", "true"]):
        assert [part.tolist() for part in column_split(values)] == [[0], [1], []]
    with pytest.raises(SettingError, match="'holdout'.*expected train, valid and test"):
        column_split(["train", "holdout"])


def test_index_split():
    assert [part.tolist() for part in index_split(6, [5, 1], [0])] == [[2, 3, 4], [1, 5], [0]]
    assert [part.tolist() for part in index_split(2, [])] == [[0, 1], [], []]
    with pytest.raises(SettingError, match="from -1 to 2; expected 0 to 5"):
        index_split(6, [-1, 2])
    with pytest.raises(SettingError, match="from 6 to 6; expected 0 to 5"):
        index_split(6, [0], [6])
    with pytest.raises(SettingError, match="both validation and test"):
        index_split(6, [1, 2], [2])
    with pytest.raises(SettingError, match="np.flatnonzero"):
        index_split(3, np.array([True, False, True]))
    with pytest.raises(SettingError, match="whole numbers"):
        index_split(3, [0.5])


@pytest.mark.parametrize("valid, test", [(1.0, 0.0), (-0.1, 0.0), (0.6, 0.4), (float("nan"), 0.0)])
def test_shares_out_of_range_are_refused(valid, test):
    for split in (lambda: random_split(9, valid, test), lambda: stratified_split([1] * 9, valid, test)):
        with pytest.raises(SettingError, match="leave some for training"):
            split()


def test_a_seed_fixes_the_split_and_another_changes_it():
    labels, groups = np.arange(300) % 3, np.arange(300) % 50
    for split in (
        lambda seed: random_split(300, seed=seed),
        lambda seed: stratified_split(labels, seed=seed),
        lambda seed: group_split(groups, seed=seed),
    ):
        assert split(1).valid.tolist() == split(1).valid.tolist() != split(2).valid.tolist()
