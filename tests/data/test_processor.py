"""Laws of the processors: fitted on what they are given, reversible, stored as plain JSON."""

import datetime
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tipsai.core.errors import DataError
from tipsai.data.processor import Labels, Standardize, is_missing, key, plain

few = settings(max_examples=60, deadline=None)
NUMBERS = st.floats(-1e6, 1e6)


@few
@given(st.lists(st.one_of(st.integers(-9, 9), st.sampled_from(["a", "b c", "Ä", "x"])), min_size=1))
def test_labels_round_trip_and_survive_json(items):
    labels = Labels().fit(items)
    assert labels.n == len(set(items)) and sorted(labels.encode(i) for i in set(items)) == list(range(labels.n))
    again = Labels.from_dict(json.loads(json.dumps(labels.to_dict())))
    for item in items:
        assert labels.decode(labels.encode(item)) == item
        assert again.encode(item) == labels.encode(item) and again.decode(again.encode(item)) == item


def test_labels_keep_their_type_and_know_each_other_by_name():
    labels = Labels().fit(np.array([10, 9, 2]))
    assert labels.labels_ == [2, 9, 10], "numbers by value, not by spelling"
    assert labels.encode("9") == labels.encode(9.0) == labels.encode(np.int8(9)) == 1
    assert isinstance(labels.decode(1), int)
    assert Labels().fit([True, False]).decode(1) is True
    assert Labels().fit([0.5, 0.25]).labels_ == [0.25, 0.5]


def test_labels_leave_missing_items_out():
    assert Labels().fit(["a", None, float("nan"), pd.NA, pd.NaT]).labels_ == ["a"]


def test_labels_given_beforehand_stand_and_fitted_ones_are_fitted_anew():
    assert Labels(["b", "a"]).fit(["a", "c"]).labels_ == ["b", "a"]
    assert Labels([]).fit(["a"]).labels_ == []
    labels = Labels().fit(["a", "b"])
    assert labels.fit(["c"]).labels_ == ["c"]


def test_an_unknown_label_is_named_with_its_nearest():
    with pytest.raises(DataError, match=r"the class 'setossa' was not in the training data\. Did you mean 'setosa'\?"):
        Labels(["setosa", "virginica"]).encode("setossa")
    with pytest.raises(DataError, match="was not in the training data"):
        Labels().encode("a")


@few
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30))
def test_standardize_round_trips_and_survives_json(items):
    scaler = Standardize().fit(items)
    again = Standardize.from_dict(json.loads(json.dumps(scaler.to_dict())))
    encoded = scaler.encode(items)
    assert np.allclose(scaler.decode(encoded), items, rtol=1e-9, atol=1e-6)
    assert np.array_equal(again.encode(items), encoded) and np.array_equal(
        again.decode(encoded), scaler.decode(encoded)
    )


def test_standardize_gives_zero_mean_and_unit_variance_and_looks_past_missing_values():
    values = np.random.default_rng(0).normal(5, 3, (1000, 2))
    values[::10, 0] = np.nan
    encoded = Standardize().fit(values).encode(values)
    assert np.allclose(np.nanmean(encoded, 0), 0, atol=1e-9) and np.allclose(np.nanstd(encoded, 0), 1)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9, -3.3e-7])
def test_standardize_takes_a_constant_for_a_constant(value):
    scaler = Standardize().fit([value] * 7)
    assert scaler.std_ == [1.0] and abs(float(scaler.encode(value)[0])) < 1e-6


def test_a_name_depends_on_the_value_and_not_on_its_type():
    assert key(3) == key(3.0) == key(np.int64(3)) == key(np.float32(3)) == key(" 3 ") == "3"
    assert key(True) == key(np.bool_(True)) == "True"
    assert key(0.1) == "0.1" and key(-0.0) == "0" and key(1e300) == str(int(1e300))
    day = datetime.date(2024, 2, 29)
    times = [day, datetime.datetime(2024, 2, 29), pd.Timestamp(day), np.datetime64("2024-02-29")]
    assert len({key(time) for time in times}) == 1
    assert key(pd.Timestamp("2024-02-29 12:00", tz="Europe/Berlin")) == key(datetime.datetime(2024, 2, 29, 11))


def test_missing_values_are_known_in_every_form():
    assert all(map(is_missing, (None, math.nan, np.nan, np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT", "s"))))
    assert not any(map(is_missing, (0, "", False, "nan", 0.0, np.datetime64("2024-01-01"))))


def test_plain_gives_what_json_holds():
    for value in (np.int64(3), np.float64(0.5), np.bool_(True), np.str_("a"), datetime.date(2024, 1, 1), 7):
        assert json.loads(json.dumps(plain(value))) == plain(value)
