"""Slices: planted ones are found, chance alone is not, whatever the items are."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as hyp
from torch import nn

from tipsai import DataLoaders, Learner, losses, toys
from tipsai.core.errors import SettingError
from tipsai.interpret.slices import sliced
from tipsai.intervals import wilson
from tipsai.tabular import TabularDataLoaders, tabular_learner
from tipsai.vision import ImageDataLoaders, vision_learner


def _interpreted(pred, y, **options):
    dls = DataLoaders.from_tensors((pred, y), (pred, y))
    return Learner(dls, nn.Identity(), lr=0.1, device="cpu", seed=0, **options).interpret()


def _wrong(share, seed=0):
    """Logits of two classes that are wrong with a probability each."""
    g = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(share), generator=g) < share
    y = torch.randint(0, 2, (len(share),), generator=g)
    said = torch.where(wrong, 1 - y, y)
    return nn.functional.one_hot(said, 2) * 2.0, y


# --- cutting ------------------------------------------------------------------------------------------------------------


def test_names_stand_by_themselves_the_frequent_first_and_the_missing_last():
    codes, names = sliced(["b", None, "a", "b", "c", "a", float("nan"), "b"], 5)
    assert names == ["b", "a", "c", "missing"] and codes.tolist() == [0, 3, 1, 0, 2, 1, 3, 0]
    codes, names = sliced([True, False, True], 5)
    assert names == ["True", "False"] and codes.tolist() == [0, 1, 0]


def test_numbers_make_bins_of_equal_mass_and_few_of_them_do_not():
    values = np.r_[np.arange(100.0), [np.nan] * 3]
    codes, names = sliced(values, 4)
    assert names == ["0 to 24", "25 to 49", "50 to 74", "75 to 99", "missing"]
    assert np.bincount(codes).tolist() == [25, 25, 25, 25, 3]
    assert sliced([3, 1, 1, 2], 3)[1] == ["1", "2", "3"]
    assert sliced([0.0] * 90 + list(range(1, 11)), 3)[1] == ["0", "1 to 10"]  # nine in ten are one value


def test_dates_make_bins_by_day_or_by_minute():
    days = pd.Series(pd.date_range("2024-01-01", periods=40)).where(np.arange(40) != 7)
    assert sliced(days, 2)[1] == ["2024-01-01 to 2024-01-20", "2024-01-21 to 2024-02-09", "missing"]
    minutes = pd.Series(pd.date_range("2024-01-01", periods=4, freq="min"))
    assert sliced(minutes, 2)[1] == ["2024-01-01T00:00 to 2024-01-01T00:01", "2024-01-01T00:02 to 2024-01-01T00:03"]


@given(
    hyp.lists(hyp.one_of(hyp.none(), hyp.floats(allow_infinity=True), hyp.integers(-3, 3)), min_size=1),
    hyp.integers(1, 6),
)
def test_every_item_has_one_slice_and_numbers_are_in_order(values, n_bins):
    codes, names = sliced(np.array(values, float), n_bins)
    gone = np.isnan(np.array(values, float))
    assert set(codes) == set(range(len(names))) and len(codes) == len(values)
    assert (names[-1] == "missing") == gone.any() and len(names) - gone.any() <= n_bins
    kept, order = codes[~gone], np.argsort(np.array(values, float)[~gone], kind="stable")
    assert (np.diff(kept[order]) >= 0).all()


# --- figures ------------------------------------------------------------------------------------------------------------


def test_the_figures_of_a_slice_are_those_of_its_items():
    source = np.array(["phone", "scanner", "phone", "fax"] * 50)
    pred, y = _wrong(torch.full((200,), 0.3))
    interp = _interpreted(pred, y)
    frame = interp.by_slice(list(source))
    assert list(frame) == [
        *("slice", "n", "loss", "loss_low", "loss_high", "error_rate", "error_rate_low", "error_rate_high"),
        *("difference", "difference_low", "difference_high", "differs"),
    ]
    assert frame["slice"].tolist() == ["phone", "fax", "scanner"] and frame["n"].tolist() == [100, 50, 50]
    loss, wrong = interp.items["loss"].numpy(), (pred.argmax(1) != y).numpy()
    for row in frame.itertuples():
        among = source == row.slice
        assert row.loss == pytest.approx(loss[among].mean()) and row.error_rate == wrong[among].mean()
        ends = tuple(map(float, wilson(wrong[among].sum(), row.n)))
        assert (row.error_rate_low, row.error_rate_high) == pytest.approx(ends)
        assert row.loss_low < row.loss < row.loss_high
        assert row.difference == pytest.approx(wrong[among].mean() - wrong[~among].mean())
    for same in (
        source,
        pd.Series(source, index=range(7, 207)),
        torch.tensor([{"phone": 0, "fax": 1}.get(s, 2) for s in source]),
    ):
        assert interp.by_slice(same)["loss"].tolist() == frame["loss"].tolist()


def test_the_figures_of_numbers_are_in_their_units():
    g = torch.Generator().manual_seed(0)
    y, noise = torch.randn(400, generator=g), torch.randn(400, generator=g)
    night = np.arange(400) % 4 == 0
    frame = _interpreted(y + torch.where(torch.tensor(night), 3, 1) * noise, y).by_slice(night)
    rmse = [float((noise[~night] ** 2).mean() ** 0.5), float((9 * noise[night] ** 2).mean() ** 0.5)]
    assert frame["slice"].tolist() == ["False", "True"] and frame["rmse"].tolist() == pytest.approx(rmse, rel=1e-5)
    assert (frame["rmse_low"] < frame["rmse"]).all() and (frame["rmse"] < frame["rmse_high"]).all()
    assert frame["loss"].tolist() == pytest.approx(
        [r**2 for r in rmse], rel=1e-5
    )  # the difference is that of the losses
    assert frame["difference"].tolist() == pytest.approx(
        [rmse[0] ** 2 - rmse[1] ** 2, rmse[1] ** 2 - rmse[0] ** 2], rel=1e-5
    )
    assert frame["differs"].all()


def test_of_labels_and_masks_the_share_that_is_wrong_counts_and_of_others_the_loss():
    g = torch.Generator().manual_seed(0)
    pred, y = torch.randn(60, 4, generator=g), torch.rand(60, 4, generator=g) < 0.5
    half = np.arange(60) < 30
    frame = _interpreted(pred, y).by_slice(half)
    assert frame["error_rate"].tolist() == pytest.approx(
        [float(((pred > 0) != y)[m].double().mean()) for m in (~half, half)]
    )
    pred, y = torch.randn(20, 3, 4, 4, generator=g), torch.randint(0, 3, (20, 4, 4), generator=g)
    y[0] = -100  # a mask of which nothing is known
    frame = _interpreted(pred, y).by_slice([0] * 10 + [1] * 10)
    assert frame["n"].tolist() == [9, 10]
    assert frame["error_rate"][1] == pytest.approx(float((pred.argmax(1) != y)[10:].double().mean()))
    frame = _interpreted(torch.randn(10, 3, 5), torch.randint(0, 3, (10, 5))).by_slice([0, 1] * 5)
    assert [name for name in frame if "error" in name or "rmse" in name] == [] and len(frame) == 2


def test_items_without_a_target_do_not_count():
    pred, y = _wrong(torch.full((40,), 0.5))
    y[:10] = -100
    frame = _interpreted(pred, y, loss_fn=losses.CrossEntropy()).by_slice(["old"] * 20 + ["new"] * 20)
    assert dict(zip(frame["slice"], frame["n"], strict=True)) == {"new": 20, "old": 10}


# --- what differs -------------------------------------------------------------------------------------------------------


def test_the_planted_slice_differs_and_the_others_do_not():
    camera = np.random.default_rng(0).integers(0, 8, 1500)
    frame = _interpreted(*_wrong(torch.where(torch.tensor(camera) == 5, 0.3, 0.08))).by_slice(camera, n_bins=8)
    assert frame[frame["differs"]]["slice"].tolist() == ["5"] and frame["difference_low"][5] > 0


def test_without_a_column_the_worst_slices_of_all_columns_come_first():
    g = torch.Generator().manual_seed(0)
    x = torch.stack(
        [torch.randn(2000, generator=g), torch.randint(0, 3, (2000,), generator=g), torch.rand(2000, generator=g)], 1
    )
    _, y = _wrong(torch.zeros(2000))
    wrong = torch.rand(2000, generator=g) < torch.where(x[:, 2] > 0.8, 0.35, 0.05)

    class Known(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(torch.where(wrong, 1 - y, y), 2) * 3.0

    dls = DataLoaders.from_tensors((x, y), (x, y), bs=2000)
    dls.valid.bs = 2000
    interp = Learner(dls, Known(), lr=0.1, device="cpu").interpret()
    frame = interp.by_slice()
    assert list(frame)[:2] == ["column", "slice"] and len(frame) == 5 + 3 + 5
    assert frame["column"][0] == 2 and frame["differs"][0] and frame["slice"][0].startswith("0.78")
    assert (
        frame["difference_low"].is_monotonic_decreasing
        and (frame["column"][frame["differs"] & (frame["difference"] > 0)] == 2).all()
    )
    one = interp.by_slice(2)
    assert one["slice"].tolist() == frame[frame["column"] == 2].sort_values("slice")["slice"].tolist()
    assert (one["difference_low"].iloc[-1]) > frame["difference_low"][0]  # fewer slices are compared


def test_of_a_model_without_a_weakness_no_slice_differs():
    alarms = 0
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        pred, y = _wrong(torch.full((600,), 0.1), seed)
        x = torch.randn(600, 12, generator=g)
        interp = _interpreted(pred, y)
        interp.loader = DataLoaders.from_tensors((x, y)).train.plain()
        alarms += int(interp.by_slice()["differs"].any())
    assert alarms <= 1


# --- tables and pictures ------------------------------------------------------------------------------------------------


def _flats(n=700):
    toy = toys.table(n)
    frame = toy.frame.copy()
    frame.loc[frame.index % 9 == 0, "district"] = None
    dls = TabularDataLoaders.from_df(frame[:500], target=toy.target, valid_df=frame[500:].assign(lift="what"))
    return frame[500:], tabular_learner(dls, seed=0, device="cpu", width=16, depth=1).interpret()


def test_a_tables_columns_are_those_that_were_given():
    rows, interp = _flats()
    for name in ("balcony_m2", "district"):
        frame = interp.by_slice(name)
        assert frame.iloc[-1]["slice"] == "missing" and frame.iloc[-1]["n"] == rows[name].isna().sum()
    counts = rows["district"].value_counts()
    assert dict(zip(frame["slice"], frame["n"], strict=True)) == {
        **counts.to_dict(),
        "missing": rows["district"].isna().sum(),
    }
    assert interp.by_slice("lift")["slice"].tolist() == ["rare or new"]
    assert interp.by_slice("listed", n_bins=3)["n"].between(60, 73).all()
    areas = interp.by_slice("area_m2", n_bins=2)
    assert areas["slice"][0] == f"{rows['area_m2'].min():.6g} to {rows['area_m2'].sort_values().iloc[99]:.6g}"
    worst = interp.by_slice()
    assert (
        set(worst["column"]) <= set(interp.dls.table.columns)
        and (worst["n"] >= 10).all()
        and "lift" not in set(worst["column"])
    )


def test_a_column_that_is_not_there_is_named():
    rows, interp = _flats(600)
    with pytest.raises(
        SettingError, match=r"no column 'distric'; expected one of 'area_m2', .* Did you mean 'district'\?"
    ):
        interp.by_slice("distric")
    with pytest.raises(
        SettingError, match="column has 3 values and the split 100 items; expected one value for each item"
    ):
        interp.by_slice([1, 2, 3])
    assert len(interp.by_slice(rows["dear"])) == 2  # the target is no column, and a slice all the same


def test_pictures_are_sliced_by_values_that_are_given():
    toy = toys.images(80, size=16)
    dls = ImageDataLoaders.from_arrays((toy.x.permute(0, 2, 3, 1).numpy(), toy.y.numpy()), 0.5)
    interp = vision_learner(dls, seed=0, device="cpu").interpret()
    frame = interp.by_slice(["left", "right"] * 20)
    assert frame["n"].tolist() == [20, 20]
    with pytest.raises(SettingError, match="these items have no columns; .* Give a value for each item of the split"):
        interp.by_slice()


def test_texts_have_no_columns_but_values():
    from tipsai.text import TextDataLoaders, text_classifier_learner

    frame = pd.DataFrame(
        {"text": [f"{'good' if i % 2 else 'bad'} film {i % 5}" for i in range(80)], "mood": [i % 2 for i in range(80)]}
    )
    interp = text_classifier_learner(
        TextDataLoaders.from_df(frame, "text", "mood", valid=0.5), device="cpu", seed=0
    ).interpret()
    assert interp.by_slice(["a"] * 20 + ["b"] * 20)["n"].tolist() == [20, 20]
    with pytest.raises(SettingError, match="these items have no columns; tables have some"):
        interp.by_slice("text")


def test_too_few_items_for_any_slice_are_refused():
    pred, y = _wrong(torch.full((12,), 0.5))
    with pytest.raises(SettingError, match="no column parts these 12 items into slices of at least 10"):
        _interpreted(torch.randn(12, 2) + pred, y).by_slice()
