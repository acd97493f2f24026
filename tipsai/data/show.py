"""Items as people look at them: pictures in a figure, rows in a table; and the figure of what is taken for what."""

import math
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tipsai import plot
from tipsai.core.errors import SettingError
from tipsai.core.evaluate import evaluating, predict_batch
from tipsai.core.state import Batch
from tipsai.core.text import table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tipsai.data.dataloaders import DataLoaders

WRONG = "#b3261e"
SEED = 0  # of the items that show_results picks
CHARACTER = 0.088  # inches of one in a title, on average
FEW = 8  # numbers of a value that still fit into a cell of a table
MOST_CLASSES = 40  # of a plotted confusion matrix


def first(batches: Iterable[Batch], n: int) -> Batch:
    """The first n rows of batches, or all there are."""
    taken: list[Batch] = []
    for batch in batches:
        missing = n - sum(b.n_rows for b in taken)
        taken.append(Batch(tuple(t[:missing] for t in batch.x), tuple(t[:missing] for t in batch.y)))
        if batch.n_rows >= missing:
            break
    x, y = (tuple(torch.cat(parts) for parts in zip(*fields, strict=True)) for fields in zip(*taken, strict=True))
    return Batch(x, y)


def short(text: object, most: int = 18) -> str:
    """A name that fits into a figure: its middle left out.

    >>> short("american_staffordshire_terrier", 12)
    'americ…rrier'
    """
    text = str(text)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def told_apart(names: Sequence[str], most: int = 18) -> list[str]:
    """Names shortened; where that makes some alike, without what all begin and end with."""
    made = [short(name, most) for name in names]
    if len(set(made)) == len(set(names)):
        return made
    start = len(os.path.commonprefix(list(names)))
    rest = [name[start:] for name in names]
    end = len(os.path.commonprefix([name[::-1] for name in rest]))
    return [short(f"{'…' * (start > 0)}{name[: len(name) - end]}{'…' * (end > 0)}", most) for name in rest]


def balanced(n: int, most: int) -> int:
    """Columns, at most so many, that fill the rows of n cells evenly."""
    return -(-n // -(-n // most))


# --- pictures ---------------------------------------------------------------------------------------------------------


def grid(n: int, columns: int, width: float, height: float, title: str = "") -> "tuple[Figure, list[Any]]":
    """A figure of n axes without ticks, so many inches each, with a title."""
    rows = -(-n // columns)
    fig = plot.blank(max(columns * width, CHARACTER * len(title)), rows * height + (0.4 if title else 0.1))
    fig.get_layout_engine().set(w_pad=0.05, h_pad=0.05)  # type: ignore[union-attr, call-arg]
    if title:
        fig.suptitle(title, fontsize=11)
    axes = [fig.add_subplot(rows, columns, i + 1) for i in range(n)]
    for ax in axes:
        ax.axis("off")
    return fig, axes


def pictures(
    blocks: Any,
    batch: Batch,
    captions: Sequence[str] = (),
    *,
    pred: Tensor | None = None,
    wrong: Sequence[bool] = (),
    title: str = "",
) -> "Figure":
    """Inputs that can be drawn, their targets over them.

    Args:
        blocks: the input's and the target's.
        batch: as the model sees it, on the host.
        captions: a text for each.
        pred: decided predictions, drawn too where the target's block draws.
        wrong: which captions are red.
        title: of the whole figure.
    """
    x_block, y_block = blocks
    x, y = batch.x[0], batch.y[0] if batch.y and y_block.draws else None
    n, shape = len(x), x.shape[-2:]
    pred = pred if y is not None else None
    twice = pred is not None and y_block.beside
    per_row = math.ceil(math.sqrt(n / (1.5 if twice else 1)))
    lines = max((caption.count("\n") + 1 for caption in captions), default=int(twice))
    width = 1.5 if max(shape) <= 16 else 1.8
    height = min(max(width * shape[0] / shape[1], 0.6), 4.0) + 0.15 * lines
    fig, axes = grid(n * (1 + twice), per_row * (1 + twice), width, height, title)
    for i in range(n):
        for j, ax in enumerate(axes[i * (1 + twice) : (i + 1) * (1 + twice)]):
            x_block.draw(ax, x[i])
            if y is not None and (j == 0 or not twice):
                y_block.draw(ax, y[i])
            if pred is not None and (j == 1 or not twice):
                y_block.draw(ax, pred[i], predicted=True)
            colour = WRONG if len(wrong) and wrong[i] else "black"
            text = captions[i] if len(captions) else ""
            if twice:
                text = "target" if not j else f"prediction, {text}" if text else "prediction"
            ax.set_title(text, fontsize=8, color=colour, pad=3)
    if y is not None:
        _legend(fig, y_block.legend([*y, *(pred if pred is not None else ())], predicted=pred is not None))
    return fig


def _legend(fig: "Figure", colours: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    if colours:
        handles = [Patch(color=colour, label=short(name)) for name, colour in colours.items()]
        columns = max(1, int(fig.get_figwidth() / 1.3))
        height = 0.25 * -(-len(handles) // columns)
        fig.set_figheight(fig.get_figheight() + height)
        fig.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


# --- rows -------------------------------------------------------------------------------------------------------------


def with_rows(columns: dict[str, Any], rows: dict[str, Any]) -> "pd.DataFrame":
    """A table of columns and, after them, those of the rows; of two names alike the row's is told apart."""
    import pandas as pd

    return pd.DataFrame(columns | {(f"{name} (row)" if name in columns else name): v for name, v in rows.items()})


def as_text(frame: "pd.DataFrame") -> str:
    """A table for terminals, numbers to four digits."""
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return table(rows, [str(name) for name in frame.columns])


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int | np.integer) and not isinstance(value, bool) else short(value, 30)


def rows_of(x_block: Any, x: tuple[Tensor, ...]) -> dict[str, Any]:
    """A batch's inputs as columns."""
    columns: dict[str, Any] = x_block.readable(x)
    if columns:
        return columns
    if len(x) == 1 and x[0].ndim == 2 and x[0].shape[1] <= FEW:
        return {f"x{i}": column for i, column in enumerate(x[0].T.tolist())}
    return {f"x{i or ''}": _cells(x_block, values) for i, values in enumerate(x)}


def _cells(block: Any, values: Tensor) -> list[Any]:
    cells = []
    for value in values:
        made = value if block.draws else block.decode(value)
        if isinstance(made, Tensor):
            made = made.tolist() if made.numel() <= FEW else block.show(value)
        cells.append(made)
    return cells


# --- what is asked for ------------------------------------------------------------------------------------------------


def _blocks(dls: "DataLoaders") -> Any:
    from tipsai.data.block import Block

    return dls.blocks or (Block(), Block())


def show_batch(dls: "DataLoaders", n: int, split: str, seed: int, epoch: int) -> Any:
    """See DataLoaders.show_batch.

    Raises:
        SettingError: of test data, or of a split that is not there.
    """
    if split not in ("train", "valid"):
        more = "; test data are opened by learn.test() alone (DA14)" if split == "test" else ""
        raise SettingError(f"split is {split!r}; expected 'train' or 'valid'{more}.")
    blocks = _blocks(dls)
    batch = first(dls.feed(split, torch.device("cpu")).batches(seed=seed, epoch=epoch), n)
    if not blocks[0].draws:
        targets = {f"target{i or ''}": _cells(blocks[1], y) for i, y in enumerate(batch.y[:1])}
        return with_rows(targets, rows_of(blocks[0], batch.x))
    captions = [] if blocks[1].draws else [short(blocks[1].show(value), 30) for value in batch.y[0]]
    words = "training items as the model sees them" if split == "train" else "validation items"
    return pictures(blocks, batch, captions, title=words)


def show_results(dls: "DataLoaders", model: nn.Module, output: Any, device: torch.device, n: int) -> Any:
    """See Learner.show_results."""
    loader, blocks = dls.feed("valid", device).loader, _blocks(dls)
    batch = first(dls.as_evaluated(loader.sample(n, SEED), device), n)
    with evaluating(model):
        raw = predict_batch(model, batch, output).float().cpu()
    batch, pred = batch.to(torch.device("cpu")), blocks[1].decide(raw)
    if not blocks[0].draws:
        columns = {"target": _cells(blocks[1], batch.y[0]), "prediction": _cells(blocks[1], pred)}
        return with_rows(columns, rows_of(blocks[0], batch.x))
    if blocks[1].draws:
        return pictures(blocks, batch, pred=pred, title="validation items: target and prediction")
    exact = not batch.y[0].is_floating_point()
    wrong = [exact and not torch.equal(p.cpu(), y) for p, y in zip(pred, batch.y[0], strict=True)]
    said = [[short(blocks[1].show(v), 26) for v in values] for values in (batch.y[0], pred)]
    between = " → " if max(map(len, [*said[0], *said[1]])) <= 12 else "\n→ "
    captions = [f"{target}{between}{prediction}" for target, prediction in zip(*said, strict=True)]
    return pictures(blocks, batch, captions, wrong=wrong, title="validation items: target → prediction")


def confusion(counts: "pd.DataFrame", normalize: bool = False) -> "Figure":
    """What is taken for what: a row a target, a column a prediction. Colours are shares of a row.

    Args:
        counts: square; of more than 40 classes those with the most mistakes are shown.
        normalize: whether the cells say shares of their row, in percent.
    """
    values, names = counts.to_numpy(), told_apart([str(name) for name in counts.index])
    title = "confusion matrix" + (" (% of a row)" if normalize else "")
    if len(values) > MOST_CLASSES:
        mistakes = values.sum(0) + values.sum(1) - 2 * values.diagonal()
        kept = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])
        title += f"\nthe {MOST_CLASSES} classes with the most mistakes, of {len(values):,}"
        totals, values, names = values.sum(1)[kept], values[np.ix_(kept, kept)], [names[i] for i in kept]
    else:
        totals = values.sum(1)
    n = len(values)
    shares = values / np.maximum(totals, 1)[:, None]
    cell = 0.62 if n <= 5 else 0.4 if n <= 12 else 0.3 if n <= 24 else 0.24
    label = CHARACTER * max(map(len, names))
    upright = label <= cell
    fig = plot.blank(max(cell * n + label + 0.6, 2.7), cell * n + (0.2 if upright else label) + 0.9)
    fig.suptitle(title, fontsize=11)
    ax = fig.add_subplot()
    ax.imshow(shares**0.5, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")  # the root, so that few are seen too
    size = 10 if n <= 5 else 8 if n <= 12 else 6.5 if n <= 24 else 5
    ax.set_xticks(range(n), names, rotation=0 if upright else 90, fontsize=max(size, 7))
    ax.set_yticks(range(n), names, fontsize=max(size, 7))
    ax.set_xlabel("prediction")
    ax.set_ylabel("target")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for i, j in np.argwhere(values > 0).tolist():
        text = f"{100 * shares[i, j]:.{int(n <= 5)}f}" if normalize else _count(values[i, j])
        dark = shares[i, j] > 0.3
        ax.text(j, i, text, ha="center", va="center", fontsize=size, color="white" if dark else "black")
    return fig


def _count(n: float) -> str:
    """A count that fits into a cell.

    >>> _count(1234567)
    '1.2M'
    """
    return f"{n:,.0f}" if n < 10_000 else f"{n / 1e3:.0f}k" if n < 1e6 else f"{n / 1e6:.1f}M"
