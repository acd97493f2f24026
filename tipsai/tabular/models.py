"""The default network for tables: learned embeddings of columns, then a small ensemble of MLPs in one module.

Categories get embeddings, numbers a piecewise-linear encoding on quantile bins with a learned linear map per column
(Gorishniy et al. 2022, arXiv:2203.05556), and the concatenated features go through `n_members` MLPs that are trained
together as batched matrix products (in the spirit of TabM, Gorishniy et al. 2024, arXiv:2410.24210).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tipsai import activations

MAX_NUMBER_FEATURES = 2048
"""Features that all number columns together may produce before their embedding shrinks."""


def embedding_size(n_categories: int) -> int:
    """Size of the embedding of a categorical column (fast.ai's rule of thumb).

    Args:
        n_categories: rows of the embedding table, the one for unknown categories included.
    """
    return min(600, round(1.6 * math.pow(n_categories, 0.56)))


def number_embedding_size(n_numbers: int, largest: int = 16) -> int:
    """Size of the embedding of a number column: `largest`, less when there are many columns, 0 for raw values only.

    The embeddings of all columns together stay below `MAX_NUMBER_FEATURES` features, so 128 columns still get 16 each,
    512 columns get 4, and beyond 1,024 columns the standardised values go into the first layer as they are.
    """
    size = min(largest, MAX_NUMBER_FEATURES // max(1, n_numbers))
    return size if size >= 2 else 0


class PiecewiseLinear(nn.Module):
    """Embeds every number column for every member: a line plus a learned map of the piecewise-linear encoding.

    The encoding of a value has one entry a bin: 0 below the bin, 1 above it, linear inside. Its weights start at zero,
    so a column starts as a random line and bends where the data ask for it.

    Args:
        edges: ascending bin edges of every column, in the units of the input; a column may have any number of them.
        size: features a column.
        n_members: `k`; each member learns an embedding of its own, without which the members end up alike.
    """

    low: Tensor
    slope: Tensor

    def __init__(self, edges: Sequence[Sequence[float]], size: int, n_members: int) -> None:
        super().__init__()
        n, k = len(edges), n_members
        n_bins = max(1, max((len(e) for e in edges), default=0) - 1)
        # A bin that pads a column with fewer edges has slope 0: its encoding is 0 everywhere.
        low = torch.zeros(n, 1, n_bins)
        slope = torch.zeros(n, 1, n_bins)
        for column, column_edges in enumerate(edges):
            e = torch.as_tensor(column_edges, dtype=torch.float32)
            if len(e) > 1:
                low[column, 0, : len(e) - 1] = e[:-1]
                slope[column, 0, : len(e) - 1] = 1 / (e[1:] - e[:-1]).clamp(min=1e-6)
        self.register_buffer("low", low)
        self.register_buffer("slope", slope)
        self.weight = nn.Parameter(torch.empty(n, 1, k * size).uniform_(-1, 1))
        self.bias = nn.Parameter(torch.zeros(n, 1, k * size))
        self.bin_weight = nn.Parameter(torch.zeros(n, n_bins, k * size))
        self.n_members = k

    def forward(self, numbers_bn: Tensor) -> Tensor:
        """Embeds `[b, n]` numbers as `[k, b, n, size]`."""
        b, n = numbers_bn.shape
        x_nb1 = numbers_bn.T[:, :, None]
        encoded_nbt = ((x_nb1 - self.low) * self.slope).clamp(0, 1)
        # Columns are the batch of the matrix product: [n, b, t] @ [n, t, k * size].
        out = torch.addcmul(torch.baddbmm(self.bias, encoded_nbt, self.bin_weight), x_nb1, self.weight)
        return out.view(n, b, self.n_members, -1).permute(2, 1, 0, 3)


class Members(nn.Module):
    """One linear layer for each of `k` members: `[k, b, n_in]` to `[k, b, n_out]`."""

    def __init__(self, k: int, n_in: int, n_out: int, *, zero: bool = False) -> None:
        super().__init__()
        # nn.Linear's own initialisation; the output layer starts at zero so that the first loss is the task's.
        bound = 0.0 if zero else 1 / math.sqrt(max(1, n_in))
        self.weight = nn.Parameter(torch.empty(k, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(k, 1, n_out).uniform_(-bound, bound))

    def forward(self, x_kbi: Tensor) -> Tensor:
        """Applies every member's own layer to its own input."""
        return torch.baddbmm(self.bias, x_kbi, self.weight)


class ByteDropout(nn.Module):
    """Dropout whose mask is drawn from random bytes on a CPU, where `nn.Dropout` costs as much as the layer it follows.

    The share of dropped units is rounded to 1/256 and the rest rescaled by exactly that share.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout is at least 0 and below 1, not {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Zeroes a share `p` of `x` in training mode."""
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        n = x.numel()
        threshold = min(255, round(self.p * 256))
        words = torch.randint(-(2**63), 2**63 - 1, ((n + 7) // 8,))
        kept = words.view(torch.uint8)[:n].view(x.shape) >= threshold
        return x * kept.to(x.dtype).mul_(256 / (256 - threshold))


class TabularModel(nn.Module):
    """Column embeddings and a small ensemble of MLPs.

    Args:
        cardinalities: rows of each categorical embedding table; code 0 is "unknown".
        n_numbers: number columns.
        n_texts: text columns given as fixed vectors.
        text_dim: length of those vectors.
        n_out: outputs: classes, or targets of a regression.
        edges: ascending quantile-bin edges of each number column (after preprocessing); needed for "piecewise".
        combine: how members are combined in evaluation mode: "softmax" (log of the mean probability), "sigmoid"
            (logit of the mean probability) or "mean".
        number_embedding: "piecewise" or "none" (raw values).
        width: units of a hidden layer of one member.
        depth: hidden layers.
        dropout: dropout after each hidden layer.
        n_members: MLPs in the ensemble.
        act: activation, by name; see tipsai.activations.
        text_features: features that each text column is projected to.
        unknown_rate: share of codes replaced by 0 in training mode, which trains the embedding of "unknown".
    """

    def __init__(
        self,
        *,
        cardinalities: Sequence[int],
        n_numbers: int,
        n_texts: int = 0,
        text_dim: int = 0,
        n_out: int,
        edges: Sequence[Sequence[float]] | None = None,
        combine: str = "softmax",
        number_embedding: str = "piecewise",
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.1,
        n_members: int = 8,
        act: str = "relu",
        text_features: int = 8,
        unknown_rate: float = 0.05,
    ) -> None:
        super().__init__()
        if combine not in ("softmax", "sigmoid", "mean"):
            raise ValueError(f'combine is "softmax", "sigmoid" or "mean", not {combine!r}')
        if number_embedding not in ("piecewise", "none"):
            raise ValueError(f'number_embedding is "piecewise" or "none", not {number_embedding!r}')
        self.combine, self.act = combine, activations.function(act)
        self.n_members, self.unknown_rate = n_members, unknown_rate

        # Tables start at the usual N(0, 1) and are divided by their size on the way out, which slows their learning by
        # that factor under Adam. Large tables otherwise memorise the training rows of rare categories.
        self.categories = nn.ModuleList(nn.Embedding(n, embedding_size(n)) for n in cardinalities)
        n_in = sum(embedding_size(n) for n in cardinalities)

        size = number_embedding_size(n_numbers) if number_embedding == "piecewise" and n_numbers else 0
        self.numbers: PiecewiseLinear | None = None
        if size:
            if edges is None or len(edges) != n_numbers:
                raise ValueError('number_embedding="piecewise" needs the edges of every number column')
            self.numbers = PiecewiseLinear(edges, size, n_members)
        # A missing number is 0, the median, plus this vector, which never moves where training has none missing.
        self.missing = nn.Parameter(torch.zeros(n_members, 1, n_numbers, max(1, size))) if n_numbers else None
        n_in += n_numbers * max(1, size)

        self.texts = nn.ModuleList(nn.Linear(text_dim, text_features) for _ in range(n_texts))
        n_in += n_texts * text_features

        sizes = [n_in] + [width] * depth
        self.hidden = nn.ModuleList(Members(n_members, i, o) for i, o in zip(sizes[:-1], sizes[1:], strict=True))
        self.dropout = ByteDropout(dropout)
        self.output = Members(n_members, sizes[-1], n_out, zero=True)

    def features(self, codes_bc: Tensor, numbers_bn: Tensor, missing_bn: Tensor, texts_btd: Tensor) -> Tensor:
        """All columns of a batch as one vector for each member and row, `[k, b, n_in]`."""
        b, k = len(numbers_bn), self.n_members
        if self.training and self.unknown_rate > 0:
            codes_bc = codes_bc * (torch.rand(codes_bc.shape, device=codes_bc.device) >= self.unknown_rate)
        shared: list[Tensor] = []
        for i, table in enumerate(self.categories):
            embedded_bd = table(codes_bc[:, i])
            shared.append(embedded_bd / embedded_bd.shape[1])
        shared += [linear(texts_btd[:, i]) for i, linear in enumerate(self.texts)]
        parts = [torch.cat(shared, 1).expand(k, b, -1)] if shared else []
        if self.missing is not None:
            x_kbnd = numbers_bn[None, :, :, None] if self.numbers is None else self.numbers(numbers_bn)
            x_kbnd = torch.addcmul(x_kbnd, missing_bn.to(numbers_bn.dtype)[:, :, None], self.missing)
            parts.append(x_kbnd.flatten(2))
        return torch.cat(parts, 2) if parts else numbers_bn.new_zeros(k, b, 0)

    def forward(
        self,
        codes_bc: Tensor,
        numbers_bn: Tensor,
        missing_bn: Tensor,
        texts_btd: Tensor,
        perm: Tensor | None = None,
        lam: Tensor | None = None,
    ) -> Tensor:
        """Predicts a batch.

        Args:
            codes_bc: category codes, int64 `[b, n_cat]`, 0 for unknown.
            numbers_bn: preprocessed numbers `[b, n_numbers]`, 0 where missing.
            missing_bn: 1 where a number is missing, uint8 `[b, n_numbers]`.
            texts_btd: vectors of text columns `[b, n_texts, text_dim]`.
            perm: for mixup, the partner of every row, int64 `[b]`.
            lam: for mixup, the weight of the row itself, `[b]`.

        Returns:
            In training mode what every member says, `[b, k, n_out]` (`[b, n_out]` for one member); in evaluation mode
            the ensemble's answer `[b, n_out]`: log-probabilities, logits or values, by `combine`.
        """
        x_kbi = self.features(codes_bc, numbers_bn, missing_bn, texts_btd)
        if perm is not None and lam is not None:
            x_kbi = torch.lerp(x_kbi[:, perm], x_kbi, lam.to(x_kbi.dtype)[:, None])
        for layer in self.hidden:
            x_kbi = self.dropout(self.act(layer(x_kbi)))
        out_bko: Tensor = self.output(x_kbi).transpose(0, 1)
        if self.training:
            return out_bko[:, 0] if self.n_members == 1 else out_bko
        return combine_members(out_bko, self.combine)


def combine_members(out_bko: Tensor, how: str) -> Tensor:
    """The ensemble's answer `[b, n_out]` from its members' `[b, k, n_out]`."""
    if how == "mean":
        return out_bko.mean(1)
    log_k = math.log(out_bko.shape[1])
    if how == "softmax":
        return torch.logsumexp(F.log_softmax(out_bko, -1), 1) - log_k
    # log p - log(1 - p) of the mean p; the log k of both cancels.
    return torch.logsumexp(F.logsigmoid(out_bko), 1) - torch.logsumexp(F.logsigmoid(-out_bko), 1)
