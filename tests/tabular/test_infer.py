"""What columns are taken for, why that is said, and how to have it otherwise."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tipsai.core.errors import ColumnError, SettingError
from tipsai.frame.targets import infer_task
from tipsai.tabular.infer import KINDS, describe, infer_kinds

N = 40
RNG = np.random.default_rng(0)
COLORS = np.array(["red", "green", "blue"])[RNG.integers(0, 3, N)]


def days(form):
    return [f"{datetime.date(2020, 1, 1) + datetime.timedelta(days=9 * i):{form}}" for i in range(N)]


def with_gaps(values):
    return pd.Series([None if i % 7 == 0 else v for i, v in enumerate(values)], dtype=object)


COLUMNS = {
    # name: (values, kind, a part of why)
    "age": (RNG.integers(18, 90, N), "number", "numbers"),
    "price": (RNG.normal(size=N), "number", "numbers"),
    "customer_id": (RNG.permutation(10_000)[:N], "identifier", "named like one"),
    "customerId": (RNG.permutation(10_000)[:N], "identifier", "named like one"),
    "Unnamed: 0": (np.arange(N), "identifier", ""),
    "position": (RNG.permutation(N) + 5, "identifier", "counts the rows"),
    "distinct amounts": (RNG.permutation(10_000)[:N], "number", "numbers"),
    "id with repeats": (RNG.integers(0, 9, N), "number", "numbers"),
    "uuid4": ([f"u{i:04}x" for i in range(N)], "identifier", "differs in (nearly) every row"),
    "one": (["same"] * N, "constant", "always 'same'"),
    "seven": ([7] * N, "constant", "always '7'"),
    "empty": ([None] * N, "constant", "all missing"),
    "nan": ([np.nan] * N, "constant", "all missing"),
    "question marks": (["?"] * N, "constant", "all missing"),
    "one or missing": (with_gaps([5.0] * N), "number", ""),
    "iso date": (days("%Y-%m-%d"), "date", "text that reads as dates"),
    "us date": (days("%m/%d/%Y"), "date", "text that reads as dates"),
    "uk date": (days("%d/%m/%Y"), "date", "the day before the month"),
    "german date": (days("%d.%m.%Y"), "date", "the day before the month"),
    "long date": (days("%B %d, %Y"), "date", "text that reads as dates"),
    "stamp": (days("%Y-%m-%dT10:30:00Z"), "date", "text that reads as dates"),
    "clock": ([f"{i % 24:02}:{i}" for i in range(10, 10 + N)], "date", ""),
    "datetime": (pd.to_datetime(days("%Y-%m-%d")), "date", "dates"),
    "zoned": (pd.to_datetime(days("%Y-%m-%d")).tz_localize("Europe/Berlin"), "date", "dates"),
    "python date": ([datetime.date(2020, 1, 1 + i % 28) for i in range(N)], "date", "dates"),
    "duration": (pd.to_timedelta(RNG.normal(size=N), unit="h"), "number", "seconds"),
    "yes no": (np.array(["yes", "No"])[RNG.integers(0, 2, N)], "boolean", "yes and no"),
    "0 1": (RNG.integers(0, 2, N), "boolean", "yes and no"),
    "0 1 with gaps": (with_gaps(RNG.integers(0, 2, N).astype(float)).astype(float), "boolean", "yes and no"),
    "true false": (RNG.integers(0, 2, N).astype(bool), "boolean", "yes and no"),
    "1 2": (RNG.integers(1, 3, N), "number", "numbers"),
    "text numbers": (RNG.integers(0, 50, N).astype(str), "number", "text that reads as numbers"),
    "stray": ([*map(str, range(100, 100 + N - 2)), "low", "high"], "number", "some stray text"),
    "text": (COLORS, "category", "text"),
    "text with gaps": (with_gaps(COLORS), "category", "text"),
    "mixed": ([["a", 1, 2.5, True][i % 4] for i in range(N)], "category", "mixed types"),
    "Int64": (with_gaps(RNG.integers(0, 50, N)).astype("Int64"), "number", "numbers"),
    "boolean": (with_gaps(RNG.integers(0, 2, N).astype(bool)).astype("boolean"), "boolean", "yes and no"),
    "string": (pd.Series(COLORS, dtype="string"), "category", "text"),
    "pandas category": (pd.Categorical(COLORS, categories=["none", "blue", "red", "green"]), "category", "text"),
    "pandas number category": (pd.Categorical(RNG.integers(0, 5, N)), "category", "a category in pandas"),
    "decimal": ([Decimal(i % 17) / 4 for i in range(N)], "number", "reads as numbers"),
}
FRAME = pd.DataFrame({name: pd.Series(values) for name, (values, _, _) in COLUMNS.items()})
KIND = {kind.name: kind for kind in infer_kinds(FRAME)}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_kind_of_a_column_and_why(name):
    _, kind, why = COLUMNS[name]
    assert (KIND[name].kind, why) == (kind, why if why in KIND[name].why else KIND[name].why)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("given", KINDS)
def test_every_kind_can_be_overridden(name, given):
    (kind,) = infer_kinds(FRAME[[name]], {name: given})
    assert (kind.kind, kind.why) == (given, "given")


def test_what_does_not_fit_is_counted():
    assert KIND["stray"].n_stray == 2
    (dates,) = infer_kinds(pd.DataFrame({"d": [*days("%Y-%m-%d"), "soon", "later"]}))
    assert (dates.kind, dates.n_stray) == ("date", 2)
    (infinite,) = infer_kinds(pd.DataFrame({"x": [1.0, 2.0, np.inf, -np.inf, np.nan]}))
    assert (infinite.n_infinite, infinite.n_missing) == (2, 1)
    assert (KIND["text with gaps"].n_missing, KIND["text with gaps"].n_distinct) == (6, 3)


def test_only_words_have_a_spelling():
    assert KIND["text"].is_text and KIND["pandas category"].is_text and not KIND["uuid4"].is_text
    assert not KIND["text numbers"].is_text and not KIND["mixed"].is_text and not KIND["age"].is_text


def test_targets_are_no_inputs_and_order_does_not_matter():
    names = [kind.name for kind in infer_kinds(FRAME, skip=["age", "text"])]
    assert names == [name for name in COLUMNS if name not in ("age", "text")]
    turned = {kind.name: kind for kind in infer_kinds(FRAME[FRAME.columns[::-1]].sample(frac=1, random_state=1))}
    assert turned == KIND


def test_a_wrong_override_is_refused_with_the_nearest():
    with pytest.raises(SettingError, match=r"kinds\['age'\] is 'categry'. Did you mean 'category'\? Expected one of"):
        infer_kinds(FRAME, {"age": "categry"})
    with pytest.raises(ColumnError, match=r"'agee' that is not there. Did you mean 'age'\?"):
        infer_kinds(FRAME, {"agee": "number"})
    with pytest.raises(SettingError, match=r"kinds\['age'\] would be ignored: the column is a target"):
        infer_kinds(FRAME, {"age": "number"}, skip=["age"])


def test_describe_shows_each_column_and_cuts_many_short():
    text = describe(list(KIND.values()), most=10)
    assert "age" in text and "because" in text and f"and {len(KIND) - 10} more columns" in text
    assert "2 stray values count as missing" in describe([KIND["stray"]])


@pytest.mark.parametrize(
    "values,task",
    [
        (["a", "b", "a"], "classification"),
        ([True, False, True], "classification"),
        ([0, 1, 1], "classification"),
        (["yes", "no", "yes"], "classification"),
        ([1, 2, 3, 9], "classification"),
        ([1.0, 2.0, 2.0], "classification"),
        ([0.5, 1.0, 2.0], "regression"),
        (list(range(11)), "regression"),
        (["1.5", "2.5", "3"], "regression"),
        (pd.Categorical(["a", "b"], categories=["b", "c", "a"]), "classification"),
        (pd.Series([1, 0, None], dtype="Int64"), "classification"),
    ],
)
def test_the_task_follows_from_the_target(values, task):
    assert infer_task(pd.Series(values)) == task
