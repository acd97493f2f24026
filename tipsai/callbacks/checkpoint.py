"""Checkpoints from which a run goes on as if it had never stopped."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from tipsai import container
from tipsai.core import rng
from tipsai.core.callback import Callback
from tipsai.core.errors import ArtifactError, ResumeError
from tipsai.core.interrupt import INTERRUPTED
from tipsai.core.state import TrainState
from tipsai.core.weights import load_tensors
from tipsai.optim import load_state

log = logging.getLogger("tipsai")
COUNTERS = (
    "epoch",
    "first_epoch",
    "step",
    "first_step",
    "step_in_epoch",
    "seconds",
    "first_seconds",
    "objective_sum",
    "objective_weight",
    "stop_reason",
    "history",
)
MOST_SHARE = 0.05  # of the time may go into checkpoints at the ends of epochs; short epochs do not get one each


class Stateful(Protocol):
    """A callback, or torch's gradient scaler."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> None: ...


class Checkpointer(Callback):
    """Saves the whole state at the ends of epochs, every so many seconds within one, on Ctrl-C, and at the end.

    Args:
        path: the file, replaced whole each time.
        config: what the run's numbers depend on; resuming under another one is refused.
        others: the callbacks whose state travels along.
        n_fits: fits that the learner had done before this one.
        every_seconds: the least time between two checkpoints within an epoch.
    """

    order = 100  # after everybody else has changed what is to be saved

    def __init__(
        self,
        path: str | Path,
        config: Mapping[str, Any],
        others: Callable[[], Sequence[Stateful]],
        n_fits: int = 0,
        every_seconds: float = 30.0,
    ) -> None:
        self.path, self.run_config, self.others = Path(path), dict(config), others
        self.n_fits, self.every_seconds = n_fits, every_seconds
        self.cost = 0.0  # seconds that the last checkpoint took

    def before_fit(self, st: TrainState) -> None:
        self.began = self.saved_at = time.monotonic()

    def after_log(self, st: TrainState) -> None:
        if st.stop_reason == INTERRUPTED or time.monotonic() - self.saved_at >= self.every_seconds:
            self.save(st)

    def after_epoch(self, st: TrainState) -> None:
        due = time.monotonic() - self.saved_at >= min(self.cost / MOST_SHARE, self.every_seconds)
        if due or st.stop_reason or st.step == st.n_steps:
            self.save(st)

    def save(self, st: TrainState) -> None:
        """Writes the checkpoint, and makes its weights the ones to go back to if the loss stops being finite."""
        start = time.monotonic()
        weights = st.model.state_dict()
        tensors: dict[str, Tensor] = {}
        counters = {name: getattr(st, name) for name in COUNTERS}
        counters["seconds"] += time.monotonic() - self.began
        counters["stop_reason"] = "" if st.stop_reason == INTERRUPTED else st.stop_reason
        tree = {
            "counters": counters,
            "model": weights,
            "opt": st.opt.state_dict(),
            "rng": rng.state_tensors(),
            "callbacks": [[type(cb).__name__, cb.state_dict()] for cb in self.others()],
        }
        packed = container.pack(tree, tensors, "state")
        manifest = {
            "format_version": container.FORMAT_VERSION,
            "kind": "checkpoint",
            "n_fits": self.n_fits,
            "config": self.run_config,
        }
        container.write(
            self.path, {"manifest": manifest | {"versions": container.versions()}, "state": packed}, {"state": tensors}
        )
        st.weights = {name: t.detach().clone() for name, t in weights.items()}
        self.saved_at = time.monotonic()
        self.cost = self.saved_at - start

    def read(self) -> tuple[int, Any]:
        """The checkpoint as (fits done before it, state tree), after its configuration was compared with this run's.

        Raises:
            ResumeError: the configuration differs; the message shows where.
            ArtifactError: the file is damaged or no checkpoint.
        """
        documents, groups = container.read(self.path)
        manifest = documents["manifest"]
        if manifest.get("kind") != "checkpoint":
            raise ArtifactError(
                f"{self.path} holds the kind {manifest.get('kind')!r}, no checkpoint; give the file that fit(checkpoint=...) wrote."
            )
        if manifest["n_fits"] == self.n_fits:
            compare(manifest["config"], self.run_config)
        now = container.versions()
        changed = [
            f"{name} {old} -> {now.get(name)}" for name, old in manifest["versions"].items() if old != now.get(name)
        ]
        if changed:
            log.warning(
                "resuming under other versions (%s): the result can differ in the last bits", ", ".join(changed)
            )
        return manifest["n_fits"], container.unpack(documents["state"], groups.get("state", {}))

    def restore(self, st: TrainState, tree: Any) -> None:
        """Puts model, optimizer, counters, callbacks and generators into a checkpoint's state."""
        saved, present = tree["callbacks"], self.others()
        if [name for name, _ in saved] != [type(cb).__name__ for cb in present]:
            raise ResumeError(
                f"the checkpoint has callbacks {[name for name, _ in saved]}, this run {[type(cb).__name__ for cb in present]}; give the same."
            )
        load_tensors(st.model, tree["model"])
        load_state(st.opt, tree["opt"])
        for name in COUNTERS:
            setattr(st, name, tree["counters"][name])
        for (_, state), cb in zip(saved, present, strict=True):
            cb.load_state_dict(state)
        rng.restore_tensors({name: t.to(torch.uint8).cpu() for name, t in tree["rng"].items()})


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raises ResumeError with the difference unless two configurations are the same."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if names:
        lines = "".join(f"\n  {name}: {old.get(name)!r} in the checkpoint, {new.get(name)!r} now" for name in names)
        raise ResumeError(
            f"the configuration changed since the checkpoint:{lines}\nGive the old values, or start anew without resume."
        )
