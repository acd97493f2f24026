"""The text part of `tipsai demo`: docstrings of Python's own library, which every machine has, beside a linear model."""

import ast
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from tipsai.core.errors import MissingExtraError
from tipsai.text.classify import text_classifier_learner
from tipsai.text.data import TextDataLoaders

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
    """Trains on docstrings, a fifth of them held out, to tell their packages, and compares with a linear model.

    Returns:
        one row, as the other modalities' demos give them.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError as error:
        raise MissingExtraError("the demo's data come with scikit-learn: pip install 'tipsai[sklearn]'") from error
    frame = docstrings().sample(frac=1.0, random_state=0).reset_index(drop=True)
    n_test = len(frame) // 5
    test, rest = frame.iloc[:n_test], frame.iloc[n_test:]
    began = time.perf_counter()
    dls = TextDataLoaders.from_df(rest, "text", "package", test_df=test)
    learn = text_classifier_learner(dls, metrics=["accuracy"], seed=0)
    learn.fit_one_cycle()
    seconds = time.perf_counter() - began
    linear = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)).fit(rest["text"], rest["package"])
    return [
        {
            "data": "Python's docstrings",
            "items": len(frame),
            "figure": "test accuracy",
            "tipsai": learn.test()["test_accuracy"],
            "linear model": float(linear.score(test["text"], test["package"])),
            "seconds": seconds,
        }
    ]
