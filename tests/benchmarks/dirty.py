"""Dirty categories (TA02): what typos, case and abbreviations cost, with character n-grams and without.

A fifth of the nominal values are misspelt, in training and, differently, in test, so that most misspellings at test
were never seen. Two tables: Adult, and one made of the names of Python's standard modules, each with an effect of its
own. The last column is the share of the accuracy lost without n-grams that n-grams keep.

    TIPSAI_DATA=path/to/data python tests/benchmarks/dirty.py [--seeds 3] [--share 0.2] [--table adult|modules]
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from tipsai.tabular import TabularDataLoaders, read_table, tabular_learner

LETTERS = list("abcdefghijklmnopqrstuvwxyz")


def misspell(value: str, rng: np.random.Generator) -> str:
    """One of: a typo, two typos, another case, an abbreviation."""
    how = rng.integers(6)
    if how == 0:
        return value.upper()
    if how == 1:
        return value.lower() if value != value.lower() else value.title()
    if how == 2:
        return value[: max(2, int(len(value) * rng.uniform(0.35, 0.7)))] + "."
    for _ in range(1 + (how == 5)):
        i = int(rng.integers(len(value)))
        kind = rng.integers(4)
        if kind == 0:
            value = value[:i] + value[i + 1 :]
        elif kind == 1:
            value = value[:i] + str(rng.choice(LETTERS)) + value[i:]
        elif kind == 2:
            value = value[:i] + str(rng.choice(LETTERS)) + value[i + 1 :]
        elif i + 1 < len(value):
            value = value[:i] + value[i + 1] + value[i] + value[i + 2 :]
        value = value or "x"
    return value


def dirty(frame: pd.DataFrame, columns: list[str], share: float, seed: int) -> pd.DataFrame:
    """A copy with a share of the values of these columns misspelt."""
    rng = np.random.default_rng(seed)
    made = frame.copy()
    for column in columns:
        values = made[column].astype(object).to_numpy().copy()
        chosen = np.flatnonzero((rng.random(len(values)) < share) & pd.notna(values))
        for i in chosen:
            values[i] = misspell(str(values[i]), rng)
        made[column] = values
    return made


def adult() -> tuple[pd.DataFrame, pd.DataFrame, str, list[str]]:
    folder = Path(os.environ.get("TIPSAI_DATA", "../shared/data")) / "adult"
    train, test = read_table(folder / "train.csv"), read_table(folder / "test.csv")
    names = ["workclass", "education", "marital-status", "occupation", "relationship", "race", "sex", "native-country"]
    return train, test, "salary", names


def modules(rows: int = 12_000) -> tuple[pd.DataFrame, pd.DataFrame, str, list[str]]:
    rng = np.random.default_rng(0)
    words = np.array(sorted(name for name in sys.stdlib_module_names if len(name) > 3 and not name.startswith("_")))
    frame, score = {}, rng.standard_normal(rows) * 0.5
    for name in ("first", "second", "third"):
        chosen = rng.choice(words, 40, replace=False)
        at = rng.integers(0, len(chosen), rows)
        frame[name] = chosen[at]
        score = score + rng.standard_normal(len(chosen))[at]
    frame["number"] = rng.standard_normal(rows)
    made = pd.DataFrame(frame | {"label": np.where(score + frame["number"] > 0, "yes", "no")})
    return made.iloc[: rows * 3 // 4], made.iloc[rows * 3 // 4 :], "label", ["first", "second", "third"]


def score(train: pd.DataFrame, test: pd.DataFrame, target: str, text: bool, seed: int, options: dict) -> float:
    dls = TabularDataLoaders.from_df(train, target, test_df=test, text=text, seed=seed)
    learn = tabular_learner(dls, metrics=["accuracy"], seed=seed, **options)
    learn.fit_one_cycle(progress=False)
    return learn.test()["test_accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--table", choices=("adult", "modules"))
    parser.add_argument("--members", type=int)
    args = parser.parse_args()
    print(f"{'table':9} {'clean':>8} {'clean, n-grams':>15} {'dirty':>8} {'dirty, n-grams':>15} {'kept':>6}")
    for name, load in (("adult", adult), ("modules", modules)):
        if args.table not in (None, name):
            continue
        train, test, target, columns = load()
        figures: dict[str, list[float]] = {"clean": [], "clean on": [], "off": [], "on": []}
        for seed in range(args.seeds):
            options = {"n_members": args.members}
            bad = dirty(train, columns, args.share, 2 * seed), dirty(test, columns, args.share, 2 * seed + 1)
            figures["clean"].append(score(train, test, target, False, seed, options))
            figures["clean on"].append(score(train, test, target, True, seed, options))
            figures["off"].append(score(*bad, target, False, seed, options))
            figures["on"].append(score(*bad, target, True, seed, options))
        clean, clean_on, off, on = (statistics.mean(values) for values in figures.values())
        print(f"{name:9} {clean:>8.4f} {clean_on:>15.4f} {off:>8.4f} {on:>15.4f} {(on - off) / (clean - off):>6.2f}")


if __name__ == "__main__":
    main()
