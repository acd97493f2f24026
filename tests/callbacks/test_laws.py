"""What holds for every callback."""

import random
import signal

import numpy as np
import pytest
import torch
from helpers import At, Boom, boom, copied, dataloaders, learner, mlp, same
from torch import nn

from tipsai import Batch, CategoryBlock, callbacks, schedule
from tipsai.callbacks import Checkpointer, CutMix, MixUp, Scheduler

MAKERS = {
    "CSVLogger": lambda folder: callbacks.CSVLogger(folder / "history.csv"),
    "Checkpointer": lambda folder: Checkpointer(folder / "c.tips", {}, lambda: (), every_seconds=0),
    "CutMix": lambda folder: CutMix(CategoryBlock(range(3))),
    "EMA": lambda folder: callbacks.EMA(0.9),
    "EarlyStopping": lambda folder: callbacks.EarlyStopping(),
    "FunctionLogger": lambda folder: callbacks.FunctionLogger(lambda row: None),
    "KeepBest": lambda folder: callbacks.KeepBest(),
    "MixUp": lambda folder: MixUp(CategoryBlock(range(3))),
    "Progress": lambda folder: callbacks.Progress(),
    "Recorder": lambda folder: callbacks.Recorder(),
    "Scheduler": lambda folder: Scheduler(schedule.one_cycle(), [0.01]),
    "TensorBoardLogger": lambda folder: callbacks.TensorBoardLogger(folder / "board"),
    "TimeLimit": lambda folder: callbacks.TimeLimit(1e6),
}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def test_every_callback_is_held_to_the_laws():
    assert sorted(MAKERS) == sorted(callbacks.__all__)


def _surroundings(learn):
    """All that a callback could leave behind."""
    return {
        "modes": [m.training for m in learn.model.modules()],
        "hooks": [len(getattr(m, name)) for m in learn.model.modules() for name in HOOKS],
        "own attributes": [sorted(vars(m)) for m in learn.model.modules()],
        "trained": [p.requires_grad for p in learn.model.parameters()],
        "gradient mode": torch.is_grad_enabled(),
        "momentum": learn.opt and [g["betas"] for g in learn.opt.param_groups],
        "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
        "handler": signal.getsignal(signal.SIGINT),
        "loss": learn.loss_fn,
    }


def _learner(cbs=()):
    dls = dataloaders(48)
    dls.batch_tfms = (lambda batch, draw: Batch((batch.x[0][:, None, None],), batch.y),)  # pictures, for CutMix
    learn = learner(dls, nn.Sequential(nn.Flatten(), *mlp(dropout=0.2, norm=True)), callbacks=cbs)
    learn.model[4].eval()  # somebody wants this one so
    return learn


@pytest.mark.parametrize("event", ["before_batch", "after_backward", "after_step", "after_epoch"])
@pytest.mark.parametrize("name", MAKERS)
def test_after_an_error_the_learner_is_as_it_was(name, event, tmp_path, capsys):
    learn = _learner([MAKERS[name](tmp_path)])
    learn.fit(1, progress=False)  # so that there is an optimizer to leave alone
    before = _surroundings(learn)
    with pytest.raises(Boom):
        learn.fit_one_cycle(2, callbacks=[At(3, boom, event, order=1000)], progress=False)
    assert _surroundings(learn) == before
    learn.fit(1, progress=False)  # and it trains on
    assert len(learn.history) >= 2


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"CutMix", "MixUp", "Scheduler"}))
def test_a_callback_that_only_looks_changes_no_weight(name, tmp_path, capsys):
    plain, watched = _learner(), _learner([MAKERS[name](tmp_path)])
    for learn in (plain, watched):
        learn.fit_one_cycle(2, progress=False)
    assert same(copied(plain.model), copied(watched.model))


@pytest.mark.parametrize("name", MAKERS)
def test_its_state_is_plain_data_that_it_takes_back(name, tmp_path, capsys):
    from tipsai.container import pack, unpack

    cb = MAKERS[name](tmp_path)
    _learner([cb]).fit(2, progress=False)
    tensors = {}
    packed = pack(cb.state_dict(), tensors)
    fresh = MAKERS[name](tmp_path)
    fresh.load_state_dict(unpack(packed, tensors))
    again = {}
    assert pack(fresh.state_dict(), again) == packed and same(again, tensors)
