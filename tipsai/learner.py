"""The Learner: a model, its data and everything between them. A facade; what it does is done on the floors below."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from tipsai import artifact, container, embedding, fitting, losses, metrics, optim, plot, reporting, schedule
from tipsai.callbacks import Recorder, Scheduler
from tipsai.core import modes, rng
from tipsai.core.callback import Callback, bind
from tipsai.core.device import pick_device
from tipsai.core.errors import NonFiniteLossError, SettingError, require_positive
from tipsai.core.evaluate import Evaluator, features, predictions
from tipsai.core.interrupt import INTERRUPTED
from tipsai.core.state import Batch, ComputeLoss, Row, TrainState
from tipsai.core.step import Step, resolve_precision
from tipsai.data import show
from tipsai.data.dataloaders import DataLoaders, Feed
from tipsai.data.loaders import Loader
from tipsai.doctor import Check, Context, Doctor, Findings
from tipsai.doctor.check import tell
from tipsai.doctor.context import optimizer_of
from tipsai.fitting import Fit, FitOptions
from tipsai.interpret import Interpretation
from tipsai.lr_find import Suggestion, search
from tipsai.report import html
from tipsai.settings import Settings
from tipsai.summary import Summary, summarize
from tipsai.tta import averaged

log = logging.getLogger("tipsai")
TRAIN_SAMPLE = 10_000  # training rows on which train_loss is measured
JUDGED = 0.01  # of the items that were trained on: so many of a split are judged one by one afterwards
JUDGED_LEAST, JUDGED_MOST = 256, 2000
LONG = 10.0  # seconds of training after which the end checks speak unasked; they take a few hundredths of that


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a modality knows about fine-tuning a model that brings weights.

    Attributes:
        n_epochs: how many passes suit this much data.
        probe: fits a fresh last layer to what the frozen body sees, better than a phase of steps would.
        pretrained: whether the model brings weights at all.
    """

    n_epochs: int | None = None
    probe: "Callable[[Learner], None] | None" = None
    pretrained: bool = False


class Learner:
    """Trains a model on data.

    Args:
        dls: the data.
        model: a module, called as model(*batch.x). learn.model is this very module.
        loss_fn: a Loss, one of torch's, or a function of (pred, *targets) that averages over the batch; chosen from the
            targets by default.
        opt: "adamw", "adam", "muon", "sgd", or a function of parameter groups that returns a torch optimizer.
        lr: the peak rate, or a sequence with one for each layer group; None: the optimizer's base times a factor for
            the model's size (TR01).
        wd: weight decay; biases, norms and embeddings are spared.
        metrics: names, torchmetrics objects, or functions of the whole split's (predictions, targets).
        callbacks: for every fit.
        checks: further checks for the doctor.
        silent: codes of checks that the doctor leaves out, such as "imbalance".
        splitter: from the model to its layer groups, input first.
        compute_loss: from (model, batch) to the loss, as a mean or as (sum, weight); in place of loss_fn.
        output: from what the model returns to what the loss takes.
        device: "cpu", "cuda", ...; the best there is by default.
        precision: "auto", "fp32", "bf16" or "fp16".
        seed: fixes all randomness; None draws one and records it.

    Attributes:
        history: the figures of each epoch so far.
        recorder: objective, gradient norm, rate and momentum step by step.
        doctor: what it checks, leaves out, measured and found.
        fits: how each fit was asked for.
        settings: what is in force and why; explain() prints it.
        cycle: how fit_one_cycle goes by default.
    """

    cycle: schedule.Cycle | schedule.ByLength = schedule.Cycle()

    def __init__(
        self,
        dls: DataLoaders,
        model: nn.Module,
        *,
        loss_fn: Any = None,
        opt: optim.OptSpec = "adamw",
        lr: float | Sequence[float] | None = None,
        wd: float = 0.01,
        metrics: Iterable[Any] | str = (),
        callbacks: Sequence[Callback] = (),
        checks: Sequence[Check] = (),
        silent: Iterable[str] = (),
        splitter: optim.Splitter | None = None,
        compute_loss: ComputeLoss | None = None,
        output: Callable[[Any], Any] | None = None,
        device: str | torch.device | None = None,
        precision: str = "auto",
        seed: int | None = None,
    ) -> None:
        if not isinstance(dls, DataLoaders):
            raise SettingError(
                f"dls is a {type(dls).__name__}; expected DataLoaders, for instance DataLoaders.from_tensors((x, y), (x_valid, y_valid))."
            )
        if not isinstance(model, nn.Module):
            raise SettingError(f"model is {model!r}; expected an instance of torch.nn.Module.")
        if compute_loss is not None and loss_fn is not None:
            raise SettingError(
                "both loss_fn and compute_loss are given, and loss_fn would be ignored; give one of them."
            )
        self.device = pick_device(device)
        self.dls, self.model = dls, model.to(self.device)
        self.seed = rng.draw_seed() if seed is None else seed
        self.precision = resolve_precision(precision, self.device)
        self.opt_spec, self.wd, self.splitter = opt, wd, splitter
        self.compute_loss, self.output = compute_loss, output
        if isinstance(loss_fn, nn.Module):
            loss_fn.to(self.device)
        self.loss_fn = losses.as_loss(loss_fn) if loss_fn is not None else self._default_loss()
        self.metrics = _metrics(metrics, self.device)
        brought = dict.fromkeys(check for block in dls.blocks or () for check in block.checks)  # each once
        self.callbacks, self.doctor = list(callbacks), Doctor([*brought, *checks], silent)
        bind(self.callbacks)  # a misspelt event is an error now, not after an hour of preparation
        optim.recipe(opt)  # and so is an unknown name
        self.layer_groups = optim.layer_groups(model, splitter)
        self.opt: torch.optim.Optimizer | None = None
        self.recorder = Recorder()
        self.history: list[Row] = []
        self.n_fits = self.n_steps = self.n_batches = 0
        self.train_seconds = 0.0
        self.stop_reason = ""
        self.test_looks: dict[str, int] = {}
        self.tested: Row = {}
        self.fits: list[dict[str, Any]] = []
        self.builder: artifact.Builder | None = None
        self.transfer = Transfer()
        self.settings = Settings()
        self.lr = self._default_lr() if lr is None else lr
        optim.rates(self.lr, len(self.layer_groups))
        self._note_settings(lr, loss_fn, precision, seed)

    # --- training -----------------------------------------------------------------------------------------------

    def fit(
        self, n_epochs: float | None = None, lr: float | Sequence[float] | None = None, **options: Unpack[FitOptions]
    ) -> None:
        """Trains at a constant rate. See fitting.Fit for the other arguments."""
        self._fit(n_epochs, schedule.flat(), lr, **options)

    def fit_one_cycle(
        self,
        n_epochs: float | None = None,
        lr: float | Sequence[float] | None = None,
        *,
        pct_start: float | None = None,
        div: float = 25.0,
        div_final: float = 1e5,
        moms: schedule.Momentums | Literal["auto"] | None = "auto",
        **options: Unpack[FitOptions],
    ) -> None:
        """Trains with the 1cycle policy (TR07): the rate up to its peak and down again, momentum the other way round.

        Args:
            n_epochs: passes over the training data; a fraction ends within a pass. None: by the size of the data, where
                a modality has a rule for it (tables do).
            lr: the peak rate; a sequence gives one for each layer group.
            pct_start: the share of the steps in which the rate rises; by the learner's own `cycle` by default.
            div: peak over first rate.
            div_final: peak over last rate.
            moms: momentum (β1 for Adam) at the start, the peak and the end; "auto": by `cycle`; None leaves it alone.
            **options: see fitting.Fit.

        Raises:
            SettingError: an argument is out of range.
            NonFiniteLossError: the loss stopped being finite; the model is back at its last good weights.
        """
        n_epochs = self._length(n_epochs)
        usual = self.cycle.within(n_epochs)
        rise = usual.pct_start if pct_start is None else pct_start
        momentums = usual.moms if moms == "auto" else moms
        self._fit(n_epochs, schedule.one_cycle(rise, div, div_final, momentums), lr, **options)

    def fit_flat_cos(
        self,
        n_epochs: float | None = None,
        lr: float | Sequence[float] | None = None,
        *,
        pct_start: float = 0.75,
        div_final: float = 1e5,
        **options: Unpack[FitOptions],
    ) -> None:
        """Trains at a constant rate for pct_start of the steps, then lets it fall by cosine."""
        self._fit(n_epochs, schedule.flat_cos(pct_start, div_final), lr, **options)

    def fit_schedule(
        self,
        n_epochs: float,
        plan: schedule.Schedule,
        lr: float | Sequence[float] | None = None,
        **options: Unpack[FitOptions],
    ) -> None:
        """Trains with any schedule of tipsai.schedule."""
        self._fit(n_epochs, plan, lr, **options)

    def fine_tune(
        self,
        n_epochs: float | None = None,
        lr: float | None = None,
        *,
        freeze_epochs: float | None = None,
        lr_mult: float | None = None,
        **options: Unpack[FitOptions],
    ) -> None:
        """Trains the last layer group alone, then all of them, earlier ones at lower rates (AR03).

        Args:
            n_epochs: epochs with everything trained; None: by the size of the data, where a modality has a rule for it.
            lr: the peak rate of the first phase; the second peaks at half of it.
            freeze_epochs: epochs of the first phase. None: one, or none where a modality fits a fresh last layer to the
                frozen body's features at once (vision does).
            lr_mult: last group's rate over the first's, in the second phase; those between are spaced evenly by ratio.
                None: as in the Learner's own rates, or 100 where it has but one.
            **options: see fitting.Fit.

        Source: Howard and Ruder 1801.06146; the two phases and their figures are fast.ai's. Probing first: Kumar et al.
        2202.10054.
        """
        n = len(self.layer_groups)
        own = optim.rates(self.lr, n)
        peak = max(own) if lr is None else lr
        if n == 1:
            raise SettingError(
                "fine_tune needs layer groups, and the model has one. Give Learner(..., splitter=...), or use fit_one_cycle."
            )
        if lr_mult is None:
            lr_mult = own[-1] / own[0] if own[-1] != own[0] else 100.0
        if n_epochs is None:
            n_epochs = self.transfer.n_epochs
        if freeze_epochs is None and self.transfer.probe is not None and self.n_fits == 0:
            self.transfer.probe(self)
        else:
            self.freeze()
            self.fit_one_cycle(1 if freeze_epochs is None else freeze_epochs, peak, pct_start=0.99, **options)
            self.unfreeze()
        if self.stop_reason != INTERRUPTED:
            spread = [peak / 2 / lr_mult ** (1 - i / (n - 1)) for i in range(n)]
            self.fit_one_cycle(n_epochs, spread, pct_start=0.3, div=5.0, **options)

    def freeze_to(self, n: int) -> None:
        """Freezes the first n layer groups and trains the others; a negative n counts from the end."""
        n = n if n >= 0 else len(self.layer_groups) + n
        for i, group in enumerate(self.layer_groups):
            for p in group:
                p.requires_grad_(i >= n)

    def freeze(self) -> None:
        """Trains the last layer group only."""
        self.freeze_to(-1)

    def unfreeze(self) -> None:
        """Trains all layer groups."""
        self.freeze_to(0)

    def _length(self, n_epochs: float | None) -> float:
        """Passes over the data: those asked for, or by the data's own rule."""
        n_epochs = self.dls.n_epochs if n_epochs is None else n_epochs
        if n_epochs is None:
            raise SettingError(
                "n_epochs is not given, and this kind of data has no rule for it; say how many passes to make."
            )
        require_positive("n_epochs", n_epochs)
        return n_epochs

    def _fit(
        self,
        n_epochs: float | None,
        plan: schedule.Schedule,
        lr: float | Sequence[float] | None,
        **options: Unpack[FitOptions],
    ) -> None:
        n_epochs = self._length(n_epochs)
        fit = Fit(**options)
        peaks = optim.rates(self.lr if lr is None else lr, len(self.layer_groups))
        source = self.dls.feed("train", self.device)
        if self.opt is None or fit.reset_opt:
            self.opt = self._new_opt(peaks)
        steps_per_epoch = -(-len(source) // fit.accumulate)
        n_steps = max(1, round(n_epochs * steps_per_epoch))
        st = TrainState(
            model=self.model,
            opt=self.opt,
            loss_fn=self.loss_fn,
            device=self.device,
            seed=self.seed,
            n_epochs=-(-n_steps // steps_per_epoch),
            n_steps=n_steps,
            steps_per_epoch=steps_per_epoch,
            clip=fit.clip,
            first_epoch=len(self.history),
            first_step=self.n_steps,
            first_seconds=self.train_seconds,
            history=self.history,
        )
        scaler = torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None
        step = Step(self.precision, self.compute_loss, self.output, scaler)
        watch = self.doctor.watch(self._usual_lr() if self.builder is None else None) if fit.doctor else None
        callbacks = [
            self.recorder,
            Scheduler(plan, peaks),
            *self.callbacks,
            *fit.callbacks,
            *([watch] if watch else []),
        ]
        judge = self._epoch_figures if self.dls.valid is not None else dict
        config = self._config(plan, peaks, st) if fit.checkpoint is not None else {}
        asked = {"schedule": plan.name, "epochs": n_epochs, "steps": n_steps, "peak rate": max(peaks), "clip": fit.clip}
        self.fits.append(asked | {"accumulate": fit.accumulate, "final": fit.final})
        ended = False
        try:
            with self.dls.persistent_workers():
                done = fitting.run(fit, st, source, step, callbacks, judge, self.metrics, config, self.n_fits)
            ended = done and st.stop_reason != INTERRUPTED
        except NonFiniteLossError:
            self.opt = None  # its averages hold what is not finite
            if watch:
                self.doctor.find_non_finite(self._context(self.model), self.model, st.total_epoch)
            raise
        finally:
            self.doctor.discharge(watch, ended)
            self.history, self.stop_reason = st.history, st.stop_reason
            n_before, self.n_steps = self.n_steps, st.first_step + st.step
            self.n_batches += (self.n_steps - n_before) * fit.accumulate
            self.train_seconds = st.first_seconds + st.seconds
        if not done or st.stop_reason != INTERRUPTED:
            self.n_fits += 1
        if self.doctor.due and st.seconds > LONG:
            tell(self._judged())

    def _epoch_figures(self) -> Row:
        """The validation figures of an epoch of training, at its end."""
        return self.validate()

    def _new_opt(self, peaks: Sequence[float] | None = None) -> torch.optim.Optimizer:
        peaks = optim.rates(self.lr, len(self.layer_groups)) if peaks is None else peaks
        return optim.build(self.opt_spec, self.model, self.layer_groups, peaks, self.wd)

    def _config(self, plan: schedule.Schedule, peaks: Sequence[float], st: TrainState) -> dict[str, Any]:
        """What a run's numbers depend on, as plain data; fitting.run adds options and callbacks."""
        at = [i / 8 for i in range(9)]
        shapes = hashlib.blake2b(str([list(p.shape) for p in self.model.parameters()]).encode(), digest_size=6)
        return {
            "n_steps": st.n_steps,
            "steps_per_epoch": st.steps_per_epoch,
            "n_items": self.dls.train.n_items if self.dls.train else 0,
            "bs": self.dls.bs,
            "data": artifact.data_fingerprint(self.dls.train),
            "opt": self.opt_spec if isinstance(self.opt_spec, str) else getattr(self.opt_spec, "__name__", "function"),
            "lr": list(peaks),
            "wd": self.wd,
            "schedule": [plan.name, *(round(plan.lr(p), 12) for p in at)],
            "momentum": [round(plan.momentum(p), 12) for p in at] if plan.momentum else None,
            "precision": self.precision,
            "seed": self.seed,
            "loss_fn": fitting.describe(self.loss_fn),
            "model": f"{type(self.model).__name__} of {optim.n_parameters(self.model):,} parameters ({shapes.hexdigest()})",
            "trained": [all(p.requires_grad for p in g) for g in self.layer_groups],
        }

    def lr_find(self, start: float = 1e-7, end: float = 10.0, n_steps: int = 100, accumulate: int = 1) -> Suggestion:
        """Tries rates from low to high and suggests some; .plot() shows them. Leaves everything as it was (TR01).

        See tipsai.lr_find.search for the arguments and the method.
        """
        source = self.dls.feed("train", self.device)
        opt = self._new_opt() if self.opt is None else self.opt
        st = TrainState(self.model, opt, self.loss_fn, self.device, self.seed, 1, n_steps, n_steps)
        return search(st, source, Step(self.precision, self.compute_loss, self.output), start, end, n_steps, accumulate)

    # --- evaluation and prediction ------------------------------------------------------------------------------

    @property
    def evaluator(self) -> Evaluator:
        """How this learner judges a split: loss, metrics, the target's units, precision."""
        units = self.dls.blocks[1].units if self.dls.blocks else None
        return Evaluator(self.loss_fn, self.metrics, self.output, self.compute_loss, units, self.precision)

    def validate(self, *, tta: bool = False) -> Row:
        """{"valid_loss": ..., "valid_<metric>": ...} over the validation split.

        Args:
            tta: average over several views of each item (test-time augmentation), where the data have any.
        """
        return self._judge("valid", self.dls.feed("valid", self.device).loader, tta)

    def test(self, *, tta: bool = False) -> Row:
        """{"test_loss": ..., "test_<metric>": ...}; each look at a test set is counted (DA14). For tta see validate."""
        self.tested = self._judge("test", self._open_test(), tta)
        return self.tested

    def _open_test(self) -> Loader:
        """The test data; the look is counted."""
        loader = self.dls.feed("test", self.device).loader
        fingerprint = artifact.data_fingerprint(self.dls.test)
        self.test_looks[fingerprint] = looks = self.test_looks.get(fingerprint, 0) + 1
        self.doctor.open_test()
        if looks > 1:
            log.warning(
                "this is look %d at the same test data; choosing by it makes its figures too good (DA14)", looks
            )
        return loader

    def _judge(self, split: str, loader: Loader, tta: bool) -> Row:
        model, batches = self._seen(loader, tta)
        row = self.evaluator(model, batches, self.device)
        return {f"{split}_{name}": value for name, value in (row | self.dls.derived(split, row["loss"])).items()}

    def _seen(self, loader: Loader, tta: bool) -> tuple[nn.Module, Iterator[Batch]]:
        """A loader's batches as evaluation sees them, and the model that they are for."""
        model, tfms = averaged(self.dls, self.model) if tta else (self.model, self.dls.batch_tfms)
        return model, Feed(loader, self.device, tfms).batches()

    def results(self) -> Row:
        """The figures of the run so far: the keys of metrics.json, without the test's."""
        found: Row = {}
        if self.dls.train is not None:
            sample = self.dls.as_evaluated(self.dls.train.sample(TRAIN_SAMPLE, self.seed), self.device)
            found["train_loss"] = self.evaluator(self.model, sample, self.device)["loss"]
        if self.history:
            found["train_objective"] = self.history[-1]["train_objective"]
        if self.dls.valid is not None:
            found |= self.validate()
        found |= self.dls.throughput(self.n_batches, self.train_seconds)
        return found | {
            "train_seconds": round(self.train_seconds, 3),
            "n_parameters": optim.n_parameters(self.model),
            "n_epochs": len(self.history),
            "n_steps": self.n_steps,
        }

    def iter_preds(
        self, data: Loader | None = None, *, tta: bool = False
    ) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
        """(predictions, targets) a batch at a time, for what does not fit in memory; of the validation split by default."""
        model, batches = self._seen(self.dls.feed("valid", self.device).loader if data is None else data, tta)
        return predictions(model, batches, self.output)

    def get_preds(self, data: Loader | None = None, *, tta: bool = False) -> tuple[Tensor, Tensor | None]:
        """What the model returns for a loader (validation by default), and its targets.

        Args:
            data: such as dls.test_dl(items).
            tta: average over several views of each item, where the data have any.

        Returns:
            predictions [n, ...] on the CPU in fp32, before softmax or units; targets [n, ...], None where there are none.
        """
        preds: list[Tensor] = []
        targets: list[Tensor] = []
        for pred, y in self.iter_preds(data, tta=tta):
            preds.append(pred)
            targets.extend(y[:1])
        return torch.cat(preds), torch.cat(targets) if targets else None

    def predict(self, items: Any, *, tta: bool = False) -> Any:
        """Predictions for new items, as a person reads them.

        A table gives a DataFrame with the rows' index and the columns prediction and, for classes, p_<class>; raw
        tensors give what the model returns.
        """
        loader = self.dls.test_dl(items)
        pred, _ = self.get_preds(loader, tta=tta)
        if self.dls.blocks is None:
            return pred
        return self.dls.present(items, loader, self.dls.blocks[1].predictions(pred))

    # --- looking ------------------------------------------------------------------------------------------------

    @property
    def findings(self) -> Findings:
        """What was found wrong so far: with the data when they were read, and by checks. The gravest come first.

        What a trained model shows is looked at when it is asked for, or at the end of a longer training.
        """
        if self.doctor.due:
            self._judged()
        return Findings([*self.dls.findings, *self.doctor.found], measured=self.doctor.measured)

    def check(self, *, thorough: bool = False, silent: Iterable[str] = (), progress: bool = True) -> Findings:
        """Looks at data and model before training; prints as a table. Model, optimizer, order and randomness stay as they are.

        Args:
            thorough: also train copies for half a minute each: without inputs, and from scratch where the model is
                pre-trained; and compare validation and test as the model sees them.
            silent: codes of checks to leave out, besides the learner's own.
            progress: show a bar on standard error once it takes longer than two seconds.
        """
        stages = ("data", "start", *(["thorough"] if thorough else []))
        ctx = self._context(modes.copied(self.model))
        found = self.doctor.look(ctx, self.model, *stages, silent=silent, progress=progress)
        return Findings([*self.dls.findings, *found], found.failed, found.measured)

    def _judged(self) -> Findings:
        """What the trained model shows."""
        n = min(JUDGED_MOST, max(JUDGED_LEAST, round(JUDGED * self.n_batches * self.dls.bs)))
        return self.doctor.judge(self._context(self.model, n_judged=n), self.model)

    def _context(self, model: nn.Module, **more: Any) -> Context:
        """What checks may look at."""

        def make(model: nn.Module, groups: list[list[nn.Parameter]]) -> torch.optim.Optimizer:
            return optim.build(self.opt_spec, model, groups, optim.rates(self.lr, len(groups)), self.wd)

        held = {p for group in (self.opt or self._new_opt()).param_groups for p in group["params"]}
        return Context(
            model=model,
            dls=self.dls,
            loss_fn=self.loss_fn,
            device=self.device,
            seed=self.seed,
            output=self.output,
            compute_loss=self.compute_loss,
            optimize=optimizer_of(self.model, self.layer_groups, make),
            optimized=frozenset(name for name, p in self.model.named_parameters() if p in held),
            metrics=tuple(self.metrics),
            units=self.evaluator.units,
            precision=self.precision,
            history=self.history,
            pretrained=self.transfer.pretrained,
            n_steps=self.n_steps,
            test_looks=self.test_looks,
            test_open=self.doctor.test_open,
            **more,
        )

    def interpret(self, split: str = "valid", *, tta: bool = False, open_test: bool = False) -> Interpretation:
        """What the model makes of a split, item by item: mistakes, doubts, suspected label errors, weak slices (DA01).

        Args:
            split: "valid", or "train", without augmentation.
            tta: see validate.
            open_test: with split="test", to look at test data all the same; the look is counted (DA14).
        """
        if split == "test" and not open_test:
            raise SettingError(
                "split is 'test'; whoever looks at test items tunes on them (DA14). Use 'valid', or open_test=True."
            )
        loader = (self._open_test() if split == "test" else self.dls.feed(split, self.device).loader).plain()
        model, batches = self._seen(loader, tta)
        return Interpretation(self.dls, split, loader, model, self.output).look(self.evaluator, batches, self.device)

    def show_results(self, n: int = 9) -> Any:
        """Some validation items, always the same, with targets and predictions: a figure, or a DataFrame of rows."""
        return show.show_results(self.dls, self.model, self.output, self.device, n)

    def plot_embedding(self, split: str = "valid", n: int = 2000) -> Any:
        """A sample of n items as the model sees them before its last linear layer, in two dimensions, coloured by target (MO08).

        Classes that lie apart are told apart with ease; what lies within another's cloud is worth a look.
        """
        if split == "test":
            raise SettingError("split is 'test'; whoever looks at test items tunes on them (DA14). Use 'valid'.")
        sample = self.dls.as_evaluated(self.dls.feed(split, self.device).loader.sample(n, self.seed), self.device)
        found, targets = features(self.model, sample, n)
        names = self.dls.blocks[1].outputs if self.dls.blocks else ()
        return embedding.drawn(found, targets, names, f"{len(found):,} {split} items before the last layer")

    def explain(self) -> None:
        """Prints every setting in force, whether it is the default, and where the default comes from."""
        print(self.settings)

    def summary(self) -> Summary:
        """The model's layers, output shapes, parameters and memory, for one batch of this data."""
        return summarize(self.model, next(self.dls.feed("train", self.device).batches(seed=self.seed)))

    def report(
        self,
        path: str | Path = "report.html",
        *,
        title: str = "Training report",
        figures: Row | None = None,
        command: str | None = None,
    ) -> Path:
        """One page on the run, which needs no network: verdict, findings, curves, worst examples, how to reproduce.

        Nothing of it opens the test data; the figures of learn.test() stand in it if that was called.

        Args:
            path: of the page.
            title: of the page.
            figures: of the run, where they are known already; results() by default.
            command: that started the run; by default that of this process.

        Raises:
            OutputError: the file cannot be written.
        """
        page = html(
            reporting.gather(
                title=title,
                subtitle=reporting.subtitle(self.model, self.dls),
                findings=self.findings,
                looked=self.doctor.looked,
                values=(self.results() if figures is None else figures) | self.tested,
                history=self.history,
                recorder=self.recorder,
                record=self.doctor.record,
                interpret=None if self.dls.valid is None else self.interpret,
                measured=self.doctor.measured,
                held=self.settings,
                fits=self.fits,
                reproduce=reporting.facts(
                    self.seed, self.device, self.precision, artifact.data_fingerprint(self.dls.train)
                ),
                started=command,
            )
        )
        with container.writing(path) as file:
            file.write(page.encode())
        return Path(path)

    def plot_history(self) -> Any:
        """The loss step by step and the figures epoch by epoch, as a matplotlib figure."""
        return plot.history(self.recorder.losses, self.history)

    # --- saving -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Weights, optimizer state and history, for load() into a learner made alike."""
        artifact.save(path, self.model, self.opt, self.history)

    def load(self, path: str | Path) -> None:
        """Takes over what save wrote."""
        opt = self._new_opt() if self.opt is None else self.opt
        self.opt, self.history = artifact.load(path, self.model, opt)

    def export(self, path: str | Path) -> None:
        """Everything that prediction needs, in one file; load_learner reads it.

        Raises:
            OutputError: the file cannot be written.
        """
        looks = {
            "test_looks": self.test_looks,
            "seed": self.seed,
            "history": self.history,
            "data": artifact.data_fingerprint(self.dls.train),
        }
        names = [name for name in self.metrics if name in metrics.METRICS]
        artifact.export(path, self.model, self.builder, self.dls.blocks, looks | {"metrics": names})

    # --- how it was put together --------------------------------------------------------------------------------

    def _default_loss(self) -> Any:
        if self.compute_loss is not None:
            return losses.FunctionLoss(lambda *args: args[0])  # never called: compute_loss takes its place
        if self.dls.blocks is not None:
            return self.dls.blocks[1].default_loss()
        return losses.default_loss(self.dls.one_batch().y[0])

    def _default_lr(self) -> float:
        recipe = optim.recipe(self.opt_spec)
        n = optim.n_parameters(self.model)
        if recipe is None:
            made = optim.build(self.opt_spec, self.model, self.layer_groups, [1e-3] * len(self.layer_groups), self.wd)
            base = float(made.defaults["lr"])
            self.settings.note("lr (base)", base, base, "the optimizer's own default")
            return base
        lr, factor, ratio = optim.default_lr(recipe, n, self.dls.bs, self.dls.base_bs)
        self.settings.note("lr (base)", recipe.base_lr, recipe.base_lr, recipe.source)
        self.settings.note("lr factor for size", factor, factor, f"TR01, {n:,} parameters")
        if ratio != 1.0:
            told = f"TR06, {recipe.scale_rule}: bs {self.dls.bs} against {self.dls.base_bs}"
            self.settings.note("lr factor for bs", ratio, 1.0, told)
        return lr

    def _usual_lr(self) -> float | None:
        """The rate that a named optimizer takes by default; of others none is known."""
        recipe, n = optim.recipe(self.opt_spec), optim.n_parameters(self.model)
        return None if recipe is None else optim.default_lr(recipe, n, self.dls.bs, self.dls.base_bs)[0]

    def _note_settings(self, lr: Any, loss_fn: Any, precision: str, seed: int | None) -> None:
        note = self.settings.note
        default = "base times factors" if lr is not None else self.lr
        note("lr", self.lr, default, "TR01; the peak of the schedule")
        name = type(self.loss_fn).__name__
        note("loss_fn", name, name if loss_fn is None else "from the targets", "chosen from the targets")
        note("opt", self.opt_spec, "adamw", "TR11")
        note("wd", self.wd, 0.01, "TR11; not on biases, norms, embeddings")
        note("precision", self.precision, self.precision if precision == "auto" else "auto", "TR04")
        cycle = schedule.in_words(self.cycle)
        note("schedule", cycle, cycle, "TR07")
        note("clip", 1.0, 1.0, "TR12; global norm")
        note("bs", self.dls.bs, self.dls.base_bs or self.dls.bs, "TR06")
        note("seed", self.seed, self.seed if seed is None else "drawn", "TR17")
        note("device", str(self.device), str(pick_device(None)), "the best there is")


def _metrics(given: Iterable[Any] | str, device: torch.device) -> dict[str, Any]:
    named = metrics.as_metrics(given)
    return {name: m.to(device) if hasattr(m, "to") else m for name, m in named.items()}
