"""CIFAR-10 from the command line in a given time.

Unpacks cifar10.tgz (JPEGs in train/<class> and test/<class>) and runs `tipsai train FOLDER --minutes 15`; the command
reads the pictures, trains, and opens the test part once.

    TIPSAI_DATA=path/to/data python tests/benchmarks/cifar.py [--minutes 15] [--seeds 1]
    ... cifar.py --shapes 64x3 40x8 32x12 [--seeds 1]

The second compares widths of the built-in network that take about the same time, each with its epochs, on 5,000 pictures of the
training part; the test part stays closed.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from vision_defaults import CIFAR, HELD_OUT, cifar

from tipsai.vision import ImageDataLoaders, vision_learner


def compare(shapes: list[str], seeds: int) -> None:
    x, y = cifar()
    for seed in range(seeds):
        for shape in shapes:
            width, n_epochs = shape.split("x")
            dls = ImageDataLoaders.from_arrays((x[:-HELD_OUT], y[:-HELD_OUT]), (x[-HELD_OUT:], y[-HELD_OUT:]))
            learn = vision_learner(dls, width=int(width), metrics=["accuracy"], seed=seed)
            learn.fit_one_cycle(float(n_epochs))
            last = learn.history[-1]
            print(
                f"seed {seed}, width {width}, {n_epochs} epochs: validation accuracy {last['valid_accuracy']:.4f}, "
                f"training {learn.train_seconds:.0f} s",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", metavar="WIDTHxEPOCHS")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    if args.shapes:
        compare(args.shapes, args.seeds)
        return
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(CIFAR) as archive:
            archive.extractall(place, filter="data")
        folder = next(path.parent for path in Path(place).rglob("train") if path.is_dir())
        for seed in range(args.seeds):
            options = ["--minutes", args.minutes, "--seed", seed, "--out", Path(place) / f"run{seed}", "--json"]
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "tipsai.cli", "train", folder, *map(str, options)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            whole = time.perf_counter() - began
            figures = json.loads(done.stdout)
            print(
                f"seed {seed}: test accuracy {figures['test_accuracy']:.4f}, {figures['n_epochs']} epochs, "
                f"training {figures['train_seconds']:.0f} s, the whole command {whole:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
