"""The built-in network for small pictures: a residual network on whitened patches (AR05, DA12)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tipsai.activations import Activation
from tipsai.core.errors import require_positive

LARGEST_AT_FULL = 48  # pixels; above, the first convolution already takes every second pixel
SMALLEST_MAP = 3  # pixels of a side that halving may lead to; at 28 pixels as good as staying at 7, in 0.6 of the time


class PatchWhitening(nn.Module):
    """A first convolution that decorrelates neighbouring pixels, and is not trained but for its bias.

    Its filters are the principal directions of the training pictures' patches, each divided by the spread along it, and
    once more with the other sign.

    Args:
        n_in: channels of a picture.
        stride: of the convolution.

    Attributes:
        weight: float [n_out, n_in, k, k] with k = 2, or 3 for a single channel, and n_out = 2 n_in k^2; random and
            orthogonal until `fit`.

    Source: Jordan 2404.00498, section 3.2, after Page, "How to train your ResNet 8", 2019.
    """

    def __init__(self, n_in: int, stride: int = 1) -> None:
        super().__init__()
        self.side, self.stride = 3 if n_in == 1 else 2, stride
        n = n_in * self.side**2
        directions = nn.init.orthogonal_(torch.empty(n, n)).reshape(n, n_in, self.side, self.side)
        self.weight: Tensor
        self.register_buffer("weight", torch.cat([directions, -directions]))
        self.bias = nn.Parameter(torch.zeros(2 * n))
        self.n_out = 2 * n

    def fit(self, x_bchw: Tensor, least: float = 5e-4) -> None:
        """Takes the filters from pictures.

        Args:
            x_bchw: normalised training pictures; some thousands are enough.
            least: added to the variances, so that directions without any are not blown up.
        """
        n = self.n_out // 2
        patches = F.unfold(self._padded(x_bchw.float()), self.side).transpose(1, 2).reshape(-1, n)
        centred = (patches - patches.mean(0)).double()
        spread, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        filters = (directions / (spread.clamp(min=0) + least).sqrt()).T.flip(0)
        filters = filters.reshape(n, -1, self.side, self.side).to(self.weight)
        self.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, x_bchw: Tensor) -> Tensor:
        return F.conv2d(self._padded(x_bchw), self.weight, self.bias, self.stride)

    def _padded(self, x_bchw: Tensor) -> Tensor:
        """One more row and column beyond the right and lower edge, and for a side of 3 beyond all, so that sizes stay."""
        before, after = (self.side - 1) // 2, self.side // 2
        return F.pad(x_bchw, (before, after, before, after), mode="replicate")


class Residual(nn.Module):
    """Two convolutions whose result is added to the input: x + f(x) (AR01).

    The last norm starts at zero, so that the block starts as the identity and depth costs nothing at first
    (Goyal et al. 1706.02677, section 5.1).

    Args:
        width: channels.
        act: activation.
    """

    def __init__(self, width: int, act: str) -> None:
        super().__init__()
        self.body = nn.Sequential(*convolution(width, width), Activation(act), *convolution(width, width))
        nn.init.zeros_(self.body[-1].weight)  # type: ignore[arg-type]
        self.act = Activation(act)

    def forward(self, x_bchw: Tensor) -> Tensor:
        out: Tensor = self.act(x_bchw + self.body(x_bchw))
        return out


def convolution(n_in: int, n_out: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """A 3x3 convolution and the batch norm after it, which has the bias."""
    return nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)


class SmallResNet(nn.Sequential):
    """A body for pictures of up to 96 pixels: a whitening stem, and three stages that each halve the map and double the channels.

    Input float [b, n_in, h, w]; output maps [b, 4 * width, h / 8, w / 8], less halved where pictures are tiny. At 32
    pixels and width 64 a picture costs some 108 million multiplications.

    The idea of a stage (convolve, pool, then one residual block) is that of David Page's ResNet-9, "How to train your
    ResNet", 2018-2019.

    Args:
        n_in: channels of a picture.
        size: the pictures' side in pixels; the smaller one where they are not square.
        width: channels of the first stage.
        depth: residual blocks a stage.
        act: relu, leaky_relu, gelu, silu, mish or selu.
    """

    def __init__(self, n_in: int = 3, size: int = 32, width: int = 64, depth: int = 1, act: str = "gelu") -> None:
        for name, value in (("n_in", n_in), ("size", size), ("width", width), ("depth", depth)):
            require_positive(name, value, zero=name == "depth")
        stride = 1 if size <= LARGEST_AT_FULL else 2
        stem = PatchWhitening(n_in, stride)
        stages: list[nn.Module] = [nn.Sequential(stem, Activation(act))]
        channels, side = stem.n_out, -(-size // stride)
        for factor in (1, 2, 4):
            conv, norm = convolution(channels, width * factor)
            halve = [nn.MaxPool2d(2)] if side // 2 >= SMALLEST_MAP else []
            blocks = [Residual(width * factor, act) for _ in range(depth)]
            stages.append(nn.Sequential(conv, *halve, norm, Activation(act), *blocks))
            channels, side = width * factor, side // 2 if halve else side
        super().__init__(*stages)
        self.n_features = channels

    def fit(self, x_bchw: Tensor) -> None:
        """Fits the whitening of the first layer to normalised training pictures [b, n_in, h, w]."""
        first = self[0][0]  # type: ignore[index]
        first.fit(x_bchw)
