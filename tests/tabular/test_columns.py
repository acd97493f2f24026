"""The laws of a table's processors: fitted on training rows, reversible, the same after JSON and under every dtype."""

import datetime
import json
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tipsai.core.errors import ColumnError
from tipsai.frame.values import distinct, numbers_of
from tipsai.tabular.columns import Boolean, Category, Date, Number, day_first, to_dates

NUMBERS = st.lists(st.none() | st.floats(-1e100, 1e100, allow_subnormal=False), min_size=1, max_size=30)
WORDS = st.lists(st.none() | st.text(min_size=1, max_size=6), min_size=1, max_size=30)
ANSWERS = st.lists(st.none() | st.sampled_from(["yes", "No", "TRUE", "f", "1", "0", "on"]), min_size=1, max_size=20)
TIMES = st.lists(
    st.none() | st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1)), min_size=1, max_size=20
)
CASES = [
    pytest.param(Number, NUMBERS, np.float64, id="Number"),
    pytest.param(Category, WORDS, object, id="Category"),
    pytest.param(Boolean, ANSWERS, object, id="Boolean"),
    pytest.param(Date, TIMES, "datetime64[us]", id="Date"),
]


def same(a, b):
    for left, right in zip(a if isinstance(a, tuple) else (a,), b if isinstance(b, tuple) else (b,), strict=True):
        np.testing.assert_array_equal(left, right)


def law(strategy):
    """Runs a check on many drawn columns; a plain function, since hypothesis and parametrize meet here."""

    def run(check):
        settings(deadline=None, max_examples=60)(given(strategy)(check))()

    return run


@pytest.mark.parametrize("cls,values,dtype", CASES)
def test_from_dict_of_to_dict_through_json_encodes_alike(cls, values, dtype):
    @law(values)
    def check(drawn):
        column = pd.Series(drawn, dtype=dtype)
        fitted = cls().fit(column)
        again = cls.from_dict(json.loads(json.dumps(fitted.to_dict(), allow_nan=False)))
        same(again.encode(column), fitted.encode(column))
        assert again.to_dict() == fitted.to_dict()


@pytest.mark.parametrize("cls,values,dtype", CASES)
def test_encoding_does_not_depend_on_what_else_is_encoded(cls, values, dtype):
    """A row's code is its own: encoding rows one at a time, or reversed, gives the same."""

    @law(values)
    def check(drawn):
        column = pd.Series(drawn, dtype=dtype)
        fitted = cls().fit(column)
        whole, turned = fitted.encode(column), fitted.encode(column[::-1])
        parts = [fitted.encode(column[i : i + 1]) for i in range(len(column))]
        if isinstance(whole, tuple):
            same(tuple(part[::-1] for part in turned), whole)
            same(tuple(np.concatenate(part) for part in zip(*parts, strict=True)), whole)
        else:
            same(turned[::-1], whole)
            same(np.concatenate(parts), whole)


@pytest.mark.parametrize("cls,values,dtype", CASES)
def test_fitting_does_not_depend_on_the_order_of_rows_or_their_index(cls, values, dtype):
    @law(values)
    def check(drawn):
        column = pd.Series(drawn, dtype=dtype)
        assert cls().fit(column).to_dict() == cls().fit(column[::-1].set_axis([7] * len(column))).to_dict()


def test_number_decodes_to_the_number():
    @law(NUMBERS)
    def check(drawn):
        column = pd.Series(drawn, dtype=np.float64)
        number = Number().fit(column)
        decoded = number.decode(number.encode(column))
        near = np.abs((column - number.median_) / number.scale_) < 20
        reach = 20 * number.scale_ + abs(number.median_)
        np.testing.assert_allclose(decoded[near], column[near], rtol=1e-4, atol=1e-4 * reach)
        np.testing.assert_array_equal(np.isnan(decoded), column.isna())


def test_number_is_zero_at_the_median_one_a_quartile_range_and_bounded():
    number = Number().fit(pd.Series([1.0, 2, 3, 4, 5]))
    values, flags = number.encode(pd.Series([3.0, 5.0, np.nan, 1e308, -np.inf]))
    assert values[0] == 0 and values[1] == pytest.approx(1 / np.sqrt(1 + 1 / 9), rel=1e-6)
    assert values[2] == 0 and flags.tolist() == [0, 0, 1, 0, 1]
    assert values[3] == pytest.approx(3.0)


def test_number_keeps_its_order_far_out():
    number = Number().fit(pd.Series([1.0, 2, 3, 4]))
    values, _ = number.encode(pd.Series([-1e300, -1e10, -5.0, 0.0, 5.0, 100.0, 1e10, 1e200]))
    assert (np.diff(values) >= 0).all() and values[0] == -3 and values[-1] == 3


@pytest.mark.parametrize("values", [[5.0] * 4, [0.0] * 9 + [7.0], [np.nan, np.nan], [-1.7e308, 1.7e308, 3.0, 4.0]])
def test_number_of_strange_columns_stays_finite(values):
    number = Number().fit(pd.Series(values))
    assert np.isfinite(number.median_) and np.isfinite(number.scale_) and number.scale_ > 0
    assert np.isfinite(number.encode(pd.Series([*values, 1.0, np.nan]))[0]).all()


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1, None, 3], dtype="Float32"),
        pd.Series([1, None, 3], dtype="int64[pyarrow]"),
        pd.Series(["1", " 3 ", None]).reindex([0, 2, 1]),
        pd.Series(["1", "?", "3.0"], dtype="string"),
        pd.Series(["1", "n/a", "3e0"], dtype="category"),
        pd.Series([Decimal("1"), None, Decimal("3.0")], dtype=object),
        pd.Series([1, "", "3"], dtype=object),
        pd.Series(pd.to_timedelta([1, None, 3], unit="s")),
    ],
    ids=lambda column: str(column.dtype),
)
def test_numbers_of_any_dtype(column):
    values, n_stray, n_infinite = numbers_of(column)
    np.testing.assert_array_equal(values, [1, np.nan, 3])
    assert (n_stray, n_infinite) == (0, 0)


def test_strays_and_infinities_are_counted():
    values, n_stray, n_infinite = numbers_of(pd.Series(["1", "low", "low", "-inf", "\u22122"]))
    np.testing.assert_array_equal(values, [1, np.nan, np.nan, np.nan, -2])
    assert (n_stray, n_infinite) == (2, 1)
    assert numbers_of(pd.Series([True, False]))[0].tolist() == [1, 0]
    assert numbers_of(pd.Series(["2020_01"]))[1] == 1


def test_number_refuses_words_and_takes_a_few():
    number = Number().fit(pd.Series([1.0, 2, 3], name="age"))
    assert number.encode(pd.Series(["1", "2", "old"]))[1].tolist() == [0, 0, 1]
    with pytest.raises(ColumnError, match=r"'age' was numbers in training and now holds words such as 'old', 'young'"):
        number.encode(pd.Series(["old", "young", "1"], name="age"))


def test_category_decodes_to_the_names():
    @law(WORDS)
    def check(drawn):
        column = pd.Series(drawn, dtype=object)
        category = Category().fit(column)
        gone = distinct(column)[0] < 0
        expected = [None if missing else value.strip() for value, missing in zip(drawn, gone, strict=True)]
        assert category.decode(category.encode(column)) == expected


def test_category_codes_go_by_frequency_then_name():
    category = Category().fit(pd.Series(["b", "a", "c", "c", None]))
    assert category.values_ == ["c", "a", "b"] and category.n_codes == 5
    assert category.encode(pd.Series(["c", "a", "b", None, "new", "?"])).tolist() == [2, 3, 4, 1, 0, 1]


DTYPES = {
    "int": pd.Series([3, 1, 2, 3]),
    "int8": pd.Series([3, 1, 2, 3], dtype="int8"),
    "float": pd.Series([3.0, 1.0, 2.0, 3.0]),
    "text": pd.Series(["3", "1", "2", "3"]),
    "object": pd.Series([3, "1", 2.0, np.int64(3)], dtype=object),
    "nullable": pd.Series([3, 1, 2, 3], dtype="Int64"),
    "arrow": pd.Series(["3", "1", "2", "3"], dtype="string[pyarrow]"),
    "category": pd.Series(pd.Categorical([3, 1, 2, 3], categories=[9, 2, 3, 1])),
    "text category": pd.Series(pd.Categorical(["3", "1", "2", "3"], categories=["2", "unused", "1", "3"])),
    "reordered": pd.Series(pd.Categorical([3, 1, 2, 3], categories=[1, 3, 2], ordered=True)),
}


@pytest.mark.parametrize("cls", [Category, Boolean])
@pytest.mark.parametrize("fitted_on", DTYPES)
def test_category_codes_do_not_depend_on_dtype(cls, fitted_on):
    category = cls().fit(DTYPES[fitted_on])
    codes = {name: category.encode(column).tolist() for name, column in DTYPES.items()}
    assert codes == dict.fromkeys(DTYPES, codes["int"])
    assert 0 not in codes["int"] and 1 not in codes["int"]


def test_category_from_text_that_reads_3_0():
    assert Category().fit(pd.Series(["3.0", "4.0"])).encode(pd.Series([3, 4])).tolist() == [2, 3]
    assert Category().fit(pd.Series([3, 4])).encode(pd.Series(["3.0", "4"])).tolist() == [2, 3]


def test_category_keeps_texts_with_leading_zeros_apart():
    assert Category().fit(pd.Series(["01", "1"])).encode(pd.Series(["01", "1", 1])).tolist() == [2, 3, 3]


@pytest.mark.parametrize("values", [[1, True, 0, "a"], [True, 1, 0, "a"], ["a", 0, True, 1.0]])
def test_true_and_1_are_two_values_whichever_comes_first(values):
    category = Category().fit(pd.Series(values, dtype=object))
    assert category.values_ == ["0", "1", "True", "a"]
    assert category.encode(pd.Series(["True", 1, "0", True], dtype=object)).tolist() == [4, 3, 2, 4]
    assert Boolean().fit(pd.Series([1, True, False, 0], dtype=object)).values_ == ["no", "yes"]


def test_rare_values_share_the_code_of_the_unknown():
    category = Category(min_count=2, most_values=1).fit(pd.Series(list("aaabbc")))
    assert category.values_ == ["a"] and category.encode(pd.Series(list("abcz"))).tolist() == [2, 0, 0, 0]


def test_text_vectors_of_a_column():
    category = Category(text=True).fit(pd.Series(["Berlin", "Paris"]))
    places, table = category.encode_text(pd.Series(["Berlin", None, "berlin ", "Tokyo"]))
    assert table.shape == (4, Category.text_dim) and (table[places[1]] == 0).all()
    np.testing.assert_array_equal(table[places[0]], table[places[2]])
    assert abs(float(table[places[0]] @ table[places[3]])) < 0.5


def test_spellings_that_training_never_saw_take_the_code_of_the_likeliest():
    towns = ["Amsterdam", "Copenhagen", "Luxembourg"]
    category = Category(text=True).fit(pd.Series(towns * 5))
    new = pd.Series(["Amsterdm", "COPENHAGEN", "Luxembourgh", "Xi'qp", None])
    codes = category.encode(new).tolist()
    assert category.decode(codes[:3]) == towns and codes[3:] == [Category.UNKNOWN, Category.MISSING_CODE]
    assert category.n_unseen(new) == 4 and category.n_unseen(pd.Series(towns)) == 0
    plain = Category().fit(pd.Series(towns * 5))
    assert plain.encode(new).tolist() == [0, 0, 0, 0, 1]


SPELLINGS = [[True, False], ["yes", "no"], ["Y", "N"], ["t", "F"], [1, 0], [1.0, 0.0], ["1", "0"], ["1.0", "0.0"]]


@pytest.mark.parametrize("fitted_on", SPELLINGS, ids=str)
def test_boolean_codes_do_not_depend_on_the_spelling(fitted_on):
    boolean = Boolean().fit(pd.Series([fitted_on[0], fitted_on[0], fitted_on[1]]))
    for spelling in [*SPELLINGS, ["on", "off"]]:
        for dtype in (None, object, "category"):
            assert boolean.encode(pd.Series(spelling, dtype=dtype)).tolist() == [2, 3]
    assert boolean.decode(boolean.encode(pd.Series([1, 0, None, "maybe"], dtype=object))) == ["yes", "no", None, None]


def test_date_decodes_to_the_date():
    @law(TIMES)
    def check(drawn):
        column = pd.Series(drawn, dtype="datetime64[us]")
        date = Date().fit(column)
        decoded = date.decode(date.encode(column))
        truth = column.to_numpy().astype("datetime64[s]")
        assert (np.isnat(decoded) == np.isnat(truth)).all()
        elapsed = date.numbers_["elapsed"]
        days = truth.astype(float)[~np.isnat(truth)] / 86400
        near = np.abs(days - elapsed.median_) < 5 * elapsed.scale_
        off = np.abs(decoded[~np.isnat(truth)].astype(float) / 86400 - days)[near]
        assert (off <= 2 / 86400 + 1e-4 * elapsed.scale_).all()


def test_date_keeps_the_parts_that_vary():
    date = Date().fit(pd.Series(pd.to_datetime(["2020-01-06", "2020-03-17", "2021-06-01"])))
    assert list(date.numbers_) == ["elapsed", "year", "month", "day", "weekday", "yearday"]
    parts, n_stray = Date.parts(pd.Series(["2020-03-17 13:45", "soon", None]))
    assert {name: values[0] for name, values in parts.items()} == {
        "elapsed": pytest.approx(18338 + 13.75 / 24),
        "year": 2020,
        "month": 3,
        "day": 17,
        "weekday": 1,
        "yearday": 77,
        "hour": 13,
        "minute": 45,
    }
    assert n_stray == 1 and np.isnan(parts["month"]).tolist() == [False, True, True]


FIFTH = np.datetime64("2020-03-05")
FORMATS = ["2020-03-05", "2020/03/05", "20200305", "March 5, 2020", "5 Mar 2020", "2020-03-05T00:00:00Z", "03/05/2020"]


@pytest.mark.parametrize("text", FORMATS)
def test_dates_in_many_formats(text):
    assert to_dates(pd.Series([text]))[0].tolist() == [FIFTH.astype("datetime64[s]").item()]


@pytest.mark.parametrize(
    "texts,expected",
    [
        (["05/03/2020", "13/02/2020"], True),
        (["05/03/2020", "02/13/2020"], False),
        (["05/03/2020"], False),
        (["05.03.2020"], True),
        (["05-03-2020", "25-12-2019", None], True),
        (["2020-03-05"], False),
    ],
)
def test_whether_the_day_comes_first_is_told_from_the_whole_column(texts, expected):
    assert day_first(pd.Series(texts, dtype=object)) is expected
    date = Date().fit(pd.Series([*texts, "1 January 2020"], dtype=object))
    restored = Date.from_dict(json.loads(json.dumps(date.to_dict())))
    first = pd.Series(["05/03/2020"])  # which alone could be both; what training saw decides
    month = Date.parts(first, restored.dayfirst_)[0]["month"][0]
    assert month == (3 if expected else 5)
    same(restored.encode(first), date.encode(first))


def test_zones_become_utc_whatever_holds_them():
    berlin = pd.Timestamp("2020-01-01 01:00", tz="Europe/Berlin")
    columns = [
        pd.Series([berlin]),
        pd.Series([berlin], dtype=object),
        pd.Series([berlin]).astype("category"),
        pd.Series(["2020-01-01T01:00:00+01:00"]),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {str(to_dates(column)[0][0]) for column in columns} == {"2020-01-01T00:00:00"}


@pytest.mark.parametrize(
    "dtype", ["date32[pyarrow]", "date64[pyarrow]", "timestamp[us][pyarrow]", "timestamp[us, tz=UTC][pyarrow]"]
)
def test_arrow_dates(dtype):
    column = pd.Series(pd.to_datetime(["2020-03-05", None]), dtype="datetime64[us]")
    column = column.dt.tz_localize("UTC") if "tz" in dtype else column.dt.date if "date" in dtype else column
    when, n_stray = to_dates(column.astype(dtype))
    assert str(when[0]) == "2020-03-05T00:00:00" and np.isnat(when[1]) and n_stray == 0


def test_a_time_alone_means_the_same_on_every_day():
    assert [str(at) for at in to_dates(pd.Series(["12:30", "7:05:30 pm"]))[0]] == [
        "1970-01-01T12:30:00",
        "1970-01-01T19:05:30",
    ]
    assert str(to_dates(pd.Series([datetime.time(12, 30)], dtype=object))[0][0]) == "1970-01-01T12:30:00"


def test_dates_all_missing():
    assert np.isnat(to_dates(pd.Series([None, "?"], dtype=object))[0]).all()
    values, flags = Date().fit(pd.Series(["2020-01-01"])).encode(pd.Series([None], dtype=object))
    assert values.tolist() == [[0.0]] and flags.tolist() == [[1]]


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, {1, 2}], ids=repr)
def test_values_that_are_no_single_value_are_refused(value):
    with pytest.raises(ColumnError, match=r"'tags' holds values that are no single number, text or date.*Leave it out"):
        distinct(pd.Series([value, value], name="tags"))
