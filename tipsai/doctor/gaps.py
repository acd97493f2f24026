"""The gaps between training, validation and test (MO03), and what to do about them (TR05, MO04)."""

from collections.abc import Iterator

from torch import nn

from tipsai.doctor.baselines import guess_errors
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.doctor.judged import Judged, difference, judged, mean_interval

LEAST = 30  # items of a split
LARGE = 0.5  # of what guessing gets wrong: a training error above it is bias worth a word
WIDE = 0.1  # of what guessing gets wrong: a gap above it is worth a word
SURE = 0.99  # of the interval of a gap
FALLING = 0.02  # of training's objective from the epoch before to the last


def _shares(ctx: Context) -> dict[str, Judged]:
    """The splits that may be judged: the test only once it is open."""
    names = ("train", "valid", "test") if ctx.test_open else ("train", "valid")
    found = {name: judged(ctx, name) for name in names}
    return {name: part for name, part in found.items() if part is not None and len(part.errors) >= LEAST}


def _gaps(ctx: Context) -> Figures | None:
    parts = _shares(ctx)
    if "train" not in parts or len(parts) < 2:
        return None
    errors = {name: part.errors for name, part in parts.items()}
    guess = guess_errors(ctx)
    gaps = {"bias": mean_interval(errors["train"], level=SURE)}
    if "valid" in errors:
        gaps["variance"] = difference(errors["train"], errors["valid"], SURE)
    if "test" in errors and "valid" in errors:
        gaps["validation"] = difference(errors["valid"], errors["test"], SURE)
    rows = [row["train_objective"] for row in ctx.history[-2:] if "train_objective" in row]
    return {
        "measure": parts["train"].measure,
        "splits": {name: [*mean_interval(values), len(values)] for name, values in errors.items()},
        "gaps": {name: list(values) for name, values in gaps.items()},
        "guess": None if guess is None else float(guess.mean()),
        "still falling": len(rows) == 2 and rows[1] < (1 - FALLING) * rows[0],
    }


def _told(f: Figures, split: str) -> str:
    value, low, high, _ = f["splits"][split]
    return f"{_figure(f, value)} ({_figure(f, low)} to {_figure(f, high)})"


def _figure(f: Figures, value: float) -> str:
    return f"{value:.1%}" if f["measure"] == "error" else f"{value:.3g}"


def _judge(f: Figures) -> Iterator[Verdict]:
    guess = f["guess"]
    if guess is None or guess <= 0:
        return
    what = f["measure"]
    value, low, _ = f["gaps"]["bias"]
    biased = low > LARGE * guess
    if biased:
        further = (
            "Training's objective still falls: train longer first, fit_one_cycle(n_epochs) with more epochs."
            if f["still falling"]
            else "Training's objective no longer falls: a larger model, less regularisation, or another rate (learn.lr_find())."
        )
        yield Verdict(
            "advice",
            f"the model does not fit its training data: {what} {_told(f, 'train')} there, and guessing gets {_figure(f, guess)}. "
            "First overfit, then regularise; targets may be that noisy, too.",
            f,
            further,
        )
    if "variance" not in f["gaps"]:
        return
    gap, low, high = f["gaps"]["variance"]
    if low > 0 and gap > WIDE * guess:
        yield Verdict(
            "advice",
            f"the model knows its training data better than others: {what} {_told(f, 'train')} in training, {_told(f, 'valid')} in validation.",
            f,
            "Now regularise: more data or augmentation first, then dropout, wd=, fewer epochs or a smaller model.",
        )
    elif high < 0 and -gap > WIDE * guess:
        yield Verdict(
            "advice",
            f"validation is easier than training: {what} {_told(f, 'valid')} against {_told(f, 'train')}. "
            "Targets of the training data may be partly wrong, or validation is of another kind.",
            f,
            "learn.interpret('train').label_errors() shows suspects; draw validation at random or by time, as new data will come.",
        )


GAPS = Check("gaps", "end", "MO03", _gaps, _judge, "Ng, Machine Learning Yearning, chapters 20 to 41", ("error",))


# --- the same data, otherwise judged --------------------------------------------------------------------------------

TIMES, LEAST_LOST = 3.0, 0.15  # of training's own loss; and of what guessing loses


def _modes(ctx: Context) -> Figures | None:
    """Training's loss in evaluation mode beside the last epoch's in training mode, where batch norms make the difference."""
    train, rows = judged(ctx, "train"), [row for row in ctx.history if "train_objective" in row]
    norms = [m for m in ctx.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if train is None or not rows or not norms or ctx.units is not None or len(train.items["loss"]) < LEAST:
        return None
    return {
        "evaluation": mean_interval(train.items["loss"], SURE),
        "training": float(rows[-1]["train_objective"]),
        "first": float(rows[0]["train_objective"]),
        "momentum": [m.momentum for m in norms][0],
    }


def _judge_modes(f: Figures) -> Iterator[Verdict]:
    mean, low, _ = f["evaluation"]
    if low > TIMES * f["training"] and low - f["training"] > LEAST_LOST * f["first"]:
        yield Verdict(
            "warning",
            f"on the same training data the loss is {f['training']:.3g} in training and {mean:.3g} in evaluation mode: the batch norms' running "
            f"statistics (momentum {f['momentum']}) are not those of the batches.",
            f,
            "Leave momentum at 0.1, train for more steps, or take a norm without running statistics: nn.GroupNorm, nn.LayerNorm.",
        )


MODES = Check(
    "evaluation-differs", "end", "TR14", _modes, _judge_modes, "Wu and Johnson 2105.07576, section 3", ("error",)
)


def _test_gap(ctx: Context) -> Figures | None:
    figures = _gaps(ctx)
    return figures if figures is not None and "validation" in figures["gaps"] else None


def _judge_test(f: Figures) -> Iterator[Verdict]:
    gap, low, _ = f["gaps"]["validation"]
    base = f["guess"] or f["splits"]["valid"][0]
    if low > 0 and gap > WIDE * base:
        yield Verdict(
            "warning",
            f"the test is met worse than validation: {f['measure']} {_told(f, 'test')} against {_told(f, 'valid')}. "
            "Choices were fitted to the validation data, or the test is of another kind.",
            f,
            "Take a larger validation set, drawn the way the test was; learn.check() compares their inputs.",
        )


TEST_GAP = Check("test-gap", "end", "MO03", _test_gap, _judge_test, GAPS.source)

CHECKS = (MODES, GAPS, TEST_GAP)
