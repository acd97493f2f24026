"""Randomness as a function of (seed, what for, epoch, position), so that a run can go on anywhere as if never stopped."""

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def derive(seed: int, *keys: int | str) -> int:
    """A 63-bit seed for one purpose. Stable across machines and Python versions, unlike hash()."""
    text = "/".join([str(seed), *map(str, keys)]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def generator(seed: int, *keys: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh torch generator for one purpose."""
    return torch.Generator(device=device).manual_seed(derive(seed, *keys))


def order(n: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of an epoch's training items: int64 [n], a permutation."""
    return torch.randperm(n, generator=generator(seed, "order", epoch))


def uniform(items: torch.Tensor, seed: int, *keys: int | str) -> torch.Tensor:
    """A number in [0, 1) for each item by its number alone: float64, of the shape of items, int64.

    Source: the mixing function of SplitMix64 (Steele, Lea and Flood 2014).
    """
    z = items.cpu().numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(derive(seed, *keys))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return torch.from_numpy((z >> np.uint64(11)) / 2.0**53)


def draw_seed() -> int:
    """A fresh seed from the operating system, for runs that were given none; recorded so that they can be repeated."""
    return random.SystemRandom().randrange(2**31)


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextlib.contextmanager
def preserved() -> Iterator[None]:
    """Puts every global generator back as it was, whatever happens inside."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if _cuda_in_use() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def _cuda_in_use() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def state_tensors() -> dict[str, torch.Tensor]:
    """The states of torch's global generators (dropout draws from them), for a checkpoint."""
    states = {"cpu": torch.get_rng_state()}
    if _cuda_in_use():
        states |= {f"cuda{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_tensors(states: dict[str, torch.Tensor]) -> None:
    """Puts torch's global generators into states taken by state_tensors."""
    torch.set_rng_state(states["cpu"])
    cuda = [state for name, state in sorted(states.items()) if name.startswith("cuda")]
    if cuda and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(cuda)
