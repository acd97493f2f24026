"""Which inputs reach the outputs, and by what kind of function (MO07)."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tipsai.core.errors import listing
from tipsai.core.evaluate import evaluating
from tipsai.core.state import Batch
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, column_names, rows

MANY = 0.3  # of the columns that vary
DRAWS, LARGE = 32, 1 << 18  # items whose outputs are asked for their inputs, and numbers in them, at most


def _n(batch: Batch) -> int:
    """How many items: of large ones a few have values enough."""
    return max(4, min(DRAWS, batch.n_rows, LARGE // max(1, batch.x[0][0].numel())))


def _number_input(ctx: Context) -> Batch | None:
    """A batch whose only numbers are its first input."""
    batch = ctx.batch()
    if batch is None or not batch.x or not batch.x[0].is_floating_point() or ctx.compute_loss is not None:
        return None
    return batch


# --- ignored --------------------------------------------------------------------------------------------------------


def _ignored(ctx: Context) -> Figures | None:
    """Input values that vary over items, and to which no output's gradient reaches."""
    batch, sample = _number_input(ctx), ctx.sample("train")
    if batch is None or sample is None:
        return None
    batch = rows(batch, _n(batch))
    x = batch.x[0].detach().clone().requires_grad_()
    pred = ctx.pred(ctx.fresh().eval(), batch._replace(x=(x, *batch.x[1:])))
    if pred is None or not pred.requires_grad:
        return None
    weights = torch.randn(pred.shape, generator=torch.Generator().manual_seed(0)).to(pred)
    (gradient,) = torch.autograd.grad((pred * weights).sum(), x, allow_unused=True)
    if gradient is None or not bool(gradient.any()):
        return None  # another check's
    varied = (sample.x[0] != sample.x[0][:1]).any(0).flatten()
    met = (gradient != 0).any(0).flatten().cpu()
    lost = (varied & ~met).nonzero()[:, 0].tolist()
    name = column_names(ctx, len(batch.x))
    return {
        "ignored": len(lost),
        "varied": int(varied.sum()),
        "names": [name(0, j) for j in lost[:8]] if x.ndim == 2 else [],
        "last steps": _last_seen(met.view(x.shape[1:])),
    }


def _last_seen(met: Tensor) -> list[int] | None:
    """[k, n] where of a series' n steps all of the last k are seen, and none before: a receptive field; None otherwise."""
    if met.ndim < 2:
        return None
    axis = max(range(met.ndim), key=lambda i: met.shape[i])
    seen = met.movedim(axis, 0).flatten(1).any(1)
    k = int(seen.sum())
    return [k, len(seen)] if bool(seen[len(seen) - k :].all()) else None


def _judge_ignored(f: Figures) -> Iterator[Verdict]:
    field = f["last steps"]
    if f["ignored"] > MANY * f["varied"] and field and 2 * field[0] >= field[1]:
        yield Verdict(
            "advice",
            f"the model sees the last {field[0]} of {field[1]} steps: its receptive field ends there.",
            f,
            "More layers, larger kernels or dilations see farther back; or give it shorter series.",
        )
    elif f["ignored"] > MANY * f["varied"]:
        names = f" ({listing(f['names'])}{', ...' if f['ignored'] > len(f['names']) else ''})" if f["names"] else ""
        yield Verdict(
            "warning",
            f"{f['ignored']:,} of {f['varied']:,} input values that vary never reach the outputs{names}: the model looks at a part of its input.",
            f,
            "Look for a slice, an index or a pooling that takes a part only, and for dead units behind the first layer.",
        )


IGNORED_INPUTS = Check(
    "ignored-inputs", "start", "MO07", _ignored, _judge_ignored, unless=("ignores-input", "mixes-items")
)


# --- layers that fall into one --------------------------------------------------------------------------------------


def _collapsed(ctx: Context) -> Figures | None:
    """Whether a model of several layers is one linear function: f(a + b) - f(a) - f(b) + f(0) is zero then.

    Of random inputs: the data may lie where a rectifier never turns, far to one side.
    """
    batch = _number_input(ctx)
    if batch is None or len(batch.x) != 1 or batch.n_rows < 4:
        return None
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    layers = [name for name, m in ctx.model.named_modules() if isinstance(m, kinds)]
    if len(layers) < 2:
        return None
    generator = torch.Generator().manual_seed(0)
    half = (_n(batch) // 2, *batch.x[0].shape[1:])
    a, b = (torch.randn(half, generator=generator).to(batch.x[0]) for _ in range(2))

    def said(t: Tensor) -> Tensor | None:
        return ctx.pred(ctx.model, Batch((t,), ()))

    with evaluating(ctx.model):
        parts = [said(t) for t in (a + b, a, b, torch.zeros_like(a))]
    if any(part is None for part in parts):
        return None
    both, one, other, none = (part.double() for part in parts if part is not None)
    size = float((one - none).abs().max())
    return {
        "layers": len(layers),
        "off": float((both - one - other + none).abs().max()) / max(size, 1e-12),
        "size": size,
    }


def _judge_collapsed(f: Figures) -> Iterator[Verdict]:
    if f["size"] > 1e-6 and f["off"] < 1e-4:
        yield Verdict(
            "warning",
            f"the model is a linear function of its input, though it has {f['layers']} layers: nothing stands between them, and they are worth "
            "no more than one.",
            f,
            "Put an activation between layers: nn.ReLU() or nn.GELU().",
        )


COLLAPSED = Check("linear-layers", "start", "MO07", _collapsed, _judge_collapsed, unless=("ignores-input",))

CHECKS = (IGNORED_INPUTS, COLLAPSED)
