"""DataLoaders of tables, from a DataFrame or a file."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tipsai.core.errors import ColumnError, DataError, SettingError, listing, nearest
from tipsai.data.block import Block, CategoryBlock, MultiCategoryBlock, RegressionBlock
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import EVAL_ROWS, Loader, RowLoader, check_bs
from tipsai.data.processor import key
from tipsai.data.split import Split, random_split, stratified_split
from tipsai.tabular import defaults
from tipsai.tabular.columns import Boolean, distinct, numbers_of
from tipsai.tabular.infer import Kind, describe, infer_kinds, infer_task
from tipsai.tabular.read import check_frame, read_table
from tipsai.tabular.table import TableBlock

log = logging.getLogger("tipsai")
TASKS = ("classification", "regression", "multilabel")


class TabularDataLoaders(DataLoaders):
    """Loaders of a table's rows, which lie encoded in memory.

    Attributes:
        kinds: what each column was taken for, and why; describe() shows them.
        task: "classification", "regression" or "multilabel".
    """

    kinds: list[Kind]
    task: str

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
        targets = _targets(target)
        frames = {"train": df, "valid": valid_df, "test": test_df}
        named = {name: _named(frame, name) for name, frame in frames.items() if frame is not None}
        for name, frame in named.items():
            training_only = [*([weights] if weights else []), *ignore] if name == "train" else []
            _check_columns(frame, [*targets, *training_only], name)
            named[name] = _with_target(frame, targets, name)
        if len(named["train"]) < 2:
            raise DataError(
                f"there is {len(named['train'])} row to train on; expected at least 2, and rather hundreds."
            )
        made = cls(None)
        made.task = _task(named["train"], targets, task or (like.task if like is not None else None))
        parts = dict(named)
        if valid_df is None:
            parts |= _split(named["train"], targets, made.task, splitter, valid, seed)
        elif splitter is not None or valid is not None:
            raise SettingError("both valid_df and a split are given; give one of them.")
        if like is not None:
            if kinds or ignore or task or not text:
                raise SettingError("like is given, so kinds, ignore, task and text would be ignored; leave them out.")
            made.blocks, made.kinds = like.blocks, like.kinds
        else:
            made._fit(parts["train"], targets, kinds or {}, ignore, weights, text)
        made._say(len(df), parts)
        made._encode(parts, targets, weights, bs)
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
        y_block = _target_block(train, targets, self.task)
        _fit_target(y_block, train, targets)
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
                y = _encode_target(self.blocks[1], parts[name], targets, name)
                if weights and name == "train":
                    y = (*y, _row_weights(parts[name][weights]))
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
        more: dict[str, Any] = {"test_df": read_table(test)} if test is not None else {}
        if isinstance(valid, str | Path):
            more["valid_df"] = read_table(valid)
        elif valid is not None:
            more["valid"] = valid
        return cls.from_df(read_table(path), target, **more, **options)

    @classmethod
    def for_prediction(cls, blocks: tuple[Block, Block]) -> Self:
        """Loaders without rows, for a reloaded model."""
        made = cls(None, blocks=blocks)
        made.kinds, made.task = (
            [],
            {CategoryBlock: "classification", RegressionBlock: "regression"}.get(type(blocks[1]), "multilabel"),
        )
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
            log.warning("set aside: %s. Use one after all with kinds={column: kind}.", words)


def as_frame(items: Any) -> pd.DataFrame:
    """Rows in any usual form as a DataFrame with text column names."""
    if isinstance(items, str | Path):
        items = read_table(items)
    elif isinstance(items, pd.Series):
        items = items.to_frame().T.infer_objects()
    elif isinstance(items, Mapping):
        one_row = not any(isinstance(value, list | np.ndarray | pd.Series) for value in items.values())
        items = pd.DataFrame([items] if one_row else items)
    elif isinstance(items, list):
        items = pd.DataFrame(items)
    return _named(items, "the input")


def _named(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    check_frame(frame, name)
    if all(isinstance(column, str) for column in frame.columns):
        return frame
    renamed = frame.copy(deep=False)
    renamed.columns = pd.Index([str(column) for column in frame.columns])
    check_frame(renamed, name)
    return renamed


def _targets(target: Any) -> list[str]:
    """The targets' names. A frame's column names may be numbers; inside they are text."""
    names = [str(name) for name in (target if isinstance(target, list | tuple) else [target])]
    if not names or len(set(names)) < len(names):
        raise SettingError(f"target is {target!r}; expected a column, or several different ones.")
    return names


def _check_columns(frame: pd.DataFrame, names: Sequence[str], where: str) -> None:
    for name in names:
        if name not in frame.columns:
            raise ColumnError(
                f"the {where} table has no column {name!r}.{nearest(str(name), frame.columns)} Its columns are {listing(frame.columns)}."
            )


def _with_target(frame: pd.DataFrame, targets: Sequence[str], name: str) -> pd.DataFrame:
    """The rows whose targets are all there; how many are left out is said."""
    missing = np.zeros(len(frame), bool)
    for target in targets:
        missing |= distinct(frame[target])[0] < 0
    if missing.all():
        raise DataError(
            f"the target {listing(targets)} is missing in every row of the {name} table; there is nothing to learn from."
        )
    if missing.any():
        log.warning("%s of %s %s rows have no target and are left out", f"{missing.sum():,}", f"{len(frame):,}", name)
        kept = frame[~missing].copy(deep=False)
        for target in targets:
            # pandas makes whole numbers with gaps floats; without the gaps they are whole again, as are their labels.
            if frame[target].isna().any() and pd.api.types.is_float_dtype(kept[target].dtype):
                values = kept[target].to_numpy(np.float64)
                if np.isfinite(values).all() and (values == np.round(values)).all() and abs(values).max() < 2**53:
                    kept[target] = values.astype(np.int64)
        return kept
    return frame


def _task(frame: pd.DataFrame, targets: Sequence[str], given: str | None) -> str:
    if given is not None and given not in TASKS:
        raise SettingError(f"task is {given!r}.{nearest(given, TASKS)} Expected one of {listing(TASKS)}.")
    for target in targets:
        places, found = distinct(frame[target])
        present = np.unique(places)
        if len(present) < 2:
            raise DataError(f"the target {target!r} is always {found[present[0]]!r}; there is nothing to learn.")
    found_tasks = {infer_task(frame[target]) for target in targets}
    if len(targets) == 1:
        if given == "multilabel":
            raise SettingError("task='multilabel' needs several target columns of yes and no.")
        task = given or found_tasks.pop()
        if task == "regression":
            _check_numbers(frame, targets, "train")
        elif len(distinct(frame[targets[0]])[1]) == len(frame) > 20:
            raise DataError(
                f"the target {targets[0]!r} is another one in each of {len(frame):,} rows, so there are no classes to learn; "
                "choose another target, or make numbers of it and use task='regression'."
            )
        return task
    yes_no = all(_is_yes_no(frame[target]) for target in targets)
    if given == "regression" or (given is None and not yes_no and not any(_n_words(frame[t]) for t in targets)):
        _check_numbers(frame, targets, "train")
        return "regression"
    if yes_no and given in (None, "multilabel"):
        return "multilabel"
    raise DataError(
        f"the targets {listing(targets)} are neither all numbers nor all yes and no; train a model for each."
    )


def _n_words(column: pd.Series) -> int:
    return numbers_of(column)[1]


def _check_numbers(frame: pd.DataFrame, targets: Sequence[str], where: str) -> None:
    for target in targets:
        _, n_stray, n_infinite = numbers_of(frame[target])
        if n_stray:
            raise DataError(
                f"the target {target!r} holds {n_stray:,} values that are no numbers, in the {where} table; correct them, or use task='classification'."
            )
        if n_infinite:
            raise DataError(
                f"the target {target!r} is infinite in {n_infinite:,} rows of the {where} table; correct them, or leave them out."
            )


def _is_yes_no(column: pd.Series) -> bool:
    places, found = distinct(column)
    return {Boolean.name_of(found[i]) for i in np.unique(places[places >= 0])} <= {"yes", "no"}


def _target_block(frame: pd.DataFrame, targets: Sequence[str], task: str) -> Block:
    if task == "classification":
        return CategoryBlock()
    return MultiCategoryBlock(list(targets)) if task == "multilabel" else RegressionBlock(list(targets))


def _fit_target(block: Block, frame: pd.DataFrame, targets: Sequence[str]) -> None:
    if isinstance(block, CategoryBlock):
        places, found = distinct(frame[targets[0]])
        block.vocab.fit([found[i] for i in np.unique(places)])
        if block.n_out < 2:
            raise DataError(f"the training rows hold one class of {targets[0]!r} only; there is nothing to learn.")
    elif isinstance(block, RegressionBlock):
        block.scaler.fit(_values(frame, targets))


def _values(frame: pd.DataFrame, targets: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.stack([numbers_of(frame[target])[0] for target in targets], 1)


def _encode_target(block: Block, frame: pd.DataFrame, targets: Sequence[str], where: str) -> tuple[Tensor, ...]:
    if isinstance(block, CategoryBlock):
        places, found = distinct(frame[targets[0]])
        table = np.zeros(len(found), np.int64)
        for i in np.unique(places):
            try:
                table[i] = block.vocab.encode(found[i])
            except DataError as error:
                raise DataError(f"in the {where} table, column {targets[0]!r}: {error}") from error
        return (torch.from_numpy(table[places]),)
    if isinstance(block, MultiCategoryBlock):
        columns = []
        for target in targets:
            if not _is_yes_no(frame[target]):
                raise DataError(
                    f"the target {target!r} holds other values than yes and no in the {where} table; correct them."
                )
            places, found = distinct(frame[target])
            yes = np.array([Boolean.name_of(value) == "yes" for value in found])
            columns.append(yes[places])
        return (torch.from_numpy(np.stack(columns, 1)),)
    assert isinstance(block, RegressionBlock)
    _check_numbers(frame, targets, where)
    return (torch.from_numpy(block.scaler.encode(_values(frame, targets)).astype(np.float32)),)


def _row_weights(column: pd.Series) -> Tensor:
    values, n_stray, n_infinite = numbers_of(column)
    if n_stray or n_infinite or np.isnan(values).any() or (values < 0).any() or not values.any():
        raise DataError(f"the weights in {str(column.name)!r} must be finite numbers of at least 0, and not all 0.")
    return torch.from_numpy((values / values.mean()).astype(np.float32))


def _split(
    frame: pd.DataFrame,
    targets: Sequence[str],
    task: str,
    splitter: Callable[[pd.DataFrame], Split] | None,
    share: float | None,
    seed: int,
) -> dict[str, pd.DataFrame]:
    if splitter is not None:
        if share is not None:
            raise SettingError("both splitter and valid are given, and valid would be ignored; give one of them.")
        split = splitter(frame)
    else:
        share = defaults.valid_share(len(frame)) if share is None else share
        if task == "classification":
            places, found = distinct(frame[targets[0]])
            names = np.array([key(value) for value in found])
            split = stratified_split(names[places], share, seed=seed)
        else:
            split = random_split(len(frame), share, seed=seed)
    if not len(split.train):
        raise DataError(f"the split leaves none of {len(frame)} rows for training.")
    parts = {"train": frame.iloc[split.train], "valid": frame.iloc[split.valid]}
    return parts | ({"test": frame.iloc[split.test]} if len(split.test) else {})
