"""Mixup: a pure function, and the callback over it (TR03)."""

from typing import Any, Protocol

import torch
from torch import Tensor

from tipsai.core import rng
from tipsai.core.callback import Callback
from tipsai.core.device import sent
from tipsai.core.errors import SettingError, require_positive
from tipsai.core.state import Batch, TrainState


class MixesTargets(Protocol):
    def mix_targets(self, y: tuple[Tensor, ...], perm: Tensor, lam: Tensor) -> tuple[Tensor, ...]: ...


def require_target(target: Any) -> MixesTargets:
    """Raises TypeError unless the target knows how its values mix."""
    if not hasattr(target, "mix_targets"):
        raise TypeError(
            f"target is {type(target).__name__}; expected a block with mix_targets, such as CategoryBlock(range(10))."
        )
    return target  # type: ignore[no-any-return]


def beta(n: int, alpha: float, generator: torch.Generator) -> Tensor:
    """N draws of Beta(alpha, alpha), float64."""
    # From two Gammas; torch's Gamma sampler takes a generator where its distributions do not.
    gammas = torch._standard_gamma(torch.full((2, n), alpha, dtype=torch.float64), generator=generator)
    return (gammas[0] / gammas.sum(0)).nan_to_num(1.0)


def draw(n: int, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Partners and shares of a mixup.

    Args:
        n: rows.
        alpha: of Beta(alpha, alpha).
        generator: on the CPU.

    Returns:
        perm int64 [n], and lam float32 [n] in 0.5..1: each row keeps the larger share, so that no pair is drawn twice.
    """
    lam = beta(n, alpha, generator)
    return torch.randperm(n, generator=generator), torch.maximum(lam, 1 - lam).float()


def mix(x: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """Each row times its share, plus its partner's times the rest: [b, ...].

    Raises:
        SettingError: the inputs are whole numbers (indices, or pictures as bytes).

    Source: Zhang et al. 1710.09412.
    """
    if not x.is_floating_point():
        raise SettingError(
            f"mixup got inputs of {x.dtype}, which cannot be mixed; convert them to float first, or give MixUp(..., inside=True) "
            "and let the model mix after its embeddings."
        )
    lam = lam.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
    return x * lam + x[perm] * (1 - lam)


class Mixing(Callback):
    """What the ways to mix examples share: shares from Beta(alpha, alpha), in fits that are long enough.

    Args:
        target: the target's block, which knows how its values mix.
        alpha: of Beta(alpha, alpha).
        fewest_epochs: of a fit that is to be mixed; shorter ones are left alone, since mixing slows learning down.
    """

    def __init__(self, target: MixesTargets | Any, alpha: float, fewest_epochs: int) -> None:
        require_positive("alpha", alpha)
        require_positive("fewest_epochs", fewest_epochs, zero=True)
        self.target, self.alpha, self.fewest_epochs = require_target(target), alpha, fewest_epochs
        self.on = True

    def config(self) -> dict[str, Any]:
        return {"alpha": self.alpha, "fewest_epochs": self.fewest_epochs}

    def before_fit(self, st: TrainState) -> None:
        self.on = st.n_epochs >= self.fewest_epochs


class MixUp(Mixing):
    """Mixes inputs and targets of each training batch. Metrics see unmixed validation data.

    Args:
        target: the target's block, which knows how its values mix; such as dls.blocks[1] or CategoryBlock(range(10)).
        alpha: of Beta(alpha, alpha); larger mixes more evenly.
        inside: hand (perm, lam) to the model, which mixes after its embeddings; for tables.
        fewest_epochs: see Mixing.
    """

    def __init__(
        self, target: MixesTargets | Any, alpha: float = 0.4, *, inside: bool = False, fewest_epochs: int = 0
    ) -> None:
        super().__init__(target, alpha, fewest_epochs)
        self.inside = inside

    def config(self) -> dict[str, Any]:
        return super().config() | {"inside": self.inside}

    def before_batch(self, st: TrainState) -> None:
        batch = st.batch
        assert batch is not None
        if not self.on:
            return
        source = rng.generator(st.seed, "mixup", st.total_epoch, st.step_in_epoch, st.micro)
        perm, lam = (sent(t, st.device) for t in draw(batch.n_rows, self.alpha, source))
        x = (*batch.x, perm, lam) if self.inside else tuple(mix(t, perm, lam) for t in batch.x)
        st.batch = Batch(x, self.target.mix_targets(batch.y, perm, lam))
