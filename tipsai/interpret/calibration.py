"""Calibration: whether answers given with a probability of 0.8 are right eight times in ten."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tipsai import plot
from tipsai.core.errors import DataError
from tipsai.interpret.bins import check_bins, equal_mass
from tipsai.intervals import wilson

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def cells_of_items(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Items by their confidence, float64 [3, distinct values]: how many, the sum of confidence, how many are right.

    Args:
        confidence: [n] the probability of the answer that was given.
        right: [n] whether it was right.
    """
    values, places, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    n_right = np.bincount(places.reshape(-1), weights=right, minlength=len(values))
    return np.stack([counts, counts * values.astype(np.float64), n_right])


def bins(cells: NDArray[np.float64], n_bins: int) -> "pd.DataFrame":
    """Bins of equal mass: confidence, accuracy, n, and low and high, the 95% interval of the accuracy.

    Args:
        cells: float64 [3, k] in the order of confidence: how many answers, the sum of their confidence, how many are right.
        n_bins: at most; answers of one cell stay together.

    Raises:
        DataError: there are no answers.

    Source: Naeini et al. AAAI 2015 and Guo et al. 1706.04599 for the bins, Nixon et al. 1904.01685 for equal mass.
    """
    import pandas as pd

    cells = cells[:, cells[0] > 0]
    if not cells.size:
        raise DataError("none of the items has a target, so nothing can be said about calibration.")
    place = equal_mass(cells[0].astype(np.int64), check_bins(n_bins))
    n, confidence, right = (np.bincount(place, weights=row) for row in cells)
    low, high = wilson(right, n)
    columns = {"confidence": confidence / n, "accuracy": right / n, "n": n.astype(np.int64), "low": low, "high": high}
    return pd.DataFrame(columns)


def expected_error(frame: "pd.DataFrame") -> float:
    """The mean distance of confidence and accuracy over all answers: the expected calibration error.

    Source: Naeini et al. AAAI 2015; Guo et al. 1706.04599, equation 3.
    """
    gaps = (frame["confidence"] - frame["accuracy"]).abs()
    return float((gaps * frame["n"]).sum() / frame["n"].sum())


def error_by_chance(frame: "pd.DataFrame") -> float:
    """What expected_error is on average where every answer's probability is right, since bins hold so many answers only.

    The accuracy of a bin then has a standard error of sqrt(p (1 - p) / n), and a mean absolute one of sqrt(2 / pi) times that.
    """
    p, n = frame["confidence"], frame["n"]
    return float((np.sqrt(2 / math.pi * (p * (1 - p)).clip(lower=0) / n) * n).sum() / n.sum())


def drawn(frame: "pd.DataFrame", split: str) -> "Figure":
    """Accuracy over confidence with its intervals, beside the diagonal of a calibrated model.

    Source: DeGroot and Fienberg 1983, the reliability diagram.
    """
    fig, (ax,) = plot.figure(width=4.6, height=4.4)
    values = frame[["confidence", "low", "high"]].to_numpy()
    start = max(0.0, math.floor(10 * np.nanmin(values, initial=1.0) - 0.2) / 10)
    ax.plot([start, 1], [start, 1], color=plot.GREY, linestyle="--", linewidth=1)
    reach = [frame["accuracy"] - frame["low"], frame["high"] - frame["accuracy"]]
    ax.errorbar(
        frame["confidence"],
        frame["accuracy"],
        yerr=np.maximum(reach, 0),
        color=plot.BLUE,
        marker="o",
        markersize=4,
        linewidth=1.4,
        elinewidth=1,
        capsize=2,
        label="accuracy, 95% interval",
    )
    edge = (1 - start) * 0.03
    ax.text(start + edge, 1 - edge, "not sure enough", color=plot.GREY, fontsize=8, va="top")
    ax.text(1 - edge, start + edge, "too sure", color=plot.GREY, fontsize=8, ha="right")
    ax.set(xlim=(start, 1 + edge), ylim=(start, 1 + edge), aspect="equal")
    ax.set(xlabel="confidence (mean probability of the answer)", ylabel="accuracy (share of right answers)")
    sizes = f"{len(frame)} bins of about {frame['n'].mean():,.0f} {split} answers"
    error = f"expected calibration error {expected_error(frame):.3f} (by chance alone {error_by_chance(frame):.3f})"
    ax.set_title(f"calibration: {sizes}\n{error}", fontsize=9)
    return fig
