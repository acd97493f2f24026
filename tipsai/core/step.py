"""One optimizer step: precision, accumulation and clipping."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tipsai.core.callback import Events
from tipsai.core.errors import SettingError
from tipsai.core.state import Batch, ComputeLoss, TrainState

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(precision: str, device: torch.device) -> str:
    """ "auto" becomes bf16 on a GPU that has it, fp16 on one that does not, fp32 elsewhere.

    Raises:
        SettingError: the name is unknown, or fp16 is asked for on a CPU, where gradients cannot be scaled.
    """
    if precision == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if precision not in DTYPES:
        raise SettingError(f"precision is {precision!r}; expected 'auto', 'fp32', 'bf16' or 'fp16'.")
    if precision == "fp16" and device.type == "cpu":
        raise SettingError("precision='fp16' needs a GPU. On a CPU use precision='bf16' or 'fp32'.")
    return precision


def fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 faster than fp32: GPUs that have it, and processors with instructions for it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch tells in no public way
    return device.type == "cpu" and any(getattr(torch.cpu, name, lambda: False)() for name in names)


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """The context that a forward pass runs in."""
    dtype = DTYPES[precision]
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """The context of work that half precision would spoil, within autocast, too."""
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else contextlib.nullcontext()


def _divisor(weight: Tensor | float) -> Tensor | float:
    """The weight; where nothing counts (every token ignored) a tiny number, so that the sum of 0 is a loss of 0."""
    return weight.clamp(min=1e-30) if isinstance(weight, Tensor) else weight or 1.0


def clip_gradients(grads: list[Tensor], most: float) -> Tensor:
    """Scales gradients in place so that their global norm is at most `most`; returns the norm before, a scalar.

    The arithmetic is that of torch.nn.utils.clip_grad_norm_, which sorts the gradients by device and type twice at
    every step: half of its time for a small model, and no use for a model on one device.
    """
    if not grads:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    torch._foreach_mul_(grads, (most / (norm + 1e-6)).clamp(max=1.0))
    return norm


@dataclass(slots=True)
class Step:
    """What one optimizer step does; called with the state and the micro-batches of its group."""

    precision: str = "fp32"
    compute_loss: ComputeLoss | None = None  # takes (model, batch) in place of the model, output and loss
    output: Callable[[Any], Any] | None = None  # from what the model returns to what the loss takes
    scaler: torch.amp.GradScaler | None = None  # for fp16

    def __call__(self, st: TrainState, group: Sequence[Batch], events: Events) -> None:
        params = [p for g in st.opt.param_groups for p in g["params"]]
        for p in params:
            p.grad = None
        totals: list[Tensor] = []
        weights: list[Tensor | float] = []
        single = len(group) == 1
        for st.micro, st.batch in enumerate(group):
            for listen in events.before_batch:
                listen(st)
            total, weight = self.forward(st)
            totals.append(total)
            weights.append(weight)
            # Where nothing counts (every token ignored) this is 0/0; the gradient is 0 all the same, and fetch knows.
            st.loss = total / (weight if single else _divisor(weight))
            for listen in events.after_loss:
                listen(st)
            # A group is optimised as sum over weight of the whole. Its weight is known only at its end, so each
            # micro-batch goes backward over the first one's weight, and the gradients are put right afterwards.
            loss = st.loss if single else total / _divisor(weights[0])
            (self.scaler.scale(loss) if self.scaler else loss).backward()  # type: ignore[no-untyped-call]
            totals[-1] = total.detach()
        whole = weights[0] if single else sum(weights[1:], weights[0])
        st.loss = st.loss.detach() if single and st.loss is not None else sum(totals[1:], totals[0]) / _divisor(whole)
        if not single:
            share = _divisor(weights[0]) / _divisor(whole)
            torch._foreach_mul_([p.grad for p in params if p.grad is not None], share)
        if self.scaler:
            self.scaler.unscale_(st.opt)
        for listen in events.after_backward:
            listen(st)
        if st.clip is not None:
            norm = clip_gradients([p.grad for p in params if p.grad is not None], st.clip)
            # A gradient that overflowed and is left out does no harm, and is no reason to stop.
            st.pending_norms.append(norm.nan_to_num(0.0, 0.0) if self.scaler or st.skip_step else norm)
        if not st.skip_step:
            self.scaler.step(st.opt) if self.scaler else st.opt.step()
        if self.scaler:
            self.scaler.update()
        st.skip_step = False
        st.pending_losses.append(st.loss)
        st.pending_weights.append(whole)
        st.pending_rates.append(st.opt.param_groups[-1]["lr"])

    def forward(self, st: TrainState) -> tuple[Tensor, Tensor | float]:
        """The batch's loss as (sum, weight); st.pred is set where there is one."""
        batch = st.batch
        assert batch is not None
        with autocast(self.precision, st.device):
            if self.compute_loss is not None:
                result = self.compute_loss(st.model, batch)
                return result if isinstance(result, tuple) else (result * batch.n_rows, batch.n_rows)
            pred = st.model(*batch.x)
            st.pred = pred if self.output is None else self.output(pred)
            return st.loss_fn.sums(st.pred, *batch.y)
