"""The tabular part of `tipsai demo`: tables that scikit-learn ships, beside simple baselines."""

import time
from typing import Any

from tipsai.core.errors import MissingExtraError
from tipsai.tabular.data import TabularDataLoaders
from tipsai.tabular.learner import tabular_learner


def run() -> list[dict[str, Any]]:
    """Trains on breast cancer, wine and diabetes, a fifth of each held out, and compares with linear models.

    Returns:
        one row a table: its name, number of rows, the figure, tipsai's value, the linear model's, and seconds.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
        from sklearn.linear_model import LogisticRegression, RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingExtraError("the demo's data come with scikit-learn: pip install 'tipsai[sklearn]'") from error
    made = []
    for name, load in (
        ("breast cancer", datasets.load_breast_cancer),
        ("wine", datasets.load_wine),
        ("diabetes", datasets.load_diabetes),
    ):
        frame = load(as_frame=True).frame.sample(frac=1.0, random_state=0).reset_index(drop=True)
        n_test = len(frame) // 5
        test, rest = frame.iloc[:n_test], frame.iloc[n_test:]
        began = time.perf_counter()
        dls = TabularDataLoaders.from_df(rest, "target", test_df=test)
        metric = "rmse" if dls.task == "regression" else "accuracy"
        learn = tabular_learner(dls, metrics=[metric], seed=0)
        learn.fit_one_cycle()
        seconds = time.perf_counter() - began
        linear = make_pipeline(StandardScaler(), RidgeCV() if metric == "rmse" else LogisticRegression(max_iter=1000))
        linear.fit(rest.drop(columns="target"), rest["target"])
        predicted, truth = linear.predict(test.drop(columns="target")), test["target"]
        baseline = (
            float(((predicted - truth) ** 2).mean() ** 0.5) if metric == "rmse" else float((predicted == truth).mean())
        )
        made.append(
            {
                "data": name,
                "items": len(frame),
                "figure": f"test {metric}",
                "tipsai": learn.test()[f"test_{metric}"],
                "baseline": baseline,
                "baseline is": "linear model",
                "seconds": seconds,
            }
        )
    return made
