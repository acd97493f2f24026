"""Default calls on Adult and California housing, beside gradient boosting and a linear model, in one run.

Adult is run as a command, `tipsai train adult/train.csv --target salary --test adult/test.csv`, and timed whole;
housing by the default call in Python, every fifth row as test. Means over the seeds, with the spread.

    TIPSAI_DATA=path/to/data python tests/benchmarks/tables.py [--seeds 3] [--table adult|housing]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tipsai.tabular import TabularDataLoaders, read_table, tabular_learner

DATA = Path(os.environ.get("TIPSAI_DATA", "../shared/data"))
Row = dict[str, float]


def tipsai_adult(seed: int) -> Row:
    folder = DATA / "adult"
    with tempfile.TemporaryDirectory() as out:
        command = ["train", folder / "train.csv", "--target", "salary", "--test", folder / "test.csv"]
        options = ["--seed", seed, "--out", Path(out) / "run", "--json"]
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tipsai.cli", *map(str, command + options)],
            check=True,
            capture_output=True,
            text=True,
        )
        whole = time.perf_counter() - began
    figures = json.loads(done.stdout)
    return {
        "accuracy": figures["test_accuracy"],
        "log loss": figures["test_loss"],
        "training s": figures["train_seconds"],
        "in all s": whole,
    }


def tipsai_housing(seed: int) -> Row:
    train, test = housing()
    began = time.perf_counter()
    learn = tabular_learner(
        TabularDataLoaders.from_df(train, "median_house_value", test_df=test, seed=seed), metrics=["rmse"], seed=seed
    )
    learn.fit_one_cycle(progress=False)
    return {
        "RMSE": learn.test()["test_rmse"],
        "training s": learn.train_seconds,
        "in all s": time.perf_counter() - began,
    }


def housing() -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = read_table(DATA / "housing.csv")
    fifth = np.arange(len(frame)) % 5 == 0
    return frame[~fifth], frame[fifth]


def peers(train: pd.DataFrame, test: pd.DataFrame, target: str, classify: bool) -> dict[str, Row]:
    x, y, x_test, y_test = train.drop(columns=target), train[target], test.drop(columns=target), test[target]
    words = x.select_dtypes(exclude="number").columns
    x_tree, x_test_tree = x.copy(), x_test.copy()
    for column in words:
        kind = pd.CategoricalDtype(sorted(x[column].dropna().unique()))
        x_tree[column], x_test_tree[column] = x[column].astype(kind), x_test[column].astype(kind)
    tree = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    linear = make_pipeline(
        make_column_transformer(
            (
                make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
                make_column_selector(dtype_include="number"),
            ),
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        ),
        LogisticRegression(max_iter=2000) if classify else RidgeCV(),
    )
    rows = {}
    for name, model, inputs, test_inputs in (
        ("gradient boosting", tree(categorical_features="from_dtype", random_state=0), x_tree, x_test_tree),
        ("linear model", linear, x, x_test),
    ):
        began = time.perf_counter()
        model.fit(inputs, y)
        seconds = time.perf_counter() - began
        if classify:
            p = model.predict_proba(test_inputs)
            figures = {"accuracy": accuracy_score(y_test, model.predict(test_inputs)), "log loss": log_loss(y_test, p)}
        else:
            figures = {"RMSE": float(((model.predict(test_inputs) - y_test) ** 2).mean() ** 0.5)}
        rows[name] = figures | {"training s": seconds}
    return rows


def show(title: str, ours: list[Row], others: dict[str, Row]) -> None:
    names = list(ours[0])
    print(f"\n{title:20}" + "".join(f"{name:>18}" for name in names))
    cells = []
    for name in names:
        values = [row[name] for row in ours]
        digits = 4 if abs(values[0]) < 2 else 1 if abs(values[0]) < 1000 else 0
        spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.{digits}f}{spread}")
    print(f"{'tipsai':20}" + "".join(f"{cell:>18}" for cell in cells))
    for peer, row in others.items():
        print(f"{peer:20}" + "".join(f"{row[name]:>18.4g}" if name in row else f"{'':18}" for name in names))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", choices=("adult", "housing"))
    args = parser.parse_args()
    if args.table != "housing":
        folder = DATA / "adult"
        ours = [tipsai_adult(seed) for seed in range(args.seeds)]
        show("Adult", ours, peers(read_table(folder / "train.csv"), read_table(folder / "test.csv"), "salary", True))
    if args.table != "adult":
        ours = [tipsai_housing(seed) for seed in range(args.seeds)]
        show("California housing", ours, peers(*housing(), "median_house_value", False))


if __name__ == "__main__":
    main()
