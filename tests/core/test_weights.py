"""A module may ask for the version that its state was saved by, as torchvision's MNASNet does; plain tensors do not say."""

import pytest
import torch
from helpers import At, Boom, boom, copied, learner, mlp, same
from torch import nn

from tipsai import load_learner
from tipsai.core.errors import NonFiniteLossError
from tipsai.core.weights import load_tensors


class Versioned(nn.Module):
    _version = 2

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return self.net(x)

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        if metadata.get("version") != 2:
            raise ValueError(f"version {metadata.get('version')}")
        super()._load_from_state_dict(state, prefix, metadata, *rest)


def test_the_rate_is_searched():
    learn = learner(model=Versioned())
    before = copied(learn.model)
    learn.lr_find(n_steps=20)
    assert same(copied(learn.model), before)


def test_the_best_weights_are_kept():
    learn = learner(model=Versioned())
    learn.fit_one_cycle(2, final="best", monitor="valid_loss", progress=False)


def test_a_run_is_resumed(tmp_path):
    whole, rest = learner(model=Versioned()), learner(model=Versioned())
    whole.fit_one_cycle(3, progress=False)
    with pytest.raises(Boom):
        rest.fit_one_cycle(3, checkpoint=tmp_path / "run.ckpt", callbacks=[At(9, boom)], progress=False)
    rest.fit_one_cycle(3, checkpoint=tmp_path / "run.ckpt", resume=True, callbacks=[At(99, boom)], progress=False)
    assert same(copied(whole.model), copied(rest.model))


def test_files_give_the_model_back(tmp_path):
    learn = learner(model=Versioned())
    learn.fit_one_cycle(1, progress=False)
    learn.save(tmp_path / "saved.tips")
    learn.export(tmp_path / "model.tips")
    again = learner(model=Versioned())
    again.load(tmp_path / "saved.tips")
    assert same(copied(again.model), copied(learn.model))
    served = Versioned()
    load_learner(tmp_path / "model.tips", model=served)
    assert same(copied(served), copied(learn.model))


def test_the_last_good_weights_come_back():
    learn = learner(model=Versioned())
    with pytest.raises(NonFiniteLossError):
        learn.fit_one_cycle(1, lr=3e38, progress=False)
    assert all(torch.isfinite(t).all() for t in learn.model.state_dict().values())


def test_what_does_not_fit_is_refused():
    model = Versioned()
    with pytest.raises(RuntimeError, match="Missing key"):
        load_tensors(model, {})
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_tensors(model, {name: t[:1] for name, t in model.state_dict().items()})
