"""CIFAR-10 on a GPU, from JPEGs to test accuracy: seconds of training, and how near it comes to 94%.

Runs on a CPU unchanged, and slowly. JPEG costs some points of accuracy against the original pictures (README).

    TIPSAI_DATA=path/to/data python tests/benchmarks/cifar_gpu.py [--epochs 45] [--width 256] [--bs 768] [--seeds 1]
"""

import argparse
import tarfile
import tempfile

from vision_defaults import CIFAR

from tipsai.vision import ImageDataLoaders, vision_learner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("epochs", 45), ("width", 256), ("bs", 768), ("seeds", 1)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(CIFAR) as archive:
            archive.extractall(place, filter="data")
        dls = ImageDataLoaders.from_folder(place, bs=args.bs)  # the test folder is opened by learn.test alone
    for seed in range(args.seeds):
        learn = vision_learner(dls, width=args.width, metrics=["accuracy"], seed=seed)
        learn.fit_one_cycle(args.epochs, progress=False)
        accuracy = learn.test(tta=True)["test_accuracy"]
        print(f"{learn.device}, seed {seed}: {accuracy:.4f} after {learn.train_seconds:.1f} s of training", flush=True)


if __name__ == "__main__":
    main()
