"""What checks may look at: a copy of the model, the data, and how the run puts them together."""

import contextlib
import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tipsai.core import modes
from tipsai.core.evaluate import evaluating, predict_batch
from tipsai.core.state import Batch, ComputeLoss, Loss, Row
from tipsai.data.dataloaders import DataLoaders, Feed
from tipsai.data.loaders import ForeignLoader, Loader
from tipsai.losses import CrossEntropy

SAMPLE = 2000  # items of a split that checks look at
SAMPLE_BYTES = 1 << 27  # at most
SAMPLE_SECONDS = 2.0  # of reading; what has come by then is the sample
ROWS, FEWEST = 128, 32  # of a batch that is sent through the model
LARGE = 1 << 21  # numbers in its inputs: of larger items fewer are sent
AMONG = 8  # batches among which one is looked for that says something


@dataclass(slots=True)
class Context:
    """One run, as the doctor sees it. Nothing here is the run's own but the data, which are read only.

    Attributes:
        model: a copy. A check puts back what it changes, or works on fresh().
        dls: the data.
        loss_fn: the loss.
        device: of the model.
        seed: of the run.
        output: from what the model returns to what the loss takes.
        compute_loss: takes the place of model, output and loss.
        optimize: from a copy of the model to an optimizer, as the run would make it.
        optimized: names of the parameters that the run's optimizer has.
        metrics: names of the metrics.
        units: maps predictions and targets into the target's own units.
        precision: of the forward pass.
        history: the figures of the epochs so far.
        pretrained: whether the model brought weights from elsewhere.
        n_judged: items of a split that are judged one by one.
        test_open: whether the test's targets may be looked at.
        n_steps: optimizer steps done so far.
        test_looks: how often each test set was opened.
    """

    model: nn.Module
    dls: DataLoaders
    loss_fn: Loss
    device: torch.device
    seed: int = 0
    output: Callable[[Any], Any] | None = None
    compute_loss: ComputeLoss | None = None
    optimize: Callable[[nn.Module], Optimizer] = lambda model: torch.optim.AdamW(model.parameters(), 1e-3)
    optimized: frozenset[str] = frozenset()
    metrics: tuple[str, ...] = ()
    units: Callable[[Tensor], Tensor] | None = None
    precision: str = "fp32"
    history: Sequence[Row] = ()
    pretrained: bool = False
    n_judged: int = SAMPLE
    test_open: bool = False
    n_steps: int = 0
    test_looks: Mapping[str, int] = field(default_factory=dict)
    kept: dict[Any, Any] = field(default_factory=dict)  # what was read once

    def fresh(self) -> nn.Module:
        """A copy of the model that may be trained."""
        return modes.copied(self.model)

    @property
    def plain_loss(self) -> Loss:
        """The loss of one prediction, where several members' are averaged in training."""
        return getattr(self.loss_fn, "base", self.loss_fn)

    def loader(self, split: str) -> Loader | None:
        found: Loader | None = getattr(self.dls, split)
        return found

    def fed(self, split: str, epoch: int = 0) -> Iterator[Batch]:
        """An epoch's batches as the run gets them: on the device, training augmented."""
        loader = self.loader(split)
        assert loader is not None
        feed = Feed(loader, self.device, self.dls.batch_tfms, training=split == "train")
        return feed.batches(seed=self.seed, epoch=epoch)

    def batch(self, split: str = "train") -> Batch | None:
        """The first rows of an epoch that say something, as the run gets them; None without that split."""
        if self.loader(split) is None:
            return None
        if split not in self.kept:
            batches = itertools.islice(self.fed(split), AMONG)
            first = next(batches)
            if _constant(first):  # perhaps empty texts, where those of one length come together
                first = next((batch for batch in batches if not _constant(batch)), first)
            numbers = sum(t[:1].numel() for t in first.x)
            self.kept[split] = rows(first, min(ROWS, max(FEWEST, LARGE // max(1, numbers))))
        return self.kept[split]  # type: ignore[no-any-return]

    def sample(self, split: str) -> Batch | None:
        """Some items, always the same, as evaluation sees them: on the CPU, without augmentation; None without that split."""
        loader = self.loader(split)
        if loader is None:
            return None
        if ("sample", split) not in self.kept:
            parts, size, began = list[Batch](), 0, time.perf_counter()
            for batch in self.dls.as_evaluated(loader.sample(SAMPLE, self.seed), self.device):
                y = batch.y if split != "test" or self.test_open else ()  # they stay closed till learn.test (DA14)
                parts.append(Batch(batch.x, y).to(torch.device("cpu")))
                size += sum(t.nbytes for t in (*batch.x, *batch.y))
                if size > SAMPLE_BYTES or time.perf_counter() - began > SAMPLE_SECONDS:
                    break
            self.kept["sample", split] = joined(parts)
        return self.kept["sample", split]  # type: ignore[no-any-return]

    def pred(self, model: nn.Module, batch: Batch) -> Tensor | None:
        """What the loss would take; None where the run computes it in its own way, or it is no tensor."""
        if self.compute_loss is not None:
            return None
        found = predict_batch(model, batch, self.output)
        return found if isinstance(found, Tensor) else None

    def said(self) -> tuple[Tensor, Tensor] | None:
        """(predictions in fp32, targets) of batch() in evaluation mode; None where pred gives none, or there are no targets."""
        if "said" not in self.kept:
            batch = self.batch()
            with evaluating(self.model):
                pred = self.pred(self.model, batch) if batch is not None and batch.y else None
            self.kept["said"] = None if pred is None or batch is None else (pred.float(), batch.y[0])
        return self.kept["said"]  # type: ignore[no-any-return]

    def pull(self, pred: Tensor, y: Tensor) -> Tensor | None:
        """The way in which the loss wants predictions to go, of their shape: minus its gradient; None where it has none."""
        pred = pred.detach().clone().requires_grad_()
        total, weight = self.loss_fn.sums(pred, y)
        loss = total / weight
        (gradient,) = torch.autograd.grad(loss, pred, allow_unused=True) if loss.requires_grad else (None,)
        return None if gradient is None else -gradient

    def tokens(self) -> Tensor | None:
        """The sample's tokens, int64 [n, t], where all that the model takes are tokens of one vocabulary; else None."""
        if "tokens" not in self.kept:
            batch, sample = self.batch(), self.sample("train")
            self.kept["tokens"] = sample.x[0] if batch and sample and _embeds_all(self.model, batch) else None
        return self.kept["tokens"]  # type: ignore[no-any-return]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The mean over the batch of what is optimised."""
        total, weight = self.loss_sums(model, batch)
        return total / weight

    def loss_sums(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | float]:
        """What is optimised, as (sum, weight) over the batch."""
        if self.compute_loss is not None:
            result = self.compute_loss(model, batch)
            return result if isinstance(result, tuple) else (result, 1.0)
        return self.loss_fn.sums(predict_batch(model, batch, self.output), *batch.y)


def _embeds_all(model: nn.Module, batch: Batch) -> bool:
    """Whether one embedding takes all of a batch's only input: its columns are places of a text, and no columns of a table."""
    if len(batch.x) != 1 or batch.x[0].is_floating_point() or batch.x[0].ndim != 2 or batch.x[0].shape[1] < 2:
        return False
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)]
    sizes: list[int] = []
    with before_forward(embeddings, lambda module, args: sizes.append(args[0].numel())), evaluating(model):
        model(*batch.x)
    return batch.x[0].numel() in sizes


@contextlib.contextmanager
def before_forward(modules: Iterable[nn.Module], look: Callable[[nn.Module, tuple[Any, ...]], Any]) -> Iterator[None]:
    """Meanwhile `look` sees each module and its positional arguments before it is called, and may return others."""
    hooks = [module.register_forward_pre_hook(look) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def own_orders_kept(dls: DataLoaders) -> Iterator[None]:
    """Afterwards torch loaders with a generator of their own go on as if they had not been read."""
    loaders = [part.loader for part in (dls.train, dls.valid, dls.test) if isinstance(part, ForeignLoader)]
    places = [*loaders, *(getattr(loader, "sampler", None) for loader in loaders)]
    found = [getattr(place, "generator", None) for place in places]
    states = {id(g): (g, g.get_state()) for g in found if isinstance(g, torch.Generator)}
    try:
        yield
    finally:
        for generator, state in states.values():
            generator.set_state(state)


def optimizer_of(
    model: nn.Module,
    groups: Sequence[Sequence[nn.Parameter]],
    make: Callable[[nn.Module, list[list[nn.Parameter]]], Optimizer],
) -> Callable[[nn.Module], Optimizer]:
    """From a copy of the model to an optimizer of the copy's parameters, in the model's own groups.

    Args:
        model: the original.
        groups: its parameters by layer group.
        make: builds an optimizer from a model and its groups.
    """
    names = {p: name for name, p in model.named_parameters()}
    named = [[names[p] for p in group if p in names] for group in groups]

    def optimize(other: nn.Module) -> Optimizer:
        by_name = dict(other.named_parameters())
        opt = make(other, [[by_name[name] for name in group] for group in named])
        own = set(by_name.values())
        if all(p in own for group in opt.param_groups for p in group["params"]):
            return opt
        # The optimizer is a function's that holds on to the original's parameters.
        return torch.optim.AdamW(other.parameters(), opt.param_groups[0]["lr"])

    return optimize


def rows(batch: Batch, n: int) -> Batch:
    """The first n rows."""
    return Batch(tuple(t[:n] for t in batch.x), tuple(t[:n] for t in batch.y))


def _constant(batch: Batch) -> bool:
    """Whether one of the inputs holds one value throughout."""
    return any(bool((t == t.flatten()[:1]).all()) for t in batch.x)


def columns(ctx: Context, x: Sequence[Tensor], most: int = 2000) -> dict[str, Tensor]:
    """The columns of a table's inputs, [n] each, by name; see column_names. The places of a text are none."""
    if ctx.tokens() is not None:
        return {}
    names = column_names(ctx, len(x))
    tables = [(i, t[:, None] if t.ndim == 1 else t) for i, t in enumerate(x) if t.ndim <= 2 and t[0].numel() <= most]
    return {names(i, j): column for i, t in tables for j, column in enumerate(t.T)}


def column_names(ctx: Context, n_inputs: int) -> Callable[[int, int], str]:
    """What column j of input i is called: by the person where that is known, else by its number, or "input:number"."""
    known: dict[tuple[int, int], str] = {}
    for name, parts in (ctx.dls.blocks[0].column_parts() if ctx.dls.blocks else {}).items():
        for k, (i, at) in enumerate(parts):
            for j in range(at.start, at.stop):
                part = f" (part {j - at.start + 1})" if at.stop - at.start > 1 else ""
                known[i, j] = f"{name}{part}" if k == 0 else f"{name}{part}, input {i}"
    return lambda i, j: known.get((i, j), f"{i}:{j}" if n_inputs > 1 else str(j))


def digests(fields: Sequence[Tensor]) -> list[bytes]:
    """A digest of each row of tensors that share their first dimension."""
    raw = [t.detach().cpu().reshape(len(t), -1) for t in fields if t.numel()]
    arrays = [(t.float() if t.dtype == torch.bfloat16 else t).numpy() for t in raw]
    return [
        hashlib.blake2b(b"".join(a[i].tobytes() for a in arrays), digest_size=12).digest()
        for i in range(len(fields[0]))
    ]


def joined(parts: list[Batch]) -> Batch:
    """Batches one after the other; those whose rows have another shape than the first batch's are left out."""
    first = parts[0]
    shape = [t.shape[1:] for t in (*first.x, *first.y)]
    same = [part for part in parts if [t.shape[1:] for t in (*part.x, *part.y)] == shape]
    return Batch(
        tuple(torch.cat(fields) for fields in zip(*(part.x for part in same), strict=True)),
        tuple(torch.cat(fields) for fields in zip(*(part.y for part in same), strict=True)),
    )


def class_axis(loss: Loss, pred: Tensor, y: Tensor) -> int | None:
    """The axis of the classes in predictions; None where the targets are no class numbers, or of another shape."""
    if y.dtype == torch.bool or not pred.is_floating_point():
        return None
    if y.is_floating_point():
        return 1 if isinstance(loss, CrossEntropy) and pred.shape == y.shape else None
    if pred.ndim == y.ndim + 1 and pred.shape[:1] + pred.shape[2:] == y.shape:
        return 1
    return pred.ndim - 1 if pred.ndim == y.ndim + 1 and pred.shape[:-1] == y.shape else None
