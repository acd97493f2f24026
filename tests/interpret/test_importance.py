"""Permutation importance: what the model uses, all of a column at once, and nothing else changes."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import copied, mlp, same
from hypothesis import given
from hypothesis import strategies as hyp
from torch import nn

from tipsai import DataLoaders, Learner, toys
from tipsai.core.errors import SettingError
from tipsai.core.state import Batch
from tipsai.interpret.importance import associations, permuted
from tipsai.tabular import TabularDataLoaders, tabular_learner
from tipsai.vision import ImageDataLoaders, vision_learner


def _linear(weight, n=3000, seed=0):
    """A model that is right about y = x @ weight."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, len(weight), generator=g)
    model = nn.Linear(len(weight), 1, bias=False)
    model.weight.data = torch.tensor([weight])
    y = x @ model.weight.detach().T
    return Learner(DataLoaders.from_tensors((x, y), (x, y)), model, lr=0.1, device="cpu", seed=0)


def test_of_a_linear_model_it_is_twice_the_variance_of_its_term():
    frame = _linear([0.5, 0.0, 2.0, 1.0]).interpret().importance(n_repeats=10, n=3000)
    assert frame["column"].tolist() == [2, 3, 0, 1] and list(frame) == [
        "column",
        "importance",
        "low",
        "high",
        "shared_with",
    ]
    np.testing.assert_allclose(frame["importance"], [8, 2, 0.5, 0], rtol=0.1, atol=1e-9)
    np.testing.assert_allclose(
        frame["high"] - frame["low"], 2 * 1.96 * frame["importance"] * (2 / 3000) ** 0.5, rtol=0.25, atol=1e-9
    )
    assert (frame["shared_with"] == "").all()


def test_its_intervals_hold_the_truth_as_often_as_they_say():
    held = 0
    for seed in range(60):
        frame = _linear([1.0, 0.5], n=300, seed=seed).interpret().importance(n=300, seed=seed)
        held += int((frame["low"] <= [2, 0.5]).all() and (frame["high"] >= [2, 0.5]).all())
    assert held >= 50  # both of two


@given(n=hyp.integers(2, 30), seed=hyp.integers(0, 1000))
def test_a_column_is_permuted_whole_and_the_others_stay(n, seed):
    g = torch.Generator().manual_seed(seed)
    batch = Batch(
        (torch.randn(n, 4, generator=g), torch.randn(n, 3, 5, generator=g), torch.randn(n, generator=g)),
        (torch.arange(n),),
    )
    before = [t.clone() for t in batch.x]
    order = torch.randperm(n, generator=g)
    made = permuted(batch, [(0, slice(1, 3)), (1, slice(2, 3))], order)
    assert torch.equal(made.x[0][:, 1:3], batch.x[0][order, 1:3]) and torch.equal(made.x[1][:, 2], batch.x[1][order, 2])
    assert torch.equal(made.x[0][:, [0, 3]], batch.x[0][:, [0, 3]]) and torch.equal(made.x[1][:, :2], batch.x[1][:, :2])
    assert made.x[2] is batch.x[2] and made.y is batch.y
    assert all(torch.equal(t, b) for t, b in zip(batch.x, before, strict=True))


# --- tables -------------------------------------------------------------------------------------------------------------


def _table():
    rng = np.random.default_rng(0)
    n = 1200
    frame = pd.DataFrame(
        {
            "town": rng.choice(["Aachen", "Bergamo", "Coimbra"], n),
            "income": np.where(rng.random(n) < 0.3, np.nan, rng.normal(40, 9, n)),
            "name": [" ".join(rng.choice(list("abcdefgh"), 3)) + " of oak" for _ in range(n)],
            "seen": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"),
            "own": rng.choice(["yes", "no"], n),
        }
    )
    frame["city_code"] = frame["town"].map({"Aachen": "AC", "Bergamo": "BG", "Coimbra": "CO"})
    frame["dollars"] = frame["income"] * 1.1
    frame["bought"] = rng.choice(["yes", "no"], n)
    return frame


def test_the_parts_of_a_column_are_all_that_is_made_of_it():
    frame = _table()
    dls = TabularDataLoaders.from_df(frame, "bought", valid=0.5)
    table, x = dls.table, next(iter(dls.valid.batches())).x
    parts = table.column_parts()
    assert list(parts) == list(table.columns) and [at for at, _ in parts["name"]] == [0, 3]
    owner = [[[] for _ in range(t.shape[1])] for t in x]
    for name, places in parts.items():
        for at, where in places:
            for i in range(*where.indices(x[at].shape[1])):
                owner[at][i].append(name)
    assert all(len(names) == 1 for tensor in owner for names in tensor)  # every input belongs to one column
    rows = frame.iloc[:50]
    plain = table.encode_frame(rows).take(slice(None)).x
    for name in parts:  # another value in a column changes its own parts and no other
        other = rows.assign(**{name: rows[name].to_numpy()[::-1]})
        changed = table.encode_frame(other).take(slice(None)).x
        for at, (a, b) in enumerate(zip(plain, changed, strict=True)):
            for i in range(a.shape[1]):
                assert owner[at][i] == [name] or torch.equal(a[:, i], b[:, i])
        order = torch.arange(49, -1, -1)
        made = permuted(Batch(plain, ()), parts[name], order).x
        assert all(torch.equal(a, b) for a, b in zip(made, changed, strict=True))


def test_columns_that_say_the_same_are_noted():
    dls = TabularDataLoaders.from_df(_table(), "bought", valid=0.5)
    frame = tabular_learner(dls, seed=0, device="cpu", width=8, depth=1).interpret().importance(n_repeats=1)
    shared = dict(zip(frame["column"], frame["shared_with"], strict=True))
    assert shared["town"] == "city_code" and shared["city_code"] == "town"
    assert shared["income"] == "dollars" and shared["dollars"] == "income"
    assert shared["own"] == shared["seen"] == ""


def test_what_a_trained_table_uses_matters():
    toy = toys.table(1500, "regression", noise=20.0)
    frame = toy.frame.assign(noise=np.random.default_rng(0).normal(size=1500))
    learn = tabular_learner(TabularDataLoaders.from_df(frame, toy.target, valid=0.3), seed=0, device="cpu", width=32)
    learn.fit_one_cycle(12, progress=False)
    found = learn.interpret().importance(n_repeats=3).set_index("column")
    assert found.index[0] == "area_m2" and found.loc["district", "low"] > 0 and found.loc["balcony_m2", "low"] > 0
    assert found.loc["noise", "importance"] < 0.05 * found.loc["district", "importance"]
    assert found.index.size == 7


# --- association --------------------------------------------------------------------------------------------------------


@given(seed=hyp.integers(0, 1000))
def test_association_is_symmetric_and_within_0_and_1(seed):
    g = torch.Generator().manual_seed(seed)
    columns = [
        torch.randn(200, generator=g),
        torch.randint(0, 5, (200,), generator=g),
        torch.zeros(200),
        torch.zeros(200).long(),
    ]
    columns += [columns[0] ** 3, 4 - columns[1], (columns[0] > 0).float(), torch.arange(200)]
    found = associations(columns)
    np.testing.assert_allclose(found, found.T)
    assert (found >= 0).all() and (found <= 1 + 1e-9).all() and (found.diagonal() == 0).all()
    assert found[0, 4] == pytest.approx(1) and found[1, 5] == pytest.approx(1, abs=1e-6)
    assert (found[2] == 0).all() and (found[3] == 0).all()


def test_independent_columns_are_not_associated_and_a_group_tells_its_number():
    g = torch.Generator().manual_seed(0)
    group = torch.randint(0, 60, (1000,), generator=g)
    columns = [
        group,
        torch.randint(0, 60, (1000,), generator=g),
        torch.randn(1000, generator=g),
        group + 0.01 * torch.randn(1000, generator=g),
    ]
    found = associations(columns)
    assert found[0, 1] < 0.2 and found[0, 2] < 0.2 and found[0, 3] > 0.99 and found[1, 3] < 0.2


# --- what it leaves alone -----------------------------------------------------------------------------------------------


class Noisy(nn.Module):
    """Draws random numbers in evaluation too."""

    def __init__(self):
        super().__init__()
        self.net = mlp(norm=True, dropout=0.5)

    def forward(self, x):
        assert not self.training and not torch.is_grad_enabled()
        return self.net(x) + 0 * torch.rand(())


def test_model_generators_and_mode_are_as_they_were():
    x, y = torch.randn(50, 5), torch.randint(0, 3, (50,))
    learn = Learner(DataLoaders.from_tensors((x, y), (x, y)), Noisy(), lr=0.1, device="cpu", seed=0)
    interp = learn.interpret()
    learn.model.train()
    weights, state = copied(learn.model), (random.getstate(), torch.get_rng_state())
    first = interp.importance(n_repeats=2)
    assert learn.model.training and same(weights, copied(learn.model))
    assert random.getstate() == state[0] and torch.equal(torch.get_rng_state(), state[1])
    assert first.equals(interp.importance(n_repeats=2)) and not first.equals(interp.importance(n_repeats=2, seed=1))


class Closed:
    """A split that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} of the test split was asked for")


def test_test_data_stay_closed():
    learn = _linear([1.0, 2.0], n=200)
    learn.dls.test = Closed()
    interp = learn.interpret()
    interp.importance(n_repeats=1), interp.by_slice(), interp.by_slice(0)
    assert not learn.test_looks


def test_many_classes_are_asked_about_a_piece_at_a_time():
    seen = []

    class Wide(nn.Linear):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    x, y = torch.randn(1500, 3), torch.arange(1500)
    interp = Learner(DataLoaders.from_tensors((x, y), (x, y)), Wide(3, 1500), lr=0.1, device="cpu").interpret()
    seen.clear()
    assert len(interp.importance(n_repeats=1, n=1500)) == 3
    assert seen == [1024, 476] * 4


def test_what_has_no_columns_and_wrong_numbers_are_refused():
    toy = toys.images(40, size=16)
    dls = ImageDataLoaders.from_arrays((toy.x.permute(0, 2, 3, 1).numpy(), toy.y.numpy()), 0.5)
    with pytest.raises(
        SettingError, match=r"these items have no columns; tables have some, and tensors x \[n, columns\]"
    ):
        vision_learner(dls, seed=0, device="cpu").interpret().importance()
    interp = _linear([1.0], n=30).interpret()
    for options in ({"n_repeats": 0}, {"n": 1}, {"n": 2.5}):
        (name,) = options
        with pytest.raises(SettingError, match=f"{name} is {options[name]}; expected a whole number of at least"):
            interp.importance(**options)
