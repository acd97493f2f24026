"""One line from pictures' loaders to a Learner."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tipsai import schedule
from tipsai.artifact import Builder
from tipsai.callbacks import CutMix, MixUp
from tipsai.core import rng
from tipsai.core.device import pick_device
from tipsai.core.errors import SettingError
from tipsai.core.finding import Finding
from tipsai.core.step import fast_bf16
from tipsai.data.block import CategoryBlock
from tipsai.learner import Learner, Transfer
from tipsai.losses import CrossEntropy
from tipsai.optim import OptSpec, layer_groups, n_parameters
from tipsai.settings import Settings, choose
from tipsai.vision import backbone, defaults, unet
from tipsai.vision.backbone import VisionModel, WeightsError, as_named
from tipsai.vision.data import ImageDataLoaders
from tipsai.vision.models import SmallResNet
from tipsai.vision.probe import fit_head
from tipsai.vision.progressive import Progressive
from tipsai.vision.stem import EarlyStem

log = logging.getLogger("tipsai")


def vision_learner(
    dls: ImageDataLoaders,
    arch: str | nn.Module | Callable[..., nn.Module] | None = None,
    *,
    pretrained: bool | str | None = None,
    weights: str | Path | None = None,
    width: int | None = None,
    depth: int | None = None,
    act: str | None = None,
    dropout: float | None = None,
    freeze_bn: bool | None = None,
    mixup: float | bool | None = None,
    cutmix: float | bool | None = None,
    label_smoothing: float | None = None,
    class_weights: str | Mapping[Any, float] | None = None,
    progressive: bool | None = None,
    channels_last: bool = True,
    compile: bool = False,
    opt: OptSpec | None = None,
    lr: float | Sequence[float] | None = None,
    wd: float | None = None,
    loss_fn: Any = None,
    callbacks: Sequence[Any] = (),
    seed: int | None = None,
    **options: Any,
) -> Learner:
    """A Learner for pictures: a backbone, a head fitted to the task, and the defaults that suit them.

    Args:
        dls: from ImageDataLoaders.
        arch: a model of torchvision or timm by name, a function of torchvision.models, a module of your own, or None: the
            built-in "small_resnet" for pictures of up to 96 pixels, else resnet18.
        pretrained: start from weights of ImageNet (AR03), or the name of the weights; by default they are taken where a
            named backbone has them. Of a module of your own: whether it brings trained weights, so that its rates are low.
        weights: a file of weights, .pth or .safetensors.
        width: channels of the built-in network's first stage; 64 by default, 32 under a U-net.
        depth: residual blocks a stage of the built-in network.
        act: activation of the built-in network: relu, leaky_relu, gelu, silu, ...
        dropout: share of the features dropped before the last layer; 0.2 by default, none in the built-in network from scratch.
        freeze_bn: the batch norms of the backbone keep to the statistics that they came with, while their scales and
            shifts learn; by default with pre-trained weights.
        mixup: alpha of mixup (TR03), or True for 0.4. By default the built-in network from scratch trains classifiers with 0.4, and with a
            cutmix of 1, in fits of 40 epochs and more; where either is given it holds for every fit, and the other is off.
        cutmix: alpha of CutMix, or True for 1. With both, half of the batches are cut.
        label_smoothing: share of the probability that is spread over all classes while training; 0.1 by default.
        class_weights: "balanced", or a weight for each class, in the training loss (DA13).
        progressive: train the first half of the epochs on pictures of three quarters of the size (DA03); off by default.
        channels_last: keep pictures and weights with channels innermost, which convolutions like best.
        compile: torch.compile the model; needs a compiler on this machine.
        opt: see Learner; "muon" by default for the built-in network from scratch and for U-nets, "adamw" for others.
        lr: peak rate, or one a layer group; by the model and where its weights come from by default.
        wd: weight decay.
        loss_fn: in place of the target's own.
        callbacks: for every fit.
        seed: fixes all randomness, the network's first weights included.
        **options: of Learner.

    Raises:
        SettingError: an argument is unknown, or would be ignored.
    """
    if not isinstance(dls, ImageDataLoaders):
        raise SettingError(
            f"dls is a {type(dls).__name__}; expected ImageDataLoaders, for instance ImageDataLoaders.from_folder(path)."
        )
    if dls.train is None or dls.blocks is None:
        raise SettingError("these loaders hold no pictures to train on; make them with ImageDataLoaders.from_folder.")
    arch = arch if arch is None else as_named(arch)
    seed = rng.draw_seed() if seed is None else seed
    network = {"width": width, "depth": depth, "act": act}
    made_with: dict[str, Any] = {
        "size": min(dls.picture.size),
        "weights": weights,
        "network": {name: value for name, value in network.items() if value is not None} or None,
    }
    if dropout is not None and dls.task == "segmentation":
        raise SettingError(f"dropout={dropout!r} is of the head of a classifier, and a U-net has none; leave it out.")
    asked = pretrained is not None or weights is not None
    with rng.preserved():
        rng.seed_everything(rng.derive(seed, "model"))
        model, arch, pretrained = _build(dls, arch, pretrained, freeze_bn, dropout, made_with)
    trained = pretrained or weights is not None  # the name of the weights, or whether there are any
    if trained or isinstance(arch, str):  # what a module of one's own holds is not known
        model.trained = bool(trained)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    dls = _suited(dls, model, arch, trained, seed)
    if compile:
        model.compile()

    settings = Settings()
    usual = defaults.training(arch, dls.task, bool(trained), loss_fn is not None)
    given: dict[str, Any] = {"opt": opt, "label_smoothing": label_smoothing, "progressive": progressive}
    if mixup is not None or cutmix is not None:  # the other is off then, and fits of any length are mixed
        alphas = {
            "mixup": defaults.MIXUP if mixup is True else mixup,
            "cutmix": defaults.CUTMIX if cutmix is True else cutmix,
        }
        given |= {name: alpha or 0.0 for name, alpha in alphas.items()} | {"mixed_from": 0}
    chosen = choose(usual, given, settings)
    usual_lr, usual_wd, rule = _rates(model, bool(trained), chosen["opt"], dls)
    precision = options.pop("precision", "auto")
    bf16 = precision == "auto" and fast_bf16(pick_device(options.get("device")))
    target = dls.blocks[1]  # type: ignore[index]
    mixing: list[Any] = []
    if chosen["mixup"]:
        mixing.append(MixUp(target, chosen["mixup"], fewest_epochs=chosen["mixed_from"]))
    if chosen["cutmix"]:
        p = 0.5 if mixing else 1.0
        mixing.append(CutMix(target, chosen["cutmix"], p, fewest_epochs=chosen["mixed_from"]))
    learn = Learner(
        dls,
        model,
        loss_fn=_loss(loss_fn, target, dls, class_weights, chosen["label_smoothing"]),
        opt=chosen["opt"],
        lr=usual_lr if lr is None else lr,
        wd=usual_wd if wd is None else wd,
        callbacks=[*callbacks, *mixing],
        splitter=backbone.splitter,
        seed=seed,
        precision="bf16" if bf16 else precision,
        **options,
    )
    if arch == "small_resnet" and not trained:
        learn.callbacks.append(EarlyStem(defaults.STEM_LEARNS, defaults.CYCLE.below))
        if chosen["opt"] == "muon":
            learn.cycle = defaults.CYCLE
            cycle = schedule.in_words(learn.cycle)
            learn.settings.note("schedule", cycle, cycle, "TR07; chosen by ablation")
    if chosen["progressive"]:
        learn.callbacks.append(Progressive(lambda: learn.dls.augment))  # type: ignore[attr-defined]
    if trained:
        probe = fit_head if _can_be_probed(model, learn) else None
        learn.transfer = Transfer(defaults.fine_tuning_epochs(len(dls.items["train"])), probe, pretrained=True)
    if model.arguments is not None:
        learn.builder = Builder("unet" if dls.task == "segmentation" else "vision", model.arguments)
    note = learn.settings.note
    if loss_fn is None:  # what it is made of is noted below
        note("loss_fn", type(learn.loss_fn).__name__, type(learn.loss_fn).__name__, "chosen from the target")
    if precision == "auto":
        note("precision", learn.precision, learn.precision, "TR04; bf16 where the processor has instructions for it")
    named, brought = isinstance(arch, str), weights or pretrained
    note("arch", arch if named else type(arch).__name__, defaults.arch(dls.picture.size), "AR05")
    note("weights", brought, (named and arch != "small_resnet") if asked else brought, "AR03")
    if dls.task != "segmentation":
        usual_dropout = defaults.dropout(arch, bool(trained))
        note("dropout", usual_dropout if dropout is None else dropout, usual_dropout, "TR13; chosen by ablation")
    note("freeze_bn", model.freeze_bn, bool(trained), "AR03; chosen by ablation")
    if usual_lr is not None:
        note("lr", learn.lr, usual_lr, rule)
    note("wd", learn.wd, usual_wd, "TR11")
    learn.settings.update(settings)
    note("aug", dls.aug, dls.aug, "DA17")
    return learn


def _suited(
    dls: ImageDataLoaders, model: nn.Module, arch: str | nn.Module, trained: bool | str, seed: int
) -> ImageDataLoaders:
    """Data and a fresh model suited to each other: normalised as the weights know it, or the first layer fitted to the data."""
    if not isinstance(arch, str):
        return dls
    if trained:
        statistics = backbone.statistics(arch, trained, dls.picture.channels)
        return dls if statistics is None else dls.normalized(*statistics)
    if arch == "small_resnet":
        assert dls.train is not None
        sample = dls.as_evaluated(dls.train.sample(defaults.WHITENED, seed))
        first = next(m for m in model.modules() if isinstance(m, SmallResNet))
        first.fit(torch.cat([batch.x[0] for batch in sample]))
    return dls


def _can_be_probed(model: nn.Module, learn: Learner) -> bool:
    """Whether the head ends in one linear layer that can be fitted by itself."""
    return isinstance(model, VisionModel) and learn.compute_loss is None


def _rates(
    model: nn.Module, with_weights: bool, opt: Any, dls: ImageDataLoaders
) -> tuple[float | list[float] | None, float, str]:
    """Peak rate (None: Learner's own), weight decay, and the rule that they follow."""
    if opt not in ("adamw", "muon"):
        return None, defaults.WD_OTHERS, "the optimizer's own"
    unet_by_muon = opt == "muon" and dls.task == "segmentation"
    if with_weights:
        n_groups = len(layer_groups(model, backbone.splitter))
        lrs = defaults.fine_tuning_lr(n_groups, defaults.UNET_FINE_TUNING_LR if unet_by_muon else 1.0)
        return lrs, defaults.WD_FINE_TUNING, "AR03: defaults.fine_tuning_lr"
    if any(isinstance(m, nn.BatchNorm2d) for m in model.modules()):
        base_bs = dls.base_bs or dls.bs
        # Muon's rate and U-nets' suit their small batches as they are
        if opt == "adamw" and dls.task != "segmentation":
            base_bs = max(base_bs, defaults.LEAST_BASE_BS)
        peak = defaults.peak_lr(n_parameters(model), dls.bs, base_bs)
        peak *= defaults.UNET_LR if unet_by_muon else 1.0
        return peak, defaults.WD, "TR01 for convolutions with batch norm: defaults.peak_lr, TR06 for bs"
    return None, defaults.WD_FINE_TUNING, "TR01"


def _build(
    dls: ImageDataLoaders,
    arch: str | nn.Module | None,
    pretrained: bool | str | None,
    freeze_bn: bool | None,
    dropout: float | None,
    made_with: Mapping[str, Any],
) -> tuple[Any, str | nn.Module, bool | str]:
    """The model, its backbone, and the weights that it was given. A default that cannot be had is said and done without."""
    build = unet.build if dls.task == "segmentation" else backbone.build
    n_out, n_in = dls.blocks[1].n_out or 1, dls.picture.channels  # type: ignore[index]

    def make(network: str | nn.Module, wanted: bool | str, **more: Any) -> Any:
        brings = bool(wanted) or made_with["weights"] is not None
        if dls.task != "segmentation":
            more["dropout"] = defaults.dropout(network, brings) if dropout is None else dropout
        return build(network, n_out, n_in, freeze_bn=brings if freeze_bn is None else freeze_bn, **more, **made_with)

    if isinstance(arch, nn.Module):  # with its weights in it, if any
        return make(arch, pretrained or False), arch, pretrained or False
    chosen = arch or ("small_resnet" if made_with["network"] else defaults.arch(dls.picture.size))
    if chosen == "small_resnet" and dls.task == "segmentation":
        made_with = {**made_with, "network": {"width": defaults.UNET_WIDTH} | (made_with["network"] or {})}
    wanted = pretrained
    if wanted is None:
        wanted = chosen != "small_resnet" and made_with["weights"] is None
    try:
        return make(chosen, wanted, pretrained=wanted), chosen, wanted
    except WeightsError as error:
        if arch is not None or pretrained is not None:
            raise
        found = Finding(
            "no-weights",
            "AR03",
            "warning",
            f"{chosen} starts from scratch: {error}",
            {"pictures": len(dls.items["train"])},
            "Pre-trained weights are worth more than most data; fetch them once, or give weights=PATH.",
        )
        dls.findings.append(found)
        log.warning("%s", found)
        return make(chosen, False, pretrained=False), chosen, False


def _loss(
    loss_fn: Any,
    target: Any,
    dls: ImageDataLoaders,
    class_weights: str | Mapping[Any, float] | None,
    label_smoothing: float,
) -> Any:
    if class_weights is None and not label_smoothing:
        return loss_fn  # None: the target's own
    if not isinstance(target, CategoryBlock) or loss_fn is not None:
        raise SettingError(
            "class_weights and label_smoothing need a classification with the default loss; otherwise give loss_fn its own."
        )
    weight = None
    if class_weights is not None:
        codes = torch.tensor([target.encode(label) for label in dls.targets["train"]])
        weight = target.class_weight(class_weights, codes)
    return CrossEntropy(weight, label_smoothing)
