"""Texts in memory, each as its tokens and its n-grams, one after the other in flat arrays."""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tipsai.core import rng
from tipsai.core.state import Batch
from tipsai.data.loaders import EVAL_ROWS, RowLoader
from tipsai.text.linear import Bags

SORTED = 32  # batches whose texts are sorted by length together


class Ragged:
    """Sequences of different lengths in one array.

    Args:
        parts: the sequences.
        kind: of their values.
    """

    def __init__(self, parts: Sequence[NDArray[Any]], kind: type[np.generic]) -> None:
        self.flat = np.concatenate(parts).astype(kind) if parts else np.zeros(0, kind)
        self.starts = np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)])

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def padded(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Some of them side by side, [b, the longest, at least 1], zeros after the end."""
        starts, lengths = self.starts[index], self.lengths[index]
        place = np.arange(max(1, int(lengths.max(initial=0))))
        there = place < lengths[:, None]
        out = np.zeros(there.shape, self.flat.dtype)
        out[there] = self.flat[(starts[:, None] + place)[there]]
        return out


class TextRows:
    """Texts with their targets.

    A batch's inputs are (tokens int64 [b, t], features int64 [b, f], weights float32 [b, f]), padded with zeros. Where
    `beside` is set, they are (tokens, beside [b, c]): in training a linear model's word on each text comes from a model
    that has not seen the text.

    Args:
        tokens: of each text, int32 [t], above 0.
        grams: of each text, (numbers int32 [f], weights float32 [f]).
        y: targets, [n, ...] each.
    """

    def __init__(
        self,
        tokens: Sequence[NDArray[Any]],
        grams: Sequence[tuple[NDArray[np.int32], NDArray[np.float32]]],
        y: tuple[Tensor, ...] = (),
    ) -> None:
        self.tokens = Ragged(tokens, np.int32)
        self.grams = Ragged([ids for ids, _ in grams], np.int32)
        self.weights = Ragged([weights for _, weights in grams], np.float32)
        self.y = y
        self.beside: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def tensors(self) -> Sequence[Tensor]:
        return (torch.from_numpy(self.tokens.flat), torch.from_numpy(self.grams.flat), *self.y)

    def bags(self) -> Bags:
        ids = torch.from_numpy(self.grams.flat.astype(np.int64))
        return Bags(ids, torch.from_numpy(self.weights.flat), torch.from_numpy(self.grams.starts))

    def take(self, index: Tensor | slice, tokens: Ragged | None = None) -> Batch:
        """Some texts; with other tokens in place of their own, where these are given."""
        at = torch.arange(len(self))[index] if isinstance(index, slice) else index
        places = at.numpy()
        y = tuple(t.index_select(0, at) for t in self.y)
        found = self.tokens.padded(places) if tokens is None else tokens.padded(np.arange(len(tokens)))
        seen = torch.from_numpy(found.astype(np.int64))
        if self.beside is not None:
            return Batch((seen, self.beside.index_select(0, at)), y)
        grams = torch.from_numpy(self.grams.padded(places).astype(np.int64))
        return Batch((seen, grams, torch.from_numpy(self.weights.padded(places))), y)

    def plain(self) -> "TextRows":
        """The same texts as evaluation sees them."""
        made = copy.copy(self)
        made.beside = None
        return made


Changed = Callable[[int, random.Random], NDArray[Any]]  # the tokens of a text, by its place, augmented


class TextLoader(RowLoader):
    """Training batches of texts of similar length, so that little of a batch is padding; a new order each epoch.

    Args:
        rows: the texts.
        bs: texts a batch.
        changed: the tokens of a text, augmented, for the network; its n-grams stay those of the text as it is.
    """

    rows: TextRows

    def __init__(self, rows: TextRows, bs: int, changed: Changed | None = None) -> None:
        super().__init__(rows, bs, shuffle=True)
        self.changed = changed

    def batches(self, *, seed: int = 0, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        if self.changed is None:
            yield from super().batches(seed=seed, epoch=epoch, start=start)
            return
        order = self.order(seed, epoch)
        for i in range(start * self.bs, len(self) * self.bs, self.bs):
            index = order[i : i + self.bs]
            draws = (random.Random(rng.derive(seed, "text", epoch, at)) for at in range(i, i + len(index)))  # noqa: S311
            tokens = [self.changed(item, draw) for item, draw in zip(index.tolist(), draws, strict=True)]
            yield self.rows.take(index, Ragged(tokens, np.int32))

    def order(self, seed: int, epoch: int) -> Tensor:
        order, size = rng.order(self.n_items, seed, epoch), self.bs * SORTED
        lengths = torch.from_numpy(self.rows.tokens.lengths)
        parts = [order[i : i + size] for i in range(0, self.n_items, size)]
        order = torch.cat([part[lengths[part].argsort(stable=True)] for part in parts])
        whole = self.n_items // self.bs * self.bs
        batches = order[:whole].view(-1, self.bs)
        mixed = batches[torch.randperm(len(batches), generator=rng.generator(seed, "batches", epoch))]
        return torch.cat([mixed.flatten(), order[whole:]])

    def sample(self, n: int, seed: int) -> Iterator[Batch]:
        return self.plain().sample(n, seed)

    def plain(self) -> RowLoader:
        return RowLoader(self.rows.plain(), EVAL_ROWS // 4)

    def at(self, index: Sequence[int]) -> Batch:
        return self.plain().at(index)
