"""Checks that must train something, or look with the model's own eyes: learn.check(thorough=True).

Copies are trained, all on the same batches with the same optimizer, for a small number of steps.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from tipsai.core import modes, rng
from tipsai.core.errors import SettingError
from tipsai.core.evaluate import evaluating, features
from tipsai.core.state import Batch
from tipsai.data.itemwise import item_losses
from tipsai.doctor import shift
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.doctor.judged import item_preds, mean_interval, parts

STEPS = 300  # of a copy's training
SECONDS = 30.0  # likewise, at most
SURE = 0.99  # of an interval
ITEMS = 1000  # of validation that copies are judged on
WORTH = 0.02  # of the loss: less is no difference worth a word
MOST = 64  # directions of the last layer's inputs
Change = Callable[[Batch], Batch]


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _trained(ctx: Context, model: nn.Module, steps: int, change: Change = _as_it_is) -> int:
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


def _losses(ctx: Context, model: nn.Module, change: Change = _as_it_is) -> Tensor | None:
    """The reported loss of each of some validation items, [n]; None without single items' predictions."""
    sample, found = ctx.sample("valid"), []
    if sample is None or not sample.y:
        return None
    with evaluating(model):
        for part in parts(ctx, sample, ITEMS):
            pred = item_preds(ctx, model, change(part))
            if pred is None:
                return None
            found.append(item_losses(ctx.loss_fn, pred, part.y).cpu())
    return torch.cat(found)


def _beside(ctx: Context, other: nn.Module, names: tuple[str, str], change: Change = _as_it_is) -> Figures | None:
    """Validation losses of a copy and of another model after as many steps; the gain is the copy's.

    Args:
        ctx: of the run.
        other: to be trained.
        names: of the two losses.
        change: of the other's inputs.
    """
    if ctx.dls.train is None or ctx.dls.valid is None or ctx.compute_loss is not None:
        return None
    if "trained" not in ctx.kept:
        model = ctx.fresh()
        ctx.kept["trained"] = (_trained(ctx, model, STEPS), _losses(ctx, model))
    steps, own = ctx.kept["trained"]
    if own is None:
        return None
    _trained(ctx, other, steps, change)
    theirs = _losses(ctx, other, change)
    assert theirs is not None
    gain = list(mean_interval(theirs - own, level=SURE))
    return {"steps": steps, names[0]: float(own.mean()), names[1]: float(theirs.mean()), "gain": gain}


# --- the same network without its inputs ----------------------------------------------------------------------------


def _emptied(batch: Batch) -> Batch:
    return batch._replace(x=tuple(torch.zeros_like(t) for t in batch.x))


def _zeroed(ctx: Context) -> Figures | None:
    return _beside(ctx, ctx.fresh(), ("with inputs", "without"), _emptied)


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
    if not ctx.pretrained:
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
    return _beside(ctx, model, ("pre-trained", "from scratch"))


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
    samples = [ctx.sample(split) for split in ("valid", "test")]
    if any(sample is None or sample.n_rows < shift.FEWEST for sample in samples):
        return None
    try:
        seen = [features(ctx.model, parts(ctx, s, s.n_rows), s.n_rows)[0] for s in samples if s is not None]
    except SettingError:  # no linear layer, or one that sees other than a row an item
        return None
    a, b = (t.double() for t in seen)
    both = torch.cat([a, b])
    directions = torch.linalg.svd(both - both.mean(0), full_matrices=False).Vh[: min(MOST, both.shape[1])]
    return shift.compared(a @ directions.T, b @ directions.T, ctx.seed)


EMBEDDED_SHIFT = Check(
    "valid-test-shift-embedded",
    "thorough",
    "DA08",
    _embedded_shift,
    partial(shift.judge, by="what the model sees in them"),
    shift.SOURCE,
    ("valid-test-shift",),
)

CHECKS = (ZEROED, SCRATCH, EMBEDDED_SHIFT)
