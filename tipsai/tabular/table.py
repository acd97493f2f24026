"""A table's block: from a DataFrame to rows of tensors in memory, and what its columns need of a model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from tipsai.core.errors import ColumnError, DataError
from tipsai.core.state import Batch
from tipsai.data.block import Block
from tipsai.data.processor import Processor
from tipsai.frame.values import numbers_of
from tipsai.tabular.checks import CHECKS
from tipsai.tabular.columns import Boolean, Category, Date, Number, to_dates
from tipsai.tabular.infer import Kind

RARE = "rare or new"  # a slice of values that have no code of their own
MANY = 20  # rows a value, below which on average many values are rare
PROCESSORS: dict[str, type[Processor]] = {"number": Number, "category": Category, "boolean": Boolean, "date": Date}


class TableRows:
    """Encoded rows. A batch's x is what models.TabularModel takes: codes, numbers, missing flags and text vectors.

    Args:
        codes: int32 [n, categories].
        numbers: float32 [n, numbers].
        missing: uint8 [n, numbers].
        places: int32 [n, texts], each row's place in that text column's table.
        tables: float32 [values, text_dim], one a text column.
        y: targets, and after them row weights where there are some.
    """

    def __init__(
        self,
        codes: Tensor,
        numbers: Tensor,
        missing: Tensor,
        places: Tensor,
        tables: Sequence[Tensor],
        y: tuple[Tensor, ...] = (),
    ) -> None:
        self.codes, self.numbers, self.missing, self.places, self.tables, self.y = (
            codes,
            numbers,
            missing,
            places,
            list(tables),
            y,
        )

    def __len__(self) -> int:
        return len(self.codes)

    def tensors(self) -> Sequence[Tensor]:
        return (self.codes, self.numbers, self.missing, self.places, *self.tables, *self.y)

    def take(self, index: Tensor | slice) -> Batch:
        if isinstance(index, slice):
            parts = [t[index] for t in (self.codes, self.numbers, self.missing, self.places, *self.y)]
        else:
            parts = [t.index_select(0, index) for t in (self.codes, self.numbers, self.missing, self.places, *self.y)]
        codes, numbers, missing, places, *y = parts
        if self.tables:
            texts = torch.stack([table.index_select(0, places[:, i]) for i, table in enumerate(self.tables)], 1)
        else:
            texts = numbers.new_zeros(len(codes), 0, Category.text_dim)
        return Batch((codes.long(), numbers, missing, texts), tuple(y))


class TableBlock(Block):
    """The inputs of a table: one processor a column, fitted on training rows.

    Attributes:
        columns: the processor of each input column, by name, in the order of training.
    """

    checks = CHECKS

    def __init__(self) -> None:
        self.columns: dict[str, Processor] = {}

    def fit_frame(
        self, frame: pd.DataFrame, kinds: Sequence[Kind], text_values: int, rare: int, most_values: int
    ) -> "TableBlock":
        """Fits a processor for each column that is used.

        Args:
            frame: training rows.
            kinds: of its columns; identifiers, constants and skipped ones are left out.
            text_values: distinct values from which on a text column's spelling counts (TA02).
            rare: in such columns, values seen less often share one code and are told apart by their spelling alone.
            most_values: the most frequent values that get an embedding of their own.

        Raises:
            ColumnError: a kind that was given does not fit most of the column's values.
            DataError: no column is left.
        """
        for kind in kinds:
            if kind.kind not in PROCESSORS:
                continue
            if kind.n_stray * 2 > len(frame) - kind.n_missing:
                raise ColumnError(
                    f"the column {kind.name!r} was given as a {kind.kind}, and {kind.n_stray:,} of its "
                    f"{len(frame) - kind.n_missing:,} values are none. Take it from kinds, or make it a category."
                )
            processor = PROCESSORS[kind.kind]()
            if type(processor) is Category:
                processor.text = kind.n_distinct >= text_values and kind.is_text
                processor.min_count = rare if processor.text or kind.n_distinct * MANY > len(frame) else 1
                processor.most_values = most_values
            self.columns[kind.name] = processor.fit(frame[kind.name])
        if not self.columns:
            raise DataError(
                "no column is left to learn from: all are targets, identifiers or constants. Set kinds={column: kind} to use some."
            )
        return self

    def of(self, *types: type[Processor]) -> dict[str, Any]:
        return {name: p for name, p in self.columns.items() if isinstance(p, types)}

    @property
    def cardinalities(self) -> list[int]:
        """Rows of each category's embedding table."""
        return [p.n_codes for p in self.of(Category).values()]

    @property
    def n_numbers(self) -> int:
        return sum(len(p.numbers_) if isinstance(p, Date) else 1 for p in self.of(Number, Date).values())

    @property
    def n_texts(self) -> int:
        return sum(p.text for p in self.of(Category).values())

    def check(self, frame: pd.DataFrame) -> None:
        """Raises ColumnError, with a diff, unless every column of training is there."""
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            extra = [name for name in frame.columns if name not in self.columns]
            lines = [f"  - {name}" for name in missing[:10]] + (
                [f"  - ... and {len(missing) - 10} more"] if len(missing) > 10 else []
            )
            lines += [f"  + {name}" for name in extra[:10]] + (
                [f"  + ... and {len(extra) - 10} more"] if len(extra) > 10 else []
            )
            raise ColumnError(
                f"{len(missing)} of the {len(self.columns)} columns of training are missing (-); these are there and not used (+):\n"
                + "\n".join(lines)
                + "\nRename or add the missing ones."
            )

    def encode_frame(self, frame: pd.DataFrame, y: tuple[Tensor, ...] = ()) -> TableRows:
        """Rows of any frame that has the columns; extra ones and their order do not matter.

        Raises:
            ColumnError: columns are missing, or a number column holds words.
        """
        self.check(frame)
        n, categories, texts = len(frame), self.of(Category), [p for p in self.of(Category).values() if p.text]
        codes = np.empty((n, len(categories)), np.int32)
        numbers = np.empty((n, self.n_numbers), np.float32)
        missing = np.empty((n, self.n_numbers), np.uint8)
        places = np.empty((n, len(texts)), np.int32)
        tables: list[Tensor] = []
        at_code = at_number = 0
        for name, processor in self.columns.items():
            column = frame[name]
            if isinstance(processor, Category):
                codes[:, at_code] = processor.encode(column)
                at_code += 1
                if processor.text:
                    places[:, len(tables)], made = processor.encode_text(column)
                    tables.append(torch.from_numpy(made))
            else:
                values, flags = processor.encode(column)
                width = 1 if values.ndim == 1 else values.shape[1]
                numbers[:, at_number : at_number + width] = values.reshape(n, width)
                missing[:, at_number : at_number + width] = flags.reshape(n, width)
                at_number += width
        return TableRows(
            torch.from_numpy(codes),
            torch.from_numpy(numbers),
            torch.from_numpy(missing),
            torch.from_numpy(places),
            tables,
            y,
        )

    def readable(self, x: tuple[Tensor, ...]) -> dict[str, Any]:
        """The columns again, from encoded rows; None for values that training hardly ever saw."""
        codes, numbers, missing = (t.cpu().numpy() for t in x[:3])
        columns: dict[str, Any] = {}
        at_code = at_number = 0
        for name, processor in self.columns.items():
            if isinstance(processor, Category):
                columns[name] = processor.decode(codes[:, at_code])
                at_code += 1
                continue
            width = len(processor.numbers_) if isinstance(processor, Date) else 1
            at = slice(at_number, at_number + width) if isinstance(processor, Date) else at_number
            columns[name] = processor.decode((numbers[:, at], missing[:, at]))
            if isinstance(processor, Date):  # without what float32 made up, here and below
                columns[name] = (
                    (columns[name] + np.timedelta64(30, "s")).astype("datetime64[m]").astype("datetime64[s]")
                )
            else:
                columns[name] = [float(f"{value:.6g}") for value in columns[name]]
            at_number += width
        return columns

    def column_parts(self) -> dict[str, list[tuple[int, slice]]]:
        """A category's code and the vector of its spelling; a number and its missing flag; all parts of a date."""
        parts: dict[str, list[tuple[int, slice]]] = {}
        at_code = at_number = at_text = 0
        for name, processor in self.columns.items():
            if isinstance(processor, Category):
                parts[name] = [(0, slice(at_code, at_code + 1))]
                at_code += 1
                if processor.text:
                    parts[name].append((3, slice(at_text, at_text + 1)))
                    at_text += 1
                continue
            width = len(processor.numbers_) if isinstance(processor, Date) else 1
            at = slice(at_number, at_number + width)
            parts[name] = [(1, at), (2, at)]
            at_number += width
        return parts

    def grouped(self, x: tuple[Tensor, ...]) -> dict[str, Any]:
        """As readable, and values that training hardly ever saw are told from missing ones."""
        columns = self.readable(x)
        for i, name in enumerate(self.of(Category)):
            is_rare = (x[0][:, i] == Category.UNKNOWN).tolist()
            columns[name] = [RARE if rare else value for rare, value in zip(is_rare, columns[name], strict=True)]
        return columns

    def unseen(self, frame: pd.DataFrame) -> dict[str, int]:
        """How many rows hold, in each category column, a value that training never saw, or too seldom to give it a code."""
        counts = {name: p.n_unseen(frame[name]) for name, p in self.of(Category).items()}
        return {name: n for name, n in counts.items() if n}

    def strays(self, frame: pd.DataFrame) -> dict[str, int]:
        """How many rows hold, in each number or date column, text that is none or an infinite number; they count as missing."""
        counts = {}
        for name, processor in self.of(Number, Date).items():
            if isinstance(processor, Date):
                counts[name] = to_dates(frame[name], processor.dayfirst_)[1]
            else:
                counts[name] = sum(numbers_of(frame[name])[1:])
        return {name: n for name, n in counts.items() if n}

    def edges(self, numbers: Tensor, missing: Tensor, n_bins: int) -> list[list[float]]:
        """Bin edges of each encoded number column, distinct and ascending, from at most 100,000 of its rows.

        Quantiles of the values that are there. Where ties make some of them coincide (nine in ten capital gains are
        zero), the free edges go to quantiles of the distinct values that are no edge yet.
        """
        step = max(1, len(numbers) // 100_000)
        values, gone = numbers[::step].numpy(), missing[::step].numpy().astype(bool)
        return [_edges(values[~gone[:, i], i], n_bins).tolist() for i in range(values.shape[1])]

    def to_dict(self) -> dict[str, Any]:
        names = {cls: kind for kind, cls in PROCESSORS.items()}
        return {"columns": [[name, names[type(p)], p.to_dict()] for name, p in self.columns.items()]}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> "TableBlock":
        made = cls()
        made.columns = {name: PROCESSORS[kind].from_dict(state) for name, kind, state in d["columns"]}
        return made


def _edges(values: NDArray[np.float32], n_bins: int) -> NDArray[np.float32]:
    if not len(values):
        return np.zeros(1, np.float32)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n_bins + 1), method="nearest"))
    rest = np.setdiff1d(values, edges)
    free = n_bins + 1 - len(edges)
    if free and len(rest):
        edges = np.union1d(edges, np.quantile(rest, (np.arange(free) + 0.5) / free, method="nearest"))
    return edges.astype(np.float32)
