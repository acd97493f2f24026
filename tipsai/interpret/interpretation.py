"""Interpretation: what a model gets wrong, most confidently wrong, and least certain (DA01).

One pass over a split keeps a few numbers an item, whatever the number of classes.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tipsai.core.errors import DataError, SettingError, listing
from tipsai.core.evaluate import Evaluator, evaluating, predict_batch
from tipsai.core.state import Batch
from tipsai.core.step import autocast
from tipsai.data import show
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.itemwise import kind_of, measure, shares
from tipsai.data.loaders import ForeignLoader, Loader

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MANY_CLASSES = 100  # above, a confusion matrix has the classes that occur
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
        if evaluator.compute_loss is not None:
            if block is None:
                raise SettingError(
                    "compute_loss gives the loss of a batch, not of an item; give Learner loss_fn instead."
                )
            loss = block.default_loss()
        kept: dict[str, list[Tensor]] = {}
        with evaluating(self.model), autocast(evaluator.precision, device):
            for batch in batches:
                if not batch.y:
                    raise DataError(f"the {self.split} items have no targets, so nothing can be said about mistakes.")
                pred = predict_batch(self.model, batch, self.output)
                if not isinstance(pred, Tensor):
                    raise SettingError(
                        f"the model returns a {type(pred).__name__}; expected a tensor. Give Learner(..., output=lambda o: ...)."
                    )
                pred, batch = evaluator.in_units(pred.float(), batch)
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
        import pandas as pd

        target, said, counts = self._pairs()
        few = len(self.names) <= MANY_CLASSES
        kept = torch.arange(len(self.names)) if few else torch.from_numpy(np.union1d(target.numpy(), said.numpy()))
        matrix = torch.zeros(len(kept), len(kept), dtype=torch.int64)
        matrix[torch.searchsorted(kept, target), torch.searchsorted(kept, said)] = counts
        names = [self.names[i] for i in kept.tolist()]
        return pd.DataFrame(
            matrix.numpy(), index=pd.Index(names, name="target"), columns=pd.Index(names, name="prediction")
        )

    def most_confused(self, min: int = 2, n: int = 10) -> "pd.DataFrame":
        """Pairs of classes by how often the first is taken for the second, at least `min` times."""
        import pandas as pd

        target, said, counts = self._pairs()
        totals = torch.zeros(len(self.names), dtype=torch.int64).index_add_(0, target, counts)
        wrong = ((target != said) & (counts >= min)).nonzero()[:, 0]
        best = wrong[counts[wrong].sort(stable=True, descending=True).indices][:n]
        columns = {
            name: [self.names[i] for i in c[best].tolist()] for name, c in (("target", target), ("prediction", said))
        }
        shares = (counts[best] / totals[target[best]]).tolist()
        return pd.DataFrame(columns | {"count": counts[best].tolist(), "share_of_target": shares})

    def _pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Targets, predictions, and how often each pair that occurs does."""
        self._need("confusion", "classes", "masks")
        if self.kind == "masks":
            target, said = self.sums["pairs"].nonzero().unbind(1)
            return target, said, self.sums["pairs"][target, said]
        known, n = self.items["target"] >= 0, len(self.names)
        pairs = self.items["target"][known].long() * n + self.items["prediction"][known]
        pairs, counts = (torch.from_numpy(v) for v in np.unique(pairs.numpy(), return_counts=True))
        return pairs // n, pairs % n, counts

    def per_class(self) -> "pd.DataFrame":
        """A row a class, label or number: how much of it there is, and how well it is met, the worst first."""
        import pandas as pd

        if self.kind == "numbers":
            n, (off, square, signed) = len(self), self.sums["errors"]
            figures = {"mean_absolute_error": off / n, "rmse": (square / n).sqrt(), "mean_error": signed / n}
        elif self.kind == "labels":
            figures = shares(*self.sums["counts"])
        else:
            target, said, counts = self._pairs()
            zeros = torch.zeros(len(self.names), dtype=torch.int64)
            figures = shares(
                zeros.index_add(0, target, counts),
                zeros.index_add(0, said, counts),
                zeros.index_add(0, target[target == said], counts[target == said]),
            )
        index = pd.Index(
            [str(name) for name in self.names], name={"labels": "label", "numbers": "number"}.get(self.kind, "class")
        )
        frame = pd.DataFrame({name: values.numpy() for name, values in figures.items()}, index=index)
        by, other = ("iou", "f1") if self.kind == "masks" else ("f1", "iou")
        if self.kind == "numbers":
            return frame.sort_values("rmse", ascending=False, kind="stable")
        return frame.drop(columns=other).sort_values(by, kind="stable")

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

    def _plot(self, index: Tensor, title: str) -> "Figure":
        blocks = self.dls.blocks
        if blocks is None or not blocks[0].draws:
            raise SettingError("these items are no pictures; the method of the same name without plot_ gives a table.")
        if not len(index):
            raise SettingError(f"there are no items for this figure ({title}).")
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        (batch,) = self.dls.as_evaluated([self.loader.at(index.tolist())], device)
        pred = None
        if blocks[1].draws:
            with evaluating(self.model):
                pred = blocks[1].decide(predict_batch(self.model, batch, self.output).float()).cpu()
        captions, wrong = self._captions(index)
        heading = ": target → prediction" if self.kind in ("classes", "numbers") and pred is None else ""
        batch = batch.to(torch.device("cpu"))
        return show.pictures(blocks, batch, captions, pred=pred, wrong=wrong, title=title + heading)

    def _captions(self, index: Tensor) -> tuple[list[str], list[bool]]:
        captions, wrong = [], []
        for row in self._frame(index).to_dict("records"):
            loss = f"loss {row['loss']:.2f}"
            if self.kind == "classes":
                text = f"{show.short(row['target'], 13)} → {show.short(row['prediction'], 13)}\n{row['probability']:.0%}, {loss}"
                wrong.append(row["target"] != row["prediction"])
            elif self.kind == "labels":
                said = "yes" if row["target"] else "no"
                text = f"{show.short(row.get('label', ''), 16)}: {said}\n{row['probability']:.0%} yes, {loss}"
                wrong.append(row["target"] != row["prediction"])
            elif self.kind == "numbers" and not self.dls.blocks[1].draws:  # type: ignore[index]
                text = f"{row['target']:.4g} → {row['prediction']:.4g}"
            else:
                text = f"IoU {row['iou']:.2f}" if "iou" in row else loss
            captions.append(text)
        return captions, wrong

    def _need(self, method: str, *kinds: str) -> None:
        if self.kind not in kinds:
            raise SettingError(
                f"{method} is for {' and '.join(kinds)}, and these targets are {self.kind}; top_losses() is for all."
            )
