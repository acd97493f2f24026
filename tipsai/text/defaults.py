"""What a text run takes where nothing else is said."""

import math
from dataclasses import dataclass, field

VALID_SHARE = 0.1  # of running text
TOKENIZER = "char"
BLOCK_SIZE = 128  # tokens of context
BS = 16  # windows a batch


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageModel:
    """What language_model_learner builds, and how it trains it."""

    n_layers: int = field(default=4, metadata={"source": "blocks; AR05"})
    n_heads: int = field(default=4, metadata={"source": "of attention"})
    dim: int = field(default=128, metadata={"source": "width"})
    dropout: float = field(default=0.0, metadata={"source": "share of each block's outputs; TR13"})
    act: str = field(default="relu_squared", metadata={"source": "AR02; So et al. 2109.08668"})
    tied: bool = field(default=True, metadata={"source": "LM01"})
    opt: str = field(default="muon", metadata={"source": "TR11; Jordan et al. 2024"})
    wd: float = field(default=0.1, metadata={"source": "TR11; not on embeddings and the gain"})


def peak_lr(n_parameters: int) -> float:
    """The peak rate of Muon: 1e-2 at a million parameters, falling with their root."""
    return 1e-2 * min(2.0, math.sqrt(1e6 / max(1, n_parameters)))


BS_TEXTS = 64  # labelled texts a batch


@dataclass(frozen=True, kw_only=True, slots=True)
class Classifier:
    """What text_classifier_learner builds, and how it trains it."""

    dim: int = field(default=128, metadata={"source": "width of the network; AR05"})
    dropout: float = field(default=0.4, metadata={"source": "share of features; TR13"})
    hidden: float = field(default=0.15, metadata={"source": "share of words hidden in training; Iyyer et al. 2015"})
    act: str = field(default="relu", metadata={"source": "AR02"})
    wd: float = field(default=0.01, metadata={"source": "TR11; not on embeddings"})


CLASSIFIER_LR = 3e-3  # peak of AdamW
ENCODER_SPREAD = 10.0  # rate of the last layer over that of a language model's embedding


def n_epochs_texts(n_texts: int) -> int:
    """Passes over labelled texts: about 60,000 texts seen, between 3 and 10 passes."""
    return int(min(10, max(3, round(60_000 / max(1, n_texts)))))
