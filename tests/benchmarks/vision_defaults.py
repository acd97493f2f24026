"""The defaults for small pictures, each beside its alternatives: how they were chosen.

Trains the built-in network on a part of the training pictures of CIFAR-10 and Fashion-MNIST, short and long, and judges on
5,000 others of the training part; the test parts are not opened. Every alternative is compared with the default on the
same split and seed, so that a difference is a mean over seeds with its 95% interval.

A narrower network (--width 32) is three times as fast; one process a data set with OMP_NUM_THREADS=1 uses two cores better.

    TIPSAI_DATA=path/to/data python tests/benchmarks/vision_defaults.py [--only mixup cutmix] [--seeds 3] [--data cifar]
"""

import argparse
import logging
import math
import os
import statistics
import tarfile
from pathlib import Path

import numpy as np
from fashion import DATA as FASHION
from fashion import load
from PIL import Image

from tipsai.vision import Augmentation, ImageDataLoaders, vision_learner

CIFAR = Path(os.environ.get("TIPSAI_DATA", "../shared/data")) / "cifar10.tgz"
HELD_OUT = 5000
BUDGETS = ((2000, 60), (15_000, 5), (15_000, 20))  # (training pictures, epochs)
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78}  # Student's t by degrees of freedom
ALTERNATIVES = {
    "no mixing": {"mixup": 0.0},
    "mixup 0.2": {"mixup": 0.2},
    "mixup 0.4": {"mixup": 0.4},
    "cutmix 1": {"cutmix": 1.0},
    "mixup 0.4, cutmix 1": {"mixup": 0.4, "cutmix": 1.0},
    "no label smoothing": {"label_smoothing": 0.0},
    "label smoothing 0.2": {"label_smoothing": 0.2},
    "dropout": {"dropout": 0.2},
    "AdamW": {"opt": "adamw"},
    "decay 0.05": {"wd": 0.05},
    "decay 1": {"wd": 1.0},
    "growing": {"progressive": True},
    "shift 1/8": {"aug": Augmentation.small(translate=1 / 8)},
    "no shift": {"aug": Augmentation.small(translate=0.0)},
    "erase 0.5": {"aug": Augmentation.small(erase=0.5)},
    "rise of a quarter": {"fit": {"pct_start": 0.25}},
    "rise of a twentieth": {"fit": {"pct_start": 0.05}},
    "momentum 0.95-0.85-0.95": {"fit": {"moms": (0.95, 0.85, 0.95)}},
    "momentum 0.9": {"fit": {"moms": (0.9, 0.9, 0.9)}},
}


def cifar() -> tuple[np.ndarray, np.ndarray]:
    """Training pictures uint8 [n, 32, 32, 3] and class numbers, shuffled once and for all."""
    pictures, labels = [], []
    with tarfile.open(CIFAR) as archive:
        for member in archive:
            parts = Path(member.name).parts
            if member.isfile() and "train" in parts:
                pictures.append(np.asarray(Image.open(archive.extractfile(member)).convert("RGB")))
                labels.append(parts[-2])
    order = np.random.default_rng(0).permutation(len(labels))
    return np.stack(pictures)[order], np.unique(labels, return_inverse=True)[1][order]


def accuracy(x: np.ndarray, y: np.ndarray, n: int, n_epochs: int, seed: int, options: dict) -> float:
    options = dict(options)
    fit = options.pop("fit", {})
    picked = np.random.default_rng(seed).permutation(len(y) - HELD_OUT)[:n]
    dls = ImageDataLoaders.from_arrays(
        (x[picked], y[picked]), (x[-HELD_OUT:], y[-HELD_OUT:]), aug=options.pop("aug", "auto")
    )
    learn = vision_learner(dls, metrics=["accuracy"], seed=seed, **options)
    learn.fit_one_cycle(n_epochs, progress=False, **fit)
    return learn.history[-1]["valid_accuracy"]


def budget(text: str) -> tuple[int, int]:
    n, n_epochs = text.split("x")
    return int(n), int(n_epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(ALTERNATIVES), help="beginnings of alternatives' names")
    parser.add_argument("--data", nargs="+", default=["cifar", "fashion"], choices=["cifar", "fashion"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--budgets", nargs="+", type=budget, default=BUDGETS, metavar="PICTURESxEPOCHS", help="such as 2000x60"
    )
    parser.add_argument(
        "--width", type=int, default=None, help="of the network's first stage; the default's unless given"
    )
    args = parser.parse_args()
    logging.getLogger("tipsai").setLevel(logging.ERROR)
    for data in args.data:
        x, y = cifar() if data == "cifar" else load(FASHION)[0]
        for n, n_epochs in args.budgets:
            network = {} if args.width is None else {"width": args.width}
            base = [accuracy(x, y, n, n_epochs, seed, network) for seed in range(args.seeds)]
            print(f"\n{data}, {n:,} pictures, {n_epochs} epochs: default {statistics.mean(base):.4f}", flush=True)
            for name, options in ALTERNATIVES.items():
                if not any(name.startswith(beginning) for beginning in args.only):
                    continue
                found = [accuracy(x, y, n, n_epochs, seed, network | options) for seed in range(args.seeds)]
                gains = [after - before for after, before in zip(found, base, strict=True)]
                half = math.nan
                if len(gains) > 1:
                    half = T95.get(len(gains) - 1, 2.0) * statistics.stdev(gains) / math.sqrt(len(gains))
                print(f"  {name:<22} {statistics.mean(gains):+.4f} ± {half:.4f}", flush=True)


if __name__ == "__main__":
    main()
