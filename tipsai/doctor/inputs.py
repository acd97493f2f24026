"""What reaches the model: scale, constants, values that are no numbers, and whether validation is treated alike."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tipsai.core.errors import listing
from tipsai.core.evaluate import evaluating
from tipsai.core.state import Batch
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, before_forward, column_names, columns

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def channels(x: Tensor) -> Tensor:
    """Values by what shares a scale, float [n, c]: a table's columns, a picture's channels."""
    return x.float() if x.ndim == 2 else x.float().transpose(0, 1).flatten(1).T if x.ndim > 2 else x.float()[:, None]


# --- no numbers -----------------------------------------------------------------------------------------------------


def _finite(ctx: Context) -> Figures | None:
    bad: dict[str, int] = {}
    for split in ("train", "valid"):
        batch = ctx.sample(split)
        for field in ("x", "y"):
            for t in getattr(batch, field, ()):
                n = int((~torch.isfinite(t.reshape(len(t), -1))).any(1).sum())
                if n:
                    name = f"{split} {'inputs' if field == 'x' else 'targets'}"
                    bad[name] = bad.get(name, 0) + n
    return {"rows": bad}


def _judge_finite(f: Figures) -> Iterator[Verdict]:
    if f["rows"]:
        told = ", ".join(f"{n:,} rows of {name}" for name, n in f["rows"].items())
        yield Verdict(
            "error",
            f"there are infinite or missing values: {told}. One of them makes the loss and then every weight NaN.",
            f,
            "Fill or drop them: torch.nan_to_num, frame.dropna(); TabularDataLoaders.from_df fills missing values itself.",
        )


NON_FINITE = Check("non-finite-data", "data", "DA12", _finite, _judge_finite)


# --- scale ----------------------------------------------------------------------------------------------------------


def _taken_first(model: nn.Module, batch: Batch) -> tuple[nn.Module, Tensor] | None:
    """The first layer with parameters, or norm, that a batch meets, and what it takes."""
    wanted = [
        m
        for m in model.modules()
        if not list(m.children()) and (list(m.parameters(recurse=False)) or isinstance(m, NORMS))
    ]
    met: list[tuple[nn.Module, Any]] = []

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        if not met:
            met.append((module, args[0] if args else None))

    with before_forward(wanted, look), evaluating(model):
        model(*batch.x)
    return (met[0][0], met[0][1].detach()) if met and isinstance(met[0][1], Tensor) else None


def _scale(ctx: Context) -> Figures | None:
    """Of what the first layer takes: a model may well scale its inputs itself."""
    batch = ctx.batch()
    met = None if batch is None else _taken_first(ctx.model, batch)
    if met is None or isinstance(met[0], NORMS) or not met[1].is_floating_point():
        return None  # the model sees to it itself, or embeds
    x = channels(met[1])
    spread = x.std(0) if len(x) > 1 else x.abs().amax(0)
    alive = spread[spread > 0]
    return {
        "mean": float(x.mean()),
        "std": float(x.std()),
        "largest": float(x.abs().max()),
        "least std of a column": float(alive.min()) if len(alive) else 0.0,
        "largest std of a column": float(spread.max()),
        "columns": x.shape[1],
    }


def _judge_scale(f: Figures) -> Iterator[Verdict]:
    fix = "Normalise by the training data: x = (x - mean) / std, for validation and new data with the same figures."
    if abs(f["mean"]) > 5 or f["std"] > 10 or f["largest std of a column"] > 20:
        shown = "raw bytes of pictures" if 200 < f["largest"] <= 255 and f["mean"] > 20 else "inputs"
        yield Verdict(
            "warning",
            f"{shown} reach the model unscaled: mean {f['mean']:.3g}, standard deviation {f['std']:.3g}, "
            f"largest {f['largest']:.3g}; expected about 0 and 1, or values from 0 to 1.",
            f,
            fix,
        )
    elif 0 < f["std"] < 0.02 and f["largest"] < 0.2:
        yield Verdict(
            "warning",
            f"inputs reach the model tiny: standard deviation {f['std']:.3g}, largest {f['largest']:.3g}.",
            f,
            fix,
        )
    elif (
        f["columns"] > 1
        and f["largest std of a column"] > 100 * f["least std of a column"]
        and f["largest std of a column"] > 3
    ):
        yield Verdict(
            "warning",
            f"columns differ widely in scale: standard deviations from {f['least std of a column']:.3g} to "
            f"{f['largest std of a column']:.3g}.",
            f,
            fix,
        )


SCALE = Check(
    "input-scale", "start", "DA12", _scale, _judge_scale, source="LeCun et al., Efficient BackProp, 1998, section 4.3"
)


# --- alike in training and validation -------------------------------------------------------------------------------


APART, RATIO = 1.0, 1.8  # of a single column: standard deviations, and times
SEVERAL = 0.2  # of the columns


def _alike(ctx: Context) -> Figures | None:
    train, valid = ctx.sample("train"), ctx.sample("valid")
    if train is None or valid is None or not train.x or not train.x[0].is_floating_point():
        return None
    if train.x[0].shape[1:] != valid.x[0].shape[1:] and train.x[0].ndim < 4:
        return None
    a, b = channels(train.x[0]), channels(valid.x[0])
    if a.shape[1] != b.shape[1] or min(train.n_rows, valid.n_rows) < 50:
        return None
    spread, other = a.std(0), b.std(0)
    alive = (spread > 0) & (other > 0)
    if not alive.any():
        return None
    moved = (a.mean(0) - b.mean(0)).abs() / torch.maximum(spread, other).clamp(min=1e-12)
    ratio = (other / spread).log()
    shown = int(torch.where(alive, moved + ratio.abs(), -1.0).argmax())
    apart = (alive & ((moved > APART) | (ratio.abs() > math.log(RATIO)))).double().sum()
    name = f"channel {shown}" if train.x[0].ndim > 2 else f"column {column_names(ctx, len(train.x))(0, shown)!r}"
    return {
        "moved": float(moved[alive].median()),
        "ratio of spreads": float(ratio[alive].median().exp()),
        "items": min(train.n_rows, valid.n_rows),
        "share apart": float(apart / alive.sum()),
        "where": name if a.shape[1] > 1 else "",
        "train": {"mean": float(a[:, shown].mean()), "std": float(spread[shown])},
        "valid": {"mean": float(b[:, shown].mean()), "std": float(other[shown])},
    }


def _judge_alike(f: Figures) -> Iterator[Verdict]:
    chance = 4 / f["items"] ** 0.5  # of a difference of means, in standard deviations
    all_ = f["moved"] > max(0.5, chance) or not 2 / 3 < f["ratio of spreads"] < 1.5
    if all_ or f["share apart"] > SEVERAL:
        t, v = f["train"], f["valid"]
        yield Verdict(
            "warning",
            f"validation inputs are scaled otherwise than training inputs: mean {v['mean']:.3g} and standard deviation "
            f"{v['std']:.3g}, against {t['mean']:.3g} and {t['std']:.3g}{' (' + f['where'] + ', where they differ most)' if f['where'] else ''}.",
            f,
            "Use the training data's figures for both, and the same order of channels: (x_valid - x_train.mean(0)) / x_train.std(0).",
        )


ALIKE = Check("validation-scale", "data", "DA10", _alike, _judge_alike, unless=("class-mix",))


OFTEN_THERE, TIMES, BESIDES = 0.15, 4.0, 0.02  # share of one token in validation, and over that in training


def _same_tokens(ctx: Context) -> Figures | None:
    """The token whose share grows most from training to validation."""
    train, valid = ctx.sample("train"), ctx.sample("valid")
    if ctx.dls.blocks or ctx.tokens() is None or train is None or valid is None or train.x[0].is_floating_point():
        return None  # blocks of text know which words are unknown
    a, b = (batch.x[0].flatten() for batch in (train, valid))
    if min(int(a.min()), int(b.min())) < 0:
        return None
    n = 1 + max(int(a.max()), int(b.max()))
    shares = [torch.bincount(tokens, minlength=n).double() / len(tokens) for tokens in (a, b)]
    token = int((shares[1] - shares[0]).argmax())
    return {"token": token, "train": float(shares[0][token]), "valid": float(shares[1][token])}


def _judge_same_tokens(f: Figures) -> Iterator[Verdict]:
    if f["valid"] > OFTEN_THERE and f["valid"] > TIMES * f["train"] + BESIDES:
        yield Verdict(
            "warning",
            f"token {f['token']} makes up {f['valid']:.0%} of validation and {f['train']:.1%} of training: if it stands for unknown words, the "
            "validation texts are written otherwise than the vocabulary.",
            f,
            "Treat all texts alike before they become tokens (case, spelling, separators), and count unknown ones in each split.",
        )


SAME_TOKENS = Check("validation-tokens", "data", "LM05", _same_tokens, _judge_same_tokens)


# --- nothing in it --------------------------------------------------------------------------------------------------


def _constant(ctx: Context) -> Figures | None:
    batch = ctx.sample("train")
    if batch is None or batch.n_rows < 20:
        return None
    dead, total, whole, name = [], 0, 0, column_names(ctx, len(batch.x))
    for i, t in enumerate(batch.x):
        if not t.numel() or (len(batch.x) > 1 and ctx.dls.blocks and bool(((t == 0) | (t == 1)).all())):
            continue  # a table's flags, such as for missing values
        values = channels(t) if t.is_floating_point() else t.reshape(len(t), -1)
        same = (values == values[:1]).all(0)
        if t.is_floating_point() and t.ndim == 3 and not same.any() and not ctx.dls.blocks:
            last = t.flatten(0, 1)  # of series the features may stand last
            same = (last == last[:1]).all(0)
        if t.is_floating_point() or (t.ndim == 2 and ctx.tokens() is None):
            dead += [name(i, j) for j in same.nonzero()[:, 0].tolist()]
            total += len(same)
        whole += bool((t == t[:1]).all())
    return {"constant": dead, "columns": total, "whole inputs": whole, "inputs": len(batch.x), "rows": batch.n_rows}


def _judge_constant(f: Figures) -> Iterator[Verdict]:
    n = len(f["constant"])
    if f["whole inputs"]:
        yield Verdict(
            "error" if f["whole inputs"] == f["inputs"] else "warning",
            f"{'every input' if f['whole inputs'] == f['inputs'] else 'an input'} is the same in all of {f['rows']:,} items; nothing can be learned from it.",
            f,
            "Look at it with dls.show_batch(); something before it loses the data.",
        )
    elif n:
        yield Verdict(
            "warning" if 2 * n > f["columns"] else "advice",
            f"{n} of {f['columns']} input columns never change ({listing(f['constant'])}).",
            f,
            "Leave them out, or find out why they are empty.",
        )


CONSTANT = Check("constant-inputs", "data", "DA12", _constant, _judge_constant)


# --- numbers that stand for nothing ---------------------------------------------------------------------------------

OFTEN, LEAST = 0.005, 5  # of the rows, and rows
OUTSIDE = 2.0  # times the range of the others that it lies beyond it


def _placeholder(column: Tensor) -> float | None:
    """The value, the least or the largest of [n], that occurs again and again far outside the range of all others.

    Zero is none: of much that is counted there is mostly nothing.
    """
    known = column[column.isfinite()].double()
    if len(known) < 50:
        return None
    for value in (known.min(), known.max()):
        others = known[known != value]
        n = len(known) - len(others)
        if value == 0 or n < max(LEAST, OFTEN * len(known)) or len(torch.unique(others)) < 5:
            continue
        low, high = others.min(), others.max()
        away = low - value if value < low else value - high
        if away > OUTSIDE * (high - low):
            return float(value)
    return None


def _placeholders(ctx: Context) -> Figures | None:
    batch = ctx.sample("train")
    if batch is None:
        return None
    table = columns(ctx, batch.x) | ctx.dls.numbers_as_read("train")
    found = {name: _placeholder(c) for name, c in table.items() if c.is_floating_point()}
    return {"columns": {name: value for name, value in found.items() if value is not None}}


def _judge_placeholders(f: Figures) -> Iterator[Verdict]:
    if f["columns"]:
        name, value = next(iter(f["columns"].items()))
        others = (
            f" So it is in {listing(other for other in f['columns'] if other != name)}."
            if len(f["columns"]) > 1
            else ""
        )
        yield Verdict(
            "warning",
            f"column {name!r} holds {value:.6g} again and again, far outside all its other values: it seems to stand for a missing one.{others}",
            f,
            f"Make it missing before scaling: df[{name!r}] = df[{name!r}].replace({value:g}, numpy.nan); TabularDataLoaders fills it then.",
        )


PLACEHOLDER = Check("missing-codes", "data", "DA12", _placeholders, _judge_placeholders)

CHECKS = (ALIKE, SAME_TOKENS, CONSTANT, PLACEHOLDER)
START = (SCALE,)
