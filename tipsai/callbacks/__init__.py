"""Floor 3: what happens while training, one idea a file. A callback takes state, never a Learner."""

from tipsai.callbacks.checkpoint import Checkpointer
from tipsai.callbacks.cutmix import CutMix
from tipsai.callbacks.ema import EMA
from tipsai.callbacks.loggers import CSVLogger, FunctionLogger, TensorBoardLogger
from tipsai.callbacks.mixup import MixUp
from tipsai.callbacks.monitor import EarlyStopping, KeepBest
from tipsai.callbacks.progress import Progress
from tipsai.callbacks.recorder import Recorder
from tipsai.callbacks.scheduler import Scheduler
from tipsai.callbacks.time_limit import TimeLimit

__all__ = [
    "EMA",
    "CSVLogger",
    "Checkpointer",
    "CutMix",
    "EarlyStopping",
    "FunctionLogger",
    "KeepBest",
    "MixUp",
    "Progress",
    "Recorder",
    "Scheduler",
    "TensorBoardLogger",
    "TimeLimit",
]
