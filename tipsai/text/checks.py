"""What the doctor looks at in text: words that training lacks, texts that are cut, texts on both sides, words that tell."""

import hashlib
import re
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
    if f["train"] > 0.1:
        why = "that was given" if f["given"] else "itself"
        yield Verdict(
            "warning",
            f"{f['train']:.1%} of the training tokens are unknown to the tokenizer {why} ({f['vocabulary']:,} tokens): it "
            + ("was made for other text." if f["given"] else "is too small for the text."),
            f,
            "Leave tokenizer= out, and it is fitted to the training text; or take one made for such text."
            if f["given"]
            else "WordTokenizer(most=...) with more words, min_count=1, or tokenizer='bpe', which knows every text.",
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


# --- the same texts on both sides -----------------------------------------------------------------------------------

MOST_TEXTS = 50_000
WORDS = 4  # of a text at least: shorter ones are said by many
REPEATED = (2, 0.01)  # validation texts, and their share
_WORD = re.compile(r"\w+")


def _bare(text: str) -> bytes | None:
    """A digest of a text's words without case and punctuation; None for a short one."""
    words = _WORD.findall(text.casefold())
    return hashlib.blake2b(" ".join(words).encode(), digest_size=12).digest() if len(words) >= WORDS else None


def _repeated(ctx: Context) -> Figures | None:
    parts = [ctx.dls.items.get(split) for split in ("train", "valid")]
    if any(part is None or not len(part) or not isinstance(part[0], str) for part in parts):
        return None
    train, valid = ([_bare(part[i]) for i in range(min(len(part), MOST_TEXTS))] for part in parts if part is not None)
    known = set(train) - {None}
    return {"in both": sum(text in known for text in valid), "valid": len(valid), "within": 1 - len(known) / len(train)}


def _judge_repeated(f: Figures) -> Iterator[Verdict]:
    share = f["in both"] / f["valid"]
    if f["in both"] >= REPEATED[0] and share > REPEATED[1]:
        yield Verdict(
            "warning",
            f"{f['in both']:,} of {f['valid']:,} validation texts stand in the training data as well, but for case and punctuation ({share:.1%}); what "
            "a model knows by heart makes validation look too good.",
            f,
            "Drop them before splitting: df[~df[text].str.casefold().str.replace(r'\\W+', ' ', regex=True).duplicated()].",
        )


SAME_TEXTS = Check("repeated-texts", "data", "DA15", _repeated, _judge_repeated, unless=("duplicates",))


# --- words that give the class away ---------------------------------------------------------------------------------

TELLS = 0.98  # of a class's texts hold its word, and of the others so few less
LEAST_TEXTS, MOST_READ = 100, 5000


def _words(ctx: Context) -> Figures | None:
    """For each class the word that tells it best: the share of its texts with it less that of the others."""
    texts, sample = ctx.dls.items.get("train"), ctx.loader("train")
    y: Any = getattr(getattr(sample, "rows", None), "y", None)
    if texts is None or not y or len(texts) < LEAST_TEXTS or not isinstance(texts[0], str) or len(texts) != len(y[0]):
        return None
    target = y[0].cpu().numpy()
    if target.ndim != 1 or target.dtype.kind != "i":
        return None
    chosen = np.random.default_rng(ctx.seed).permutation(len(texts))[:MOST_READ]
    n = np.bincount(target[chosen])
    if not 2 <= len(n) <= 50:
        return None
    counts: dict[str, NDArray[np.int64]] = {}
    for i in chosen.tolist():
        for word in set(_WORD.findall(texts[i].casefold())):
            counts.setdefault(word, np.zeros(len(n), np.int64))[target[i]] += 1
    best: dict[int, tuple[str, float]] = {}
    for word, c in counts.items():
        inside = c / np.maximum(n, 1)
        outside = (c.sum() - c) / np.maximum(n.sum() - n, 1)
        for k in np.flatnonzero(inside - outside > 0.5).tolist():
            if inside[k] - outside[k] > best.get(k, ("", 0.0))[1]:
                best[k] = (word, float(inside[k] - outside[k]))
    names = list(ctx.dls.blocks[1].outputs) if ctx.dls.blocks else []
    told = {str(names[k]) if k < len(names) else str(k): found for k, found in best.items()}
    return {"classes": int((n > 0).sum()), "told": told, "texts": len(chosen)}


def _judge_words(f: Figures) -> Iterator[Verdict]:
    sure = {name: word for name, (word, share) in f["told"].items() if share > TELLS}
    if len(sure) >= f["classes"] - 1:
        told = ", ".join(f"{word!r} in those of {name!r}" for name, word in list(sure.items())[:3])
        yield Verdict(
            "warning",
            f"single words give the class away: {told} stands in nearly all of them and in nearly no other ({f['texts']:,} texts). Such a word is often "
            "the label itself, or a mark of where the text comes from.",
            f,
            "Take it out of the texts unless it will be there when the model is used.",
        )


LEAKING_WORDS = Check("leaking-words", "data", "DA15", _words, _judge_words)


# --- validation text that training has ------------------------------------------------------------------------------

RUN_TOKENS = 64  # in a row, a power of two: so many do not come again by chance, unless a text repeats itself
PIECES = 4000  # of validation that are looked for
COPIED = 0.05  # of them


def _hashes(tokens: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each run of RUN_TOKENS tokens, at every place; the same for the same runs. Each pass joins two runs into one."""
    found, base, size = (tokens + 1).astype(np.uint64), 0x9E3779B97F4A7C15, 1
    while size < RUN_TOKENS:
        found = found[:-size] * np.uint64(base) + found[size:]
        base, size = (base * base + 2) % (1 << 64), 2 * size
    return found


def _copied(ctx: Context) -> Figures | None:
    """The share of validation's runs of tokens that training has, beside that of the training text's own end."""
    parts = [_tokens(ctx, split) for split in ("train", "valid")]
    running = isinstance(getattr(getattr(ctx.dls.train, "rows", None), "tokens", None), np.ndarray)
    if not running or any(part is None or len(part[0]) < 8 * RUN_TOKENS for part in parts):
        return None
    train, valid = (part[0] for part in parts if part is not None)
    step = max(1, len(valid) // PIECES)
    cut = len(train) - min(len(train) // 5, len(valid))
    known = _hashes(train)
    return {
        "copied": float(np.isin(_hashes(valid)[::step], known).mean()),
        "by itself": float(np.isin(known[cut::step], known[: cut - RUN_TOKENS + 1]).mean()),
        "tokens": RUN_TOKENS,
    }


def _judge_copied(f: Figures) -> Iterator[Verdict]:
    if f["copied"] > COPIED + 2 * f["by itself"]:
        yield Verdict(
            "warning",
            f"{f['copied']:.0%} of the validation text's runs of {f['tokens']} tokens stand in the training text as well (within training it would be "
            f"{f['by itself']:.0%}): validation is partly what training read.",
            f,
            "Take copies out before splitting; a file named for validation must not be a part of the training text.",
        )


COPIED_TEXT = Check("validation-text-in-training", "data", "DA15", _copied, _judge_copied)

TOKENS = (UNKNOWN, COPIED_TEXT)
TEXTS = (UNKNOWN, CUT, SAME_TEXTS, LEAKING_WORDS)
