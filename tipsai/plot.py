"""Plots. matplotlib is imported only here, and only when a plot is asked for."""

import colorsys
import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tipsai.core.errors import MissingExtraError
from tipsai.core.state import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

APART = 20.0  # times that two figures differ before they get axes of their own
BLUE, ORANGE, GREY, GREEN = "#2563a8", "#d9730d", "#6b7280", "#2f855a"
# Told apart by colour-blind people too (Okabe and Ito 2008), grey first.
OKABE_ITO = ("#999999", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


def blank(width: float, height: float) -> "Figure":
    """An empty figure of so many inches. In a notebook it shows itself when it is the cell's value.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plots need matplotlib: pip install 'tipsai[plot]'") from error

    class Shown(Figure):
        def _repr_png_(self) -> bytes:  # notebooks ask for this; matplotlib's own figures need pyplot to be shown
            png = io.BytesIO()
            self.savefig(png, format="png")
            return png.getvalue()

    return Shown(figsize=(width, height), layout="constrained", dpi=110)


def figure(columns: int = 1, width: float = 6.0, height: float = 3.4) -> "tuple[Figure, list[Any]]":
    """A figure with a row of axes, in the package's look; see blank."""
    fig = blank(width * columns, height)
    axes = [fig.add_subplot(1, columns, i + 1) for i in range(columns)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25, linewidth=0.6)
    return fig, axes


def colours(n: int) -> list[str]:
    """A colour for each of n classes; the first eight are told apart by colour-blind people too."""
    rest = [colorsys.hls_to_rgb(i * 0.381966 % 1, (0.35, 0.65)[i % 2], 0.75) for i in range(n - len(OKABE_ITO))]
    return [*OKABE_ITO[:n], *("#" + "".join(f"{round(255 * part):02x}" for part in rgb) for rgb in rest)]


class Plan(Protocol):
    """What a schedule is to a plot: see tipsai.schedule.Schedule."""

    @property
    def name(self) -> str: ...
    @property
    def lr(self) -> Callable[[float], float]: ...
    @property
    def momentum(self) -> Callable[[float], float] | None: ...


def schedule(plan: Plan, peak: float = 1.0, points: int = 400) -> "Figure":
    """The rate and, where it varies, momentum over a fit, before anything is trained."""
    fig, axes = figure(2 if plan.momentum else 1)
    at = [i / (points - 1) for i in range(points)]
    axes[0].plot(at, [peak * plan.lr(p) for p in at], color=BLUE)
    axes[0].set(title=f"{plan.name}: learning rate", xlabel="share of the steps", ylabel="learning rate")
    if plan.momentum:
        axes[1].plot(at, [plan.momentum(p) for p in at], color=ORANGE)
        axes[1].set(title="momentum (β1 for Adam)", xlabel="share of the steps", ylabel="momentum")
    return fig


def smooth(values: Sequence[float], weight: float = 0.95) -> list[float]:
    """An exponential moving average without the bias of its start; infinite values are passed over."""
    average, total, smoothed = 0.0, 0.0, []
    for value in values:
        if math.isfinite(value):
            average, total = weight * average + (1 - weight) * value, weight * total + (1 - weight)
        smoothed.append(average / total if total else math.nan)
    return smoothed


def history(losses: Sequence[float], rows: Sequence[Row]) -> "Figure":
    """The objective step by step, the losses epoch by epoch and, where there are some, the metrics.

    What differs widely in size has axes of its own: objective and loss, as with a target that is scaled inside, and
    metrics, such as perplexity and bits per byte.
    """
    metrics = {name for row in rows for name in row if name.startswith("valid_")} - {"valid_loss"}
    groups = alike({name: _largest(rows, name) for name in metrics})
    fig, axes = figure(1 + len(groups), width=6.0 if len(groups) < 2 else 4.5)
    per_epoch = len(losses) / max(1, len(rows))
    at = [(i + 1) / per_epoch for i in range(len(losses))]
    axes[0].plot(at, losses, color=GREY, alpha=0.25, linewidth=0.6)
    axes[0].plot(at, smooth(losses), color=BLUE, label="objective (smoothed)")
    epochs = [i + 1 for i in range(len(rows))]
    lines = list(axes[0].lines[1:])
    if rows and "valid_loss" in rows[-1]:
        first, label = rows[0], "validation loss"
        beside = axes[0]
        if not 1 / APART < first.get("valid_loss", 1.0) / (first.get("train_objective") or 1.0) < APART:
            beside, label = axes[0].twinx(), "validation loss (right)"
            beside.spines["top"].set_visible(False)
        values = [row.get("valid_loss", math.nan) for row in rows]
        lines += beside.plot(epochs, values, color=ORANGE, marker="o", markersize=3, label=label)
    axes[0].set(title="loss", xlabel="epoch")
    axes[0].legend(handles=lines, frameon=False)
    for ax, names in zip(axes[1:], groups, strict=True):
        for name, color in zip(names, (GREEN, ORANGE, BLUE, GREY) * len(names), strict=False):
            values = [row.get(name, math.nan) for row in rows]
            ax.plot(epochs, values, marker="o", markersize=3, color=color, label=name.removeprefix("valid_"))
        ax.set(title="validation", xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(frameon=False)
    return fig


def _largest(rows: Sequence[Row], name: str) -> float:
    values = [abs(row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
    return max(values, default=0.0)


def alike(sizes: dict[str, float], times: float = 5.0, most: int = 3) -> list[list[str]]:
    """The metrics that can share an axis: sizes at most so many times apart, sorted by name."""
    groups: list[list[str]] = []
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if not groups or (sizes[name] * times < sizes[groups[-1][0]] and len(groups) < most):
            groups.append([])
        groups[-1].append(name)
    return [sorted(group) for group in groups]


def lr_find(lrs: Sequence[float], losses: Sequence[float], marks: dict[str, float]) -> "Figure":
    """The loss over the rates tried, with the suggestions marked."""
    fig, axes = figure()
    axes[0].plot(lrs, losses, color=BLUE)
    for (name, lr), color in zip(marks.items(), (GREEN, ORANGE, GREY), strict=False):
        axes[0].axvline(lr, color=color, linestyle="--", linewidth=1, label=f"{name}: {lr:.2g}")
    axes[0].set(xscale="log", xlabel="learning rate", ylabel="loss (smoothed)", title="learning rates tried")
    axes[0].legend(frameon=False)
    return fig
