"""What is taken for what: pairs of classes, their matrix, and the figures of each class."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tipsai.data.itemwise import shares

if TYPE_CHECKING:
    import pandas as pd

MANY_CLASSES = 100  # above, a confusion matrix has the classes that occur
Pairs = tuple[Tensor, Tensor, Tensor]  # targets, predictions, and how often each pair that occurs does: int64 [k] each


def pairs_of_items(target: Tensor, said: Tensor, n: int) -> Pairs:
    """Pairs of n classes, from those of items, int [items]; a target below 0 is unknown."""
    known = target >= 0
    pairs = target[known].long() * n + said[known]
    pairs, counts = (torch.from_numpy(v) for v in np.unique(pairs.numpy(), return_counts=True))
    return pairs // n, pairs % n, counts


def pairs_of_matrix(matrix: Tensor) -> Pairs:
    """Pairs from a whole matrix of counts."""
    target, said = matrix.nonzero().unbind(1)
    return target, said, matrix[target, said]


def matrix(pairs: Pairs, names: Sequence[Any]) -> "pd.DataFrame":
    """See Interpretation.confusion."""
    import pandas as pd

    target, said, counts = pairs
    few = len(names) <= MANY_CLASSES
    kept = torch.arange(len(names)) if few else torch.from_numpy(np.union1d(target.numpy(), said.numpy()))
    made = torch.zeros(len(kept), len(kept), dtype=torch.int64)
    made[torch.searchsorted(kept, target), torch.searchsorted(kept, said)] = counts
    names = [names[i] for i in kept.tolist()]
    return pd.DataFrame(made.numpy(), index=pd.Index(names, name="target"), columns=pd.Index(names, name="prediction"))


def most_confused(pairs: Pairs, names: Sequence[Any], least: int, n: int) -> "pd.DataFrame":
    """See Interpretation.most_confused."""
    import pandas as pd

    target, said, counts = pairs
    totals = torch.zeros(len(names), dtype=torch.int64).index_add_(0, target, counts)
    wrong = ((target != said) & (counts >= least)).nonzero()[:, 0]
    best = wrong[counts[wrong].sort(stable=True, descending=True).indices][:n]
    columns = {name: [names[i] for i in c[best].tolist()] for name, c in (("target", target), ("prediction", said))}
    of_target = (counts[best] / totals[target[best]]).tolist()
    return pd.DataFrame(columns | {"count": counts[best].tolist(), "share_of_target": of_target})


def figures_of_classes(pairs: Pairs, n: int) -> dict[str, Tensor]:
    """Recall, precision and the like of each of n classes; see itemwise.shares."""
    target, said, counts = pairs
    zeros = torch.zeros(n, dtype=torch.int64)
    return shares(
        zeros.index_add(0, target, counts),
        zeros.index_add(0, said, counts),
        zeros.index_add(0, target[target == said], counts[target == said]),
    )


def table(kind: str, names: Sequence[Any], figures: Mapping[str, Tensor]) -> "pd.DataFrame":
    """A row a class, label or number, the worst first."""
    import pandas as pd

    what = {"labels": "label", "numbers": "number"}.get(kind, "class")
    index = pd.Index([str(name) for name in names], name=what)
    frame = pd.DataFrame({name: values.numpy() for name, values in figures.items()}, index=index)
    by, other = ("iou", "f1") if kind == "masks" else ("f1", "iou")
    if kind == "numbers":
        return frame.sort_values("rmse", ascending=False, kind="stable")
    return frame.drop(columns=other).sort_values(by, kind="stable")
