"""What pictures, masks and points mean as fields."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from tipsai.core.errors import DataError, SettingError
from tipsai.core.state import IGNORED, Loss
from tipsai.data.block import Block, mean_of_classes
from tipsai.data.processor import Labels, Standardize
from tipsai.losses import CrossEntropy, MeanSquaredError
from tipsai.plot import BLUE, ORANGE, colours
from tipsai.vision.checks import CHECKS
from tipsai.vision.read import read_image, read_mask
from tipsai.vision.view import Kind


def canvas(pictures: Sequence[Tensor], fill: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures of any sizes as one tensor, each in the top-left corner of its place.

    Args:
        pictures: [c, h, w] each, of one type.
        fill: what stands beside smaller ones.

    Returns:
        [b, c, H, W] with the largest height and width, and the true sizes int64 [b, 2] as (h, w).
    """
    sizes = torch.tensor([p.shape[-2:] for p in pictures])
    height, width = (int(n) for n in sizes.amax(0))
    if bool((sizes == sizes[0]).all()):
        return torch.stack(list(pictures)), sizes
    made = pictures[0].new_full((len(pictures), pictures[0].shape[0], height, width), fill)
    for place, picture in zip(made, pictures, strict=True):
        place[:, : picture.shape[1], : picture.shape[2]] = picture
    return made, sizes


def some(items: Sequence[Any]) -> Sequence[Any]:
    """Up to 500 of them, evenly spaced."""
    return items[:: len(items) // 500 + 1]


class ImageBlock(Block):
    """A picture. It stays uint8 until it is on the device, where one warp brings it to its size and normalises it.

    Args:
        size: (height, width) of what the model sees, in pixels.
        channels: 1 (luminance), 3 (RGB) or 4 (RGBA).
        at_least: a decoder may shrink a picture by a whole factor while its shorter side keeps this many pixels; None
            reads it whole.
        view: how a picture of another shape is brought to size in evaluation: "crop" its middle, "squish" it, or "pad".
        mean: of each channel, of values in 0..1; from training pictures by default (DA12).
        std: likewise.
        mirrored: whether a picture means the same when left and right are exchanged, so that test-time augmentation may.
    """

    checks = CHECKS
    draws = True

    def __init__(
        self,
        size: tuple[int, int],
        channels: int = 3,
        at_least: int | None = None,
        view: str = "crop",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        mirrored: bool = True,
    ) -> None:
        self.size, self.channels, self.at_least, self.view = size, channels, at_least, view
        self.mirrored = mirrored
        self.normalization = Standardize()
        if mean is not None and std is not None:
            self.normalize(mean, std)

    def normalize(self, mean: Sequence[float], std: Sequence[float]) -> Self:
        """Takes these statistics, such as those of a backbone's own training.

        Raises:
            SettingError: their number is not that of the channels.
        """
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != self.channels:
                raise SettingError(
                    f"{name} has {len(values)} values, and the pictures {self.channels} channels; give one a channel."
                )
        if min(std) <= 0:
            raise SettingError(f"std is {list(std)}; expected numbers above zero.")
        self.normalization.mean_, self.normalization.std_ = [float(v) for v in mean], [float(v) for v in std]
        return self

    @property
    def mean(self) -> list[float]:
        return self.normalization.mean_

    @property
    def std(self) -> list[float]:
        return self.normalization.std_

    def fit(self, items: Sequence[Any]) -> Self:
        """Measures mean and standard deviation of each channel on up to 500 pictures, evenly spaced."""
        return self.fit_pixels([self.encode(item) for item in some(items)])

    def fit_pixels(self, pictures: Sequence[Tensor]) -> Self:
        """As fit, from decoded pictures uint8 [c, h, w]; each counts alike, whatever its size."""
        sums = torch.stack(
            [torch.stack([p.double().mean((1, 2)), p.double().square().mean((1, 2))]) / 255 for p in pictures]
        ).mean(0)
        mean, square = sums[0], sums[1] / 255
        std = (square - mean.square()).clamp(min=0).sqrt()
        return self.normalize(mean.tolist(), torch.where(std > 1e-4, std, 1.0).tolist())

    def encode(self, item: Any) -> Tensor:
        """A path, bytes, a PIL picture or an array as uint8 [c, h, w]."""
        return read_image(item, self.channels, at_least=self.at_least)

    def collate(self, values: Sequence[Any]) -> tuple[Tensor, ...]:
        """(canvas [b, c, H, W] uint8, sizes [b, 2])."""
        return canvas(values)

    def decode(self, value: Any) -> Any:
        """What the model sees, float [c, h, w], as a picture: uint8 [h, w, c]."""
        value = torch.as_tensor(value).float().cpu()
        shape = (-1, 1, 1)
        pixels = value * torch.tensor(self.std).view(shape) + torch.tensor(self.mean).view(shape)
        return (pixels * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()

    def draw(self, axes: Any, value: Any, predicted: bool = False) -> None:
        pixels = self.decode(value)
        height, width = pixels.shape[:2]
        axes.imshow(
            pixels[..., 0] if pixels.shape[2] == 1 else pixels,
            extent=(-1, 1, 1, -1),
            aspect=height / width,
            interpolation="nearest" if max(height, width) <= 64 else "antialiased",
            **({"cmap": "gray", "vmin": 0, "vmax": 255} if pixels.shape[2] == 1 else {}),
        )
        axes.autoscale(False)

    def pixels(self, value: Any, under: Any = None, predicted: bool = False) -> Any:
        pixels = self.decode(value)
        return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]

    def show(self, value: Any) -> str:
        return f"picture of {value.shape[-2]}x{value.shape[-1]} pixels, {value.shape[-3]} channels"

    def to_dict(self) -> dict[str, Any]:
        return {
            "size": list(self.size),
            "channels": self.channels,
            "at_least": self.at_least,
            "view": self.view,
            "mean": self.mean,
            "std": self.std,
            "mirrored": self.mirrored,
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> "ImageBlock":
        return cls(
            tuple(d["size"]), d["channels"], d["at_least"], d["view"], d["mean"], d["std"], d.get("mirrored", True)
        )


class MaskBlock(Block):
    """A class for every pixel; items are paths or arrays of values, targets int64 [b, h, w] once they are warped.

    Args:
        values: the value of each class in the masks, in order; by default those that occur in the training masks.
        names: of the classes; their values by default.
        ignore: a value that does not count, such as 255 for "void".
    """

    geometry: Kind = "mask"
    draws = beside = True

    def __init__(
        self, values: Sequence[int] | None = None, names: Sequence[str] | None = None, ignore: int | None = None
    ) -> None:
        self.vocab = Labels(values)
        self.names_, self.ignore = list(names or ()), ignore

    @property
    def n_out(self) -> int:  # type: ignore[override]
        return self.vocab.n

    @property
    def names(self) -> list[str]:
        return self.names_ or [str(value) for value in self.vocab.labels_]

    def fit(self, items: Sequence[Any]) -> Self:
        """Collects the values of the training masks, where they were not given.

        Raises:
            SettingError: there are not as many names as classes.
            DataError: there is one value only, or so many that these are no classes.
        """
        if not self.vocab.known:
            found: set[int] = set()
            for item in items:
                found |= set(np.unique(read_mask(item)).tolist())
                if len(found) > 256:
                    raise DataError(
                        "the masks hold more than 256 values, so these are no classes (were they saved as JPEG?). "
                        "Save masks as PNG, one value a class, or give values=[...]."
                    )
            self.vocab.fit(sorted(found - {self.ignore}))
        if self.vocab.n < 2:
            raise DataError(
                f"the masks hold the classes {self.vocab.labels_} only; expected at least 2, the background counted."
            )
        if self.names_ and len(self.names_) != self.vocab.n:
            raise SettingError(
                f"{len(self.names_)} names for {self.vocab.n} mask values {self.vocab.labels_}; give a name a value."
            )
        return self

    def encode(self, item: Any) -> Tensor:
        """Class numbers, int16 [1, h, w]; ignored pixels are -100.

        Raises:
            DataError: the mask holds values that are no class.
        """
        values = np.asarray(read_mask(item))
        known = np.array([int(v) for v in self.vocab.labels_])
        order = np.argsort(known)
        place = np.searchsorted(known[order], values).clip(max=len(known) - 1)
        codes = order[place].astype(np.int16)
        strange = known[codes] != values
        if strange.any():
            void = strange & (values == self.ignore) if self.ignore is not None else np.zeros_like(strange)
            if (strange & ~void).any():
                bad = np.unique(values[strange & ~void]).tolist()
                raise DataError(
                    f"the mask {item if isinstance(item, str) else ''} holds the values {bad[:8]}, and the classes are {known.tolist()[:20]}. "
                    "Mend it, give values=[...] with all of them, or ignore=VALUE for pixels that should not count."
                )
            codes[void] = IGNORED
        return torch.from_numpy(codes)[None]

    def collate(self, values: Sequence[Any]) -> tuple[Tensor, ...]:
        """(canvas int16 [b, 1, H, W], sizes [b, 2]); the warp that follows the picture's leaves int64 [b, h, w]."""
        return canvas(values, IGNORED)

    def average(self, preds: Tensor) -> Tensor:
        return mean_of_classes(preds)

    def decode(self, value: Any) -> Any:
        """Class numbers as the masks' own values."""
        table = np.array([*map(int, self.vocab.labels_)])
        codes = np.asarray(value)
        return np.where(codes < 0, self.ignore or 0, table[codes.clip(min=0)])

    def _colours(self, value: Any) -> Any:
        """Class numbers [h, w] as RGBA: a colour for each, full along the edges; ignored pixels have none."""
        codes = np.asarray(value)
        rgb = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours(self.n_out)]
        rgba = np.array([[*three, 160] for three in rgb] + [[0, 0, 0, 0]], np.uint8)
        over = rgba[np.where(codes < 0, self.n_out, codes)]
        edge = np.zeros(codes.shape, bool)
        edge[:, 1:] |= codes[:, 1:] != codes[:, :-1]
        edge[1:] |= codes[1:] != codes[:-1]
        over[edge & (codes >= 0), 3] = 255
        return over

    def draw(self, axes: Any, value: Any, predicted: bool = False) -> None:
        """A colour for each class, over the picture, full along the edges; ignored pixels have none."""
        over = self._colours(value)
        axes.imshow(over, extent=(-1, 1, 1, -1), aspect=axes.get_aspect(), interpolation="nearest")

    def pixels(self, value: Any, under: Any = None, predicted: bool = False) -> Any:
        over = self._colours(value).astype(np.float32)
        share = over[..., 3:] / 255
        below = under if under is not None else np.zeros((*over.shape[:2], 3))
        return (below * (1 - share) + over[..., :3] * share).round().astype(np.uint8)

    def legend(self, values: Sequence[Any], predicted: bool = False) -> dict[str, str]:
        """The classes that occur."""
        found = sorted({int(code) for value in values for code in np.unique(value)} - {IGNORED})
        return {self.names[code]: colours(self.n_out)[code] for code in found}

    @property
    def outputs(self) -> Sequence[Any]:
        return self.names

    def decide(self, pred: Tensor) -> Tensor:
        return pred.argmax(1)

    def default_loss(self) -> Loss:
        return CrossEntropy()

    def predictions(self, pred: Tensor) -> dict[str, Any]:
        """The masks, and the share of each class in them."""
        codes = pred.argmax(1)
        shares = {f"share_{name}": codes.eq(i).double().mean((1, 2)).numpy() for i, name in enumerate(self.names)}
        return {"prediction": [self.decode(mask) for mask in codes.numpy()]} | shares

    def to_dict(self) -> dict[str, Any]:
        return {"values": [int(v) for v in self.vocab.labels_], "names": self.names_, "ignore": self.ignore}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> "MaskBlock":
        return cls(d["values"], d["names"], d["ignore"])


class PointBlock(Block):
    """Points in a picture: x and y of each, in -1..1 from one edge to the other; targets float32 [b, 2n].

    Args:
        names: of the points, in order.
    """

    geometry: Kind = "points"
    draws = True

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    @property
    def n_out(self) -> int:  # type: ignore[override]
        return 2 * len(self.names)

    def encode(self, item: Any) -> Tensor:
        return torch.as_tensor(np.asarray(item, np.float32).reshape(-1))

    def draw(self, axes: Any, value: Any, predicted: bool = False) -> None:
        """Dots for targets, crosses for predictions."""
        x, y = np.asarray(value, np.float32).reshape(-1, 2).T
        mark = (
            {"marker": "x", "color": ORANGE, "linewidths": 2}
            if predicted
            else {"marker": "o", "color": BLUE, "edgecolors": "white"}
        )
        axes.scatter(x, y, s=28, zorder=3, **mark)

    def pixels(self, value: Any, under: Any = None, predicted: bool = False) -> Any:
        """Squares for targets, hollow ones for predictions, as large as can be seen."""
        if under is None:
            return None
        made = np.array(under)
        height, width = made.shape[:2]
        size = max(1, round(min(height, width) / 40))
        colour = [int((ORANGE if predicted else BLUE)[i : i + 2], 16) for i in (1, 3, 5)]
        for x, y in np.asarray(value, np.float32).reshape(-1, 2):
            column, row = round((float(x) + 1) / 2 * (width - 1)), round((float(y) + 1) / 2 * (height - 1))
            top, left = max(0, row - size), max(0, column - size)
            inner = made[top + size : row + 1, left + size : column + 1].copy() if predicted else None
            made[top : max(0, row + size + 1), left : max(0, column + size + 1)] = colour
            if inner is not None and inner.size:
                made[top + size : row + 1, left + size : column + 1] = inner
        return made

    def legend(self, values: Sequence[Any], predicted: bool = False) -> dict[str, str]:
        return {"target": BLUE, "prediction": ORANGE} if predicted else {}

    def show(self, value: Any) -> str:
        x_y = np.asarray(value, np.float32).reshape(-1, 2).tolist()
        return ", ".join(f"{name} ({x:.2f}, {y:.2f})" for name, (x, y) in zip(self.names, x_y, strict=True))

    @property
    def outputs(self) -> Sequence[Any]:
        return [f"{name}_{axis}" for name in self.names for axis in "xy"]

    def default_loss(self) -> Loss:
        return MeanSquaredError()

    def predictions(self, pred: Tensor) -> dict[str, Any]:
        """X and y of each point, in -1..1."""
        points = pred.float().reshape(len(pred), -1, 2).numpy()
        return {f"{name}_{axis}": points[:, i, j] for i, name in enumerate(self.names) for j, axis in enumerate("xy")}

    def to_dict(self) -> dict[str, Any]:
        return {"names": list(self.names)}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> "PointBlock":
        return cls(d["names"])
