"""Interpretation: what a model gets wrong, most confidently wrong, and least certain (DA01).

One pass over a split keeps a few numbers an item, whatever the number of classes.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tipsai.core import rng
from tipsai.core.errors import DataError, SettingError, listing
from tipsai.core.evaluate import Evaluator, evaluating, predict_batch
from tipsai.core.state import Batch
from tipsai.core.step import autocast
from tipsai.data import show
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.itemwise import item_losses, kind_of, measure, shares
from tipsai.data.loaders import EVAL_ROWS, ForeignLoader, Loader
from tipsai.interpret import calibration, confusion, importance, slices
from tipsai.interpret.columns import column_of, columns_of, parts_of
from tipsai.interpret.confusion import Pairs
from tipsai.interpret.figures import captions

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = 12  # classes and pairs in a summary


class Interpretation:
    """What a model makes of a split, item by item. Made by learn.interpret().

    Attributes:
        kind: "classes", "labels" (several at once), "numbers", "masks", or "others", of which the losses alone are known.
        names: of the classes, labels or numbers.
        items: what is known of each item, float32, int32 or bool [n] each, by name.
        sums: what is known of all items together.
    """

    def __init__(self, dls: DataLoaders, split: str, loader: Loader, model: nn.Module, output: Any) -> None:
        self.dls, self.split, self.loader, self.model, self.output = dls, split, loader, model, output
        self.kind, self.names = "others", list[Any]()
        self.items: dict[str, Tensor] = {}
        self.sums: dict[str, Tensor] = {}

    def look(self, evaluator: Evaluator, batches: Iterable[Batch], device: torch.device) -> "Interpretation":
        """The pass over the split; the batches are on the device.

        Raises:
            SettingError: the learner computes the loss of a batch in its own way, or the model returns no tensor.
            DataError: the items have no targets.
        """
        loss, block = evaluator.loss_fn, self.dls.blocks[1] if self.dls.blocks else None
        self.evaluator, self.device = evaluator, device
        if evaluator.compute_loss is not None:
            if block is None:
                raise SettingError(
                    "compute_loss gives the loss of a batch, not of an item; give Learner loss_fn instead."
                )
            loss = block.default_loss()
        self.loss_fn = loss
        kept: dict[str, list[Tensor]] = {}
        with evaluating(self.model), autocast(evaluator.precision, device):
            for batch in batches:
                if not batch.y:
                    raise DataError(f"the {self.split} items have no targets, so nothing can be said about mistakes.")
                pred, batch = self._predicted(batch)
                if not kept:
                    self.kind = kind_of(loss, pred, batch.y[0])
                items, sums = measure(self.kind, loss, pred, batch.y)
                for name, values in items.items():
                    kept.setdefault(name, []).append(values)
                for name, value in sums.items():
                    exact = value.cpu().to(torch.float64 if value.is_floating_point() else torch.int64)
                    self.sums[name] = self.sums[name] + exact if name in self.sums else exact
        if not kept:
            raise DataError(f"the {self.split} split has no items.")
        self.items = {name: torch.cat(parts).cpu() for name, parts in kept.items()}
        self.names = self._names(list(block.outputs) if block is not None else [], pred)
        return self

    def _predicted(self, batch: Batch) -> tuple[Tensor, Batch]:
        """What the model says of a batch, in fp32, and the batch; both in the targets' own units."""
        pred = predict_batch(self.model, batch, self.output)
        if not isinstance(pred, Tensor):
            raise SettingError(
                f"the model returns a {type(pred).__name__}; expected a tensor. Give Learner(..., output=lambda o: ...)."
            )
        return self.evaluator.in_units(pred.float(), batch)

    def _names(self, known: list[Any], pred: Tensor) -> list[Any]:
        n = pred.shape[1] if pred.ndim > 1 else 1
        if self.kind == "classes" and n == 1:
            return [f"not {known[0]}", known[0]] if known else [False, True]
        return known if len(known) == n else list(range(n))

    def __len__(self) -> int:
        return len(self.items["loss"])

    # --- items ----------------------------------------------------------------------------------------------------

    def top_losses(self, n: int = 9) -> "pd.DataFrame":
        """The n items with the largest losses; of numbers, the loss is in the target's units."""
        return self._frame(self._order("loss")[:n])

    def most_wrong(self, n: int = 9, positive: Any = None) -> "pd.DataFrame":
        """The misses and the false alarms of one class, each most confident first.

        Args:
            n: of each.
            positive: the class; of two the second by default.
        """
        self._need("most_wrong", "classes")
        if positive is None and len(self.names) > 2:
            raise SettingError(f"there are {len(self.names)} classes; say positive=, one of {listing(self.names)}.")
        if positive is not None and positive not in self.names:
            raise SettingError(f"there is no class {positive!r}; expected one of {listing(self.names)}.")
        code = 1 if positive is None else self.names.index(positive)
        target, said = self.items["target"], self.items["prediction"]
        missed = self._order("target_probability", False, (target == code) & (said != code))[:n]
        alarms = self._order("probability", True, (target >= 0) & (target != code) & (said == code))[:n]
        name = self.names[code]
        what = {"mistake": [f"missed {name}"] * len(missed) + [f"false {name}"] * len(alarms)}
        return self._frame(torch.cat([missed, alarms]), what)

    def least_certain(self, n: int = 9) -> "pd.DataFrame":
        """The n items nearest to undecided: of classes the two most probable ones are closest, of labels one is near 1/2."""
        self._need("least_certain", "classes", "labels")
        index = self._order("margin", False)[:n]
        return self._frame(index, {"margin": self.items["margin"][index].tolist()})

    def label_errors(self, n: int = 9) -> "pd.DataFrame":
        """Items whose target is suspected to be wrong, the most suspected first.

        A target is suspected if the model says another class with at least the mean probability that this class gets on
        items labelled so. They are ranked by the probability of the given target, the least first. Look at held-out items:
        of those that it was trained on a model may have learned the wrong labels by heart.

        Source: Northcutt et al. 1911.00068, self-confidence and class thresholds, with the most probable class alone.
        """
        index = self._suspects()[:n]
        return self._frame(index).rename(columns={"prediction": "suggestion"})

    def _suspects(self) -> Tensor:
        self._need("label_errors", "classes")
        target, said, of_target = (self.items[name] for name in ("target", "prediction", "target_probability"))
        known, n = target >= 0, len(self.names)
        sums = torch.bincount(target[known], of_target[known].double(), minlength=n)
        usual = sums / torch.bincount(
            target[known], minlength=n
        )  # NaN where there is no such target: none is suspected
        sure = self.items["probability"].double() >= usual[said.long()]
        return self._order("target_probability", False, known & (said != target) & sure)

    def lowest_iou(self, n: int = 9) -> "pd.DataFrame":
        """The n pictures whose masks fit worst, by the mean IoU of the classes that occur in each."""
        self._need("lowest_iou", "masks")
        return self._frame(self._order("iou", False)[:n])

    def _order(self, name: str, descending: bool = True, among: Tensor | None = None) -> Tensor:
        """Positions by a figure; of equal ones the first comes first. What is not a number counts as infinite."""
        index = torch.arange(len(self)) if among is None else among.nonzero()[:, 0]
        return index[self.items[name][index].sort(stable=True, descending=descending).indices]

    def _frame(self, index: Tensor, more: dict[str, Any] | None = None) -> "pd.DataFrame":
        columns: dict[str, Any] = {"position": index.tolist()}
        paths = self.dls.items.get(self.split, ())
        if len(paths) == len(self) and isinstance(paths[0], str | Path):
            columns[self.dls.item_column] = [str(paths[i]) for i in index.tolist()]
        columns |= (more or {}) | self._told(index) | {"loss": self.items["loss"][index].tolist()}
        blocks, rows = self.dls.blocks, dict[str, Any]()
        if blocks and len(index) and not blocks[0].draws and not isinstance(self.loader, ForeignLoader):
            rows = blocks[0].readable(self.loader.at(index.tolist()).x)
        return show.with_rows(columns, rows)

    def _told(self, index: Tensor) -> dict[str, Any]:
        """What is known of some items, as columns for people."""
        found = {name: values[index].tolist() for name, values in self.items.items()}
        told: dict[str, Any] = {}
        if "output" in found and len(self.names) > 1:
            told["label" if self.kind == "labels" else "output"] = [self.names[i] for i in found["output"]]
        if self.kind == "classes":
            for name in ("target", "prediction"):
                told[name] = [self.names[i] if i >= 0 else None for i in found[name]]
        if self.kind == "labels":
            told |= {"target": found["target"], "prediction": [p > 0.5 for p in found["probability"]]}
        rest = ("target", "prediction", "residual", "probability", "target_probability", "n_wrong", "iou", "accuracy")
        return told | {name: found[name] for name in rest if name in found and name not in told}

    # --- classes --------------------------------------------------------------------------------------------------

    def confusion(self) -> "pd.DataFrame":
        """How many items (of masks: pixels) of each class, a row, are taken for each class, a column.

        Of more than 100 classes it has those that occur.
        """
        return confusion.matrix(self._pairs(), self.names)

    def most_confused(self, min: int = 2, n: int = 10) -> "pd.DataFrame":
        """Pairs of classes by how often the first is taken for the second, at least `min` times."""
        return confusion.most_confused(self._pairs(), self.names, min, n)

    def _pairs(self) -> Pairs:
        self._need("confusion", "classes", "masks")
        if self.kind == "masks":
            return confusion.pairs_of_matrix(self.sums["pairs"])
        return confusion.pairs_of_items(self.items["target"], self.items["prediction"], len(self.names))

    def per_class(self) -> "pd.DataFrame":
        """A row a class, label or number: how much of it there is, and how well it is met, the worst first."""
        if self.kind == "numbers":
            n, (off, square, signed) = len(self), self.sums["errors"]
            figures = {"mean_absolute_error": off / n, "rmse": (square / n).sqrt(), "mean_error": signed / n}
        elif self.kind == "labels":
            figures = shares(*self.sums["counts"])
        else:
            figures = confusion.figures_of_classes(self._pairs(), len(self.names))
        return confusion.table(self.kind, self.names, figures)

    # --- calibration ----------------------------------------------------------------------------------------------

    def calibration(self, n_bins: int = 10) -> "pd.DataFrame":
        """Whether the model is right as often as it says: a row a bin of answers, the least confident first.

        An answer is the most probable class of an item, or yes or no to each label of it; its confidence is the
        probability that the model gives it. Bins hold about as many answers each.

        Args:
            n_bins: at most; equal confidences stay together.

        Returns:
            columns confidence, the bin's mean; accuracy, the share of right answers; n, answers; low and high, the 95%
            interval of the accuracy (Wilson 1927; of labels it takes answers about one item for independent).

        Source: Guo et al. 1706.04599; Naeini et al. AAAI 2015; bins of equal mass, Nixon et al. 1904.01685.
        """
        self._need("calibration", "classes", "labels")
        if self.kind == "labels":
            return calibration.bins(self.sums["answers"].numpy(), n_bins)
        known = self.items["target"] >= 0
        right = (self.items["prediction"] == self.items["target"])[known]
        return calibration.bins(
            calibration.cells_of_items(self.items["probability"][known].numpy(), right.numpy()), n_bins
        )

    def expected_calibration_error(self, n_bins: int = 10) -> float:
        """The mean distance of confidence and accuracy over the bins of calibration, each weighted by its answers; best 0.

        Few items make it larger than it is: plot_calibration says what chance alone gives.
        """
        return calibration.expected_error(self.calibration(n_bins))

    # --- columns --------------------------------------------------------------------------------------------------

    def by_slice(self, column: str | int | Iterable[Any] | None = None, n_bins: int = 5) -> "pd.DataFrame":
        """How the items fare by the value of a column: a row a slice.

        Numbers and dates are cut into bins of equal mass, other values stand by themselves, and so do missing ones, and
        in a table those that training hardly ever saw.

        Args:
            column: of a table, by name; of tensors x [n, columns], by number; or a value for each item of this split,
                in its order, such as the source of each picture or a column of the frame that is no input. By default
                the slices of all columns that are worse than the rest by most, at least; of 10 items or more.
            n_bins: of numbers and dates.

        Returns:
            columns slice; n; loss, its mean; error_rate of classes (of labels and masks the share that is wrong) or rmse
            of numbers; each with _low and _high, its 95% interval, Wilson's or a bootstrap's; difference, the error rate,
            elsewhere the loss, less that of all other items, with an interval that holds for all slices compared at once
            (Bonferroni); differs, whether that leaves 0 out. Without `column`, a column of that name stands before them.

        Raises:
            SettingError: there is no such column, or not one value for each item.
        """
        errors, counted = slices.errors_of(self.items, self.sums, self.kind)
        if column is None:
            found = columns_of(self.dls, self.loader)
            return slices.worst(errors, {name: values[counted] for name, values in found.items()}, n_bins)
        values = column_of(self.dls, self.loader, len(self), column)
        return slices.by_values(errors, values[counted], n_bins)

    def importance(self, n_repeats: int = 5, n: int = 2000, *, seed: int = 0, progress: bool = True) -> "pd.DataFrame":
        """How much worse the model fares without each column of a table: its permutation importance, the greatest first.

        A column's values are handed out anew among the items, all that is made of them at once, and the model, as it is
        now, is asked again. Of columns that say much the same each seems to matter little, since the others still say it;
        shared_with names them. Of training items it counts too what was learned by heart.

        Args:
            n_repeats: permutations of each column.
            n: items, drawn at random.
            seed: of both.
            progress: whether a bar shows itself after two seconds.

        Returns:
            columns column; importance, the increase of the mean loss; low and high, its 95% interval, by bootstrap over the
            items; shared_with, the columns that are correlated or associated with it by more than 0.9.

        Raises:
            SettingError: the items have no columns.

        Source: Breiman 2001, section 10; Fisher et al. 1801.01489.
        """
        importance.check(n_repeats=n_repeats, n=n)
        batch = show.first(self.loader.sample(n, seed), n).to(torch.device("cpu"))
        columns = parts_of(self.dls, batch.x)

        def losses(batch: Batch) -> Tensor:
            """Of each item; a piece of the batch at a time, so that many classes take no more memory."""
            ends = range(0, batch.n_rows, EVAL_ROWS)
            pieces = [Batch(*(tuple(t[i : i + EVAL_ROWS] for t in field) for field in batch)) for i in ends]
            asked = (self._predicted(piece) for piece in self.dls.as_evaluated(pieces, self.device))
            return torch.cat([item_losses(self.loss_fn, pred, piece.y).cpu() for pred, piece in asked])

        with rng.preserved(), evaluating(self.model), autocast(self.evaluator.precision, self.device):
            rises = importance.increases(batch, list(columns.values()), losses, n_repeats, seed, progress)
        return importance.table(columns, rises, batch.x)

    def summary(self) -> str:
        """The split in figures: the loss, the classes that fare worst, the pairs confused most."""
        losses = self.items["loss"]
        parts = [f"{len(self):,} {self.split} items, mean loss {losses.mean():.4g}, median {losses.median():.4g}"]
        if self.kind == "classes":
            known = self.items["target"] >= 0
            right = (self.items["target"] == self.items["prediction"])[known].double().mean()
            parts[0] += f", accuracy {right:.4f}, {len(self._suspects()):,} targets suspected to be wrong"
        if self.kind == "masks":
            parts[0] += f", mean IoU of a picture {self.items['iou'].nanmean():.4f}"
        if self.kind != "others":
            frame = self.per_class()
            frame = frame[frame["n"] > 0] if "n" in frame else frame
            more = f" (the worst {SHOWN} of {len(frame)})" if len(frame) > SHOWN else ""
            parts.append(f"by {frame.index.name}{more}\n{show.as_text(frame.head(SHOWN).reset_index())}")
        if self.kind in ("classes", "masks"):
            pairs = self.most_confused()
            parts += [f"most confused\n{show.as_text(pairs)}"] if len(pairs) else []
        return "\n\n".join(parts)

    __str__ = __repr__ = summary

    # --- figures --------------------------------------------------------------------------------------------------

    def plot_top_losses(self, n: int = 9) -> "Figure":
        """The n items with the largest losses, as pictures."""
        return self._plot(self._order("loss")[:n], "largest losses")

    def plot_least_certain(self, n: int = 9) -> "Figure":
        """The n items nearest to undecided, as pictures."""
        self._need("plot_least_certain", "classes", "labels")
        return self._plot(self._order("margin", False)[:n], "least certain")

    def plot_label_errors(self, n: int = 9) -> "Figure":
        """The n items whose targets are suspected most, as pictures; see label_errors."""
        return self._plot(self._suspects()[:n], "suspected label errors")

    def plot_lowest_iou(self, n: int = 9) -> "Figure":
        """The n pictures whose masks fit worst, their targets and predictions."""
        self._need("plot_lowest_iou", "masks")
        return self._plot(self._order("iou", False)[:n], "lowest IoU")

    def plot_confusion(self, normalize: bool = False) -> "Figure":
        """The confusion matrix.

        Args:
            normalize: whether to write shares of each row, in percent, in place of counts.
        """
        return show.confusion(self.confusion(), normalize)

    def plot_calibration(self, n_bins: int = 10) -> "Figure":
        """How often answers are right over how confident they are; see calibration."""
        return calibration.drawn(self.calibration(n_bins), self.split)

    def _plot(self, index: Tensor, title: str) -> "Figure":
        blocks = self.dls.blocks
        if blocks is None or not blocks[0].draws:
            raise SettingError("these items are no pictures; the method of the same name without plot_ gives a table.")
        if not len(index):
            raise SettingError(f"there are no items for this figure ({title}).")
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        (batch,) = self.dls.as_evaluated([self.loader.at(index.tolist())], device)
        pred = None
        drawn = blocks[1].draws
        if drawn:
            with evaluating(self.model):
                pred = blocks[1].decide(predict_batch(self.model, batch, self.output).float()).cpu()
        texts, wrong = captions(self.kind, self._frame(index).to_dict("records"), drawn)
        heading = ": target → prediction" if self.kind in ("classes", "numbers") and pred is None else ""
        batch = batch.to(torch.device("cpu"))
        return show.pictures(blocks, batch, texts, pred=pred, wrong=wrong, title=title + heading)

    def _need(self, method: str, *kinds: str) -> None:
        if self.kind not in kinds:
            raise SettingError(
                f"{method} is for {' and '.join(kinds)}, and these targets are {self.kind}; top_losses() is for all."
            )
