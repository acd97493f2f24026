"""Tokenizers: text to token numbers and back. Each is a Processor, so that it travels in the artifact."""

import importlib.util
import itertools
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tipsai.core.errors import DataError, MissingExtraError, SettingError, listing, nearest, require_positive
from tipsai.data.processor import Processor

END, UNKNOWN = 0, 1  # the numbers of these two tokens, where a tokenizer has no others of its own
UNKNOWN_SHOWN = "\N{REPLACEMENT CHARACTER}"
WORDS = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")
PIECES = re.compile(
    r" ?[^\W\d_]+(?:['’][^\W\d_]+)?| ?\d+| ?(?:_|[^\w\s])|\s+(?!\S)|\s"
)  # nothing of a text is left out
WORD_START = re.compile(r"(?<=\w) (?=\w)")
ENCODED = 1 << 20  # characters that are encoded in one go, about

Tokens = NDArray[np.integer[Any]]


def token_type(n_tokens: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest type that holds the numbers of so many tokens."""
    return np.uint16 if n_tokens <= 1 << 16 else np.uint32


class Tokenizer(Processor):
    """Text to token numbers and back.

    Attributes:
        n_tokens: how many there are, `end` and `unknown` counted.
        end: the token between documents.
        unknown: the token of what training never saw; None where every text can be told.
    """

    end: int = END
    unknown: int | None = UNKNOWN
    enough: int | None = None  # characters of training text that suffice to fit it; None: all count

    @property
    @abstractmethod
    def n_tokens(self) -> int: ...

    @abstractmethod
    def fit(self, items: Iterable[str]) -> Self:
        """Takes its vocabulary from training texts."""

    @abstractmethod
    def encode(self, item: str) -> Tokens:
        """The tokens of a text, uint16 or uint32 [n]."""

    @abstractmethod
    def decode(self, value: Sequence[int] | Tokens) -> str:
        """The text of tokens; those for the end of a document give nothing, unknown ones U+FFFD."""

    @abstractmethod
    def shown(self, token: int) -> str:
        """A single token as a person reads it."""

    @property
    def type(self) -> type[np.uint16] | type[np.uint32]:
        return token_type(self.n_tokens)


def _codepoints(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


class CharTokenizer(Tokenizer):
    """A token a character. Characters that training never saw become `unknown`; all else comes back as it was.

    Args:
        min_count: rarer characters are unknown too.
        most: characters at most, the most frequent; the others are unknown.
    """

    def __init__(self, min_count: int = 1, most: int = 65_000) -> None:
        require_positive("min_count", min_count)
        require_positive("most", most)
        self.min_count, self.most = min_count, most
        self._set("")

    def _set(self, characters: str) -> None:
        self.characters_ = characters
        self._points = np.concatenate([np.array([0, 0xFFFD], np.uint32), _codepoints(characters)])  # by token
        self._order = np.argsort(self._points[2:], kind="stable") + 2
        self._sorted = self._points[self._order]

    @property
    def n_tokens(self) -> int:
        return len(self._points)

    def fit(self, items: Iterable[str]) -> Self:
        counts = np.zeros(0x110000, np.int64)
        for text in items:
            points, n = np.unique(_codepoints(text), return_counts=True)
            counts[points] += n
        found = np.flatnonzero(counts >= self.min_count)
        found = np.sort(found[np.argsort(-counts[found], kind="stable")[: self.most]])
        self._set(found.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass"))
        return self

    def encode(self, item: str) -> Tokens:
        points = _codepoints(item)
        if not len(self._sorted):
            return np.full(len(points), UNKNOWN, self.type)
        at = np.searchsorted(self._sorted, points).clip(max=len(self._sorted) - 1)
        return np.where(self._sorted[at] == points, self._order[at], UNKNOWN).astype(self.type)

    def decode(self, value: Sequence[int] | Tokens) -> str:
        tokens = np.asarray(value, np.int64)
        raw: bytes = self._points[tokens[tokens != END]].astype("<u4").tobytes()
        return raw.decode("utf-32-le", "surrogatepass")

    def shown(self, token: int) -> str:
        return _special(token) or self.characters_[token - 2]

    def to_dict(self) -> dict[str, Any]:
        return {"characters": self.characters_, "min_count": self.min_count, "most": self.most}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        made = cls(d["min_count"], d["most"])
        made._set(d["characters"])
        return made


def _special(token: int) -> str:
    return {END: "<end>", UNKNOWN: "<unknown>"}.get(token, "")


class ByteTokenizer(Tokenizer):
    """A token a byte of UTF-8: 256 and the end of a document. Every text comes back as it was; there is nothing to fit."""

    end, unknown = 256, None
    n_tokens = 257

    def fit(self, items: Iterable[str]) -> Self:
        return self

    def encode(self, item: str) -> Tokens:
        return np.frombuffer(item.encode("utf-8", "surrogatepass"), np.uint8).astype(self.type)

    def decode(self, value: Sequence[int] | Tokens) -> str:
        tokens = np.asarray(value, np.int64)
        return tokens[tokens < 256].astype(np.uint8).tobytes().decode("utf-8", "replace")

    def shown(self, token: int) -> str:
        return "<end>" if token == self.end else chr(token) if 32 <= token < 127 else f"<{token:02x}>"

    def to_dict(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        return cls()


class WordTokenizer(Tokenizer):
    """A token a word, number, punctuation mark or white space; a word takes the space before it along.

    Known words come back as they were, but for their case where `lower` is set.

    Args:
        min_count: rarer words are unknown.
        most: words at most, the most frequent.
        lower: whether upper and lower case are the same.
        spaces: whether white space counts; without, words come back with a space between them.
    """

    def __init__(self, min_count: int = 2, most: int = 30_000, lower: bool = False, spaces: bool = True) -> None:
        require_positive("min_count", min_count)
        require_positive("most", most)
        self.min_count, self.most, self.lower, self.spaces = min_count, most, lower, spaces
        self._set(())

    def _set(self, words: Iterable[str]) -> None:
        self.words_ = list(words)
        self._codes = {word: i for i, word in enumerate(self.words_, 2)}

    @property
    def n_tokens(self) -> int:
        return len(self.words_) + 2

    def _pieces(self, text: str) -> list[str]:
        return (PIECES if self.spaces else WORDS).findall(text.lower() if self.lower else text)

    def fit(self, items: Iterable[str]) -> Self:
        counts: Counter[str] = Counter()
        for text in items:
            counts.update(self._pieces(text))
        frequent = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[: self.most]
        self._set(word for word, n in frequent if n >= self.min_count)
        return self

    def encode(self, item: str) -> Tokens:
        codes = self._codes
        return np.array([codes.get(piece, UNKNOWN) for piece in self._pieces(item)], self.type)

    def decode(self, value: Sequence[int] | Tokens) -> str:
        return ("" if self.spaces else " ").join(
            UNKNOWN_SHOWN if token == UNKNOWN else self.words_[token - 2]
            for token in np.asarray(value, np.int64).tolist()
            if token != END
        )

    def shown(self, token: int) -> str:
        return _special(token) or self.words_[token - 2]

    def to_dict(self) -> dict[str, Any]:
        return {
            "words": self.words_,
            "min_count": self.min_count,
            "most": self.most,
            "lower": self.lower,
            "spaces": self.spaces,
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        made = cls(d["min_count"], d["most"], d["lower"], d["spaces"])
        made._set(d["words"])
        return made


class BPETokenizer(Tokenizer):
    """Byte-pair encoding of UTF-8, by Hugging Face's `tokenizers`. Every text comes back as it was.

    Args:
        n: tokens to learn, the 256 bytes and the end of a document counted.

    Source: Sennrich et al. 1508.07909; on bytes: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """

    unknown = None
    enough = 1 << 26

    def __init__(self, n: int = 8192) -> None:
        if n < 257:
            raise SettingError(f"n is {n}; expected at least 257 tokens, one a byte and the end of a document.")
        self.n = n
        self._inner: Any = None

    @property
    def n_tokens(self) -> int:
        return int(self._inner.get_vocab_size())

    def fit(self, items: Iterable[str]) -> Self:
        if self._inner is not None:
            return self  # loaded from a file
        hf = _hugging_face()
        inner = hf.Tokenizer(hf.models.BPE())
        inner.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = hf.decoders.ByteLevel()
        trainer = hf.trainers.BpeTrainer(
            vocab_size=self.n,
            special_tokens=["<end>"],
            initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        inner.train_from_iterator(items, trainer)
        self._take(inner)
        return self

    def _take(self, inner: Any) -> None:
        self._inner = inner
        names = ("<end>", "<|endoftext|>", "<|end|>", "</s>", "[SEP]", "<eos>")
        found = [inner.token_to_id(name) for name in names if inner.token_to_id(name) is not None]
        if not found:
            inner.add_special_tokens(["<end>"])
            found = [inner.token_to_id("<end>")]
        self.end = found[0]
        unknown = getattr(inner.model, "unk_token", None)
        self.unknown = inner.token_to_id(unknown) if unknown else None

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """A trained tokenizer from a tokenizer.json, as Hugging Face's libraries write it.

        Raises:
            DataError: the file is no tokenizer.
        """
        try:
            content = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as a tokenizer ({error}); expected a tokenizer.json.") from error
        return cls._parsed(content, str(path))

    @classmethod
    def _parsed(cls, content: str, what: str) -> Self:
        hf = _hugging_face()
        try:
            inner = hf.Tokenizer.from_str(content)
        except Exception as error:  # the library raises nothing more precise
            raise DataError(f"{what} is no tokenizer ({error}); expected a tokenizer.json of Hugging Face.") from error
        made = cls(max(257, inner.get_vocab_size()))
        made._take(inner)
        return made

    def encode(self, item: str) -> Tokens:
        whole = item.encode("utf-8", "replace").decode("utf-8")  # lone surrogates are no text to the library
        made = [self._inner.encode(part, add_special_tokens=False).ids for part in _parts(whole)]
        return np.fromiter(itertools.chain.from_iterable(made), self.type)

    def decode(self, value: Sequence[int] | Tokens) -> str:
        return str(self._inner.decode(np.asarray(value, np.int64).tolist(), skip_special_tokens=True))

    def shown(self, token: int) -> str:
        return "<end>" if token == self.end else str(self._inner.decode([token], skip_special_tokens=False))

    def to_dict(self) -> dict[str, Any]:
        return {"tokenizer": self._inner.to_str()}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        return cls._parsed(d["tokenizer"], "the stored tokenizer")


def _parts(text: str) -> Iterator[str]:
    """A long text in parts, each beginning with the space before a word, where tokens end anyway.

    The library holds some hundred bytes a token while it encodes.
    """
    start = 0
    while len(text) - start > ENCODED:
        found = WORD_START.search(text, start + ENCODED)
        if found is None:
            break
        yield text[start : found.start()]
        start = found.start()
    yield text[start:]


def has_byte_pairs() -> bool:
    """Whether the library that BPETokenizer needs is installed."""
    return importlib.util.find_spec("tokenizers") is not None


def _hugging_face() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise MissingExtraError("byte-pair encoding needs: pip install 'tipsai[text]'") from error
    return tokenizers


TOKENIZERS: dict[str, type[Tokenizer]] = {
    "char": CharTokenizer,
    "byte": ByteTokenizer,
    "word": WordTokenizer,
    "bpe": BPETokenizer,
}


def as_tokenizer(given: str | Path | Tokenizer) -> Tokenizer:
    """A tokenizer by its name, from a tokenizer.json, or as it is.

    Raises:
        SettingError: there is none of this name.
        DataError: the file is no tokenizer.
    """
    if isinstance(given, Tokenizer):
        return given
    if isinstance(given, str) and given in TOKENIZERS:
        return TOKENIZERS[given]()
    if isinstance(given, Path) or given.endswith(".json"):
        return BPETokenizer.from_file(given)
    raise SettingError(
        f"there is no tokenizer {given!r}.{nearest(given, TOKENIZERS)} "
        f"Expected {listing(TOKENIZERS)}, a tokenizer.json, or a Tokenizer."
    )


def tokenizer_from(d: dict[str, Any]) -> Tokenizer:
    """The inverse of described."""
    return TOKENIZERS[d["kind"]].from_dict(d["state"])


def described(tokenizer: Tokenizer) -> dict[str, Any]:
    """A tokenizer as plain JSON.

    Raises:
        SettingError: it is none of TOKENIZERS, so it could not be read again.
    """
    kind = next((name for name, known in TOKENIZERS.items() if type(tokenizer) is known), None)
    if kind is None:
        raise SettingError(f"a {type(tokenizer).__name__} cannot be stored; expected one of {listing(TOKENIZERS)}.")
    return {"kind": kind, "state": tokenizer.to_dict()}
