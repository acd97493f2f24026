"""Whether anything waits for a device that works by itself, such as a GPU, told without one: "meta" stands in for it."""

import contextlib
import traceback
from dataclasses import replace

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tipsai import schedule
from tipsai.callbacks.scheduler import Scheduler
from tipsai.core.callback import bind
from tipsai.core.state import TrainState
from tipsai.core.step import Step
from tipsai.doctor.watch import Watch

META = torch.device("meta")


class Waits(TorchDispatchMode):
    """Notes every operation at which the host would wait for the work before it.

    Tensors on "meta" have no values, so that asking for one fails by itself. What is noted are copies to the device that
    are waited for, tensors made there from Python's numbers, indices on the host, and linear algebra that looks whether it
    succeeded.

    Attributes:
        found: the operation, and the lines of tipsai that led to it, the innermost first.
    """

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self._waits(func.overloadpacket.__name__, args, kwargs):
            lines = [f for f in reversed(traceback.extract_stack()) if "/tipsai/" in f.filename]
            places = [f"{f.filename.split('/tipsai/')[-1]}:{f.lineno} {f.line}" for f in lines[:3]]
            self.found.append(" < ".join([str(func), *places]))
        return func(*args, **kwargs)

    def _waits(self, name, args, kwargs):
        if name in ("lift_fresh", "_linalg_check_errors"):  # torch.tensor(numbers, device=...); torch.linalg.inv, solve
            return args[0].device == META
        if name == "_to_copy":
            there = torch.device(kwargs.get("device") or args[0].device)
            return there == META and args[0].device != META and not kwargs.get("non_blocking")
        if name == "copy_":
            alone = kwargs.get("non_blocking") or (len(args) > 2 and args[2])
            return args[0].device == META and args[1].device != META and not alone
        if name in ("index", "index_put", "index_put_"):
            return args[0].device == META and any(i is not None and i.device != META for i in args[1])
        return False


def waits_in_training(learn, n_steps=2):
    """What waits in the first steps of a fit, looked at by the doctor, and in judging a validation batch by the loss."""
    learn.model.to(META)
    st = TrainState(learn.model, learn._new_opt(), learn.loss_fn, META, 0, 100, 100, 100)
    for callback in learn.callbacks:
        callback.before_fit(st)
    watch = Watch([])
    watch.record.clip, watch.chosen, watch.every = st.clip, dict(learn.model.named_parameters()), 1
    plan = Scheduler(schedule.one_cycle(), [0.01] * len(learn.layer_groups))
    events = bind([learn.recorder, plan, *learn.callbacks, watch])
    step = Step("fp32", learn.compute_loss, learn.output)
    learn.model.train()
    with Waits() as noted:
        with contextlib.closing(learn.dls.feed("train", META).batches()) as batches:
            for batch, st.step in zip(batches, range(n_steps), strict=False):
                step(st, (batch,), events)
                for listen in events.after_step:
                    listen(st)
        learn.model.eval()
        with torch.no_grad():
            batch = next(learn.dls.feed("valid", META).batches())
            replace(learn.evaluator, metrics={})._batch(learn.model, batch)
    return noted.found
