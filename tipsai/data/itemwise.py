"""What can be said of each item of a batch: its loss, what was predicted, how sure the model is."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tipsai.core.state import IGNORED, Loss
from tipsai.losses import BinaryCrossEntropy

CELLS_A_LOGIT, N_CELLS = 64, 1100  # beyond 17 a sigmoid is 1 in float32

# Items [b] each, by name, and sums over the batch, by name.
Measured = tuple[dict[str, Tensor], dict[str, Tensor]]


def item_losses(loss: Loss, pred: Tensor, y: tuple[Tensor, ...]) -> Tensor:
    """The reported loss of each item alone, [b]: 0 where nothing of it counts."""

    def one(pred: Tensor, *y: Tensor) -> Tensor:
        total, weight = loss.report(pred[None], *(t[None] for t in y))
        return torch.where(weight == 0, 0.0, total / weight) if isinstance(weight, Tensor) else total / weight

    try:
        return torch.vmap(one)(pred, *y).float()
    except (RuntimeError, TypeError, ValueError):  # such as a loss that looks at values; what is wrong shows below
        return torch.stack([one(*fields) for fields in zip(pred, *y, strict=True)]).float()


def _classes(pred: Tensor, y: Tensor) -> Measured:
    p, known = pred.softmax(1), y >= 0
    values, indices = p.topk(min(2, p.shape[1]), 1)
    of_target = p.gather(1, y.clamp(min=0)[:, None])[:, 0]
    return {
        "target": torch.where(known, y, -1).int(),
        "prediction": indices[:, 0].int(),
        "probability": values[:, 0],
        "target_probability": torch.where(known, of_target, torch.nan),
        "margin": values[:, 0] - values[:, -1],
    }, {}


def _answers(pred: Tensor, right: Tensor) -> Tensor:
    """Answers to yes-or-no questions by their confidence, float64 [3, N_CELLS]: how many, its sum, how many are right.

    The cells are equal steps of the logit, so that answers of 99.9% and 99.99% are told apart, and as many whatever the
    number of items and labels.

    Args:
        pred: [b, labels] logits.
        right: likewise, whether the more probable answer is right.
    """
    far = pred.abs().nan_to_num(0.0).flatten()
    cell = (far * CELLS_A_LOGIT).clamp(max=N_CELLS - 1).long()
    exact = torch.float32 if pred.device.type == "mps" else torch.float64  # mps has no other
    figures = torch.stack([torch.ones_like(far), pred.abs().flatten().sigmoid(), right.flatten()]).to(exact)
    return figures.new_zeros(3, N_CELLS).index_add_(1, cell, figures)


def _labels(pred: Tensor, y: Tensor) -> Measured:
    """Of each item the label with the greatest loss; of each label how often it is true, is said, and both."""
    p, yes = pred.sigmoid(), y > 0.5
    said = p > 0.5
    worst = F.binary_cross_entropy_with_logits(pred, y.float(), reduction="none").argmax(1, keepdim=True)
    return {
        "output": worst[:, 0].int(),
        "target": yes.gather(1, worst)[:, 0],
        "probability": p.gather(1, worst)[:, 0],
        "n_wrong": (said != yes).sum(1).int(),
        "margin": (2 * p - 1).abs().amin(1),
    }, {"counts": torch.stack([yes, said, yes & said]).sum(1), "answers": _answers(pred, said == yes)}


def _numbers(pred: Tensor, y: Tensor) -> Measured:
    """Of each item the number that is furthest off and the mean square; of each number the sums that its errors follow from."""
    residual = pred - y
    worst = residual.abs().argmax(1, keepdim=True)
    far = {"target": y, "prediction": pred, "residual": residual}
    items = {name: values.gather(1, worst)[:, 0].float() for name, values in far.items()}
    items["square"] = residual.square().mean(1)
    sums = torch.stack([residual.abs(), residual.square(), residual]).sum(1)
    return {"output": worst[:, 0].int()} | items, {"errors": sums}


def _masks(pred: Tensor, y: Tensor) -> Measured:
    """Of each picture the mean IoU of the classes that occur in it; of all pixels what is taken for what."""
    (b, n), guess, known = pred.shape[:2], pred.argmax(1).flatten(1), (y >= 0).flatten(1)
    y = y.flatten(1).clamp(min=0)
    place = torch.arange(b, device=y.device)[:, None] * n

    def areas(codes: Tensor, which: Tensor) -> Tensor:
        return torch.bincount((place + codes)[which], minlength=b * n).view(b, n).float()

    both, either = areas(y, known & (guess == y)), areas(y, known) + areas(guess, known)
    occurs = either > 0
    iou = torch.where(occurs, both / (either - both), 0).sum(1) / occurs.sum(1)
    pairs = torch.bincount((y * n + guess)[known], minlength=n * n).view(n, n)
    return {"iou": iou, "accuracy": both.sum(1) / known.sum(1)}, {"pairs": pairs}


def _nothing(pred: Tensor, y: Tensor) -> Measured:
    return {}, {}


MEASURES: dict[str, Callable[[Tensor, Tensor], Measured]] = {
    "classes": _classes,
    "labels": _labels,
    "numbers": _numbers,
    "masks": _masks,
    "others": _nothing,
}


def in_form(kind: str, pred: Tensor, y: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
    """Predictions and targets in the one form that a kind's measure takes."""
    if kind in ("classes", "masks") and pred.shape == y.shape:
        if y.is_floating_point() and pred.ndim > 1 and pred.shape[1] > 1:
            return pred, y.argmax(1)  # probabilities of classes
        pred = pred.reshape(len(pred), -1)
        return torch.cat([torch.zeros_like(pred), pred], 1), (y.flatten() > 0.5).long()  # yes and no are two classes
    if kind in ("classes", "masks"):
        return pred, torch.where(y == ignored, -1, y.long())
    return pred.reshape(len(pred), -1), y.reshape(len(y), -1)


def kind_of(loss: Loss, pred: Tensor, y: Tensor) -> str:
    """One of MEASURES, by the loss and the shapes and types of what a model returns and its targets."""
    if pred.shape == y.shape and len(y):
        if hasattr(loss, "ignore_index") and pred.ndim == 2:
            return "classes"
        yes_no = y.dtype == torch.bool or isinstance(loss, BinaryCrossEntropy)
        return "numbers" if not yes_no else "classes" if y[0].numel() == 1 else "labels"
    whole = not (y.is_floating_point() or y.dtype == torch.bool)
    if whole and pred.ndim > 1 and pred.shape[1] > 1 and pred.shape[2:] == y.shape[1:]:
        return {2: "classes", 4: "masks"}.get(pred.ndim, "others")
    return "others"


def measure(kind: str, loss: Loss, pred: Tensor, y: tuple[Tensor, ...]) -> Measured:
    """The figures of a batch: those of each item, "loss" among them, and the sums.

    Args:
        kind: see kind_of.
        loss: its report is the loss of an item.
        pred: what the model returns, in fp32.
        y: the targets as the loss takes them.
    """
    form = in_form(kind, pred, y[0], getattr(loss, "ignore_index", IGNORED))
    items, sums = MEASURES[kind](*form)
    return {"loss": item_losses(loss, pred, y)} | items, sums


def shares(true: Tensor, said: Tensor, both: Tensor) -> dict[str, Tensor]:
    """Figures from how often something is true, is said, and both; not a number where there is nothing to count."""
    either = true + said
    return {
        "n": true,
        "recall": both / true,
        "precision": both / said,
        "f1": 2 * both / either,
        "iou": both / (either - both),
    }
