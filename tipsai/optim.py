"""Optimizers by name, parameter groups, and the learning rates that go with them (TR01, TR06, TR11)."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tipsai.core.errors import SettingError, listing, nearest, require_positive
from tipsai.muon import Muon

Groups = list[dict[str, Any]]
Splitter = Callable[[nn.Module], Sequence[Sequence[nn.Parameter]]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named optimizer: how to make it, and the peak rate that suits a large model."""

    make: Callable[[Groups], Optimizer]
    base_lr: float
    scale_rule: str  # how the rate follows the batch size (TR06)
    follows_size: bool  # whether small models take more: so Adam, whose steps do not shrink with the gradient
    source: str


def _fused(groups: Groups) -> bool:
    """Fused kernels exist for these devices; a model elsewhere takes torch's own choice."""
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for g in groups for p in g["params"])


def _adamw(groups: Groups) -> Optimizer:
    return torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=_fused(groups))


def _adam(groups: Groups) -> Optimizer:
    return torch.optim.Adam([g | {"weight_decay": 0.0} for g in groups], betas=(0.9, 0.99), fused=_fused(groups))


def _muon(groups: Groups) -> Optimizer:
    return Muon(groups, betas=(0.9, 0.99), fused=_fused(groups))


def _sgd(groups: Groups) -> Optimizer:
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True, fused=_fused(groups))


OPTIMIZERS = {
    "adamw": Recipe(
        _adamw,
        3e-4,
        "sqrt",
        True,
        "Loshchilov and Hutter 1711.05101; 3e-4: Karpathy, 'A Recipe for Training Neural Networks', 2019",
    ),
    "adam": Recipe(_adam, 3e-4, "sqrt", True, "Kingma and Ba 1412.6980"),
    "muon": Recipe(
        _muon,
        3e-4,
        "sqrt",
        True,
        "Jordan et al. 2024; rates and decays of AdamW by the scale of Liu et al. 2502.16982",
    ),
    "sgd": Recipe(_sgd, 0.05, "linear", False, "Goyal et al. 1706.02677: 0.1 for 256 pictures, halved for sturdiness"),
}
OptSpec = str | Callable[[Groups], Optimizer]


def recipe(opt: OptSpec) -> Recipe | None:
    """The recipe of a named optimizer; None for a function, whose rate is its own.

    Raises:
        SettingError: the name is unknown.
    """
    if not isinstance(opt, str):
        return None
    if opt.lower() not in OPTIMIZERS:
        raise SettingError(
            f"there is no optimizer {opt!r}.{nearest(opt, OPTIMIZERS)} Expected {listing(OPTIMIZERS)} "
            "or a function of parameter groups that returns a torch optimizer, such as torch.optim.RAdam."
        )
    return OPTIMIZERS[opt.lower()]


def size_factor(n_parameters: int) -> float:
    """How much more than the base rate a model of this size takes: (1e7 / n)^0.35, between 1 and 20 (TR01).

    So 3e-4 from ten million parameters on, 6.7e-4 at one million, 1.5e-3 at a hundred thousand, 6e-3 below two
    thousand. Fitted on the best peaks of small networks on four data sets, whose geometric means were 7e-3, 5e-3,
    1.7e-3 and 7e-4 at about 1,300, 8,000, 80,000 and 1.1 million parameters: tests/benchmarks/size_rule.py.
    """
    return float(min(20.0, max(1.0, (1e7 / max(1, n_parameters)) ** 0.35)))


def scale_lr(lr: float, bs: int, base_bs: int, rule: str = "sqrt") -> float:
    """The rate for another batch size (TR06).

    Args:
        lr: a rate that suits base_bs.
        bs: the batch size to be used.
        base_bs: the batch size that lr was chosen for.
        rule: "sqrt" (Adam-like; Malladi et al. 2205.10287) or "linear" (SGD; Goyal et al. 1706.02677).
    """
    require_positive("bs", bs)
    require_positive("base_bs", base_bs)
    if rule not in ("sqrt", "linear"):
        raise SettingError(f"rule is {rule!r}; expected 'sqrt' (for Adam and its kin) or 'linear' (for SGD).")
    return lr * (bs / base_bs if rule == "linear" else math.sqrt(bs / base_bs))


def default_lr(recipe: Recipe, n_parameters: int, bs: int, base_bs: int | None) -> tuple[float, float, float]:
    """A named optimizer's peak rate, and what its base was multiplied by for the model's size (TR01) and the batch's (TR06).

    Args:
        recipe: of the optimizer.
        n_parameters: of the model.
        bs: the batch size.
        base_bs: the batch size that a modality's rate was chosen for; None where it has none.
    """
    size = size_factor(n_parameters) if recipe.follows_size else 1.0
    batch = scale_lr(1.0, bs, base_bs, recipe.scale_rule) if base_bs else 1.0
    return recipe.base_lr * size * batch, size, batch


NO_DECAY_MODULES = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._NormBase,
)


def undecayed(model: nn.Module) -> set[nn.Parameter]:
    """Parameters that weight decay must leave alone: biases and other vectors, norms, embeddings (TR11)."""
    found = {p for name, p in model.named_parameters() if p.ndim <= 1 or name.rpartition(".")[2] == "bias"}
    for module in model.modules():
        if isinstance(module, NO_DECAY_MODULES):
            found.update(module.parameters(recurse=False))
    return found


def layer_groups(model: nn.Module, splitter: Splitter | None = None) -> list[list[nn.Parameter]]:
    """The model's parameters as layer groups, from the input's to the output's; one group without a splitter.

    Raises:
        SettingError: the splitter leaves parameters out or names one twice.
    """
    groups = [list(g) for g in splitter(model)] if splitter else [list(model.parameters())]
    flat = [p for g in groups for p in g]
    everything = set(model.parameters())
    if len(flat) != len(set(flat)):
        raise SettingError("the splitter gives a parameter to more than one group; each must stand in exactly one.")
    if set(flat) != everything:
        missing = [name for name, p in model.named_parameters() if p not in set(flat)]
        raise SettingError(
            f"the splitter leaves out {listing(missing)}; every parameter must stand in exactly one group."
        )
    return groups


def rates(lr: float | Sequence[float], n_groups: int) -> list[float]:
    """A rate for each layer group.

    Raises:
        SettingError: a rate is not above zero, or their number is wrong.
    """
    values = [float(lr)] * n_groups if isinstance(lr, int | float) else [float(v) for v in lr]
    for value in values:
        require_positive("lr", value)
    if len(values) != n_groups:
        raise SettingError(
            f"lr has {len(values)} rates, and the model {n_groups} layer groups; give one number, or {n_groups}."
        )
    return values


def build(
    opt: OptSpec, model: nn.Module, groups: Sequence[Sequence[nn.Parameter]], lrs: Sequence[float], wd: float
) -> Optimizer:
    """An optimizer with two parameter groups for each layer group: matrices, which decay, and the rest (see undecayed).

    Each parameter group carries "layer_group", its number, by which schedules set its rate, and "matrix".
    """
    require_positive("wd", wd, zero=True)
    bare = undecayed(model)
    made: Groups = []
    for number, (params, lr) in enumerate(zip(groups, lrs, strict=True)):
        for matrix in (True, False):
            chosen = [p for p in params if (p not in bare) == matrix]
            if chosen:
                decay = wd if matrix else 0.0
                made.append(
                    {"params": chosen, "lr": lr, "weight_decay": decay, "layer_group": number, "matrix": matrix}
                )
    if not made:
        raise SettingError("the model has no parameters; there is nothing to train.")
    named = recipe(opt)
    result = named.make(made) if named else opt(made)  # type: ignore[operator]
    if not isinstance(result, Optimizer):
        raise SettingError(
            f"opt returned {type(result).__name__}; expected a torch optimizer made from the groups it was given."
        )
    return result


def load_state(opt: Optimizer, state: dict[str, Any]) -> None:
    """opt.load_state_dict, and each average in its parameter's memory layout.

    A saved tensor has lost its layout, and torch's fused kernels walk through parameter, gradient and averages in the order
    of memory: with channels-last weights they would silently take the averages of other weights.
    """
    opt.load_state_dict(state)
    for p, averages in opt.state.items():
        for name, value in averages.items():
            if isinstance(value, Tensor) and value.shape == p.shape and value.stride() != p.stride():
                averages[name] = torch.empty_like(p, dtype=value.dtype).copy_(value)


def set_momentum(opt: Optimizer, value: float) -> None:
    """Sets β1 of Adam-like optimizers, momentum of SGD; others have none."""
    for group in opt.param_groups:
        if "betas" in group:
            group["betas"] = (value, *group["betas"][1:])
        elif group.get("momentum"):
            group["momentum"] = value


def momentum_of(opt: Optimizer) -> float:
    """β1 or momentum of the last group; not a number where there is none."""
    group = opt.param_groups[-1]
    return float(group["betas"][0] if "betas" in group else group.get("momentum", math.nan))


def default_momentum(opt: Optimizer) -> float:
    """β1 or momentum that the optimizer was made with; not a number where it has none."""
    return float(opt.defaults["betas"][0] if "betas" in opt.defaults else opt.defaults.get("momentum", math.nan))


def n_parameters(model: nn.Module, trainable: bool = False) -> int:
    """The number of parameters; tied ones count once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def init_bias(layer: nn.Linear, targets: Tensor | Iterable[int]) -> None:
    """Sets the last layer's bias to the base rates of integer targets, so that training starts from them (TR08).

    Args:
        layer: the output layer, with C outputs.
        targets: int [n], class numbers.
    """
    counts = torch.bincount(torch.as_tensor(targets).flatten(), minlength=layer.out_features).double()
    if len(counts) != layer.out_features:
        raise SettingError(f"the layer has {layer.out_features} outputs, and the targets go up to {len(counts) - 1}.")
    logs = ((counts + 1) / (counts.sum() + len(counts))).log()  # one added, so that an absent class stays finite
    with torch.no_grad():
        layer.bias.copy_(logs - logs.mean())
