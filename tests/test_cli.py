"""The command line: exit statuses, standard output for results only, budgets, and resuming to the very same weights."""

import csv
import json
import logging
import os
import subprocess
import sys
import time
import types

import numpy as np
import pandas as pd
import pytest
from commands import assert_same_weights, interrupted, keeps_the_minutes, process

from tipsai import cli, doctor, load_learner
from tipsai.core.finding import Finding

N = 300
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "a": RNG.normal(size=N),
        "b": np.array(["u", "v", "w"])[RNG.integers(0, 3, N)],
        "y": np.array(["up", "down"])[RNG.integers(0, 2, N)],
    }
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    FRAME.head(220).to_csv(tmp_path / "train.csv", index=False)
    FRAME.tail(80).to_csv(tmp_path / "test.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


TRAIN = ["train", "train.csv", "--target", "y", "--seed", "3"]


def test_train_writes_a_run_and_prints_it(capsys, folder):
    assert cli.main([*TRAIN, "--test", "test.csv", "--epochs", "1", "--out", "run"]) == 0
    out, err = capsys.readouterr()
    assert sorted(path.name for path in (folder / "run").iterdir()) == [
        "config.json",
        "history.csv",
        "metrics.json",
        "model.tips",
        "report.html",
    ]
    figures = json.loads((folder / "run" / "metrics.json").read_text())
    assert list(figures) == [
        "train_loss",
        "train_objective",
        "valid_loss",
        "valid_accuracy",
        "valid_roc_auc",
        "train_seconds",
        "n_parameters",
        "n_epochs",
        "n_steps",
        "test_loss",
        "test_accuracy",
        "test_roc_auc",
    ]
    assert all(isinstance(value, int | float) for value in figures.values())
    assert "model and history: run" in out and "test_accuracy" in out and "epoch" not in out.splitlines()[0]
    assert "epoch 1/1" in err and "a       number" in err
    with open("run/history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1"] and float(rows[0]["valid_loss"]) > 0
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["seed"] == 3 and config["n_epochs"] == 1 and config["n_steps"] == figures["n_steps"]
    learn = load_learner("run/model.tips")
    assert list(learn.test_looks.values()) == [1]


@pytest.mark.parametrize(
    "target,keys", [("a", {"valid_rmse", "valid_mae"}), ("y", {"valid_accuracy", "valid_roc_auc"})]
)
def test_json_prints_exactly_metrics_json(target, keys, capsys, folder):
    assert cli.main(["train", "train.csv", "--target", target, "--epochs", "1", "--out", "run", "--json"]) == 0
    out, _ = capsys.readouterr()
    assert out == (folder / "run" / "metrics.json").read_text()
    assert keys <= json.loads(out).keys()


def test_several_targets(capsys, folder):
    frame = FRAME.assign(z=FRAME["a"] > 0, y=FRAME["y"] == "up")
    frame.to_csv("train.csv", index=False)
    assert cli.main(["train", "train.csv", "--target", "y", "--target", "z", "--epochs", "1", "--out", "run"]) == 0
    capsys.readouterr()
    assert cli.main(["predict", "run/model.tips", "test.csv"]) == 0
    assert pd.read_csv(folder / "test.csv").shape[0] + 1 == len(capsys.readouterr().out.splitlines())


def test_figures_that_are_no_number_are_null(capsys):
    """roc_auc of a test file with one class is not a number; JSON has no such word."""
    FRAME[FRAME["y"] == "up"].to_csv("test.csv", index=False)
    assert cli.main([*TRAIN, "--test", "test.csv", "--epochs", "1", "--out", "run", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert figures["test_roc_auc"] is None and figures["test_accuracy"] is not None
    assert cli.main([*TRAIN, "--test", "test.csv", "--epochs", "1", "--out", "run", "--resume"]) == 0
    assert "nan" in capsys.readouterr().out


def test_kind_and_ignore(capsys):
    command = [*TRAIN, "--epochs", "1", "--kind", "a=category", "--ignore", "b", "--out", "run"]
    assert cli.main(command) == 0
    assert list(load_learner("run/model.tips").dls.table.columns) == ["a"]
    assert "category" in capsys.readouterr().err


def test_the_default_folder_is_named_for_the_data_and_the_time(folder, capsys):
    assert cli.main([*TRAIN, "--epochs", "0.2"]) == 0
    (run,) = (folder / "runs").iterdir()
    assert run.name.startswith("train-20") and (run / "model.tips").exists()


def test_a_seed_repeats_a_run(capsys):
    for out in ("one", "two"):
        assert cli.main([*TRAIN, "--epochs", "1", "--out", out]) == 0
    assert_same_weights("one/model.tips", "two/model.tips")


def test_predict_on_standard_output_and_to_a_file(capsys, folder):
    assert cli.main([*TRAIN, "--epochs", "1", "--out", "run"]) == 0
    capsys.readouterr()
    assert cli.main(["predict", "run/model.tips", "test.csv"]) == 0
    out, err = capsys.readouterr()
    (folder / "stdout.csv").write_text(out)
    assert cli.main(["predict", "run/model.tips", "test.csv", "--out", "made.csv"]) == 0
    to_file, said = capsys.readouterr()
    assert err == "" and to_file == "" and "80 rows with predictions: made.csv" in said
    assert (folder / "made.csv").read_text() == out
    made = pd.read_csv("made.csv")
    assert made.columns.tolist() == ["a", "b", "y", "prediction", "p_down", "p_up"]
    expected = load_learner("run/model.tips").predict("test.csv")
    np.testing.assert_allclose(made["p_up"], expected["p_up"], atol=1e-6)
    assert made["prediction"].tolist() == expected["prediction"].tolist()
    pd.testing.assert_frame_equal(made[["a", "b", "y"]], pd.read_csv("test.csv"))
    assert cli.main(["predict", "run/model.tips", "made.csv"]) == 0
    out, err = capsys.readouterr()
    assert "the columns 'prediction', 'p_down', 'p_up' of the input are replaced" in err
    assert out.splitlines()[0] == "a,b,y,prediction,p_down,p_up"
    assert cli.main(["predict", "run/model.tips", "test.csv", "--tta"]) == 2
    assert "--tta is for pictures, and run/model.tips holds a model of tables" in capsys.readouterr().err


def test_a_second_run_into_the_same_folder_is_refused(capsys, folder):
    assert cli.main([*TRAIN, "--epochs", "1", "--out", "run"]) == 0
    before = {path.name: path.read_bytes() for path in (folder / "run").iterdir()}
    assert cli.main([*TRAIN, "--epochs", "2", "--out", "run"]) == 2
    assert "run already holds a run" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (folder / "run").iterdir()} == before
    assert cli.main([*TRAIN, "--epochs", "1", "--out", "run", "--resume", "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.encode() == before["metrics.json"] and "the run in run is complete" in err


def test_resume_with_other_arguments_shows_the_difference(capsys, folder):
    assert cli.main([*TRAIN, "--epochs", "1", "--out", "run"]) == 0
    before = {path.name: path.read_bytes() for path in (folder / "run").iterdir()}
    changed = ["train", "train.csv", "--target", "b", "--seed", "3", "--epochs", "2", "--out", "run", "--resume"]
    assert cli.main(changed) == 2
    err = capsys.readouterr().err
    assert "was started with other arguments:\n" in err
    assert "target: ['y'] in the run, ['b'] now" in err and "epochs: 1.0 in the run, 2.0 now" in err
    assert "Give the old ones, or start anew with another --out" in err and "seed" not in err
    assert {path.name: path.read_bytes() for path in (folder / "run").iterdir()} == before


@pytest.mark.parametrize("text", ["{", "[]", "{}", ""])
def test_resume_with_a_damaged_configuration(text, capsys, folder):
    (folder / "run").mkdir()
    (folder / "run" / "config.json").write_text(text)
    assert cli.main([*TRAIN, "--out", "run", "--resume"]) == 2
    assert "config.json is" in (err := capsys.readouterr().err) and "tart anew with another --out" in err


def test_resume_needs_out(capsys):
    assert cli.main([*TRAIN, "--resume"]) == 2
    assert "--resume needs --out DIR" in capsys.readouterr().err


def test_minutes_are_kept_and_the_steps_stored(capsys):
    pd.concat([FRAME] * 60).to_csv("train.csv", index=False)
    keeps_the_minutes(TRAIN, capsys)


def test_minutes_are_those_of_the_command(monkeypatch, folder):
    """What is done before training counts; where it took all the time, half of it is left for training."""
    pd.concat([FRAME] * 60).to_csv("train.csv", index=False)
    monkeypatch.setattr(cli, "time", types.SimpleNamespace(perf_counter=lambda: time.perf_counter() - 100))
    assert cli.main([*TRAIN, "--minutes", "0.1", "--out", "run"]) == 0
    assert json.loads((folder / "run" / "config.json").read_text())["seconds"] == pytest.approx(3)


def test_minutes_are_kept_where_steps_take_longer_than_when_they_were_timed(monkeypatch, folder, capsys):
    from tipsai.experiment import budget

    real = budget.seconds_a_step
    monkeypatch.setattr(budget, "seconds_a_step", lambda learn, measuring: real(learn, measuring) / 8)
    pd.concat([FRAME] * 60).to_csv("train.csv", index=False)
    assert cli.main([*TRAIN, "--minutes", "0.05", "--out", "run", "--json"]) == 0
    out, err = capsys.readouterr()
    figures, config = json.loads(out), json.loads((folder / "run" / "config.json").read_text())
    assert 3 < figures["n_steps"] < config["n_steps"] / 2 and 0 < config["seconds"] < 3
    assert figures["train_seconds"] < 2 * config["seconds"]
    assert f"of {config['n_steps']} fit into the time" in err


def test_ctrl_c_and_resume_end_in_the_very_same_weights(folder, capsys):
    """Without --seed: the one that was drawn is kept, and with it the split."""
    command = [*TRAIN[:4], "--epochs", "40", "--out", "run"]
    interrupted(*command)
    config = json.loads((folder / "run" / "config.json").read_text())
    assert cli.main([*command, "--resume", "--json"]) == 0
    resumed = json.loads(capsys.readouterr().out)
    assert not (folder / "run" / "checkpoint.tips").exists()
    assert cli.main([*command[:-2], "--seed", str(config["seed"]), "--out", "whole", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert_same_weights("run/model.tips", "whole/model.tips")
    changing = {"train_seconds"}
    assert {k: v for k, v in resumed.items() if k not in changing} == {
        k: v for k, v in whole.items() if k not in changing
    }

    def rows(run):
        with open(f"{run}/history.csv") as file:
            return [[v for k, v in row.items() if k != "seconds"] for row in csv.DictReader(file)]

    assert rows("run") == rows("whole") and len(rows("run")) == 40


def test_resume_after_the_data_changed_is_refused(folder, capsys):
    command = [*TRAIN, "--epochs", "2", "--out", "run"]
    from tipsai.core.errors import OutputError
    from tipsai.learner import Learner

    def fails(self, path):
        raise OutputError("as if the process had died here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "export", fails)
        assert cli.main(command) == 2
    FRAME.head(219).to_csv("train.csv", index=False)
    capsys.readouterr()
    assert cli.main([*command, "--resume"]) == 2
    err = capsys.readouterr().err
    assert "configuration changed since the checkpoint" in err and "data: " in err and "n_items: 176" in err
    FRAME.head(220).to_csv("train.csv", index=False)
    assert cli.main([*command, "--resume"]) == 0
    assert cli.main([*TRAIN, "--epochs", "2", "--out", "whole"]) == 0
    assert_same_weights("run/model.tips", "whole/model.tips")


def test_tips(capsys):
    assert cli.main(["tips"]) == 0
    out, err = capsys.readouterr()
    assert "TR08  The first loss" in out and len(out.splitlines()) > 20 and err == ""
    assert cli.main(["tips", "tr08"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("TR08  ") and "init_bias" in out
    assert cli.main(["tips", "TR88"]) == 2
    assert "there is no tip 'TR88'. Did you mean 'TR" in capsys.readouterr().err


def test_the_version_and_a_command_that_is_missing(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0 and capsys.readouterr().out.startswith("tipsai ")
    for argv in ([], ["trian"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(argv)
        assert stopped.value.code == 2 and "COMMAND" in capsys.readouterr().err


def test_logging_is_left_as_it_was(capsys):
    logger = logging.getLogger("tipsai")
    before = logger.handlers[:], logger.level, logger.propagate
    cli.main(["tips"])
    cli.main(["train", "none.csv"])
    assert (logger.handlers[:], logger.level, logger.propagate) == before


def test_a_mistake_in_a_real_process():
    done = process("train", "none.csv", "--target", "y")
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out) == (2, "") and err.startswith("tipsai: error: there is no file none.csv")
    assert "Traceback" not in err


@pytest.mark.parametrize("many", [False, True])
def test_a_reader_who_goes_is_no_error(many):
    """As `tipsai predict ... | head` does: with little output, which shows at the last flush, and with much."""
    args = ["tips"]
    if many:
        assert cli.main([*TRAIN, "--epochs", "0.2", "--out", "run"]) == 0
        pd.concat([FRAME] * 30).to_csv("many.csv", index=False)
        args = ["predict", "run/model.tips", "many.csv"]
    reading, writing = os.pipe()
    done = subprocess.Popen(
        [sys.executable, "-m", "tipsai.cli", *args],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    os.close(writing)
    os.close(reading)
    _, err = done.communicate(timeout=60)
    assert (done.returncode, err) == (0, "")


@pytest.mark.slow
def test_demo(capsys, monkeypatch):
    assert cli.main(["demo", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    figures = {row["data"]: row for row in rows}
    assert set(figures) == {
        *("breast cancer", "wine", "diabetes", "digits", "Python's docstrings", "the same, as a text")
    }
    assert figures["breast cancer"]["tipsai"] > 0.93 and figures["diabetes"]["tipsai"] < 65
    assert figures["digits"]["tipsai"] > 0.97
    assert figures["Python's docstrings"]["tipsai"] > figures["Python's docstrings"]["baseline"]
    assert figures["the same, as a text"]["tipsai"] < figures["the same, as a text"]["baseline"], "fewer bits"
    parts = {name: rows[i::3] for i, name in enumerate(cli.faces.FACES)}  # once is enough to see the table
    monkeypatch.setattr(cli.faces, "face", lambda name: types.SimpleNamespace(demo=lambda: parts[name]))
    assert cli.main(["demo"]) == 0
    out = capsys.readouterr().out
    assert "linear model" in out and all(row["data"] in out for row in rows)


def test_the_demo_without_scikit_learn_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert cli.main(["demo"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "pip install 'tipsai[sklearn]'" in err


# --- check --------------------------------------------------------------------------------------------------------


def test_check_of_a_sound_table_says_so(capsys, folder):
    before = sorted(path.name for path in folder.iterdir())
    assert cli.main(["check", "train.csv", "--target", "y"]) == 0
    assert "error" not in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == before, "nothing is written"


def test_check_finds_what_is_wrong_and_its_status_says_how_bad(capsys, folder):
    twice = pd.concat([FRAME, FRAME]).sample(frac=1.0, random_state=0)
    twice.to_csv("twice.csv", index=False)
    assert cli.main(["check", "twice.csv", "--target", "y", "--json"]) == 0, "a warning is no error"
    found = json.loads(capsys.readouterr().out)
    assert [f["code"] for f in found] == ["duplicates"] and found[0]["severity"] == "warning"
    assert cli.main(["check", "twice.csv", "--target", "y", "--silent", "duplicates"]) == 0
    assert capsys.readouterr().out == "nothing found\n"
    always = types.SimpleNamespace(
        check=lambda: doctor.Findings([Finding("bad", "TR08", "error", "It is bad.")]), doctor=doctor.Doctor()
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.faces, "face", lambda name: types.SimpleNamespace(learner=lambda config: always))
        assert cli.main(["check", "twice.csv", "--target", "y"]) == 1
    assert "It is bad." in capsys.readouterr().out
