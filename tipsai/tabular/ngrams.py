"""Character n-grams of nominal text as fixed vectors (TA02): spellings that share letters get vectors that are near.

Hashed signed counts of the n-grams, normalised, are a random projection of the n-gram space: inner products keep the
share of n-grams in common. Nothing is fitted, so a spelling that training never saw has its vector as well.
Sources: Weinberger et al. 0902.2206 (signed hashing); Cerda and Varoquaux 1907.01860 (n-grams for dirty categories).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIZES = (1, 2, 3, 4)
LONGEST = 120  # characters of a value that count; the rest of a longer text is left out
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijective scrambling of 64-bit numbers (the finaliser of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def vectors(texts: Sequence[str], dim: int) -> NDArray[np.float32]:
    """One vector of length 1 for each text: float32 [n, dim]. Case and white space at the ends do not matter.

    Args:
        texts: the values, as they are.
        dim: length of a vector; two values without an n-gram in common have an inner product near 0 ± 1/sqrt(dim).
    """
    out = np.zeros((len(texts), dim), np.float32)
    for start in range(0, len(texts), 20_000):  # bounded memory, whatever the number of values
        out[start : start + 20_000] = _chunk(texts[start : start + 20_000], dim)
    return out


def _chunk(texts: Sequence[str], dim: int) -> NDArray[np.float32]:
    marked = [f"\x02{text.strip().lower()[:LONGEST]}\x03" for text in texts]
    lengths = np.array([len(text) for text in marked])
    letters = np.frombuffer("".join(marked).encode("utf-32-le"), np.uint32).astype(np.uint64)
    row = np.repeat(np.arange(len(texts)), lengths)
    place = np.arange(len(letters)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    left = lengths[row] - place  # letters from here to the end of this text
    total = np.zeros(len(texts) * dim, np.float64)
    with np.errstate(over="ignore"):
        hashed = np.zeros(len(letters), np.uint64)
        for size in range(1, max(SIZES) + 1):
            ahead = np.zeros(len(letters), np.uint64)
            ahead[: len(letters) - size + 1] = letters[size - 1 :]
            hashed = _mixed(hashed * _MULTIPLIER + ahead + np.uint64(size))
            whole = left >= size
            if size not in SIZES or not whole.any():
                continue
            h, r = hashed[whole], row[whole]
            sign = np.where(h >> np.uint64(63), 1.0, -1.0)
            total += np.bincount(r * dim + (h % np.uint64(dim)).astype(np.int64), weights=sign, minlength=len(total))
    made = total.reshape(len(texts), dim)
    norm = np.linalg.norm(made, axis=1, keepdims=True)
    return (made / np.where(norm > 0, norm, 1.0)).astype(np.float32)
