"""Fashion-MNIST by the default call, and what mixup buys when labels are wrong.

    python tests/benchmarks/fashion.py [--epochs 5 20] [--seeds 0 1 2] [--width 32] [--keep FOLDER]
    python tests/benchmarks/fashion.py --wrong 0.2 [--epochs 10] [--seeds 0 1 2]    # training labels flipped, mixup on and off

The data are Debian's package dataset-fashion-mnist (Xiao et al. 1708.07747); --data names another folder of idx files.
Without a validation part of its own, 2,500 of the training pictures validate. The test part is opened once a run.
"""

import argparse
import gzip
import math
import statistics
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tipsai.vision import ImageDataLoaders, vision_learner

DATA = Path("/usr/share/datasets/fashion-mnist")


def idx(path: Path) -> NDArray[np.uint8]:
    """An array in the format of MNIST: two zero bytes, type, number of dimensions, sizes, values."""
    with gzip.open(path) as file:
        content = file.read()
    n_dims = content[3]
    shape = np.frombuffer(content, ">i4", n_dims, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dims).reshape(shape)


def load(folder: Path) -> tuple[tuple[NDArray[np.uint8], NDArray[np.int64]], ...]:
    parts = []
    for name in ("train", "t10k"):
        labels = idx(folder / f"{name}-labels-idx1-ubyte.gz")
        parts.append((idx(folder / f"{name}-images-idx3-ubyte.gz"), labels.astype(np.int64)))
    return tuple(parts)


def flipped(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """A share of the labels moved to another class at random."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(labels)) < share
    return np.where(wrong, (labels + rng.integers(1, 10, len(labels))) % 10, labels)


def kept(folder: Path | None, name: str) -> dict:
    """The options of a fit whose checkpoint is kept up to date."""
    if folder is None:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    return {"checkpoint": folder / f"{name}.tips", "resume": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--epochs", type=int, nargs="+", default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--precision", default="auto")
    parser.add_argument(
        "--width", type=int, default=None, help="of the network's first stage; the default's unless given"
    )
    parser.add_argument("--wrong", type=float, default=0.0, help="share of the training labels that are flipped")
    parser.add_argument(
        "--keep", type=Path, help="a folder for checkpoints, from which an interrupted benchmark goes on"
    )
    args = parser.parse_args()
    train, test = load(args.data)
    if args.wrong:
        wrong_labels(train, test, args)
        return
    for n_epochs in args.epochs or [5, 20]:
        plain, tta, seconds = [], [], []
        for seed in args.seeds:
            dls = ImageDataLoaders.from_arrays(train, test=test, seed=seed)
            learn = vision_learner(dls, metrics=["accuracy"], seed=seed, width=args.width, precision=args.precision)
            learn.fit_one_cycle(n_epochs, **kept(args.keep, f"fashion-{n_epochs}-{seed}"))
            seconds.append(learn.train_seconds)
            plain.append(learn.test()["test_accuracy"])
            tta.append(
                learn.test(tta=True)["test_accuracy"]
            )  # the same predictions seen twice: nothing is chosen by them
            print(
                f"{n_epochs} epochs, seed {seed}: {plain[-1]:.4f}, tta {tta[-1]:.4f}, {seconds[-1]:.0f} s", flush=True
            )
        spread = f" ± {statistics.stdev(plain):.4f}" if len(plain) > 1 else ""
        print(
            f"{n_epochs} epochs: test accuracy {statistics.mean(plain):.4f}{spread}, "
            f"with test-time augmentation {statistics.mean(tta):.4f}, {statistics.mean(seconds):.0f} s",
            flush=True,
        )


def wrong_labels(train: tuple, test: tuple, args: argparse.Namespace) -> None:
    n_epochs = (args.epochs or [10])[0]
    gains = []
    for seed in args.seeds:
        noisy = (train[0], flipped(train[1], args.wrong, seed))
        found = {}
        for mixup in (0.0, 0.4):
            dls = ImageDataLoaders.from_arrays(noisy, test=test, seed=seed)
            learn = vision_learner(
                dls, metrics=["accuracy"], mixup=mixup, seed=seed, width=args.width, precision=args.precision
            )
            learn.fit_one_cycle(n_epochs, **kept(args.keep, f"wrong-{n_epochs}-{seed}-{mixup}"))
            found[mixup] = learn.test()["test_accuracy"]
        gains.append(found[0.4] - found[0.0])
        print(f"seed {seed}: without mixup {found[0.0]:.4f}, with {found[0.4]:.4f}", flush=True)
    if len(gains) > 1:
        # Student's t for 95% at two, three, four degrees of freedom and more
        t = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78}.get(len(gains) - 1, 2.0)
        half = t * statistics.stdev(gains) / math.sqrt(len(gains))
        print(
            f"mixup buys {statistics.mean(gains):+.4f} (95% interval ± {half:.4f}, {len(gains)} seeds, {n_epochs} epochs)"
        )


if __name__ == "__main__":
    main()
