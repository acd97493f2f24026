"""The text part of `tipsai demo`: docstrings of Python's own library, which every machine has.

A classifier stands beside a linear model, a language model beside a program that compresses.
"""

import ast
import bz2
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from tipsai.core.errors import MissingExtraError
from tipsai.text.classify import text_classifier_learner
from tipsai.text.data import TextDataLoaders
from tipsai.text.language import language_model_learner

PACKAGES = ("asyncio", "email", "http", "importlib", "logging", "multiprocessing", "tkinter", "unittest", "xml")
SHORTEST = 20  # characters of a docstring that says something


def sources(package: str) -> Iterator[Path]:
    """The files of a package of the standard library, without its tests."""
    root = Path(sysconfig.get_paths()["stdlib"]) / package
    return (path for path in sorted(root.rglob("*.py")) if "test" not in path.relative_to(root).parts)


def docstrings() -> pd.DataFrame:
    """Docstrings of some packages of the standard library, each once: columns text and package."""
    rows: dict[str, str] = {}
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    for package in PACKAGES:
        for path in sources(package):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                text = ast.get_docstring(node) if isinstance(node, kinds) else None
                if text and len(text) >= SHORTEST:
                    rows.setdefault(text, package)
    return pd.DataFrame({"text": list(rows), "package": list(rows.values())})


def run() -> list[dict[str, Any]]:
    """Trains a classifier and a language model on docstrings.

    Returns:
        two rows, as the other modalities' demos give them.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    frame = docstrings().sample(frac=1.0, random_state=0).reset_index(drop=True)
    return [packages(frame), prose(frame)]


def packages(frame: pd.DataFrame) -> dict[str, Any]:
    """Learns to tell the package of a docstring, a fifth of them held out, beside a linear model."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError as error:
        raise MissingExtraError("the demo's data come with scikit-learn: pip install 'tipsai[sklearn]'") from error
    n_test = len(frame) // 5
    test, rest = frame.iloc[:n_test], frame.iloc[n_test:]
    began = time.perf_counter()
    dls = TextDataLoaders.from_df(rest, "text", "package", test_df=test)
    learn = text_classifier_learner(dls, metrics=["accuracy"], seed=0)
    learn.fit_one_cycle()
    seconds = time.perf_counter() - began
    linear = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)).fit(rest["text"], rest["package"])
    return {
        "data": "Python's docstrings",
        "items": len(frame),
        "figure": "test accuracy",
        "tipsai": learn.test()["test_accuracy"],
        "baseline": float(linear.score(test["text"], test["package"])),
        "baseline is": "linear model",
        "seconds": seconds,
    }


def prose(frame: pd.DataFrame) -> dict[str, Any]:
    """Learns to write docstrings, the last tenth held out, beside bz2, which has read the rest too."""
    text = "\n\n".join(frame["text"])
    began = time.perf_counter()
    dls = TextDataLoaders.language_model(text, block_size=48, bs=16)
    learn = language_model_learner(dls, n_layers=2, n_heads=2, dim=128, seed=0)
    learn.fit_one_cycle(3)
    seconds = time.perf_counter() - began
    raw, cut = text.encode(), int(len(text) * 0.9)
    read = text[:cut].encode()
    return {
        "data": "the same, as a text",
        "items": len(raw),
        "figure": "held-out bits a byte",
        "tipsai": learn.history[-1]["valid_bits_per_byte"],
        "baseline": 8 * (len(bz2.compress(raw)) - len(bz2.compress(read))) / (len(raw) - len(read)),
        "baseline is": "bz2",
        "seconds": seconds,
    }
