"""The defaults for tables, each with its unit and source. README says on which data they were chosen."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class TabularDefaults:
    """What tabular_learner builds."""

    width: int = field(default=128, metadata={"source": "units of a hidden layer"})
    depth: int = field(default=2, metadata={"source": "hidden layers; AR05"})
    dropout: float = field(default=0.1, metadata={"source": "share of hidden units; TR13"})
    n_members: int = field(default=8, metadata={"source": "networks side by side; after TabM, 2410.24210"})
    n_bins: int = field(default=32, metadata={"source": "bins of a number: sqrt(rows), 32 to 128; 2203.05556"})
    number_embedding: str = field(default="piecewise", metadata={"source": "Gorishniy et al. 2203.05556"})
    act: str = field(default="relu", metadata={"source": "AR02"})
    text_features: int = field(default=8, metadata={"source": "of a text column's spelling; TA02"})
    unknown_rate: float = field(default=0.05, metadata={"source": "share of codes hidden in training; TA02"})
    wd: float = field(default=0.1, metadata={"source": "TR11; not on biases, norms, embeddings"})


def for_table(n_rows: int, n_numbers: int) -> TabularDefaults:
    """The defaults for a table: numbers get the finer bins, the more training rows there are to fill them.

    All number columns together get at most 16,384 bins, which bounds the time of a step in wide tables.
    """
    bins = min(128, max(32, round(math.sqrt(n_rows))))
    return TabularDefaults(n_bins=max(8, min(bins, 16_384 // max(1, n_numbers))))


TEXT_VALUES = 8  # distinct values from which on the spelling of a text column counts (TA02)
RARE = 5  # values of such a column seen less often are told apart by their spelling alone
MOST_VALUES = 10_000  # values with an embedding of their own; more would cost memory and teach little each


def batch_size(n_rows: int) -> int:
    """Rows a batch: the power of two next to 2 * sqrt(n), between 32 and 256, and up to 1,024 from 100,000 rows on."""
    most = 256 if n_rows < 100_000 else 1024
    return int(min(most, max(32, 2 ** round(math.log2(2 * math.sqrt(max(1, n_rows)))))))


def peak_lr(n_parameters: int) -> float:
    """The peak rate of AdamW: 3e-4 * sqrt(3e8 / n), between 3e-4 and 9e-3 (TR01).

    More than Learner gives a single network of the size: the members are small networks side by side, trained for few
    epochs, and the best peaks on Adult and housing were 8e-3 (the highest tried) at 300,000 parameters; a table with
    thousands of categories wanted less at a million.
    """
    return 3e-4 * min(30.0, max(1.0, math.sqrt(3e8 / max(1, n_parameters))))


def n_epochs(n_rows: int, task: str, most_codes: int = 0) -> int:
    """Epochs: fewer for larger tables, and for classes, whose loss overfits sooner than that of numbers.

    Small tables of numbers get fewer, too, since a network soon knows them by heart. Root mean squared errors on
    validation after 5, 10, 15, 20, 30 epochs (means of three draws): diabetes, 330 rows: 54.9, 55.9, 57.2, 58.8, 61.2;
    housing, 350 rows: 66.1, 63.3, 63.0, 62.8, 63.1 thousand; 1,000 rows: 60.9, 59.0, 58.6, 58.8, 59.3; 3,000 rows:
    58.2, 55.3, 54.1, 53.7, 53.2; tipsai.toys, 350 rows: 116, 98.7, 96.2, 97.0, 99.3; 1,000 rows: 95.7, 87.6, 87.4,
    87.9, 90.0.

    Args:
        n_rows: training rows.
        task: "regression", "classification" or "multilabel".
        most_codes: rows of the largest embedding; where they are many for the rows, a classifier soon knows the rows
            by heart, and half the epochs are better.
    """
    passes, least, most = (35.0, 10.0, 30.0) if task == "regression" else (13, 4, 10)
    if task != "regression" and most_codes * 20 > n_rows:
        passes, least, most = passes / 2, least / 2, most / 2
    if task == "regression":
        most = min(most, 10 + n_rows / 150)
    return int(min(most, max(least, round(passes * math.sqrt(10_000 / max(1, n_rows))))))
