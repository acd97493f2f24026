"""A list of pictures with what is known of each, whatever source it came from."""

import os
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tipsai.core.errors import DataError, listing, nearest
from tipsai.core.text import amount
from tipsai.vision.read import PictureError, probe, shown

NAMES = ("train", "valid", "test")  # of the parts, by their numbers in split.PARTS
MOST_PROBED = 2000  # masks whose size is compared with their picture's


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


def identity(path: str) -> Hashable:
    """The same for all spellings of a path and all links to a file."""
    stat = os.stat(path)
    return (stat.st_dev, stat.st_ino) if stat.st_ino else os.path.normcase(os.path.realpath(path))


def distinct(items: Items, ids: Sequence[Hashable]) -> Items:
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
            f"{amount(len(contradictions), 'picture')} given twice, with other labels: {'; '.join(contradictions[:3])}"
            f"{'; ...' if len(contradictions) > 3 else ''}. Keep one label each, or give several by label_delim."
        )
    across = f" {n_across:,} of them in two parts, kept in the later of train, valid and test." if n_across else ""
    n = len(paths) - len(kept)
    items.say("duplicates", n, f"{amount(n, 'picture')} given twice (the same file); one of each is kept.{across}")
    return items.at(sorted(kept.values())) if n else items


def check_classes(items: Items, where: str, hint: str = "") -> None:
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


def check_masks(items: Items) -> None:
    """Refuses masks of another size than their picture; notes those in files that change values."""
    masks = items.masks or []
    step = max(1, -(-len(masks) // MOST_PROBED))
    looked_at = list(zip(items.paths, masks, strict=True))[::step]
    wrong = []
    for path, mask in looked_at:
        try:
            a, b = probe(path), probe(mask)
        except PictureError:  # `check` says what is wrong with it
            continue
        if a[:2] != b[:2]:
            wrong.append(f"{shown(path)} has {a.height} x {a.width} pixels, its mask {b.height} x {b.width}")
    if wrong:
        raise DataError(
            f"{len(wrong):,} of {len(looked_at):,} masks looked at have another size than their picture: {'; '.join(wrong[:3])}"
            f"{'; ...' if len(wrong) > 3 else ''}. Expected the same height and width. Make the masks anew."
        )
    lossy = sum(os.path.splitext(mask)[1].lower() in (".jpg", ".jpeg", ".webp") for mask in masks)
    items.say("lossy_masks", lossy, f"{amount(lossy, 'mask')} in JPEG or WebP, which changes values: PNG keeps them.")
