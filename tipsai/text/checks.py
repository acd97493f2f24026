"""What the doctor looks at in text: words that no training text has, and texts that are cut."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context

# --- unknown tokens -------------------------------------------------------------------------------------------------

FOLDS = 10
MOST = 1 << 23  # tokens of a split that are counted
RUN = 256  # tokens of running text that stand together
FEW_TOKENS = 200
Z = 4.0  # standard deviations over folds


def left_out(tokens: NDArray[np.int64], fold: NDArray[np.int64], unknown: int, min_count: int) -> NDArray[np.float64]:
    """The share of unknown tokens in each fold of a training text, had the vocabulary come from the other folds.

    That is what new text of the same kind would have.

    Args:
        tokens: their numbers, [n].
        fold: of each token, below FOLDS, [n].
        unknown: the number of all that is unknown.
        min_count: how often a token must occur to be known.
    """
    size = int(tokens.max(initial=unknown)) + 1
    counts = np.bincount(fold * size + tokens, minlength=FOLDS * size).reshape(FOLDS, size)
    others = counts.sum(0) - counts
    lost = np.where(others < min_count, counts, 0).astype(np.float64)
    lost[:, unknown] = counts[:, unknown]
    return np.asarray(lost.sum(1) / counts.sum(1).clip(min=1))


def _tokens(ctx: Context, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """A split's tokens as the tokenizer numbers them, and the text (or the run of tokens) that each stands in."""
    rows: Any = getattr(ctx.loader(split), "rows", None)
    held = getattr(rows, "tokens", None)
    if held is None:
        return None
    if isinstance(held, np.ndarray):
        found = held[:MOST].astype(np.int64)
        return found, np.arange(len(found)) // RUN
    texts = int(np.searchsorted(held.starts, MOST))
    found = held.flat[: held.starts[min(texts, len(held))]].astype(np.int64) - 1  # 0 pads
    return found, np.repeat(np.arange(len(held)), held.lengths)[: len(found)]


def _unknown(ctx: Context) -> Figures | None:
    block = ctx.dls.blocks[0] if ctx.dls.blocks else None
    tokenizer = getattr(block, "tokenizer", None)
    train = _tokens(ctx, "train")
    if tokenizer is None or tokenizer.unknown is None or train is None or len(train[0]) < FEW_TOKENS:
        return None
    tokens, text = train
    min_count = int(getattr(tokenizer, "min_count", 1))
    given = getattr(block, "given", False) or len(np.unique(tokens)) <= tokenizer.n_tokens / 2
    running = isinstance(getattr(getattr(ctx.dls.train, "rows", None), "tokens", None), np.ndarray)
    fold = text * FOLDS // (int(text.max()) + 1) if running else text % FOLDS
    rates = left_out(tokens, fold, tokenizer.unknown, 0 if given else min_count)
    figures: dict[str, Any] = {
        "train": float((tokens == tokenizer.unknown).mean()),
        "expected": float(rates.mean()),
        "given": given,
        "running": running,
        "vocabulary": int(tokenizer.n_tokens),
        "splits": {},
    }
    for split in ("valid", "test"):
        other = _tokens(ctx, split)
        if other is None or len(other[0]) < 20:
            continue
        is_unknown = other[0] == tokenizer.unknown
        smaller = max(1.0, len(tokens) / FOLDS / len(is_unknown))  # than a fold, so that chance moves it more
        figures["splits"][split] = {
            "rate": float(is_unknown.mean()),
            "tokens": len(is_unknown),
            "spread": float(rates.std()) * smaller**0.5,
        }
    return figures


def _judge_unknown(f: Figures) -> Iterator[Verdict]:
    fix = (
        "tokenizer='byte' or 'bpe' knows every text."
        if f["running"]
        else "See whether they come from another source; TextDataLoaders.from_df(..., "
        "tokenizer=tipsai.text.tokenizers.ByteTokenizer()) knows every text."
    )
    if f["given"] and f["train"] > 0.1:
        yield Verdict(
            "warning",
            f"{f['train']:.1%} of the training tokens are unknown to the tokenizer that was given ({f['vocabulary']:,} tokens): it was "
            "made for other text.",
            f,
            "Leave tokenizer= out, and it is fitted to the training text; or take one made for such text.",
        )
        return
    beyond = {}
    for split, c in f["splits"].items():
        usual = f["expected"] + Z * c["spread"]
        if c["rate"] > 0.001 and c["rate"] > max(usual, 1.5 * f["expected"]):
            beyond[split] = c
    if not beyond:
        return
    split, c = max(beyond.items(), key=lambda item: item[1]["rate"])
    much = c["rate"] > 0.01 and c["rate"] - f["expected"] > 0.005
    yield Verdict(
        "warning" if much else "advice",
        f"{c['rate']:.2%} of the {split} tokens are unknown in training; new text like the training text would have "
        f"{f['expected']:.2%}.",
        f,
        fix,
    )


UNKNOWN = Check("unknown-tokens", "data", "LM05", _unknown, _judge_unknown)


# --- texts that are cut ---------------------------------------------------------------------------------------------

READ = 200  # texts that are read in full
OFTEN, MUCH = 0.05, 0.1  # texts that are cut, and tokens that are lost, that are worth a word


def _cut(ctx: Context) -> Figures | None:
    block = ctx.dls.blocks[0] if ctx.dls.blocks else None
    texts, held = ctx.dls.items.get("train"), getattr(getattr(ctx.dls.train, "rows", None), "tokens", None)
    if block is None or texts is None or held is None or len(held) != len(texts):
        return None
    most, tokenizer = block.most, block.tokenizer  # type: ignore[attr-defined]
    full = np.flatnonzero(held.lengths >= most)
    looked = full[:: max(1, -(-len(full) // READ))]
    lengths = np.array([len(tokenizer.encode(texts[int(i)])) for i in looked])
    share = len(full) / len(held) * float((lengths > most).mean()) if len(looked) else 0.0
    mean = float(lengths.mean()) if len(looked) else 0.0
    whole = float(held.lengths.sum()) + len(full) * max(0.0, mean - most)
    return {
        "texts": len(held),
        "cut": share,
        "lost": len(full) * max(0.0, mean - most) / max(1.0, whole),
        "longest seen": most,
        "mean length of those": mean,
    }


def _judge_cut(f: Figures) -> Iterator[Verdict]:
    if f["cut"] > OFTEN and f["lost"] > MUCH:
        yield Verdict(
            "advice",
            f"{f['cut']:.0%} of the training texts are longer than the {f['longest seen']:,} tokens that the network sees of each "
            f"({f['mean length of those']:,.0f} on average): {f['lost']:.0%} of all tokens are lost to it; n-grams count all of a text.",
            f,
            f"TextDataLoaders.from_df(..., longest={int(f['mean length of those'] * 1.5) // 100 * 100 + 100}) shows it more.",
        )


CUT = Check("long-texts-cut", "data", "DA02", _cut, _judge_cut)

TOKENS = (UNKNOWN,)
TEXTS = (UNKNOWN, CUT)
