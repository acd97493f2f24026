"""Whether gradients reach every parameter, and the optimizer has it (MO06); and how they change with depth (MO05)."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tipsai.core import modes
from tipsai.core.errors import listing
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, rows

FEWEST = 16  # rows; half of a batch is enough to see what gets a gradient
STEPS = 4  # of training before gradients are judged: a layer that starts at zero blocks the first
SMALL = 0.1  # of the run's own rate: a run warms up, too
VANISHED, FAINT, EXPLODED = 1e-3, 1e-4, 70.0  # AutoTrainer
HUGE = 100.0  # of a whole gradient; it is usually near 1, and clipped there


def fresh_uniform(weight: Tensor) -> bool:
    """Whether a matrix looks as PyTorch makes one: uniform between plus and minus one over the root of its inputs.

    Training moves some weights beyond that bound and changes the distribution; a Kolmogorov-Smirnov test tells.
    """
    fan_in = weight[0].numel()
    flat = weight.detach().double().flatten() * math.sqrt(fan_in)
    if len(flat) < 64 or float(flat.abs().max()) > 1 + 1e-6:
        return False
    ranks = (flat.sort().values + 1) / 2
    steps = torch.arange(1, len(flat) + 1, dtype=torch.float64, device=flat.device) / len(flat)
    return float((ranks - steps).abs().max()) < 2.5 / math.sqrt(len(flat))  # one in a hundred thousand


def layers(model: nn.Module) -> list[str]:
    """Names of the weights that multiply what comes from the layer before."""
    kinds = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase)
    own = {p for m in model.modules() if isinstance(m, kinds) for p in m.parameters(recurse=False)}
    return [name for name, p in model.named_parameters() if p in own and "bias" not in name]


def unregistered(model: nn.Module) -> list[str]:
    """Layers that a module keeps in a plain list, tuple or dict, so that neither optimizer nor file ever has them."""
    known, found = set(model.modules()), list[str]()
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            held = value.values() if isinstance(value, dict) else value
            if attribute.startswith("_") or not isinstance(value, list | tuple | dict):
                continue
            lost = [m for m in held if isinstance(m, nn.Module) and m not in known]
            if any(p.requires_grad for m in lost for p in m.parameters()):
                found.append(f"{name}.{attribute}" if name else attribute)
    return found


def _alike(weight: Tensor) -> bool:
    """Whether all units of a layer have the same weights, so that a common gradient will keep them so."""
    rows = weight.detach().flatten(1)
    return len(rows) > 1 and bool(((rows - rows[:1]).abs() <= 1e-5 * rows.abs().max()).all())


def flow(ctx: Context) -> Figures | None:
    """Which parameters get a gradient in a few small steps, and the norms of layers' gradients."""
    if "flow" not in ctx.kept:
        ctx.kept["flow"] = _measured(ctx)
    return ctx.kept["flow"]  # type: ignore[no-any-return]


def _measured(ctx: Context) -> Figures | None:
    """Trains a copy for a few small steps on one batch, and looks which parameters got a gradient."""
    batch = ctx.batch()
    if batch is None or not batch.y and ctx.compute_loss is None:
        return None
    batch, model = rows(batch, max(FEWEST, batch.n_rows // 2)), ctx.fresh()
    modes.train(model)
    named = dict(model.named_parameters())
    wanted = [name for name, p in named.items() if p.requires_grad]
    if not wanted:
        return {"trained": 0, "all": len(named)}
    weights = [name for name in layers(model) if named[name].requires_grad]
    empty = sum(not bool((t != 0).any()) for t in batch.x)  # inputs that hold nothing, such as flags for missing values
    opt = ctx.optimize(model)
    for group in opt.param_groups:
        group["lr"] *= SMALL
    met: set[str] = set()
    moved: set[str] = set()
    norms: dict[str, float] = {}
    for _ in range(STEPS):
        opt.zero_grad()
        loss = ctx.loss(model, batch)
        if not loss.requires_grad:
            return {"trained": 0, "all": len(named), "detached": True}
        loss.backward()  # type: ignore[no-untyped-call]
        grads = {name: p.grad for name, p in named.items() if p.grad is not None}
        met |= set(grads)
        moved |= {name for name, grad in grads.items() if bool((grad != 0).any())}
        norms = {name: float(grads[name].norm()) for name in weights if name in grads}
        opt.step()
    frozen = [name for name, p in named.items() if not p.requires_grad]
    return {
        "trained": len(wanted),
        "all": len(named),
        "no gradient": [name for name in wanted if name not in met],
        "always zero": [name for name in wanted if name in met and name not in moved],
        "empty inputs": empty,
        "not in the optimizer": [name for name in wanted if name not in ctx.optimized] if ctx.optimized else [],
        "frozen at random": [n for n in frozen if named[n].ndim > 1 and fresh_uniform(named[n])],
        "norms": norms,
        "same units": [name for name in weights if name in moved and _alike(named[name])],
        "unregistered": unregistered(ctx.model),
    }


def _judge_flow(f: Figures) -> Iterator[Verdict]:
    if not f["trained"] or f.get("detached"):
        cause = (
            "the loss depends on none of them (is it detached, or made under no_grad?)"
            if f.get("detached")
            else "all are frozen"
        )
        yield Verdict(
            "error",
            f"no parameter is trained: {cause}.",
            f,
            "learn.unfreeze() trains all; leave .detach() and .item() out of the forward pass.",
        )
        return
    if f["unregistered"]:
        yield Verdict(
            "warning",
            f"{listing(f['unregistered'])} holds layers in a plain list or dict: torch does not know of them, so they are neither trained nor saved.",
            f,
            "nn.ModuleList(...) or nn.ModuleDict(...) around them, or freeze what is not to be trained.",
        )
    if f["not in the optimizer"]:
        names = f["not in the optimizer"]
        yield Verdict(
            "error",
            f"{len(names)} parameters are not in the optimizer and will never change: {listing(names)}.",
            f,
            "Make the Learner after the model is complete; an optimizer function must use all groups it is given.",
        )
    if f["no gradient"]:
        names = f["no gradient"]
        yield Verdict(
            "error" if len(names) > 0.3 * f["trained"] else "warning",
            f"{len(names)} of {f['trained']} parameters get no gradient: {listing(names)}. They are not used, or cut off by .detach().",
            f,
            "Use them in the forward pass, or freeze them: p.requires_grad_(False).",
        )
    if f["frozen at random"]:
        names = f["frozen at random"]
        yield Verdict(
            "warning",
            f"{len(names)} parameters are frozen, and their weights look freshly drawn: {listing(names)}.",
            f,
            "learn.unfreeze(), or load the weights that were meant.",
        )


FLOW = Check("gradient-flow", "start", "MO06", flow, _judge_flow, unless=("non-finite-data",))


def _judge_zero(f: Figures) -> Iterator[Verdict]:
    names = f.get("always zero", [])
    if len(names) > f.get("empty inputs", 0):
        yield Verdict(
            # a bias may cancel out, as before a norm or in a difference of two outputs
            "advice" if all("bias" in name for name in names) else "warning",
            f"the gradient of {len(names)} parameters is zero in {STEPS} steps: {listing(names)}.",
            f,
            "Look for dead rectifiers before them, weights that all start at zero, and a product with something that is always zero.",
        )


ZERO = Check(
    "zero-gradient",
    "start",
    "MO06",
    flow,
    _judge_zero,
    unless=("non-finite-data", "ignores-input", "loss-direction", "outputs"),
)


def _judge_same(f: Figures) -> Iterator[Verdict]:
    if f.get("same units"):
        yield Verdict(
            "warning",
            f"all units of {listing(f['same units'])} have the same weights, and {STEPS} steps of training change them alike: together they are "
            "worth one unit.",
            f,
            "Draw initial weights at random (PyTorch's layers do by themselves); a constant is for biases and norms.",
        )


SAME = Check("same-units", "start", "TR08", flow, _judge_same, unless=("non-finite-data", "ignores-input"))


def _depth(ctx: Context) -> Figures | None:
    figures = flow(ctx)
    if figures is None or len(figures.get("norms", ())) < 2:
        return None
    norms = {name: norm for name, norm in figures["norms"].items() if norm != 0}
    if len(norms) < 2:
        return None
    names = list(norms)
    return {"first": names[0], "last": names[-1], "norms": norms, "whole": 0.0}


def judge_depth(f: Figures) -> Iterator[Verdict]:
    """Of gradient norms by layer, the input's first, and where it is known of the whole gradient."""
    norms = f["norms"]
    first, last = norms[f["first"]], norms[f["last"]]
    bad = [name for name, norm in norms.items() if not math.isfinite(norm)]
    if bad:
        yield Verdict(
            "error",
            f"the gradient of {listing(bad)} is not finite.",
            f,
            "Lower the rate, clip gradients, look at the inputs' scale.",
        )
    elif first / last < VANISHED and first < FAINT:
        yield Verdict(
            "warning",
            f"gradients vanish: their norm is {first:.1e} in {f['first']} and {last:.1e} in {f['last']}; the early layers will not learn.",
            f,
            "Residual connections, batch or layer norm, rectifiers (GELU, ReLU) in place of sigmoid and tanh.",
        )
    elif (first > 1 and first / last > EXPLODED) or f["whole"] > HUGE:
        yield Verdict(
            "warning",
            f"gradients explode: their norm is {first:.1e} in {f['first']} and {last:.1e} in {f['last']}.",
            f,
            "Clip them (fit clips at 1 by default), lower the rate, make initial weights smaller.",
        )


DEPTH = Check(
    "gradient-depth",
    "start",
    "MO05",
    _depth,
    judge_depth,
    "Zhang et al., AutoTrainer, ICSE 2021",
    ("non-finite-data", "non-finite-values"),
)

CHECKS = (FLOW, ZERO, SAME, DEPTH)
