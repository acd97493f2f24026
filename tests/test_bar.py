"""A bar is for who watches: none in files and pipes."""

import io
import sys
from types import SimpleNamespace

import pytest
from helpers import learner

from tipsai import bar as module
from tipsai.bar import bar


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.0)


def shown(monkeypatch, stream, **options) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(bar(range(3), "checks", **options)) == [0, 1, 2]
    return stream.getvalue()


def test_a_terminal_gets_a_bar(monkeypatch):
    assert "checks" in shown(monkeypatch, Screen())


@pytest.mark.parametrize("stream, options", [(io.StringIO(), {}), (Screen(), {"progress": False})])
def test_a_file_or_who_asks_for_none_gets_none(monkeypatch, stream, options):
    assert shown(monkeypatch, stream, **options) == ""


def test_a_notebook_gets_a_bar(monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert "checks" in shown(monkeypatch, io.StringIO())


def test_checks_and_importance_write_no_control_characters_to_a_pipe(capsys):
    learn = learner(metrics="accuracy")
    learn.check()
    learn.interpret().importance(n_repeats=1)
    assert capsys.readouterr().err == ""


def test_in_a_terminal_checks_and_importance_show_how_far_they_are(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    learn = learner(metrics="accuracy")
    learn.check()
    learn.interpret().importance(n_repeats=1)
    assert "checks" in screen.getvalue() and "columns" in screen.getvalue()
