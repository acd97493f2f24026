"""Issue 2's list "Accepted, said, and right": it trains or predicts, a message names it, and the numbers are right."""

import resource
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from tipsai.tabular import TabularDataLoaders, tabular_learner

N = 100
RNG = np.random.default_rng(0)
TARGET = pd.Series(np.array(["hi", "lo"])[RNG.integers(0, 2, N)])
TOWNS = np.array("Berlin Madrid Paris London Lisbon Dublin Vienna Zurich Prague Warsaw".split())
FRAME = pd.DataFrame(
    {
        "size": RNG.integers(1, 60, N),
        "color": np.array(["red", "blue", "green"])[RNG.integers(0, 3, N)],
        "town": TOWNS[RNG.integers(0, 10, N)],
        "when": [f"2020-{m:02}-{d:02}" for m, d in zip(RNG.integers(1, 13, N), RNG.integers(1, 29, N), strict=True)],
        "ok": np.array(["yes", "no"])[RNG.integers(0, 2, N)],
        "y": TARGET,
    }
)
SMALL = {"n_members": 1, "width": 16, "seed": 0}


def trained(frame=FRAME, target="y", **options):
    learn = tabular_learner(TabularDataLoaders.from_df(frame, target, **options), **SMALL)
    learn.fit_one_cycle(2, lr=0.01, progress=False)
    assert all(np.isfinite(list(row.values())).all() for row in learn.history)
    return learn


@pytest.fixture(scope="module")
def learn():
    return trained()


def predictions_equal(learn, left, right):
    pd.testing.assert_frame_equal(learn.predict(left), learn.predict(right), atol=1e-6)


def test_categories_never_seen(learn, said):
    new = FRAME.assign(color="violet", town=["Berlin", *["Ouagadougou"] * (N - 1)])
    made = learn.predict(new)
    assert "values that training never, or hardly ever, saw: color in 100 rows, town in 99 rows" in said()
    np.testing.assert_allclose(made[["p_hi", "p_lo"]].sum(axis=1), 1, atol=1e-5)
    predictions_equal(learn, FRAME.assign(color="violet"), FRAME.assign(color="another"))
    said()
    learn.predict(FRAME)
    assert "never" not in said()


def test_the_spelling_of_an_unseen_town_counts(learn):
    row = FRAME.head(1).assign(town="Berlin")
    near = learn.predict(row.assign(town="Berln"))["p_hi"].item()
    far = learn.predict(row.assign(town="Ouagadougou"))["p_hi"].item()
    assert near != far


def test_extra_and_reordered_columns(learn):
    other = FRAME.assign(extra=RNG.normal(size=N), size2="x")
    other = other[RNG.permutation(other.columns.to_numpy())]
    predictions_equal(learn, other, FRAME)
    predictions_equal(learn, FRAME.drop(columns="y"), FRAME)


@pytest.mark.parametrize("text", [str, "{}.0".format, " {} ".format])
def test_integers_that_arrive_as_text(learn, text):
    predictions_equal(learn, FRAME.assign(size=FRAME["size"].map(text)), FRAME)


def test_nan_and_infinity_among_the_inputs(said):
    frame = FRAME.assign(size=FRAME["size"].astype(float))
    frame.loc[:9, "size"], frame.loc[10:19, "size"], frame.loc[20:24, "size"] = np.nan, np.inf, -np.inf
    learn = trained(frame, valid_df=FRAME)
    text = said()
    assert "15 infinite values count as missing" in text
    predictions_equal(learn, FRAME.assign(size=np.inf), FRAME.assign(size=np.nan))
    predictions_equal(learn, FRAME.assign(size=-np.inf), FRAME.assign(size=None))
    assert "values that do not fit their column and count as missing: size in 100 rows" in said()


def test_missing_values_in_columns_that_had_none(learn):
    made = learn.predict(FRAME.assign(size=None, color=None, when=None, ok=np.nan))
    assert np.isfinite(made["p_hi"]).all()


def test_missing_targets_in_some_rows(said):
    frame = FRAME.assign(y=[None] * 7 + ["?"] + list(TARGET[8:]))
    learn = trained(frame)
    assert "8 of 100 train rows have no target and are left out" in said()
    whole = trained(frame.iloc[8:])
    for left, right in zip(learn.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(left, right)
    learn = trained(
        FRAME.assign(y=[np.nan] * 4 + list(RNG.normal(size=N - 4))), test_df=FRAME.assign(y=[None, *range(99)])
    )
    assert "4 of 100 train rows have no target" in (text := said()) and "1 of 100 test rows have no target" in text
    assert np.isfinite(learn.test()["test_loss"])


def test_a_column_of_mixed_types(said):
    mixed = pd.Series([["a", 1, 2.0, True, None][i % 5] for i in range(N)], dtype=object)
    learn = trained(FRAME.assign(mixed=mixed))
    assert "values of mixed types" in said()
    category = learn.dls.table.columns["mixed"]
    assert sorted(category.values_) == ["1", "2", "True", "a"]
    predictions_equal(learn, FRAME.assign(mixed="2"), FRAME.assign(mixed=2))


def test_a_numeric_column_with_some_stray_text(said):
    stray = [*FRAME["size"].astype(str)[:-3], "n.b.", "unknown", "n.b."]
    learn = trained(FRAME.assign(size=stray), valid=0.0)
    text = said()
    assert "numbers, with some stray text; 3 stray values count as missing" in text
    flags = learn.dls.train.rows.missing[:, 0]
    assert flags.sum() == 3 and flags[-3:].tolist() == [1, 1, 1]
    predictions_equal(
        learn, FRAME.assign(size=["low", *FRAME["size"][1:]]), FRAME.assign(size=[None, *FRAME["size"][1:]])
    )
    assert "count as missing: size in 1 rows" in said()


def test_dates_that_do_not_parse(said):
    learn = trained(FRAME.assign(when=[*FRAME["when"][:-2], "soon", "later"]))
    assert "2 stray values count as missing" in said()
    predictions_equal(learn, FRAME.assign(when="someday"), FRAME.assign(when=None))
    assert "values that do not fit their column and count as missing: when in 100 rows" in said()


@pytest.mark.parametrize("n", [4, 9])
def test_fewer_rows_than_a_batch(n):
    small = FRAME.head(n).assign(y=["hi", "lo"] * (n // 2) + ["hi"] * (n % 2))
    learn = trained(small, bs=512)
    assert len(learn.dls.train) == 1 and len(learn.predict(small)) == n


@pytest.mark.parametrize(
    "spelling", [[1, 0], ["yes", "no"], [True, False], ["T", "f"], [1.0, 0.0], ["1", "0"]], ids=str
)
def test_a_boolean_as_0_1_yes_no(learn, spelling, said):
    other = FRAME.assign(ok=FRAME["ok"].map({"yes": spelling[0], "no": spelling[1]}))
    predictions_equal(learn, other, FRAME)
    trained(other)
    assert [line.split()[1] for line in said().splitlines() if line.startswith("ok ")] == ["boolean"]


NAMES = ["a b", 'say "hi"', "it's", "Größe", "年齢", "возраст", "a,b;c", "line\nbreak", "{x}", "🙂", "%s", "p_hi"]


def test_column_names_with_spaces_quotes_and_other_scripts(tmp_path, said):
    frame = pd.DataFrame({name: RNG.normal(size=40) for name in NAMES} | {"das Ziel": [0, 1] * 20})
    frame.to_csv(tmp_path / "t.csv", index=False)
    learn = tabular_learner(TabularDataLoaders.from_file(tmp_path / "t.csv", "das Ziel"), **SMALL)
    learn.fit_one_cycle(1, progress=False)
    assert list(learn.dls.table.columns) == NAMES and "Größe" in said()
    learn.export(tmp_path / "m.tips")
    from tipsai import load_learner

    again = load_learner(tmp_path / "m.tips")
    pd.testing.assert_frame_equal(again.predict(frame), learn.predict(tmp_path / "t.csv"), atol=1e-6)


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)


def test_ten_thousand_columns(said):
    frame = pd.DataFrame(
        np.concatenate([RNG.normal(size=(60, 9_700)), RNG.integers(0, 3, (60, 300)) + 0.5], 1),
        columns=[f"column {i}" for i in range(10_000)],
    ).astype({f"column {i}": str for i in range(9_700, 10_000)})
    frame = pd.concat([frame, (frame["column 0"] > 0).rename("y")], axis=1)
    kinds = {f"column {i}": "category" for i in range(9_700, 10_000)}
    before, began = peak_mb(), time.perf_counter()
    dls = TabularDataLoaders.from_df(frame, "y", kinds=kinds)
    learn = tabular_learner(dls, **SMALL)
    learn.fit_one_cycle(1, progress=False)
    made = learn.predict(frame.head(5))
    seconds, memory = time.perf_counter() - began, peak_mb() - before
    assert "and 9,940 more columns" in said()
    assert len(made) == 5 and dls.table.n_numbers == 9_700 and len(dls.table.cardinalities) == 300
    assert seconds < 60 and memory < 1000, f"{seconds:.1f} s, {memory:.0f} MB"


@pytest.mark.slow
@pytest.mark.parametrize("words", [False, True], ids=["codes", "words"])
@pytest.mark.parametrize("n_rows", [200_000, 300_000])
def test_a_category_of_200_000_values(n_rows, words, said):
    places = np.r_[np.arange(200_000), RNG.integers(0, 200_000, n_rows - 200_000)]
    letters = str.maketrans("0123456789", "abcdefghij") if words else {}
    values = [f"v{i:06}".translate(letters) for i in places]
    frame = pd.DataFrame({"c": values, "x": RNG.normal(size=n_rows)}).sample(frac=1, random_state=0)
    frame["y"] = frame["x"] > 0
    before, began = peak_mb(), time.perf_counter()
    dls = TabularDataLoaders.from_df(frame, "y", kinds={"c": "category"} if n_rows == 200_000 else None)
    seconds, memory = time.perf_counter() - began, peak_mb() - before
    assert dls.table.columns["c"].text == words and len(dls.table.columns["c"].values_) <= 10_000
    assert seconds < 60 and memory < 1500, f"{seconds:.1f} s, {memory:.0f} MB"
    learn = tabular_learner(dls, **SMALL)
    learn.fit_one_cycle(0.1, progress=False)
    assert len(learn.predict(frame.head(1000))) == 1000
    print(f"\n{n_rows:,} rows: encoded in {seconds:.1f} s, {memory:.0f} MB above")
