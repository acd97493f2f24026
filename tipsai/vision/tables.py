"""Tables of paths and naming schemes, read as a list of pictures with their labels."""

import os
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tipsai.core.errors import ColumnError, DataError, SettingError, listing, nearest
from tipsai.core.text import amount
from tipsai.data.processor import is_missing, key
from tipsai.data.split import column_split
from tipsai.vision.folders import list_pictures
from tipsai.vision.items import NAMES, Items, check_classes, check_masks, distinct, identity
from tipsai.vision.read import SUFFIXES, PathLike, shown

if TYPE_CHECKING:
    import pandas as pd


def from_frame(
    df: "pd.DataFrame",
    path_column: str,
    label_column: str | Sequence[str] | None = None,
    root: PathLike = "",
    *,
    suffix: str = "",
    label_delim: str | None = None,
    part_column: str | None = None,
    masks: bool = False,
) -> Items:
    """Pictures of a table, a row each.

    Args:
        df: the table.
        path_column: paths, relative to root or absolute.
        label_column: a column of classes or numbers; or several, of 0 and 1 (a picture's labels are the names of those
            with 1) or of numbers.
        root: the folder that the paths begin in.
        suffix: to be added to each path, such as ".jpg".
        label_delim: what separates several labels in one cell; an empty cell then has none.
        part_column: train, valid (or val, validation, dev) and test; or true for validation.
        masks: label_column holds the paths of masks, relative to root or absolute.

    Raises:
        ColumnError: a column is missing.
        DataError: files or labels are missing, a picture stands there twice with other labels, or masks do not fit.
    """
    several = label_column is not None and not isinstance(label_column, str)
    columns = [label_column] if isinstance(label_column, str) else list(label_column or ())
    for name in [path_column, *columns, *([part_column] if part_column is not None else [])]:
        if name not in df.columns:
            raise ColumnError(
                f"there is no column {name!r}.{nearest(name, map(str, df.columns))} The table has {listing(df.columns)}."
            )
    if label_delim is not None and (several or not columns):
        raise SettingError("label_delim separates the labels of one column; give label_column one name.")
    if masks and (several or not columns or label_delim is not None):
        raise SettingError("masks are files that one column names; give label_column one name, and no label_delim.")
    if not len(df):
        raise DataError("the table has no rows; expected a picture in each.")
    cells = df[path_column].tolist()
    without = [i for i, cell in enumerate(cells) if is_missing(cell) or not key(cell)]
    if without:
        raise DataError(
            f"{len(without):,} of {len(cells):,} rows have no path in {path_column!r} (the rows {listing(df.index[without].tolist())}). "
            "Fill them or leave them out: df.dropna()."
        )
    names = [key(cell) + suffix for cell in cells]
    made = Items([os.path.join(root, name) for name in names], root=os.fspath(root))
    ids = _existing(made.paths, names, made.root, f"of the column {path_column!r}", suffix)
    labels = None
    if several:
        labels = _from_columns(df, columns)
    elif columns:
        labels = df[columns[0]].tolist()
        if label_delim is None:
            _refuse_missing(labels, names, f"the column {columns[0]!r} has none for", "mask" if masks else "label")
        else:
            labels = [_split(label, label_delim) for label in labels]
            n = labels.count(())
            made.say(
                "without_labels", n, f"{amount(n, 'picture')} with an empty cell in {columns[0]!r}: none of the labels."
            )
    parts = None
    if part_column is not None:
        split = column_split(df[part_column].tolist())
        number = {int(i): name for name, index in zip(NAMES, split, strict=True) for i in index}
        parts = [number[i] for i in range(len(df))]
    made = replace(made, parts=parts)
    if masks:
        paths = [os.path.join(root, key(label)) for label in labels or ()]
        return _with_masks(made, paths, ids, f"of the column {columns[0]!r}")
    items = distinct(replace(made, labels=labels), ids)
    check_classes(items, f"the column {listing(columns)}")
    return items


def from_function(
    paths: PathLike | Iterable[PathLike],
    label_func: Callable[[Path], Any] | str | re.Pattern[str],
    masks: bool = False,
) -> Items:
    """Pictures with labels that follow from their paths.

    Args:
        paths: of pictures, or of a folder whose pictures are taken, also from the folders within.
        label_func: called with each path; or a regular expression, of which the group named `label`, else the first, is
            the label. It is searched for in the file's name, or in the whole path with "/" if it holds a "/".
        masks: label_func gives the path of a picture's mask.

    Raises:
        DataError: a file is missing, a picture gets no label, the function failed, all labels are alike, or masks do not fit.
        SettingError: the expression is wrong or has no group.
    """
    is_folder = isinstance(paths, str | os.PathLike)
    names = list_pictures(paths) if is_folder else [os.fspath(path) for path in paths]  # type: ignore
    if not names:
        raise DataError("there are no paths; expected some pictures.")
    ids = _existing(names, names, "", "given", "")
    label_of, what = label_func, "label_func has none for"
    if isinstance(label_func, str | re.Pattern):
        label_of, what = _by_expression(label_func), "label_func does not match"
    labels = []
    for name in names:
        try:
            label = label_of(Path(name))  # type: ignore[operator]
        except Exception as error:  # whatever a user's function raises
            raise DataError(
                f"label_func failed for the picture {shown(name)}: {type(error).__name__}: {error}. Mend it, or leave the picture out."
            ) from error
        several = sorted(label) if isinstance(label, set | frozenset) else label
        labels.append(tuple(several) if isinstance(several, list) else several)
    _refuse_missing(labels, names, what, "mask" if masks else "label")
    made = Items(names, root=os.fspath(paths) if is_folder else "")  # type: ignore
    if masks:
        given = [os.fspath(label) if isinstance(label, os.PathLike) else key(label) for label in labels]
        return _with_masks(made, given, ids, "that label_func gives")
    items = distinct(replace(made, labels=labels), ids)
    check_classes(items, "label_func")
    return items


def _with_masks(items: Items, masks: list[str], ids: Sequence[Hashable], which: str) -> Items:
    """The items, each with the path of its mask.

    Raises:
        DataError: a mask is missing or of another size than its picture, or a picture has two.
    """
    _existing(masks, masks, "", which, "")
    found = distinct(replace(items, labels=masks), ids)
    found = replace(found, labels=None, masks=found.labels)
    check_masks(found)
    return found


def _existing(paths: Sequence[str], names: Sequence[str], root: str, which: str, suffix: str) -> list[Hashable]:
    """The identity of each file.

    Raises:
        DataError: some are missing.
    """
    ids: list[Hashable] = []
    missing = []
    for i, path in enumerate(paths):
        try:
            ids.append(identity(path))
        except (OSError, ValueError):  # the latter: a name with a zero byte
            missing.append(i)
    if not missing:
        return ids
    first = paths[missing[0]]
    folder, name = os.path.split(first)
    slashed = first.replace("\\", "/")
    endings = [end for end in sorted(SUFFIXES) for end in (end, end.upper()) if os.path.exists(first + end)]
    if endings and not suffix:
        fix = f" With {endings[0]!r} at its end the first is there: give suffix={endings[0]!r}."
    elif slashed != first and os.path.exists(slashed):
        fix = " They are written with backslashes: replace them by '/'."
    elif not os.path.isdir(folder or "."):
        fix = f" There is no folder {shown(folder)!r}: check root."
    else:
        there = sorted(
            os.listdir(folder or "."), key=lambda other: -len(os.path.commonprefix([other.lower(), name.lower()]))
        )
        beside = names[missing[0]].removesuffix(name)  # the folder, as it was written
        fix = nearest(name, there[:500], beside) or " Check the paths and root."
    where = f" under {shown(root)!r}" if root else ""
    raise DataError(
        f"{len(missing):,} of {len(paths):,} files {which} are missing{where}: {listing((names[i] for i in missing), 5)}.{fix}"
    )


def _refuse_missing(labels: Sequence[Any], names: Sequence[str], what: str, noun: str = "label") -> None:
    without = [
        name for name, label in zip(names, labels, strict=True) if not isinstance(label, tuple) and is_missing(label)
    ]
    if without:
        raise DataError(
            f"{len(without):,} of {len(labels):,} pictures have no {noun}: {what} {listing(without, 5)}. Give them one, or leave them out."
        )


def _split(cell: Any, delim: str) -> tuple[str, ...]:
    labels = [] if is_missing(cell) else [label.strip() for label in key(cell).split(delim)]
    return tuple(dict.fromkeys(label for label in labels if label))


def _from_columns(df: "pd.DataFrame", columns: list[str]) -> list[Any]:
    values = list(zip(*(df[name].tolist() for name in columns), strict=True))
    _refuse_missing(
        [None if any(map(is_missing, row)) else 0 for row in values], list(map(str, df.index)), "see the rows"
    )
    if all(value in (0, 1) for row in values for value in row):
        return [tuple(name for name, value in zip(columns, row, strict=True) if value) for row in values]
    if not all(isinstance(value, int | float) for row in values for value in row):
        raise DataError(
            f"the columns {listing(columns)} hold words; expected 0 and 1, or numbers. Give one column of classes."
        )
    return [tuple(map(float, row)) for row in values]


def _by_expression(given: str | re.Pattern[str]) -> Callable[[Path], str | None]:
    try:
        expression = re.compile(given)
    except re.error as error:
        raise SettingError(f"label_func is {given!r}, which is no regular expression ({error}). Mend it.") from error
    if not expression.groups:
        raise SettingError(
            f"label_func is {expression.pattern!r}; expected a group for the label, such as r'^(.+)_\\d+'."
        )
    group: str | int = "label" if "label" in expression.groupindex else 1
    whole = "/" in expression.pattern

    def label_of(path: Path) -> str | None:
        match = expression.search(path.as_posix() if whole else path.name)
        return match.group(group) if match else None

    return label_of
