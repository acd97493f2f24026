"""What running text means as a field."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tipsai.core.state import IGNORED, Loss
from tipsai.data.block import Block
from tipsai.text.losses import TokenLoss
from tipsai.text.tokenizers import CharTokenizer, Tokenizer, described, tokenizer_from


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
