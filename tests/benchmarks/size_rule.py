"""The rate that models of different size want (TR01): peaks tried on small networks, beside what the rule gives.

Three layers on scikit-learn's digits and breast cancer and, where there is a data folder, Adult and housing. Each cell
trains 300 steps of AdamW with 1cycle; the figure is the validation loss, a quarter of the rows, mean over two seeds.

    TIPSAI_DATA=path/to/data python tests/benchmarks/size_rule.py
"""

import os
import statistics
from pathlib import Path

import torch
from sklearn import datasets
from torch import nn

from tipsai import DataLoaders, Learner
from tipsai.optim import n_parameters, size_factor
from tipsai.tabular import TabularDataLoaders, read_table

LRS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
WIDTHS = (16, 64, 256, 1024)
STEPS, BS = 300, 128


def sets():
    for name, load in (("digits", datasets.load_digits), ("breast cancer", datasets.load_breast_cancer)):
        data = load()
        x = torch.tensor(data.data, dtype=torch.float32)
        yield name, (x - x.mean(0)) / (x.std(0) + 1e-6), torch.tensor(data.target), len(data.target_names)
    folder = Path(os.environ.get("TIPSAI_DATA", "../shared/data"))
    if folder.exists():
        for name, path, target in (
            ("Adult", "adult/train.csv", "salary"),
            ("housing", "housing.csv", "median_house_value"),
        ):
            frame = read_table(folder / path)
            frame = frame[frame.index % 5 != 0].sample(8000, random_state=0)
            dls = TabularDataLoaders.from_df(frame, target, valid=0.001)
            rows = dls.train.rows
            one_hot = [nn.functional.one_hot(rows.codes[:, i].long(), n) for i, n in enumerate(dls.table.cardinalities)]
            y = rows.y[0]
            yield name, torch.cat([rows.numbers, *one_hot], 1).float(), y, 1 if y.is_floating_point() else 2


def loss(x, y, n_out, width, lr, seed):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(x.shape[1], width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, n_out)
    )
    order = torch.randperm(len(x))
    valid, train = order[: len(x) // 4], order[len(x) // 4 :]
    dls = DataLoaders.from_tensors((x[train], y[train]), (x[valid], y[valid]), bs=BS)
    learn = Learner(dls, net, lr=lr, seed=seed, device="cpu")
    learn.fit_one_cycle(STEPS / len(dls.train), progress=False)
    return learn.validate()["valid_loss"], n_parameters(net)


def main():
    print(
        f"{'data':14}{'parameters':>11}"
        + "".join(f"{lr:>9.0e}" for lr in LRS)
        + f"{'best':>9}{'rule':>9}{'loss at rule / best':>21}"
    )
    for name, x, y, n_out in sets():
        for width in WIDTHS:
            means = []
            for lr in LRS:
                values = [loss(x, y, n_out, width, lr, seed) for seed in range(2)]
                means.append(statistics.mean(v for v, _ in values))
                n = values[0][1]
            rule = 3e-4 * size_factor(n)
            at_rule = statistics.mean(loss(x, y, n_out, width, rule, seed)[0] for seed in range(2))
            best = min(range(len(LRS)), key=means.__getitem__)
            cells = "".join(f"{m:>9.4f}" for m in means)
            print(f"{name:14}{n:>11,}{cells}{LRS[best]:>9.0e}{rule:>9.1e}{at_rule / means[best]:>21.3f}", flush=True)


if __name__ == "__main__":
    main()
