"""What importing costs: tipsai beside what it stands on, whole processes in turn, medians and ratios pair by pair.

python tests/benchmarks/import_time.py [--rounds 11]
"""

import argparse
import statistics
import subprocess
import sys
import time

PAIRS = (
    ("from tipsai import Learner, DataLoaders", "import torch"),
    ("from tipsai.tabular import tabular_learner", "import torch, pandas"),
)


def seconds(code):
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    print(f"{'import':44} {'seconds':>8} {'against':22} {'seconds':>8} {'ratio':>6}  torchvision loaded")
    for ours, base in PAIRS:
        seconds(ours), seconds(base)  # bytecode and file cache
        pairs = [(seconds(ours), seconds(base)) for _ in range(args.rounds)]
        ratio = statistics.median(a / b for a, b in pairs)
        loaded = subprocess.run(
            [sys.executable, "-c", f"{ours}\nimport sys; print('torchvision' in sys.modules)"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(f"{ours:44} {a:>8.2f} {base:22} {b:>8.2f} {ratio:>6.3f}  {loaded}")


if __name__ == "__main__":
    main()
