"""Faults of how data and steps were prepared: columns filled in afterwards, texts that are written otherwise, steps thrown away."""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from doctor.faults import blobs, draws, fault, healthy, learner, mlp, seeded, split
from torch import nn

from tipsai import Callback, DataLoaders
from tipsai.tabular import TabularDataLoaders, tabular_learner

# --- columns --------------------------------------------------------------------------------------------------------


@fault("known-afterwards")
def a_fee_that_only_who_defaults_is_charged(seed):
    x, _ = blobs(seed, 1200)
    y = (x[:, 0] + torch.randn(1200, generator=draws(seed)) > 1.1).long()
    late = (y == 1) & (torch.rand(1200, generator=draws(seed)) < 0.9)
    x[:, 5] = torch.where(late, torch.rand(1200, generator=draws(seed)) + 0.5, torch.zeros(1200))
    return learner(split(x, y), mlp(seed, k=2), seed)


@healthy
def a_word_that_tells_a_part_of_one_class(seed):
    x, y = blobs(seed, 1200, noise=0.5)
    there = torch.rand(1200, generator=draws(seed)) < torch.where(y == 1, 0.5, 0.05)
    x[:, 5] = there.float()
    return learner(split(x, y), mlp(seed), seed)


def sold(seed, n=900):
    """A table of things that were sold by many."""
    rng = np.random.default_rng(seed)
    weight, age = rng.gamma(3, 2, n).round(1), rng.integers(1, 20, n)
    price = (50 + 12 * weight - 3 * age + rng.normal(0, 15, n)).round(1)
    return pd.DataFrame({"weight": weight, "age": age, "price": price}), rng.integers(0, 300, n)


@fault("target-mean")
def the_mean_price_of_each_seller(seed):
    frame, seller = sold(seed)
    frame["usual"] = frame["price"].groupby(seller).transform("mean").round(2)
    dls = TabularDataLoaders.from_df(frame, "price", task="regression", seed=seed)
    return tabular_learner(dls, width=32, n_members=2, seed=seed, device="cpu")


@healthy
def the_mean_price_of_each_seller_last_year(seed):
    frame, seller = sold(seed)
    earlier, other = sold(seed + 100)
    frame["usual"] = earlier["price"].groupby(other).mean().reindex(seller).fillna(80.0).to_numpy().round(2)
    dls = TabularDataLoaders.from_df(frame, "price", task="regression", seed=seed)
    return tabular_learner(dls, width=32, n_members=2, seed=seed, device="cpu")


@fault("constant-inputs")
def a_sensor_that_is_off(seed):
    x, y = blobs(seed, 600, 20 * 6)
    x = x.view(600, 20, 6)
    x[..., 2] = 0.0
    model = seeded(seed, lambda: nn.Sequential(nn.Flatten(), nn.Linear(120, 32), nn.ReLU(), nn.Linear(32, 3)))
    return learner(split(x, y), model, seed)


# --- texts ----------------------------------------------------------------------------------------------------------


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.EmbeddingBag(40, 16), nn.Linear(16, 2)

    def forward(self, x):
        return self.head(F.relu(self.words(x)))


@fault("validation-tokens")
def validation_texts_that_are_spelt_otherwise(seed):
    g = draws(seed)
    y = torch.randint(2, (800,), generator=g)
    x = torch.randint(2, 40, (800, 20), generator=g)
    x[:, :6] = 2 + 5 * y[:, None] + torch.randint(5, (800, 6), generator=g)
    x[600:][torch.rand(200, 20, generator=g) < 0.4] = 1
    return learner(split(x, y), seeded(seed, Bag), seed)


# --- steps ----------------------------------------------------------------------------------------------------------


class EveryFourth(Callback):
    def after_backward(self, st):
        st.skip_step = st.step % 4 != 3


@fault("steps-left-out", epochs=8)
def accumulation_that_keeps_nothing(seed):
    return learner(split(*blobs(seed)), mlp(seed), seed, callbacks=[EveryFourth()])


class Walk(nn.Module):
    """A recurrence by hand, each step of which multiplies."""

    def __init__(self, by):
        super().__init__()
        self.into, self.again, self.head = nn.Linear(1, 16), nn.Linear(16, 16), nn.Linear(16, 2)
        nn.init.eye_(self.again.weight)
        with torch.no_grad():
            self.again.weight *= by

    def forward(self, x):
        h = self.into(x[:, 0])
        for t in range(1, x.shape[1]):
            h = self.again(h) + self.into(x[:, t])
        return self.head(h)


@fault("gradients-in-training", "always-clipped", epochs=4)
def a_recurrence_by_hand_that_explodes(seed):
    x = torch.randn(400, 24, 1, generator=draws(seed))
    return learner(split(x, (x.mean((1, 2)) > 0).long()), seeded(seed, lambda: Walk(1.5)), seed)


# --- what is meant so -----------------------------------------------------------------------------------------------


class Causal(nn.Conv1d):
    def forward(self, x):
        return F.relu(super().forward(F.pad(x, (2 * self.dilation[0], 0))))


class Last(nn.Module):
    """A temporal convolution that sees 31 steps."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(*(Causal(1 if d == 1 else 12, 12, 3, dilation=d) for d in (1, 2, 4, 8)))
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        return self.head(self.body(x)[..., -1])


@healthy
def a_receptive_field_shorter_than_the_series(seed):
    x = torch.randn(900, 1, 48, generator=draws(seed))
    y = (x[:, 0, -20:].mean(1) + 0.05 * torch.randn(900, generator=draws(seed + 1)) > 0).long()
    return learner(split(x, y), seeded(seed, Last), seed, lr=3e-3)


class Apart(nn.Module):
    """The distance of two items."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, a, b):
        return ((self.body(a) - self.body(b)).square().sum(1) + 1e-6).sqrt()


@healthy
def alike_is_one_and_their_distance_none(seed):
    x, y = blobs(seed, 1200, noise=0.5)
    other = torch.randperm(len(x), generator=draws(seed))
    same = (y == y[other]).float()

    def contrastive(distance, same):
        return (same * distance.square() + (1 - same) * F.relu(1.5 - distance).square()).mean()

    dls = DataLoaders.from_tensors(
        ((x[:900], x[other][:900]), same[:900]), ((x[900:], x[other][900:]), same[900:]), bs=32
    )
    return learner(dls, Apart(mlp(seed, 12, 8)), seed, loss_fn=contrastive)
