"""Toy problems with a known best score (DA04): what no model can beat, and a good one should come close to.

>>> toy = table(1000, "regression", noise=50.0)
>>> toy.best
50.0
"""

import bisect
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tipsai.core.errors import SettingError, require_positive

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ToyTable:
    """A table of flats to let.

    Attributes:
        frame: the rows, target included.
        target: the name of the target's column.
        best: the best score there is on new rows: accuracy for classification, RMSE for regression.
        truth: what the best possible model predicts for each row.
    """

    frame: "pd.DataFrame"
    target: str
    best: float
    truth: NDArray[Any]


@dataclass(frozen=True, slots=True)
class ToyImages:
    """Pictures of stripes; the class is their direction.

    Attributes:
        x: uint8 [n, 3, size, size].
        y: int64 [n], some of them wrong.
        best: the best accuracy there is against y.
        truth: int64 [n], the class that was drawn.
    """

    x: Tensor
    y: Tensor
    best: float
    truth: Tensor


@dataclass(frozen=True, slots=True)
class ToyText:
    """Text from a Markov source of order 2.

    Attributes:
        text: its characters.
        best: the source's entropy rate, in nats per character: the least loss a language model can have.
    """

    text: str
    best: float


DISTRICTS = {  # what a flat there costs more or less than elsewhere
    "castle hill": 260.0,
    "harbour": 140.0,
    "market square": 90.0,
    "meadows": -120.0,
    "mill lane": -70.0,
    "old town": 220.0,
    "riverside": 170.0,
    "station": -160.0,
    "university": 60.0,
    "west end": 0.0,
}
DEAR = 1110.0  # about the median rent
DAYS_A_YEAR = 365.25


def table(n_rows: int = 2000, kind: str = "classification", noise: float | None = None, seed: int = 0) -> ToyTable:
    """Flats to let: numbers, a category, a yes and no, a date, and a number that is missing where it means nothing.

    The rent is a fixed function of what the row shows plus Gaussian noise, so the best RMSE is the noise. For
    classification the target says whether the flat is dear, that is above the median of its noiseless rent; a share of
    the answers is turned round, so the best accuracy is 1 - noise. A missing balcony means none, which the row shows, so
    nothing that matters is hidden.

    Args:
        n_rows: rows.
        kind: "classification" or "regression".
        noise: the share of wrong answers, below 0.5 (0.1 by default), or the noise's standard deviation in the target's
            units (80.0 by default).
        seed: of everything drawn.

    Raises:
        SettingError: an argument is out of range.
    """
    import pandas as pd

    if kind not in ("classification", "regression"):
        raise SettingError(f"kind is {kind!r}; expected 'classification' or 'regression'.")
    noise = (0.1 if kind == "classification" else 80.0) if noise is None else noise
    require_positive("n_rows", n_rows)
    require_positive("noise", noise, zero=True)
    rng = np.random.default_rng(seed)
    area = rng.gamma(9.0, 8.0, n_rows).round(1) + 15
    built = rng.integers(1890, 2024, n_rows)
    district = rng.choice(list(DISTRICTS), n_rows, p=[0.05, 0.1, 0.05, 0.1, 0.1, 0.15, 0.05, 0.15, 0.15, 0.1])
    lift = rng.random(n_rows) < 0.4
    balcony = np.where(rng.random(n_rows) < 0.45, rng.uniform(2, 15, n_rows).round(1), np.nan)
    day = rng.integers(0, 3 * 365, n_rows)
    rent = (
        150
        + 9.0 * area
        + np.array([DISTRICTS[name] for name in district.tolist()])
        + np.where(district == "old town", 5.0 * (area - 80), 0.0)  # an interaction, which a linear model cannot see
        + 0.05 * (built - 1957) ** 2  # the very old and the new are dear
        + np.where(lift, 40.0, 0.0)
        + np.where(np.isnan(balcony), 0.0, 60 + 8 * np.nan_to_num(balcony))
        + 70 * np.sin(2 * np.pi * day / DAYS_A_YEAR)
    )
    frame = pd.DataFrame(
        {
            "area_m2": area,
            "built": built,
            "district": district,
            "lift": np.where(lift, "yes", "no"),
            "balcony_m2": balcony,
            "listed": pd.Timestamp("2022-01-01") + pd.to_timedelta(day, unit="D"),
        }
    )
    if kind == "regression":
        frame["rent"] = rent + rng.normal(0, 1, n_rows) * noise
        return ToyTable(frame, "rent", noise, rent)
    if noise >= 0.5:
        raise SettingError(f"noise is {noise}; expected a share of wrong answers below 0.5.")
    dear = rent > DEAR
    frame["dear"] = np.where(dear ^ (rng.random(n_rows) < noise), "yes", "no")
    return ToyTable(frame, "dear", 1 - noise, np.where(dear, "yes", "no"))


def images(n: int = 1000, size: int = 32, n_classes: int = 4, noise: float = 0.0, seed: int = 0) -> ToyImages:
    """Stripes of any colour, width and phase; the class is their direction, and the pixels have some noise.

    Args:
        n: pictures.
        size: pixels a side, at least 12.
        n_classes: directions, 2 to 8, spread evenly over half a turn.
        noise: the share of labels that are replaced by another class; the best accuracy is 1 - noise.
        seed: of everything drawn.

    Raises:
        SettingError: an argument is out of range.
    """
    if not 2 <= n_classes <= 8 or size < 12:
        raise SettingError(f"n_classes={n_classes} and size={size}; expected 2 to 8 classes and at least 12 pixels.")
    if not 0 <= noise < 1 - 1 / n_classes:
        raise SettingError(
            f"noise is {noise}; expected a share below {1 - 1 / n_classes:.3g}, where labels tell nothing."
        )
    require_positive("n", n)
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n)
    turn = np.pi * truth / n_classes
    along = np.stack([np.cos(turn), np.sin(turn)], 1)
    ys, xs = np.mgrid[:size, :size] / size
    place = along[:, 0, None, None] * xs + along[:, 1, None, None] * ys
    periods, phase = rng.uniform(2.5, 4.0, (n, 1, 1)), rng.uniform(0, 2 * np.pi, (n, 1, 1))
    wave = np.sin(2 * np.pi * periods * place + phase)[:, None]
    colour, ground = rng.uniform(40, 90, (n, 3, 1, 1)), rng.uniform(100, 155, (n, 3, 1, 1))
    pixels = ground + colour * wave + rng.normal(0, 8, (n, 3, size, size))
    other = (truth + rng.integers(1, n_classes, n)) % n_classes
    labels = np.where(rng.random(n) < noise, other, truth)
    x = torch.from_numpy(pixels.clip(0, 255).round().astype(np.uint8))
    return ToyImages(x, torch.from_numpy(labels), 1 - noise, torch.from_numpy(truth))


ALPHABET = "abcdef "


def _source() -> NDArray[np.float64]:
    """The source of `text`: probabilities of the next character after each pair, [7, 7, 7]."""
    rng = np.random.default_rng(2)
    k = len(ALPHABET)
    drawn = rng.dirichlet(np.full(k, 0.4), (k, k))
    drawn[-1, -1, -1] = 0.0  # never three spaces
    drawn[-1, -1] /= drawn[-1, -1].sum()
    mixed: NDArray[np.float64] = 0.98 * drawn + 0.02 / k  # nothing is impossible, so every pair can be reached
    return mixed


def entropy_rate(source: NDArray[np.float64]) -> float:
    """Nats per character of a Markov source of order 2, source[a, b, c] = P(c | a, b).

    Source: Cover and Thomas, Elements of Information Theory, theorem 4.2.4.
    """
    k = len(source)
    step = np.zeros((k, k, k, k))  # from the pair (a, b) to the pair (b, c)
    for b in range(k):
        step[:, b, b, :] = source[:, b, :]
    # The stationary distribution: pi (step - 1) = 0, with the probabilities adding up to 1.
    system = np.vstack([step.reshape(k * k, k * k).T - np.eye(k * k), np.ones(k * k)])
    stationary = np.linalg.lstsq(system, np.append(np.zeros(k * k), 1.0))[0]
    surprise = -(source * np.log(source)).sum(-1).reshape(-1)
    return float(stationary @ surprise)


def text(n: int = 100_000, seed: int = 0) -> ToyText:
    """Characters from a small fixed source, in which each depends on the two before it.

    Args:
        n: characters.
        seed: of what is drawn; the source is always the same.
    """
    require_positive("n", n)
    source = _source()
    cumulative = {pair: source[pair].cumsum().tolist() for pair in itertools.product(range(len(ALPHABET)), repeat=2)}
    a, b, drawn = 0, 0, []
    for share in np.random.default_rng(seed).random(n + 50).tolist():
        a, b = b, min(bisect.bisect(cumulative[a, b], share), len(ALPHABET) - 1)
        drawn.append(ALPHABET[b])
    return ToyText("".join(drawn[50:]), entropy_rate(source))  # the first 50 still remember where it began
