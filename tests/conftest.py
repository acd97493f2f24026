"""Fixtures that several folders of tests share."""

import logging

import pytest
import torch
from helpers import snapshot

from tipsai import cli

torch.set_num_threads(1)  # the tests share a machine, and their models are tiny


@pytest.fixture
def refused(tmp_path, capsys, monkeypatch):
    """Runs a command that must be refused: exit status 2, one message, nothing on standard output, nothing written."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        before = snapshot(tmp_path)
        status = cli.main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        assert (status, out) == (2, "")
        assert err.count("tipsai: error: ") == 1 and "Traceback" not in err
        assert snapshot(tmp_path) == before, "something was written"
        return err[err.index("tipsai: error: ") :]

    return run


@pytest.fixture
def said(caplog):
    """What was logged since, as one text; empties it."""
    caplog.set_level(logging.INFO, "tipsai")

    def text():
        found = caplog.text
        caplog.clear()
        return found

    return text
