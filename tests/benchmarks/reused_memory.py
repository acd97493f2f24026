"""What memory that is used again is worth: a hand-written training step and a prediction, with tipsai.core.memory and without.

Each in a process of its own, since a process that reused its memory once does not quite go back; the two alternate, and
the ratios are medians over the rounds. Also the largest resident memory.

    python tests/benchmarks/reused_memory.py [--rounds 3] [--steps 15]
"""

import argparse
import contextlib
import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

from tipsai.core import memory
from tipsai.core.step import fast_bf16
from tipsai.vision.models import SmallResNet

BF16 = fast_bf16(torch.device("cpu"))


def pictures(net: nn.Module, bs: int, side: int, bf16: bool) -> Callable[[], None]:
    x = torch.randn(bs, 3, side, side).to(memory_format=torch.channels_last)
    return training(net.to(memory_format=torch.channels_last), x, torch.randint(0, 10, (bs,)), bf16)


def small() -> nn.Module:
    body = SmallResNet()
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(body.n_features, 10))


def transformer() -> Callable[[], None]:
    layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True, norm_first=True)
    layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    net = nn.Sequential(nn.Embedding(5000, 256), layers, nn.Linear(256, 5000), nn.Flatten(0, 1))
    return training(net, torch.randint(0, 5000, (32, 128)), torch.randint(0, 5000, (32 * 128,)), BF16)


def training(net: nn.Module, x: torch.Tensor, y: torch.Tensor, bf16: bool) -> Callable[[], None]:
    opt = torch.optim.AdamW(net.parameters(), 1e-4, fused=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()

    return step


def prediction() -> Callable[[], None]:
    net = torchvision.models.resnet18().eval().to(memory_format=torch.channels_last)
    x = torch.randn(64, 3, 224, 224).to(memory_format=torch.channels_last)

    def predict() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=BF16):
            net(x)

    return predict


CASES: dict[str, Callable[[], Callable[[], None]]] = {
    "small_resnet, 128 of 32 pixels": lambda: pictures(small(), 128, 32, BF16),
    "small_resnet, fp32": lambda: pictures(small(), 128, 32, False),
    "resnet18, 16 of 224 pixels": lambda: pictures(torchvision.models.resnet18(num_classes=10), 16, 224, BF16),
    "transformer, 32 texts of 128": transformer,
    "resnet18, predicting 64": prediction,
}


def one(case: str, reusing: bool, n: int) -> tuple[float, float]:
    """Seconds a step, and the largest resident memory in megabytes."""
    step = CASES[case]()
    with memory.reused() if reusing else contextlib.nullcontext():
        for _ in range(3):
            step()
        began = time.perf_counter()
        for _ in range(n):
            step()
        elapsed = (time.perf_counter() - began) / n
    # not ru_maxrss, which begins at what the process had before it became this program
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return elapsed, int(peak[1]) / 1024 if peak else math.nan


def measured(case: str, how: str, n: int) -> tuple[float, float]:
    command = [sys.executable, __file__, "--steps", str(n), "--one", case, how]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, megabytes = done.stdout.split()
    return float(seconds), float(megabytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--one", nargs=2, metavar=("CASE", "HOW"), help="one case, usual or reused, in this process")
    args = parser.parse_args()
    if args.one:
        print(*one(args.one[0], args.one[1] == "reused", args.steps))
        return
    for case in CASES:
        rounds = [[measured(case, how, args.steps) for how in ("usual", "reused")] for _ in range(args.rounds)]
        ratios = [usual[0] / reused[0] for usual, reused in rounds]
        peaks = [statistics.median(pair[way][1] for pair in rounds) for way in (0, 1)]
        print(
            f"{case:<32} {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"at most {peaks[1]:,.0f} MB instead of {peaks[0]:,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
