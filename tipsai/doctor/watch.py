"""What the doctor keeps of a training run: a callback that looks closely at a few steps, and at the clock at every one."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tipsai.core.callback import Callback
from tipsai.core.finding import Finding
from tipsai.core.state import Row, TrainState
from tipsai.doctor.check import Check, counted, make, tell
from tipsai.doctor.flow import layers
from tipsai.doctor.heard import Heard

LOOKS = 24  # steps of a fit that are looked at closely, at most one in EVERY
EVERY = 40
FEWEST = 8  # looks at a short fit
MOST_LAYERS = 12  # evenly spaced over the depth
SAMPLED = 1 << 15  # weights of a layer
ROWS = 64  # of an activation
DEAD = 1e-3  # the largest output of a unit that says nothing
SATURATED = 0.01  # from the end of a sigmoid's or tanh's range
RECENT = 3  # looks in which a unit must be dead

RECTIFIERS = {"relu", "relu_", "gelu", "silu", "leaky_relu", "elu", "selu", "mish", "hardswish"}
BOUNDED = {"sigmoid", "tanh", "sigmoid_", "tanh_", "hardsigmoid", "hardtanh"}


@dataclass(slots=True)
class Record:
    """What a fit was like.

    Attributes:
        steps: that were looked at closely, counted over all fits.
        rates: the learning rate at each.
        updates: by layer, the norm of a step over the norm of the weights, one a look.
        sizes: by layer, the norm of the weights, one a look.
        gradients: by layer, the gradient's norm, one a look.
        dead: by activation, bool [units] of the last looks: which units said nothing to any row.
        saturated: by activation, the share of outputs near the end of their range, one a look.
        quiet: by activation, the share of units that said nothing, one a look.
        spread: by activation, the standard deviation of its outputs, one a look.
        losses: the objective, one a step of this fit.
        lrs: the learning rate, one a step of this fit.
        norms: the gradient's global norm before clipping, one a step.
        clip: the norm that gradients are clipped at; None without.
        skipped: steps that a callback left out.
        waited: seconds in which training waited for data.
        spent: seconds of steps and waiting.
        rows: the figures of the epochs.
        default_lr: the rate that the optimizer would take by default; None where that is not known.
        peak: the highest rate of the fit.
        ended: whether the fit is over.
        silent: by activation, the share of units that were dead in all of the last looks.
        memory: bytes at the process's peak on the device, and of the device; None but on CUDA.
    """

    steps: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    updates: dict[str, list[Any]] = field(default_factory=dict)
    sizes: dict[str, list[Any]] = field(default_factory=dict)
    gradients: dict[str, list[Any]] = field(default_factory=dict)
    dead: dict[str, list[Tensor]] = field(default_factory=dict)
    saturated: dict[str, list[Any]] = field(default_factory=dict)
    quiet: dict[str, list[Any]] = field(default_factory=dict)
    spread: dict[str, list[Any]] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    lrs: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    clip: float | None = None
    skipped: int = 0
    waited: float = 0.0
    spent: float = 0.0
    rows: list[Row] = field(default_factory=list)
    default_lr: float | None = None
    peak: float = 0.0
    ended: bool = False
    silent: dict[str, float] = field(default_factory=dict)
    memory: tuple[int, int] | None = None

    def fetch(self) -> None:
        """Brings what lies on the device to the host, all at once."""
        parts = (self.updates, self.sizes, self.gradients, self.saturated, self.quiet, self.spread)
        kept = [values for part in parts for values in part.values()]
        silent = {
            name: torch.stack(looks).all(0).float().mean() for name, looks in self.dead.items() if len(looks) == RECENT
        }
        waiting = [(values, i) for values in kept for i, value in enumerate(values) if isinstance(value, Tensor)]
        tensors = [*(values[i].detach().float() for values, i in waiting), *silent.values()]
        if not tensors:
            return
        found = torch.stack(tensors).tolist()
        for (values, i), value in zip(waiting, found, strict=False):
            values[i] = value
        self.silent = dict(zip(silent, found[len(waiting) :], strict=True))


class _Activations(Heard):
    """Looks at what activation functions return."""

    def __init__(self, record: Record) -> None:
        super().__init__(self._look)
        self.record, self.met = record, 0

    def _look(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        if not (name in RECTIFIERS or name in BOUNDED) or not isinstance(out, Tensor) or out.ndim < 2:
            return
        self.met += 1
        label = f"{name.rstrip('_')} {self.met}"
        with torch.no_grad(), torch._C.DisableTorchFunction():
            part = out.detach()[:ROWS]
            self.record.spread.setdefault(label, []).append(part.float().std())
            if name in BOUNDED:
                low = -1.0 if "tanh" in name else 0.0
                far = ((part < low + SATURATED) | (part > 1 - SATURATED)).float().mean()
                self.record.saturated.setdefault(label, []).append(far)
                return
            units = part.transpose(1, -1).flatten(0, -2) if part.ndim > 3 else part.flatten(0, -2)
            dead = units.abs().amax(0) < DEAD
            looks = self.record.dead.setdefault(label, [])
            if looks and looks[-1].shape != dead.shape:
                looks.clear()  # places, such as words of a text, and no units
            looks.append(dead)
            self.record.quiet.setdefault(label, []).append(dead.float().mean())
            del looks[:-RECENT]


def remark(found: Sequence[Finding]) -> str:
    """How much was found, in a few words; nothing where that is advice at most."""
    told = counted(found)
    return f"doctor: {told}" if told else ""


class Watch(Callback):
    """Keeps a Record, and makes the training checks now and then; each says a thing once.

    Nothing here changes a number of the run, or waits for the device at a step.

    Args:
        checks: of the stage "training".
        default_lr: what the optimizer would take by default.
        silent: codes to leave out.
        known: what was found before, and may explain what would be found now; it is not said again.

    Attributes:
        found: what was found, with the step.
        record: of the last fit.
    """

    order = 90

    def __init__(
        self,
        checks: Sequence[Check],
        default_lr: float | None = None,
        silent: Iterable[str] = (),
        known: Iterable[Finding] = (),
    ) -> None:
        self.known = list(known)
        left_out = {*silent, *(f.code for f in self.known)}
        self.checks = [check for check in checks if check.code not in left_out]
        self.default_lr = default_lr
        self.found: list[Finding] = []
        self.record = Record()
        self.chosen: dict[str, nn.Parameter] = {}
        self.before: dict[str, Tensor] = {}
        self.mode: _Activations | None = None
        self.due = self.compiled = False
        self.every, self.mark, self.judged = EVERY, 0.0, 0
        self.waited = self.spent = 0.0  # since the record was brought up to date

    def before_fit(self, st: TrainState) -> None:
        self.record = Record(clip=st.clip, default_lr=self.default_lr)
        named = dict(st.model.named_parameters())
        # a layer that starts at zero has no size that its steps could be measured by
        names = [n for n in layers(st.model) if named[n].requires_grad and bool((named[n] != 0).any())]
        step = max(1, -(-len(names) // MOST_LAYERS))
        self.chosen = {name: named[name] for name in dict.fromkeys([*names[::step], *names[-1:]])}
        self.every = max(1, min(EVERY, st.n_steps // FEWEST), st.n_steps // LOOKS)
        self.judged, self.waited, self.spent = 0, 0.0, 0.0
        # a compiled model would be compiled anew for the sake of a look
        self.compiled = any(
            type(m).__name__ == "OptimizedModule" or getattr(m, "_compiled_call_impl", None) for m in st.model.modules()
        )

    def before_epoch(self, st: TrainState) -> None:
        self.mark = time.perf_counter()

    def before_batch(self, st: TrainState) -> None:
        if st.micro:
            return
        self.waited += time.perf_counter() - self.mark
        if (st.step + 1) % self.every:
            return
        self.due = True
        if not self.compiled:
            self.mode = _Activations(self.record)
            self.mode.__enter__()  # type: ignore[no-untyped-call]

    def after_loss(self, st: TrainState) -> None:
        if self.mode is not None:
            self._leave()

    def _leave(self) -> None:
        if self.mode is not None:
            self.mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self.mode = None

    def after_backward(self, st: TrainState) -> None:
        if st.skip_step:
            self.record.skipped += 1
        if not self.due:
            return
        self.before = {}
        for name, p in self.chosen.items():
            if p.grad is not None:
                self.before[name] = p.detach().flatten()[:SAMPLED].clone()
                self.record.gradients.setdefault(name, []).append(p.grad.norm())

    def after_step(self, st: TrainState) -> None:
        if self.due:
            self.record.steps.append(st.first_step + st.step)
            self.record.rates.append(st.opt.param_groups[-1]["lr"])
            for name, old in self.before.items():
                new = self.chosen[name].detach().flatten()[:SAMPLED]
                size = old.norm()
                self.record.updates.setdefault(name, []).append((new - old).norm() / size.clamp(min=1e-12))
                self.record.sizes.setdefault(name, []).append(size)
            self.before, self.due = {}, False
        now = time.perf_counter()
        self.spent += now - self.mark
        self.mark = now

    def after_log(self, st: TrainState) -> None:
        self.record.waited, self.waited = self.record.waited + self.waited, 0.0
        self.record.spent, self.spent = self.record.spent + self.spent, 0.0
        self.record.losses.extend(st.losses)
        self.record.norms.extend(st.norms)
        self.record.lrs.extend(st.rates)
        self.record.fetch()  # the loop has just waited for the device as well
        self.mark = time.perf_counter()
        if len(self.record.steps) >= self.judged + 6:
            self.judged = len(self.record.steps)
            self._judge(st)

    def after_epoch(self, st: TrainState) -> None:
        self.record.rows = list(st.history)

    def after_fit(self, st: TrainState) -> None:
        self._leave()
        self.record.ended = st.error is None
        self.record.rows = list(st.history)
        if st.device.type == "cuda":
            total = torch.cuda.get_device_properties(st.device).total_memory
            self.record.memory = (torch.cuda.max_memory_allocated(st.device), total)
        self._judge(st)
        self.chosen, self.before = {}, {}

    def _judge(self, st: TrainState) -> None:
        r = self.record
        r.peak = max(r.lrs, default=0.0)
        spoken = {finding.code for finding in self.found}
        found = [*self.known, *self.found]
        n = len(found)
        make((check for check in self.checks if check.code not in spoken), r, found, st.first_step + st.step)
        tell(found[n:])
        self.found += found[n:]
        st.remark = remark(self.found)
