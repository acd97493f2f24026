"""Faults that show in training. See faults.py."""

import time

import torch
from doctor.faults import (
    Recurrent,
    TinyLM,
    blobs,
    convnet,
    draws,
    fault,
    learner,
    line,
    mlp,
    pictures,
    seeded,
    sequences,
    split,
    tokens,
)
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from tipsai import DataLoaders

MAKERS = {
    "network": lambda seed, **options: learner(split(*blobs(seed)), mlp(seed), seed, **options),
    "regression": lambda seed, **options: learner(split(*line(seed)), mlp(seed, 10, 1), seed, **options),
    "convolutions": lambda seed, **options: learner(split(*pictures(seed)), convnet(seed), seed, **options),
    "language model": lambda seed, **options: learner(split(*tokens(seed)), seeded(seed, TinyLM), seed, **options),
    "recurrent": lambda seed, **options: learner(split(*sequences(seed)), seeded(seed, Recurrent), seed, **options),
}


def rate(kind, opt, factor):
    """A run at so many times the default rate."""

    def make(seed):
        usual = MAKERS[kind](seed, opt=opt).lr
        return MAKERS[kind](seed, opt=opt, lr=factor * usual)

    make.__name__ = f"rate {'too_high' if factor > 1 else 'too_low'}: {kind}, {opt}"
    fault("learning-rate", epochs=10)(make)


for kind in MAKERS:
    for factor in (30.0, 1 / 30):
        rate(kind, "adamw", factor)
rate("network", "sgd", 30.0)
rate("network", "sgd", 1 / 30)


@fault("silent-units", epochs=5)
def rectifiers_that_never_fire(seed):
    model = mlp(seed, depth=2)
    with torch.no_grad():
        model[2].bias[:28] -= 40.0  # of 32 units
    return learner(split(*blobs(seed)), model, seed)


@fault("silent-units", epochs=5)
def saturated_units(seed):
    model = mlp(seed, depth=2, act=nn.Tanh)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight *= 40.0
    return learner(split(*blobs(seed)), model, seed)


@fault("gradients-in-training", epochs=5)
def vanishing_gradients(seed):
    return learner(split(*blobs(seed)), mlp(seed, depth=10, act=nn.Sigmoid), seed)


class Unstable(nn.Module):
    """A recurrent network by hand whose state grows at every step."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.head = nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 2)
        nn.init.orthogonal_(self.again.weight, 2.5)

    def forward(self, x):
        h = torch.zeros(len(x), 16)
        for t in range(x.shape[1]):
            h = self.first(x[:, t]) + self.again(h)
        return self.head(h * 1e-3)


@fault("gradients-in-training", "learning-rate", "first-loss", epochs=5)
def exploding_gradients_in_a_recurrent_network(seed):
    return learner(split(*sequences(seed)), seeded(seed, Unstable), seed)


class Slow(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        time.sleep(0.005)
        return self.x[i], self.y[i]


@fault("data-starves-training", epochs=3)
def data_that_come_slowly(seed):
    x, y = blobs(seed, 200)
    loaders = DataLoaders.from_datasets(Slow(x[:150], y[:150]), TensorDataset(x[150:], y[150:]), bs=32)
    return learner(loaders, mlp(seed), seed)


@fault("overfitting", epochs=40)
def too_much_capacity_for_noisy_labels(seed):
    x, y = blobs(seed, 300)
    wrong = torch.rand(len(y), generator=draws(seed)) < 0.4
    y = torch.where(wrong, torch.randint(3, y.shape, generator=draws(seed + 1)), y)
    return learner(split(x, y), mlp(seed, width=256, depth=2), seed)
