"""DataLoaders of running text, for language models."""

import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np

from tipsai.core.errors import DataError, SettingError, listing, require_positive
from tipsai.core.finding import Finding
from tipsai.core.state import Row
from tipsai.core.text import amount
from tipsai.data.block import Block
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import check_bs
from tipsai.text import corpus, defaults
from tipsai.text.blocks import NextTokenBlock, TokenBlock
from tipsai.text.corpus import Span
from tipsai.text.losses import perplexity
from tipsai.text.store import Store, opened
from tipsai.text.tokenizers import BPETokenizer, Tokenizer, Tokens, as_tokenizer, has_byte_pairs
from tipsai.text.windows import WindowLoader, Windows, eval_bs

log = logging.getLogger("tipsai")
MOST_VALID = 1_000_000  # tokens of a file that validate unless more are given


class RunningText(DataLoaders):
    """Loaders of a stream of tokens. Made by TextDataLoaders.language_model and from_tokens.

    Attributes:
        counts: of each split of running text, how many `tokens` it has, how many of them `unknown`, and `bytes` of UTF-8.
    """

    counts: dict[str, dict[str, int]]

    @classmethod
    def language_model(
        cls,
        source: Any,
        *,
        valid: Any = None,
        test: Any = None,
        tokenizer: str | Path | Tokenizer | None = None,
        block_size: int = defaults.BLOCK_SIZE,
        bs: int | None = None,
        seed: int = 0,
    ) -> Self:
        """Running text, for a model of the next token.

        Args:
            source: a file; a folder of text files; a text; or a sequence of texts or paths, such as a column of a
                DataFrame. Several texts are documents, each closed by a token.
            valid: the same for validation, or the share of the source that is held out: the end of a text, and of twenty
                texts and more some of them. A tenth by default.
            test: the same for learn.test().
            tokenizer: "char", "byte", "word", "bpe", a tokenizer.json, or a Tokenizer; what is not fitted is fitted on
                training text. By default byte pairs, as many as suit this much text; without the extra `text`, characters.
            block_size: tokens of a window, the context that the model sees.
            bs: windows a batch.
            seed: of the documents that validate.

        Raises:
            DataError: there is no text, too little of it, or a file is none.
            SettingError: an argument is out of range.
        """
        require_positive("block_size", block_size)
        found = corpus.documents(source)
        share = valid if isinstance(valid, float) else defaults.VALID_SHARE
        if not 0 < share < 1:
            raise SettingError(f"valid is {share!r}; expected a share above 0 and below 1, or a text.")
        parts: dict[str, list[Span]] = {}
        if valid is None or isinstance(valid, float):
            parts["train"], parts["valid"] = corpus.split(found, share, seed)
        else:
            parts["train"], parts["valid"] = _whole(found), _whole(corpus.documents(valid))
        if test is not None:
            parts["test"] = _whole(corpus.documents(test))
        coder = _tokenizer(tokenizer, parts["train"])
        coder.fit(corpus.pieces(parts["train"], coder.enough))
        made = cls(None)
        made.counts, tokens = {}, {}
        for name, spans in parts.items():
            tokens[name], made.counts[name] = _encoded(coder, spans, closed=len(found) > 1)
        made._load(tokens, coder, block_size, bs)
        made._find(found)
        made._say(parts)
        return made

    @classmethod
    def from_tokens(
        cls,
        train: Any,
        valid: Any = None,
        test: Any = None,
        *,
        tokenizer: str | Path | Tokenizer,
        block_size: int = defaults.BLOCK_SIZE,
        bs: int | None = None,
    ) -> Self:
        """Tokens that are numbers already, for a model of the next token; a file is memory-mapped, and may exceed the memory.

        Args:
            train: an array of whole numbers, a file of raw ones (.bin: uint16, or uint32 for more than 65,536 tokens), or
                one of NumPy's (.npy).
            valid: the same; the last tenth of train, but no more than a million, without.
            test: the same for learn.test().
            tokenizer: the one they were made with, fitted, or its tokenizer.json.
            block_size, bs: see language_model.

        Raises:
            DataError: a file is none of these, or a number is no token.
        """
        require_positive("block_size", block_size)
        coder = as_tokenizer(tokenizer)
        given = {"train": train, "valid": valid, "test": test}
        tokens = {name: opened(part, coder) for name, part in given.items() if part is not None}
        if valid is None:
            n = len(tokens["train"])
            cut = max(int(n * (1 - defaults.VALID_SHARE)), n - MOST_VALID)
            tokens["train"], tokens["valid"] = tokens["train"][:cut], tokens["train"][cut:]
        made = cls(None)
        made.counts = {name: _counts(coder, part) for name, part in tokens.items() if name != "train"}
        made._load(tokens, coder, block_size, bs)
        return made

    def _load(self, tokens: dict[str, Tokens], coder: Tokenizer, block_size: int, bs: int | None) -> None:
        """Makes a loader of each split."""
        self.blocks = (TokenBlock(coder, block_size), NextTokenBlock(coder))
        self.base_bs, self.minutes = defaults.BS, defaults.MINUTES
        self.n_epochs, self.most_epochs = defaults.n_epochs_tokens(len(tokens["train"])), defaults.MOST_EPOCHS
        size = self.base_bs if bs is None else check_bs(bs)
        self.train = WindowLoader(Windows(tokens["train"], block_size), size, shuffle=True)
        for name in ("valid", "test"):
            if name in tokens:
                loader = WindowLoader(Windows(tokens[name], block_size), eval_bs(block_size, coder.n_tokens, size))
                setattr(self, name, loader)

    @classmethod
    def for_prediction(cls, blocks: tuple[Block, Block]) -> Self:
        """Loaders without text, for a reloaded model."""
        made = cls(None, blocks=blocks)
        made.counts = {}
        if isinstance(blocks[0], TokenBlock) and isinstance(blocks[1], NextTokenBlock):
            blocks[1].tokenizer = blocks[0].tokenizer
        return made

    @property
    def tokenizer(self) -> Tokenizer:
        assert self.blocks is not None and isinstance(self.blocks[0], TokenBlock)
        return self.blocks[0].tokenizer

    @property
    def block_size(self) -> int:
        assert self.blocks is not None and isinstance(self.blocks[0], TokenBlock)
        return self.blocks[0].block_size

    def unseen(self) -> list[int]:
        """Tokens that the training text does not have (LM05); the one for all that is unknown is not among them."""
        assert isinstance(self.train, WindowLoader)
        present = np.zeros(self.tokenizer.n_tokens, bool)
        tokens, step = self.train.rows.tokens, 1 << 20
        for start in range(0, len(tokens), step):
            present[tokens[start : start + step]] = True
        if self.tokenizer.unknown is not None:
            present[self.tokenizer.unknown] = True
        return np.flatnonzero(~present).tolist()

    def derived(self, split: str, loss: float) -> Row:
        """Perplexity, and bits a byte, which compare across tokenizers (LM03)."""
        counts = self.counts.get(split)
        if counts is None:
            return {}
        bits = loss / math.log(2) * (counts["tokens"] - 1) / max(1, counts["bytes"])
        return {"perplexity": perplexity(loss), "bits_per_byte": bits}

    def throughput(self, n_batches: int, seconds: float) -> Row:
        tokens = n_batches * self.bs * self.block_size
        return {"tokens_per_second": round(tokens / seconds, 1)} if tokens and seconds else {}

    def _find(self, found: Iterable[corpus.Document]) -> None:
        strange = corpus.replaced(found)
        if strange:
            n = sum(strange.values())
            self.findings.append(
                Finding(
                    "not-utf-8",
                    "",
                    "advice",
                    f"{amount(n, 'place')} without valid UTF-8 replaced by U+FFFD, in {listing(strange)}.",
                    strange,
                    "Convert the files, for instance with iconv, if that is too much.",
                )
            )
            log.warning("%s", self.findings[-1])

    def _say(self, parts: dict[str, list[Span]]) -> None:
        sizes = ", ".join(
            f"{c['tokens']:,} {name}"
            + (f" of {len(parts[name]):,} texts" if len(parts[name]) > 1 else "")
            + (f" ({c['unknown'] / c['tokens']:.2%} unknown)" if c["unknown"] else "")
            for name, c in self.counts.items()
        )
        coder = self.tokenizer
        asked = getattr(coder, "n", 0)
        vocabulary = f"{coder.n_tokens:,}" + (
            f" of {asked:,}, which the text does not support" if asked > coder.n_tokens else ""
        )
        log.info("tokens: %s; vocabulary: %s (%s)", sizes, vocabulary, type(coder).__name__)


def _whole(found: Iterable[corpus.Document]) -> list[Span]:
    return [(document, 0, document.size) for document in found]


def _tokenizer(given: str | Path | Tokenizer | None, train: list[Span]) -> Tokenizer:
    """The tokenizer that is asked for, or that suits a training text."""
    if given is None and not has_byte_pairs():
        log.info("tokens are characters; byte pairs learn faster: pip install 'tipsai[text]'")
        given = "char"
    if given is None or given == "bpe":
        return BPETokenizer(defaults.n_tokens(sum(last - first for _, first, last in train)))
    return as_tokenizer(given)


def _encoded(coder: Tokenizer, spans: list[Span], closed: bool) -> tuple[Tokens, dict[str, int]]:
    """The tokens of a split, and counts of them.

    Args:
        coder: fitted.
        spans: the split.
        closed: whether the end of each document is a token.
    """
    store = Store(coder.type)
    counts = {"tokens": 0, "unknown": 0, "bytes": 0}
    for span in spans:
        for text in corpus.pieces([span]):
            tokens = coder.encode(text)
            store.add(tokens)
            counts["bytes"] += len(text.encode("utf-8", "replace"))
            if coder.unknown is not None:
                counts["unknown"] += int((tokens == coder.unknown).sum())
        if closed:
            store.add(np.array([coder.end], coder.type))
    whole = store.tokens()
    if not len(whole):
        raise DataError("a split has no text; give more text, or valid= another share.")
    return whole, counts | {"tokens": len(whole)}


def _counts(coder: Tokenizer, tokens: Tokens) -> dict[str, int]:
    """What _encoded counts, from tokens alone."""
    step = 1 << 20
    parts = [tokens[start : start + step] for start in range(0, len(tokens), step)]
    return {
        "tokens": len(tokens),
        "unknown": 0 if coder.unknown is None else sum(int((part == coder.unknown).sum()) for part in parts),
        "bytes": sum(len(coder.decode(part).encode("utf-8", "replace")) for part in parts),
    }
