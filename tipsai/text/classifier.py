"""A classifier of texts: a linear model of n-grams, and a small convolutional network of words that learns what it lacks.

Shapes: b texts, t words, f features of a text, d width, c outputs.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tipsai.activations import function
from tipsai.core.errors import require_positive
from tipsai.text.tokenizers import UNKNOWN

PADDING = 0


class WordConvolutions(nn.Module):
    """Words int64 [b, t] to what occurs in a text, [b, d * len(sizes)]: convolutions over words, the largest value of each.

    Args:
        n_words: of the vocabulary; word 0 is padding.
        dim: width.
        sizes: words that a convolution spans, odd.
        dropout: share of an embedding's features that is dropped.
        hidden: share of the words that are hidden in training.
        act: see tipsai.activations.

    Source: Kim 1408.5882; hidden words: Iyyer et al. 2015, "Deep Unordered Composition".
    """

    def __init__(self, n_words: int, dim: int, sizes: Sequence[int], dropout: float, hidden: float, act: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, dim, padding_idx=PADDING)
        self.convolutions = nn.ModuleList([nn.Conv1d(dim, dim, size, padding=size // 2) for size in sizes])
        self.dropout, self.hidden, self.act = nn.Dropout(dropout), hidden, function(act)

    def forward(self, words_bt: Tensor) -> Tensor:
        if self.training and self.hidden:
            hide = torch.rand(words_bt.shape, device=words_bt.device) < self.hidden
            words_bt = words_bt.masked_fill(hide & (words_bt != PADDING), UNKNOWN)
        there_b1t = (words_bt != PADDING)[:, None]
        x_bdt = self.dropout(self.embedding(words_bt)).transpose(1, 2) * there_b1t
        found = [self.act(conv(x_bdt)).masked_fill(~there_b1t, 0.0).amax(2) for conv in self.convolutions]
        return torch.cat(found, 1)


class TextClassifier(nn.Module):
    """Logits [b, c] from words and n-grams.

    The network begins at zero, so that training starts from what the linear model says; that comes from `set_linear`.

    Args:
        n_words: of the vocabulary.
        n_features: n-grams.
        n_out: outputs.
        dim: width of the network.
        sizes: words that its convolutions span.
        dropout: share of features dropped before the last layer and after the embedding.
        hidden: share of the words that are hidden in training.
        act: see tipsai.activations.
    """

    def __init__(
        self,
        n_words: int,
        n_features: int,
        n_out: int,
        dim: int = 128,
        sizes: Sequence[int] = (1, 3, 5),
        dropout: float = 0.4,
        hidden: float = 0.15,
        act: str = "relu",
    ) -> None:
        super().__init__()
        require_positive("dim", dim)
        self.words = WordConvolutions(n_words, dim, sizes, dropout, hidden, act)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dim * len(sizes), n_out)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.linear: Tensor
        self.bias: Tensor
        self.register_buffer("linear", torch.zeros(n_features, n_out))
        self.register_buffer("bias", torch.zeros(n_out))

    def set_linear(self, weights_fc: Tensor, bias_c: Tensor) -> None:
        """Takes over the linear model: logits are x weights + bias."""
        self.linear.copy_(weights_fc)
        self.bias.copy_(bias_c)

    def forward(self, words_bt: Tensor, *linear: Tensor) -> Tensor:
        """Logits.

        Args:
            words_bt: words, 0 after the end.
            *linear: (features int64 [b, f], weights float [b, f]), the n-grams; or the linear model's logits [b, c].
        """
        if len(linear) == 1:
            beside = linear[0]
        else:
            beside = F.embedding_bag(linear[0], self.linear, mode="sum", per_sample_weights=linear[1]) + self.bias
        out: Tensor = beside + self.head(self.dropout(self.words(words_bt)))
        return out
