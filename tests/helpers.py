"""Tiny data, models and callbacks that the tests share."""

import torch
from torch import nn

from tipsai import Callback, DataLoaders, Learner


def classes(n=96, n_in=5, n_classes=3, seed=0, dtype=torch.float32):
    """Inputs [n, n_in] and classes [n] that a linear model can learn."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, n_in, generator=g, dtype=dtype)
    return x, (x @ torch.randn(n_in, n_classes, generator=g, dtype=dtype)).argmax(1)


def dataloaders(n=96, bs=16, n_valid=40, dtype=torch.float32):
    x, y = classes(n + n_valid, dtype=dtype)
    return DataLoaders.from_tensors((x[:n], y[:n]), (x[n:], y[n:]) if n_valid else None, bs=bs)


def mlp(n_in=5, n_out=3, dropout=0.0, norm=False, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        middle = [nn.BatchNorm1d(8)] if norm else []
        return nn.Sequential(nn.Linear(n_in, 8), *middle, nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, n_out))


def learner(dls=None, model=None, **options):
    options = {"seed": 1, "lr": 0.02, "device": "cpu"} | options
    return Learner(dls or dataloaders(), model or mlp(), **options)


def copied(model):
    return {name: t.detach().clone() for name, t in model.state_dict().items()}


def same(a, b):
    """Whether two state dicts are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class At(Callback):
    """Calls a function at one step (counted from 1 over the fit) of one event."""

    def __init__(self, step, do, event="after_step", order=0):
        self.step, self.do, self.order = step, do, order
        self.event, self.done = event, False

    def _look(self, event, st, step):
        if event == self.event and step == self.step and not self.done:
            self.done = True
            self.do(st)

    def before_batch(self, st):
        self._look("before_batch", st, st.step + 1)

    def after_backward(self, st):
        self._look("after_backward", st, st.step + 1)

    def after_step(self, st):
        self._look("after_step", st, st.step)

    def after_epoch(self, st):
        self._look("after_epoch", st, st.step)


class Boom(Exception):
    pass


def boom(st=None):
    raise Boom


def killable(path, done, ready, n_epochs):
    """A process's whole life: trains an MLP with dropout from its last checkpoint on, and writes the final weights."""
    from tipsai import EMA, EarlyStopping, container
    from tipsai.core import loop

    torch.set_num_threads(1)
    loop.FETCH_SECONDS = 0.0  # so that checkpoints fall on every step
    learn = learner(model=mlp(dropout=0.3), callbacks=[EMA(0.9), EarlyStopping(patience=10**6)], metrics="accuracy")
    first = type("First", (Callback,), {"before_fit": lambda self, st: ready(st.step)})()
    learn.fit_one_cycle(
        n_epochs,
        final="best",
        accumulate=2,
        callbacks=[first],
        checkpoint=path,
        checkpoint_seconds=0,
        resume=path is not None,
        progress=False,
    )
    document = {"manifest": {"format_version": 1}, "history": learn.history}
    container.write(done, document, {"model": learn.model.state_dict()})


def snapshot(folder):
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
