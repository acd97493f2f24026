"""What a network makes of a split before its last layer, drawn in two dimensions (MO08)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tipsai import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 12  # with a colour of their own; the others are grey together


def principal_plane(x_nd: Tensor) -> tuple[Tensor, list[float]]:
    """Coordinates [n, 2] in the two directions of the largest variance, and the share of it that each has."""
    centred = x_nd.double() - x_nd.double().mean(0)
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    variance = values**2
    shares = (variance / variance.sum().clamp(min=1e-300)).tolist()
    made = torch.zeros(len(x_nd), 2, dtype=torch.float64)
    made[:, : min(2, len(values))] = (left * values)[:, :2]
    return made.float(), [*shares[:2], 0.0, 0.0][:2]


def drawn(x_nd: Tensor, targets: Tensor | None, names: Sequence[Any], title: str) -> "Figure":
    """A point an item, coloured by its target.

    Args:
        x_nd: features.
        targets: class codes [n], or floats [n], which take a scale of colours; others are left out.
        names: of the classes, by code; the codes themselves where there are none.
        title: above the plot; the share of the variance that the plane holds is added.
    """
    points, shares = principal_plane(x_nd)
    fig, (ax,) = plot.figure(width=6.4, height=4.8)
    flat = None if targets is None or targets.ndim > 1 else targets
    dots = {"s": 9, "linewidths": 0, "alpha": 0.8}
    if flat is None:
        ax.scatter(*points.T.numpy(), color=plot.BLUE, **dots)
    elif flat.is_floating_point():
        made = ax.scatter(*points.T.numpy(), c=flat.float().numpy(), cmap="viridis", **dots)
        fig.colorbar(made, ax=ax, label="target")
    else:
        codes, counts = torch.unique(flat, return_counts=True)
        common = codes[counts.argsort(descending=True, stable=True)[:MOST_CLASSES]].sort().values.tolist()
        rest = ~torch.isin(flat, torch.tensor(common))
        if rest.any():
            ax.scatter(*points[rest].T.numpy(), color="#d1d5db", label="others", **dots)
        for code, colour in zip(common, plot.colours(len(common) + 1)[1:], strict=True):
            here = points[flat == code]
            ax.scatter(
                *here.T.numpy(), color=colour, label=str(names[code] if 0 <= code < len(names) else code)[:24], **dots
            )
        ax.legend(fontsize=8, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    ax.set_xlabel(f"first direction, {shares[0]:.0%} of the variance")
    ax.set_ylabel(f"second, {shares[1]:.0%}")
    ax.set_title(title, fontsize=10)
    return fig
