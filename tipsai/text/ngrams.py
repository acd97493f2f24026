"""Words, pairs of words and parts of words as weighted features of a text: what linear models of text see."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tipsai.core.errors import require_positive
from tipsai.data.processor import Processor

WORDS = re.compile(r"\w+|[^\w\s]")
SIZES = (2, 3, 4, 5)  # characters of a part
LONGEST = 40  # characters of a word that count; longer ones are no words

Features = tuple[NDArray[np.int32], NDArray[np.float32]]


class NGrams(Processor):
    """The n-grams of a text with their weights: words and pairs of words, and parts of two to five characters of a word.

    The weight is (1 + log times) * (1 + log(texts / texts that have it)), and the words' weights, as the parts', have
    length 1 together. The words of a text come back, not their order.

    Args:
        most: words and pairs that are known, the most frequent, and as many parts.
        min_count: training texts that must have a part.

    Source: Salton and Buckley 1988, "Term-weighting approaches in automatic text retrieval".
    """

    def __init__(self, most: int = 100_000, min_count: int = 2) -> None:
        require_positive("most", most)
        require_positive("min_count", min_count)
        self.most, self.min_count = most, min_count
        self._set((), (), ())

    def _set(self, words: Sequence[str], parts: Sequence[str], idf: Sequence[float]) -> None:
        self.words_, self.parts_, self.idf_ = list(words), list(parts), list(idf)
        self._words = {word: i for i, word in enumerate(self.words_)}
        self._parts = {part: i for i, part in enumerate(self.parts_, len(self.words_))}
        self._idf = np.array(self.idf_, np.float32)
        self._seen: dict[str, NDArray[np.int32]] = {}  # the parts of a word, as numbers

    @property
    def n(self) -> int:
        """Features that there are."""
        return len(self.idf_)

    def fit(self, items: Iterable[str]) -> Self:
        words: Counter[str] = Counter()
        parts: Counter[str] = Counter()
        cut: dict[str, frozenset[str]] = {}
        n_texts = 0
        for text in items:
            n_texts += 1
            found = _words(text)
            words.update({*found, *_pairs(found)})
            of_text: set[str] = set()
            for word in set(found):
                if word not in cut:
                    cut[word] = frozenset(_cut(word))
                of_text |= cut[word]
            parts.update(of_text)
        known, known_parts = self._frequent(words, 1), self._frequent(parts, self.min_count)
        times = [words[name] for name in known] + [parts[name] for name in known_parts]
        idf = 1 + np.log((1 + n_texts) / (1 + np.array(times, np.float64)))
        self._set(known, known_parts, idf.round(5).tolist())
        return self

    def _frequent(self, counts: Counter[str], least: int) -> list[str]:
        enough = [(-n, name) for name, n in counts.items() if n >= least]
        return [name for _, name in sorted(enough)[: self.most]]

    def encode(self, item: str) -> Features:
        """(numbers int32 [f], each once and in order; their weights float32 [f])."""
        found = _words(item)
        words = self._words
        known = [words[name] for name in (*found, *_pairs(found)) if name in words]
        parts = [self._of_word(word) for word in found]
        made = [self._weighted(np.array(known, np.int32))]
        made.append(self._weighted(np.concatenate(parts) if parts else np.zeros(0, np.int32)))
        return np.concatenate([ids for ids, _ in made]), np.concatenate([weights for _, weights in made])

    def _of_word(self, word: str) -> NDArray[np.int32]:
        if word not in self._seen:
            if len(self._seen) > 1_000_000:
                self._seen.clear()
            numbers = [self._parts[part] for part in _cut(word) if part in self._parts]
            self._seen[word] = np.array(numbers, np.int32)
        return self._seen[word]

    def _weighted(self, numbers: NDArray[np.int32]) -> Features:
        ids, times = np.unique(numbers, return_counts=True)
        weights = (1 + np.log(times)) * self._idf[ids]
        return ids, (weights / max(float(np.linalg.norm(weights)), 1e-12)).astype(np.float32)

    def decode(self, value: Features) -> list[str]:
        """The words of a text that are known, by their number; pairs and parts are left out."""
        return [self.words_[i] for i in value[0] if i < len(self.words_) and " " not in self.words_[i]]

    def to_dict(self) -> dict[str, Any]:
        return {
            "words": self.words_,
            "parts": self.parts_,
            "idf": self.idf_,
            "most": self.most,
            "min_count": self.min_count,
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        made = cls(d["most"], d["min_count"])
        made._set(d["words"], d["parts"], d["idf"])
        return made


def _words(text: str) -> list[str]:
    return [word for word in WORDS.findall(text.lower()) if len(word) <= LONGEST]


def _pairs(words: Sequence[str]) -> Iterator[str]:
    return (f"{first} {second}" for first, second in zip(words, words[1:], strict=False))


def _cut(word: str) -> Iterator[str]:
    """The parts of a word, its two ends marked by spaces."""
    marked = f" {word} "
    return (marked[i : i + size] for size in SIZES for i in range(len(marked) - size + 1))
