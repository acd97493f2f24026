"""The built-in network for small pictures: a residual network without anything exotic (AR05)."""

from torch import Tensor, nn

from tipsai.activations import Activation
from tipsai.core.errors import require_positive

LARGEST_AT_FULL = 48  # pixels; above, the first convolution already takes every second pixel
SMALLEST_MAP = 4  # pixels of a side; smaller maps are not halved any further


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
    """A body for pictures of up to 96 pixels: a stem, and three stages that each halve the map and double the channels.

    Input float [b, n_in, h, w]; output maps [b, 4 * width, h / 8, w / 8], less halved where pictures are tiny. At 32
    pixels and width 64 a picture costs 113 million multiplications.

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
        stem = max(16, width // 2)
        stages: list[nn.Module] = [nn.Sequential(*convolution(n_in, stem, stride), Activation(act))]
        channels, side = stem, -(-size // stride)
        for factor in (1, 2, 4):
            conv, norm = convolution(channels, width * factor)
            halve = [nn.MaxPool2d(2)] if side // 2 >= SMALLEST_MAP else []
            blocks = [Residual(width * factor, act) for _ in range(depth)]
            stages.append(nn.Sequential(conv, *halve, norm, Activation(act), *blocks))
            channels, side = width * factor, side // 2 if halve else side
        super().__init__(*stages)
        self.n_features = channels
