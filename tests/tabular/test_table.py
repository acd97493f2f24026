"""The block of a table: from a frame to tensors and to JSON and back."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from tipsai.core.errors import ColumnError, DataError
from tipsai.tabular import defaults
from tipsai.tabular.columns import Category
from tipsai.tabular.infer import infer_kinds
from tipsai.tabular.table import TableBlock

N = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, N).astype(float),
        "city": np.array(["Berlin", "Paris", "Rome", "Oslo", "Bern", "Wien", "Kyiv", "Riga", "Lima"])[
            RNG.integers(0, 9, N)
        ],
        "color": np.array(["red", "blue"])[RNG.integers(0, 2, N)],
        "member": RNG.integers(0, 2, N).astype(bool),
        "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.integers(0, 900, N), unit="D"),
    }
)
FRAME.loc[3, "age"] = np.nan


def fitted(frame=FRAME):
    return TableBlock().fit_frame(frame, infer_kinds(frame), defaults.TEXT_VALUES, defaults.RARE, defaults.MOST_VALUES)


BLOCK = fitted()


def equal(a, b):
    for left, right in zip(a.tensors(), b.tensors(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_what_a_model_is_told():
    assert BLOCK.cardinalities == [BLOCK.columns["city"].n_codes, 4, 4]
    assert BLOCK.n_numbers == 1 + len(BLOCK.columns["joined"].numbers_) and BLOCK.n_texts == 1
    rows = BLOCK.encode_frame(FRAME)
    assert rows.codes.shape == (N, 3) and rows.numbers.shape == rows.missing.shape == (N, BLOCK.n_numbers)
    assert (rows.codes.dtype, rows.numbers.dtype, rows.missing.dtype) == (torch.int32, torch.float32, torch.uint8)
    assert rows.missing[:, 0].nonzero().flatten().tolist() == [3]


def test_a_batch_is_what_the_model_takes():
    rows = BLOCK.encode_frame(FRAME, (torch.arange(N),))
    by_slice, by_index = rows.take(slice(5, 9)), rows.take(torch.tensor([5, 6, 7, 8]))
    for left, right in zip((*by_slice.x, *by_slice.y), (*by_index.x, *by_index.y), strict=True):
        torch.testing.assert_close(left, right)
    codes, _, _, texts = by_slice.x
    assert codes.dtype == torch.int64 and texts.shape == (4, 1, Category.text_dim)
    assert by_slice.y[0].tolist() == [5, 6, 7, 8]
    without = TableBlock().fit_frame(FRAME[["age"]], infer_kinds(FRAME[["age"]]), 8, 5, 100)
    assert without.encode_frame(FRAME).take(slice(0, 2)).x[3].shape == (2, 0, Category.text_dim)


@pytest.mark.parametrize("seed", range(3))
def test_extra_columns_order_and_index_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    other = FRAME.assign(extra=1, more="x").set_axis(rng.permutation(N))
    other = other[rng.permutation(other.columns.to_numpy())]
    equal(BLOCK.encode_frame(other), BLOCK.encode_frame(FRAME))


def test_json_and_back_encodes_alike():
    again = TableBlock.from_dict(json.loads(json.dumps(BLOCK.to_dict(), allow_nan=False)))
    equal(again.encode_frame(FRAME), BLOCK.encode_frame(FRAME))
    assert again.to_dict() == BLOCK.to_dict() and again.n_texts == BLOCK.n_texts


def test_missing_columns_are_shown_as_a_diff():
    with pytest.raises(
        ColumnError, match=r"2 of the 5 columns.*\n  - age\n  - city\n  \+ Age\nRename or add"
    ) as caught:
        BLOCK.encode_frame(FRAME.drop(columns="city").rename(columns={"age": "Age"}))
    assert "color" not in str(caught.value)
    wide = pd.DataFrame({f"n{i}": RNG.normal(size=4) for i in range(30)})
    with pytest.raises(ColumnError, match=r"and 19 more"):
        fitted(wide).check(wide[["n3"]])


def test_nothing_to_learn_from():
    with pytest.raises(DataError, match="no column is left to learn from.*Set kinds="):
        fitted(pd.DataFrame({"a": [1, 1, 1]}))


@pytest.mark.parametrize("kind", ["number", "date"])
def test_a_given_kind_that_does_not_fit_is_refused(kind):
    frame = FRAME[["age", "city"]]
    with pytest.raises(ColumnError, match=f"'city' was given as a {kind}, and 60 of its 60 values are none. Take it"):
        TableBlock().fit_frame(frame, infer_kinds(frame, {"city": kind}), 8, 5, 100)


def test_unseen_values_and_strays_are_counted():
    new = FRAME.head(4).assign(color=["red", "pink", None, "violet"], age=["3", "old", "4", "inf"], joined="soon")
    assert BLOCK.unseen(new)["color"] == 2 and BLOCK.unseen(FRAME.assign(city="Berlin")) == {}
    assert BLOCK.strays(new) == {"age": 2, "joined": 4} and BLOCK.strays(FRAME) == {}


def test_missing_flags_exist_for_columns_that_had_none_missing():
    rows = BLOCK.encode_frame(FRAME.assign(joined=pd.NaT))
    assert (rows.missing[:, 1:] == 1).all() and (rows.numbers[:, 1:] == 0).all()


def test_bin_edges_ascend_within_the_values_that_are_there():
    numbers = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0], [4.0, 1.0], [9.0, 1.0]])
    missing = torch.tensor([[0, 0]] * 5 + [[1, 0]], dtype=torch.uint8)
    assert BLOCK.edges(numbers, missing, 4) == [[0, 1, 2, 3, 4], [1]]
    assert BLOCK.edges(torch.zeros(0, 0), torch.zeros(0, 0), 4) == []
