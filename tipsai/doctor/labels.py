"""Targets that a trained model gives reason to doubt: numbered otherwise in validation (DA10), or wrong (DA01)."""

from collections.abc import Iterator

import torch

from tipsai.doctor.baselines import guess_errors
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.doctor.judged import judged
from tipsai.intervals import wilson

SUREST = 1 / 3  # of the validation items
DOUBTED = 0.05  # of the surest items' labels: more wrong ones than this are worth a word
LEAST = 60  # validation items
SURE = 0.99  # of an interval
SHOWN = 3  # classes in a message
MOST_CLASSES = 200


def _share(n_yes: int, n: int) -> list[float]:
    """A share of n items, and its interval."""
    low, high = wilson(n_yes, n, SURE)
    return [n_yes / n, float(low), float(high)]


# --- numbered otherwise ---------------------------------------------------------------------------------------------

KNOWN = 0.5  # of what guessing gets wrong: a training error below it shows that the model knows the classes


def _numbering(ctx: Context) -> Figures | None:
    """What is left of the validation error once each class is called by the name that the model mostly gives it."""
    valid, train, guess = judged(ctx, "valid"), judged(ctx, "train"), guess_errors(ctx)
    if valid is None or train is None or guess is None or valid.kind != "classes" or valid.n_out > MOST_CLASSES:
        return None
    target, said = valid.items["target"], valid.items["prediction"]
    target, said = target[target >= 0].long(), said[target >= 0].long()
    n = int(max(target.max(), said.max())) + 1
    if len(target) < LEAST:
        return None
    table = torch.bincount(target * n + said, minlength=n * n).reshape(n, n)
    named = table.argmax(1)
    there = table.sum(1) > 0
    renamed = [(int(c), int(named[c])) for c in there.nonzero()[:, 0] if named[c] != c]
    return {
        "error": float((target != said).double().mean()),
        "renamed": float((named[target] != said).double().mean()),
        "names": sorted(renamed, key=lambda pair: -int(table[pair]))[:SHOWN],
        "one each": len(set(named[there].tolist())) == int(there.sum()),
        "train": float(train.errors.mean()),
        "guess": float(guess.mean()),
        "n": len(target),
    }


def _judge_numbering(f: Figures) -> Iterator[Verdict]:
    if not f["one each"] or not f["names"] or f["train"] > KNOWN * f["guess"]:
        return
    if f["error"] > KNOWN * f["guess"] and f["renamed"] < 0.5 * f["error"]:
        told = ", ".join(f"what is labelled {a} is taken for {b}" for a, b in f["names"])
        yield Verdict(
            "warning",
            f"classes are numbered otherwise in validation than in training: {told}. With other names for the classes the error on {f['n']:,} "
            f"items would be {f['renamed']:.1%} in place of {f['error']:.1%}.",
            f,
            "Encode the labels of both by one list of classes, made from training; folders of pictures must hold the same ones. If the labels are "
            "right, see whether inputs differ, as in the order of channels.",
        )


NUMBERING = Check("class-numbering", "end", "DA10", _numbering, _judge_numbering)


# --- wrong labels ---------------------------------------------------------------------------------------------------


def _labels(ctx: Context) -> Figures | None:
    """How often the model is wrong where it is surest.

    Where classes overlap, a model is wrong where it is in doubt; labels that are wrong at random it misses everywhere.
    """
    valid, train, guess = judged(ctx, "valid"), judged(ctx, "train"), guess_errors(ctx)
    if valid is None or valid.kind != "classes" or guess is None or len(valid.errors) < LEAST:
        return None
    # what it was trained on tells less, for a model may know wrong labels by heart, but there is more of it
    parts = [valid] if train is None else [valid, train]
    wrong, n = 0, 0
    shares = []
    for part in parts:
        sure = part.items["probability"][part.items["target"] >= 0].argsort(descending=True, stable=True)
        size = round(SUREST * len(sure))
        wrong, n = wrong + int(part.errors[sure[:size]].sum()), n + size
        shares.append((_share(wrong, n), n))
    (share, n) = max(shares, key=lambda found: found[0][1])
    return {"surest": share, "n": n, "all": float(valid.errors.mean()), "guess": float(guess.mean())}


def _judge_labels(f: Figures) -> Iterator[Verdict]:
    share, low, high = f["surest"]
    if low > DOUBTED and min(share, f["all"]) < 0.5 * f["guess"]:  # the model is worth asking
        yield Verdict(
            "advice",
            f"about {share:.0%} of the labels ({low:.0%} to {high:.0%}) may be wrong, or a matter of chance: so many of the {f['n']:,} "
            "items that the model is surest of have another one.",
            f,
            "Look at learn.interpret().label_errors(); mixup and label smoothing make training sturdier against wrong labels.",
        )


LABELS = Check(
    "label-errors",
    "end",
    "DA01",
    _labels,
    _judge_labels,
    "Northcutt et al. 1911.00068",
    ("error", "baselines", "learning-rate", "class-numbering"),
)


FIRST = (NUMBERING,)
CHECKS = (LABELS,)
