"""The vision part of `tipsai demo`: small pictures that scikit-learn ships, beside a linear model of their pixels."""

import time
from typing import Any

import numpy as np

from tipsai.core.errors import MissingExtraError
from tipsai.vision.augment import Augmentation
from tipsai.vision.data import ImageDataLoaders
from tipsai.vision.learner import vision_learner


def run() -> list[dict[str, Any]]:
    """Trains on handwritten digits of 8x8 pixels, a fifth of them held out, and compares with a linear model.

    Returns:
        one row a set of pictures: its name, number, the figure, tipsai's value, the linear model's, and seconds.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingExtraError("the demo's data come with scikit-learn: pip install 'tipsai[sklearn]'") from error
    digits = load_digits()
    pictures, labels = (digits.images * 255 / 16).astype(np.uint8), digits.target
    order = np.random.default_rng(0).permutation(len(labels))
    test, rest = order[: len(order) // 5], order[len(order) // 5 :]
    began = time.perf_counter()
    aug = Augmentation.small(flip=0.0)  # a mirrored digit is no digit (DA05)
    dls = ImageDataLoaders.from_arrays((pictures[rest], labels[rest]), test=(pictures[test], labels[test]), aug=aug)
    learn = vision_learner(dls, width=16, metrics=["accuracy"], seed=0)  # 64 pixels need no wide network
    learn.fit_one_cycle(20)
    seconds = time.perf_counter() - began
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    linear.fit(pictures[rest].reshape(len(rest), -1), labels[rest])
    return [
        {
            "data": "digits",
            "items": len(labels),
            "figure": "test accuracy",
            "tipsai": learn.test()["test_accuracy"],
            "baseline": float(linear.score(pictures[test].reshape(len(test), -1), labels[test])),
            "baseline is": "linear model",
            "seconds": seconds,
        }
    ]
