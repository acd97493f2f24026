"""tabular_learner from end to end: every task trains, predicts in the target's own values, and comes back from a file."""

import inspect
import logging

import numpy as np
import pandas as pd
import pytest
import torch

from tipsai import load_learner
from tipsai.core.errors import SettingError
from tipsai.core.state import Batch
from tipsai.losses import CrossEntropy, MeanSquaredError
from tipsai.tabular import TabularDataLoaders, TabularModel, tabular_learner
from tipsai.tabular.losses import MemberLoss

N = 120
RNG = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "a": RNG.normal(size=N),
        "b": np.array(["u", "v", "w"])[RNG.integers(0, 3, N)],
        "town": np.array([f"town {i}" for i in range(12)])[RNG.integers(0, 12, N)],
        "when": pd.Timestamp("2021-01-01") + pd.to_timedelta(RNG.integers(0, 400, N), unit="D"),
        "flag": RNG.integers(0, 2, N).astype(bool),
    },
    index=np.arange(N) + 500,
)
X.loc[505, "a"] = np.nan
TASKS = {
    "binary text": ({"y": np.where(X["a"] > 0, "up", "down")}, "y"),
    "binary bool": ({"y": X["a"] > 0}, "y"),
    "binary int": ({"y": (X["a"] > 0).astype(int)}, "y"),
    "classes": ({"y": X["b"].map({"u": 10, "v": 20, "w": 30})}, "y"),
    "regression": ({"y": 1000 + 50 * X["a"].fillna(0)}, "y"),
    "regressions": ({"y": 1000 + 50 * X["a"].fillna(0), "z": X["a"].fillna(0) - 3}, ["y", "z"]),
    "multilabel": ({"y": X["a"] > 0, "z": np.where(X["b"] == "u", "yes", "no")}, ["y", "z"]),
}
SMALL = {"n_members": 2, "width": 16, "seed": 0}


def trained(name, n_epochs=1, **options):
    columns, target = TASKS[name]
    dls = TabularDataLoaders.from_df(X.assign(**columns), target, bs=32)
    learn = tabular_learner(dls, **(SMALL | options))
    learn.fit_one_cycle(n_epochs, progress=False)
    return learn


@pytest.fixture(scope="module")
def learners():
    return {name: trained(name) for name in TASKS}


@pytest.mark.parametrize("name", TASKS)
def test_a_reloaded_learner_predicts_alike(name, learners, tmp_path):
    learn = learners[name]
    learn.export(tmp_path / "model.tips")
    again = load_learner(tmp_path / "model.tips")
    assert again.dls.task == learn.dls.task
    made, before = again.predict(X), learn.predict(X)
    pd.testing.assert_frame_equal(made, before, rtol=1e-6, atol=1e-6)
    assert made.index.tolist() == X.index.tolist()
    with pytest.raises(SettingError, match="no train data"):
        again.fit_one_cycle(1, progress=False)


@pytest.mark.parametrize("name", ["binary text", "binary bool", "binary int", "classes"])
def test_classes_come_back_in_their_own_type_with_probabilities(name, learners):
    made = learners[name].predict(X)
    labels = sorted(set(TASKS[name][0]["y"]))
    assert made.columns.tolist() == ["prediction", *(f"p_{label}" for label in labels)]
    assert set(map(type, made["prediction"].tolist())) <= {type(label) for label in np.array(labels).tolist()}
    probabilities = made.drop(columns="prediction").to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert [labels[i] for i in probabilities.argmax(1)] == made["prediction"].tolist()


def test_several_labels_are_named(learners):
    made = learners["multilabel"].predict(X)
    assert made.columns.tolist() == ["prediction", "p_y", "p_z"]
    for labels, p_y, p_z in made.itertuples(index=False):
        assert labels == ["y"] * (p_y > 0.5) + ["z"] * (p_z > 0.5)


def test_several_numbers_are_named(learners):
    made = learners["regressions"].predict(X)
    assert made.columns.tolist() == ["prediction_y", "prediction_z"]
    assert made["prediction_y"].mean() == pytest.approx(1000, rel=0.1) and abs(made["prediction_z"].mean() + 3) < 1


def test_a_regression_reports_in_the_targets_units():
    frame = X.assign(y=TASKS["regression"][0]["y"])
    dls = TabularDataLoaders.from_df(frame.head(80), "y", valid_df=frame.tail(40), bs=16)
    learn = tabular_learner(dls, metrics=["rmse", "mae"], **SMALL)
    learn.fit_one_cycle(2, progress=False)
    off = learn.predict(frame.tail(40))["prediction"] - frame["y"].tail(40)
    figures = learn.validate()
    assert figures["valid_loss"] == pytest.approx(float((off**2).mean()), rel=1e-4)
    assert figures["valid_rmse"] == pytest.approx(float((off**2).mean() ** 0.5), rel=1e-4)
    assert figures["valid_mae"] == pytest.approx(float(off.abs().mean()), rel=1e-4)


def test_a_classifications_loss_is_the_log_loss_of_its_probabilities(learners):
    learn = learners["classes"]
    frame = X.assign(y=TASKS["classes"][0]["y"])
    dls = TabularDataLoaders.from_df(frame, "y", valid_df=frame, bs=32)
    again = tabular_learner(dls, metrics="accuracy", **SMALL)
    again.fit_one_cycle(1, progress=False)
    made, figures = again.predict(X), again.validate()
    p = [row[f"p_{label}"] for (_, row), label in zip(made.iterrows(), frame["y"], strict=True)]
    assert figures["valid_loss"] == pytest.approx(float(-np.log(p).mean()), rel=1e-4)
    assert figures["valid_accuracy"] == pytest.approx(float((made["prediction"] == frame["y"]).mean()))
    assert learn.history[-1]["valid_loss"] > 0


def test_every_form_of_rows_predicts_alike(learners, tmp_path):
    learn = learners["binary text"]
    frame = X.astype({"when": str})
    expected = learn.predict(X)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    forms = {
        "csv": tmp_path / "t.csv",
        "parquet": tmp_path / "t.parquet",
        "frame": frame,
        "list": frame.to_dict("records"),
        "columns": {name: column.tolist() for name, column in frame.items()},
    }
    for items in forms.values():
        made = learn.predict(items)
        pd.testing.assert_frame_equal(made.reset_index(drop=True), expected.reset_index(drop=True), atol=1e-6)
    row = learn.predict(X.loc[507])
    assert row.index.tolist() == [507]
    pd.testing.assert_frame_equal(row, expected.loc[[507]], atol=1e-6)
    pd.testing.assert_frame_equal(learn.predict(frame.iloc[7].to_dict()), row.reset_index(drop=True), atol=1e-6)


def test_a_row_of_blanks_is_a_row_of_missing_values(learners):
    """A blank text counts as missing, alone in its table too."""
    learn = learners["binary text"]
    blank = learn.predict({"a": None, "b": " ", "town": " ", "when": "", "flag": None})
    none = learn.predict({"a": None, "b": None, "town": None, "when": None, "flag": None})
    pd.testing.assert_frame_equal(blank, none)


def test_a_seed_fixes_everything():
    first, second = trained("binary text"), trained("binary text")
    for a, b in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    third = trained("binary text", seed=1)
    assert not torch.equal(first.model.output.weight, third.model.output.weight)


def test_training_learns():
    learn = trained("binary text", n_epochs=30, lr=0.01)
    assert (learn.predict(X)["prediction"] == TASKS["binary text"][0]["y"]).mean() > 0.9


@pytest.mark.parametrize("shape", [(6, 3), (6, 2, 3), (6, 5, 3)])
def test_member_loss_is_the_mean_of_the_members_losses(shape):
    pred, y = torch.randn(shape), torch.tensor([0, 1, 2, 0, 1, 1])
    weight = torch.tensor([1.0, 2, 0, 1, 3, 1])
    for base, target in (
        (CrossEntropy(), y),
        (CrossEntropy(class_weight=torch.tensor([1.0, 2, 3])), y),
        (MeanSquaredError(), torch.randn(6, 3)),
    ):
        for rows in ((), (weight,)):
            total, count = MemberLoss(base).sums(pred, target, *rows)
            members = [base.sums(p, target, *rows) for p in (pred.unbind(1) if len(shape) == 3 else [pred])]
            expected = sum(s / w for s, w in members) / len(members)
            torch.testing.assert_close(total / count, torch.as_tensor(expected))
            assert float(count) == pytest.approx(float(members[0][1]))


def gradient(learn, batch):
    learn.model.zero_grad()
    learn.model.train()
    total, weight = learn.loss_fn.sums(learn.model(*batch.x), *batch.y)
    (total / weight).backward()
    return [p.grad.clone() for p in learn.model.parameters()]


@pytest.mark.parametrize("name", ["binary text", "regression", "multilabel"])
def test_a_doubled_weight_is_a_doubled_row(name):
    columns, target = TASKS[name]
    frame = X.assign(**columns, w=np.where(np.arange(N) % 3 == 0, 2.0, 1.0))
    dls = TabularDataLoaders.from_df(frame, target, weights="w", valid=0.0)
    learn = tabular_learner(dls, dropout=0.0, **SMALL)
    learn.model.unknown_rate = 0.0
    torch.nn.init.normal_(learn.model.output.weight)  # which starts at zero, where most gradients are
    weighted = dls.train.rows.take(slice(0, N))
    doubled = dls.train.rows.take(torch.from_numpy(np.r_[np.arange(N), np.flatnonzero(frame["w"] == 2)]))
    one, other = gradient(learn, weighted), gradient(learn, Batch(doubled.x, doubled.y[:1]))
    assert max(float(g.abs().max()) for g in one) > 1e-3
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    unweighted = gradient(learn, Batch(weighted.x, weighted.y[:1]))
    assert not torch.allclose(unweighted[0], one[0], rtol=1e-3)


def test_class_weights_balance_the_classes():
    frame = X.assign(y=["rare"] * 12 + ["often"] * 108)
    dls = TabularDataLoaders.from_df(frame, "y", valid=0.0)
    balanced = tabular_learner(dls, class_weights="balanced", **SMALL).loss_fn.base.class_weight
    assert balanced.tolist() == pytest.approx([120 / (2 * 108), 120 / (2 * 12)])
    given = tabular_learner(dls, class_weights={"rare": 3}, **SMALL).loss_fn.base.class_weight
    assert given.tolist() == [1.0, 3.0]
    for wrong, says in (("balance", "expected 'balanced'"), ({"rar": 2}, "Did you mean 'rare'")):
        with pytest.raises(ValueError, match=says):
            tabular_learner(dls, class_weights=wrong, **SMALL)
    regression = TabularDataLoaders.from_df(X, "a")
    with pytest.raises(SettingError, match="class_weights needs a classification"):
        tabular_learner(regression, class_weights="balanced", **SMALL)


def test_looks_at_the_test_rows_are_counted(caplog, tmp_path):
    frame = X.assign(y=TASKS["binary text"][0]["y"])
    dls = TabularDataLoaders.from_df(frame.head(90), "y", test_df=frame.tail(30))
    learn = tabular_learner(dls, metrics="accuracy", **SMALL)
    caplog.set_level(logging.INFO, "tipsai")
    first = learn.test()
    assert set(first) == {"test_loss", "test_accuracy"} and "look" not in caplog.text
    assert learn.test() == first and "this is look 2 at the same test data" in caplog.text
    learn.export(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", dls=dls)
    again.test()
    assert "this is look 3 at the same test data" in caplog.text


def test_mixup_inside_the_model_trains():
    learn = trained("classes", mixup=0.4)
    assert np.isfinite(learn.history[-1]["train_objective"])


def test_other_loaders_are_refused():
    from tipsai import DataLoaders

    plain = DataLoaders.from_tensors((torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)))
    with pytest.raises(SettingError, match=r"expected TabularDataLoaders, for instance TabularDataLoaders.from_df"):
        tabular_learner(plain)


def test_an_artifact_names_every_argument_so_that_other_defaults_read_it_alike():
    frame = pd.DataFrame({"a": np.arange(50.0), "t": ["x", "y"] * 25})
    learn = tabular_learner(TabularDataLoaders.from_df(frame, "t", kinds={"a": "number"}), seed=0)
    assert learn.builder.arguments.keys() == inspect.signature(TabularModel).parameters.keys()
