"""Checks that must train something, or look with the model's own eyes: learn.check(thorough=True).

Copies are trained, all on the same batches with the same optimizer, for a small number of steps.
"""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from tipsai.core import modes, rng
from tipsai.core.evaluate import evaluating
from tipsai.core.state import Batch
from tipsai.data.itemwise import item_losses
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.doctor.judged import CHUNK, mean_interval
from tipsai.doctor.shift import LEAST, Z, auc, told_apart

STEPS = 300  # of a copy's training
SECONDS = 30.0  # likewise, at most
SURE = 0.99  # of an interval
ITEMS = 1000  # of validation that copies are judged on
WORTH = 0.02  # of the loss: less is no difference worth a word
MOST = 64  # directions of the last layer's inputs


def _trained(ctx: Context, model: nn.Module, steps: int, change: Callable[[Batch], Batch] = lambda b: b) -> int:
    """Trains a model in place, at the run's own rate with a rise and a fall; how many steps it had time for."""
    opt = ctx.optimize(model)
    peaks = [group["lr"] for group in opt.param_groups]
    modes.train(model)
    began, done, epoch = time.perf_counter(), 0, 0
    with rng.preserved():
        rng.seed_everything(ctx.seed)
        while done < steps:
            for batch in ctx.fed("train", epoch):
                share = done / steps
                for group, peak in zip(opt.param_groups, peaks, strict=True):
                    group["lr"] = peak * min(1.0, (share + 0.02) / 0.2, (1.02 - share) / 0.4)
                opt.zero_grad()
                ctx.loss(model, change(batch)).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
                done += 1
                if done >= steps or time.perf_counter() - began > SECONDS:
                    return done
            epoch += 1
    return done


def _losses(ctx: Context, model: nn.Module, change: Callable[[Batch], Batch] = lambda b: b) -> Tensor | None:
    """The reported loss of each of some validation items, [n]; None without single items' predictions."""
    sample, found = ctx.sample("valid"), []
    if sample is None or not sample.y:
        return None
    n = min(ITEMS, sample.n_rows)
    with evaluating(model):
        for i in range(0, n, CHUNK):
            part = Batch(*(tuple(t[i : min(n, i + CHUNK)].to(ctx.device) for t in fields) for fields in sample))
            pred = ctx.pred(model, change(part))
            if pred is None or len(pred) != part.n_rows:
                return None
            found.append(item_losses(ctx.loss_fn, pred.float(), part.y).cpu())
    return torch.cat(found)


# --- the same network without its inputs ----------------------------------------------------------------------------


def _emptied(batch: Batch) -> Batch:
    return batch._replace(x=tuple(torch.zeros_like(t) for t in batch.x))


def _trained_losses(ctx: Context) -> tuple[Tensor, int] | None:
    """Validation losses of a copy after a small training, and its steps."""
    if "trained" not in ctx.kept:
        model = ctx.fresh()
        steps = _trained(ctx, model, STEPS)
        losses = _losses(ctx, model)
        ctx.kept["trained"] = None if losses is None else (losses, steps)
    return ctx.kept["trained"]  # type: ignore[no-any-return]


def _zeroed(ctx: Context) -> Figures | None:
    if ctx.dls.train is None or ctx.dls.valid is None or ctx.compute_loss is not None:
        return None
    found = _trained_losses(ctx)
    if found is None:
        return None
    losses, steps = found
    model = ctx.fresh()
    _trained(ctx, model, steps, _emptied)
    blind = _losses(ctx, model, _emptied)
    assert blind is not None
    return {
        "steps": steps,
        "with inputs": float(losses.mean()),
        "without": float(blind.mean()),
        "gain": list(mean_interval(blind - losses, level=SURE)),
    }


def _judge_zeroed(f: Figures) -> Iterator[Verdict]:
    if f["gain"][1] <= 0:
        yield Verdict(
            "warning",
            f"the inputs are of no use to the model: after {f['steps']} steps its validation loss is {f['with inputs']:.3g}, and "
            f"{f['without']:.3g} for the same network with every input zeroed.",
            f,
            "Are rows and targets still in one order? Then learn.lr_find(), a longer training, or better features.",
        )


ZEROED = Check(
    "zeroed-inputs",
    "thorough",
    "MO09",
    _zeroed,
    _judge_zeroed,
    "Karpathy, A Recipe for Training Neural Networks, 2019",
    ("gradient-flow", "non-finite-values", "non-finite-data"),
)


# --- from scratch ---------------------------------------------------------------------------------------------------


def _scratch(ctx: Context) -> Figures | None:
    """The same network with its weights drawn anew, on the same small budget; only where the model brought weights."""
    if not ctx.pretrained or ctx.dls.valid is None or ctx.compute_loss is not None:
        return None
    model = ctx.fresh()
    with rng.preserved():
        rng.seed_everything(ctx.seed)
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    for p in model.parameters():
        p.requires_grad_(True)
    found = _trained_losses(ctx)
    if found is None:
        return None
    losses, steps = found
    _trained(ctx, model, steps)
    anew = _losses(ctx, model)
    assert anew is not None
    return {
        "steps": steps,
        "pre-trained": float(losses.mean()),
        "from scratch": float(anew.mean()),
        "gain": list(mean_interval(anew - losses, level=SURE)),
    }


def _judge_scratch(f: Figures) -> Iterator[Verdict]:
    if f["gain"][2] < 0 and f["pre-trained"] - f["from scratch"] > WORTH * f["from scratch"]:
        yield Verdict(
            "warning",
            f"the weights that the model brought do harm: after {f['steps']} steps validation loss is {f['pre-trained']:.3g}, and "
            f"{f['from scratch']:.3g} from scratch (negative transfer).",
            f,
            "Train from scratch (pretrained=False), or weights from a domain nearer to this one; at least train all layers.",
        )


SCRATCH = Check(
    "negative-transfer", "thorough", "AR04", _scratch, _judge_scratch, "Zhang et al. 2009.00909, a survey of it"
)


# --- validation and test as the model sees them ---------------------------------------------------------------------


def _embedded_shift(ctx: Context) -> Figures | None:
    """Adversarial validation on what the last linear layer takes; the test's inputs alone are read."""
    valid, test = ctx.sample("valid"), ctx.sample("test")
    linear = [module for module in ctx.model.modules() if isinstance(module, nn.Linear)]
    if valid is None or test is None or not linear or min(valid.n_rows, test.n_rows) < 50:
        return None
    a, b = (_embedded(ctx, linear[-1], part) for part in (valid, test))
    if a is None or b is None:
        return None
    both = torch.cat([a, b]).double()
    both -= both.mean(0)
    directions = torch.linalg.svd(both, full_matrices=False).Vh[: min(MOST, both.shape[1])]
    scores, side = told_apart(a.double() @ directions.T, b.double() @ directions.T, ctx.seed)
    area, error = auc(scores, side)
    return {"auc": area, "standard error": error, "lower": area - Z * error, "valid": len(a), "test": len(b)}


def _embedded(ctx: Context, layer: nn.Module, batch: Batch) -> Tensor | None:
    """What a layer takes of each item, float [n, d]; None where that is not one row an item."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().float().cpu()))
    try:
        with evaluating(ctx.model):
            for i in range(0, batch.n_rows, CHUNK):
                ctx.model(*(t[i : i + CHUNK].to(ctx.device) for t in batch.x))
    finally:
        hook.remove()
    rows = [t.flatten(1) for t in seen]
    return torch.cat(rows) if sum(map(len, rows)) == batch.n_rows else None


def _judge_shift(f: Figures) -> Iterator[Verdict]:
    if f["lower"] > 0.5 and f["auc"] > LEAST:
        yield Verdict(
            "warning",
            f"validation and test can be told apart by what the model sees in them: AUC {f['auc']:.3f} (at least {f['lower']:.3f}), "
            "where 0.5 means alike.",
            f,
            "Draw validation the way the test was drawn: the latest items, other groups, the same source.",
        )


EMBEDDED_SHIFT = Check(
    "valid-test-shift-embedded",
    "thorough",
    "DA08",
    _embedded_shift,
    _judge_shift,
    "adversarial validation; Hanley and McNeil 1982 for the interval",
    ("valid-test-shift",),
)

CHECKS = (ZEROED, SCRATCH, EMBEDDED_SHIFT)
