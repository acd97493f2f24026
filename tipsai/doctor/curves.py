"""Checks of a training run's curves, from what Watch keeps: a loss without a floor, too few steps, overfitting (MO04)."""

import math
from collections.abc import Iterator
from statistics import fmean

from tipsai.core.state import Row
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.training import BLOCKS, ENOUGH
from tipsai.doctor.watch import Record

# --- losses without a floor -----------------------------------------------------------------------------------------

DEEP = 100.0  # times the first loss's size


def _floor(r: Record) -> Figures | None:
    losses = [loss for loss in r.losses if math.isfinite(loss)]
    if len(losses) < 2 * ENOUGH:
        return None
    size = max(ENOUGH, len(losses) // BLOCKS)
    return {"first": fmean(losses[:size]), "middle": losses[len(losses) // 2], "last": fmean(losses[-size:])}


def _judge_floor(f: Figures) -> Iterator[Verdict]:
    deep = f["last"] < -DEEP * max(1.0, abs(f["first"]))
    if deep and f["last"] < 2 * min(0.0, f["middle"]):
        yield Verdict(
            "error",
            f"the loss falls below zero without end: from {f['first']:.3g} to {f['last']:.3g}, and ever faster. It has no lowest value, so it "
            "probably has the wrong sign.",
            f,
            "A likelihood is made large, so the loss is minus its logarithm; a loss that is to be made small must have a floor.",
        )


FLOOR = Check("loss-without-floor", "training", "TR08", _floor, _judge_floor, unless=("loss-direction", "outputs"))


# --- too few steps --------------------------------------------------------------------------------------------------

FEW_STEPS = 60


def _steps(r: Record) -> Figures | None:
    rows = [row["train_objective"] for row in r.rows if math.isfinite(row.get("train_objective", math.nan))]
    if not r.ended or len(rows) < 3:
        return None
    return {"steps": len(r.lrs), "epochs": len(rows), "losses": rows}


def _judge_steps(f: Figures) -> Iterator[Verdict]:
    losses, per = f["losses"], f["steps"] / f["epochs"]
    falling = losses[-1] > 0.5 * losses[0]
    if f["steps"] < FEW_STEPS and per < 2 and f["epochs"] >= 5 and falling:
        yield Verdict(
            "warning",
            f"training took {f['steps']} steps in {f['epochs']} epochs: a batch holds nearly all of the data, and the loss only went from "
            f"{losses[0]:.3g} to {losses[-1]:.3g}.",
            f,
            "Smaller batches make more steps of the same epochs: bs=32; or train for more epochs.",
        )


FEW = Check("few-steps", "training", "TR13", _steps, _judge_steps, unless=("error",))


# --- validation ------------------------------------------------------------------------------------------------------

APART = 20.0  # times that two losses differ before their units do


def _began(r: Record, row: Row) -> float:
    """The first loss of training, in the units of validation's: those of a target that is scaled inside differ."""
    first = fmean(r.losses[:3]) if r.losses else row["train_objective"]
    ratio = row["valid_loss"] / row["train_objective"] if row["train_objective"] else 1.0
    return first if 1 / APART < ratio < APART else first * ratio


def _curves(r: Record) -> Figures | None:
    rows = [row for row in r.rows if math.isfinite(row.get("valid_loss", math.nan))]
    if not r.ended or len(rows) < 4:
        return None
    best = min(rows, key=lambda row: row["valid_loss"])
    return {
        "best": best["valid_loss"],
        "best epoch": int(best["epoch"]),
        "last": rows[-1]["valid_loss"],
        "epochs": int(rows[-1]["epoch"]),
        "objective then": best["train_objective"],
        "objective now": rows[-1]["train_objective"],
        "began": _began(r, rows[0]),
    }


def _judge_curves(f: Figures) -> Iterator[Verdict]:
    rise = f["last"] / f["best"] if f["best"] > 0 else 1.0
    much = f["last"] - f["best"] > 0.1 * f["began"]  # what is small beside where training began is no harm
    if rise > 1.1 and f["objective now"] < f["objective then"]:
        yield Verdict(
            "warning" if rise > 1.2 and much else "advice",
            f"the model overfits: since epoch {f['best epoch']} of {f['epochs']} validation loss rose from {f['best']:.3g} to {f['last']:.3g}, "
            f"while training's objective fell from {f['objective then']:.3g} to {f['objective now']:.3g}.",
            f,
            "fit(final='best') keeps the best epoch; fewer epochs, more data or augmentation, dropout, wd=, or a smaller model.",
        )


CURVES = Check(
    "overfitting",
    "training",
    "MO04",
    _curves,
    _judge_curves,
    # validation that is otherwise looks like overfitting
    unless=("learning-rate", "validation-scale", "class-mix", "unknown-categories", "unknown-tokens"),
)

CHECKS: tuple[Check, ...] = (FLOOR, FEW, CURVES)
