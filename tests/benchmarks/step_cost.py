"""What a step costs: Learner with its default callbacks beside a hand-written loop over the same tensors.

MLP 32-64-64-2, batch 256, 65,536 rows in memory, fused AdamW, 1cycle, gradient clipping. The three ways alternate in
one process; the ratios are medians over the rounds. With --doctor instead: the same, and a small language model, with the
doctor on against off; single ratios spread by 20% on a busy machine, so that it takes a hundred rounds to tell 3%.

    python tests/benchmarks/step_cost.py [--rounds 15] [--epochs 5] [--threads 2] [--doctor]
"""

import argparse
import math
import statistics
import time

import torch
from torch import nn

from tipsai import DataLoaders, Learner, toys
from tipsai.text import TextDataLoaders, language_model_learner

ROWS, BS = 65_536, 256


def model():
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def by_hand(x, y, epochs, clip):
    net = model()
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, 3e-3, total_steps=epochs * (ROWS // BS))
    loss_fn = nn.CrossEntropyLoss()
    net.train()
    for _ in range(epochs):
        order = torch.randperm(ROWS)
        for i in range(0, ROWS, BS):
            index = order[i : i + BS]
            loss = loss_fn(net(x[index]), y[index])
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
            schedule.step()
            opt.zero_grad()
    return net


def by_tipsai(x, y, epochs):
    learn = Learner(DataLoaders.from_tensors((x, y), bs=BS), model(), lr=3e-3, seed=0, device="cpu")
    learn.fit_one_cycle(epochs)
    return learn.model


def watched(x, y, epochs, doctor):
    """Seconds in fit."""
    learn = Learner(DataLoaders.from_tensors((x, y), bs=BS), model(), lr=3e-3, seed=0, device="cpu")
    learn.fit_one_cycle(epochs, doctor=doctor, progress=False)
    return learn.train_seconds


def language(doctor, n_steps=150):
    """Seconds in fit."""
    dls = TextDataLoaders.language_model(toys.text(60_000).text, tokenizer="char", block_size=64, bs=12)
    learn = language_model_learner(dls, n_layers=4, n_heads=4, dim=128, seed=0, device="cpu")
    learn.fit_one_cycle(n_steps / len(dls.train), doctor=doctor, progress=False)
    return learn.train_seconds


def on_and_off(x, y, args):
    for name, n_rounds, run in (
        ("small network", max(2, args.rounds), lambda on: watched(x, y, args.epochs, on)),
        ("small language model", max(2, args.rounds // 4), language),  # its steps are long, and so spread less
    ):
        run(True)
        ratios = []
        for i in range(n_rounds):
            took = {on: run(on) for on in ((True, False) if i % 2 else (False, True))}
            ratios.append(took[True] / took[False])
        half = 1.96 * statistics.stdev(ratios) / math.sqrt(len(ratios))
        print(
            f"{name}: {statistics.median(ratios):.3f} times as long with the doctor (median of {n_rounds} rounds; "
            f"mean {statistics.mean(ratios):.3f} ± {half:.3f})",
            flush=True,
        )


def seconds(run):
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--doctor", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    x = torch.randn(ROWS, 32)
    y = (x[:, 0] * x[:, 1] > 0).long()
    if args.doctor:
        on_and_off(x, y, args)
        return
    ways = {
        "hand-written, with clipping": lambda: by_hand(x, y, args.epochs, clip=True),
        "hand-written, no clipping": lambda: by_hand(x, y, args.epochs, clip=False),
        "tipsai": lambda: by_tipsai(x, y, args.epochs),
    }
    for run in ways.values():  # the first run of each allocates and imports
        run()
    times = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, run in ways.items():
            times[name].append(seconds(run))
    n_steps = args.epochs * (ROWS // BS)
    print(f"{'':28} {'µs a step':>10} {'tipsai / this':>14}")
    for name, values in times.items():
        ratio = statistics.median(t / v for t, v in zip(times["tipsai"], values, strict=True))
        print(f"{name:28} {statistics.median(values) / n_steps * 1e6:>10.1f} {ratio:>14.3f}")


if __name__ == "__main__":
    main()
