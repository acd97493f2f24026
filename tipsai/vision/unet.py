"""Segmentation with a U-shaped decoder over any backbone whose maps shrink: a class, or yes and no, for each pixel.

Which maps the backbone has is found out on one blank picture. The decoder goes from the coarsest to the finest, and last
to the picture itself: each block doubles the resolution, looks at the backbone's map of that size, and convolves twice
(Ronneberger et al. 2015, arXiv:1505.04597). Sizes follow the maps, so pictures may have any, odd ones included.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tipsai.core.errors import SettingError, listing, require_positive
from tipsai.vision.backbone import TRIALS, BodyOptions, OnBody, VisionModel, dry_run, make_body, rebuilding

WIDEST = 256  # channels of a decoder block
TRIAL_SIZE = 96  # pixels; so the maps of usual backbones have a side of at least three


@dataclass(frozen=True, slots=True)
class Level:
    """One of a backbone's maps: the module it leaves, its channels, and pixels of the picture for each of its own."""

    module: str
    channels: int
    stride: float
    channels_last: bool


class Passed(nn.Module):
    """Takes the place of what comes after the last map that is used: hands on its first argument."""

    def forward(self, x: Any, *args: Any, **options: Any) -> Any:
        return x


class _EnoughSeen(Exception):  # noqa: N818 - it ends a pass, and is no error
    """The last map that is used is there."""


class Maps(nn.Module):
    """A backbone that returns its maps `[b, c, h, w]`, fine to coarse. What comes after the last of them is taken out.

    Args:
        net: the backbone, which is changed.
        n_in: channels of a picture.
        size: the pictures' side; maps of a single pixel are left out.

    Raises:
        SettingError: the backbone has fewer than two maps (a ViT has one), or does not run at this size.
    """

    def __init__(self, net: nn.Module, n_in: int = 3, size: int | None = None) -> None:
        super().__init__()
        trial = max(TRIAL_SIZE, size or 0)
        found = find_levels(net, n_in, trial)
        rest = _after(net, found[-1].module, n_in, trial) if found else []
        if sum(_n_layers(net.get_submodule(name)) for name in rest) > _n_layers(net) / 2:
            found = found[:1]  # most of it works on tokens
        self.levels = [at for at in found if size is None or at.stride <= size / 2]
        if len(self.levels) < 2:
            maps = listing(f"{at.module} at stride {at.stride:g}" for at in self.levels) or "none"
            raise SettingError(
                f"a U-net needs a backbone with maps of at least two sizes; the {type(net).__name__} has {maps} for "
                f"pictures of {size or trial} pixels. Take a convolutional one or a Swin (resnet18, convnext_tiny, swin_t)."
            )
        for name in _after(net, self.levels[-1].module, n_in, trial):
            net.set_submodule(name, Passed())
        self.net = net

    def forward(self, x_bchw: Tensor) -> list[Tensor]:
        seen: dict[str, Tensor] = {}

        def see(name: str, out: Tensor) -> None:
            seen[name] = out
            if (
                name == self.levels[-1].module
            ):  # what the network does without modules, such as a view, may not fit maps
                raise _EnoughSeen

        with contextlib.suppress(_EnoughSeen), _watching(self.net, [at.module for at in self.levels], see):
            self.net(x_bchw)
        return [seen[at.module].permute(0, 3, 1, 2) if at.channels_last else seen[at.module] for at in self.levels]


@contextlib.contextmanager
def _watching(net: nn.Module, names: list[str], tell: Any) -> Iterator[None]:
    """Tells the output of each of these modules as it comes. Hooks live for one pass, so a copy of the net has none."""

    def watch(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, out: Any) -> None:
            tell(name, out)

        return net.get_submodule(name).register_forward_hook(hook)

    handles = [watch(name) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def find_levels(net: nn.Module, n_in: int, size: int) -> list[Level]:
    """A backbone's maps on a square picture: of those of about one size, the last of its stages.

    A stage is a module that stands in the backbone itself or in a plain sequence of it; where none gives such a map, the
    outermost module that does stands for it. A map belongs to the next level when its side is at most 0.7 of the
    level's first. Maps of one pixel, and larger ones that side branches give later, do not count.
    """
    depth = _depths(net)
    levels: list[tuple[int, Level]] = []  # with the side of the first map of the level

    def see(name: str, out: Any) -> None:
        if not isinstance(out, Tensor) or out.ndim != 4 or len(out) != TRIALS:
            return
        _, a, b, c = out.shape
        last = a == b != c
        if not last and b != c:
            return
        side, channels = (a, c) if last else (b, a)
        first = levels[-1][0] if levels else size
        if side < 2 or side > first:
            return
        level = Level(name, channels, round(size / side, 2), last)
        if side <= 0.7 * first or not levels:
            levels.append((side, level))
        elif depth[name] <= depth[levels[-1][1].module]:
            levels[-1] = (first, level)

    times = Counter(_order(net, n_in, size))
    once = [name for name in depth if times[name] == 1]  # a module that is used again and again has no one place
    with _watching(net, once, see):
        dry_run(net, n_in, size)
    return [level for _, level in levels]


def _depths(net: nn.Module) -> dict[str, int]:
    """How deep each module lies, plain sequences not counted."""
    modules = dict(net.named_modules())
    depth = {"": -1}
    for name in list(modules)[1:]:
        parent = name.rpartition(".")[0]
        depth[name] = depth[parent] + (not parent or type(modules[parent]) not in (nn.Sequential, nn.ModuleList))
    del depth[""]
    return depth


def _order(net: nn.Module, n_in: int, size: int) -> list[str]:
    """The modules in the order in which they leave their outputs."""
    order: list[str] = []
    with _watching(net, [name for name, _ in net.named_modules() if name], lambda name, _out: order.append(name)):
        dry_run(net, n_in, size)
    return order


def _after(net: nn.Module, last: str, n_in: int, size: int) -> list[str]:
    """The outermost modules that begin to run only after a module has left its output."""
    order = _order(net, n_in, size)
    at = order.index(last)
    before = {""}
    for name in order[: at + 1]:
        parts = name.split(".")
        before.update(".".join(parts[:i]) for i in range(1, len(parts) + 1))
    later = dict.fromkeys(name for name in order[at + 1 :] if name not in before)
    return [name for name in later if name.rpartition(".")[0] in before]


def _n_layers(net: nn.Module) -> int:
    return sum(1 for m in net.modules() if next(m.parameters(recurse=False), None) is not None)


def _convs(n_in: int, n_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise((n_in, n_out, n_out)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UpBlock(nn.Module):
    """From a coarse map and the finer one beside it to a map of the finer one's size."""

    def __init__(self, n_in: int, n_skip: int, n_out: int) -> None:
        super().__init__()
        self.convs = _convs(n_in + n_skip, n_out)

    def forward(self, x_bchw: Tensor, skip_bchw: Tensor) -> Tensor:
        up = F.interpolate(x_bchw, size=skip_bchw.shape[-2:], mode="bilinear", align_corners=False)
        out: Tensor = self.convs(torch.cat([up, skip_bchw], 1))
        return out


class UNet(OnBody):
    """A backbone's maps and a decoder back to the picture's size.

    Args:
        body: the backbone's maps.
        n_out: outputs a pixel.
        n_in: channels of a picture.
        width: channels of the block at the picture's own size; the others have their map's, from width to 256.
        **settings: see `backbone.OnBody`.
    """

    def __init__(self, body: Maps, n_out: int, n_in: int = 3, width: int = 32, **settings: Any) -> None:
        super().__init__(body, **settings)
        coarsest, *skips = [at.channels for at in reversed(body.levels)]
        blocks = []
        for n_skip in skips:
            n = max(width, min(n_skip, WIDEST))
            blocks.append(UpBlock(coarsest, n_skip, n))
            coarsest = n
        self.blocks = nn.ModuleList([*blocks, UpBlock(coarsest, n_in, width)])
        self.output = nn.Conv2d(width, n_out, 1)
        nn.init.normal_(self.output.weight, std=0.1 / width**0.5)  # the first loss is the task's (TR08)
        nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Logits `[b, n_out, h, w]` of pictures `[b, n_in, h, w]`."""
        *finer, y = self.body(x_bchw)
        for block, skip in zip(self.blocks, [*reversed(finer), x_bchw], strict=True):
            y = block(y, skip)
        out: Tensor = self.output(y)
        return out


def build(
    arch: str | nn.Module,
    n_out: int,
    n_in: int = 3,
    *,
    width: int = 32,
    freeze_bn: bool = False,
    **made_with: Unpack[BodyOptions],
) -> UNet:
    """A U-net over a backbone. `backbone.splitter` gives its layer groups: body early, body late, decoder.

    Args:
        arch: see `backbone.build`; also a model that it built.
        n_out: outputs a pixel: classes, or 1 for yes/no masks `[b, 1, h, w]`.
        n_in: channels of a picture.
        width: channels of the decoder at the picture's own size.
        freeze_bn: see `backbone.OnBody`.
        **made_with: see `backbone.BodyOptions`; where size, the pictures' shorter side, is small, maps of a single pixel
            are left out.

    Raises:
        SettingError: the backbone has no maps of several sizes, or a setting does not fit; see also `backbone.build`.
    """
    require_positive("n_out", n_out)
    require_positive("width", width)
    if isinstance(arch, VisionModel):
        arch = arch.body
    if isinstance(arch, nn.Module) and made_with.get("cut") is None:
        made_with["cut"] = ""  # what comes after the last map goes anyhow
    net, _, _ = make_body(arch, n_in, **made_with)
    arguments = rebuilding(arch, made_with, n_out=n_out, n_in=n_in, width=width, freeze_bn=freeze_bn)
    maps = Maps(net, n_in, made_with.get("size"))
    return UNet(maps, n_out, n_in, width, freeze_bn=freeze_bn, arguments=arguments)
