"""Loaders of tables: targets, splits, weights, and the same numbers from every kind of file."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch

from tipsai import stratified_split, time_split
from tipsai.core.errors import ColumnError, DataError, SettingError
from tipsai.frame.read import as_frame
from tipsai.tabular import TabularDataLoaders

N = 80
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, N),
        "income": np.round(RNG.normal(size=N), 3),
        "color": np.array(["red", "blue", "green"])[RNG.integers(0, 3, N)],
        "member": np.array(["yes", "no"])[RNG.integers(0, 2, N)],
        "joined": [f"2020-{m:02}-{d:02}" for m, d in zip(RNG.integers(1, 13, N), RNG.integers(1, 29, N), strict=True)],
        "label": np.array(["lo", "hi"])[RNG.integers(0, 2, N)],
        "amount": np.round(RNG.normal(100, 20, N), 2),
    }
)


def loaders(frame=FRAME, target="label", **options):
    return TabularDataLoaders.from_df(frame, target, **options)


def tensors(dls):
    return [t for part in (dls.train, dls.valid) for t in part.rows.tensors()]


def assert_same(a, b):
    for left, right in zip(tensors(a), tensors(b), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_csv_frame_and_parquet_give_the_same_rows(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    FRAME.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    FRAME.to_csv(tmp_path / "semicolons.csv", index=False, sep=";")
    (tmp_path / "bom.csv").write_text("\ufeff" + FRAME.to_csv(index=False), encoding="utf-8")
    FRAME.to_parquet(tmp_path / "t.parquet")
    FRAME.assign(joined=pd.to_datetime(FRAME["joined"]), color=FRAME["color"].astype("category")).to_parquet(
        tmp_path / "typed.parquet"
    )
    for name in ("t.csv", "t.tsv", "semicolons.csv", "bom.csv", "t.parquet", "typed.parquet"):
        assert_same(TabularDataLoaders.from_file(tmp_path / name, "label"), loaders())


@pytest.mark.parametrize(
    "convert",
    [
        lambda f: f.assign(age=f["age"].astype(str)),
        lambda f: f.assign(age=f["age"].astype("Int64"), color=f["color"].astype("string")),
        lambda f: f.assign(color=pd.Categorical(f["color"], categories=["unused", "red", "green", "blue"])),
        lambda f: f.assign(member=f["member"] == "yes"),
        lambda f: f.assign(member=(f["member"] == "yes").astype(int)),
        lambda f: f.assign(joined=pd.to_datetime(f["joined"])),
        lambda f: f.assign(label=f["label"].astype("category")),
        lambda f: f.set_axis(range(1000, 1000 + N)),
        lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
    ],
)
def test_dtypes_do_not_matter(convert):
    assert_same(loaders(convert(FRAME)), loaders())


def test_the_frame_is_left_as_it_was():
    before = FRAME.copy(deep=True)
    loaders(FRAME, "amount", weights="age", kinds={"member": "category"}, ignore=["joined"])
    pd.testing.assert_frame_equal(FRAME, before)


def test_processors_are_fitted_on_training_rows_alone():
    valid = FRAME.assign(age=1_000_000, color="never")
    dls, plain = loaders(valid_df=valid, test_df=valid), loaders(valid_df=FRAME)
    assert dls.table.to_dict() == plain.table.to_dict()
    assert (dls.valid.rows.codes[:, 0] == 0).all()


@pytest.mark.parametrize(
    "values,labels",
    [
        (["lo", "hi"] * 40, ["hi", "lo"]),
        ([True, False] * 40, [False, True]),
        ([0, 1] * 40, [0, 1]),
        ([3, 1, 2, 1] * 20, [1, 2, 3]),
        ([10, 9, 2, 1] * 20, [1, 2, 9, 10]),
        (pd.Series(["a", "b", None, "b"] * 20, dtype="string"), ["a", "b"]),
        (pd.Categorical(["z", "b"] * 40, categories=["z", "unused", "b"]), ["b", "z"]),
        (pd.Series([1, 0, None, 1] * 20), [0, 1]),  # pandas holds this as floats
        (pd.Series([1, 0, None, 1] * 20, dtype="Int64"), [0, 1]),
        (["yes", "no", "?", "no"] * 20, ["no", "yes"]),
    ],
    ids=str,
)
def test_classes_keep_their_type(values, labels):
    dls = loaders(FRAME.assign(label=values))
    assert dls.task == "classification" and dls.blocks[1].vocab.labels_ == labels
    assert [type(v) for v in dls.blocks[1].vocab.labels_] == [type(v) for v in labels]
    assert dls.blocks[1].n_out == len(labels)


def test_classes_are_encoded_by_name():
    dls = loaders(valid_df=FRAME)
    codes = dls.valid.rows.y[0]
    assert [dls.blocks[1].decode(code) for code in codes.tolist()] == FRAME["label"].tolist()


def test_a_regression_is_standardised_on_the_training_rows():
    dls = loaders(target="amount")
    y = dls.train.rows.y[0]
    assert dls.task == "regression" and y.shape[1] == 1 and y.dtype == torch.float32
    assert y.mean().abs() < 1e-5 and y.std(unbiased=False) == pytest.approx(1, abs=1e-5)
    whole = torch.cat([dls.blocks[1].units(dls.train.rows.y[0]), dls.blocks[1].units(dls.valid.rows.y[0])]).flatten()
    np.testing.assert_allclose(np.sort(whole.numpy()), np.sort(FRAME["amount"]), rtol=1e-5)


def test_several_numbers_and_several_labels():
    dls = loaders(target=["amount", "income"])
    assert dls.task == "regression" and dls.train.rows.y[0].shape[1] == 2 and "income" not in dls.table.columns
    answers = FRAME.assign(a=FRAME["age"] > 50, b=np.where(FRAME["income"] > 0, "Y", "n"))
    dls = loaders(answers, ["a", "b"], valid_df=answers)
    assert dls.task == "multilabel"
    np.testing.assert_array_equal(dls.valid.rows.y[0].numpy(), np.stack([answers["a"], answers["b"] == "Y"], 1))
    ratings = FRAME.assign(a=FRAME["age"] % 5, b=FRAME["age"] % 4)
    assert loaders(ratings, ["a", "b"]).task == "regression"
    assert loaders(answers.assign(b=answers["a"]), ["a", "b"], task="regression").task == "regression"


def test_the_task_can_be_given():
    assert loaders(FRAME.assign(amount=FRAME["age"] % 4), "amount", task="regression").task == "regression"
    assert loaders(FRAME.assign(age=FRAME["age"] // 3), "age", task="classification").task == "classification"
    for task, says in (("classify", "Did you mean 'classification'"), ("multilabel", "several target columns")):
        with pytest.raises(SettingError, match=says):
            loaders(task=task)


def test_a_column_name_may_be_a_number():
    frame = FRAME.rename(columns={"label": 0, "age": 1})
    assert loaders(frame, 0).task == "classification"
    with pytest.raises(DataError, match="more than one column named '1'"):
        loaders(frame.assign(**{"1": 3}), 0)


def test_a_split_without_target_leakage():
    dls = loaders()
    assert len(dls.train.rows) + len(dls.valid.rows) == N and len(dls.valid.rows) == 16
    assert_same(loaders(seed=3), loaders(seed=3))
    assert not torch.equal(loaders(seed=4).valid.rows.numbers, loaders(seed=3).valid.rows.numbers)
    assert set(dls.table.columns) == {"age", "income", "color", "member", "joined", "amount"}


def test_splits_of_ones_own():
    dls = loaders(splitter=lambda frame: time_split(frame["joined"], valid=0.25, test=0.25))
    assert len(dls.test.rows) >= 10 and len(dls.valid.rows) >= 10
    train = dls.blocks[0].columns["joined"].decode((dls.train.rows.numbers[:, 2:], dls.train.rows.missing[:, 2:]))
    test = dls.blocks[0].columns["joined"].decode((dls.test.rows.numbers[:, 2:], dls.test.rows.missing[:, 2:]))
    assert train.max() <= test.min() + np.timedelta64(86400, "s")
    stratified = loaders(splitter=lambda frame: stratified_split(frame["label"], 0.5))
    assert abs(len(stratified.valid.rows) - N // 2) <= 1
    assert loaders(valid=0.0).valid is None
    for options, says in (
        ({"valid": 1.5}, "shares"),
        ({"valid_df": FRAME, "valid": 0.2}, "both valid_df and a split"),
        ({"splitter": lambda f: stratified_split(f["label"]), "valid": 0.2}, "both splitter and valid"),
    ):
        with pytest.raises(SettingError, match=says):
            loaders(**options)


def test_row_weights_have_mean_one_and_are_no_input():
    dls = loaders(weights="age", test_df=FRAME.drop(columns="age"))
    weights = dls.train.rows.y[1]
    assert weights.mean() == pytest.approx(1, abs=1e-5) and "age" not in dls.table.columns
    assert len(dls.valid.rows.y) == len(dls.test.rows.y) == 1
    for bad in (-1.0, np.nan, np.inf, "many", 0.0):
        with pytest.raises(DataError, match=r"weights in 'w' must be finite numbers of at least 0, and not all 0"):
            loaders(FRAME.assign(w=bad), weights="w")


@pytest.mark.parametrize(
    "options,error,says",
    [
        ({"target": "lable"}, ColumnError, r"no column 'lable'. Did you mean 'label'\? Its columns are 'age'"),
        ({"weights": "wieght"}, ColumnError, "no column 'wieght'"),
        ({"ignore": ["agee"]}, ColumnError, r"Did you mean 'age'"),
        ({"target": []}, SettingError, r"target is \[\]"),
        ({"target": ["label", "label"]}, SettingError, "several different ones"),
        ({"ignore": ["label"]}, SettingError, "ignore names 'label', a target or the weights"),
        ({"kinds": {"label": "category"}}, SettingError, "would be ignored"),
        ({"kinds": {"age": "category"}, "ignore": ["age"]}, SettingError, "would be ignored"),
        ({"bs": 0}, SettingError, "bs is 0"),
        ({"bs": 2.5}, SettingError, "bs is 2.5"),
        ({"target": ["label", "amount"]}, DataError, "neither all numbers nor all yes and no"),
        ({"target": "color", "task": "regression"}, DataError, "values that cannot be read as a number"),
    ],
)
def test_wrong_arguments_are_refused(options, error, says):
    with pytest.raises(error, match=says):
        loaders(FRAME, **({"target": "label"} | options))


@pytest.mark.parametrize(
    "target,value,says",
    [
        ("label", "new", r"in the test table, column 'label': the class 'new' was not in the training data"),
        ("amount", "words", r"'amount' holds 1 value that cannot be read as a number, in the test table"),
        ("amount", np.inf, r"'amount' is infinite in 1 row of the test table"),
    ],
)
def test_targets_of_the_test_rows_must_fit(target, value, says):
    column = FRAME[target].astype(object)
    column[5] = value
    with pytest.raises(DataError, match=says):
        loaders(target=target, test_df=FRAME.assign(**{target: column}))


def test_classes_that_never_come_twice_are_refused():
    with pytest.raises(DataError, match="is another one in each of 80 rows, so there are no classes to learn"):
        loaders(FRAME.assign(label=[f"user {i}" for i in range(N)]))
    assert loaders(FRAME.head(4).assign(label=list("abcd")), valid=0.0).blocks[1].n_out == 4


def test_an_infinite_target_and_a_strange_answer_are_refused():
    with pytest.raises(DataError, match="'amount' is infinite in 1 row of the train table"):
        loaders(FRAME.assign(amount=[np.inf, *FRAME["amount"][1:]]), "amount")
    answers = FRAME.assign(a=FRAME["age"] > 50)
    with pytest.raises(DataError, match="'a' holds other values than yes and no in the test table"):
        loaders(answers, ["a", "member"], test_df=answers.assign(a="maybe"))


def test_rows_come_in_any_usual_form(tmp_path):
    row = {"a": 1, "b": "x"}
    pd.DataFrame([row]).to_csv(tmp_path / "t.csv", index=False)
    frame = pd.DataFrame([row, row], index=[7, 8])
    for items, index in (
        (frame, [7, 8]),
        (row, [0]),
        ([row, row], [0, 1]),
        ({"a": [1, 1], "b": ["x", "x"]}, [0, 1]),
        (frame.loc[8], [8]),
        (tmp_path / "t.csv", [0]),
        (str(tmp_path / "t.csv"), [0]),
    ):
        made = as_frame(items)
        assert made.index.tolist() == index and made.columns.tolist() == ["a", "b"] and made["a"].tolist()[0] == 1
    for bad, says in ((np.zeros((2, 2)), "is a ndarray; expected a pandas DataFrame"), ([], "no rows")):
        with pytest.raises(DataError, match=says):
            as_frame(bad)


def test_what_was_decided_is_logged(caplog):
    caplog.set_level(logging.INFO, "tipsai")
    loaders(FRAME.assign(row_id=RNG.permutation(N) * 3, fixed=1))
    assert "80 rows (64 train, 16 valid); task: classification" in caplog.text and "because" in caplog.text
    assert "set aside: 'row_id' (identifier" in caplog.text and "'fixed' (constant: always '1')" in caplog.text
    assert "kinds={column: kind}" in caplog.text
