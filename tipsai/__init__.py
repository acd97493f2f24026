"""tipsai: training on PyTorch where the tips run. Names are loaded when they are first used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tipsai.callbacks import (
        EMA,
        CSVLogger,
        CutMix,
        EarlyStopping,
        FunctionLogger,
        KeepBest,
        MixUp,
        TensorBoardLogger,
        TimeLimit,
    )
    from tipsai.core.callback import Callback
    from tipsai.core.errors import TipsaiError
    from tipsai.core.state import Batch, Loss, Metric, TrainState
    from tipsai.data.block import Block, CategoryBlock, MultiCategoryBlock, RegressionBlock
    from tipsai.data.datablock import DataBlock
    from tipsai.data.dataloaders import DataLoaders
    from tipsai.data.processor import Processor
    from tipsai.data.split import (
        Split,
        column_split,
        group_split,
        index_split,
        random_split,
        stratified_split,
        time_split,
    )
    from tipsai.learner import Learner
    from tipsai.load import load_learner
    from tipsai.metrics import FunctionMetric
    from tipsai.optim import init_bias, scale_lr

__version__ = "0.1.0"

_HOMES = {
    "tipsai.callbacks": (
        "EMA",
        "CSVLogger",
        "CutMix",
        "EarlyStopping",
        "FunctionLogger",
        "KeepBest",
        "MixUp",
        "TensorBoardLogger",
        "TimeLimit",
    ),
    "tipsai.core.callback": ("Callback",),
    "tipsai.core.errors": ("TipsaiError",),
    "tipsai.core.state": ("Batch", "Loss", "Metric", "TrainState"),
    "tipsai.data.block": ("Block", "CategoryBlock", "MultiCategoryBlock", "RegressionBlock"),
    "tipsai.data.datablock": ("DataBlock",),
    "tipsai.data.dataloaders": ("DataLoaders",),
    "tipsai.data.processor": ("Processor",),
    "tipsai.data.split": (
        "Split",
        "column_split",
        "group_split",
        "index_split",
        "random_split",
        "stratified_split",
        "time_split",
    ),
    "tipsai.learner": ("Learner",),
    "tipsai.load": ("load_learner",),
    "tipsai.metrics": ("FunctionMetric",),
    "tipsai.optim": ("init_bias", "scale_lr"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [
    "Batch",
    "Block",
    "CSVLogger",
    "Callback",
    "CategoryBlock",
    "CutMix",
    "DataBlock",
    "DataLoaders",
    "EMA",
    "EarlyStopping",
    "FunctionLogger",
    "FunctionMetric",
    "KeepBest",
    "Learner",
    "Loss",
    "Metric",
    "MixUp",
    "MultiCategoryBlock",
    "Processor",
    "RegressionBlock",
    "Split",
    "TensorBoardLogger",
    "TimeLimit",
    "TipsaiError",
    "TrainState",
    "column_split",
    "group_split",
    "index_split",
    "init_bias",
    "load_learner",
    "random_split",
    "scale_lr",
    "stratified_split",
    "time_split",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tipsai' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
