"""The gallery of faults through other libraries: what skorch, Lightning and fastai say of the same runs.

    pip install skorch lightning fastai psutil
    python tests/benchmarks/doctor_peers.py [--seed 0] [--only TEXT]

Every run is made as the gallery makes it, and its parts are handed over: the model, the loss as torch has it, the
optimizer, and torch loaders of the same batches. Each library trains it as the gallery does, with 1cycle up to the same
rate, for as many epochs as the fault needs; faults that the doctor finds before training get three epochs, healthy runs
ten. Everything is on that a library has for finding faults: skorch's SkorchDoctor with its plots; Lightning's
fast_dev_run, overfit_batches, sanity check, anomaly detection, summary, profiler, device statistics and early stopping
with its look at what is not finite; fastai's summary, ActivationStats and TerminateOnNaNCallback; early stopping in all
of them. Test data are looked at as often as the gallery does, at least once.

A library speaks if there is an exception, a warning or a printed line that it has for no healthy run, numbers left aside,
a nan or inf among the figures it prints, or an end before its time. That is the most that can be granted: whether what was said
names the fault or its effect is for a person to judge, and all of it is printed below the table. What is only recorded
does not count. tipsai's column is stricter: the check that is to find the fault must speak, with at most one further
warning. Tables, texts and pictures are handed over as the batches that tipsai makes of them, with the loss of its own
learner. A "-" stands where there is nothing to hand over: losses that are computed by hand.
"""

import argparse
import importlib.metadata
import logging
import math
import multiprocessing
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

import lightning.pytorch as pl  # noqa: E402
import matplotlib  # noqa: E402
import skorch.callbacks  # noqa: E402
import skorch.helper  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from doctor.every import FAULTS, HEALTHY, Fault, Run, findings  # noqa: E402
from fastai.callback import hook, tracker  # noqa: E402
from fastai.callback import schedule as fastai_schedule  # noqa: E402, F401  gives Learner its fit_one_cycle
from fastai.data.core import DataLoaders as FastaiLoaders  # noqa: E402
from fastai.data.load import DataLoader as FastaiLoader  # noqa: E402
from fastai.learner import Learner as FastaiLearner  # noqa: E402
from fastai.optimizer import OptimWrapper  # noqa: E402
from lightning.pytorch.callbacks import DeviceStatsMonitor, EarlyStopping, LearningRateMonitor, ModelSummary  # noqa: E402
from lightning.pytorch.loggers import CSVLogger  # noqa: E402
from torch import nn  # noqa: E402
from torch.optim.lr_scheduler import LambdaLR  # noqa: E402
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler  # noqa: E402
from tqdm import tqdm  # noqa: E402

from tipsai import Learner, losses, optim, schedule  # noqa: E402
from tipsai.core.text import table  # noqa: E402
from tipsai.data.loaders import ForeignLoader  # noqa: E402

HEALTHY_EPOCHS, EPOCHS = 10, 3
PATIENCE = 3  # epochs without improvement before early stopping; the same for all

# --- a run, taken apart -----------------------------------------------------------------------------------------------


class Batches(Dataset):
    """A split's batches as tipsai feeds them, by their position in an epoch: x, a list if there are several, and y."""

    def __init__(self, learn: Learner, split: str, share: float) -> None:
        self.feed, self.seed, self.epoch = learn.dls.feed(split, learn.device), learn.seed, -1
        self.n = max(1, round(share * len(self.feed)))

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> list[Any]:
        batch = next(self.feed.batches(seed=self.seed, epoch=max(0, self.epoch), start=i))
        x, y = list(batch.x), batch.y[0]
        return [x[0] if len(x) == 1 else x, y.float() if y.dtype == torch.bool else y]  # torch's losses take no bool


class Shuffled(RandomSampler):
    """The next epoch's batches in tipsai's order, which is random; a RandomSampler, since libraries look for one."""

    def __iter__(self) -> Iterator[int]:
        self.data_source.epoch += 1
        return iter(range(len(self.data_source)))


class Spread(nn.Module):
    """A model of several inputs as one that takes a list, and what the loss takes of what it returns."""

    def __init__(self, model: nn.Module, output: Callable[[Any], Any] | None) -> None:
        super().__init__()
        self.model, self.output = model, output

    def forward(self, x: Any) -> Any:
        pred = self.model(*x) if isinstance(x, list) else self.model(x)
        return pred if self.output is None else self.output(pred)


class Called(nn.Module):
    """A function of (pred, target) as a module, which skorch wants."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, pred: Any, target: Any) -> Any:
        return self.fn(pred, target)


ELEMENTWISE = {
    F.mse_loss: nn.MSELoss,
    F.l1_loss: nn.L1Loss,
    F.smooth_l1_loss: nn.SmoothL1Loss,
    F.huber_loss: nn.HuberLoss,
}


def plain_loss(loss: Any) -> nn.Module:
    """A loss of tipsai as torch has it, so that tipsai looks at no shape on the way."""
    if type(loss) is losses.CrossEntropy:
        options = {"ignore_index": loss.ignore_index, "label_smoothing": loss.label_smoothing}
        return nn.CrossEntropyLoss(loss.class_weight, **options)
    if type(loss) is losses.BinaryCrossEntropy:
        return nn.BCEWithLogitsLoss(pos_weight=loss.pos_weight)
    if isinstance(loss, losses.ElementwiseLoss):
        return ELEMENTWISE[loss.fn](**loss.options)
    if isinstance(loss, losses.FunctionLoss):
        return Called(loss.fn)
    return Called(lambda pred, target: torch.div(*map(torch.as_tensor, loss.sums(pred, target))))


@dataclass(frozen=True)
class Parts:
    """What a library is handed: all of torch, none of tipsai. `looks`: how often the test is looked at."""

    model: nn.Module
    loss: nn.Module
    opt: torch.optim.Optimizer
    train: DataLoader
    valid: DataLoader | None
    test: DataLoader | None
    looks: int

    @property
    def sample(self) -> list[Any]:
        """A training batch."""
        return next(iter(self.train))

    def cycle(self, epochs: int) -> Callable[[int], float]:
        """The share of the peak rate at a step of 1cycle."""
        n_steps, plan = epochs * len(self.train), schedule.one_cycle()
        return lambda step: plan.lr(min(1.0, step / n_steps))


def can_be_handed(learn: Learner) -> bool:
    return learn.compute_loss is None


def taken_apart(learn: Learner, share: float) -> Parts:
    """A learner's parts; a share below 1 keeps so much of the training batches."""

    def loader(split: str) -> DataLoader | None:
        held = getattr(learn.dls, split)
        if held is None or isinstance(held, ForeignLoader):
            return held and held.loader
        data = Batches(learn, split, share if split == "train" else 1.0)
        sampler = Shuffled if split == "train" and held.shuffle else SequentialSampler
        return DataLoader(data, batch_size=None, sampler=sampler(data))

    rates = optim.rates(learn.lr, len(learn.layer_groups))
    opt = optim.build(learn.opt_spec, learn.model, learn.layer_groups, rates, learn.wd)
    several = len(learn.dls.one_batch().x) > 1
    return Parts(
        Spread(learn.model, learn.output) if several or learn.output else learn.model,
        plain_loss(learn.loss_fn),
        opt,
        *map(loader, ("train", "valid", "test")),
        looks=max(1, sum(learn.test_looks.values())),
    )


# --- the libraries ----------------------------------------------------------------------------------------------------

Make = Callable[[], Parts]


def tried(work: Callable[..., Any], *args: Any, **options: Any) -> list[str]:
    """The error that something ends in, as text; nothing where it ends well."""
    try:
        work(*args, **options)
    except Exception as error:  # whichever it is, it is what the library says
        return [f"{type(error).__name__}: {error}"]
    return []


def skorch_net(parts: Parts, epochs: int) -> tuple[Any, Any]:
    """A net of the class that fits, and the targets that a classifier takes its classes from."""
    loaders = {id(part.dataset): part for part in (parts.train, parts.valid, parts.test) if part is not None}

    def iterate(data: Any, **_: Any) -> DataLoader:
        return loaders[id(data)]

    y, targets = parts.sample[1], None
    net_class = skorch.NeuralNet
    if not y.is_floating_point() and y.ndim == 1:
        net_class, targets = skorch.NeuralNetClassifier, torch.cat([batch[1] for batch in parts.train])
    elif y.is_floating_point() and not isinstance(parts.loss, nn.BCEWithLogitsLoss):
        net_class = skorch.NeuralNetRegressor
    monitor = "train_loss" if parts.valid is None else "valid_loss"
    rate = skorch.callbacks.LRScheduler(LambdaLR, lr_lambda=parts.cycle(epochs), step_every="batch")
    net = net_class(
        parts.model,
        criterion=parts.loss,
        optimizer=lambda *_, **__: parts.opt,
        iterator_train=iterate,
        iterator_valid=iterate,
        train_split=parts.valid and skorch.helper.predefined_split(parts.valid.dataset),
        callbacks=[("rate", rate), ("stopping", skorch.callbacks.EarlyStopping(monitor, patience=PATIENCE))],
        device="cpu",
    )
    return net, targets


def with_skorch(make: Make, epochs: int) -> list[str]:
    """skorch: an epoch under SkorchDoctor, which keeps every value, and the plots of it; then the training."""
    parts = make()
    net, targets = skorch_net(parts, epochs)
    doctor = skorch.helper.SkorchDoctor(net)
    said = tried(doctor.fit, parts.train.dataset, targets, epochs=1)
    if not said:
        drawings = (doctor.plot_loss, doctor.plot_activations, doctor.plot_gradients, doctor.plot_param_updates)
        said += [error for draw in drawings for error in tried(draw)]
    parts = make()
    net, targets = skorch_net(parts, epochs)
    said += tried(net.fit, parts.train.dataset, targets, epochs=epochs)
    if parts.test is not None:
        said += [error for _ in range(parts.looks) for error in tried(net.predict, parts.test.dataset)]
    return said


class Lit(pl.LightningModule):
    def __init__(self, parts: Parts, epochs: int) -> None:
        super().__init__()
        self.model, self.loss = parts.model, parts.loss
        self.opt, self.cycle = parts.opt, parts.cycle(epochs)
        self.example_input_array = (parts.sample[0],)  # so that the summary shows sizes

    def forward(self, x: Any) -> Any:
        return self.model(x)

    def judged(self, batch: list[Any], name: str) -> torch.Tensor:
        loss = self.loss(self.model(batch[0]), batch[1])
        self.log(name, loss, on_epoch=True)
        return loss

    def training_step(self, batch: list[Any], i: int) -> torch.Tensor:
        return self.judged(batch, "train_loss")

    def validation_step(self, batch: list[Any], i: int) -> None:
        self.judged(batch, "valid_loss")

    def test_step(self, batch: list[Any], i: int) -> None:
        self.judged(batch, "test_loss")

    def configure_optimizers(self) -> dict[str, Any]:
        rate = {"scheduler": LambdaLR(self.opt, self.cycle), "interval": "step"}
        return {"optimizer": self.opt, "lr_scheduler": rate}


def with_lightning(make: Make, epochs: int) -> list[str]:
    """Lightning: fast_dev_run, then overfit_batches, then the training, each with parts of its own."""
    usual = {"accelerator": "cpu", "devices": 1, "enable_checkpointing": False, "enable_progress_bar": False}
    said = []
    for tool in ({"fast_dev_run": True}, {"overfit_batches": 1, "max_epochs": EPOCHS, "logger": False}):
        parts = make()
        trainer = pl.Trainer(**usual, **tool, detect_anomaly=True)
        said += tried(trainer.fit, Lit(parts, epochs), parts.train, parts.valid)
    parts = make()
    module = Lit(parts, epochs)
    watchers = [
        EarlyStopping(
            "train_loss", patience=epochs + 1, check_finite=True, check_on_train_epoch_end=True, verbose=True
        ),
        DeviceStatsMonitor(cpu_stats=True),
        LearningRateMonitor(),
        ModelSummary(max_depth=-1),
    ]
    if parts.valid is not None:
        watchers.append(EarlyStopping("valid_loss", patience=PATIENCE, check_finite=True, verbose=True))
    trainer = pl.Trainer(
        **usual,
        max_epochs=epochs,
        detect_anomaly=True,
        callbacks=watchers,
        logger=CSVLogger("."),
        profiler="simple",
        num_sanity_val_steps=2,
    )
    said += tried(trainer.fit, module, parts.train, parts.valid)
    if parts.test is not None:
        said += [error for _ in range(parts.looks) for error in tried(trainer.test, module, parts.test)]
    return said


def with_fastai(make: Make, epochs: int) -> list[str]:
    """fastai: a training, and an end without a word where TerminateOnNaNCallback makes one."""
    parts = make()

    def as_fastais(loader: DataLoader) -> FastaiLoader:
        return FastaiLoader(
            loader.dataset,
            bs=loader.batch_size,
            drop_last=loader.batch_size is not None and loader.drop_last,
            get_idxs=lambda: list(loader.sampler),
        )

    kept = [part for part in (parts.train, parts.valid) if part is not None]
    stopping = tracker.EarlyStoppingCallback("train_loss" if parts.valid is None else "valid_loss", patience=PATIENCE)
    learn = FastaiLearner(
        FastaiLoaders(*map(as_fastais, kept), device=torch.device("cpu")),
        parts.model,
        loss_func=parts.loss,
        opt_func=lambda *_, **__: OptimWrapper(opt=parts.opt),
        cbs=[hook.ActivationStats(with_hist=True), tracker.TerminateOnNaNCallback(), stopping],
    )
    with learn.no_bar():
        said = tried(learn.summary)
        failed = tried(learn.fit_one_cycle, epochs, [group["lr"] for group in parts.opt.param_groups])
        if not failed and len(learn.recorder.values) < epochs and stopping.wait < PATIENCE:
            said.append("training ends before its last epoch, without a word")
        learn.remove_cb(stopping)  # it would count a look at the test as an epoch
        if parts.test is not None:
            failed += [error for _ in range(parts.looks) for error in tried(learn.validate, dl=as_fastais(parts.test))]
    return said + failed


PEERS = {"skorch": with_skorch, "lightning": with_lightning, "fastai": with_fastai}

# --- what is said -----------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"0x[0-9a-f]+|[-+]?\b\d[\d.,:]*(?:e[-+]?\d+)?(?:%| [KMB]\b)?", re.IGNORECASE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FIGURES = {"epoch", "train_loss", "valid_loss", "valid_acc", "dur", "time", "nan", "inf"}
RULES = re.compile("[|│┃─━]")  # of a table, such as a model's summary


def remark(text: str) -> str:
    """The first line of a message without numbers; of a row of figures, nothing but whether one is not finite."""
    lines = [line for line in NUMBER.sub("#", COLOUR.sub("", text)).splitlines() if line.strip()]
    words = set(re.findall("[a-z_]+", lines[0].lower())) if lines else set()
    if words <= FIGURES:
        return "nan or inf among the figures printed" if words & {"nan", "inf"} else ""
    return " ".join(lines[0].split())


@contextmanager
def overheard() -> Iterator[list[str]]:
    """Collects warnings and printed lines, tables left out; in a folder of its own, since some leave files."""
    heard: list[str] = []
    usual = os.dup(1), os.dup(2)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as printed:
        os.chdir(folder)
        try:
            for stream in (1, 2):
                os.dup2(printed.fileno(), stream)
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                yield heard
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, own in enumerate(usual, 1):
                os.dup2(own, stream)
        printed.seek(0)
        lines = [line for line in printed.read().splitlines() if not RULES.search(line)]
    heard += [*(f"{w.category.__name__}: {w.message}" for w in warned), *lines]


def speak(send: Any, name: str, run: Run, epochs: float, seed: int) -> None:
    """Puts a run through a library, in a process of its own, and sends what was said: remarks, or None for "-".

    A process of its own, because libraries and torch say some things once a process, and print past sys.stdout.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.set_warn_always(True)
    matplotlib.use("agg")
    if name == "tipsai":
        with overheard():
            spoke = [f"{f.severity} {f.code}" for f in findings(run.make(seed), epochs)]
        return send.send(spoke)
    logging.getLogger("tipsai").disabled = True  # in making a run, tipsai may speak; the library has not
    if not can_be_handed(run.make(seed)):
        return send.send(None)
    share, n_epochs = min(1.0, epochs or 1.0), max(1, math.floor(epochs or EPOCHS))
    with overheard() as heard:
        said = PEERS[name](lambda: taken_apart(run.make(seed), share), n_epochs)
    send.send([text for text in dict.fromkeys(map(remark, [*said, *heard])) if text])


def said_of(name: str, run: Run, epochs: float, seed: int) -> list[str] | None:
    """What a library says of a run; None where it cannot be handed over."""
    context = multiprocessing.get_context("fork")  # the imports are not made again
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=speak, args=(send, name, run, epochs, seed))
    process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        raise RuntimeError(f"{run.name!r} through {name} ended without an answer; look at it with --only.") from None
    finally:
        process.join()


def found(fault: Fault, spoke: list[str]) -> bool:
    """Whether tipsai found a fault: by its check, with at most one further warning."""
    others = [text for text in spoke if text.split()[1] not in fault.codes and not text.startswith("advice")]
    return len(others) <= 1 and any(text.split()[1] in fault.codes for text in spoke)


def cell(said: list[str] | None, width: int = 40) -> str:
    if said is None:
        return "-"
    text = said[0] if said else "no"
    return text if len(text) <= width else text[: width - 1] + "…"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    args = parser.parse_args()
    usual: dict[str, set[str]] = {name: set() for name in PEERS}
    for run in tqdm(HEALTHY, "healthy runs", disable=None):
        for name in PEERS:
            usual[name] |= set(said_of(name, run, HEALTHY_EPOCHS, args.seed) or ())
    rows, remarks = [], []
    n_found, n_spoke, n_handed = 0, dict.fromkeys(PEERS, 0), dict.fromkeys(PEERS, 0)
    faults = [fault for fault in FAULTS if args.only in fault.name]
    for fault in tqdm(faults, "faults", disable=None):
        ours = found(fault, said_of("tipsai", fault, fault.epochs, args.seed) or [])
        n_found += ours
        row = [fault.name, "yes" if ours else "no"]
        for name in PEERS:
            said = said_of(name, fault, fault.epochs, args.seed)
            new = said and [text for text in said if text not in usual[name]]
            n_handed[name] += said is not None
            n_spoke[name] += bool(new)
            row.append(cell(new))
            remarks += [f"{fault.name} | {name} | {text}" for text in new or ()]
        rows.append(row)
    print(table(rows, ["fault", "tipsai", *PEERS]))
    print("\nAll that was said, and of no healthy run:", *remarks, sep="\n")
    print("\nWhat was said of healthy runs, too, and does not count:")
    print(*(f"{name} | {text}" for name in PEERS for text in sorted(usual[name])), sep="\n")
    print(f"\ntipsai: found {n_found} of {len(faults)}")
    for name in PEERS:
        version = importlib.metadata.version(name)
        print(f"{name} {version}: spoke in {n_spoke[name]} of {n_handed[name]} that can be handed to it")
    print(f"torch {torch.__version__}, seed {args.seed}, {len(HEALTHY)} healthy runs for comparison")


if __name__ == "__main__":
    main()
