"""A folder's layout, read as classes, parts, pictures and masks."""

import os
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from tipsai.core.errors import DataError, listing, nearest
from tipsai.core.text import amount
from tipsai.data.split import PARTS
from tipsai.vision.items import NAMES, Items, check_classes, check_masks, distinct, identity
from tipsai.vision.read import SUFFIXES, PathLike, shown

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

_IGNORED = frozenset({"__macosx", "thumbs.db", "desktop.ini"})  # beside all that begins with a dot


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
        return [self.inodes[i] if n[self.inodes[i]] == 1 else identity(paths[i]) for i in order]

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
    made.say("others", tree.others.total(), f"ignored in {shown(root)}: {_counted(tree.others)} without a picture.")
    broken = amount(tree.n_broken, "link")
    made.say("broken_links", tree.n_broken, f"ignored in {shown(root)}: {broken} that led nowhere.")
    empty = tree.empty_folders()
    made.say("empty_folders", len(empty), f"the folders {listing(empty)} hold no pictures.")
    roles = [_role(name) for name in tree.names]
    if {"image", "mask"} <= {role for role, _ in roles}:
        return _segmentation(made, tree, roles)
    parts, rests = _parts(root, tree.names)
    labels = [unicodedata.normalize("NFC", rest.split("/", 1)[0]) if "/" in rest else "" for rest in rests]
    keep = _kept(made, tree, "outside_parts", [part != "" for part in parts], "outside the folders of parts")
    made = replace(made, parts=parts if parts[0] is not None else None)  # type: ignore[arg-type]
    if not any(labels[i] for i in keep):
        made.say("unlabelled", len(keep), f"{amount(len(keep), 'picture')} in no class folders, so without labels.")
        return distinct(made.at(keep), tree.ids(keep, made.paths))
    labelled = [part == "" or label != "" for part, label in zip(parts, labels, strict=True)]
    _kept(made, tree, "unlabelled", labelled, "beside the class folders")
    keep = [i for i in keep if labelled[i]]
    items = distinct(replace(made, labels=labels).at(keep), tree.ids(keep, made.paths))
    hint = ""
    if len(set(labels)) == 1:
        within = sorted({rest.split("/")[1] for rest in rests if rest.count("/") > 1})
        inner = shown(os.path.join(root, labels[0]))
        hint = f" It holds the folders {listing(within, 4)}; perhaps {inner!r} was meant." if within else ""
        if labels[0].lower() in IMAGES:
            hint += " For segmentation a folder 'masks' must hold a picture of the same name for each."
    check_classes(items, f"the folder {shown(root)}", hint)
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
    return f"{amount(others.total(), 'file')} ({', '.join(kinds[:5])}{', ...' if len(kinds) > 5 else ''})"


def _kept(made: Items, tree: _Tree, name: str, keep: Sequence[bool], where: str) -> list[int]:
    """The places to keep; the others are noted."""
    left = [tree.names[i] for i, kept in enumerate(keep) if not kept]
    made.say(name, len(left), f"left out: {amount(len(left), 'picture')} {where}, such as {listing(left, 2)}.")
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
    lone = []
    for what, have, other, need in (("picture", images, "mask", masks), ("mask", masks, "picture", images)):
        without = sorted(have.keys() - need.keys())
        if without:
            told = f"{len(without):,} of {len(have):,} {what}s in {shown(made.root)} have no {other}"
            lone.append(f"{told} ({listing(without, 4)})")
    if lone:
        raise DataError(f"{', and '.join(lone)}. Both need the same name, but for its ending.")
    _kept(made, tree, "outside_parts", [role != "" for role, _ in roles], "outside the folders of images and masks")
    stems = sorted(images)
    parts, _ = _parts(made.root, stems)
    outside = [stem for stem, part in zip(stems, parts, strict=True) if part == ""]
    if outside:
        raise DataError(
            f"{amount(len(outside), 'picture')} with masks in no part ({listing(outside, 4)}). Move them to one."
        )
    order = [images[stem] for stem in stems]
    items = replace(
        made,
        paths=[made.paths[i] for i in order],
        masks=[made.paths[masks[stem]] for stem in stems],
        parts=parts if parts[0] is not None else None,  # type: ignore[arg-type]
    )
    items = distinct(items, tree.ids(order, made.paths))
    check_masks(items)
    return items


def _join(root: str, name: str) -> str:
    return os.path.join(root, *name.split("/"))
