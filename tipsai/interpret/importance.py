"""Permutation importance: how much worse the model fares when a column is permuted among the items."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tipsai.bar import bar
from tipsai.core import rng
from tipsai.core.errors import SettingError
from tipsai.core.state import Batch
from tipsai.intervals import bootstrap_mean

if TYPE_CHECKING:
    import pandas as pd

Part = tuple[int, slice]  # of a column: a tensor among a batch's inputs, and columns of it
Floats = NDArray[np.float64]

ALIKE = 0.9  # association from which on two columns share what they say
MOST_CODES = 100  # of a category that are told apart when columns are compared


def check(n_repeats: Any, n: Any) -> None:
    """Raises SettingError unless there is a permutation at least, of two items."""
    for name, value, least in (("n_repeats", n_repeats, 1), ("n", n, 2)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise SettingError(f"{name} is {value!r}; expected a whole number of at least {least}.")


def permuted(batch: Batch, parts: Sequence[Part], order: Tensor) -> Batch:
    """The batch with one column's values handed to other items, all of its parts alike.

    Args:
        batch: [n, ...].
        parts: of the column.
        order: int64 [n], whose values each item gets.
    """
    x = list(batch.x)
    for at, where in parts:
        x[at] = x[at].clone()
        x[at][:, where] = batch.x[at][:, where][order]
    return Batch(tuple(x), batch.y)


def increases(
    batch: Batch,
    columns: Sequence[Sequence[Part]],
    losses: Callable[[Batch], Tensor],
    n_repeats: int,
    seed: int,
    progress: bool,
) -> Floats:
    """Each item's part in the rise of the mean loss when a column is permuted: float64 [n, columns], whose mean it is.

    An item counts twice: its own loss rises, and so does that of the items that get its value. Both are in its part, less
    the mean, so that parts vary as much as the mean does from one sample of items to the next (the projection of a
    U-statistic, Hoeffding 1948). Every column undergoes the same permutations.

    Args:
        batch: the items.
        columns: the parts of each column.
        losses: of each item of a batch, [n].
        n_repeats: permutations of each column.
        seed: of them.
        progress: whether a bar shows itself after two seconds, where somebody watches.
    """
    plain = losses(batch).double()
    orders = [torch.randperm(batch.n_rows, generator=rng.generator(seed, "importance", i)) for i in range(n_repeats)]
    twice = torch.zeros(batch.n_rows, len(columns), dtype=torch.float64)
    for i, parts in enumerate(bar(columns, "columns", progress)):
        for order in orders:
            rise = losses(permuted(batch, parts, order)).double() - plain
            twice[:, i] += rise
            twice[order, i] += rise
    twice /= n_repeats
    return (twice - twice.mean(0) / 2).numpy()


def table(columns: Mapping[Any, Sequence[Part]], rises: Floats, x: Sequence[Tensor]) -> "pd.DataFrame":
    """A row a column: the mean increase of the loss, its 95% interval, and the columns that say much the same.

    Args:
        columns: the parts of each column, by name.
        rises: [n, columns] each item's part in it; see increases.
        x: the inputs that these are parts of; the first of a column stands for it when columns are compared.
    """
    import pandas as pd

    names = list(columns)
    low, high = bootstrap_mean(rises)
    alike = associations([x[at][:, where][:, 0] for (at, where), *_ in columns.values()]) > ALIKE
    shared = [", ".join(str(names[j]) for j in np.flatnonzero(row).tolist()) for row in alike]
    made: dict[str, Any] = {
        "column": names,
        "importance": rises.mean(0),
        "low": low,
        "high": high,
        "shared_with": shared,
    }
    return pd.DataFrame(made).sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def associations(columns: Sequence[Tensor]) -> Floats:
    """How much columns tell of each other, 0 to 1: float64 [k, k], 0 on the diagonal.

    Of two numbers it is the size of their rank correlation; of a category and a number the correlation ratio of the
    number's rank; of two categories Cramér's V. What chance alone gives is taken off where categories are.

    Args:
        columns: [n] each; whole numbers are codes of categories, of which the most frequent count by themselves.

    Source: Spearman 1904; Kelley 1935, epsilon squared; Bergsma 2013 for V without its bias.
    """
    k, n = len(columns), len(columns[0])
    found = np.zeros((k, k))
    numbers = [i for i, column in enumerate(columns) if column.is_floating_point()]
    groups = {i: _indicators(column, n) for i, column in enumerate(columns) if not column.is_floating_point()}
    ranks = np.zeros((n, len(numbers)))
    for place, i in enumerate(numbers):
        ranks[:, place] = _standard_ranks(columns[i].double().numpy())
    found[np.ix_(numbers, numbers)] = np.abs(ranks.T @ ranks) / n
    for i, seen in groups.items():
        counts = seen.sum(0)
        if len(numbers):
            between = ((seen.T @ ranks) ** 2 / counts[:, None]).sum(0) / n  # the share of the variance, which is 1 or 0
            ratio = 1 - (1 - between) * (n - 1) / max(1, n - len(counts))
            found[i, numbers] = found[numbers, i] = np.sqrt(np.clip(np.where(ranks.any(0), ratio, 0), 0, 1))
        for j, other in groups.items():
            if j < i:
                found[i, j] = found[j, i] = _cramers_v(seen.T @ other, n)
    np.fill_diagonal(found, 0)
    return found


def _standard_ranks(values: Floats) -> Floats:
    """Ranks of mean 0 and variance 1, equal values sharing theirs; all 0 where all are equal."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - counts / 2)[places.reshape(-1)]
    ranks = ranks - ranks.mean()
    return ranks / (ranks.std() or 1.0)


def _indicators(codes: Tensor, n: int) -> Floats:
    """Which item has which code, float64 [n, codes]; the rarer ones share the last.

    Of equally frequent ones those that come first stand by themselves, so that columns which repeat each other are cut alike.
    """
    _, first, places, counts = np.unique(codes.numpy(), return_index=True, return_inverse=True, return_counts=True)
    most = max(2, min(MOST_CODES, n // 10))
    order = np.lexsort((first, -counts))
    place = np.empty(len(counts), np.int64)
    place[order] = np.minimum(np.arange(len(counts)), most - 1)
    made: Floats = np.eye(min(len(counts), most))[place[places.reshape(-1)]]
    return made


def _cramers_v(counts: Floats, n: int) -> float:
    """Of a table of counts, less what chance gives."""
    rows, columns = counts.shape
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / n
    phi = float(((counts - expected) ** 2 / expected).sum()) / n - (rows - 1) * (columns - 1) / (n - 1)
    least = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return min(1.0, max(0.0, phi) / least) ** 0.5 if least > 0 else 0.0
