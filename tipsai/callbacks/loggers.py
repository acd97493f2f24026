"""Where the figures go besides the screen (MO11)."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tipsai.container import writing
from tipsai.core.callback import Callback
from tipsai.core.errors import MissingExtraError
from tipsai.core.state import Row, TrainState


class FunctionLogger(Callback):
    """Calls a function with each epoch's figures; this is how Weights & Biases or MLflow is attached.

    Args:
        log: takes a dict of numbers, such as wandb.log or mlflow.log_metrics.
    """

    def __init__(self, log: Callable[[dict[str, float]], Any]) -> None:
        self.log = log

    def after_epoch(self, st: TrainState) -> None:
        self.log(dict(st.row))


def write_csv(path: str | Path, rows: list[Row]) -> None:
    """Writes the rows whole, with the union of their columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns)
    table.writeheader()
    table.writerows(rows)
    with writing(path) as file:
        file.write(text.getvalue().encode())


class CSVLogger(Callback):
    """Keeps a CSV file of the epochs' figures, rewritten whole after each, so that it is never half a line."""

    def __init__(self, path: str | Path = "history.csv") -> None:
        self.path = Path(path)

    def after_epoch(self, st: TrainState) -> None:
        write_csv(self.path, st.history)


class TensorBoardLogger(Callback):
    """Writes the steps' objective and rate, and the epochs' figures, for TensorBoard.

    Args:
        folder: where the event files go.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path = "runs") -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("TensorBoardLogger needs tensorboard: pip install 'tipsai[track]'") from error
        self.make: Callable[[int], Any] = lambda step: SummaryWriter(str(folder), purge_step=step)
        self.writer: Any = None

    def before_fit(self, st: TrainState) -> None:
        self.offset = st.first_epoch * st.steps_per_epoch  # a second fit's steps follow the first's
        # What an interrupted run wrote beyond its checkpoint is void.
        self.writer = self.make(self.offset + st.step + 1)

    def after_log(self, st: TrainState) -> None:
        step = self.offset + st.step
        for i, loss in enumerate(st.losses, step - len(st.losses) + 1):
            self.writer.add_scalar("train/objective", loss, i)
        self.writer.add_scalar("train/lr", st.opt.param_groups[-1]["lr"], step)

    def after_epoch(self, st: TrainState) -> None:
        for name, value in st.row.items():
            self.writer.add_scalar(f"epoch/{name}", value, int(st.row["epoch"]))

    def after_fit(self, st: TrainState) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None
