"""Pictures at every stage of their way to a model (DA02), and what a convolutional network makes of them (MO08)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tipsai.core.errors import SettingError, nearest
from tipsai.core.evaluate import evaluating
from tipsai.core.state import Batch
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import Draw
from tipsai.data.show import balanced, grid, short
from tipsai.vision import augment
from tipsai.vision.augment import OFF, Augment, Augmentation, Drawn
from tipsai.vision.models import PatchWhitening

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_FILTERS = 64  # of a first layer, shown
NEAREST = 64  # pixels a side, up to which they are shown as squares
COLUMNS = 6


# --- stages -------------------------------------------------------------------------------------------------------------


def one_by_one(settings: Augmentation) -> dict[str, tuple[Augmentation, Drawn]]:
    """Each transform that is on, alone and at its full strength: its settings and parameters of one picture, by name."""
    one, s = torch.ones(1), settings
    corners = torch.tensor([[[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]])
    nothing = Drawn(
        flip=one < 0,
        degrees=0 * one,
        zoom=one,
        corners=corners,
        shift=torch.full((1, 2), 0.5),
        crop=torch.full((1, 4), 0.5),
        brightness=one,
        contrast=one,
        saturation=one,
        hue=0 * one,
        erase=torch.zeros(1, 4),
    )
    pinched = corners * torch.tensor([[1 - s.perspective], [1.0], [1 - s.perspective / 2], [1.0]])
    half = (s.erase_area[1] * 0.25) ** 0.5  # of a square in the middle, a quarter of the largest
    fields: dict[str, dict[str, Any]] = {
        "flip": {"flip": one > 0},
        "rotate": {"degrees": s.rotate * one},
        "zoom": {"zoom": s.zoom * one},
        "perspective": {"corners": pinched},
        "translate": {"shift": torch.full((1, 2), 0.999)},
        "scale": {"crop": torch.tensor([[0.0, 0.5, 0.2, 0.2]])},
        "ratio": {"crop": torch.tensor([[0.5, 1.0, 0.5, 0.5]])},
        "brightness": {"brightness": (1 + s.brightness) * one},
        "contrast": {"contrast": (1 + s.contrast) * one},
        "saturation": {"saturation": (1 + s.saturation) * one},
        "hue": {"hue": s.hue * one},
        "erase": {"erase": torch.tensor([[-half, -half, half, half]])},
    }
    return {
        name: (replace(OFF, padding=s.padding, **{name: getattr(s, name)}), nothing._replace(**changes))
        for name, changes in fields.items()
        if getattr(s, name) != getattr(OFF, name)
    }


def transforms(dls: DataLoaders, i: int = 0, n: int = 4, split: str = "train") -> "Figure":
    """One picture at every stage: as read, as evaluation sees it, after each transform alone, and after all, n times.

    Args:
        dls: of pictures.
        i: the item's position in its split.
        n: draws of all transforms together.
        split: "train" or "valid".

    Raises:
        SettingError: these are no pictures, or there is no such item.
    """
    change = next((t for t in dls.batch_tfms if isinstance(t, Augment)), None)
    if change is None or dls.blocks is None or not dls.blocks[0].draws:
        raise SettingError("these loaders hold no pictures that are augmented; use ImageDataLoaders, or show_batch().")
    loader = dls.feed(split, torch.device("cpu")).loader
    if not 0 <= i < loader.n_items:
        raise SettingError(f"i is {i}, and the {split} split has the items 0 to {loader.n_items - 1}.")
    given = loader.at([i])
    batch = Batch((given.x[0], _sizes(given)), given.y)
    stages: dict[str, Batch] = {"evaluation's view": change(batch, None)}
    if change.settings is not None:
        for name, (settings, drawn) in one_by_one(change.settings).items():
            stages[_said(name, settings)] = _alone(change, settings, drawn, batch)
        for k in range(n):
            stages[f"all together, {k + 1}"] = change(batch, Draw(0, k, i, torch.tensor([i])))
    height, width = (int(v) for v in batch.x[1][0])
    tallest = min(max(height / width, change.plain.size[0] / change.plain.size[1]), 2.0)
    fig, axes = grid(
        1 + len(stages), balanced(1 + len(stages), COLUMNS), 1.9, 1.9 * tallest + 0.25, f"item {i} at every stage"
    )
    pixels = given.x[0][0, :, :height, :width].permute(1, 2, 0).numpy()
    _picture(axes[0], pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    axes[0].set_title(f"as read, {width}x{height}", fontsize=8)
    for ax, (name, stage) in zip(axes[1:], stages.items(), strict=True):
        dls.blocks[0].draw(ax, stage.x[0][0])
        if dls.blocks[1].draws and stage.y:
            dls.blocks[1].draw(ax, stage.y[0][0])
        ax.set_title(name, fontsize=8)
    return fig


def _alone(change: Augment, settings: Augmentation, drawn: Drawn, batch: Batch) -> Batch:
    """A batch of one through given parameters."""
    names = ("brightness", "contrast", "saturation", "hue")
    factors = {f"{name}_b": getattr(drawn, name) for name in names if getattr(settings, name)}
    m_b33 = augment.matrix(settings, drawn, batch.x[1], change.plain.size)
    made = change.plain.show(batch, batch.x[0], m_b33, batch.x[1], settings.padding, factors)
    return Batch((augment.erase(made.x[0], drawn.erase),), made.y)


def _said(name: str, settings: Augmentation) -> str:
    value = getattr(settings, name)
    if name in ("flip", "erase"):
        return f"{name} (p {value:g})"
    return f"{name} {value[0]:.3g}" if isinstance(value, tuple) else f"{name} {value:.3g}"


def _sizes(batch: Batch) -> Tensor:
    return batch.x[1] if len(batch.x) > 1 else torch.tensor([batch.x[0].shape[-2:]])


def _picture(ax: Any, pixels: Any, **options: Any) -> None:
    near = max(pixels.shape[:2]) <= NEAREST
    grey = {"cmap": "gray"} if pixels.ndim == 2 else {}
    ax.imshow(pixels, interpolation="nearest" if near else "antialiased", **(grey | options))


# --- inside a network ---------------------------------------------------------------------------------------------------


def first_layer_filters(model: nn.Module) -> "Figure":
    """The filters of the first convolution, each scaled to its own range; in colour where its inputs are three (MO08).

    Noise without any shape is a sign of too little training, or of too high a rate.

    Raises:
        SettingError: there is no convolution.
    """
    name, layer = _convolution(model)
    weights_oihw = layer.weight.detach().float().cpu()
    n, (out, n_in) = min(len(weights_oihw), MOST_FILTERS), weights_oihw.shape[:2]
    height, width = weights_oihw.shape[2:]
    how = "" if n_in in (1, 3) else f", the mean of {n_in} inputs"
    shown = f"{n} of {out}" if n < out else f"{out}"
    title = f"{shown} filters of layer {short(name, 30)!r}, {width}x{height}{how}"
    fig, axes = grid(n, balanced(n, 8), 0.9, 0.9, title)
    for ax, filter_ihw in zip(axes, weights_oihw, strict=False):
        picture_ihw = filter_ihw if n_in == 3 else filter_ihw.mean(0, keepdim=True)
        pixels = _scaled(picture_ihw).permute(1, 2, 0).numpy()
        _picture(ax, pixels if n_in == 3 else pixels[..., 0], vmin=0, vmax=1)
    return fig


def feature_maps(model: nn.Module, x: Tensor, layer: str | nn.Module | None = None, n: int = 16) -> "Figure":
    """What a layer makes of one picture: the n maps that vary most, each scaled to its own range (MO08).

    Args:
        model: called with a batch of one.
        x: a picture as the model sees it, [c, h, w], or a batch, whose first one is taken.
        layer: a module or its name; the first convolution by default.
        n: maps.

    Raises:
        SettingError: there is no such layer, or it makes no maps.
    """
    name, module = _layer(model, layer)
    seen: list[Any] = []
    hook = module.register_forward_hook(lambda module, args, out: seen.append(out))
    parameter = next(model.parameters(), None)
    x_1chw = (x if x.ndim == 4 else x[None])[:1]
    try:
        with evaluating(model):
            model(x_1chw if parameter is None else x_1chw.to(parameter.device))
    finally:
        hook.remove()
    made = seen[0] if seen else None
    if not isinstance(made, Tensor) or made.ndim != 4:
        what = (
            "is not called"
            if not seen
            else f"gives {list(made.shape) if isinstance(made, Tensor) else type(made).__name__}"
        )
        raise SettingError(
            f"the layer {name!r} {what}; expected maps [b, c, h, w]. Name a convolution or a block of them."
        )
    maps_chw = made[0].float().cpu()
    chosen = maps_chw.flatten(1).std(1).argsort(descending=True, stable=True)[:n].sort().values.tolist()
    fig, axes = grid(
        1 + len(chosen), balanced(1 + len(chosen), COLUMNS), 1.4, 1.5, f"maps of layer {short(name, 30)!r}"
    )
    picture_chw = _scaled(x_1chw[0].float().cpu())
    whole = picture_chw.permute(1, 2, 0).numpy() if len(picture_chw) == 3 else picture_chw.mean(0).numpy()
    _picture(axes[0], whole)
    axes[0].set_title("input", fontsize=8)
    for ax, channel in zip(axes[1:], chosen, strict=True):
        _picture(ax, maps_chw[channel].numpy(), cmap="viridis")
        ax.set_title(f"channel {channel}", fontsize=8)
    return fig


def _scaled(values: Tensor) -> Tensor:
    """Stretched to 0..1."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low).clamp(min=1e-12)


def _convolution(model: nn.Module) -> tuple[str, nn.Conv2d | PatchWhitening]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | PatchWhitening):
            return name, module
    raise SettingError(f"the model, a {type(model).__name__}, has no Conv2d; there are no filters to look at.")


def _layer(model: nn.Module, layer: str | nn.Module | None) -> tuple[str, nn.Module]:
    if layer is None:
        return _convolution(model)
    names: Sequence[str] = []
    for name, module in model.named_modules():
        if module is layer or name == layer:
            return name or type(model).__name__, module
        names = [*names, name]
    if isinstance(layer, nn.Module):
        raise SettingError(f"the layer, a {type(layer).__name__}, is no part of the model.")
    raise SettingError(f"the model has no layer {layer!r}.{nearest(layer, names)} See model.named_modules().")
