"""Checks of a training run, from what Watch keeps: rate, steps, weights, activations, gradients, data."""

import math
import os
from collections.abc import Iterator
from itertools import accumulate
from statistics import fmean, median, pstdev

from tipsai.core.errors import listing
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.flow import judge_depth
from tipsai.doctor.watch import Record

ENOUGH = 3  # looks at least
BLOCKS = 20  # that a run's losses are averaged in


# --- the rate -------------------------------------------------------------------------------------------------------


def _ratios(r: Record) -> dict[str, float]:
    """Each layer's median step over weights, where the rate is at least a tenth of its peak."""
    high = [i for i, rate in enumerate(r.rates) if rate >= 0.1 * r.peak]
    if len(high) < ENOUGH:
        return {}
    return {name: median(values[i] for i in high) for name, values in r.updates.items() if len(values) == len(r.rates)}


def _largest(r: Record) -> float:
    """Of all looks the largest step over weights, as the median over layers."""
    looks = [values for values in r.updates.values() if len(values) == len(r.rates)]
    return max((median(ratios) for ratios in zip(*looks, strict=True)), default=0.0)


def _rate(r: Record) -> Figures | None:
    """Judged at the end of a fit: how the loss moved, and how much of that in the first half of all that was stepped."""
    losses = [loss for loss in r.losses if math.isfinite(loss)]
    if not r.ended or len(losses) < 2 * BLOCKS or len(losses) != len(r.lrs):
        return None
    size = len(losses) // BLOCKS
    blocks = [fmean(losses[i * size : (i + 1) * size]) for i in range(BLOCKS)]
    noise = median(pstdev(losses[i * size : (i + 1) * size]) for i in range(BLOCKS)) / math.sqrt(size)
    walked = list(accumulate(r.lrs))
    half = next(i for i, way in enumerate(walked) if way >= walked[-1] / 2)
    middle = blocks[min(BLOCKS - 1, half // size)]
    drop = blocks[0] - blocks[-1]
    ratios = _ratios(r)
    some = max(size, 5)
    return {
        "first": fmean(losses[: max(3, size // 4)]),
        "blocks": [round(b, 5) for b in blocks],
        # medians: batches of one kind, such as texts of one length, may stand out at all times
        "highest": max(median(losses[i : i + some]) for i in range(0, len(losses) - some + 1, some)),
        "noise": noise,
        "drop": drop,
        "in the first half": (blocks[0] - middle) / drop if drop > 0 else 0.0,
        "update": median(ratios.values()) if ratios else None,
        "largest update": _largest(r),
        "peak": r.peak,
        "default": r.default_lr,
    }


LEARNED = 0.25  # of the first loss: training that got below it was not too slow


def _judge_rate(f: Figures) -> Iterator[Verdict]:
    times = f["peak"] / f["default"] if f["default"] else None
    update, blocks, first = f["update"], f["blocks"], f["first"]
    worst, last = f["highest"], blocks[-1]
    usual = f"lr={f['default']:.2g}, or " if times and not 0.8 < times < 1.25 else ""
    fix = f"Take {usual}what learn.lr_find() suggests."
    swung = worst > 2 * first + 3 * f["noise"]
    stuck = last > 0.95 * first
    wild = swung or stuck
    moved = update or 0.0
    many, very = (times or 0.0) > 3, (times or 0.0) > 10
    high = (many and wild and moved > 0.02) or ((very or (many and wild)) and f["largest update"] > 0.03)
    if high or moved > 0.3 or (moved > 0.1 and wild) or (swung and stuck):
        by = f"{times:.0f} times the default" if times and times > 2 else "by its effect"
        shown = f"a step changes weights by up to {f['largest update']:.0%} (median over layers)"
        yield Verdict(
            "warning",
            f"the learning rate is too high ({f['peak']:.2g}, {by}): {shown}; the loss began at {first:.3g}, reached {worst:.3g} "
            f"and ended at {last:.3g}.",
            f,
            fix,
        )
        return
    slow = last > 0.6 * first or (f["in the first half"] < 0.75 and last > LEARNED * first)
    tiny = update is not None and update < 1e-4
    if slow and ((times is not None and times < 0.2) or tiny):
        by = f"a {1 / times:.0f}th of the default" if times and times < 0.5 else "by its effect"
        steady = last < first and f["in the first half"] < 0.75
        yield Verdict(
            "warning",
            f"the learning rate is too low ({f['peak']:.2g}, {by}): the loss went from {first:.3g} to {last:.3g}"
            + (", as fast in the second half of the way as in the first." if steady else "."),
            f,
            fix,
        )


RATE = Check(
    "learning-rate",
    "training",
    "TR09",
    _rate,
    _judge_rate,
    unless=("error", "silent-units", "zero-gradient", "steps-left-out"),
)


def _updates(r: Record) -> Figures | None:
    ratios = _ratios(r)
    return {"ratios": ratios, "peak": r.peak} if ratios and r.ended else None


def _judge_updates(f: Figures) -> Iterator[Verdict]:
    ratios = f["ratios"]
    for low, high, severity in ((1e-5, 0.5, "warning"), (1e-4, 0.1, "advice")):
        small = [name for name, ratio in ratios.items() if ratio < low]
        large = [name for name, ratio in ratios.items() if ratio > high]
        if small or large:
            names = small or large
            value = ratios[names[0]]
            yield Verdict(
                severity,  # type: ignore[arg-type]
                f"a step changes {listing(names)} by {value:.2g} of the weights; about 0.001 to 0.01 is usual.",
                f,
                f"{'Raise' if small else 'Lower'} the rate, or that layer's alone: Learner(..., splitter=..., lr=[...]).",
            )
            return


UPDATES = Check(
    "update-ratio",
    "training",
    "MO02",
    _updates,
    _judge_updates,
    "Karpathy, CS231n, 'Ratio of weights:updates'",
    ("error", "learning-rate", "gradient-depth"),
)


# --- weights that shrink to nothing ---------------------------------------------------------------------------------

SHRUNK = 0.03  # of what they began with


def _sizes(r: Record) -> Figures | None:
    sizes = {name: values for name, values in r.sizes.items() if len(values) >= ENOUGH and values[0] > 0}
    return {"left": {name: values[-1] / values[0] for name, values in sizes.items()}} if sizes else None


def _judge_sizes(f: Figures) -> Iterator[Verdict]:
    gone = [name for name, left in f["left"].items() if left < SHRUNK]
    if 2 * len(gone) > len(f["left"]):
        yield Verdict(
            "warning",
            f"weights shrink to nothing: those of {listing(gone)} have {f['left'][gone[0]]:.1%} of the norm that they began with. A penalty on "
            "them, or weight decay, outweighs the loss.",
            f,
            "Make the penalty or wd= smaller; a penalty is added to a loss that is a mean, so it must be small beside it.",
        )


SIZES = Check("weights-vanish", "training", "TR13", _sizes, _judge_sizes)


# --- activations ----------------------------------------------------------------------------------------------------

MOSTLY = 0.7  # of a layer's units


def _activations(r: Record) -> Figures | None:
    saturated = {name: median(values[-ENOUGH:]) for name, values in r.saturated.items() if len(values) >= ENOUGH}
    times = r.peak / r.default_lr if r.default_lr else None
    return {"dead": r.silent, "saturated": saturated, "peak": r.peak, "times": times}


def _judge_activations(f: Figures) -> Iterator[Verdict]:
    fast = f["times"] is not None and f["times"] > 3
    because = (
        f" The learning rate is probably too high ({f['peak']:.2g}, {f['times']:.0f} times the default)."
        if fast
        else ""
    )
    dead = [name for name, share in f["dead"].items() if share >= MOSTLY]
    if dead:
        yield Verdict(
            "warning",
            f"{f['dead'][dead[0]]:.0%} of the units of {listing(dead)} say nothing to any item, and get no gradient.{because}",
            f,
            "Lower the rate, leave large negative biases out, or take GELU or leaky ReLU.",
        )
    saturated = [name for name, share in f["saturated"].items() if share >= MOSTLY]
    if saturated:
        yield Verdict(
            "warning",
            f"{f['saturated'][saturated[0]]:.0%} of the outputs of {listing(saturated)} lie at the end of their range, where the gradient is faint.{because}",
            f,
            "Make initial weights smaller, normalise the inputs, put a norm before it, or take GELU.",
        )


ACTIVATIONS = Check(
    "silent-units",
    "training",
    "MO01",
    _activations,
    _judge_activations,
    "Zhang et al., AutoTrainer, ICSE 2021",
    ("error", "zero-gradient", "weights-vanish", "dropout-rate"),
)


# --- gradients ------------------------------------------------------------------------------------------------------


def _gradients(r: Record) -> Figures | None:
    norms = {
        name: median(values) for name, values in r.gradients.items() if len(values) >= ENOUGH and median(values) > 0
    }
    if len(norms) < 2:
        return None
    names = list(norms)
    whole = median(norm for norm in r.norms if math.isfinite(norm)) if r.norms else 0.0
    return {"first": names[0], "last": names[-1], "norms": norms, "whole": whole}


GRADIENTS = Check(
    "gradients-in-training",
    "training",
    "MO05",
    _gradients,
    judge_depth,
    "Zhang et al., AutoTrainer, ICSE 2021",
    ("error", "gradient-depth", "input-scale", "first-loss"),
)


def _clipped(r: Record) -> Figures | None:
    if r.clip is None or not r.ended or len(r.norms) < 2 * BLOCKS:
        return None
    late = r.norms[len(r.norms) // 4 :]
    return {"share": fmean(norm > r.clip for norm in late), "median": median(late), "clip": r.clip}


EXPLODED = 1000.0  # times the clip


def _judge_clipped(f: Figures) -> Iterator[Verdict]:
    if f["median"] > EXPLODED * f["clip"]:
        yield Verdict(
            "warning",
            f"gradients explode: their median norm is {f['median']:.3g}, and they are clipped to {f['clip']:.3g}; what is left is a direction, and "
            "that of a few items.",
            f,
            "Look for large inputs, targets and initial weights, for sums over time or items that should be means, and for steps that a "
            "recurrence multiplies.",
        )
    elif f["share"] > 0.9 and f["median"] > 10 * f["clip"]:
        yield Verdict(
            "advice",
            f"{f['share']:.0%} of the gradients were clipped, of a median norm of {f['median']:.3g} to {f['clip']:.3g}; the clip sets the step.",
            f,
            "Look at the scale of targets and loss first; else fit(clip=...) nearer to the usual norm.",
        )


CLIPPED = Check("always-clipped", "training", "TR12", _clipped, _judge_clipped, unless=("gradients-in-training",))


# --- steps that are left out ----------------------------------------------------------------------------------------

LEFT_OUT = 0.3  # of the steps


def _skipped(r: Record) -> Figures | None:
    return {"skipped": r.skipped, "steps": len(r.lrs)} if r.ended and r.lrs else None


def _judge_skipped(f: Figures) -> Iterator[Verdict]:
    share, kept = f["skipped"] / f["steps"], f["steps"] - f["skipped"]
    if share > LEFT_OUT:
        yield Verdict(
            "warning",
            f"{f['skipped']:,} of {f['steps']:,} steps were left out, and the gradients of their batches with them: each step starts from zero, so "
            f"{share:.0%} of the data teach nothing.",
            f,
            f"For larger batches in parts: learn.fit_one_cycle(n_epochs, accumulate={max(2, round(f['steps'] / kept)) if kept else 'k'}).",
        )


SKIPPED = Check("steps-left-out", "training", "TR06", _skipped, _judge_skipped)


# --- data -----------------------------------------------------------------------------------------------------------

NOTICED = 0.02  # seconds of waiting a step; less is Python's own cost for small items


def _crowd() -> float:
    """How many processes share a processor, 1 at least: so much longer everything takes, data too."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 1.0
    return max(1.0, load / (os.cpu_count() or 1))


def _starved(r: Record) -> Figures | None:
    return (
        {
            "waited": r.waited,
            "spent": r.spent,
            "a step": r.waited / max(1, len(r.lrs)),
            "processes a processor": _crowd(),
        }
        if r.ended and r.spent > 0
        else None
    )


def _judge_starved(f: Figures) -> Iterator[Verdict]:
    share = f["waited"] / f["spent"]
    if f["waited"] > 0.5 and f["a step"] > NOTICED * f["processes a processor"] and share > 0.5:
        yield Verdict(
            "warning",
            f"training waited for data for {share:.0%} of its time ({f['waited']:.1f} of {f['spent']:.1f} seconds).",
            f,
            "More workers (n_workers=), decoding and resizing once ahead, or data that fit in memory as tensors: from_tensors.",
        )


STARVED = Check("data-starves-training", "training", "TR16", _starved, _judge_starved)

CHECKS: tuple[Check, ...] = (SIZES, ACTIVATIONS, SKIPPED, RATE, UPDATES, GRADIENTS, CLIPPED, STARVED)
