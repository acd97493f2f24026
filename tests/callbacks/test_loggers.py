import csv
import sys

import pytest
from helpers import learner

from tipsai import CSVLogger, FunctionLogger, TensorBoardLogger
from tipsai.callbacks.loggers import write_csv
from tipsai.core import loop
from tipsai.core.errors import MissingExtraError


def test_csv_holds_the_history(tmp_path):
    path = tmp_path / "new" / "history.csv"
    learn = learner(metrics="accuracy", callbacks=[CSVLogger(path)])
    learn.fit(2, progress=False)
    learn.fit(1, progress=False)
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == learn.history and [row["epoch"] for row in rows] == [1, 2, 3]
    assert [p.name for p in path.parent.iterdir()] == ["history.csv"]


def test_csv_has_the_union_of_columns(tmp_path):
    write_csv(tmp_path / "t.csv", [{"epoch": 1}, {"epoch": 2, "valid_größe": 0.5}])
    assert (tmp_path / "t.csv").read_text("utf-8").splitlines() == ["epoch,valid_größe", "1,", "2,0.5"]


def test_a_function_gets_each_epochs_figures():
    rows = []
    learn = learner(callbacks=[FunctionLogger(rows.append)])
    learn.fit(2, progress=False)
    assert rows == learn.history and rows[0] is not learn.history[0]


@pytest.mark.parametrize("seconds", [-1.0, 1e9])
def test_tensorboard_reads_back_steps_and_epochs(tmp_path, monkeypatch, seconds):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(loop, "FETCH_SECONDS", seconds)
    learn = learner(callbacks=[TensorBoardLogger(tmp_path)])
    learn.fit_one_cycle(2, progress=False)
    learn.fit(1, progress=False)
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    objective = board.Scalars("train/objective")
    assert [event.step for event in objective] == list(range(1, 19))
    assert [event.value for event in objective] == pytest.approx(list(learn.recorder.losses))
    valid = board.Scalars("epoch/valid_loss")
    assert [event.step for event in valid] == [1, 2, 3]
    assert [event.value for event in valid] == pytest.approx([row["valid_loss"] for row in learn.history])
    assert board.Scalars("train/lr")[-1].value == pytest.approx(0.02)


def test_without_tensorboard_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tipsai\[track\]'"):
        TensorBoardLogger()
