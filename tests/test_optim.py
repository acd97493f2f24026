import copy
import math

import pytest
import torch
from helpers import copied, learner, mlp, same
from hypothesis import given
from hypothesis import strategies as hyp
from torch import nn

from tipsai import init_bias, optim, scale_lr
from tipsai.core.errors import SettingError


class Everything(nn.Module):
    """One of each kind of module, by name."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.linear = nn.Linear(4, 4)
        self.conv = nn.Conv1d(4, 4, 3)
        self.batch_norm = nn.BatchNorm1d(4)
        self.layer_norm = nn.LayerNorm((2, 2))  # its weight is a matrix, and a norm's all the same
        self.rms_norm = nn.RMSNorm(4)
        self.scale = nn.Parameter(torch.ones(()))
        self.matrix = nn.Parameter(torch.ones(3, 3))


DECAYED = {"linear.weight", "conv.weight", "matrix"}


def test_biases_norms_and_embeddings_are_spared_weight_decay():
    model = Everything()
    bare = optim.undecayed(model)
    assert {name for name, p in model.named_parameters() if p not in bare} == DECAYED
    opt = optim.build("adamw", model, optim.layer_groups(model), [0.1], 0.3)
    decay = {p: g["weight_decay"] for g in opt.param_groups for p in g["params"]}
    assert {name for name, p in model.named_parameters() if decay[p] == 0.3} == DECAYED
    assert all(decay[p] == 0 for name, p in model.named_parameters() if name not in DECAYED)


def test_weight_decay_shrinks_matrices_and_nothing_else():
    learn = learner(model=mlp(norm=True), wd=0.5, lr=0.1, loss_fn=lambda pred, y: 0.0 * pred.sum())
    before = copied(learn.model)
    learn.fit(1, progress=False)
    shrunk = {name for name, p in learn.model.named_parameters() if not torch.equal(p, before[name])}
    assert shrunk == {"0.weight", "4.weight"}
    torch.testing.assert_close(learn.model[0].weight, before["0.weight"] * (1 - 0.05) ** 6)


def _radam(groups):
    return torch.optim.RAdam(groups)


@pytest.mark.parametrize("opt", [*sorted(optim.OPTIMIZERS), torch.optim.RAdam, _radam, torch.optim.Adagrad])
def test_every_optimizer_lowers_a_toy_loss(opt):
    learn = learner(opt=opt, lr=0.05)
    before = learn.validate()["valid_loss"]
    learn.fit_one_cycle(16, progress=False)
    assert learn.history[-1]["valid_loss"] < 0.7 * before


@pytest.mark.parametrize("name", sorted(optim.OPTIMIZERS))
def test_named_optimizers_are_fused_where_that_is_possible(name):
    model = mlp()
    opt = optim.build(name, model, optim.layer_groups(model), [0.1], 0.01)
    assert all(g["fused"] for g in opt.param_groups)
    with torch.device("meta"):
        elsewhere = mlp()
    opt = optim.build(name, elsewhere, optim.layer_groups(elsewhere), [0.1], 0.01)
    assert not any(g["fused"] for g in opt.param_groups)


@pytest.mark.parametrize("wd", [0.0, 0.1])
def test_every_parameter_stands_in_one_group_with_its_rate(wd):
    model = Everything()
    groups = [list(model.embedding.parameters()), [p for n, p in model.named_parameters() if not n.startswith("emb")]]
    opt = optim.build("sgd", model, groups, [0.1, 0.2], wd)
    flat = [p for g in opt.param_groups for p in g["params"]]
    assert len(flat) == len(set(flat)) and set(flat) == set(model.parameters())
    for g in opt.param_groups:
        assert g["lr"] == [0.1, 0.2][g["layer_group"]] and all(p in set(groups[g["layer_group"]]) for p in g["params"])


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(SettingError, match=r"no optimizer 'adamv'\. Did you mean 'adam.*function of parameter groups"):
        learner(opt="adamv")


def test_a_function_that_returns_no_optimizer_is_refused():
    with pytest.raises(SettingError, match="opt returned list; expected a torch optimizer"):
        learner(opt=list, lr=0.1).fit(1, progress=False)


def test_a_model_without_parameters_is_refused():
    with pytest.raises(SettingError, match="no parameters; there is nothing to train"):
        optim.build("sgd", nn.ReLU(), [[]], [0.1], 0.0)


@given(lr=hyp.floats(1e-5, 1), bs=hyp.integers(1, 4096), base=hyp.integers(1, 4096))
def test_rates_follow_the_batch_size_there_and_back(lr, bs, base):
    assert scale_lr(lr, bs, base, "linear") == pytest.approx(lr * bs / base)
    assert scale_lr(lr, bs, base) == pytest.approx(lr * math.sqrt(bs / base))
    for rule in ("sqrt", "linear"):
        assert scale_lr(scale_lr(lr, bs, base, rule), base, bs, rule) == pytest.approx(lr)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0.1, 0, 8), "bs is 0"),
        ((0.1, 8, -1), "base_bs is -1"),
        ((0.1, 8, 8, "cubic"), "rule is 'cubic'; expected 'sqrt'"),
    ],
)
def test_scaling_by_nonsense_is_refused(arguments, says):
    with pytest.raises(SettingError, match=says):
        scale_lr(*arguments)


@given(n=hyp.integers(0, 10**12))
def test_the_factor_for_size_lies_between_1_and_30_and_falls(n):
    assert 1 <= optim.size_factor(n) <= 20 and optim.size_factor(n) >= optim.size_factor(2 * n + 1)


def test_the_factor_for_size_is_one_for_the_largest_models_and_a_square_root_below():
    assert [optim.size_factor(n) for n in (10**7, 10**12)] == [1, 1]
    assert optim.size_factor(10**6) == pytest.approx(10**0.35)


@pytest.mark.parametrize(
    ("splitter", "says"),
    [
        (lambda m: [list(m[0].parameters())], r"leaves out '3.weight', '3.bias'; every parameter"),
        (lambda m: [list(m.parameters()), list(m[3].parameters())], "to more than one group"),
    ],
)
def test_a_splitter_must_put_every_parameter_in_exactly_one_group(splitter, says):
    with pytest.raises(SettingError, match=says):
        learner(splitter=splitter)


@pytest.mark.parametrize(
    ("lr", "says"),
    [
        ([0.1, 0.2], "lr has 2 rates, and the model 1 layer groups; give one number, or 1"),
        (0.0, "lr is 0.0; it must be above 0"),
        (-1, "lr is -1.0; it must be above 0"),
        (math.nan, "lr is nan"),
        (math.inf, "lr is inf"),
        ([], "lr has 0 rates"),
    ],
)
def test_rates_that_do_not_fit_are_refused(lr, says):
    with pytest.raises(SettingError, match=says):
        learner(lr=lr)


def test_negative_weight_decay_is_refused():
    with pytest.raises(SettingError, match="wd is -0.1; it must be at least 0"):
        learner(wd=-0.1).fit(1, progress=False)


@pytest.mark.parametrize(("opt", "key"), [("adamw", "betas"), ("sgd", "momentum")])
def test_momentum_is_beta1_for_adam_and_momentum_for_sgd(opt, key):
    model = mlp()
    made = optim.build(opt, model, optim.layer_groups(model), [0.1], 0.1)
    optim.set_momentum(made, 0.7)
    assert all(g[key] == ((0.7, 0.99) if key == "betas" else 0.7) for g in made.param_groups)
    assert optim.momentum_of(made) == 0.7 and optim.default_momentum(made) == 0.9


def test_an_optimizer_without_momentum_is_left_alone():
    model = mlp()
    made = torch.optim.Adagrad(model.parameters())
    before = made.state_dict()["param_groups"]
    optim.set_momentum(made, 0.7)
    assert made.state_dict()["param_groups"] == before and math.isnan(optim.momentum_of(made))


def test_tied_parameters_count_once():
    model = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    model[1].weight = model[0].weight
    assert optim.n_parameters(model) == 16 + 8
    model[0].bias.requires_grad_(False)
    assert optim.n_parameters(model, trainable=True) == 16 + 4


def test_a_bias_from_base_rates_starts_at_the_loss_of_knowing_them():
    layer = nn.Linear(3, 4)
    targets = torch.tensor([0] * 600 + [1] * 300 + [2] * 99)
    init_bias(layer, targets)
    probabilities = layer.bias.softmax(0)
    torch.testing.assert_close(probabilities[:3], torch.tensor([0.6, 0.3, 0.099]), atol=0.003, rtol=0)
    assert 0 < probabilities[3] < 0.002
    weights = copied(layer)
    with pytest.raises(SettingError, match="has 4 outputs, and the targets go up to 4"):
        init_bias(layer, [0, 4])
    assert same(copied(layer), weights)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_loaded_averages_lie_in_memory_as_their_weights_do(name):
    """Fused kernels walk through memory: averages in another layout would go to other weights, in silence."""

    def made():
        torch.manual_seed(0)
        net = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
        return net, optim.build(name, net, optim.layer_groups(net), [1e-2], 0.01)

    def train(net, opt, seed):
        source = torch.Generator().manual_seed(seed)
        for _ in range(3):
            opt.zero_grad()
            net(torch.randn(4, 3, 9, 9, generator=source)).square().mean().backward()
            opt.step()

    net, opt = made()
    train(net, opt, 1)
    state = copy.deepcopy(opt.state_dict())
    for averages in state["state"].values():
        averages |= {k: v.contiguous() for k, v in averages.items() if isinstance(v, torch.Tensor)}
    again, other = made()
    again.load_state_dict({k: v.contiguous() for k, v in net.state_dict().items()})
    optim.load_state(other, state)
    train(net, opt, 2)
    train(again, other, 2)
    assert torch.equal(net.weight, again.weight)
