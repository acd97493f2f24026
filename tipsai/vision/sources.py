"""From what people have, folders, tables and naming schemes, to a list of pictures with what is known of each."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tipsai.core.errors import ColumnError, DataError, SettingError, listing, nearest
from tipsai.data.processor import is_missing, key
from tipsai.data.split import PARTS, column_split
from tipsai.vision.read import SUFFIXES, PathLike, PictureError, probe, shown

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("train", "valid", "test")  # of the parts, by their numbers in PARTS
IMAGES = frozenset({"images", "image", "imgs", "img", "jpegimages"})  # folders of a segmentation, in lower case
MASKS = frozenset({"masks", "mask", "labels", "label", "annotations", "annotation", "segmentationclass"})
ENDINGS = (
    "_mask",
    "-mask",
    "_masks",
    "_seg",
    "_segmentation",
    "_label",
    "_labels",
    "_gt",
    "_P",
    "_L",
)  # of a mask's stem
MOST_PROBED = 2000  # masks whose size is compared with their picture's

_IGNORED = frozenset({"__macosx", "thumbs.db", "desktop.ini"})  # beside all that begins with a dot


@dataclass(frozen=True, slots=True)
class Items:
    """Pictures, in an order that follows from their names (from_folder) or is the given one.

    Attributes:
        paths: of the pictures, `root` included.
        labels: a class, several in a tuple, or numbers, for each picture; None where there are none.
        masks: the path of each picture's mask, for segmentation.
        parts: "train", "valid" or "test" of each picture (`column_split` takes it); None where the source does not say.
        root: the folder that the paths begin with.
        notes: sentences that the user should see.
        counts: the numbers in the notes, by name.
    """

    paths: list[str]
    labels: list[Any] | None = None
    masks: list[str] | None = None
    parts: list[str] | None = None
    root: str = ""
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    def at(self, index: Sequence[int]) -> "Items":
        """The items at these places."""
        picked = {
            name: None if values is None else [values[i] for i in index]
            for name, values in (("labels", self.labels), ("masks", self.masks), ("parts", self.parts))
        }
        return replace(self, paths=[self.paths[i] for i in index], **picked)  # type: ignore[arg-type]

    def say(self, name: str, n: int, sentence: str) -> None:
        """Adds a note with its count, unless that is 0."""
        if n:
            self.notes.append(sentence)
            self.counts[name] = n


@dataclass(slots=True)
class _Tree:
    """What lies in a folder: the pictures' names relative to it, with "/", their inodes, and all else."""

    names: list[str] = field(default_factory=list)
    inodes: list[int] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)  # by suffix
    n_broken: int = 0

    def ids(self, order: Sequence[int], paths: Sequence[str]) -> list[Hashable]:
        """What is the same for the same file: the inodes that listing gave for nothing; files are asked where those meet."""
        n = Counter(self.inodes[i] for i in order)
        return [self.inodes[i] if n[self.inodes[i]] == 1 else _identity(paths[i]) for i in order]

    def empty_folders(self) -> list[str]:
        """Those without a picture at any depth."""
        filled = {name.rpartition("/")[0] for name in self.names}
        above = {"/".join(levels[:n]) for levels in (name.split("/") for name in filled) for n in range(len(levels))}
        return [name for name in self.folders if name not in filled and name not in above]


def from_folder(path: PathLike) -> Items:
    """Pictures of a folder, with labels and parts as its layout says.

    =====================================================  ========================================================
    path/cat/1.jpg, path/cat/more/2.jpg, path/dog/3.jpg    class folders; what is within them is of their class
    path/train/cat/1.jpg, path/valid/..., path/test/...    the same for each part, named as in `split.PARTS`
    path/images/1.jpg, path/masks/1.png                    segmentation: stems alike, but for an ending such as _mask
    path/train/images/..., path/images/train/...           the same for each part
    path/1.jpg, path/2.jpg; path/train/1.jpg               no labels, for prediction or a labelling function
    =====================================================  ========================================================

    Hidden files and what systems leave behind are ignored. Links are followed; a picture that is reached twice counts
    once, in test rather than valid rather than train, so that none is trained on and tested with. A part is a folder's
    name, never a guess: without `valid` no item is for validation.

    Raises:
        DataError: there are no pictures, one class alone, a class in valid or test that train lacks, a picture under two
            classes, or masks that are missing, left over, or of another size than their picture.
    """
    root = os.fspath(path)
    tree = _walk(root)
    made = Items([_join(root, name) for name in tree.names], root=root)
    made.say(
        "others", tree.others.total(), f"{_counted(tree.others)} in {shown(root)} are no pictures and are ignored."
    )
    made.say("broken_links", tree.n_broken, f"{tree.n_broken:,} links in {shown(root)} lead nowhere and are ignored.")
    empty = tree.empty_folders()
    made.say("empty_folders", len(empty), f"the folders {listing(empty)} hold no pictures.")
    roles = [_role(name) for name in tree.names]
    if {"image", "mask"} <= {role for role, _ in roles}:
        return _segmentation(made, tree, roles)
    parts, rests = _parts(root, tree.names)
    labels = [unicodedata.normalize("NFC", rest.split("/", 1)[0]) if "/" in rest else "" for rest in rests]
    keep = _kept(made, tree, "outside_parts", [part != "" for part in parts], "lie outside the folders of parts")
    made = replace(made, parts=parts if parts[0] is not None else None)  # type: ignore[arg-type]
    if not any(labels[i] for i in keep):
        made.say("unlabelled", len(keep), f"{len(keep):,} pictures lie in no class folders, so they have no labels.")
        return _distinct(made.at(keep), tree.ids(keep, made.paths))
    labelled = [part == "" or label != "" for part, label in zip(parts, labels, strict=True)]
    _kept(made, tree, "unlabelled", labelled, "lie beside the class folders")
    keep = [i for i in keep if labelled[i]]
    items = _distinct(replace(made, labels=labels).at(keep), tree.ids(keep, made.paths))
    hint = ""
    if len(set(labels)) == 1:
        within = sorted({rest.split("/")[1] for rest in rests if rest.count("/") > 1})
        inner = shown(os.path.join(root, labels[0]))
        hint = f" It holds the folders {listing(within, 4)}; perhaps {inner!r} was meant." if within else ""
        if labels[0].lower() in IMAGES:
            hint += " For segmentation a folder 'masks' must hold a picture of the same name for each."
    _check_classes(items, f"the folder {shown(root)}", hint)
    return items


def from_frame(
    df: "pd.DataFrame",
    path_column: str,
    label_column: str | Sequence[str] | None = None,
    root: PathLike = "",
    *,
    suffix: str = "",
    label_delim: str | None = None,
    part_column: str | None = None,
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

    Raises:
        ColumnError: a column is missing.
        DataError: files or labels are missing, or a picture stands there twice with other labels.
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
            _refuse_missing(labels, names, f"the column {columns[0]!r} has none for")
        else:
            labels = [_split(label, label_delim) for label in labels]
            n = labels.count(())
            made.say("without_labels", n, f"{n:,} pictures have an empty cell in {columns[0]!r}: none of the labels.")
    parts = None
    if part_column is not None:
        split = column_split(df[part_column].tolist())
        number = {int(i): name for name, index in zip(NAMES, split, strict=True) for i in index}
        parts = [number[i] for i in range(len(df))]
    items = _distinct(replace(made, labels=labels, parts=parts), ids)
    _check_classes(items, f"the column {listing(columns)}")
    return items


def from_function(
    paths: PathLike | Iterable[PathLike], label_func: Callable[[Path], Any] | str | re.Pattern[str]
) -> Items:
    """Pictures with labels that follow from their paths.

    Args:
        paths: of pictures, or of a folder whose pictures are taken, also from the folders within.
        label_func: called with each path; or a regular expression, of which the group named `label`, else the first, is
            the label. It is searched for in the file's name, or in the whole path with "/" if it holds a "/".

    Raises:
        DataError: a file is missing, a picture gets no label, the function failed, or all labels are alike.
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
    _refuse_missing(labels, names, what)
    items = _distinct(Items(names, labels, root=os.fspath(paths) if is_folder else ""), ids)  # type: ignore
    _check_classes(items, "label_func")
    return items


def list_pictures(folder: PathLike) -> list[str]:
    """The paths of all pictures in a folder and those within, in an order that follows from their names.

    Raises:
        DataError: there is no such folder, or no picture in it.
    """
    return [_join(os.fspath(folder), name) for name in _walk(os.fspath(folder)).names]


def _walk(root: str) -> _Tree:
    if not os.path.isdir(root):
        if os.path.exists(root):
            raise DataError(f"{shown(root)} is a file; expected a folder of pictures. Unpack it if it is an archive.")
        above = os.path.dirname(os.path.abspath(root))
        near = nearest(os.path.basename(root), os.listdir(above)) if os.path.isdir(above) else ""
        raise DataError(f"there is no folder {shown(root)}.{near} Check the path.")
    tree = _Tree()
    found: list[tuple[str, int]] = []
    stack = [("", root, frozenset({os.path.realpath(root)}))]
    while stack:
        start, folder, above_it = stack.pop()  # the last: the real folders on the way, so that links in a ring end
        try:
            with os.scandir(folder) as listed:
                entries = [entry for entry in listed if entry.name[0] != "." and entry.name.lower() not in _IGNORED]
        except OSError as error:
            raise DataError(f"{shown(folder)} cannot be listed: {error.strerror}. Check its permissions.") from error
        for entry in entries:
            name, suffix = start + entry.name, os.path.splitext(entry.name)[1].lower()
            exists = not entry.is_symlink() or os.path.exists(entry.path)
            if exists and entry.is_dir():
                real = os.path.realpath(entry.path)
                if real not in above_it:
                    tree.folders.append(name)
                    stack.append((name + "/", entry.path, above_it | {real}))
            elif suffix not in SUFFIXES:
                tree.others[suffix or "without an ending"] += 1
            elif exists:
                found.append((name, os.stat(entry.path).st_ino if entry.is_symlink() else entry.inode()))
            else:
                tree.n_broken += 1
    tree.folders.sort()
    if not found:
        held = f"holds no pictures, but {_counted(tree.others)}" if tree.others else "is empty"
        held = "holds only empty folders" if tree.folders and not tree.others else held
        raise DataError(f"{shown(root)} {held}. Expected pictures: {', '.join(sorted(SUFFIXES))}.")
    found.sort()
    tree.names, tree.inodes = [name for name, _ in found], [inode for _, inode in found]
    return tree


def _counted(others: Counter[str]) -> str:
    kinds = [f"{n:,} {suffix}" for suffix, n in sorted(others.items(), key=lambda pair: (-pair[1], pair[0]))]
    return f"{others.total():,} files ({', '.join(kinds[:5])}{', ...' if len(kinds) > 5 else ''})"


def _kept(made: Items, tree: _Tree, name: str, keep: Sequence[bool], where: str) -> list[int]:
    """The places to keep; the others are noted."""
    left = [tree.names[i] for i, kept in enumerate(keep) if not kept]
    made.say(name, len(left), f"{len(left):,} pictures {where} and are left out, such as {listing(left, 2)}.")
    return [i for i, kept in enumerate(keep) if kept]


def _role(name: str) -> tuple[str, str]:
    """Whether a folder on the first two levels is one of images or of masks, and the name without it."""
    levels = name.split("/")
    for i, level in enumerate(levels[:-1][:2]):
        role = "image" if level.lower() in IMAGES else "mask" if level.lower() in MASKS else ""
        if role:
            return role, "/".join(levels[:i] + levels[i + 1 :])
    return "", name


def _parts(root: str, names: Sequence[str]) -> tuple[list[str | None], list[str]]:
    """The part of each name ("" for those outside) and the rest of the name; None where no first folder names a part.

    Raises:
        DataError: there is a part, but none to train on.
    """
    firsts = {name.split("/", 1)[0] for name in names if "/" in name}
    numbers = {first: PARTS[first.lower()] for first in firsts if first.lower() in PARTS}
    if not numbers:
        return [None] * len(names), list(names)
    if 0 not in numbers.values():
        others = sorted(firsts - set(numbers))
        raise DataError(
            f"{shown(root)} has pictures in {listing(sorted(numbers))}{f' beside {listing(others, 4)}' if others else ''}, but "
            "none in 'train'. Put those to train on into a folder 'train'; if these are classes, use from_function."
        )
    split = [name.partition("/") if name.split("/", 1)[0] in numbers else ("", "", name) for name in names]
    return [NAMES[numbers[first]] if slash else "" for first, slash, _ in split], [rest for _, _, rest in split]


def _segmentation(made: Items, tree: _Tree, roles: list[tuple[str, str]]) -> Items:
    found: dict[str, dict[str, int]] = {"image": {}, "mask": {}}  # places by role and stem
    for i, (role, rest) in enumerate(roles):
        if role and found[role].setdefault(os.path.splitext(rest)[0], i) != i:
            raise DataError(
                f"{shown(made.root)} has {role}s that differ in their endings alone, such as {tree.names[i]!r}. Keep one of each."
            )
    images, masks = found["image"], found["mask"]
    for ending in ("", *ENDINGS):
        bare = {stem.removesuffix(ending): i for stem, i in masks.items()}
        if bare.keys() & images.keys():
            masks = bare
            break
    alone, left = sorted(images.keys() - masks.keys()), sorted(masks.keys() - images.keys())
    if alone or left:
        raise DataError(
            f"{len(alone):,} of {len(images):,} pictures in {shown(made.root)} have no mask ({listing(alone, 4)}), and "
            f"{len(left):,} of {len(masks):,} masks no picture ({listing(left, 4)}). Both need the same name, but for its ending."
        )
    _kept(made, tree, "outside_parts", [role != "" for role, _ in roles], "lie outside the folders of images and masks")
    stems = sorted(images)
    parts, _ = _parts(made.root, stems)
    outside = [stem for stem, part in zip(stems, parts, strict=True) if part == ""]
    if outside:
        raise DataError(
            f"{len(outside):,} pictures with masks lie in no part ({listing(outside, 4)}). Move them to one."
        )
    order = [images[stem] for stem in stems]
    items = replace(
        made,
        paths=[made.paths[i] for i in order],
        masks=[made.paths[masks[stem]] for stem in stems],
        parts=parts if parts[0] is not None else None,  # type: ignore[arg-type]
    )
    items = _distinct(items, tree.ids(order, made.paths))
    assert items.masks is not None
    _check_sizes(items.paths, items.masks)
    lossy = sum(os.path.splitext(mask)[1].lower() in (".jpg", ".jpeg", ".webp") for mask in items.masks)
    items.say("lossy_masks", lossy, f"{lossy:,} masks are JPEG or WebP, which change values: PNG keeps them.")
    return items


def _check_sizes(paths: list[str], masks: list[str]) -> None:
    step = -(-len(paths) // MOST_PROBED)
    wrong = []
    for path, mask in zip(paths[::step], masks[::step], strict=True):
        try:
            a, b = probe(path), probe(mask)
        except PictureError:  # `check` says what is wrong with it
            continue
        if a[:2] != b[:2]:
            wrong.append(f"{shown(path)} has {a.height} x {a.width} pixels, its mask {b.height} x {b.width}")
    if wrong:
        n = len(paths[::step])
        raise DataError(
            f"{len(wrong):,} of {n:,} masks looked at have another size than their picture: {'; '.join(wrong[:3])}"
            f"{'; ...' if len(wrong) > 3 else ''}. Expected the same height and width. Make the masks anew."
        )


def _join(root: str, name: str) -> str:
    return os.path.join(root, *name.split("/"))


def _identity(path: str) -> Hashable:
    """The same for all spellings of a path and all links to a file."""
    stat = os.stat(path)
    return (stat.st_dev, stat.st_ino) if stat.st_ino else os.path.normcase(os.path.realpath(path))


def _distinct(items: Items, ids: Sequence[Hashable]) -> Items:
    """The items without those that are the same file as another."""
    labels, parts, paths = items.labels, items.parts, items.paths
    kept: dict[Hashable, int] = {}
    contradictions, n_across = [], 0
    for i, identity in enumerate(ids):
        j = kept.setdefault(identity, i)
        if labels is not None and labels[i] != labels[j]:
            contradictions.append(f"{shown(paths[j])} is {labels[j]!r}, {shown(paths[i])} is {labels[i]!r}")
        if parts is not None and parts[i] != parts[j]:
            n_across += 1
            kept[identity] = max(j, i, key=lambda place: NAMES.index(parts[place]))
    if contradictions:
        raise DataError(
            f"{len(contradictions):,} pictures stand there twice, with other labels: {'; '.join(contradictions[:3])}"
            f"{'; ...' if len(contradictions) > 3 else ''}. Keep one label each, or give several by label_delim."
        )
    across = (
        f" {n_across:,} of them stood in two parts, and stay in the later of train, valid and test." if n_across else ""
    )
    n = len(paths) - len(kept)
    items.say("duplicates", n, f"{n:,} pictures stand there twice (the same file); one of each is kept.{across}")
    return items.at(sorted(kept.values())) if n else items


def _check_classes(items: Items, where: str, hint: str = "") -> None:
    """Refuses labels that teach nothing and classes that training lacks; notes what is rare."""
    if items.labels is None:
        return
    numbers = isinstance(items.labels[0], tuple) and all(isinstance(v, float) for v in items.labels[0])
    if len(items) > 1 and not numbers and all(label == items.labels[0] for label in items.labels):
        raise DataError(
            f"{where} gives all {len(items):,} pictures the same label, {items.labels[0]!r}; expected at least two classes.{hint}"
        )
    classes: dict[str, Counter[str]] = {name: Counter() for name in NAMES}
    for label, part in zip(items.labels, items.parts or ["train"] * len(items), strict=True):
        classes[part].update(label if isinstance(label, tuple) else [label])
    if not all(isinstance(name, str) for counter in classes.values() for name in counter):
        return  # numbers need not be classes
    train = classes["train"]
    for part in NAMES[1:]:
        unknown = sorted(classes[part].keys() - train.keys())
        if unknown:
            raise DataError(
                f"{part} has pictures of {listing(unknown)}, of which train has none.{nearest(unknown[0], train)} "
                "Rename the class, add pictures of it to train, or leave it out."
            )
        absent = sorted(train.keys() - classes[part].keys()) if classes[part] else []
        items.say(f"absent_in_{part}", len(absent), f"{part} has no pictures of {listing(absent)}.")
    single = sorted(name for name, n in train.items() if n == 1)
    items.say("single", len(single), f"of {listing(single)} there is a single picture to train on.")


def _existing(paths: Sequence[str], names: Sequence[str], root: str, which: str, suffix: str) -> list[Hashable]:
    """The identity of each file.

    Raises:
        DataError: some are missing.
    """
    ids: list[Hashable] = []
    missing = []
    for i, path in enumerate(paths):
        try:
            ids.append(_identity(path))
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
        fix = nearest(name, there[:500]) or " Check the paths and root."
    where = f" under {shown(root)!r}" if root else ""
    raise DataError(
        f"{len(missing):,} of {len(paths):,} files {which} are missing{where}: {listing((names[i] for i in missing), 5)}.{fix}"
    )


def _refuse_missing(labels: Sequence[Any], names: Sequence[str], what: str) -> None:
    without = [
        name for name, label in zip(names, labels, strict=True) if not isinstance(label, tuple) and is_missing(label)
    ]
    if without:
        raise DataError(
            f"{len(without):,} of {len(labels):,} pictures have no label: {what} {listing(without, 5)}. Label them, or leave them out."
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
