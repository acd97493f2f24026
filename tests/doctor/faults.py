"""The gallery of faults: each a run with one thing wrong, and the check that must say so.

Runs are made from a seed, and are small: a second or less for a check of each.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tipsai import DataLoaders, Learner
from tipsai.core.finding import Finding

FAULTS: list["Fault"] = []
HEALTHY: list["Run"] = []


@dataclass(frozen=True)
class Run:
    """A run in good health."""

    name: str
    make: Callable[[int], Learner]


@dataclass(frozen=True)
class Fault(Run):
    """A run with one fault; `codes` are the checks of which one must speak, before training or in so many epochs of it."""

    codes: tuple[str, ...] = field(default=())
    epochs: float = 0


def fault(*codes: str, epochs: float = 0) -> Callable[[Callable[[int], Learner]], Callable[[int], Learner]]:
    def add(make: Callable[[int], Learner]) -> Callable[[int], Learner]:
        FAULTS.append(Fault(make.__name__.replace("_", " "), make, codes, epochs))
        return make

    return add


def healthy(make: Callable[[int], Learner]) -> Callable[[int], Learner]:
    HEALTHY.append(Run(make.__name__.replace("_", " "), make))
    return make


def findings(learn: Learner, epochs: float) -> list[Finding]:
    """What the doctor says of a run before training, or where it is trained, in all."""
    if epochs:
        learn.fit_one_cycle(epochs, progress=False)
        return learn.findings
    found = learn.check(progress=False)
    assert not found.failed, found.failed
    return found


# --- data -----------------------------------------------------------------------------------------------------------


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(seed: int, n: int = 600, d: int = 12, k: int = 3, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """Points around k centres, float [n, d] of about unit scale, and which centre."""
    g = draws(seed)
    y = torch.randint(k, (n,), generator=g)
    centres = torch.randn(k, d, generator=g)
    x = centres[y] + noise * torch.randn(n, d, generator=g)
    return (x - x.mean(0)) / x.std(0), y


def line(seed: int, n: int = 600, d: int = 10) -> tuple[Tensor, Tensor]:
    """A linear function with noise, scaled to mean 0 and deviation 1: float [n, d], float [n, 1]."""
    g = draws(seed)
    x = torch.randn(n, d, generator=g)
    y = x @ torch.randn(d, 1, generator=g) + 0.3 * torch.randn(n, 1, generator=g)
    return x, (y - y.mean()) / y.std()


def pictures(seed: int, n: int = 400, size: int = 12, k: int = 3) -> tuple[Tensor, Tensor]:
    """Bars at k heights in noise, float [n, 1, size, size]."""
    g = draws(seed)
    y = torch.randint(k, (n,), generator=g)
    x = torch.randn(n, 1, size, size, generator=g)
    for i, row in enumerate((y * (size // k) + size // k // 2).tolist()):
        x[i, 0, row] += 2.0
    return (x - x.mean()) / x.std(), y


def sequences(seed: int, n: int = 400, t: int = 16, k: int = 2) -> tuple[Tensor, Tensor]:
    """Walks with a drift up or down, float [n, t, 2]."""
    g = draws(seed)
    y = torch.randint(k, (n,), generator=g)
    x = (
        torch.randn(n, t, 2, generator=g).cumsum(1)
        + (y * 2.0 - 1)[:, None, None] * torch.arange(t)[None, :, None] * 0.5
    )
    return (x - x.mean()) / x.std(), y


def tokens(seed: int, n: int = 300, t: int = 16, v: int = 11) -> tuple[Tensor, Tensor]:
    """Windows of a walk on a circle of v tokens, int64 [n, t], and the same one later."""
    g = draws(seed)
    steps = torch.randint(1, 3, (n, t + 1), generator=g).cumsum(1) % v
    return steps[:, :-1].contiguous(), steps[:, 1:].contiguous()


def split(x: Tensor, y: Tensor, bs: int = 32, share: float = 0.75, test: Any = None) -> DataLoaders:
    n = int(share * len(x))
    return DataLoaders.from_tensors((x[:n], y[:n]), (x[n:], y[n:]), test, bs=bs)


# --- models -----------------------------------------------------------------------------------------------------------


def seeded(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def mlp(
    seed: int, d: int = 12, k: int = 3, width: int = 32, act: Callable[[], nn.Module] = nn.ReLU, depth: int = 1
) -> nn.Module:
    def made() -> nn.Module:
        middle = [layer for _ in range(depth - 1) for layer in (nn.Linear(width, width), act())]
        return nn.Sequential(nn.Linear(d, width), act(), *middle, nn.Linear(width, k))

    return seeded(seed, made)


def convnet(seed: int, k: int = 3, norm: bool = True) -> nn.Module:
    def made() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), *([nn.BatchNorm2d(8)] if norm else []), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, k),
        )  # fmt: skip

    return seeded(seed, made)


class Recurrent(nn.Module):
    def __init__(self, k: int = 2) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 16, batch_first=True), nn.Linear(16, k)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class TinyLM(nn.Module):
    """A causal transformer of one block; logits [b, v, t]."""

    def __init__(self, v: int = 11, t: int = 16, dim: int = 32, causal: bool = True, tied: bool = False) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(v, dim), nn.Parameter(torch.zeros(t, dim))
        nn.init.normal_(self.embed.weight, std=0.1)
        self.norm, self.norm2, self.causal = nn.LayerNorm(dim), nn.LayerNorm(dim), causal
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.head = nn.Linear(dim, v, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place[: x.shape[1]]
        q, k, v = self.qkv(self.norm(h)).chunk(3, -1)
        h = h + self.proj(
            F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], is_causal=self.causal)[:, 0]
        )
        h = h + self.down(F.gelu(self.up(self.norm2(h))))
        return self.head(h).transpose(1, 2)


def learner(dls: DataLoaders, model: nn.Module, seed: int, **options: Any) -> Learner:
    return Learner(dls, model, seed=seed, device="cpu", **options)
