"""Simple answers that a model must beat (MO09): guessing, a linear model, the nearest neighbours, pairs of tokens."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from tipsai.core.state import IGNORED
from tipsai.data.itemwise import item_losses
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.doctor.features import simple_features
from tipsai.doctor.judged import Judged, judged, mean_interval
from tipsai.losses import BinaryCrossEntropy, CrossEntropy, ElementwiseLoss

LEAST = 30  # validation items
SURE = 0.99  # of an interval
MUCH = 0.35  # of what guessing gets wrong: a model that may be better by this much is not said to be useless
FAR = 0.6  # of what a baseline gains over guessing: a model that lacks more than this gets a warning
MANY = 100  # validation items, likewise
SMALL = 0.05  # of what guessing gets wrong: less than this is no advantage worth a word
NEIGHBOURS = 10
MOST_CLASSES = 200
DECAYS = (1e-3, 1e-1)  # of a linear model's weights, on standardised inputs

Errors = dict[str, Tensor]  # of a baseline, by measure, float64 [n] each, for the validation items


# --- guessing -------------------------------------------------------------------------------------------------------


def _guess(ctx: Context) -> Errors | None:
    """The same answer to every item, the best that the training targets allow: its errors on validation, by measure."""
    if "guess" not in ctx.kept:
        valid, train = judged(ctx, "valid"), judged(ctx, "train")
        ctx.kept["guess"] = None if valid is None or train is None else _guessed(ctx, train, valid)
    return ctx.kept["guess"]  # type: ignore[no-any-return]


def guess_errors(ctx: Context) -> Tensor | None:
    """The errors of guessing in the measure that people read, float64 [n]."""
    found, valid = _guess(ctx), judged(ctx, "valid")
    return None if found is None or valid is None else found.get(valid.measure)


def _guessed(ctx: Context, train: Judged, valid: Judged) -> Errors | None:
    y, told = valid.batch.y[0], train.batch.y[0]
    if valid.kind == "numbers":
        return _constant_numbers(ctx, told.float(), y.float())
    if valid.kind == "classes":
        target, n = valid.items["target"].long(), max(2, valid.n_out)
        if n > len(train.batch.y[0]) or bool((target < 0).any()):
            return None
        shares = _shares(train.items["target"].long(), n)
        often = int(shares.argmax())
        found = {"error": (target != often).double()}
        if isinstance(ctx.loss_fn, CrossEntropy | BinaryCrossEntropy):
            found["loss"] = -shares.log()[target]
        return found
    if valid.kind == "labels":
        p = (told.double().mean(0) * len(told) + 0.5) / (len(told) + 1)
        logits = (p / (1 - p)).log().expand(y.shape)
        return {"loss": F.binary_cross_entropy_with_logits(logits, y.double(), reduction="none").flatten(1).mean(1)}
    if isinstance(ctx.loss_fn, CrossEntropy) and not y.is_floating_point() and y.ndim > 1:
        logs = _shares(told[told >= 0].long(), max(valid.n_out, int(told.max()) + 1)).log()
        return {"loss": _token_losses(logs[y.clamp(min=0, max=len(logs) - 1)], y)}
    return None


def _shares(codes: Tensor, n: int) -> Tensor:
    """How often each of n codes occurs, float64 [n]; none is said never to."""
    counts = torch.bincount(codes.flatten(), minlength=n).double() + 0.5
    return counts / counts.sum()


def _token_losses(logs: Tensor, y: Tensor) -> Tensor:
    """The mean over each item's counted targets of what their probability costs, float64 [n]."""
    counted = (y != IGNORED).double().flatten(1)
    return (-logs.flatten(1) * counted).sum(1) / counted.sum(1).clamp(min=1)


def _constant_numbers(ctx: Context, told: Tensor, y: Tensor) -> Errors | None:
    if not isinstance(ctx.loss_fn, ElementwiseLoss):
        return None
    answers = [told.mean(0), told.median(0).values]
    losses = [item_losses(ctx.loss_fn, a.expand_as(told).contiguous(), (told,)).mean() for a in answers]
    best = answers[int(losses[1] < losses[0])].expand_as(y).contiguous()
    return {"loss": item_losses(ctx.loss_fn, best, (y,)).double()}


# --- a linear model, neighbours, pairs ------------------------------------------------------------------------------


def _linear(x: Tensor, y: Tensor, new: Tensor) -> Tensor:
    """Ridge regression of y [n, k] on x [n, d], with the decay that serves a fourth of the rows best; for new [m, d]."""

    def fitted(x: Tensor, y: Tensor, new: Tensor, decay: float) -> Tensor:
        middle, mean = x.mean(0), y.mean(0)
        z = x - middle
        gram = z.T @ z + decay * len(z) * torch.eye(z.shape[1], dtype=z.dtype)
        weight: Tensor = torch.linalg.solve(gram, z.T @ (y - mean))
        return (new - middle) @ weight + mean

    cut = len(x) // 4
    off = [float((fitted(x[cut:], y[cut:], x[:cut], decay) - y[:cut]).square().mean()) for decay in DECAYS]
    return fitted(x, y, new, DECAYS[off.index(min(off))])


def _neighbours(x: Tensor, y: Tensor, new: Tensor) -> Tensor:
    """The mean of y [n, k] over the nearest rows of x [n, d], for new [m, d]."""
    nearest = torch.cdist(new.float(), x.float()).topk(min(NEIGHBOURS, len(x)), 1, largest=False).indices
    return y[nearest].mean(1)


def _pairs(x: Tensor, y: Tensor, new: Tensor, told: Tensor) -> Tensor:
    """What each next token costs by how often it followed the token before it in training, [n, t]; mixed with its own share.

    Args:
        x: tokens of training, int64 [n, t].
        y: those that follow; negative ones do not count.
        new: tokens of validation.
        told: those that follow.
    """
    n = int(max(x.max(), y.max(), new.max(), told.max())) + 1
    x, y = x[y >= 0], y[y >= 0]
    alone = _shares(y, n)
    pairs, counts = torch.unique(x * n + y, return_counts=True)
    before = torch.bincount(x, minlength=n).double()
    distinct = torch.bincount(pairs // n, minlength=n).double()  # Witten and Bell's weight of what was never seen
    wanted = new * n + told.clamp(min=0)
    place = torch.searchsorted(pairs, wanted).clamp(max=len(pairs) - 1)
    seen = torch.where(pairs[place] == wanted, counts[place], 0).double()
    weight = distinct[new] + (before[new] == 0)
    mixed: Tensor = (seen + weight * alone[told.clamp(min=0)]) / (before[new] + weight)
    return mixed


def _rivals(ctx: Context, train: Judged, valid: Judged) -> Errors:
    """Errors on validation in the measure that people read, by the name of a baseline."""
    x, y, new, told = *train.batch, *valid.batch
    codes = valid.kind == "others" and not y[0].is_floating_point() and len(x) == 1 and x[0].shape == y[0].shape
    if codes and isinstance(ctx.loss_fn, CrossEntropy) and not x[0].is_floating_point():
        return {"pairs of tokens": _token_losses(_pairs(x[0], y[0], new[0], told[0]).log(), told[0])}
    if valid.kind not in ("classes", "numbers") or len(train.errors) != len(y[0]):
        return {}
    table = simple_features(x, new)
    if table is None:
        return {}
    a, b = table
    if valid.kind == "classes":
        n = max(2, valid.n_out)
        target, wanted = train.items["target"].long(), valid.items["target"].long()
        if n > MOST_CLASSES or bool((target < 0).any()) or bool((wanted < 0).any()):
            return {}
        hot = F.one_hot(target, n).double()
        guesses = {"a linear model": _linear(a, hot, b), "the nearest neighbours": _neighbours(a, hot, b)}
        return {name: (g.argmax(1) != wanted).double() for name, g in guesses.items()}
    if not isinstance(ctx.loss_fn, ElementwiseLoss):
        return {}
    flat = y[0].double().flatten(1) if y[0].ndim > 1 else y[0].double()[:, None]
    guesses = {"a linear model": _linear(a, flat, b), "the nearest neighbours": _neighbours(a, flat, b)}
    return {
        name: item_losses(ctx.loss_fn, g.reshape(told[0].shape).float(), told).double() for name, g in guesses.items()
    }


# --- the check ------------------------------------------------------------------------------------------------------


def _balanced(errors: Tensor, target: Tensor) -> Tensor:
    """Errors whose mean is the mean over classes of a class's share of errors."""
    counts = torch.bincount(target)
    return errors * len(target) / (counts[target] * int((counts > 0).sum()))


def _baselines(ctx: Context) -> Figures | None:
    train, valid = judged(ctx, "train"), judged(ctx, "valid")
    guess = _guess(ctx)
    if train is None or valid is None or guess is None or len(valid.errors) < LEAST or len(train.errors) < LEAST:
        return None
    errors = valid.errors
    compared = {name: guess[name] - (errors if name == valid.measure else valid.items[name].double()) for name in guess}
    if valid.kind == "classes":
        target = valid.items["target"].long()
        compared["balanced error"] = _balanced(guess["error"], target) - _balanced(errors, target)
    beats = {name: list(mean_interval(values, level=SURE)) for name, values in compared.items()}
    name = {"classes": "the most frequent class", "numbers": "the mean or median"}.get(valid.kind, "the shares alone")
    rivals = {name: guess.get(valid.measure, guess.get("loss", errors)), **_rivals(ctx, train, valid)}
    per_class = {}  # each class counts alike: what a run for rare classes cares for
    if valid.kind == "classes":
        ours = float(_balanced(errors, target).mean())
        per_class = {name: float(_balanced(values, target).mean()) - ours for name, values in rivals.items()}
    return {
        "measure": valid.measure,
        "model": list(mean_interval(errors)),
        "training": list(mean_interval(train.errors)),
        "baselines": {name: float(values.mean()) for name, values in rivals.items()},
        "better": {name: list(mean_interval(values - errors, level=SURE)) for name, values in rivals.items()},
        "better by class": per_class,
        "against guessing": beats,
        "guess": name,
        "n": len(errors),
    }


def _judge(f: Figures) -> Iterator[Verdict]:
    guess, model = f["baselines"][f["guess"]], f["model"][0]
    measure = f["measure"]

    def shown(value: float) -> str:
        return f"{value:.1%}" if measure == "error" else f"{value:.3g}"

    better = {
        name: d
        for name, (d, _, high) in f["better"].items()
        if high < 0
        and -d > SMALL * guess
        and f["baselines"][name] < (1 - SMALL) * guess
        and f.get("better by class", {}).get(name, -1.0) < 0
    }
    if better:
        name = min(better, key=lambda name: better[name])
        value = f["baselines"][name]
        lacks = (model - value) / (guess - value)
        trained, least, _ = f["training"]
        under = (
            f" Its {measure} on training items is {shown(trained)}, too: it underfits."
            if least > value + SMALL * guess
            else ""
        )
        yield Verdict(
            "warning" if lacks > FAR and f["n"] >= MANY else "advice",
            f"a simple answer is better: of {f['n']:,} validation items {name} gets the {measure} {shown(value)}, the model "
            f"{shown(model)} (guessing {shown(guess)}).{under}",
            f,
            "A larger model, longer training, or another rate: learn.lr_find(); else keep the simple one."
            if under
            else "Train longer, at a rate of learn.lr_find(), or a larger model; else keep the simple one.",
        )
        return
    beaten = any(low > 0 for _, low, _ in f["against guessing"].values())
    if not beaten and f["better"][f["guess"]][2] < MUCH * guess:
        yield Verdict(
            "warning",
            f"the model is no better than guessing: validation {measure} {shown(model)} ({shown(f['model'][1])} to {shown(f['model'][2])}), "
            f"and {f['guess']} gets {shown(guess)}.",
            f,
            "Look at the targets (are rows and targets still in one order?) and at learn.check(); then train longer, at a rate of learn.lr_find().",
        )


BASELINES = Check(
    "baselines",
    "end",
    "MO09",
    _baselines,
    _judge,
    "Karpathy, A Recipe for Training Neural Networks, 2019, 'input-independent baseline'",
    (
        "error",
        "first-loss",
        "input-scale",
        "validation-scale",
        "gradient-depth",
        "learning-rate",
        "silent-units",
        "gradients-in-training",
        "class-numbering",
        "augmentation-changes-labels",
        "few-steps",
        "weight-decay",
        "weights-vanish",
        "dropout-rate",
        "zero-gradient",
        "same-units",
        "linear-layers",
        "padding-counts",
        "no-positions",
        "embedding-too-small",
    ),
)

CHECKS = (BASELINES,)
