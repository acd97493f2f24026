"""What a text run takes where nothing else is said."""

import math
from dataclasses import dataclass, field

VALID_SHARE = 0.1  # of running text
BLOCK_SIZE = 128  # tokens of context
BS = 16  # windows a batch
MINUTES = 2.5  # of training on the command line, where neither --epochs nor --minutes is given
MOST_EPOCHS = 16  # after so many passes a text has little left to teach; Muennighoff et al. 2305.16264, section 5
PACE = {"cpu": 5e10, "cuda": 5e13}  # useful FLOPs a second of training, about: a size must not depend on a measurement
PER_LAYER = 10  # parameters of a block over its squared width: 4 of attention, 6 of the feed-forward network
SIZE = 0.27  # parameters over the root of the FLOPs; 0.5 to 0.9 million in 2.5 minutes of two cores came out alike


def n_epochs_tokens(n_tokens: int) -> float:
    """Passes over running text: 20 million tokens, but one pass at least and no more than MOST_EPOCHS."""
    return min(MOST_EPOCHS, max(1.0, 2e7 / max(1, n_tokens)))


def flops(minutes: float, device: str) -> float:
    """Useful FLOPs of so many minutes on a kind of device, about."""
    return 60 * minutes * PACE.get(device, PACE["cuda"])


def size(flops: float) -> float:
    """Parameters without the embedding that make the most of so much compute, as far as text does not run out."""
    return SIZE * math.sqrt(flops)


def dropout(n_epochs: float) -> float:
    """By how often a model sees the same text (TR13)."""
    return round(min(0.3, max(0.0, 0.1 * math.log2(n_epochs / 5))), 3)


def shape(size: float) -> tuple[int, int]:
    """(layers, width) of a transformer of about this many parameters without its embedding, some 64 wide a layer."""
    width = max(64, 64 * round((size * 64 / PER_LAYER) ** (1 / 3) / 64))
    return max(1, round(size / (PER_LAYER * width**2))), width


def windows(size: float) -> tuple[int, int]:
    """(block_size, bs) for a model of so many parameters."""
    return (64, 24) if size < 2e6 else (128, 24) if size < 1e7 else (256, 64)


def n_tokens(size: int) -> int:
    """Byte pairs to learn from a text of so many bytes: about their root (512, 1024 and 2048 compared on a megabyte)."""
    return int(min(8192, max(320, 64 * round(math.sqrt(size) / 64))))


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
LONGEST = 400  # tokens of a labelled text that the network sees


@dataclass(frozen=True, kw_only=True, slots=True)
class Classifier:
    """What text_classifier_learner builds, and how it trains it."""

    dim: int = field(default=128, metadata={"source": "width of the network; AR05"})
    dropout: float = field(default=0.4, metadata={"source": "share of features; TR13"})
    hidden: float = field(default=0.15, metadata={"source": "share of words hidden in training; Iyyer et al. 2015"})
    act: str = field(default="relu", metadata={"source": "AR02"})
    wd: float = field(default=0.01, metadata={"source": "TR11; not on embeddings"})


CLASSIFIER_LR = 1e-3  # peak of AdamW
ENCODER_SPREAD = 10.0  # rate of the last layer over that of a language model's embedding


def n_epochs_texts(n_texts: int) -> int:
    """Passes over labelled texts: about 60,000 texts seen, between 3 and 10 passes."""
    return int(min(10, max(3, round(60_000 / max(1, n_texts)))))
