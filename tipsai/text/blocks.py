"""What running text, and a text with a label, mean as fields."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from tipsai.core.state import IGNORED, Loss
from tipsai.data.block import Block
from tipsai.text.losses import TokenLoss
from tipsai.text.ngrams import NGrams
from tipsai.text.tokenizers import CharTokenizer, Tokenizer, Tokens, WordTokenizer, described, tokenizer_from


class TokenBlock(Block):
    """A window of running text: int64 [b, t], the numbers of its tokens.

    Args:
        tokenizer: fitted.
        block_size: tokens of context.
    """

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
    """A text as its words and its n-grams.

    Args:
        columns: of a table that it is read from.
        most_words: of a text that the network sees, from its beginning; its n-grams are those of the whole.
    """

    def __init__(self, columns: Sequence[str] = ("text",), most_words: int = 400) -> None:
        self.columns, self.most_words = list(columns), most_words
        self.words, self.grams = WordTokenizer(lower=True, spaces=False), NGrams()

    def fit(self, items: Sequence[str]) -> Self:
        self.words.fit(items)
        self.grams.fit(items)
        return self

    def encode(self, item: str) -> tuple[Tokens, Any]:
        """(words uint16 or uint32 [t], (n-grams int32 [f], weights float32 [f]))."""
        return self.words.encode(item)[: self.most_words], self.grams.encode(item)

    def decode(self, value: Any) -> str:
        """The words that the network sees, from their numbers."""
        return self.words.decode(torch.as_tensor(value).tolist())

    def readable(self, x: tuple[Tensor, ...]) -> dict[str, Any]:
        return {"words": [self.decode(row) for row in x[0]]}

    def to_dict(self) -> dict[str, Any]:
        return {
            "columns": self.columns,
            "most_words": self.most_words,
            "words": self.words.to_dict(),
            "grams": self.grams.to_dict(),
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> "TextBlock":
        made = cls(d["columns"], d["most_words"])
        made.words, made.grams = WordTokenizer.from_dict(d["words"]), NGrams.from_dict(d["grams"])
        return made
