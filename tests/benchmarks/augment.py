"""Batch augmentation beside torchvision's and kornia's: time, and the error against one exact warp (DA07).

The chain: flip, rotation within 10 degrees, zoom to 1.1, perspective 0.2, random resized crop to 224 (scale 0.35 to 1),
brightness, contrast and saturation jitter 0.2, normalisation. All ways alternate in one process; ratios are medians over
the rounds. torchvision goes picture by picture, as in a dataset, with one thread and with all. On a GPU, if there is one,
everything runs there.

The error is the mean absolute difference, in steps of 255, from a warp in float64 that takes 12 x 12 bilinear samples an
output pixel. torchvision gets reflected surroundings, so that only resampling differs, and its transforms one after another
with the same parameters and its default antialiasing.

    python tests/benchmarks/augment.py [--rounds 15] [--bs 64] [--threads 2] [--warps 8]
"""

import argparse
import math
import statistics
import time

import torch
import torch.nn.functional as F
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as peer

from tipsai.core.state import Batch
from tipsai.data.loaders import Draw
from tipsai.vision import geometry, sample
from tipsai.vision.augment import Augment, Augmentation, draw_parameters
from tipsai.vision.view import View

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIDE, SIZE = 460, (224, 224)
CHAIN = Augmentation(saturation=0.2, p_warp=1.0, p_colour=1.0)
BILINEAR = v2.InterpolationMode.BILINEAR


def photographs():
    """Names, and uint8 [n, 3, 460, 460]: what scikit-image and scikit-learn ship, else a made one; and a grating."""
    found = {}
    try:
        from skimage import data

        found |= {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")}
    except ImportError:
        pass
    try:
        from sklearn.datasets import load_sample_images

        found |= dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    except ImportError:
        pass
    made = {name: square(torch.tensor(picture).permute(2, 0, 1)) for name, picture in found.items()}
    if not made:
        noise = F.interpolate(
            torch.rand(1, 3, 60, 60, generator=torch.Generator().manual_seed(0)), (460, 460), mode="bicubic"
        )
        made["clouds"] = (noise[0].clamp(0, 1) * 255).byte()
    y, x = torch.meshgrid(torch.arange(460.0), torch.arange(460.0), indexing="ij")
    made["grating"] = (127.5 + 127.5 * torch.sin(0.9 * x + 0.5 * y)).byte().expand(3, -1, -1)
    return list(made), torch.stack(list(made.values()))


def square(picture):
    h, w = picture.shape[1:]
    shrink = SIDE / min(h, w)
    if shrink > 1:
        picture = peer.resize(picture, [math.ceil(h * shrink), math.ceil(w * shrink)], antialias=True)
    return peer.center_crop(picture, [SIDE, SIDE])


# --- time ---------------------------------------------------------------------------------------------------------------


def ways(x, threads):
    """Name -> (a function of no arguments, threads)."""
    by_channel = x.contiguous(memory_format=torch.channels_last)
    crop = v2.Compose([v2.RandomResizedCrop(SIZE, scale=CHAIN.scale), v2.RandomHorizontalFlip()])
    chain = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomRotation(10, interpolation=BILINEAR),
            v2.RandomAffine(0, scale=(1, 1.1), interpolation=BILINEAR),
            v2.RandomPerspective(0.2, p=1),
            v2.RandomResizedCrop(SIZE, scale=CHAIN.scale),
            v2.ColorJitter(0.2, 0.2, 0.2),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    ours = Augment(CHAIN, View(SIZE, MEAN, STD))
    position = iter(range(10**9))
    made = {"tipsai": (lambda: ours(Batch((x,), ()), Draw(0, 0, next(position))), threads)}
    for n in sorted({1, threads}):
        made[f"torchvision crop and flip alone, {n}"] = (lambda: torch.stack([crop(p) for p in by_channel]), n)
    made["torchvision chain, 1"] = (lambda: torch.stack([chain(p) for p in x]), 1)  # more only wait for each other
    try:
        import kornia.augmentation as K

        batch_chain = torch.nn.Sequential(
            K.RandomHorizontalFlip(),
            K.RandomRotation(10.0, p=1.0),
            K.RandomAffine(0.0, scale=(1.0, 1.1), p=1.0),
            K.RandomPerspective(0.2, p=1.0),
            K.RandomResizedCrop(SIZE, scale=CHAIN.scale),
            K.ColorJitter(0.2, 0.2, 0.2, p=1.0),
            K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
        )
        made["kornia chain"] = (lambda: batch_chain(x.float() / 255), threads)
    except ImportError:
        pass
    return made


def seconds(run, threads, device):
    torch.set_num_threads(threads)
    began = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def speed(x, rounds, threads):
    device = x.device.type
    torch.manual_seed(0)
    runs = ways(x, threads)
    times = {name: [] for name in runs}
    for i in range(rounds + 1):  # the first round allocates and imports
        for name, (run, n) in runs.items():
            took = seconds(run, n, device)
            if i:
                times[name].append(took)
    print(f"{len(x)} pictures {SIDE} -> {SIZE[0]} on {device}, {threads} threads, {rounds} rounds")
    print(f"{'':36} {'ms a batch':>10} {'quickest':>9} {'pictures/s':>11} {'this / tipsai':>14}")
    for name, values in times.items():
        ratio = statistics.median(v / t for t, v in zip(times["tipsai"], values, strict=True))
        middle = statistics.median(values)
        print(f"{name:36} {middle * 1e3:>10.1f} {min(values) * 1e3:>9.1f} {len(x) / middle:>11.0f} {ratio:>14.2f}")


# --- fidelity -----------------------------------------------------------------------------------------------------------


def steps(drawn):
    """Matrices of what was drawn, with the crop's box on whole pixels, as torchvision's is."""
    box = ((geometry.crop_boxes(drawn.crop, 1.0, CHAIN.scale, CHAIN.ratio) + 1) * (SIDE / 2)).round() / (SIDE / 2) - 1
    turn, zoom = geometry.rotation(drawn.degrees), geometry.zoom(drawn.zoom)
    m = geometry.compose(geometry.flip(drawn.flip), turn, zoom, geometry.perspective(drawn.corners), geometry.crop(box))
    return box, m


def exact(picture, m, n=12):
    u = ((torch.arange(SIZE[1] * n, dtype=torch.float64) + 0.5) * 2 / (SIZE[1] * n) - 1).expand(SIZE[0] * n, -1)
    points = torch.stack([u, u.T, torch.ones_like(u)], -1) @ m.double().T
    grid = (points[..., :2] / points[..., 2:])[None]
    taken = F.grid_sample(picture[None].double(), grid, padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(taken, n)[0]


def in_turn(picture, drawn, box, i):
    """torchvision's transforms one after another, on a picture with reflected surroundings."""
    picture = picture.flip(2) if drawn.flip[i] else picture
    wide = torch.cat([picture.flip(2), picture, picture.flip(2)], 2)
    wide = torch.cat([wide.flip(1), wide, wide.flip(1)], 1)[:, SIDE // 2 : -SIDE // 2, SIDE // 2 : -SIDE // 2]
    wide = peer.rotate(wide, drawn.degrees[i].item(), interpolation=BILINEAR)
    wide = peer.affine(wide, 0.0, [0, 0], drawn.zoom[i].item(), [0.0, 0.0], interpolation=BILINEAR)
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    starts, ends = (((c + 2) * (SIDE / 2) - 0.5).tolist() for c in (corners, drawn.corners[i]))
    wide = peer.perspective(wide, starts, ends, interpolation=BILINEAR)
    left, top, right, bottom = ((box[i] + 2) * (SIDE / 2)).round().int().tolist()
    return peer.resized_crop(wide, top, left, bottom - top, right - left, list(SIZE), antialias=True)


def fidelity(names, pictures, n_warps, device):
    print(f"\nmean error of 255, {n_warps} warps each, on {device}")
    print(f"{'':12} {'tipsai':>8} {'in turn':>8} {'ratio':>6}")
    errors = {}
    for k, (name, picture) in enumerate(zip(names, pictures, strict=True)):
        drawn = draw_parameters(CHAIN, n_warps, SIZE, torch.Generator().manual_seed(k))
        box, m = steps(drawn)
        truth = torch.stack([exact(picture, matrix) for matrix in m])
        ours = sample.warp(picture.to(device).expand(n_warps, -1, -1, -1), m, SIZE).cpu()
        theirs = torch.stack([in_turn(picture, drawn, box, i) for i in range(n_warps)])
        errors[name] = [(made.double() - truth).abs().mean().item() for made in (ours, theirs)]
        print(f"{name:12} {errors[name][0]:>8.2f} {errors[name][1]:>8.2f} {errors[name][0] / errors[name][1]:>6.2f}")
    means = [statistics.mean(e[i] for name, e in errors.items() if name != "grating") for i in (0, 1)]
    print(f"{'photographs':12} {means[0]:>8.2f} {means[1]:>8.2f} {means[0] / means[1]:>6.2f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bs", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--warps", type=int, default=8)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    names, pictures = photographs()
    x = pictures[torch.arange(args.bs) % len(pictures)].contiguous().to(device)
    speed(x, args.rounds, args.threads)
    fidelity(names, pictures, args.warps, device)


if __name__ == "__main__":
    main()
