"""The peak rate of torchvision's networks that start from scratch, by the size of a batch: how the rule was chosen.

Factors are of the rate before the size of the batch enters. Trains on few and on more pictures of the training parts of
CIFAR-10 and Fashion-MNIST, enlarged to 64 pixels, and judges on 2,000 others of the training part; the test parts are not
opened.

    TIPSAI_DATA=path/to/data python tests/benchmarks/scratch_rates.py [--archs resnet18] [--budgets 200x40] [--data cifar]
"""

import argparse
import logging
import statistics
from itertools import product

import numpy as np
from fashion import DATA as FASHION
from fashion import load
from vision_defaults import budget, cifar

from tipsai.optim import n_parameters
from tipsai.vision import ImageDataLoaders, defaults, vision_learner

SIZE, HELD_OUT = 64, 2000
ARCHS = ("resnet18", "shufflenet_v2_x0_5")
BUDGETS = ((200, 20), (800, 10))  # (training pictures, epochs): batches of 16 and 64
FACTORS = (1.0, 0.5, 0.25, 0.125)


def accuracy(x: np.ndarray, y: np.ndarray, n: int, n_epochs: int, seed: int, arch: str, factor: float) -> float:
    picked = np.random.default_rng(seed).permutation(len(y) - HELD_OUT)[:n]
    dls = ImageDataLoaders.from_arrays((x[picked], y[picked]), 0.0, size=SIZE)
    learn = vision_learner(dls, arch, pretrained=False, seed=seed)
    whole = defaults.peak_lr(n_parameters(learn.model), bs=1, base_bs=1)
    learn.fit_one_cycle(n_epochs, lr=factor * whole, progress=False)
    return float((learn.predict(x[-HELD_OUT:])["prediction"].to_numpy() == y[-HELD_OUT:]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archs", nargs="+", default=ARCHS)
    parser.add_argument("--data", nargs="+", default=["cifar", "fashion"], choices=["cifar", "fashion"])
    parser.add_argument("--budgets", nargs="+", type=budget, default=BUDGETS, metavar="PICTURESxEPOCHS")
    parser.add_argument("--factors", nargs="+", type=float, default=FACTORS)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    logging.getLogger("tipsai").setLevel(logging.ERROR)
    arrays = {name: cifar() if name == "cifar" else load(FASHION)[0] for name in args.data}
    for (n, n_epochs), name, arch in product(args.budgets, args.data, args.archs):
        told = []
        for factor in args.factors:
            found = [accuracy(*arrays[name], n, n_epochs, seed, arch, factor) for seed in range(args.seeds)]
            told.append(f"{factor:g}: {statistics.mean(found):.4f}")
        print(f"{name:<8} {n:>6,} pictures, {n_epochs} epochs, {arch:<20} " + "  ".join(told), flush=True)


if __name__ == "__main__":
    main()
