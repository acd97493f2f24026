"""Progressive resizing: the first epochs on smaller pictures, which cost less and generalise as well (DA03)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tipsai.core.callback import Callback
from tipsai.core.errors import SettingError
from tipsai.core.state import TrainState
from tipsai.vision.augment import Augment


class Progressive(Callback):
    """Trains the first epochs on smaller pictures. Validation sees the whole size throughout.

    Args:
        augment: gives the batch transform of the training pictures when a fit starts: lambda: learn.dls.augment.
        scale: of the smaller pictures' sides.
        share: of the epochs that see them.

    Source: Howard in fast.ai's DAWNBench entry, 2018; Touvron et al. 1906.06423 on training below the test size.
    """

    def __init__(self, augment: Callable[[], Augment], scale: float = 0.75, share: float = 0.5) -> None:
        for name, value in (("scale", scale), ("share", share)):
            if not 0 < value < 1:
                raise SettingError(f"{name} is {value!r}; expected a number between 0 and 1.")
        self.find, self.scale, self.share = augment, scale, share
        self.augment: Augment | None = None
        self.stages = (share,)  # what the smaller pictures save, a measurement says: not all costs go by the pixel

    def config(self) -> dict[str, Any]:
        return {"scale": self.scale, "share": self.share}

    def before_fit(self, st: TrainState) -> None:
        self.augment = self.find()

    def before_epoch(self, st: TrainState) -> None:
        assert self.augment is not None
        plain = self.augment.plain
        early = st.epoch < round(self.share * st.n_epochs)
        height, width = plain.size
        smaller = (max(1, round(height * self.scale)), max(1, round(width * self.scale)))
        self.augment.training = replace(plain, size=smaller) if early else plain

    def after_fit(self, st: TrainState) -> None:
        if self.augment is not None:
            self.augment.training = self.augment.plain
            self.augment = None
