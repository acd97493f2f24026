"""Mean IoU of tipsai's U-net beside a plain one, both trained from nothing for the same time on generated shapes.

    nice -n 5 python tests/benchmarks/segmentation.py [seconds=240] [n_seeds=1]

The pictures, from a fixed seed: 64 x 64, three colours, with 3 to 6 shapes each, drawn in order so that later ones cover
earlier ones. A shape is a circle, square, triangle, ring or cross (classes 1 to 5, background 0) of radius 6 to 16
pixels, turned by any angle, at any place, in one random colour at least 0.25 from the background's. Normal noise of standard
deviation 0.25 is added to each value, which are then bytes, and a brightness ramp of up to 0.3 across the picture. 1,000 to train, 200 to
test. Colours say nothing about classes.

The plain network: four levels of two convolutions with batch norm, max pooling, transposed convolutions, 24 to 192
channels; Adam at 1e-3, cross-entropy, batches of 16, random flips. tipsai's: vision_learner with its defaults.
"""

import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

from tipsai import TimeLimit
from tipsai.experiment.budget import epochs_within
from tipsai.metrics import Overlap
from tipsai.vision import ImageDataLoaders, vision_learner

SIDE, N_TRAIN, N_TEST, N_CLASSES, BS = 64, 1000, 200, 6, 16


def shape_mask(kind, u, v, r):
    """The pixels of a shape of radius r, in its own turned coordinates."""
    d = (u * u + v * v).sqrt()
    if kind == 1:
        return d < r
    if kind == 2:
        return torch.maximum(u.abs(), v.abs()) < 0.8 * r
    if kind == 3:  # inside all three sides
        sides = [math.cos(a) * u + math.sin(a) * v for a in (math.pi / 2, math.pi * 7 / 6, math.pi * 11 / 6)]
        return torch.stack(sides).amax(0) < r / 2
    if kind == 4:
        return (d < r) & (d > 0.55 * r)
    return (torch.minimum(u.abs(), v.abs()) < r / 3.5) & (torch.maximum(u.abs(), v.abs()) < r)


def pictures(n, seed):
    """uint8 [n, 3, 64, 64], and class numbers [n, 64, 64]."""
    g = torch.Generator().manual_seed(seed)

    def uniform(low, high, *size):
        return low + (high - low) * torch.rand(size or (1,), generator=g)

    at = torch.arange(SIDE) + 0.5
    yy, xx = torch.meshgrid(at, at, indexing="ij")
    x, y = torch.empty(n, 3, SIDE, SIDE), torch.zeros(n, SIDE, SIDE, dtype=torch.long)
    for i in range(n):
        ground = uniform(0, 1, 3)
        x[i] = ground[:, None, None]
        for _ in range(int(torch.randint(3, 7, (1,), generator=g))):
            kind = int(torch.randint(1, N_CLASSES, (1,), generator=g))
            (cx, cy), r, a = uniform(0, SIDE, 2), float(uniform(6, 16)), float(uniform(0, 2 * math.pi))
            colour = uniform(0, 1, 3)
            while float((colour - ground).norm()) < 0.25:
                colour = uniform(0, 1, 3)
            u = math.cos(a) * (xx - cx) + math.sin(a) * (yy - cy)
            v = math.cos(a) * (yy - cy) - math.sin(a) * (xx - cx)
            inside = shape_mask(kind, u, v, r)
            x[i][:, inside], y[i][inside] = colour[:, None], kind
        slope = uniform(-0.15, 0.15, 2)
        x[i] += (xx / SIDE - 0.5) * slope[0] * 2 + (yy / SIDE - 0.5) * slope[1] * 2
    noisy = x + 0.25 * torch.randn(x.shape, generator=g)
    return (noisy.clamp(0, 1) * 255).round().to(torch.uint8), y


def flipped(x, y):
    """Flips half of the pictures along each axis, targets with them."""
    for axis in (1, 2):
        pick = torch.rand(len(x)) < 0.5
        x = torch.where(pick[:, None, None, None], x.flip(axis + 1), x)
        y = torch.where(pick[:, None, None], y.flip(axis), y)
    return x, y


class Plain(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        w = [width * 2**i for i in range(4)]

        def double(a, b):
            return nn.Sequential(
                *[layer for c in (a, b) for layer in (nn.Conv2d(c, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())]
            )

        self.down = nn.ModuleList(double(a, b) for a, b in zip([3, *w[:-1]], w, strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in zip(w[-2::-1], w[:0:-1], strict=True))
        self.join = nn.ModuleList(double(2 * a, a) for a in w[-2::-1])
        self.out = nn.Conv2d(width, N_CLASSES, 1)

    def forward(self, x):
        skips = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=True):
            x = join(torch.cat([up(x), skip], 1))
        return self.out(x)


def normalised(x):
    """Pictures uint8 as the plain network takes them."""
    return (x / 255 - 0.5) / 0.4


@torch.no_grad()
def predicted(model, x):
    model.eval()
    return torch.cat([model(a) for a in x.split(50)])


def mean_iou(pred, y):
    metric = Overlap("iou")
    metric.update(pred, y)
    return metric.compute()


def train_plain(x, y, seconds, seed):
    torch.manual_seed(seed)
    model = Plain()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for index in torch.randperm(len(x)).split(BS):
            a, b = flipped(x[index], y[index])
            loss = F.cross_entropy(model(a), b)
            opt.zero_grad()
            loss.backward()
            opt.step()
            steps += 1
            if time.perf_counter() - start > seconds:
                break
    return model, steps


def train_tipsai(x, y, seconds, seed):
    """The default call, its schedule fitted into the time as by `tipsai train --minutes`, measuring included."""
    begin = time.perf_counter()
    dls = ImageDataLoaders.from_arrays((x, y), 0, task="segmentation", seed=seed)
    learn = vision_learner(dls, seed=seed, device="cpu")
    budget = epochs_within(learn, (seconds - time.perf_counter() + begin) / 60)
    learn.fit_one_cycle(budget.n_epochs, callbacks=[TimeLimit(budget.seconds)], progress=False)
    return learn, time.perf_counter() - begin


def main(seconds=240.0, n_seeds=1):
    x, y = pictures(N_TRAIN, 1)
    x_test, y_test = pictures(N_TEST, 2)
    print(f"{N_TRAIN} pictures, classes {[round(float((y == c).float().mean()), 3) for c in range(N_CLASSES)]}")
    for seed in range(n_seeds):
        learn, taken = train_tipsai(x.numpy(), y.numpy().astype("uint8"), seconds, seed)
        plain, n_plain = train_plain(normalised(x), y, taken, seed)
        pred = learn.get_preds(learn.dls.test_dl(x_test.numpy()))[0]
        ours, theirs = mean_iou(pred, y_test), mean_iou(predicted(plain, normalised(x_test)), y_test)
        print(
            f"seed {seed}: tipsai {ours:.4f} ({learn.n_steps} steps, {taken:.0f} s), plain {theirs:.4f} "
            f"({n_plain} steps); ratio {ours / theirs:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*(kind(value) for kind, value in zip((float, int), sys.argv[1:], strict=False)))
