"""Models of token sequences: padding that counts, places that cannot be told apart, an embedding that is too small."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tipsai.core.errors import listing
from tipsai.core.evaluate import evaluating
from tipsai.core.state import IGNORED, Batch
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, class_axis
from tipsai.doctor.heard import Heard

LEAST = 32  # texts
OFTEN = 0.5  # of the texts end in the same token repeated: that one pads
FEW = 64  # texts that are sent through the model
CHANGED = 0.05  # of the outputs' spread
MANY = 0.25  # of the targets


def _padding(x: Tensor) -> tuple[int, Tensor] | None:
    """The token that fills texts up, and each text's length without it, [n]; None without one. At the end only."""
    last = x[:, -1]
    values, counts = torch.unique(last, return_counts=True)
    pad = int(values[counts.argmax()])
    other = x != pad
    places = torch.arange(1, x.shape[1] + 1)
    lengths = torch.where(other, places, 0).amax(1)
    padded = lengths <= x.shape[1] - 2
    return (pad, lengths) if float(padded.double().mean()) > OFTEN else None


# --- padding in the outputs -----------------------------------------------------------------------------------------


def _counted(ctx: Context) -> Figures | None:
    """How far predictions change where the padding of the shorter texts is cut to what the longest of them needs."""
    x = ctx.tokens()
    found = None if x is None or len(x) < LEAST else _padding(x)
    if x is None or found is None:
        return None
    pad, lengths = found
    short = lengths.argsort()[: min(FEW, len(x) // 2)]
    needed = max(1, int(lengths[short].max()))
    if needed > x.shape[1] - 2:
        return None
    with evaluating(ctx.model):
        long = ctx.pred(ctx.model, Batch((x[short].to(ctx.device),), ()))
        cut = ctx.pred(ctx.model, Batch((x[short, :needed].to(ctx.device),), ()))
    if long is None or cut is None or long.shape != cut.shape or long.ndim > 2:
        return None
    spread = float(cut.float().std(0).mean()) if len(cut) > 1 else 0.0
    change = float((long - cut).abs().float().mean())
    return {"token": pad, "change": change / max(spread, 1e-6), "from": x.shape[1], "to": needed}


def _judge_counted(f: Figures) -> Iterator[Verdict]:
    if f["change"] > CHANGED:
        yield Verdict(
            "warning",
            f"padding counts: predictions change by {f['change']:.0%} of their spread where texts end in {f['from'] - f['to']} fewer of token {f['token']}, "
            "which fills them up. Short texts drown in it.",
            f,
            "Mask it: a mean over real tokens alone, key_padding_mask= in attention, the last real step of a recurrent layer "
            "(pack_padded_sequence).",
        )


PADDING = Check("padding-counts", "start", "MO07", _counted, _judge_counted)


# --- padding in the loss --------------------------------------------------------------------------------------------


def _learned(ctx: Context) -> Figures | None:
    x, sample = ctx.tokens(), ctx.sample("train")
    if x is None or sample is None or not sample.y or sample.y[0].shape != x.shape or len(x) < LEAST:
        return None
    found = _padding(x)
    if found is None or ctx.compute_loss is not None:
        return None
    y, pad = sample.y[0], found[0]
    filled = (y == pad) & (x == pad)
    return {"token": pad, "share": float(filled.double().mean()), "counts": _loss_counts(ctx, pad)}


def _loss_counts(ctx: Context, pad: int) -> bool:
    """Whether predictions at places whose target pads get a gradient."""
    said = ctx.said()
    axis = None if said is None or said[0].ndim != 3 else class_axis(ctx.loss_fn, *said)
    if said is None or axis is None:
        return False
    pull = ctx.pull(*said)
    return pull is not None and bool((pull.movedim(axis, -1)[said[1] == pad] != 0).any())


def _judge_learned(f: Figures) -> Iterator[Verdict]:
    if f["counts"] and f["share"] > MANY:
        yield Verdict(
            "warning",
            f"{f['share']:.0%} of the targets are token {f['token']}, which fills texts up, and the loss counts them: it looks good for "
            "telling padding, and learns that first.",
            f,
            f"Leave them out: nn.CrossEntropyLoss(ignore_index={f['token']}), or set those targets to {IGNORED}.",
        )


PADDED_TARGETS = Check("padding-in-loss", "start", "TR08", _learned, _judge_learned)


# --- places ---------------------------------------------------------------------------------------------------------


ATTENTION = ("scaled_dot_product_attention", "multi_head_attention_forward")


def _order(ctx: Context) -> Figures | None:
    """Whether an attention model says the same of each text once its tokens stand in another order."""
    x = ctx.tokens()
    batch = ctx.batch()
    if x is None or batch is None or len(x) < LEAST or x.shape[1] < 4:
        return None
    attends = [isinstance(m, nn.MultiheadAttention) for m in ctx.model.modules()]

    def tell(name: str, args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> None:
        square = isinstance(out, Tensor) and out.ndim >= 3 and out.shape[-1] == out.shape[-2] > 1
        attends.append(name in ATTENTION or (name == "softmax" and square))

    tokens = batch.x[0][:FEW]
    order = torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(0)).to(tokens.device)
    with evaluating(ctx.model):
        with Heard(tell):
            said = ctx.pred(ctx.model, Batch((tokens,), ()))
        other = ctx.pred(ctx.model, Batch((tokens[:, order],), ()))
    if said is None or other is None or said.ndim != 2 or said.shape[1] == tokens.shape[1]:
        return None
    spread = float(said.float().std(0).mean())
    change = float((said - other).abs().float().max())
    return {"change": change / max(spread, 1e-9), "attends": any(attends), "spread": spread}


def _judge_order(f: Figures) -> Iterator[Verdict]:
    if f["attends"] and f["spread"] > 1e-6 and f["change"] < 1e-3:
        yield Verdict(
            "warning",
            "the model cannot tell places apart: what it says of a text stays the same in whatever order its tokens stand. Attention by itself "
            "knows no order.",
            f,
            "Add an embedding of the place to that of the token: nn.Embedding(block_size, dim), or rotary positions.",
        )


PLACES = Check("no-positions", "start", "MO07", _order, _judge_order, unless=("ignores-input",))


# --- an embedding that is too small ---------------------------------------------------------------------------------


def _table(ctx: Context) -> Figures | None:
    x = ctx.tokens()
    if x is None:
        return None
    sizes = {name: m.num_embeddings for name, m in ctx.model.named_modules() if isinstance(m, nn.Embedding)}
    if not sizes:
        return None
    name = max(sizes, key=lambda name: sizes[name])
    return {"embedding": name, "rows": sizes[name], "tokens": int(torch.unique(x).numel()), "largest": int(x.max())}


def _judge_table(f: Figures) -> Iterator[Verdict]:
    if f["rows"] < f["tokens"]:
        yield Verdict(
            "warning",
            f"the embedding {listing([f['embedding']])} has {f['rows']:,} rows, and the texts hold {f['tokens']:,} different tokens (numbers up to "
            f"{f['largest']:,}): several share a row and cannot be told apart.",
            f,
            f"nn.Embedding({f['largest'] + 1}, ...): one row for each token; clamping or taking the remainder only hides it.",
        )


TABLE = Check("embedding-too-small", "start", "MO07", _table, _judge_table)

CHECKS = (PADDING, PADDED_TARGETS, PLACES, TABLE)
