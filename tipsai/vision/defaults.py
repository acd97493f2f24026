"""What a vision run takes where nothing else is said."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tipsai.schedule import ByLength, Cycle
from tipsai.vision.view import SMALL_SIDE

SMALL = SMALL_SIDE  # pictures up to this side behave differently (DA03), and are kept at their own size
ARCH = "resnet18"  # for larger pictures (AR05)
WHITENED = 2000  # pictures that the first layer's whitening is fitted to
WD = 0.5  # of networks with batch norm that start from scratch, which want ten times the usual decay
WD_FINE_TUNING = 0.05
WD_OTHERS = 0.01  # with optimizers other than AdamW: the Learner's
WIDTH = 64  # channels of the built-in network's first stage
BASE_BS = 128  # batch size at most that the rate is given for
LEAST_BASE_BS = 64  # and at least, for AdamW; where pictures are so few that batches are smaller, so is the rate
MANY = 32_768  # small pictures, of which batches of 256 gave better models in less time
NARROWEST = 32  # where time is short
PASSES = 8  # over the pictures that are worth a narrower network; tests/benchmarks/cifar.py --shapes compares
CYCLE = ByLength(Cycle(), short=Cycle(0.1, (0.8, 0.8, 0.8)), below=10)  # of the built-in network from scratch
STEM_LEARNS = 0.3  # share of such short fits in which the bias of the first layer learns
DROPOUT = 0.2  # before the last layer
UNET_WIDTH = 32  # of the built-in network under a U-net, whose decoder works at the picture's full size
UNET_LR = 3.0  # factor of the rate of Muon for a U-net from scratch
UNET_FINE_TUNING_LR = 5.0  # factor of the rates of Muon for a U-net on pre-trained weights: its decoder is new
MIXUP, CUTMIX = 0.4, 1.0  # alphas
MIXED_FROM = 40  # epochs of a fit: in shorter ones mixing costs more than it regularises
PROBED = 5000  # pictures that a fresh head on a pre-trained body is fitted to
HEAD_LR = 2e-3  # of a fresh head on pre-trained weights: fast.ai's
LARGE_SIDE = 224  # pixels, of larger pictures: what most backbones were trained on


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How a network for pictures is trained; tests/benchmarks/vision_defaults.py and scenes.py compare alternatives."""

    opt: str = field(default="adamw", metadata={"source": "TR11; muon for small_resnet and U-nets: chosen by ablation"})
    mixup: float = field(default=0.0, metadata={"source": "TR03; chosen by ablation"})
    cutmix: float = field(default=0.0, metadata={"source": "TR03; chosen by ablation"})
    mixed_from: int = field(default=0, metadata={"source": "fewest epochs of a fit that is mixed; chosen by ablation"})
    label_smoothing: float = field(default=0.0, metadata={"source": "Szegedy et al. 1512.00567; chosen by ablation"})
    progressive: bool = field(default=False, metadata={"source": "DA03; off by ablation"})


def training(arch: Any, task: str, trained: bool, own_loss: bool) -> Training:
    """How a network is trained.

    Args:
        arch: its name, or a module.
        task: what the pictures are for.
        trained: whether the network brings trained weights.
        own_loss: whether the loss is the user's.
    """
    small = _is_small(arch)
    mixed = small and not trained and task == "classification" and not own_loss
    return Training(
        mixup=MIXUP if mixed else 0.0,
        cutmix=CUTMIX if mixed else 0.0,
        mixed_from=MIXED_FROM if mixed else 0,
        opt="muon" if (small and not trained) or task == "segmentation" else "adamw",
        label_smoothing=0.1 if task == "classification" and not own_loss else 0.0,
    )


def dropout(arch: Any, trained: bool) -> float:
    """The share of the features that is dropped before the last layer (TR13).

    None of the built-in network's from scratch, which label smoothing and augmentation keep from overfitting: by ablation a
    gain of 0.3 points on CIFAR-10 and a loss of 0.1 on Fashion-MNIST.

    Args:
        arch: the network's name, or a module.
        trained: whether it brings trained weights.
    """
    return 0.0 if _is_small(arch) and not trained else DROPOUT


def _is_small(arch: Any) -> bool:
    return isinstance(arch, str) and arch == "small_resnet"


def picture_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """(height, width) of what the model sees, from the pictures' own.

    Small pictures that are all alike keep their size; others become squares of their median shorter side, at most 224
    pixels and, above 96, a multiple of 32.
    """
    if len(set(sizes)) == 1 and max(sizes[0]) <= SMALL:
        return sizes[0]
    side = int(np.median([min(size) for size in sizes]))
    if side > SMALL:
        side = min(LARGE_SIDE, side // 32 * 32)
    return (max(1, side), max(1, side))


def arch(size: tuple[int, int]) -> str:
    """The network for pictures of this size: the built-in one for small pictures (AR05)."""
    return "small_resnet" if max(size) <= SMALL else ARCH


def at_least(size: tuple[int, int], smallest_crop: float) -> int:
    """The shorter side to which a picture may be shrunk when it is read: the smallest crop still has a pixel for each of the model's.

    Args:
        size: (height, width) of what the model sees.
        smallest_crop: share of the picture's area that augmentation may cut out.
    """
    return math.ceil(max(size) / math.sqrt(smallest_crop))


def valid_share(n_items: int, n_classes: int = 0) -> float:
    """The share of the pictures that validates: a fifth, but no more than 2,500 or ten of each class.

    2,500 tell an accuracy of 90% to 0.6 points (standard error); what more would add, training has more use for.
    """
    return min(0.2, max(2500, 10 * n_classes) / max(1, n_items))


def batch_size(size: tuple[int, int], n_items: int, masks: bool = False) -> int:
    """Pictures a batch: 128 small ones, or 256 of MANY; 64 larger ones; 16 with masks.

    Fewer where an epoch would have less than eight batches. Of a mask every pixel is an example, so that few pictures make
    a good gradient.
    """
    small = 256 if n_items >= MANY else 128
    most = 16 if masks else small if max(size) <= SMALL else 64
    return max(8, min(most, 1 << int(math.log2(max(1.0, n_items / 8)))))


def n_epochs(n_items: int) -> int:
    """Passes over the data: about 300,000 pictures seen, between 5 and 60 passes."""
    return int(min(60, max(5, round(300_000 / max(1, n_items)))))


def width_within(n_epochs: float) -> int:
    """The width of the built-in network where time allows so many passes at its usual width: fewer channels for PASSES of them.

    A step's time goes with the width to the power of 1.5: its convolutions with the square, all else with the width.
    """
    width = WIDTH * (n_epochs / PASSES) ** (1 / 1.5)
    return int(min(WIDTH, max(NARROWEST, width // 8 * 8)))


def fine_tuning_epochs(n_items: int) -> int:
    """Passes over the data on pre-trained weights: a sixth of what learning from nothing takes, at least 3."""
    return max(3, n_epochs(n_items) // 6)


def peak_lr(n_parameters: int, bs: int, base_bs: int) -> float:
    """Peak rate of AdamW for a convolutional network with batch norm that starts from scratch.

    6e-3 at two million parameters and falling with their fourth root, at most 1.2e-2: such networks take about ten times the rate of
    others of their size (TR01). The batch size enters by its square root (TR06); tests/benchmarks/scratch_rates.py compares.
    """
    return min(1.2e-2, 6e-3 * math.sqrt(math.sqrt(2e6 / n_parameters))) * math.sqrt(bs / base_bs)


def fine_tuning_lr(n_groups: int, factor: float = 1.0) -> list[float]:
    """Rates of the layer groups of a pre-trained model: the head's, and a tenth of it for the earliest (AR03).

    A hundredth, as in fast.ai's fine_tune, is what drifting batch norms ask for; with frozen ones a tenth was no worse on three
    pairs of classes and better on most (one seed a figure; tests/benchmarks/fine_tuning.py repeats it with more).

    Args:
        n_groups: layer groups, the head's the last.
        factor: of all of them.
    """
    return [factor * HEAD_LR / 10 ** (1 - i / max(1, n_groups - 1)) for i in range(n_groups)]
