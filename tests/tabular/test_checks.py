"""What the doctor says of tables. Whole runs stand in tests/doctor/gallery_modalities.py."""

import numpy as np
import pandas as pd
import pytest
from doctor.gallery_modalities import patients, sales, shops, table

from tipsai import group_split, load_learner, random_split
from tipsai.doctor import CHECKS as GENERAL
from tipsai.tabular import TabularDataLoaders
from tipsai.tabular.checks import CHECKS
from tipsai.tabular.raw import MOST_ROWS, sampled

RNG = np.random.default_rng(123)  # not the seed of the split


def found(frame, target="amount", **options):
    """The findings of the tables' own checks."""
    learn = table(TabularDataLoaders.from_df(frame, target, **options), 0)
    said = learn.check(silent=[check.code for check in GENERAL], progress=False)
    assert not said.failed
    return {finding.code: finding for finding in said}


def spoilt(cities, share=0.06):
    frame = sales(0, cities=["Paris", "London", "Berlin"])
    at = RNG.permutation(len(frame))[: int(share * len(frame))]
    frame.loc[at, "city"] = [cities[i % len(cities)] for i in range(len(at))]
    return frame


# --- spellings ------------------------------------------------------------------------------------------------------


def test_the_likely_duplicates_are_listed_and_the_fix_mends_them():
    frame = spoilt(["Pariss", "Lonndon", "Berlni", "PARIS"])
    finding = found(frame)["dirty-categories"]
    assert (finding.tip, finding.severity) == ("TA02", "warning")
    assert "'PARIS' ~ 'Paris'" in finding.message and "'Lonndon' ~ 'London'" in finding.message
    exec(finding.fix, {"df": frame})  # noqa: S102  the fix is meant to be pasted
    assert set(frame["city"]) == {"Paris", "London", "Berlin"}
    assert "dirty-categories" not in found(frame)


def test_a_value_whose_targets_differ_is_another_one():
    """As ISLAND and INLAND, a letter apart, of the houses of California."""
    frame = sales(0, cities=["inland", "coast"])
    frame.loc[frame.index[:20], ["city", "amount"]] = ["island", 500.0]
    assert "dirty-categories" not in found(frame, splitter=lambda df: random_split(len(df), seed=1))


def test_a_single_doubtful_value_is_worth_advice_where_it_has_rows():
    assert found(spoilt(["Berlni"], 0.025))["dirty-categories"].severity == "advice"
    assert "dirty-categories" not in found(spoilt(["Berlni"], 0.005))


@pytest.mark.parametrize(
    "values",
    [
        ["A1", "A2", "A11", "B1"],
        ["1999", "1998", "2001"],
        ["<=50K", ">50K"],
        ["yes", "Yes", "no"],
        ["US", "us", "UK"],
        ["Iran", "Iraq", "Italy"],
        ["Austria", "Australia", "Slovenia", "Slovakia"],
    ],
    ids=str,
)
def test_distinct_values_are_left_in_peace(values):
    frame = sales(0)
    frame["code"] = RNG.choice(values, len(frame))
    assert "dirty-categories" not in found(frame, kinds={"code": "category"} if "yes" not in values else {})


# --- new categories -------------------------------------------------------------------------------------------------


def test_a_column_that_is_mostly_new_in_validation_is_named():
    finding = found(shops(0), splitter=lambda df: group_split(df["shop"], valid=0.25))["unknown-categories"]
    assert finding.severity == "warning" and "column 'shop'" in finding.message and "100% of" in finding.message
    assert "ignore=['shop']" in finding.fix


def test_new_values_in_test_inputs_are_named_by_their_split():
    other = sales(1, 200, ["Paris", "Oslo", "Rome"])
    finding = found(sales(0, cities=["Paris", "Madrid"]), test_df=other)["unknown-categories"]
    assert "test rows, such as 'Oslo'" in finding.message or "test rows, such as 'Rome'" in finding.message
    assert finding.evidence["found"]["city in test"]["rows"] == 200


def test_as_many_new_values_as_chance_gives_are_no_matter():
    frame = sales(0, 2000)
    frame["street"] = [f"street {chr(97 + i % 26)}{i}" for i in (1 / RNG.random(2000) ** 1.2).astype(int)]
    assert "unknown-categories" not in found(frame)


# --- groups ---------------------------------------------------------------------------------------------------------


def test_groups_are_told_with_a_split_that_keeps_them_together():
    frame = patients(0)
    finding = found(frame, "ill")["groups-across-split"]
    assert (finding.tip, finding.severity) == ("DA15", "warning")
    assert "If new data will bring new patient, split by it" in finding.fix
    assert "tipsai.group_split(df['patient'], valid=0.2)" in finding.fix
    apart = found(frame, "ill", ignore=["patient"], splitter=lambda df: group_split(df["patient"], valid=0.2))
    assert "groups-across-split" not in apart


def test_groups_that_no_input_shows_are_no_leak():
    frame = patients(0).drop(columns=["age", "height"])
    frame["pressure"] = RNG.normal(120, 10, len(frame))
    frame["mood"] = RNG.normal(size=len(frame))
    assert "groups-across-split" not in found(frame, "ill", ignore=["patient"])


def test_groups_that_the_test_brings_again_are_no_leak():
    frame = patients(0)
    assert "groups-across-split" not in found(frame[:500], "ill", test_df=frame[500:])


def test_groups_that_the_test_does_not_know_are_told_however_the_rows_were_divided():
    frame = patients(0, 160)
    new = frame["patient"] > frame["patient"].quantile(0.75)
    finding = found(frame[~new][100:], "ill", valid_df=frame[~new][:100], test_df=frame[new])["groups-across-split"]
    assert finding.severity == "warning" and "of 100% of the test rows it is new" in finding.message


@pytest.mark.parametrize("seed", range(3))
def test_numbers_and_categories_that_mean_something_are_no_groups(seed):
    rng = np.random.default_rng(seed)
    frame = sales(seed, 1200)
    frame["age"] = rng.integers(18, 80, len(frame))
    frame["amount"] += 0.5 * frame["age"] + 10 * np.sin(frame["age"] / 6)
    frame["visit_no"] = rng.integers(1, 200, len(frame))
    frame["street"] = rng.choice([f"{chr(97 + i % 26)} street {chr(97 + i // 26)}" for i in range(150)], len(frame))
    assert "groups-across-split" not in found(frame)


# --- dates ----------------------------------------------------------------------------------------------------------


def dated(n=600):
    frame = sales(0, n)
    frame["sold"] = pd.Timestamp("2021-01-01") + pd.to_timedelta(np.sort(RNG.integers(0, 700, n)), unit="D")
    return frame


def test_a_test_that_is_later_asks_for_a_validation_that_is():
    frame = dated()
    finding = found(frame[:480], test_df=frame[480:])["dates-across-split"]
    assert finding.severity == "warning" and "test rows are later by 'sold'" in finding.message
    assert "tipsai.time_split(df['sold'], valid=0.2)" in finding.fix


def test_without_a_test_it_is_advice_and_a_split_by_time_is_none():
    frame = dated()
    assert found(frame)["dates-across-split"].severity == "advice"
    assert "dates-across-split" not in found(frame[:480], valid_df=frame[480:])


def test_a_test_of_the_same_time_is_no_matter():
    frame = dated().sample(frac=1, random_state=0)
    assert "dates-across-split" not in found(frame[:480], test_df=frame[480:])


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_rows_are_sampled_without_targets_and_weights():
    raw = sampled(pd.DataFrame({"a": range(50_000), "y": 0, "w": 1.0}), ["y", "w"])
    assert list(raw.frame) == ["a"] and len(raw.frame) == MOST_ROWS and raw.n_rows == 50_000
    assert np.array_equal(raw.frame["a"], raw.places) and raw.places[-1] == 49_999
    wide = sampled(pd.DataFrame(np.zeros((3000, 1500))), [])
    assert len(wide.frame) == 1333


def test_the_test_part_that_checks_see_has_no_targets():
    dls = TabularDataLoaders.from_df(sales(0), "amount", test_df=sales(1))
    assert set(dls.raw) == {"train", "valid", "test"} and "amount" not in dls.raw["test"].frame


def test_checks_do_without_the_raw_rows(tmp_path):
    learn = table(TabularDataLoaders.from_df(spoilt(["PARIS"]), "amount"), 0)
    learn.export(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", device="cpu")
    assert again.dls.raw == {} and again.dls.table.checks == CHECKS
    said = learn.check(silent=[check.code for check in GENERAL], progress=False)
    assert [f.code for f in said] == ["dirty-categories"]
    learn.dls.raw = {}
    said = learn.check(silent=[check.code for check in GENERAL], progress=False)
    assert said == [] and not said.failed


def test_like_loaders_are_checked_as_well():
    first = TabularDataLoaders.from_df(sales(0), "amount")
    learn = table(TabularDataLoaders.from_df(spoilt(["PARIS"]), "amount", like=first), 0)
    assert "dirty-categories" in [f.code for f in learn.check(progress=False)]
