import contextlib
import fcntl
import os
import re
import struct
import sys
import termios
import types

import pytest
from helpers import At, Boom, boom, dataloaders, learner

from tipsai.callbacks import progress
from tipsai.callbacks.progress import format_row
from tipsai.core import loop


@pytest.fixture(autouse=True)
def fetch_always(monkeypatch):
    monkeypatch.setattr(loop, "FETCH_SECONDS", -1.0)


def test_a_pipe_gets_one_line_an_epoch_without_control_characters(capsys):
    learn = learner(metrics="accuracy")
    learn.fit(2)
    learn.fit(1)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    number = r"\d+\.?\d*(e-\d+)?"
    for i, line in enumerate(lines):
        n, total = i + 1, 2 if i < 2 else 3
        assert re.fullmatch(
            rf"epoch {n}/{total}  train {number}  valid {number}  accuracy {number}  seconds {number}", line
        )
    assert len(lines) == 3 and out == "" and not re.search(r"[\x00-\x09\x0b-\x1f]", err)


def test_nothing_is_shown_where_that_was_asked_for(capsys):
    learner().fit(1, progress=False)
    assert capsys.readouterr() == ("", "")


@contextlib.contextmanager
def terminal(monkeypatch, columns):
    """Standard error as a terminal of that width; gives a function that reads what was written."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.set_blocking(ours, False)
    read = []

    def text():
        with contextlib.suppress(BlockingIOError):
            while data := os.read(ours, 65536):
                read.append(data)
        return b"".join(read).decode()

    with os.fdopen(theirs, "w") as file, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", file)
        patch.setattr(progress, "SHOWN_EVERY_SECONDS", 0)
        yield text
    os.close(ours)


def screen(text, columns):
    """What a terminal shows after these characters: its lines."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|.|\n", text.replace("\r\n", "\r\v").replace("\n", "\v"), re.S):
        if part == "\x1b[A":
            row = max(0, row - 1)
        elif part == "\r":
            column = 0
        elif part == "\v":
            row += 1
        elif part == "\x1b[K":
            lines[row] = lines[row][:column]
        else:
            assert part.isprintable(), repr(part)
            if column == columns:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + 1 :]
            column += 1
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines]


def test_a_narrow_terminal_shows_bars_while_training_and_a_table_after_it(monkeypatch):
    during = []
    with terminal(monkeypatch, 40) as text:
        learn = learner(metrics="accuracy")
        learn.fit(2, callbacks=[At(9, lambda st: during.append(screen(text(), 40)))])
        after = [line for line in screen(text(), 40) if line]
    assert all(len(line) <= 40 for line in (*during[0], *after))
    assert any(re.match(r"epochs: +50%\|", line) for line in during[0])
    assert any(re.match(r"steps: +33%\|", line) for line in during[0])
    body = "".join(line.ljust(40) for line in after).split()  # a table wider than the terminal wraps
    assert body[:5] == ["epoch", "train", "valid", "accuracy", "seconds"]
    for i, row in enumerate(learn.history):
        assert body[5 * (i + 1) : 5 * (i + 1) + 4] == list(format_row(row).values())
    assert "%|" not in " ".join(after)


def test_after_an_error_the_bars_are_gone(monkeypatch):
    with terminal(monkeypatch, 40) as text:
        with pytest.raises(Boom):
            learner().fit(2, callbacks=[At(9, boom)])
        assert "%|" not in "".join(screen(text(), 40)[-3:])
        learner().fit(1)  # and new ones open at their places
        assert "%|" not in "".join(screen(text(), 40)[-3:])


class ZMQInteractiveShell: ...


@pytest.fixture
def notebook(monkeypatch):
    """A Jupyter kernel's IPython, as far as it is needed; gives the cell's outputs, newest last."""
    shown = []

    class Handle:
        def update(self, html):
            shown.append(html)

    def display(html, display_id):
        shown.append(html)
        return Handle()

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = ZMQInteractiveShell
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.HTML, ipython.display.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return shown


def test_a_notebook_shows_one_table_that_grows(notebook, capsys):
    learn = learner(metrics="accuracy")
    learn.fit(2)
    assert notebook[0] == "training..." and "<progress value='0.0833'></progress> 8% of 2 epochs, loss" in notebook[1]
    final = notebook[-1]
    assert final.count("<tr>") == 3 and "progress" not in final and "<th>accuracy</th>" in final
    for row in learn.history:
        assert "".join(f"<td>{cell}</td>" for cell in format_row(row).values()) in final
    assert capsys.readouterr().err == ""


def test_a_notebook_says_why_training_stopped(notebook):
    learner().fit(2, callbacks=[At(9, lambda st: st.stop("plateau <reached>"))])
    assert notebook[-1].endswith("</table>plateau &lt;reached&gt;")


def test_an_ipython_that_is_no_notebook_gets_what_others_get(notebook, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    learner().fit(1)
    assert notebook == [] and capsys.readouterr().err.startswith("epoch 1/1")


def test_without_validation_data_no_such_figures_are_shown(capsys):
    learner(dataloaders(n_valid=0)).fit(1)
    assert "valid" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ({"epoch": 3.0, "train_objective": 0.123456789}, {"epoch": "3", "train": "0.12346"}),
        ({"valid_loss": 1234567.8, "valid_rmse": 1e-7}, {"valid": "1,234,568", "rmse": "1e-07"}),
        ({"valid_loss": float("nan")}, {"valid": "nan"}),
    ],
)
def test_figures_are_short(row, cells):
    assert format_row(row) == cells
