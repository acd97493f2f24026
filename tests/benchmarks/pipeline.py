"""From a folder of JPEGs to augmented batches: tipsai beside torchvision v2 and fastai, in one run.

The chain: horizontal flip, rotation within 10 degrees, zoom to 1.1, perspective 0.2, random resized crop to 224 (scale
0.35 to 1), brightness, contrast and saturation jitter 0.2, normalisation. torchvision does it a picture at a time in
workers, fastai resizes to 460 in workers and does the rest on batches. The pictures are cut out of real photographs that
scikit-learn and scikit-image ship, at about 500 pixels.

    python tests/benchmarks/pipeline.py [--pictures 512] [--rounds 3] [--workers 2] [--folder DIR]

Peers that are not installed are left out.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from PIL import Image

SIZE, BS = 224, 64


def photographs() -> list[Image.Image]:
    """Real photographs that packages on this machine ship."""
    from sklearn.datasets import load_sample_images

    found = [Image.fromarray(picture) for picture in load_sample_images().images]
    try:
        from skimage import data
    except ImportError:
        return found
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        try:
            found.append(Image.fromarray(getattr(data, name)()))
        except (OSError, AttributeError, ModuleNotFoundError):  # not every version ships every picture
            continue
    return found


def make_folder(folder: Path, n: int) -> None:
    """n JPEGs of about 500 pixels in two classes, each another cut of a photograph."""
    rng = np.random.default_rng(0)
    sources = photographs()
    for i in range(n):
        source = sources[i % len(sources)]
        share = rng.uniform(0.7, 1.0)
        w, h = int(source.width * share), int(source.height * share)
        left, top = rng.integers(0, source.width - w + 1), rng.integers(0, source.height - h + 1)
        scale = 500 / max(w, h)
        cut = source.crop((left, top, left + w, top + h)).resize(
            (round(w * scale), round(h * scale)), Image.Resampling.BICUBIC
        )
        place = folder / ("ab"[i % 2])
        place.mkdir(exist_ok=True)
        cut.convert("RGB").save(place / f"{i}.jpg", quality=90)


def ours(folder: Path, workers: int, until: ExitStack) -> Callable[[int], int]:
    from tipsai.vision import Augmentation, ImageDataLoaders

    aug = Augmentation(
        flip=0.5, rotate=10, zoom=1.1, perspective=0.2, scale=(0.35, 1), brightness=0.2, contrast=0.2, saturation=0.2
    )
    dls = ImageDataLoaders.from_folder(folder, valid=0.0, size=SIZE, bs=BS, aug=aug, n_workers=workers, cache=False)
    until.enter_context(dls.persistent_workers())  # as in a fit
    feed = dls.feed("train", torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    def epoch(number: int) -> int:
        n = 0
        for batch in feed.batches(seed=0, epoch=number):
            assert batch.x[0].shape[1:] == (3, SIZE, SIZE)
            n += batch.n_rows
        return n

    return epoch


def torchvisions(folder: Path, workers: int, until: ExitStack) -> Callable[[int], int]:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    chain = v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(10, scale=(1.0, 1.1), interpolation=v2.InterpolationMode.BILINEAR),
            v2.RandomPerspective(0.2, p=1.0),
            v2.RandomResizedCrop(SIZE, scale=(0.35, 1), antialias=True),
            v2.ColorJitter(0.2, 0.2, 0.2),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    loader = DataLoader(
        ImageFolder(folder, chain), BS, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )

    def epoch(number: int) -> int:
        return sum(len(x) for x, _ in loader)

    return epoch


def fastais(folder: Path, workers: int, until: ExitStack) -> Callable[[int], int]:
    from fastai.vision.all import ImageDataLoaders, Normalize, Resize, aug_transforms, imagenet_stats

    tfms = aug_transforms(size=SIZE, min_scale=0.35, max_rotate=10, max_zoom=1.1, max_lighting=0.2, max_warp=0.2)
    dls = ImageDataLoaders.from_folder(
        folder, valid_pct=1e-9, bs=BS, num_workers=workers, item_tfms=Resize(460),
        batch_tfms=[*tfms, Normalize.from_stats(*imagenet_stats)],
    )  # fmt: skip

    def epoch(number: int) -> int:
        return sum(len(x) for x, _ in dls.train)

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, ExitStack() as until:
        folder = args.folder or Path(made)
        if args.folder is None:
            make_folder(folder, args.pictures)
        ways = {}
        for name, make in (("tipsai", ours), ("torchvision", torchvisions), ("fastai", fastais)):
            try:
                ways[name] = make(folder, args.workers, until)
            except ImportError as error:
                print(f"{name}: left out ({error})")
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(args.rounds + 1):
            for name, epoch in ways.items():
                began = time.perf_counter()
                n = epoch(number)
                if number:  # the first round fills the disk's cache
                    seconds[name].append((time.perf_counter() - began) / n)
    best = statistics.median(seconds["tipsai"])
    for name, times in seconds.items():
        each = statistics.median(times)
        print(f"{name:<12} {1 / each:8.0f} pictures/s   tipsai is {each / best:.2f} times as fast")


if __name__ == "__main__":
    main()
