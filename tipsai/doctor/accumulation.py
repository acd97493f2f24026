"""Whether a batch in parts gives the gradient of the whole (TR14)."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tipsai.core.state import Batch
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, rows

ROWS = 8  # the sums are exact for any number of them
APART = 1e-4  # of the gradient's norm
SUM = 0.01  # how near to the number of rows a loss must grow with them to be called their sum


def _gradient(ctx: Context, model: nn.Module, parts: list[Batch]) -> tuple[Tensor, float]:
    """(gradient, loss) of a group, as the loop puts it together: sums over all parts by their whole weight."""
    model.zero_grad(set_to_none=True)
    totals, weights = zip(*(ctx.loss_sums(model, part) for part in parts), strict=True)
    whole: Tensor = sum(totals[1:], totals[0]) / sum(weights[1:], weights[0])
    whole.backward()  # type: ignore[no-untyped-call]
    grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return torch.cat(grads).double(), float(whole.detach())


def _parts(ctx: Context) -> Figures | None:
    """In evaluation mode: what batch norm and dropout do across a batch are other checks' matter."""
    batch = ctx.batch()
    if batch is None or not batch.y or ctx.compute_loss is not None or batch.n_rows < 4:
        return None
    batch = rows(batch, ROWS)
    model, n = ctx.fresh(), batch.n_rows
    model.eval()
    if not any(p.requires_grad for p in model.parameters()):
        return None
    cut = n // 3
    two = [rows(batch, cut), Batch(*(tuple(t[cut:] for t in fields) for fields in batch))]
    whole, loss = _gradient(ctx, model, [batch])
    split, _ = _gradient(ctx, model, two)
    twice = Batch(*(tuple(torch.cat([t, t]) for t in fields) for fields in batch))
    _, doubled = _gradient(ctx, model, [twice])
    return {
        "relative error": float((whole - split).norm() / whole.norm().clamp(min=1e-12)),
        "of twice the rows": doubled / loss if loss else 1.0,
    }


def _judge(f: Figures) -> Iterator[Verdict]:
    if f["relative error"] < APART:
        return
    if abs(f["of twice the rows"] - 2) < SUM:
        yield Verdict(
            "warning",
            "the loss is a sum over the rows of a batch, and is taken for their mean: it grows with the batch, and so does the step.",
            f,
            "Return the mean over rows: .mean() in place of .sum().",
        )
        return
    yield Verdict(
        "advice",
        f"a batch in parts gives another gradient than the whole (off by {f['relative error']:.1%}): the loss looks across rows.",
        f,
        "fit(accumulate=...) is no larger batch then; raise bs instead.",
    )


ACCUMULATION = Check(
    "accumulation",
    "start",
    "TR14",
    _parts,
    _judge,
    unless=(
        "mixes-items",
        "random-evaluation",
        "gradient-flow",
        "loss-direction",
        "loss-broadcast",
        "non-finite-values",
    ),
)

CHECKS = (ACCUMULATION,)
