"""Reports that the tests share."""

import math
from html.parser import HTMLParser

import numpy as np

from tipsai.core.finding import Finding
from tipsai.report.contents import Confusion, Example, Figure, Looks, Report, Steps
from tipsai.report.picture import data_uri

VOID = {"meta", "img", "br", "link", "input"}
PIXEL = data_uri(np.zeros((2, 3, 3), np.uint8))


class Page(HTMLParser):
    """A page as a list of (tag, attributes, path of open tags), with the text of every element; checks that tags match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def all(self, tag):
        return [attrs for found, attrs, _ in self.elements if found == tag]

    def text(self, tag):
        """The text of every element of a kind that holds text alone."""
        return [data for path, data in self.texts if path and path[-1] == tag]


def findings():
    return [
        Finding(
            "learning-rate",
            "TR09",
            "warning",
            "the learning rate is too high (0.1, 33 times the default).",
            {"first": 2.3, "blocks": [2.3, 2.0, 5.0, 2.2, 2.1, 2.0], "noise": 0.1, "peak": 0.1, "update": None},
            "Take lr=0.003, or what learn.lr_find() suggests.",
            step=400,
        ),
        Finding(
            "imbalance",
            "DA13",
            "warning",
            "classes are uneven.",
            {"largest": 900, "smallest": 10},
            "metrics=['f1_macro']",
        ),
        Finding("update-ratio", "MO02", "advice", "small steps.", {"ratios": {"0.weight": 2e-5, "2.weight": 3e-3}}),
        Finding("valid-test-shift", "DA08", "warning", "they differ.", {"auc": 0.8, "lower": 0.7, "upper": 0.9}),
        Finding(
            "validation-scale",
            "DA10",
            "error",
            "validation is scaled otherwise.",
            {
                "train": {"mean": 0.1, "std": 1.0},
                "moved": 12.0,
                "names": ["a", "b"],
                "by split": {"train": {"mean": 1}, "valid": {"mean": 2}},
            },
        ),
    ]


def whole(n=400, n_epochs=8, n_layers=6, n_classes=3):
    """A report with every section."""
    losses = [2.0 * math.exp(-i / n * 3) + 0.1 * math.sin(i) for i in range(n)]
    rows = [
        {
            "epoch": i + 1,
            "train_objective": 1 / (i + 1),
            "valid_loss": 1.1 / (i + 1),
            "valid_accuracy": 1 - 0.5 / (i + 1),
        }
        for i in range(n_epochs)
    ]
    at = list(range(10, 250, 10))
    layers = {f"block.{i}.weight": [10.0 ** (-2 - i / 3)] * len(at) for i in range(n_layers)}
    names = [f"class {i}" for i in range(n_classes)]
    counts = [[50 if i == j else (i + j) % 3 for j in range(n_classes)] for i in range(n_classes)]
    example = Example(
        {"position": 3, "target": "cat", "prediction": "dog", "probability": 0.9, "loss": 2.3}, wrong=True
    )
    return Report(
        title="A run",
        subtitle="MLP of 1,000 parameters",
        findings=findings(),
        looked=["training"],
        figures=[Figure("valid_accuracy", 0.95, [0.5, 0.8, 0.95]), Figure("train_seconds", 75.0)],
        history=rows,
        steps=Steps(losses, [1.0] * n, [1e-3] * n, [0.9] * n, 1.0),
        looks=Looks(
            at,
            [1e-3] * len(at),
            layers,
            layers,
            {"relu 1": [0.1] * len(at)},
            {"tanh 1": [0.5] * len(at)},
            {"relu 1": [1.0] * len(at)},
        ),
        gaps={
            "measure": "cross-entropy",
            "splits": {"train": [0.1, 0.08, 0.12, 900], "valid": [0.3, 0.2, 0.4, 100]},
            "gaps": {"bias": [0.1, 0.08, 0.12], "variance": [0.2, 0.1, 0.3], "validation": [0.01, -0.1, 0.1]},
        },
        baselines={
            "measure": "error",
            "model": [0.05, 0.03, 0.08],
            "baselines": {"the most frequent class": 0.6, "a linear model": 0.06},
            "better": {"the most frequent class": [0.55, 0.5, 0.6], "a linear model": [0.01, -0.01, 0.03]},
        },
        confusion=Confusion(names, counts),
        confused=[{"target": "class 0", "prediction": "class 1", "count": 3, "share_of_target": 0.06}],
        classes=[{"class": name, "n": 50, "f1": 0.9} for name in names],
        calibration=[
            {"confidence": c, "accuracy": c - 0.05, "n": 100, "low": c - 0.1, "high": c} for c in (0.55, 0.7, 0.9)
        ],
        examples={
            "Largest losses": [
                example,
                Example({"target": 1.0, "prediction": 2.0, "loss": 1.0}, row={"age": 39, "job": None}),
                Example({"loss": 4.0}, text="so it goes " * 100),
                Example({"target": "cat", "prediction": "cat", "loss": 0.1}, picture=PIXEL),
            ]
        },
        settings=[
            {"name": "lr", "value": 0.1, "default": 3e-4, "source": "TR01", "overridden": True},
            {"name": "wd", "value": 0.01, "default": 0.01, "source": "TR11", "overridden": False},
        ],
        fits=[{"schedule": "one_cycle", "epochs": 8, "steps": n, "peak rate": 0.1, "clip": None}],
        facts={"seed": "3", "torch": "2.15"},
        command="tipsai train data.csv",
        notes=["The doctor did not look at everything."],
    )


HEADINGS = [
    "Findings",
    "Curves",
    "Activations and gradients",
    "Update ratios",
    "Gaps",
    "Baselines",
    "Confusion",
    "Calibration",
    "Worst examples",
    "Configuration",
    "How to reproduce",
]
