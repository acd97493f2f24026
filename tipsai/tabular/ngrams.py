"""Character n-grams of nominal text (TA02): fixed vectors in which alike spellings are near, and the likely meaning of
a misspelling.

Hashed signed counts of the n-grams are a random projection of the n-gram space: inner products keep the number of
n-grams in common. Nothing is fitted, so a spelling that training never saw has its vector as well.
Sources: Weinberger et al. 0902.2206 (signed hashing); Cerda and Varoquaux 1907.01860 (n-grams for dirty categories);
Tversky 1977, "Features of Similarity" (a likeness that forgives what an abbreviation leaves out).
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST = 120  # characters of a value that count; the rest of a longer text is left out
CHUNK = 10_000  # values at a time, which bounds memory whatever their number
MATCHED = 1_000  # known values that an unknown one is compared with: the first, which are the most frequent
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def vectors(texts: Sequence[str], dim: int) -> NDArray[np.float32]:
    """One vector of length 1 for each text: float32 [n, dim]. Case and white space at the ends do not matter.

    Args:
        texts: the values, as they are.
        dim: length of a vector; two values without an n-gram in common have an inner product near 0 ± 1/sqrt(dim).
    """
    out = np.zeros((len(texts), dim), np.float32)
    for start in range(0, len(texts), CHUNK):
        made = _counts(texts[start : start + CHUNK], dim, (1, 2, 3, 4))
        norm = np.linalg.norm(made, axis=1, keepdims=True)
        out[start : start + CHUNK] = made / np.where(norm > 0, norm, 1.0)
    return out


def likeness(texts: Sequence[str], known: Sequence[str], dim: int = 1024) -> NDArray[np.float32]:
    """How alike each text is to each known value: float32 [n, k], about 1 the same, 0 nothing in common.

    It is common / (common + own + forgiven * missed) over n-grams of up to three characters, where own are those of the
    text alone and missed those of the known value alone. Half of what is missed counts, and a tenth where the text may
    be an abbreviation: shorter, with the same two first letters. Case, and punctuation at the ends, do not matter. Not
    alike at all are values whose digits differ ("flat 17" is no misspelling of "flat 170"), and known values of fewer
    than four letters, which are codes.

    Args:
        texts: [n]; memory grows with n times dim, so give at most CHUNK of them.
        known: [k].
        dim: length of the hashed counts; larger is more exact.
    """
    texts, known = ([re.sub(r"^\W+|\W+$", "", text) for text in side] for side in (texts, known))
    sizes, other_sizes = _sizes(texts)[:, None], _sizes(known)
    hashed = _counts(texts, dim, (1, 2, 3)) @ _counts(known, dim, (1, 2, 3)).T
    common = np.clip(hashed, 0.0, np.minimum(sizes, other_sizes))  # collisions and repeated n-grams can lead beyond
    own, missed = sizes - common, other_sizes - common
    words = np.array([len(text) >= 4 for text in known], bool)
    ours, theirs = _numbered(["".join(filter(str.isdigit, text)) for text in side] for side in (texts, known))
    starts, other_starts = _numbered([text[:2].lower() for text in side] for side in (texts, known))
    shorter = np.array([len(t) for t in texts])[:, None] <= 0.8 * np.array([len(t) for t in known])
    forgiven = np.where(shorter & (starts[:, None] == other_starts), 0.1, 0.5)
    alike = common / np.maximum(common + own + forgiven * missed, 1e-6)
    return np.where((ours[:, None] == theirs) & words, alike, 0.0).astype(np.float32)


def _numbered(sides: Iterable[Sequence[str]]) -> list[NDArray[np.int64]]:
    """Texts as numbers, equal where the texts are, so that arrays of them compare quickly."""
    numbers: dict[str, int] = {}
    return [np.array([numbers.setdefault(text, len(numbers)) for text in side], np.int64) for side in sides]


def matches(texts: Sequence[str], known: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The most alike of the known values for each text: its place, int64 [n], and how alike it is, float32 [n].

    Args:
        texts: [n] values to find.
        known: the values to find them among; the first 1,000 count.
    """
    best, score = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.float32)
    for start in range(0, len(texts) if len(known) else 0, CHUNK):
        alike = likeness(texts[start : start + CHUNK], known[:MATCHED])
        best[start : start + CHUNK], score[start : start + CHUNK] = alike.argmax(1), alike.max(1)
    return best, score


def _sizes(texts: Sequence[str]) -> NDArray[np.float32]:
    """How many n-grams of up to three characters each text has, its two boundaries counted as characters."""
    lengths = np.array([len(text.strip()[:LONGEST]) + 2 for text in texts], np.float32)
    return 3 * lengths - 3


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijective scrambling of 64-bit numbers (the finaliser of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _counts(texts: Sequence[str], dim: int, sizes: tuple[int, ...]) -> NDArray[np.float32]:
    """Signed hashed counts of the n-grams of these sizes: float32 [n, dim]."""
    marked = [f"\x02{text.strip()[:LONGEST].lower()}\x03" for text in texts]
    lengths = np.array([len(text) for text in marked])
    letters = np.frombuffer("".join(marked).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    row = np.repeat(np.arange(len(texts)), lengths)
    place = np.arange(len(letters)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    left = lengths[row] - place  # letters from here to the end of this text
    total = np.zeros(len(texts) * dim)
    with np.errstate(over="ignore"):
        hashed = np.zeros(len(letters), np.uint64)
        for size in range(1, max(sizes) + 1):
            ahead = np.zeros(len(letters), np.uint64)
            ahead[: max(0, len(letters) - size + 1)] = letters[size - 1 :]
            hashed = _mixed(hashed * _MULTIPLIER + ahead + np.uint64(size))
            whole = left >= size
            if size not in sizes or not whole.any():
                continue
            h, r = hashed[whole], row[whole]
            sign = np.where(h >> np.uint64(63), 1.0, -1.0)
            total += np.bincount(r * dim + (h % np.uint64(dim)).astype(np.int64), weights=sign, minlength=len(total))
    return total.reshape(len(texts), dim).astype(np.float32)
