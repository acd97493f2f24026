"""The command line in a process of its own, as the tests start, interrupt and compare it."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import torch

from tipsai import cli, container

# A shell that starts the tests in the background (`pytest &`) makes them, and what they start, deaf to Ctrl-C.
HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
RUNS = "import sys; from tipsai.cli import main; sys.exit(main())"


def process(*args, code=None, **options):
    """A command, or code, in a process of its own, on one thread."""
    return subprocess.Popen(
        [sys.executable, "-c", HEARS_CTRL_C + (code or RUNS), *args],
        text=True,
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def interrupted(*command):
    """Starts a training into the folder run, sends Ctrl-C after its second epoch, and checks how it ended."""
    training = process(*command)
    for line in training.stderr:
        if line.startswith("epoch 2/"):
            break
    training.send_signal(signal.SIGINT)
    out, err = training.communicate(timeout=60)
    assert (training.returncode, out) == (130, ""), err
    assert "interrupted after step" in err and "--out run --resume" in err and "Traceback" not in err
    assert sorted(path.name for path in pathlib.Path("run").iterdir()) == ["checkpoint.tips", "config.json"]


def weights(path):
    """The state dict in an artifact."""
    return container.read(path)[1]["model"]


def assert_same_weights(left, right):
    a, b = weights(left), weights(right)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def resumes_to_the_same_weights(command, capsys):
    """Stops a training into the folder run, goes on with it, and compares it with one that was not stopped.

    Args:
        command: of the training, with "--out", "run" at its end.
        capsys: pytest's.
    """
    interrupted(*command)
    figures = []
    for rest in (["run", "--resume"], ["whole"]):
        assert cli.main([*command[:-1], *rest, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        figures.append({k: v for k, v in found.items() if k not in ("train_seconds", "tokens_per_second")})
    assert_same_weights("run/model.tips", "whole/model.tips")
    assert figures[0] == figures[1]


def keeps_the_minutes(command, capsys):
    """Trains for 0.05 minutes: they are used, not exceeded by much, and the steps that they allow are stored."""
    began = time.perf_counter()
    assert cli.main([*command, "--minutes", "0.05", "--out", "run", "--json"]) == 0
    seconds = time.perf_counter() - began
    out, err = capsys.readouterr()
    figures, config = json.loads(out), json.loads(pathlib.Path("run", "config.json").read_text())
    assert 3 < figures["n_steps"] <= 2 * config["n_steps"] and config["minutes"] == 0.05
    assert "0.05 minutes are enough for" in err and f"({config['n_steps']} steps)" in err
    assert seconds > 1.0 and figures["train_seconds"] < 2 * 3 + 1, figures  # others may use the machine
