"""Language models: what a small budget reaches, what wrapping costs, what the cache saves, what a mapped file takes.

    TIPSAI_DATA=path/to/data python tests/benchmarks/language.py small [--seeds 0 1 2] [--nanogpt path/to/nanoGPT]
    ... language.py wrapping --nanogpt path/to/nanoGPT [--rounds 7]
    ... language.py default          # tipsai train shakespeare.txt, with no other argument
    ... language.py cache            # 500 tokens with keys and values kept, and without
    ... language.py memory [--gigabytes 2]
    ... language.py large [--epochs 20]    # 6 layers, 384 wide, context 256; for a GPU

"small" is 4 layers, 4 heads, 128 wide, 64 characters of context, 2,000 steps of 12 windows, judged on the last tenth of
shakespeare.txt in disjoint windows. nanoGPT (https://github.com/karpathy/nanoGPT) runs beside it from a copy of your own:
its model, its optimizer and its loop with the settings of its README for processors, in turns of 50 steps.
"""

import argparse
import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from tipsai import Callback, DataLoaders, Learner
from tipsai.text import TextDataLoaders, Transformer, language_model_learner
from tipsai.text.generate import stream
from tipsai.text.tokenizers import ByteTokenizer

SHAKESPEARE = Path(os.environ.get("TIPSAI_DATA", "../shared/data")) / "shakespeare.txt"
STEPS, BS, CONTEXT = 2000, 12, 64
TURN = 50  # steps that nanoGPT and the Learner take in turn, where the time is compared
SHAPE = {"n_layers": 4, "n_heads": 4, "dim": 128}


def characters():
    """Training and validation tokens as nanoGPT prepares them."""
    text = SHAKESPEARE.read_text()
    names = sorted(set(text))
    tokens = np.searchsorted(names, list(text)).astype(np.uint16)
    cut = int(len(tokens) * 0.9)
    return tokens[:cut], tokens[cut:], len(names)


class NanoGPT:
    """nanoGPT's model, batches and loop, from a copy of its repository."""

    def __init__(self, path, seed=0):
        sys.path.insert(0, str(path))
        from model import GPT, GPTConfig

        self.train, self.valid, n_tokens = characters()
        torch.manual_seed(seed)
        size = {"n_layer": 4, "n_head": 4, "n_embd": 128}
        self.model = GPT(GPTConfig(block_size=CONTEXT, vocab_size=n_tokens, dropout=0.0, bias=False, **size))

    def batch(self):
        at = torch.randint(len(self.train) - CONTEXT, (BS,)).tolist()
        x = torch.stack([torch.from_numpy(self.train[i : i + CONTEXT].astype(np.int64)) for i in at])
        y = torch.stack([torch.from_numpy(self.train[i + 1 : i + 1 + CONTEXT].astype(np.int64)) for i in at])
        return x, y

    def loop(self, n_steps, lr=1e-3, warmup=100):
        """Trains as nanoGPT's train.py does; the seconds that it took."""
        return sum(self.turns(n_steps, n_steps, lr, warmup))

    def turns(self, n_steps, turn, lr=1e-3, warmup=100):
        """The same, so many steps at a time; gives the seconds of each turn."""
        opt = self.model.configure_optimizers(0.1, lr, (0.9, 0.99), "cpu")
        self.model.train()
        began = time.perf_counter()
        for step in range(n_steps):
            share = max(0.0, (step - warmup) / max(1, n_steps - warmup))
            cosine = lr / 10 + 0.45 * lr * (1 + math.cos(math.pi * share))
            for group in opt.param_groups:
                group["lr"] = lr * (step + 1) / (warmup + 1) if step < warmup else cosine
            _, loss = self.model(*self.batch())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            opt.step()
            opt.zero_grad(set_to_none=True)
            if (step + 1) % turn == 0:
                yield time.perf_counter() - began
                began = time.perf_counter()

    def loss(self):
        """Nats a character of the validation part, in disjoint windows."""
        self.model.eval()
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(self.valid) - 1, CONTEXT):
                part = torch.from_numpy(self.valid[start : start + CONTEXT + 1].astype(np.int64))[None]
                total += float(self.model(part[:, :-1], part[:, 1:])[1]) * (part.shape[1] - 1)
        return total / (len(self.valid) - 1)


def nanogpt_in_turns(path, seed, pipe):
    """What the other process does: a turn whenever it is told to, then the loss."""
    other = NanoGPT(path, seed)
    turns = other.turns(STEPS, TURN)
    pipe.send("ready")
    while pipe.recv() == "turn":
        pipe.send(next(turns))
    pipe.send(other.loss())


class Beside(Callback):
    """Trains nanoGPT in a process of its own, in turns with the Learner, so that both meet the machine in the same state.

    Attributes:
        seconds: of nanoGPT's steps.
        waited: seconds in which the Learner waited for them.
    """

    order = 99

    def __init__(self, path, seed):
        own = multiprocessing.get_context("spawn")
        self.pipe, theirs = own.Pipe()
        self.process = own.Process(target=nanogpt_in_turns, args=(path, seed, theirs))
        self.process.start()
        self.pipe.recv()
        self.seconds = self.waited = 0.0

    def after_step(self, st):
        if st.step % TURN == TURN - 1:
            began = time.perf_counter()
            self.pipe.send("turn")
            self.seconds += self.pipe.recv()
            self.waited += time.perf_counter() - began

    def loss(self):
        self.pipe.send("loss")
        loss = self.pipe.recv()
        self.process.join()
        return loss


def small(args):
    losses, ratios = [], []
    for seed in args.seeds:
        dls = TextDataLoaders.language_model(SHAKESPEARE, tokenizer="char", block_size=CONTEXT, bs=BS)
        learn = language_model_learner(dls, **SHAPE, seed=seed, device="cpu")
        valid, dls.valid = dls.valid, None  # nanoGPT's loop, which is timed beside it, does not validate either
        beside = [Beside(args.nanogpt, seed)] if args.nanogpt else []
        learn.fit_one_cycle(STEPS / len(dls.train), progress=False, callbacks=beside)
        dls.valid = valid
        losses.append(learn.validate()["valid_loss"])
        seconds = learn.train_seconds - sum(other.waited for other in beside)
        line = f"seed {seed}: {losses[-1]:.4f} nats a character, {seconds:.0f} s"
        for other in beside:
            ratios.append(seconds / other.seconds)
            line += f"; nanoGPT {other.loss():.4f}, {other.seconds:.0f} s, {ratios[-1]:.2f} times"
        print(line, flush=True)
    print(f"tipsai {statistics.mean(losses):.4f} (most {max(losses):.4f})", end="")
    print(f", in {statistics.median(ratios):.2f} times nanoGPT's time" if ratios else "")


class Batches:
    """nanoGPT's own batches for a Learner."""

    batch_size = BS

    def __init__(self, other, n):
        self.other, self.n = other, n

    def __len__(self):
        return self.n

    def __iter__(self):
        return (self.other.batch() for _ in range(self.n))


def wrapping(args):
    ratios = []
    for seed in range(args.rounds):
        alone = NanoGPT(args.nanogpt, seed)
        wrapped = NanoGPT(args.nanogpt, seed)
        learn = Learner(
            DataLoaders.from_loaders(Batches(wrapped, args.steps)),
            wrapped.model,
            compute_loss=lambda model, batch: model(*batch.x, *batch.y)[1],
            lr=1e-3,
            wd=0.1,
            seed=seed,
            device="cpu",
        )
        seconds = {}
        for name in ("alone", "wrapped") if seed % 2 else ("wrapped", "alone"):
            began = time.perf_counter()
            alone.loop(args.steps) if name == "alone" else learn.fit_one_cycle(1, progress=False)
            seconds[name] = time.perf_counter() - began
        ratios.append(seconds["alone"] / seconds["wrapped"])
    print(
        f"tokens a second under Learner: {statistics.median(ratios):.3f} times those of nanoGPT's own loop ({args.rounds} rounds)"
    )


def default(args):
    with tempfile.TemporaryDirectory() as place:
        for seed in args.seeds:
            command = ["train", str(SHAKESPEARE), "--seed", str(seed), "--out", f"{place}/{seed}", "--json"]
            made = subprocess.run([sys.executable, "-m", "tipsai.cli", *command], check=True, stdout=subprocess.PIPE)
            figures = json.loads(made.stdout)
            nats = figures["valid_bits_per_byte"] * math.log(2)
            print(f"seed {seed}: {nats:.4f} nats a character, training {figures['train_seconds']:.0f} s", flush=True)


def cache(args):
    torch.manual_seed(0)
    model = Transformer(n_tokens=65, block_size=1024, dim=256, n_layers=6, n_heads=4)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.05)
    seconds, tokens = {}, {}
    for cached in (True, False):
        began = time.perf_counter()
        tokens[cached] = list(stream(model, [1], 500, block_size=1024, seed=0, cached=cached))
        seconds[cached] = time.perf_counter() - began
    assert tokens[True] == tokens[False]
    print(
        f"the same 500 tokens in {seconds[True]:.2f} s with the cache, {seconds[False]:.2f} s without: {seconds[False] / seconds[True]:.1f} times"
    )


def large(args):
    """The shape of nanoGPT's README for a GPU: 1.4697 in about three minutes on an A100."""
    dls = TextDataLoaders.language_model(SHAKESPEARE, tokenizer="char", block_size=256, bs=64)
    for seed in args.seeds:
        learn = language_model_learner(dls, n_layers=6, n_heads=6, dim=384, dropout=0.2, seed=seed)
        learn.model.compile()
        learn.fit_one_cycle(args.epochs, progress=False)
        loss = learn.validate()["valid_loss"]
        print(f"seed {seed}: {loss:.4f} nats a character, {learn.train_seconds:.0f} s, on {learn.device}", flush=True)


def anonymous():
    """Bytes of anonymous memory in use."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def memory(args):
    with tempfile.TemporaryDirectory(dir=args.folder) as place:
        path = Path(place) / "train.bin"
        part = np.random.default_rng(0).integers(97, 123, 1 << 24).astype(np.uint16)
        with path.open("wb") as file:
            for _ in range(round(args.gigabytes * 1e9 / part.nbytes)):
                file.write(part.tobytes())
        before = anonymous()
        dls = TextDataLoaders.from_tokens(path, tokenizer=ByteTokenizer(), block_size=128, bs=16)
        learn = language_model_learner(dls, **SHAPE, seed=0, device="cpu")
        largest = anonymous()

        class Watch(Callback):
            def after_step(self, st):
                nonlocal largest
                largest = max(largest, anonymous())

        learn.fit_one_cycle(200 / len(dls.train), callbacks=[Watch()], progress=False)
        print(
            f"{path.stat().st_size / 1e9:.2f} GB of tokens; anonymous memory {(largest - before) / 1e6:.0f} MB above the imports"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "wrapping", "default", "cache", "memory", "large"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--nanogpt", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=300, help="of a round of wrapping")
    parser.add_argument("--epochs", type=float, default=20.0)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, help="where the file of tokens is written")
    args = parser.parse_args()
    if args.what == "wrapping" and not args.nanogpt:
        parser.error("wrapping needs --nanogpt")
    globals()[args.what](args)


if __name__ == "__main__":
    main()
