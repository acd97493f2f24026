"""Muon: orthogonal steps for matrices, AdamW's own for the rest."""

import pytest
import torch
from helpers import At, Boom, boom, copied, learner, mlp, same
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tipsai import muon, optim
from tipsai.muon import orthogonal


@given(st.integers(1, 24), st.integers(1, 24), st.floats(1e-3, 1e3), st.integers(0, 10**6))
def test_singular_values_come_close_to_one(rows, columns, scale, seed):
    left = torch.linalg.qr(torch.randn(rows, rows, generator=torch.Generator().manual_seed(seed)))[0]
    right = torch.linalg.qr(torch.randn(columns, columns, generator=torch.Generator().manual_seed(seed + 1)))[0]
    n = min(rows, columns)
    m = left[:, :n] @ torch.diag(torch.linspace(1, 0.1, n)) @ right[:n] * scale
    values = torch.linalg.svdvals(orthogonal(m))
    assert values.min() > 0.6 and values.max() < 1.3
    turned = left[:, :n] @ right[:n]
    assert (orthogonal(m) * turned).sum() > 0.6 * n  # the directions stay


@settings(deadline=None)  # the first call warms up
@given(st.integers(1, 24), st.integers(1, 60), st.floats(0, 6), st.integers(0, 10**6))
def test_the_small_matrix_gives_what_the_whole_gives(rows, columns, decades, seed):
    """Products of the polynomials of x x^T, beside the iteration as it is written, singular values far apart included."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2, rows, columns, generator=g) * torch.logspace(0, -decades, columns)
    x = x / torch.linalg.matrix_norm(x, keepdim=True)
    whole = muon._directly(x.double(), 5)
    torch.testing.assert_close(muon._by_gram(x, 5).double(), whole, atol=2e-3, rtol=0)
    torch.testing.assert_close(muon._directly(x, 5).double(), whole, atol=2e-3, rtol=0)


def test_bf16_rounds_each_step_once():
    g = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 128, generator=g, dtype=torch.double))[0] for n in (128, 1152))
    x = ((left * torch.arange(1, 129) ** -0.5) @ right.T)[None]
    x /= torch.linalg.matrix_norm(x)
    whole = muon._directly(x, 5)
    error = torch.linalg.norm(muon._directly(x.bfloat16(), 5).double() - whole) / torch.linalg.norm(whole)
    assert error < 0.015  # 0.032 when each product and sum was rounded by itself


def test_matrices_are_turned_alike_together_and_alone():
    m = torch.randn(3, 5, 9, generator=torch.Generator().manual_seed(0))
    for one, turned in zip(m, orthogonal(m), strict=True):
        torch.testing.assert_close(orthogonal(one), turned)


def test_zeros_stay_zeros():
    assert not orthogonal(torch.zeros(3, 4)).any()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.first, self.conv = nn.Embedding(7, 4), nn.Linear(4, 6), nn.Conv1d(6, 5, 3)
        self.norm, self.scale = nn.LayerNorm(5), nn.Parameter(torch.ones(5))


@pytest.mark.parametrize("wd", [0.0, 0.1])
def test_matrices_are_weights_that_decay(wd):
    model = Model()
    opt = optim.build("muon", model, [list(model.parameters())], [0.1], wd)
    matrices = {p for group in opt.param_groups if group["matrix"] for p in group["params"]}
    assert matrices == {model.first.weight, model.conv.weight}
    assert sorted(group["weight_decay"] for group in opt.param_groups) == ([0.0, 0.1] if wd else [0.0, 0.0])


def test_the_rest_is_adamw_to_the_bit():
    models = [mlp(seed=3), mlp(seed=3)]
    ours, theirs = (
        optim.build(name, model, [list(model.parameters())], [0.02], 0.1)
        for name, model in zip(("muon", "adamw"), models, strict=True)
    )
    for step in range(3):
        for model, opt in zip(models, (ours, theirs), strict=True):
            g = torch.Generator().manual_seed(step)
            for p in model.parameters():
                p.grad = torch.randn(p.shape, generator=g)
            opt.step()
    (a, b) = (dict(model.named_parameters()) for model in models)
    assert all(torch.equal(a[name], b[name]) for name in a if a[name].ndim == 1)
    assert not any(torch.equal(a[name], b[name]) for name in a if a[name].ndim == 2)


def test_a_step_has_the_size_of_adamws():
    weight = nn.Parameter(torch.zeros(64, 16))
    layer = nn.Module()
    layer.weight = weight
    opt = optim.build("muon", layer, [[weight]], [0.5], 0.0)
    weight.grad = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    opt.step()
    assert weight.square().mean().sqrt().item() == pytest.approx(0.2 * 0.5, rel=0.2)


def test_weights_decay():
    weight = nn.Parameter(torch.ones(3, 2))
    layer = nn.Module()
    layer.weight = weight
    opt = optim.build("muon", layer, [[weight]], [0.5], 0.1)
    weight.grad = torch.zeros(3, 2)
    opt.step()
    torch.testing.assert_close(weight.detach(), torch.full((3, 2), 0.95))


def test_it_learns_and_goes_on_from_a_checkpoint(tmp_path):
    whole = learner(opt="muon", lr=0.2)
    whole.fit_one_cycle(4, progress=False)
    assert whole.history[-1]["valid_loss"] < 0.6 * whole.history[0]["valid_loss"]
    part = learner(opt="muon", lr=0.2)
    with pytest.raises(Boom):
        part.fit_one_cycle(4, checkpoint=tmp_path / "c", callbacks=[At(9, boom, "before_batch")], progress=False)
    rest = learner(opt="muon", lr=0.2)
    later = [At(10**6, boom, "before_batch")]
    rest.fit_one_cycle(4, checkpoint=tmp_path / "c", resume=True, callbacks=later, progress=False)
    assert same(copied(whole.model), copied(rest.model))


def test_mixed_precision_skips_steps_for_all():
    model = mlp()
    opt = optim.build("muon", model, [list(model.parameters())], [0.1], 0.0)
    assert not getattr(opt, "_step_supports_amp_scaling", False)


def test_a_closure_is_called_once_even_without_vectors():
    weight, calls = nn.Parameter(torch.ones(3, 2)), []
    layer = nn.Module()
    layer.weight = weight
    opt = optim.build("muon", layer, [[weight]], [0.5], 0.0)

    def closure():
        opt.zero_grad()
        calls.append(weight.square().sum())
        calls[-1].backward()
        return calls[-1]

    assert opt.step(closure) is calls[0] and len(calls) == 1
    assert not torch.equal(weight.detach(), torch.ones(3, 2))
