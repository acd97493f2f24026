"""The linear probe that fine-tuning starts from, and batch norms that keep to their statistics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tipsai import load_learner
from tipsai.losses import CrossEntropy, MeanSquaredError
from tipsai.vision import ImageDataLoaders, probe, vision_learner


def data(n, f, k, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, f, generator=g) * (torch.rand(f, generator=g) * 3 + 0.1) + 2
    y = ((x - 2) @ torch.randn(f, k, generator=g) + torch.randn(n, k, generator=g)).argmax(1)
    return x, y


@given(n=st.integers(6, 60), f=st.integers(1, 40), k=st.integers(2, 4), seed=st.integers(0, 99))
@settings(max_examples=5, deadline=None)
def test_it_is_where_the_penalised_loss_is_flat(n, f, k, seed):
    x, y = data(n, f, k, seed)
    layer = nn.Linear(f, k)
    strength = probe.fit(layer, x, y, CrossEntropy().sums)
    assert strength in probe.STRENGTHS
    weight = (layer.weight.detach() * x.std(0, correction=0)).requires_grad_()
    z = (x - x.mean(0)) / x.std(0, correction=0)
    bias = (layer.bias + layer.weight @ x.mean(0)).detach().requires_grad_()
    loss = nn.functional.cross_entropy(z @ weight.T + bias, y) + strength / 2 * weight.square().sum()
    loss.backward()
    assert weight.grad.abs().max() < 5e-3 and bias.grad.abs().max() < 5e-3


def test_more_features_than_items_and_one_that_never_changes():
    x, y = data(200, 300, 2)
    x[:, 7] = 3.0
    layer = nn.Linear(300, 2)
    probe.fit(layer, x[:150], y[:150], CrossEntropy().sums)
    assert layer.weight[:, 7].abs().max() < 1e-5
    assert (layer(x[150:]).argmax(1) == y[150:]).float().mean() > 0.55
    assert (layer(x[:150]).argmax(1) == y[:150]).float().mean() > 0.9


def test_noise_takes_a_strong_penalty_and_a_clear_matter_a_weak_one():
    x, y = data(100, 20, 2)
    chance = torch.randint(0, 2, (100,), generator=torch.Generator().manual_seed(1))
    clear = (x[:, 0] > 2).long()
    strengths = [probe.fit(nn.Linear(20, 2), x, target, CrossEntropy().sums) for target in (chance, clear)]
    assert strengths[0] > 30 * strengths[1]


def test_numbers_too():
    x, _ = data(80, 5, 2)
    y = (x @ torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0]) + 4)[:, None]
    layer = nn.Linear(5, 1)
    probe.fit(layer, x, y, MeanSquaredError().sums)
    assert (layer(x) - y).abs().mean() < 0.05 * y.std()


def test_a_single_item():
    layer = nn.Linear(3, 2)
    probe.fit(layer, torch.ones(1, 3), torch.tensor([1]), CrossEntropy().sums)
    assert torch.isfinite(layer.weight).all() and layer(torch.ones(1, 3)).argmax() == 1


# --- in a learner -----------------------------------------------------------------------------------------------------


class Body(nn.Sequential):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__(
            nn.Conv2d(1, 16, 5, 2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 9),
        )


def learner(n=60, **options):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    x = rng.integers(0, 60, (n, 14, 14), dtype=np.uint8)
    x[np.arange(n), 6] += (y * 90)[:, None].astype(np.uint8)
    dls = ImageDataLoaders.from_arrays((x, y), 0.25, bs=8, aug=None)
    return vision_learner(dls, Body(), metrics=["accuracy"], seed=0, device="cpu", **({"pretrained": True} | options))


def test_fine_tuning_starts_from_the_probe_and_moves_everything(caplog):
    learn = learner()
    before = [p.detach().clone() for p in learn.model.body.parameters()]
    learn.transfer.probe(learn)
    assert all(torch.equal(a, b) for a, b in zip(before, learn.model.body.parameters(), strict=True))
    probed = learn.validate()
    assert probed["valid_accuracy"] > 0.8
    again = learner()
    again.fine_tune(2, progress=False)
    assert len(again.history) == 2 and again.history[0]["valid_loss"] < np.log(2)  # no phase of a random head
    assert not any(torch.equal(a, b) for a, b in zip(before, again.model.body.parameters(), strict=True))


def test_the_probe_is_for_a_fresh_head_and_may_be_declined():
    learn = learner()
    learn.fine_tune(1, freeze_epochs=1, progress=False)
    assert len(learn.history) == 2
    learn.fine_tune(1, progress=False)  # no longer fresh: the first phase takes steps
    assert len(learn.history) == 4


def test_without_weights_there_is_no_probe_and_fine_tune_asks_for_epochs_by_the_datas_rule():
    learn = learner(pretrained=False)
    assert learn.transfer.probe is None and learn.transfer.n_epochs is None
    tuned = learner()
    assert tuned.transfer.n_epochs == 10
    tuned.fine_tune(progress=False)
    assert len(tuned.history) == 10


def test_the_same_seed_fine_tunes_to_the_same_weights():
    states = []
    for _ in range(2):
        learn = learner()
        learn.fine_tune(1, progress=False)
        states.append(learn.model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_pre_trained_batch_norms_keep_their_statistics_and_learn_their_scales():
    learn = learner()
    norm = learn.model.body[1]
    mean, scale = norm.running_mean.clone(), norm.weight.detach().clone()
    learn.fine_tune(1, progress=False)
    assert torch.equal(norm.running_mean, mean) and not torch.equal(norm.weight, scale)
    assert not norm.training and learn.model.training


@pytest.mark.parametrize("options", [{"freeze_bn": False}, {"pretrained": False}])
def test_batch_norms_that_learn(options):
    learn = learner(**options)
    mean = learn.model.body[1].running_mean.clone()
    learn.fit(1, progress=False)
    assert not torch.equal(learn.model.body[1].running_mean, mean)


def test_a_reloaded_model_keeps_to_it(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (16, 32, 32, 3), dtype=np.uint8)
    dls = ImageDataLoaders.from_arrays((x, np.arange(16) % 2), bs=4)
    learn = vision_learner(dls, "resnet18", pretrained=False, freeze_bn=True, seed=0, device="cpu")
    learn.export(tmp_path / "m.tips")
    model = load_learner(tmp_path / "m.tips", device="cpu").model
    model.train()
    assert model.freeze_bn and not any(m.training for m in model.body.modules() if isinstance(m, nn.BatchNorm2d))
    assert model.head.training
