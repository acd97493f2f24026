"""The loss of a network with several members: each learns from every row, the loss is the mean of theirs."""

from typing import Any

from torch import Tensor

from tipsai.core.state import Loss


class MemberLoss:
    """Any loss over members' predictions [b, k, n] while training, and over the joint one [b, n] in evaluation."""

    def __init__(self, base: Loss) -> None:
        self.base = base

    def sums(self, pred: Tensor, *y: Tensor) -> tuple[Tensor, Tensor | float]:
        if pred.ndim < 3:
            return self.base.sums(pred, *y)
        k = pred.shape[1]
        total, weight = self.base.sums(pred.flatten(0, 1), *(t.repeat_interleave(k, 0) for t in y))
        return total / k, weight / k

    def report(self, pred: Any, *y: Tensor) -> tuple[Tensor, Tensor | float]:
        return self.base.report(pred, *y)
