"""A table's target columns: the task that they set, and their values as a block encodes them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tipsai.core.errors import ColumnError, DataError, SettingError, listing, nearest
from tipsai.core.text import amount
from tipsai.data.block import Block, CategoryBlock, MultiCategoryBlock, RegressionBlock
from tipsai.data.processor import key
from tipsai.data.split import Split, random_split, stratified_split
from tipsai.frame.read import named
from tipsai.frame.values import distinct, is_boolean, is_number, numbers_of, to_number, yes_or_no

log = logging.getLogger("tipsai")
TASKS = ("classification", "regression", "multilabel")
MOST_CLASSES = 10  # distinct whole numbers up to which a target counts as classes
TASK_OF: dict[type[Block], str] = {
    CategoryBlock: "classification",
    RegressionBlock: "regression",
    MultiCategoryBlock: "multilabel",
}


def valid_share(n_rows: int) -> float:
    """The share of rows drawn for validation: 20%, and 10% from 10,000 rows on."""
    return 0.2 if n_rows < 10_000 else 0.1


def parts_of(
    tables: Mapping[str, pd.DataFrame | None],
    targets: Sequence[str],
    needed: Sequence[str] = (),
    of_training: Sequence[str] = (),
    *,
    task: str | None = None,
    splitter: Callable[[pd.DataFrame], Split] | None = None,
    valid: float | None = None,
    seed: int = 0,
) -> tuple[str, dict[str, pd.DataFrame]]:
    """The task that a table's targets set, and the rows of each part whose targets are all there.

    Args:
        tables: "train" and, where given, "valid" and "test"; validation rows are drawn from train without.
        targets: the target columns.
        needed: other columns that every table must have.
        of_training: and those that the training table must.
        task: where it is given.
        splitter: from the training table to a Split.
        valid: the share of its rows that validate; valid_share by default.
        seed: of the draw.

    Raises:
        ColumnError: columns are not there.
        SettingError: more than one way to validate is given, or the task does not fit.
        DataError: there is nothing to learn from.
    """
    parts = {name: named(table, name) for name, table in tables.items() if table is not None}
    for name, frame in parts.items():
        check_columns(frame, [*needed, *targets, *(of_training if name == "train" else ())], name)
        parts[name] = with_target(frame, targets, name)
    train = parts["train"]
    if len(train) < 2:
        raise DataError(f"there is {len(train)} row to train on; expected at least 2, and rather hundreds.")
    task = task_of(train, targets, task)
    if "valid" not in parts:
        parts |= split_frame(train, targets, task, splitter, valid, seed)
    elif splitter is not None or valid is not None:
        raise SettingError("both valid_df and a split are given; give one of them.")
    return task, parts


def infer_task(column: pd.Series) -> str:
    """ "classification" or "regression", from a target's values."""
    places, found = distinct(column)
    present = [found[i] for i in np.unique(places[places >= 0])]
    if pd.api.types.is_bool_dtype(column.dtype) or is_boolean(present):
        return "classification"
    if sum(is_number(value) for value in present) < len(present):
        return "classification"
    values = np.array([to_number(value) for value in present])
    whole = bool(np.all(values == np.round(values)))
    return "classification" if whole and len(present) <= MOST_CLASSES else "regression"


def target_names(target: Any) -> list[str]:
    """The targets' names. A frame's column names may be numbers; inside they are text."""
    names = [str(name) for name in (target if isinstance(target, list | tuple) else [target])]
    if not names or len(set(names)) < len(names):
        raise SettingError(f"target is {target!r}; expected a column, or several different ones.")
    return names


def check_columns(frame: pd.DataFrame, names: Sequence[str], where: str) -> None:
    """Raises ColumnError unless the columns are all there."""
    for name in names:
        if name not in frame.columns:
            raise ColumnError(
                f"the {where} table has no column {name!r}.{nearest(str(name), frame.columns)} Its columns are {listing(frame.columns)}."
            )


def with_target(frame: pd.DataFrame, targets: Sequence[str], name: str) -> pd.DataFrame:
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


def task_of(frame: pd.DataFrame, targets: Sequence[str], given: str | None) -> str:
    """The task that target columns set: "classification", "regression" or "multilabel"; or the one that is given.

    Raises:
        SettingError: there is no such task, or the columns cannot be learned so.
        DataError: there is nothing to learn.
    """
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
                f"the target {target!r} holds {amount(n_stray, 'value')} that cannot be read as a number, in the {where} table; "
                "correct them, or use task='classification'."
            )
        if n_infinite:
            raise DataError(
                f"the target {target!r} is infinite in {amount(n_infinite, 'row')} of the {where} table; correct them, or leave them out."
            )


def _is_yes_no(column: pd.Series) -> bool:
    places, found = distinct(column)
    return {yes_or_no(found[i]) for i in np.unique(places[places >= 0])} <= {"yes", "no"}


def target_block(frame: pd.DataFrame, targets: Sequence[str], task: str) -> Block:
    """The targets' block, unfitted."""
    if task == "classification":
        return CategoryBlock()
    return MultiCategoryBlock(list(targets)) if task == "multilabel" else RegressionBlock(list(targets))


def fit_target(block: Block, frame: pd.DataFrame, targets: Sequence[str]) -> None:
    """Fits a block of target_block on training rows."""
    if isinstance(block, CategoryBlock):
        places, found = distinct(frame[targets[0]])
        block.vocab.fit([found[i] for i in np.unique(places)])
        if block.n_out < 2:
            raise DataError(f"the training rows hold one class of {targets[0]!r} only; there is nothing to learn.")
    elif isinstance(block, RegressionBlock):
        block.scaler.fit(_values(frame, targets))


def _values(frame: pd.DataFrame, targets: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.stack([numbers_of(frame[target])[0] for target in targets], 1)


def encode_target(block: Block, frame: pd.DataFrame, targets: Sequence[str], where: str) -> tuple[Tensor, ...]:
    """The targets of a table's rows as tensors [n, ...]; `where` names the table in messages."""
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
            yes = np.array([yes_or_no(value) == "yes" for value in found])
            columns.append(yes[places])
        return (torch.from_numpy(np.stack(columns, 1)),)
    assert isinstance(block, RegressionBlock)
    _check_numbers(frame, targets, where)
    return (torch.from_numpy(block.scaler.encode(_values(frame, targets)).astype(np.float32)),)


def row_weights(column: pd.Series) -> Tensor:
    """Weights of rows, float32 [n], of mean 1."""
    values, n_stray, n_infinite = numbers_of(column)
    if n_stray or n_infinite or np.isnan(values).any() or (values < 0).any() or not values.any():
        raise DataError(f"the weights in {str(column.name)!r} must be finite numbers of at least 0, and not all 0.")
    return torch.from_numpy((values / values.mean()).astype(np.float32))


def split_frame(
    frame: pd.DataFrame,
    targets: Sequence[str],
    task: str,
    splitter: Callable[[pd.DataFrame], Split] | None,
    share: float | None,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Rows to train, validate and perhaps test on: by a splitter, or a share at random, of each class alike.

    Args:
        frame: all rows.
        targets: the target columns.
        task: what they set; see task_of.
        splitter: from the frame to a Split.
        share: of the rows that validate; valid_share by default.
        seed: of the draw.

    Raises:
        SettingError: both are given.
        DataError: nothing is left to train on.
    """
    if splitter is not None:
        if share is not None:
            raise SettingError("both splitter and valid are given, and valid would be ignored; give one of them.")
        split = splitter(frame)
    else:
        share = valid_share(len(frame)) if share is None else share
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
