"""Where running text comes from: a string, files, a folder or a column, read in pieces of a few megabytes."""

import codecs
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tipsai.core.errors import DataError
from tipsai.data.processor import is_missing

PIECE = 1 << 24  # bytes or characters read at a time
LOOKED_AT = 1 << 16  # bytes of a file by which text is told from other things
ENDINGS = (".txt", ".md", ".text", ".rst", ".py", ".tex", ".html", ".xml")  # of running text
TAILS_BELOW = 20  # documents; of fewer the end of each validates, of more some of them


class Document(Protocol):
    """A text that is read in pieces. `size` is in units of its own, bytes or characters."""

    name: str
    size: int

    def cut(self, share: float) -> int:
        """The place before which about this share of it lies, between two characters."""

    def pieces(self, first: int, last: int) -> Iterator[str]:
        """What lies between two places, a few megabytes at a time."""


class String:
    """A text in memory, by characters."""

    def __init__(self, text: str, name: str = "the text") -> None:
        self.text, self.name, self.size = text, name, len(text)

    def cut(self, share: float) -> int:
        return int(self.size * share)

    def pieces(self, first: int, last: int) -> Iterator[str]:
        for start in range(first, last, PIECE):
            yield self.text[start : min(start + PIECE, last)]


class File:
    """A file of UTF-8, by bytes. What is no UTF-8 is replaced by U+FFFD and counted.

    Attributes:
        replaced: how often that happened, by the places between which was read.

    Raises:
        DataError: the file cannot be read, or is no text.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        self.replaced: dict[tuple[int, int], int] = {}
        try:
            self.size = path.stat().st_size
            with path.open("rb") as file:
                start = file.read(LOOKED_AT)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); check the path.") from error
        if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise DataError(f"{path} is UTF-16; expected UTF-8. Convert it: iconv -f UTF-16 -t UTF-8.")
        if b"\0" in start or _replacements(start) > 0.3 * len(start) > 0:
            raise DataError(f"{path} is a binary file; expected text in UTF-8.")

    def cut(self, share: float) -> int:
        place = int(self.size * share)
        with self.path.open("rb") as file:
            file.seek(place)
            following = file.read(3)
        return place + next((i for i, byte in enumerate(following) if byte & 0xC0 != 0x80), len(following))

    def pieces(self, first: int, last: int) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8-sig" if first == 0 else "utf-8")("replace")
        with self.path.open("rb") as file:
            file.seek(first)
            left, n_replaced = last - first, 0
            while left > 0:
                raw = file.read(min(PIECE, left))
                left = left - len(raw) if raw else 0
                text = decoder.decode(raw, final=left == 0)
                n_replaced += text.count("\N{REPLACEMENT CHARACTER}")
                yield text
        self.replaced[first, last] = n_replaced


def _replacements(raw: bytes) -> int:
    return raw.decode("utf-8", "replace").count("\N{REPLACEMENT CHARACTER}")


def documents(source: Any) -> list[Document]:
    """The documents of a source.

    Args:
        source: a file; a folder, of which every text file is a document; a text itself; a sequence of texts or of paths, such
            as a column of a DataFrame, where missing and empty ones are left out.

    Raises:
        DataError: there is no text.
    """
    if isinstance(source, os.PathLike):
        return on_disk(Path(source))
    if isinstance(source, str):
        if "\n" in source or len(source) > 1000:
            return _some([String(source)], "the text")
        return on_disk(Path(source))
    if not isinstance(source, Iterable):
        raise DataError(f"the text is a {type(source).__name__}; expected a path, a text, or several of them.")
    made: list[Document] = []
    for i, item in enumerate(source):
        if isinstance(item, os.PathLike):
            made += on_disk(Path(item))
        elif isinstance(item, str):
            made.append(String(item, f"text {i}"))
        elif not is_missing(item):
            raise DataError(f"text {i} is a {type(item).__name__}; expected a text or a path.")
    return _some(made, "the texts")


def on_disk(path: Path) -> list[Document]:
    """A file, or the text files of a folder, at any depth, as documents; see documents."""
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        if not found:
            raise DataError(f"{path} holds no text; expected files that end in {', '.join(ENDINGS)}.")
        return _some([File(p) for p in found], str(path))
    if not path.exists():
        raise DataError(f"there is no file {path}; give a path, or a text as a list: [text].")
    return _some([File(path)], str(path))


def _some(made: Sequence[Document], what: str) -> list[Document]:
    kept = [document for document in made if document.size]
    if not kept:
        raise DataError(f"there is no text in {what}; it is empty.")
    return kept


Span = tuple[Document, int, int]  # a document, from where, to where


def split(found: Sequence[Document], share: float, seed: int) -> tuple[list[Span], list[Span]]:
    """What trains and what validates: of few documents the end of each, of many some of them, drawn by the seed.

    Args:
        found: the documents.
        share: of the text that validates, above 0 and below 1.
        seed: of the draw.
    """
    whole = [(document, 0, document.size) for document in found]
    if len(found) < TAILS_BELOW:
        cuts = [document.cut(1 - share) for document in found]
        heads = [(d, 0, cut) for d, cut in zip(found, cuts, strict=True) if cut]
        return heads, [(d, cut, d.size) for d, cut in zip(found, cuts, strict=True) if cut < d.size]
    order = np.random.default_rng(seed).permutation(len(found))
    valid = set(order[: max(1, round(share * len(found)))].tolist())
    return [s for i, s in enumerate(whole) if i not in valid], [s for i, s in enumerate(whole) if i in valid]


def pieces(spans: Sequence[Span], most: int | None = None) -> Iterator[str]:
    """The text of the spans, piece by piece: all of it, or pieces of about so many characters from everywhere."""
    every = 1 if most is None else max(1, -(-sum(last - first for _, first, last in spans) // most))
    found = itertools.chain.from_iterable(document.pieces(first, last) for document, first, last in spans)
    return itertools.islice(found, 0, None, every)


def replaced(found: Iterable[Document]) -> dict[str, int]:
    """How many characters of each file were no UTF-8."""
    counts = {d.name: sum(d.replaced.values()) for d in found if isinstance(d, File)}
    return {name: n for name, n in counts.items() if n}


__all__ = ["Document", "File", "Span", "String", "documents", "pieces", "replaced", "split"]
