"""Classifiers of texts: a linear model of n-grams, and beside it a network of tokens that learns what that lacks.

The network is a small convolutional one, or the body of a language model.

Shapes: b texts, t tokens, f n-grams of a text, d width, c outputs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tipsai.activations import function
from tipsai.core.errors import require_positive
from tipsai.text.tokenizers import UNKNOWN
from tipsai.text.transformer import Transformer

PADDING = 0  # tokens are numbered from 1
HIDDEN = UNKNOWN + 1


class Convolutions(nn.Module):
    """Tokens int64 [b, t] to what occurs in a text, [b, n_features]: convolutions over words, the largest value of each.

    Args:
        n_tokens: of the vocabulary.
        dim: width.
        sizes: words that a convolution spans, odd.
        dropout: share of an embedding's features that is dropped.
        hidden: share of the words that are hidden in training.
        act: see tipsai.activations.

    Source: Kim 1408.5882; hidden words: Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods".
    """

    def __init__(
        self,
        n_tokens: int,
        dim: int = 128,
        sizes: Sequence[int] = (1, 3, 5),
        dropout: float = 0.4,
        hidden: float = 0.15,
        act: str = "relu",
    ) -> None:
        super().__init__()
        require_positive("dim", dim)
        self.embedding = nn.Embedding(n_tokens + 1, dim, padding_idx=PADDING)
        self.convolutions = nn.ModuleList([nn.Conv1d(dim, dim, size, padding=size // 2) for size in sizes])
        self.dropout, self.hidden, self.act = nn.Dropout(dropout), hidden, function(act)
        self.n_features = dim * len(sizes)

    def forward(self, tokens_bt: Tensor) -> Tensor:
        if self.training and self.hidden:
            hide = torch.rand(tokens_bt.shape, device=tokens_bt.device) < self.hidden
            tokens_bt = tokens_bt.masked_fill(hide & (tokens_bt != PADDING), HIDDEN)
        there_b1t = (tokens_bt != PADDING)[:, None]
        x_bdt = self.dropout(self.embedding(tokens_bt)).transpose(1, 2) * there_b1t
        found = [self.act(conv(x_bdt)).masked_fill(~there_b1t, 0.0).amax(2) for conv in self.convolutions]
        return torch.cat(found, 1)


class Encoder(nn.Module):
    """Tokens int64 [b, t] to the mean, the largest and the last of what a language model's output layer would see, [b, 3 d].

    A text longer than the model's context is read from its beginning as far as that goes.

    Source: Howard and Ruder 1801.06146, section 3.3, concat pooling.
    """

    def __init__(self, **transformer: Any) -> None:
        super().__init__()
        self.body = Transformer(**transformer)
        self.n_features = 3 * self.body.embedding.embedding_dim

    def forward(self, tokens_bt: Tensor) -> Tensor:
        tokens_bt = tokens_bt[:, : self.body.block_size]
        there_bt1 = (tokens_bt != PADDING)[:, :, None]
        x_btd = self.body.features((tokens_bt - 1).clamp(min=0))  # causal: padding at the end changes nothing before it
        n_b = there_bt1.sum(1).clamp(min=1)
        mean = (x_btd * there_bt1).sum(1) / n_b
        largest = x_btd.masked_fill(~there_bt1, float("-inf")).amax(1).nan_to_num(neginf=0.0)
        last = x_btd[torch.arange(len(x_btd), device=x_btd.device), n_b[:, 0] - 1]
        return torch.cat([mean, largest, last], 1)


NETWORKS: Mapping[str, type[Convolutions] | type[Encoder]] = {"convolutions": Convolutions, "encoder": Encoder}


class TextClassifier(nn.Module):
    """Logits [b, c] from tokens and n-grams.

    The last layer begins at zero, so that training starts from what the linear model says; that comes from `set_linear`.
    Outside training the network counts only as much as `share` says, between 0 and 1.

    Args:
        network: "convolutions" or "encoder".
        arguments: of the network.
        n_grams: features of the linear model.
        n_out: outputs.
        dropout: share of the network's features dropped before the last layer.
    """

    def __init__(
        self, network: str, arguments: Mapping[str, Any], n_grams: int, n_out: int, dropout: float = 0.4
    ) -> None:
        super().__init__()
        self.network = NETWORKS[network](**arguments)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.network.n_features, n_out)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.linear: Tensor
        self.bias: Tensor
        self.share: Tensor
        self.register_buffer("share", torch.ones(()))
        self.register_buffer("linear", torch.zeros(n_grams, n_out))
        self.register_buffer("bias", torch.zeros(n_out))

    def set_linear(self, weights_fc: Tensor, bias_c: Tensor) -> None:
        """Takes over the linear model: logits are x weights + bias."""
        self.linear.copy_(weights_fc)
        self.bias.copy_(bias_c)

    def forward(self, tokens_bt: Tensor, *linear: Tensor) -> Tensor:
        """Logits.

        Args:
            tokens_bt: tokens from 1 on, 0 after the end.
            *linear: (n-grams int64 [b, f], weights float [b, f]); or the linear model's logits [b, c].
        """
        beside, found = self.parts(tokens_bt, *linear)
        return beside + found if self.training else beside + self.share * found

    def parts(self, tokens_bt: Tensor, *linear: Tensor) -> tuple[Tensor, Tensor]:
        """What the linear model says, and what the network adds to it, [b, c] each. For the arguments see forward."""
        if len(linear) == 1:
            beside = linear[0]
        else:
            beside = F.embedding_bag(linear[0], self.linear, mode="sum", per_sample_weights=linear[1]) + self.bias
        return beside, self.head(self.dropout(self.network(tokens_bt)))


def groups(model: nn.Module) -> list[list[nn.Parameter]]:
    """Layer groups of a classifier on a language model: embedding, the blocks in halves, the last layer."""
    assert isinstance(model, TextClassifier) and isinstance(model.network, Encoder)
    body = model.network.body
    half = len(body.blocks) // 2
    first = [p for block in body.blocks[:half] for p in block.parameters()]
    second = [p for block in body.blocks[half:] for p in block.parameters()]
    inside = {*first, *second}
    rest = [p for p in body.parameters() if p not in inside]
    made = [rest, first, second, list(model.head.parameters())]
    return [group for group in made if group]
