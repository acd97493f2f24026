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
