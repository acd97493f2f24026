"""DataLoaders of tables, from a DataFrame or a file."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd
import torch
from torch import Tensor

from tipsai.core.errors import SettingError, listing
from tipsai.core.finding import Finding
from tipsai.data.block import Block
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import EVAL_ROWS, Loader, RowLoader, check_bs
from tipsai.data.split import Split
from tipsai.frame.read import as_frame, read_parts, read_table
from tipsai.frame.targets import TASK_OF, encode_target, fit_target, parts_of, row_weights, target_block, target_names
from tipsai.frame.values import numbers_of
from tipsai.tabular import defaults
from tipsai.tabular.columns import Number
from tipsai.tabular.infer import Kind, describe, infer_kinds
from tipsai.tabular.raw import Raw, sampled
from tipsai.tabular.table import TableBlock

log = logging.getLogger("tipsai")


class TabularDataLoaders(DataLoaders):
    """Loaders of a table's rows, which lie encoded in memory.

    Attributes:
        kinds: what each column was taken for, and why; describe() shows them.
        task: "classification", "regression" or "multilabel".
        raw: a sample of each split's rows as they were read, without targets.
        drawn: whether validation rows were drawn at random.
    """

    kinds: list[Kind]
    task: str
    raw: Mapping[str, Raw]
    drawn: bool = False

    @classmethod
    def from_df(
        cls,
        df: pd.DataFrame,
        target: str | Sequence[str],
        *,
        valid_df: pd.DataFrame | None = None,
        test_df: pd.DataFrame | None = None,
        task: str | None = None,
        kinds: Mapping[str, str] | None = None,
        ignore: Sequence[str] = (),
        weights: str | None = None,
        splitter: Callable[[pd.DataFrame], Split] | None = None,
        valid: float | None = None,
        bs: int | None = None,
        seed: int = 0,
        text: bool = True,
        like: "TabularDataLoaders | None" = None,
    ) -> Self:
        """From a DataFrame.

        Args:
            df: rows to train on; validation rows are drawn from them unless valid_df is given.
            target: the column to predict, or several columns of numbers or of yes and no.
            valid_df: rows to validate on.
            test_df: rows that learn.test() opens.
            task: "classification", "regression" or "multilabel"; told from the target by default.
            kinds: kinds of columns where the inferred one is wrong: number, category, boolean, date, identifier, skip.
            ignore: columns to leave out.
            weights: a column with the weight of each training row in the loss; it is no input.
            splitter: from the frame to a Split, such as lambda df: time_split(df["date"], valid=0.2).
            valid: the share of rows drawn for validation.
            bs: rows a batch; by the number of rows by default.
            seed: of the split.
            text: whether the spelling of nominal text counts (TA02).
            like: loaders whose fitted columns and target to use as they are; so a reloaded model trains further on new
                rows: load_learner(path, dls=TabularDataLoaders.from_df(rows, target, like=load_learner(path).dls)).

        Raises:
            DataError: there is nothing to learn from, or the target is unfit.
            ColumnError: columns are not there.
        """
        targets = target_names(target)
        made = cls(None)
        made.task, parts = parts_of(
            {"train": df, "valid": valid_df, "test": test_df},
            targets,
            of_training=[*([weights] if weights else []), *ignore],
            task=task or (like.task if like is not None else None),
            splitter=splitter,
            valid=valid,
            seed=seed,
        )
        if like is not None:
            if kinds or ignore or task or not text:
                raise SettingError("like is given, so kinds, ignore, task and text would be ignored; leave them out.")
            made.blocks, made.kinds = like.blocks, like.kinds
        else:
            made._fit(parts["train"], targets, kinds or {}, ignore, weights, text)
        made._say(len(df), parts)
        made._encode(parts, targets, weights, bs)
        own = [*targets, *([weights] if weights else [])]
        made.raw = {name: sampled(frame, own) for name, frame in parts.items() if len(frame)}
        made.drawn = valid_df is None and splitter is None
        return made

    def _fit(
        self,
        train: pd.DataFrame,
        targets: Sequence[str],
        kinds: Mapping[str, str],
        ignore: Sequence[str],
        weights: str | None,
        text: bool,
    ) -> None:
        """Infers the columns' kinds and fits the blocks on training rows."""
        own = {*targets, *([weights] if weights else [])}
        unused = sorted(own & set(ignore))
        if unused:
            raise SettingError(f"ignore names {listing(unused)}, a target or the weights. Take it from ignore.")
        y_block = target_block(train, targets, self.task)
        fit_target(y_block, train, targets)
        self.kinds = infer_kinds(train, kinds, skip=[*own, *ignore])
        text_values = defaults.TEXT_VALUES if text else 2**62
        x_block = TableBlock().fit_frame(train, self.kinds, text_values, defaults.RARE, defaults.MOST_VALUES)
        self.blocks = (x_block, y_block)

    def _encode(
        self, parts: Mapping[str, pd.DataFrame], targets: Sequence[str], weights: str | None, bs: int | None
    ) -> None:
        """Makes a loader of each part, and chooses what follows from the number of training rows."""
        assert self.blocks is not None
        n_rows = len(parts["train"])
        self.base_bs = defaults.batch_size(n_rows)
        size = self.base_bs if bs is None else check_bs(bs)
        for name in ("train", "valid", "test"):
            if name in parts and len(parts[name]):
                y = encode_target(self.blocks[1], parts[name], targets, name)
                if weights and name == "train":
                    y = (*y, row_weights(parts[name][weights]))
                rows = self.table.encode_frame(parts[name], y)
                training = name == "train"
                setattr(self, name, RowLoader(rows, size if training else max(size, EVAL_ROWS), shuffle=training))
        self.n_epochs = defaults.n_epochs(n_rows, self.task, max(self.table.cardinalities, default=0))

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        target: str | Sequence[str],
        *,
        valid: str | Path | float | None = None,
        test: str | Path | None = None,
        **options: Any,
    ) -> Self:
        """From a CSV, TSV or Parquet file, and others for validation and test. For the other arguments see from_df."""
        return cls.from_df(read_table(path), target, **read_parts(valid, test), **options)

    @classmethod
    def for_prediction(cls, blocks: tuple[Block, Block]) -> Self:
        """Loaders without rows, for a reloaded model."""
        made = cls(None, blocks=blocks)
        made.kinds, made.task, made.raw = [], TASK_OF[type(blocks[1])], {}
        return made

    @property
    def table(self) -> TableBlock:
        assert self.blocks is not None
        block = self.blocks[0]
        assert isinstance(block, TableBlock)
        return block

    def test_dl(self, items: Any, bs: int | None = None) -> Loader:
        """A loader of new rows: a DataFrame, a dict, a list of dicts, or a file.

        Raises:
            ColumnError: columns of training are missing (shown as a diff), or a number column holds words.
        """
        frame = as_frame(items)
        self.table.check(frame)
        unseen = self.table.unseen(frame)
        if unseen:
            log.info(
                "values that training never, or hardly ever, saw: %s",
                ", ".join(f"{name} in {n:,} rows" for name, n in unseen.items()),
            )
        strays = self.table.strays(frame)
        if strays:
            log.info(
                "values that do not fit their column and count as missing: %s",
                ", ".join(f"{name} in {n:,} rows" for name, n in strays.items()),
            )
        return RowLoader(self.table.encode_frame(frame), bs or max(EVAL_ROWS, self.bs))

    def raw_items(self, n: int) -> pd.DataFrame | None:
        """Rows as they were read, without targets."""
        kept = self.raw.get("valid") or self.raw.get("train")
        return None if kept is None else kept.frame.head(n)

    def numbers_as_read(self, split: str) -> dict[str, Tensor]:
        kept = self.raw.get(split)
        if kept is None:
            return {}
        numbers = [name for name in self.table.of(Number) if name in kept.frame]
        return {name: torch.tensor(numbers_of(kept.frame[name])[0]) for name in numbers}

    def present(self, items: Any, loader: Loader, columns: dict[str, Any]) -> pd.DataFrame:
        return pd.DataFrame(columns, index=as_frame(items).index)

    def describe(self) -> str:
        """The columns and what they were taken for, as text."""
        return describe(self.kinds)

    def _say(self, n_given: int, parts: Mapping[str, pd.DataFrame]) -> None:
        sizes = ", ".join(f"{len(frame):,} {name}" for name, frame in parts.items() if len(frame))
        log.info("%s rows (%s); task: %s\n%s", f"{n_given:,}", sizes, self.task, self.describe())
        aside = [kind for kind in self.kinds if kind.kind in ("identifier", "constant") and kind.why != "given"]
        if aside:
            words = "; ".join(f"{kind.name!r} ({kind.kind}: {kind.why})" for kind in aside[:8]) + (
                f" and {len(aside) - 8} more" if len(aside) > 8 else ""
            )
            told = Finding(
                "set-aside",
                "DA12",
                "advice",
                f"set aside: {words}.",
                {kind.name: kind.why for kind in aside},
                "Use one after all with kinds={column: kind}; a column that ought to hold something may have been lost on the way.",
            )
            self.findings.append(told)
            log.warning("%s %s", told.message, told.fix)
