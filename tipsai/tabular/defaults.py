"""The defaults for tables, each with its unit and source."""

from dataclasses import dataclass, field


def _from(default: float | int | str, source: str) -> object:
    return field(default=default, metadata={"source": source})


@dataclass(frozen=True, kw_only=True, slots=True)
class TabularDefaults:
    """What tabular_learner builds. README's table of benchmarks says how they were chosen."""

    width: int = field(default=256, metadata={"source": "units a layer"})
    depth: int = field(default=2, metadata={"source": "hidden layers; AR05"})
    dropout: float = field(default=0.1, metadata={"source": "share of units"})
    n_members: int = field(default=8, metadata={"source": "networks in one; after TabM, 2410.24210"})
    n_bins: int = field(default=48, metadata={"source": "quantile bins a number; 2203.05556"})
    number_embedding: str = field(default="piecewise", metadata={"source": "Gorishniy et al. 2203.05556"})
    act: str = field(default="relu", metadata={"source": "AR02"})


TEXT_VALUES = 8  # distinct values from which on the spelling of a text column counts (TA02)
RARE = 5  # values of such a column seen less often are told apart by their spelling alone
MOST_VALUES = 10_000  # values with an embedding of their own; more would cost memory and teach little each


def batch_size(n_rows: int) -> int:
    """Rows a batch by default: a power of two near n/64, between 32 and 512."""
    size = 32
    while size < 512 and size * 64 < n_rows:
        size *= 2
    return size


def n_epochs(n_rows: int) -> int:
    """Epochs by default: enough steps for small tables, fewer passes over large ones."""
    return max(4, min(100, round(400_000 / max(1, n_rows))))


def valid_share(n_rows: int) -> float:
    """The share of rows drawn for validation: 20%, and 10% from 10,000 rows on."""
    return 0.2 if n_rows < 10_000 else 0.1
