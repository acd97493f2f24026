"""Memory of training on a large table: the process's resident memory above its imports, beside the encoded tensors.

python tests/benchmarks/memory.py [--rows 2000000] [--columns 30]
"""

import argparse
import gc
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tipsai.tabular import TabularDataLoaders, tabular_learner


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def frame(rows: int, columns: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made = {f"number_{i}": rng.standard_normal(rows).astype(np.float32) for i in range(columns * 2 // 3)}
    words = np.array([f"value {i}" for i in range(40)])
    made |= {
        f"category_{i}": pd.Categorical.from_codes(rng.integers(0, 40, rows), words) for i in range(columns - len(made))
    }
    made["target"] = (made["number_0"] + made["number_1"] + rng.standard_normal(rows) > 0).astype(np.int8)
    return pd.DataFrame(made)


class Peak:
    """The largest resident memory, looked at every 20 ms."""

    def __enter__(self) -> "Peak":
        self.largest, self.going = resident(), True
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        while self.going:
            self.largest = max(self.largest, resident())
            time.sleep(0.02)

    def __exit__(self, *error: object) -> None:
        self.going = False
        self.thread.join()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--epochs", type=float, default=0.05)
    args = parser.parse_args()
    small = tabular_learner(TabularDataLoaders.from_df(frame(2000, args.columns), "target"), seed=0)
    small.fit_one_cycle(1, progress=False)  # loads every library that training needs
    gc.collect()
    start = resident()
    df = frame(args.rows, args.columns)
    table = resident() - start
    with Peak() as encoding:
        dls = TabularDataLoaders.from_df(df, "target")
    del df
    gc.collect()
    encoded = sum(t.nbytes for loader in (dls.train, dls.valid) for t in loader.rows.tensors())
    learn = tabular_learner(dls, seed=0)
    with Peak() as training:
        learn.fit_one_cycle(args.epochs, progress=False)
    print(f"{args.rows:,} rows of {args.columns} columns; MB, above imports")
    print(f"the DataFrame          {table / 1e6:8.0f}")
    print(f"encoded tensors        {encoded / 1e6:8.0f}")
    print(f"peak while encoding    {(encoding.largest - start) / 1e6:8.0f}  (the DataFrame included)")
    print(
        f"peak while training    {(training.largest - start) / 1e6:8.0f}  = {(training.largest - start) / encoded:.2f} times the encoded tensors"
    )


if __name__ == "__main__":
    main()
