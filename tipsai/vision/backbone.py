"""Classifiers and regressors of pictures from any backbone: torchvision's, timm's by name, or a module of your own.

A backbone keeps its own pooling and loses its classifier: its body gives a vector a picture, and the head is dropout and
one linear layer. Max pooling beside the average, batch norm or a hidden layer in the head were tried on 240 pictures of
cats and dogs under frozen ImageNet weights; each made it worse, by 0.2 to 1.1 points (AR05).
"""

import contextlib
import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from tipsai.core import modes
from tipsai.core.errors import MissingExtraError, SettingError, ShapeError, listing, nearest, require_positive
from tipsai.vision import defaults
from tipsai.vision.models import SmallResNet
from tipsai.vision.weights import adapt_input, first_conv, load_weights, read_weights

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# torchvision's weights of these were trained on inputs in -1..1, which its own `transform_input` restores in the model.
HALVED = ("googlenet", "inception_v3")
TRIALS = 2  # pictures of a dry run; so tables that a network holds, whose first dimension is one, are told from maps
LAYERS = (nn.Linear, nn.Conv2d)
NORM_MOMENTUM = 0.1  # at least, of batch norms that start from scratch


class WeightsError(SettingError):
    """Pre-trained weights cannot be had."""


class BodyOptions(TypedDict, total=False):
    """How a backbone is made.

    Attributes:
        pretrained: whether to fetch the best weights that the library has; or which, such as "IMAGENET1K_V1".
        weights: a .pth or .safetensors file of the backbone's weights, with or without its classifier.
        size: the pictures' side, for those backbones that are made for one size (ViT, MaxViT, a module that flattens).
        cut: the name of your module's classifier, such as "fc"; "" where it has none; found by itself by default.
        network: width, depth and act of the built-in "small_resnet".
    """

    pretrained: bool | str
    weights: str | Path | None
    size: int | None
    cut: str | None
    network: Mapping[str, Any] | None


class OnBody(nn.Module):
    """What every model over a backbone has.

    Args:
        body: the backbone.
        freeze_bn: its batch norms use the statistics that they came with, in training too; their scales and shifts learn.
        arguments: of `build`, as plain JSON and without weights to fetch, to make the model again; None for a module of
            your own, which no name can make.

    Attributes:
        trained: whether the body brought trained weights; None where that is not known.
    """

    trained: bool | None = None

    def __init__(self, body: nn.Module, freeze_bn: bool = False, arguments: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.body, self.freeze_bn, self.arguments = body, freeze_bn, arguments
        self._fix_norms()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._fix_norms()
        return self

    def _fix_norms(self) -> None:
        for module in self.body.modules() if self.freeze_bn else ():
            if isinstance(module, nn.modules.batchnorm._NormBase):
                module.eval()


class VisionModel(OnBody):
    """A body that turns pictures into vectors, or into maps, and a head fitted to the task."""

    def __init__(self, body: nn.Module, head: nn.Module, **settings: Any) -> None:
        super().__init__(body, **settings)
        self.head = head

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Logits or values `[b, n_out]` of pictures `[b, n_in, h, w]`."""
        out: Tensor = self.head(self.body(x_bchw))
        return out


class MeanOfMap(nn.Module):
    """The mean of each map: [b, c, h, w] to [b, c, 1, 1].

    As nn.AdaptiveAvgPool2d(1), whose gradient has its channels outermost whatever the maps' layout is. With channels innermost,
    each layer before then worked across two layouts, up to the last convolution: a twentieth of a small network's step.
    """

    def forward(self, x_bchw: Tensor) -> Tensor:
        return F.avg_pool2d(x_bchw, x_bchw.shape[-2:])


def build(
    arch: str | nn.Module,
    n_out: int,
    n_in: int = 3,
    *,
    dropout: float = defaults.DROPOUT,
    freeze_bn: bool = False,
    **made_with: Unpack[BodyOptions],
) -> VisionModel:
    """A model of pictures with n_out outputs.

    Args:
        arch: a model of torchvision or timm ("timm/" before a name that both have), or a module of your own.
        n_out: outputs: classes, or numbers.
        n_in: channels of a picture. Pre-trained first layers are summed over the colours for one channel, and else
            repeated and scaled, so that what comes out keeps its size.
        dropout: share of the features dropped before the last layer.
        freeze_bn: see OnBody.
        **made_with: see BodyOptions.

    Raises:
        SettingError: an unknown backbone, weights that cannot be fetched, or settings that exclude each other.
        ArtifactError: the file of weights is damaged, or is of another model.
        ShapeError: the module gives neither vectors nor maps.
        MissingExtraError: timm is not installed.
    """
    require_positive("n_out", n_out)
    if not 0 <= dropout < 1:
        raise SettingError(f"dropout is {dropout!r}; expected a share from 0 to below 1.")
    body, n_features, maps = make_body(arch, n_in, **made_with)
    arguments = rebuilding(arch, made_with, n_out=n_out, n_in=n_in, dropout=dropout, freeze_bn=freeze_bn)
    pool = [MeanOfMap(), nn.Flatten()] if maps else []
    head = nn.Sequential(*pool, nn.Dropout(dropout), _last_layer(n_features, n_out))
    return VisionModel(body, head, freeze_bn=freeze_bn, arguments=arguments)


def rebuilding(arch: str | nn.Module, made_with: BodyOptions, **settings: Any) -> dict[str, Any] | None:
    """The arguments that make a model again, as plain JSON: without weights to fetch, and with the library's name."""
    if not isinstance(arch, str):
        return None
    library, name = find(arch)
    kept = {"size": made_with.get("size"), "network": made_with.get("network")}
    return {"arch": f"timm/{name}" if library == "timm" else name, "pretrained": False, **settings, **kept}


def splitter(model: nn.Module) -> list[list[nn.Parameter]]:
    """Layer groups of a model with a body: its earlier half, its later half, and the rest (AR03).

    Halves are counted in layers in the order in which they are registered, which puts stages 1 and 2 of a ResNet into
    the first. A group without parameters is left out.
    """
    layers = [own for m in model.body.modules() if (own := list(m.parameters(recurse=False)))]  # type: ignore[union-attr]
    half = len(layers) // 2
    early = dict.fromkeys(p for own in layers[:half] for p in own)  # a parameter that is used twice counts once
    late = dict.fromkeys(p for own in layers[half:] for p in own if p not in early)
    rest = [p for p in model.parameters() if p not in early and p not in late]
    return [group for group in (list(early), list(late), rest) if group]


def statistics(
    arch: str, pretrained: bool | str = True, n_in: int = 3
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """(mean, standard deviation) a channel, of pictures in 0..1, that a backbone's weights were trained with (DA12).

    None without pre-trained weights, where the data's own do better, and of the built-in network, whose weights do not say.
    """
    library, name = find(arch)
    if not pretrained or library == "tipsai":
        return None
    if library == "timm":
        cfg = _timm_cfg(name)
        mean, std = tuple(cfg.mean), tuple(cfg.std)
    elif name in HALVED:
        mean, std = HALVES
    else:
        preset = _torchvision_weights(name, pretrained).transforms()
        mean, std = tuple(preset.mean), tuple(preset.std)
    if n_in == 1:
        return (sum(mean) / len(mean),), (sum(std) / len(std),)
    return tuple(mean[i % len(mean)] for i in range(n_in)), tuple(std[i % len(std)] for i in range(n_in))


def input_size(arch: str, pretrained: bool | str = True) -> int:
    """The side of the pictures that a backbone was trained on, in pixels."""
    library, name = find(arch)
    if library == "timm":
        return int(_timm_cfg(name).input_size[-1])
    return int(_torchvision_weights(name, pretrained).transforms().crop_size[0])


def make_body(
    arch: str | nn.Module,
    n_in: int = 3,
    *,
    pretrained: bool | str = False,
    weights: str | Path | None = None,
    size: int | None = None,
    cut: str | None = None,
    network: Mapping[str, Any] | None = None,
) -> tuple[nn.Module, int, bool]:
    """A backbone without its classifier, the number of its features, and whether they are maps. Arguments: see build, BodyOptions."""
    require_positive("n_in", n_in)
    if pretrained and weights is not None:
        raise SettingError("both pretrained and weights are given, and one of them would be lost; give one.")
    maps = False
    if isinstance(arch, nn.Module):
        if pretrained:
            raise SettingError(
                f"pretrained={pretrained!r} needs a backbone's name, and arch is a {type(arch).__name__}; "
                "load its weights before, or give weights=PATH."
            )
        body = arch
        if _begins_with_convolution(body, n_in, size):
            adapt_input(body, n_in)
        n_features, maps = _cut_module(body, n_in, size, cut)
    else:
        if cut is not None:
            raise SettingError(f"cut={cut!r} is for a module of your own; {arch!r} is cut by itself. Leave cut out.")
        library, name = find(arch)
        if network and library != "tipsai":
            raise SettingError(
                f"{listing(network)} is for the built-in 'small_resnet', not for {arch!r}; leave it out."
            )
        if library == "tipsai":
            if pretrained:
                raise SettingError(
                    f"pretrained={pretrained!r}, and the built-in {arch!r} has no weights; leave it out."
                )
            small = SmallResNet(n_in, size or 32, **(network or {}))
            if weights is not None:
                load_weights(small, read_weights(weights), str(weights))
            return small, small.n_features, True
        make = _timm_body if library == "timm" else _torchvision_body
        body, n_features = make(name, n_in, pretrained, size)
    if weights is not None:
        load_weights(body, read_weights(weights), str(weights))
    elif isinstance(arch, str) and not pretrained:
        _hasten_norms(body)
    return body, n_features, maps


def _hasten_norms(body: nn.Module) -> None:
    """Lets the statistics of batch norms follow within tens of steps, as torch's own default does.

    Some families (MobileNetV3, the larger EfficientNets) come with a momentum of 0.01, which suits runs of 100,000 steps: after
    some hundred from scratch, what the statistics were at first still counts, and evaluation is at chance.
    """
    for module in body.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None:
            module.momentum = max(module.momentum, NORM_MOMENTUM)


def as_named(arch: Any) -> str | nn.Module:
    """A backbone's name or module, of which torchvision's builders, such as torchvision.models.resnet18, give the name.

    Raises:
        SettingError: it is neither.
    """
    if isinstance(arch, str | nn.Module):
        return arch
    name = getattr(arch, "__name__", "")
    if name in models.list_models(module=models) and models.get_model_builder(name) is arch:
        return str(name)
    hint = f" Build it first: {name}(...)." if callable(arch) else ""
    raise SettingError(f"arch is {arch!r}; expected a backbone's name, such as 'resnet18', or a module.{hint}")


def find(arch: str) -> tuple[str, str]:
    """("tipsai", "torchvision" or "timm", the name there) of a backbone.

    Raises:
        SettingError: neither has it.
        MissingExtraError: "timm/..." where timm is not installed.
    """
    if arch == "small_resnet":
        return "tipsai", arch
    own = models.list_models(module=models)
    if arch in own:
        return "torchvision", arch
    name = arch.removeprefix("timm/")
    timm = _timm(needed=name != arch)
    if timm is not None and timm.is_model(name):
        return "timm", name
    near = nearest(arch, own) or nearest(name, timm.list_models() if timm else ())
    others = "one of timm.list_models()" if timm else "one of timm's (not installed: pip install 'tipsai[vision]')"
    raise SettingError(
        f"there is no backbone {arch!r}.{near} Expected one of torchvision's ({listing(own, 6)}), {others}, or a module."
    )


def _timm(needed: bool) -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        if needed:
            raise MissingExtraError("backbones of timm need timm: pip install 'tipsai[vision]'") from error
        return None


def _timm_cfg(name: str) -> Any:
    try:
        return _timm(needed=True).get_pretrained_cfg(name)
    except RuntimeError as error:  # timm's word for a tag that it does not know
        tags = _timm(needed=True).list_pretrained(f"{name.split('.')[0]}.*")
        raise SettingError(f"timm has no weights {name!r}. Expected {listing(tags)}.") from error


def _timm_body(name: str, n_in: int, pretrained: bool | str, size: int | None) -> tuple[nn.Module, int]:
    if isinstance(pretrained, str):
        raise SettingError(
            f"pretrained={pretrained!r} names weights of torchvision; for timm's give arch={name.split('.')[0] + '.' + pretrained!r} and pretrained=True."
        )
    cfg = _timm_cfg(name)
    options = {"img_size": size} if size and cfg.fixed_input_size and size != cfg.input_size[-1] else {}
    try:
        body = _timm(needed=True).create_model(name, pretrained=pretrained, num_classes=0, in_chans=n_in, **options)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise _not_fetched(name, error, "") from error
    return body, int(getattr(body, "head_hidden_size", None) or body.num_features)


def _torchvision_weights(name: str, pretrained: bool | str) -> Any:
    choices = models.get_model_weights(name)
    if not isinstance(pretrained, str):
        return choices["DEFAULT"]
    if pretrained not in choices.__members__:
        known = list(choices.__members__)
        raise SettingError(
            f"{name} has no weights {pretrained!r}.{nearest(pretrained, known)} Expected {listing(known)}."
        )
    return choices[pretrained]


def _torchvision_body(name: str, n_in: int, pretrained: bool | str, size: int | None) -> tuple[nn.Module, int]:
    options: dict[str, Any] = {"aux_logits": False, "init_weights": not pretrained} if name in HALVED else {}
    if size and name.startswith("vit_"):
        options["image_size"] = size
    elif size and name.startswith("maxvit_"):
        options["input_size"] = (size, size)
    body = models.get_model(name, **options)
    adapt_input(body, n_in)
    place, n_features = _classifier(body, 1000)
    remove(body, place)
    if pretrained:
        chosen = _torchvision_weights(name, pretrained)
        try:
            state = chosen.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as error:
            file = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rpartition("/")[2]
            raise _not_fetched(name, error, f"put {chosen.url} at {file}, or ") from error
        load_weights(body, state, chosen.url)
    return body, n_features


def _not_fetched(name: str, error: Exception, other: str) -> WeightsError:
    why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
    return WeightsError(
        f"the weights of {name} cannot be fetched ({why}): give pretrained=False, or {other}give weights=PATH."
    )


def _classifier(net: nn.Module, n_classes: int) -> tuple[str, int]:
    """The name of a network's last linear layer or 1x1 convolution with n_classes outputs, and its inputs."""
    for name, layer in reversed(list(net.named_modules())):
        if isinstance(layer, nn.Linear) and layer.out_features == n_classes:
            return name, layer.in_features
        if isinstance(layer, nn.Conv2d) and layer.out_channels == n_classes and layer.kernel_size == (1, 1):
            return name, layer.in_channels
    return "", 0


def remove(net: nn.Module, name: str) -> None:
    """Puts nothing in a layer's place, and switches off the dropout right before it, for the head has its own."""
    order = list(net.named_modules())
    at = [n for n, _ in order].index(name)
    for _, module in reversed(order[:at]):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif list(module.parameters(recurse=False)):
            break
    net.set_submodule(name, nn.Identity())


def _cut_module(net: nn.Module, n_in: int, size: int | None, cut: str | None) -> tuple[int, bool]:
    """Cuts a module's classifier off; returns the features, and whether they are maps."""
    if cut is None:
        shape = dry_run(net, n_in, size)
        cut = _classifier(net, shape[1])[0] if len(shape) == 2 else ""
    elif cut and cut not in dict(net.named_modules()):
        names = [n for n, m in net.named_modules() if isinstance(m, LAYERS)]
        raise SettingError(f"the module has no layer {cut!r} to cut.{nearest(cut, names)} It has {listing(names)}.")
    if cut:
        remove(net, cut)
    shape = dry_run(net, n_in, size)
    if len(shape) not in (2, 4):
        raise ShapeError(
            f"without its classifier {cut!r} the {type(net).__name__} gives shape {shape}; expected [b, features] or "
            '[b, features, h, w]. Name the classifier with cut="...", or give cut="" if it has none.'
        )
    return shape[1], len(shape) == 4


def _begins_with_convolution(net: nn.Module, n_in: int, size: int | None) -> bool:
    """Whether the first convolution is given the pictures themselves, and not what a layer of another kind made of them."""
    _, first = first_conv(net)
    if first is None:
        return False
    seen: list[int] = []
    hook = first.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape[1]))
    try:
        with contextlib.suppress(SettingError):  # with other channels than its own it cannot run, which is why one asks
            dry_run(net, n_in, size)
    finally:
        hook.remove()
    return seen[:1] == [n_in]


def dry_run(net: nn.Module, n_in: int, size: int | None, default: int = 64) -> list[int]:
    """The shape of what a network gives for blank pictures, which leave no trace in it.

    Raises:
        SettingError: the network does not take pictures of this size, or does not return one tensor.
    """
    side = size or default
    like = next(net.parameters(), torch.zeros(()))
    with modes.kept(net), torch.no_grad():
        net.eval()
        try:
            out = net(torch.zeros(TRIALS, n_in, side, side, device=like.device, dtype=like.dtype))
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            raise SettingError(
                f"the {type(net).__name__} does not run on a picture of {n_in} x {side} x {side} ({error}). Give size=, the side of your pictures."
            ) from error
    if not isinstance(out, Tensor):
        raise ShapeError(f"the {type(net).__name__} returns a {type(out).__name__}; expected one tensor.")
    return list(out.shape)


def _last_layer(n_features: int, n_out: int) -> nn.Linear:
    """Starts at small weights, so that the first loss is the task's, and at zero bias (TR08)."""
    layer = nn.Linear(n_features, n_out)
    nn.init.normal_(layer.weight, std=0.1 / math.sqrt(n_features))
    nn.init.zeros_(layer.bias)
    return layer
