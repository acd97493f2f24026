"""The columns of the items of a split: of a table as a person reads them, of tensors by number; or values of one's own."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tipsai.core.errors import SettingError, listing, nearest
from tipsai.data.block import Block
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import ForeignLoader, Loader

if TYPE_CHECKING:
    import pandas as pd

NO_COLUMNS = "these items have no columns; tables have some, and tensors x [n, columns]"


def parts_of(dls: DataLoaders, x: tuple[Tensor, ...]) -> dict[Any, list[tuple[int, slice]]]:
    """Where each column lies in a batch's inputs; see Block.column_parts.

    Raises:
        SettingError: the inputs have no columns.
    """
    block = dls.blocks[0] if dls.blocks else Block()
    known = block.column_parts()
    if known:
        return known
    if type(block) is not Block or len(x) != 1 or x[0].ndim != 2:
        raise SettingError(f"{NO_COLUMNS}.")
    return {i: [(0, slice(i, i + 1))] for i in range(x[0].shape[1])}


def columns_of(dls: DataLoaders, loader: Loader, only: Any = None) -> "dict[Any, pd.Series]":
    """The columns of all items, [n] each, as a person reads them.

    Args:
        dls: the loaders.
        loader: of the split, in its own order.
        only: the one column that is wanted.

    Raises:
        SettingError: there is no such column, or none at all.
    """
    import pandas as pd

    if isinstance(loader, ForeignLoader) or (dls.blocks and dls.blocks[0].draws):
        raise SettingError(f"{NO_COLUMNS}. Give a value for each item of the split: by_slice(values).")
    kept: dict[Any, list[NDArray[Any]]] = {}
    for batch in loader.batches():
        parts = parts_of(dls, batch.x)
        if only is not None and only not in parts:
            hint = nearest(only, [name for name in parts if isinstance(name, str)]) if isinstance(only, str) else ""
            raise SettingError(f"there is no column {only!r}; expected one of {listing(parts)}.{hint}")
        table = dls.blocks[0].grouped(batch.x) if dls.blocks else {}
        wanted: list[Any] = list(parts) if only is None else [only]
        for name in wanted:
            kept.setdefault(name, []).append(_array(table[name] if table else batch.x[0][:, name].cpu().numpy()))
    return {name: pd.Series(np.concatenate(pieces)) for name, pieces in kept.items()}


def _array(values: Any) -> NDArray[Any]:
    """Values of a batch; names and None stay the objects that they are."""
    return (
        np.array(values, object)
        if isinstance(values, list) and not isinstance(values[0], float)
        else np.asarray(values)
    )


def column_of(dls: DataLoaders, loader: Loader, n: int, column: Any) -> "pd.Series":
    """One column by its name or number, or values that are given, one an item.

    Raises:
        SettingError: there is no such column, or another number of values.
    """
    import pandas as pd

    if isinstance(column, str | int | np.integer):
        return columns_of(dls, loader, column)[column]
    values = pd.Series(column.cpu().numpy() if isinstance(column, Tensor) else column).reset_index(drop=True)
    if len(values) != n:
        raise SettingError(
            f"column has {len(values):,} values and the split {n:,} items; expected one value for each item, in the split's order."
        )
    return values
