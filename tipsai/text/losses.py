"""The loss of a language model: cross-entropy over tokens; and its perplexity where the text is known."""

import math

import torch.nn.functional as F
from torch import Tensor

from tipsai.core.errors import ShapeError
from tipsai.core.state import IGNORED
from tipsai.losses import Sums
from tipsai.metrics import MeanMetric


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


class KnownPerplexity(MeanMetric):
    """Perplexity over targets that training knows: without the unknown ones, which lie outside any text's reach (LM05).

    Args:
        unknown: the token for all that is unknown.
    """

    name = "perplexity_known"

    def __init__(self, unknown: int) -> None:
        super().__init__(_losses, higher_is_better=False, finish=perplexity, ignore_index=IGNORED)
        self.unknown = unknown

    def update(self, pred: Tensor, target: Tensor) -> None:
        super().update(pred, target.masked_fill(target == self.unknown, IGNORED))


def _losses(pred: Tensor, target: Tensor) -> Tensor:
    flat = F.cross_entropy(pred.flatten(0, -2).float(), target.flatten(), reduction="none", ignore_index=IGNORED)
    return flat.view_as(target)


def perplexity(loss: float) -> float:
    """Of nats a token; a loss that would overflow gives the largest there is."""
    return math.exp(min(loss, 700.0))
