"""What running text, and a text with a label, mean as fields."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from tipsai.core.state import IGNORED, Loss
from tipsai.data.block import Block
from tipsai.text import checks
from tipsai.text.defaults import LONGEST
from tipsai.text.losses import TokenLoss
from tipsai.text.ngrams import NGrams
from tipsai.text.tokenizers import CharTokenizer, Tokenizer, Tokens, WordTokenizer, described, tokenizer_from


class TokenBlock(Block):
    """A window of running text: int64 [b, t], the numbers of its tokens.

    Args:
        tokenizer: fitted.
        block_size: tokens of context.
    """

    checks = checks.TOKENS

    def __init__(self, tokenizer: Tokenizer, block_size: int) -> None:
        self.tokenizer, self.block_size = tokenizer, block_size
        self.processors = (tokenizer,)

    def decode(self, value: Any) -> str:
        codes = torch.as_tensor(value)
        return self.tokenizer.decode(codes[codes >= 0].tolist())

    def readable(self, x: tuple[Tensor, ...]) -> dict[str, Any]:
        """The text as a person reads it, and the tokens that the model sees."""
        shown = ["|".join(self.tokenizer.shown(int(token)) for token in row) for row in x[0]]
        return {"text": [self.decode(row) for row in x[0]], "tokens": shown}

    def to_dict(self) -> dict[str, Any]:
        return {"tokenizer": described(self.tokenizer), "block_size": self.block_size}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> "TokenBlock":
        return cls(tokenizer_from(d["tokenizer"]), d["block_size"])


class NextTokenBlock(Block):
    """The token after each of a window, int64 [b, t]; -100 where there is none.

    Attributes:
        tokenizer: the window's; an artifact holds it once, so that whoever reads one sets it.
    """

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self.tokenizer = tokenizer or CharTokenizer()

    @property
    def n_out(self) -> int:  # type: ignore[override]
        return self.tokenizer.n_tokens

    def decode(self, value: Any) -> str:
        codes = torch.as_tensor(value)
        return self.tokenizer.decode(codes[codes != IGNORED].tolist())

    def decide(self, pred: Tensor) -> Tensor:
        return pred.argmax(-1)

    def default_loss(self) -> Loss:
        return TokenLoss()


class TextBlock(Block):
    """A text as its tokens, numbered from 1 so that 0 pads, and its n-grams.

    Args:
        columns: of a table that it is read from.
        tokenizer: fitted; by default one of words, which `fit` fits.
        most: tokens of a text that the network sees, from its beginning; its n-grams are those of the whole.
    """

    checks = checks.TEXTS

    def __init__(
        self, columns: Sequence[str] = ("text",), tokenizer: Tokenizer | None = None, most: int = LONGEST
    ) -> None:
        self.columns, self.most = list(columns), most
        self.given = tokenizer is not None
        self.tokenizer = tokenizer or WordTokenizer(lower=True, spaces=False)
        self.grams = NGrams()

    def fit(self, items: Sequence[str]) -> Self:
        if not self.given:
            self.tokenizer.fit(items)
        self.grams.fit(items)
        return self

    def encode(self, item: str) -> tuple[Tokens, Any]:
        """(tokens int32 [t], (n-grams int32 [f], weights float32 [f]))."""
        return self.tokens(item), self.grams.encode(item)

    def tokens(self, item: str) -> Tokens:
        """What the network sees of a text."""
        return self.tokenizer.encode(item)[: self.most].astype(np.int32) + 1

    def decode(self, value: Any) -> str:
        """The text that the network sees, from the numbers of its tokens."""
        tokens = torch.as_tensor(value)
        return self.tokenizer.decode((tokens[tokens > 0] - 1).tolist())

    def readable(self, x: tuple[Tensor, ...]) -> dict[str, Any]:
        return {"tokens": ["|".join(self.tokenizer.shown(int(t) - 1) for t in row if t) for row in x[0]]}

    def to_dict(self) -> dict[str, Any]:
        return {
            "columns": self.columns,
            "most": self.most,
            "tokenizer": described(self.tokenizer),
            "grams": self.grams.to_dict(),
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> "TextBlock":
        made = cls(d["columns"], tokenizer_from(d["tokenizer"]), d["most"])
        made.grams = NGrams.from_dict(d["grams"])
        return made
