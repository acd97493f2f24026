"""The loss of a language model: cross-entropy over tokens; and its perplexity where the text is known."""

import math

import torch.nn.functional as F
from torch import Tensor

from tipsai.core.errors import ShapeError
from tipsai.core.state import IGNORED
from tipsai.losses import Sums


class TokenLoss:
    """Nats a token. Logits [b, t, v] against token numbers int64 [b, t]; targets of -100 do not count.

    The average is over tokens, so that accumulation and ragged batches come out as one large batch would.
    """

    def sums(self, pred: Tensor, target: Tensor) -> Sums:
        if pred.shape[:-1] != target.shape:
            raise ShapeError(
                f"logits have shape {list(pred.shape)} and targets {list(target.shape)}; expected logits [b, t, vocabulary] "
                "and targets [b, t]. A model that returns an object takes Learner(..., output=lambda o: o.logits)."
            )
        flat = target.flatten()
        total = F.cross_entropy(pred.flatten(0, -2).float(), flat, reduction="sum", ignore_index=IGNORED)
        return total, (flat != IGNORED).sum()

    report = sums


class KnownPerplexity:
    """Perplexity over targets that training knows: without the unknown ones, which lie outside any text's reach (LM05).

    Args:
        unknown: the token for all that is unknown.
    """

    name = "perplexity_known"
    higher_is_better: bool | None = False

    def __init__(self, unknown: int) -> None:
        self.unknown = unknown
        self.reset()

    def reset(self) -> None:
        self.total: Tensor | float = 0.0
        self.count: Tensor | float = 0.0

    def update(self, pred: Tensor, target: Tensor) -> None:
        known = target.masked_fill(target == self.unknown, IGNORED)
        total, count = TokenLoss().sums(pred, known)
        self.total, self.count = self.total + total, self.count + count

    def compute(self) -> float:
        count = int(self.count)
        return math.exp(min(float(self.total) / count, 700.0)) if count else math.nan
