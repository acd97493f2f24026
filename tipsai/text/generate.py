"""Text from a language model: tokens as they are drawn, and their text as it is written."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tipsai.core import rng
from tipsai.core.errors import SettingError, require_positive
from tipsai.core.evaluate import evaluating
from tipsai.text.tokenizers import Tokenizer

SAID = 8  # tokens before new ones with which these are decoded, since some tokenizers join them


def pick(logits_v: Tensor, temperature: float, top_k: int | None, top_p: float, generator: torch.Generator) -> int:
    """One token, drawn from the softmax of logits.

    Args:
        logits_v: float [v].
        temperature: divides them; 0 takes the most probable.
        top_k: draw among so many most probable tokens.
        top_p: draw among the fewest most probable tokens whose probabilities sum to this.
        generator: where the randomness comes from.

    Source: top_p: Holtzman et al. 1904.09751.
    """
    if temperature == 0:
        return int(logits_v.argmax())
    values, order = (logits_v.double() / temperature).sort(descending=True, stable=True)
    p = values.softmax(0)[:top_k]
    before = p.cumsum(0) - p
    p = torch.where(before < top_p * p.sum(), p, 0.0)
    return int(order[torch.multinomial(p / p.sum(), 1, generator=generator)])


def stream(
    model: nn.Module,
    prompt: Sequence[int],
    n: int,
    *,
    block_size: int,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int | None = None,
    end: int | None = None,
    cached: bool = True,
    output: Any = None,
) -> Iterator[int]:
    """Up to n tokens that follow a prompt, as they are drawn.

    When the context is full, the older half of it is forgotten.

    Args:
        model: tokens [1, t] to logits [1, t, v]; one that has `cache` is asked for one token at a time.
        prompt: tokens, at least one; of a longer one the last block_size count.
        n: tokens at most.
        block_size: tokens of context.
        temperature, top_k, top_p: see pick.
        seed: of the draws.
        end: the token at which to stop; it is not given.
        cached: whether keys and values are kept; the tokens are the same.
        output: from what the model returns to logits.

    Raises:
        SettingError: an argument is out of range.
    """
    require_positive("n", n)
    require_positive("temperature", temperature, zero=True)
    if top_k is not None:
        require_positive("top_k", top_k)
    if not 0 < top_p <= 1:
        raise SettingError(f"top_p is {top_p!r}; expected a share, above 0 and at most 1.")
    if not len(prompt):
        raise SettingError("the prompt is empty; give at least one token to go on from.")
    return _drawn(
        model, list(prompt)[-block_size:], n, block_size, (temperature, top_k, top_p), seed, end, cached, output
    )


def _drawn(
    model: nn.Module,
    context: list[int],
    n: int,
    block_size: int,
    how: tuple[float, int | None, float],
    seed: int | None,
    end: int | None,
    cached: bool,
    output: Any,
) -> Iterator[int]:
    draws = rng.generator(rng.draw_seed() if seed is None else seed, "generate")
    device = next(model.parameters()).device
    makes_cache = getattr(model, "cache", None) if cached else None
    cache, read = None, 0
    for _ in range(n):
        if len(context) > block_size:
            context, cache = context[-max(1, block_size // 2) :], None
        if cache is None:
            cache, read = (makes_cache() if makes_cache is not None else None), 0
        tokens = torch.tensor([context[read:]], device=device)
        with evaluating(model):
            made = model(tokens, cache) if cache is not None else model(tokens)
        logits = (made if output is None else output(made))[0, -1].float().cpu()
        read = len(context) if cache is not None else 0
        token = pick(logits, *how, draws)
        if token == end:
            return
        context.append(token)
        yield token


def written(coder: Tokenizer, context: Sequence[int], tokens: Iterable[int]) -> Iterator[str]:
    """The text of tokens that follow others, as soon as its characters are complete."""
    said, pending = list(context)[-SAID:], list[int]()
    for token in tokens:
        pending.append(token)
        before, text = coder.decode(said), coder.decode(said + pending)
        if not text.endswith("\N{REPLACEMENT CHARACTER}") or len(pending) >= SAID:
            yield text[len(before) :]
            said, pending = (said + pending)[-SAID:], []


def until(pieces: Iterable[str], stop: str) -> Iterator[str]:
    """Pieces of a text up to where another text begins."""
    if not stop:
        raise SettingError("stop is empty; give the text that ends it, or leave it out.")
    return _until(pieces, stop)


def _until(pieces: Iterable[str], stop: str) -> Iterator[str]:
    held = ""
    for piece in pieces:
        held += piece
        if stop in held:
            yield held[: held.index(stop)]
            return
        kept = next((k for k in range(min(len(stop) - 1, len(held)), 0, -1) if stop.startswith(held[-k:])), 0)
        yield held[: len(held) - kept]
        held = held[len(held) - kept :]
    yield held
