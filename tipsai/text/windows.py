"""Windows of a stream of tokens, in memory or memory-mapped, as batches for a language model."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from tipsai.core import rng
from tipsai.core.errors import DataError
from tipsai.core.state import IGNORED, Batch
from tipsai.data.loaders import check_bs
from tipsai.text.tokenizers import Tokens

EVAL_TOKENS = 1 << 14  # of an evaluation batch
EVAL_LOGITS = 1 << 25  # of an evaluation batch at most, so that a large vocabulary does not fill the memory
PART = 1 << 20  # windows of an epoch whose order is drawn at a time
SAMPLED = 1 << 17  # tokens of a sample of the training split


class Windows:
    """Disjoint windows of `length` tokens, each with the same window one token later as its targets.

    Args:
        tokens: uint16 or uint32 [n], an array or a memory map, of which only what is asked for is read.
        length: tokens of a window; the context that a model sees.
    """

    def __init__(self, tokens: Tokens, length: int) -> None:
        self.tokens, self.length = tokens, length
        if len(tokens) < 2:
            raise DataError(f"the text is too short: a split of it has {len(tokens)} tokens. Give thousands.")

    def __len__(self) -> int:
        """Windows that cover all targets; the last may be shorter."""
        return -(-(len(self.tokens) - 1) // self.length)

    def tensors(self) -> Sequence[Tensor]:
        with warnings.catch_warnings():
            # A map that could be written to would count as memory of this process (RLIMIT_DATA, strict overcommit).
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return (torch.from_numpy(self.tokens),)

    def take(self, index: Tensor | slice, offset: int = 0) -> Batch:
        """Windows by their number, counted from an offset: inputs and targets int64 [b, length].

        What lies beyond the end is padded: with token 0, and targets that do not count.
        """
        if isinstance(index, slice):
            index = torch.arange(len(self))[index]
        starts = index.numpy() * self.length + offset
        places = starts[:, None] + np.arange(self.length + 1)
        beyond = places >= len(self.tokens)
        if not beyond.any():
            found = torch.from_numpy(self.tokens[places].astype(np.int64))
            return Batch((found[:, :-1],), (found[:, 1:],))
        found = torch.from_numpy(self.tokens[places.clip(max=len(self.tokens) - 1)].astype(np.int64))
        outside = torch.from_numpy(beyond)
        return Batch(
            (found[:, :-1].masked_fill(outside[:, 1:], 0),), (found[:, 1:].masked_fill(outside[:, 1:], IGNORED),)
        )


class WindowLoader:
    """Batches of windows.

    In training an epoch begins at an offset of its own, so that its windows are cut elsewhere, and takes them in an order
    of its own: every token is seen once, but for less than two windows at the ends.

    Args:
        rows: the windows.
        bs: windows a batch.
        shuffle: for training.
    """

    exact = True

    def __init__(self, rows: Windows, bs: int, shuffle: bool = False) -> None:
        self.rows, self.bs, self.shuffle = rows, check_bs(bs), shuffle
        n, length = len(rows.tokens), rows.length
        if shuffle and n <= length:
            raise DataError(
                f"the training text has {n} tokens, no more than a window of {length}; give a longer text or a smaller block_size."
            )
        self.n_items = max(1, (n - length) // length) if shuffle else len(rows)

    def __len__(self) -> int:
        return -(-self.n_items // self.bs)

    def offset(self, seed: int, epoch: int) -> int:
        """Where an epoch's first window begins."""
        free = len(self.rows.tokens) - 1 - self.n_items * self.rows.length
        return rng.derive(seed, "offset", epoch) % (min(free, self.rows.length - 1) + 1) if self.shuffle else 0

    def order(self, seed: int, epoch: int) -> Tensor:
        return torch.cat(list(self._parts(seed, epoch)))

    def _parts(self, seed: int, epoch: int) -> Iterator[Tensor]:
        """An epoch's order, a part at a time, so that the order of a very long text is never held as a whole.

        A part is every k-th window from one of the first k on, shuffled: each comes from everywhere.
        """
        k = -(-self.n_items // PART)
        if not self.shuffle:
            yield torch.arange(self.n_items)
        elif k == 1:
            yield rng.order(self.n_items, seed, epoch)
        else:
            for first in rng.order(k, seed, epoch).tolist():
                n = len(range(first, self.n_items, k))
                yield rng.order(n, rng.derive(seed, "part", first), epoch).mul_(k).add_(first)

    def batches(self, *, seed: int = 0, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        offset, skipped = self.offset(seed, epoch), start * self.bs
        rest = torch.empty(0, dtype=torch.int64)
        for part in self._parts(seed, epoch):
            if skipped >= len(part):
                skipped -= len(part)
                continue
            rest, skipped = torch.cat([rest, part[skipped:]]), 0
            whole = len(rest) // self.bs * self.bs
            for i in range(0, whole, self.bs):
                yield self.rows.take(rest[i : i + self.bs], offset)
            rest = rest[whole:].clone()  # a view would keep the part alive
        if len(rest):
            yield self.rows.take(rest, offset)

    def sample(self, n: int, seed: int) -> Iterator[Batch]:
        n = min(n, max(1, SAMPLED // self.rows.length))
        index = rng.order(len(self.rows), seed, -1)[:n]
        for i in range(0, len(index), self.bs):
            yield self.rows.take(index[i : i + self.bs])

    def plain(self) -> "WindowLoader":
        return WindowLoader(self.rows, self.bs)

    def at(self, index: Sequence[int]) -> Batch:
        return self.rows.take(torch.as_tensor(index, dtype=torch.int64))

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()


def eval_bs(length: int, n_tokens: int, bs: int) -> int:
    """Windows of an evaluation batch.

    Args:
        length: of a window.
        n_tokens: of the vocabulary.
        bs: of a training batch, which is known to fit.
    """
    return max(1, min(max(bs, EVAL_TOKENS // length), EVAL_LOGITS // (length * n_tokens)))
