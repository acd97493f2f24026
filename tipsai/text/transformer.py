"""A small language model: a decoder-only transformer, to be read from top to bottom.

Norms are layer norms without weights (AR01): torch has a kernel of its own for them, and none for RMS norms on processors.
What goes into the first block is a token with a little of the two before it, each feature by a weight of its own: pairs and
triples of tokens are then there to be seen, and attention is free for what lies further back.

Shapes: b texts, t tokens, d width, h heads, k width of a head, v vocabulary. Nothing has a bias.

A block normalises what it reads and adds what it finds (x + f(norm(x))), so that at the start, when the last matrix of each
f is zero, the whole is the identity and depth costs nothing.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tipsai.activations import function
from tipsai.core.errors import SettingError, require_positive

EARLIER = 2  # tokens before each that are mixed into it
WIDER = 3  # how much wider feed-forward networks are inside; 4 came out alike in small models, and takes longer
FIRST_LOGIT = 0.25  # of a token after itself, at the start
UNSEEN = -15.0  # logit of a token that training never saw: a probability of a billionth and less


class Cache:
    """Keys and values of the tokens so far, for generation.

    Attributes:
        k, v: a tensor [b, h, t_max, k] for each layer.
        last: of the last EARLIER tokens, what is mixed into those after them, [b, EARLIER, d].
        tokens: int64 [b, n], those so far.
    """

    def __init__(self, k: list[Tensor], v: list[Tensor], last: Tensor, tokens: Tensor) -> None:
        self.k, self.v, self.last, self.tokens = k, v, last, tokens

    @property
    def n(self) -> int:
        """Tokens so far."""
        return self.tokens.shape[1]


class Attention(nn.Module):
    """Causal self-attention with rotary positions and normalised queries and keys.

    Args:
        dim: width.
        n_heads: which divide it.
        dropout: share of the output.

    Source: Vaswani et al. 1706.03762; rotary positions: Su et al. 2104.09864; normalised queries and keys: Henry et al.
    2010.04245.
    """

    def __init__(self, dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.head = n_heads, dim // n_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_btd: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        b, t, d = x_btd.shape
        found_bt3hk = self.qkv(x_btd).view(b, t, 3, self.n_heads, self.head)
        q, k = rotated(F.layer_norm(found_bt3hk[:, :, :2], (self.head,)), *turn).permute(2, 0, 3, 1, 4)  # [b, h, t, k]
        v = found_bt3hk[:, :, 2].transpose(1, 2)
        if cache is not None:
            cache.k[layer][:, :, cache.n : cache.n + t], cache.v[layer][:, :, cache.n : cache.n + t] = k, v
            k, v = cache.k[layer][:, :, : cache.n + t], cache.v[layer][:, :, : cache.n + t]
        causal = mask is None and t > 1 and k.shape[2] == t
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        out: Tensor = self.dropout(self.out(found.transpose(1, 2).reshape(b, t, d)))
        return out


def rotated(x_btnhk: Tensor, cos_tk: Tensor, sin_tk: Tensor) -> Tensor:
    """Each pair of features (i, i + k/2) turned by its token's position times the pair's frequency."""
    first, second = x_btnhk.chunk(2, -1)
    return torch.addcmul(x_btnhk * cos_tk[:, None, None], torch.cat([second, first], -1), sin_tk[:, None, None])


class FeedForward(nn.Module):
    """Two matrices with an activation between them, WIDER times as wide inside."""

    def __init__(self, dim: int, act: str, dropout: float) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(dim, WIDER * dim, bias=False), nn.Linear(WIDER * dim, dim, bias=False)
        self.act, self.dropout = function(act), nn.Dropout(dropout)

    def forward(self, x_btd: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.out(self.act(self.into(x_btd))))
        return out


class Block(nn.Module):
    """Attention, then a feed-forward network, each added to what it reads."""

    def __init__(self, dim: int, n_heads: int, act: str, dropout: float) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(dim, n_heads, dropout), FeedForward(dim, act, dropout)

    def forward(
        self, x_btd: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        d = x_btd.shape[-1]
        x_btd = x_btd + self.attention(F.layer_norm(x_btd, (d,)), turn, mask, cache, layer)
        out: Tensor = x_btd + self.feed_forward(F.layer_norm(x_btd, (d,)))
        return out


class Transformer(nn.Module):
    """Tokens int64 [b, t] to the logits of each next token [b, t, v].

    Args:
        n_tokens: of the vocabulary.
        block_size: tokens of context at most.
        dim: width.
        n_layers: blocks.
        n_heads: of attention; dim / n_heads must be even.
        dropout: share of each block's outputs.
        act: of the feed-forward networks; see tipsai.activations.
        tied: whether the embedding is the output layer too (LM01).
        unseen: tokens that training never saw; they get a probability near zero (LM05).
        separator: the token that closes a document, where attention must not look across it.
    """

    def __init__(
        self,
        n_tokens: int,
        block_size: int = 256,
        dim: int = 256,
        n_layers: int = 6,
        n_heads: int = 4,
        dropout: float = 0.0,
        act: str = "relu_squared",
        tied: bool = True,
        unseen: Sequence[int] = (),
        separator: int | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("block_size", block_size), ("dim", dim), ("n_layers", n_layers), ("n_heads", n_heads)):
            require_positive(name, value)
        if dim % (2 * n_heads):
            raise SettingError(f"dim is {dim} and n_heads {n_heads}; dim must be a multiple of 2 * n_heads.")
        self.block_size, self.n_heads, self.separator = block_size, n_heads, separator
        self.embedding = nn.Embedding(n_tokens, dim)
        self.earlier = nn.ParameterList([nn.Parameter(torch.empty(dim)) for _ in range(EARLIER)])
        self.blocks = nn.ModuleList([Block(dim, n_heads, act, dropout) for _ in range(n_layers)])
        self.gain = nn.Parameter(torch.empty(dim))
        self.head = None if tied else nn.Linear(dim, n_tokens, bias=False)
        self.dropout = nn.Dropout(dropout)
        cos, sin = turns(block_size, dim // n_heads)
        self.cos: Tensor
        self.sin: Tensor
        self.unseen: Tensor
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("unseen", torch.tensor(sorted(unseen), dtype=torch.int64), persistent=False)
        self.init_weights()

    def init_weights(self) -> None:
        """How weights begin.

        | weight | standard deviation |
        |---|---|
        | embedding, and the output layer tied to it | 1 / sqrt(d) |
        | an output layer of its own | 0 |
        | into attention and feed-forward networks | 1 / sqrt(inputs) |
        | out of them | 0 |
        | of earlier tokens | 0 |

        The gain before the output layer begins small: a token's own embedding is all that the output layer sees at first,
        and would make it predict the token again; so the first logits are all near 0 (TR08).
        """
        d = self.embedding.embedding_dim
        nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(d))
        nn.init.constant_(self.gain, FIRST_LOGIT / math.sqrt(d))
        for weight in self.earlier:
            nn.init.zeros_(weight)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)
        for block in self.blocks:
            assert isinstance(block, Block)
            for matrix in (block.attention.qkv, block.feed_forward.into):
                nn.init.normal_(matrix.weight, std=1 / math.sqrt(matrix.in_features))
            for matrix in (block.attention.out, block.feed_forward.out):
                nn.init.zeros_(matrix.weight)

    def forward(self, tokens_bt: Tensor, cache: Cache | None = None) -> Tensor:
        """The logits; with a cache, those of the tokens that follow what it holds.

        Raises:
            SettingError: there are more tokens than block_size.
        """
        x_btd = self.features(tokens_bt, cache)
        logits = F.linear(x_btd * self.gain, (self.head or self.embedding).weight)
        return logits.index_fill(-1, self.unseen, UNSEEN) if len(self.unseen) else logits

    def features(self, tokens_bt: Tensor, cache: Cache | None = None) -> Tensor:
        """What the output layer sees of each token, [b, t, d]."""
        before, t = 0 if cache is None else cache.n, tokens_bt.shape[1]
        if before + t > self.block_size:
            raise SettingError(f"there are {before + t} tokens, and block_size is {self.block_size}; give fewer.")
        turn = (self.cos[before : before + t], self.sin[before : before + t])
        so_far = tokens_bt if cache is None else torch.cat([cache.tokens, tokens_bt], 1)
        mask = None
        if self.separator is not None and before + t > 1:
            mask = same_document(so_far, self.separator, t)
        elif before and t > 1:
            mask = torch.ones(t, before + t, dtype=torch.bool, device=tokens_bt.device).tril(before)[None, None]
        d = self.embedding.embedding_dim
        x_btd = self.dropout(self._mixed(F.layer_norm(self.embedding(tokens_bt), (d,)), mask, cache))
        for layer, block in enumerate(self.blocks):
            x_btd = block(x_btd, turn, mask, cache, layer)
        if cache is not None:
            cache.tokens = so_far
        return F.layer_norm(x_btd, (d,))

    def _mixed(self, x_btd: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        """Each token with a little of those before it, as far as the mask lets it see them."""
        last = x_btd.new_zeros(len(x_btd), EARLIER, x_btd.shape[2]) if cache is None else cache.last
        both = torch.cat([last, x_btd], 1)
        if cache is not None:
            cache.last = both[:, -EARLIER:]
        mixed = x_btd
        for i, weight in enumerate(self.earlier, 1):
            before = both[:, EARLIER - i : -i]
            if mask is not None:
                offset = mask.shape[3] - mask.shape[2] - i  # token t of these is token t + offset + i of all
                seen = F.pad(mask[:, 0].diagonal(offset, 1, 2), (max(0, -offset), 0))  # may it look at token t - i?
                before = before * seen[:, :, None]
            mixed = mixed + weight * before
        return mixed

    def cache(self, b: int = 1) -> Cache:
        """An empty cache for b texts."""
        weight = self.embedding.weight
        shape = (b, self.n_heads, self.block_size, weight.shape[1] // self.n_heads)
        k, v = ([weight.new_zeros(shape) for _ in self.blocks] for _ in "kv")
        tokens = torch.empty(b, 0, dtype=torch.int64, device=weight.device)
        return Cache(k, v, weight.new_zeros(b, EARLIER, weight.shape[1]), tokens)


def turns(t: int, k: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Cosine and sine [t, k] of the rotary positions, for both features of each pair; the first's sine with its sign."""
    frequencies = base ** (-torch.arange(0, k, 2) / k)
    angles = torch.arange(t)[:, None] * frequencies
    return torch.cat([angles.cos()] * 2, 1), torch.cat([-angles.sin(), angles.sin()], 1)


def same_document(tokens_bn: Tensor, separator: int, t: int | None = None) -> Tensor:
    """Which tokens each of the last t may look at: earlier ones of its own document; bool [b, 1, t, n].

    A separator closes its document.
    """
    n = tokens_bn.shape[1]
    t = n if t is None else t
    closed = tokens_bn == separator
    document = closed.cumsum(1) - closed.long()
    causal = torch.ones(t, n, dtype=torch.bool, device=tokens_bn.device).tril(n - t)
    return ((document[:, n - t :, None] == document[:, None, :]) & causal)[:, None]
