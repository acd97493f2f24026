"""The command line on running text, end to end."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from commands import process, resumes_to_the_same_weights

from tipsai import cli
from tipsai.text import defaults

SAYINGS = ["the cat sat on the mat. ", "a dog ran to the cat!\n", "the mat was on a dog? "]
TEXT = "".join(SAYINGS[i] for i in np.random.default_rng(0).integers(0, 3, 400))
TRAIN = ["train", "sayings.txt", "--seed", "3", "--bs", "8", "--tokenizer", "char"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "sayings.txt").write_text(TEXT)
    (tmp_path / "more.txt").write_text(TEXT[:2000])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(defaults, "shape", lambda size: (1, 32))
    monkeypatch.setattr(defaults, "windows", lambda size: (32, 8))
    return tmp_path


def test_train_writes_a_run_that_writes(capsys, folder):
    assert cli.main([*TRAIN, "--epochs", "2", "--test", "more.txt", "--out", "run"]) == 0
    out, err = capsys.readouterr()
    figures = json.loads((folder / "run" / "metrics.json").read_text())
    assert list(figures) == [
        "train_loss",
        "train_objective",
        "valid_loss",
        "valid_perplexity",
        "valid_bits_per_byte",
        "tokens_per_second",
        "train_seconds",
        "n_parameters",
        "n_epochs",
        "n_steps",
        "test_loss",
        "test_perplexity",
        "test_bits_per_byte",
    ]
    assert "vocabulary: " in err and "test_bits_per_byte" in out
    command = ["generate", "run/model.tips", "--prompt", "the", "--n", "20", "--seed", "1"]
    assert cli.main(command) == 0
    first = capsys.readouterr().out
    assert first.startswith("the") and len(first) == 3 + 20 + 1
    assert cli.main(command) == 0
    assert capsys.readouterr().out == first
    assert cli.main([*command, "--stop", first[10:12]]) == 0
    assert capsys.readouterr().out == first[: first.index(first[10:12], 3)] + "\n"


def test_without_a_word_byte_pairs_are_trained_for_some_time(capsys, folder, monkeypatch):
    monkeypatch.setattr(defaults, "MINUTES", 0.03)
    monkeypatch.setattr(defaults, "MOST_EPOCHS", 1000)  # a fast machine makes many in that time
    assert cli.main(["train", "sayings.txt", "--seed", "3", "--out", "run"]) == 0
    err = capsys.readouterr().err
    assert "vocabulary: 320 (BPETokenizer)" in err or "vocabulary: 2" in err
    assert "minutes are enough for" in err
    config = json.loads((folder / "run" / "config.json").read_text())
    assert 0 < config["n_epochs"] < defaults.MOST_EPOCHS and config["minutes"] is None


def test_a_text_with_little_to_teach_ends_before_its_time(capsys, folder, monkeypatch):
    monkeypatch.setattr(defaults, "MOST_EPOCHS", 1.5)
    assert cli.main([*TRAIN, "--out", "run"]) == 0
    assert "minutes are enough" not in capsys.readouterr().err
    assert json.loads((folder / "run" / "metrics.json").read_text())["n_epochs"] == 2
    assert cli.main([*TRAIN, "--minutes", "0.3", "--out", "again"]) == 0
    assert "1.5 epochs, in less time: more passes over so little" in capsys.readouterr().err
    assert json.loads((folder / "again" / "metrics.json").read_text())["n_epochs"] == 2


def test_a_folder_of_texts_is_text(folder, capsys):
    (folder / "texts").mkdir()
    for i in range(3):
        (folder / "texts" / f"{i}.md").write_text(TEXT[i * 1000 :])
    assert cli.main(["train", "texts", "--epochs", "0.1", "--tokenizer", "byte", "--out", "run", "--bs", "8"]) == 0
    assert "of 3 texts" in capsys.readouterr().err


def test_ctrl_c_and_resume_end_in_the_very_same_weights(folder, capsys, monkeypatch):
    monkeypatch.undo()  # a process of its own knows nothing of smaller defaults
    monkeypatch.chdir(folder)
    (folder / "sayings.txt").write_text(TEXT[:1500])
    command = [*TRAIN, "--epochs", "8", "--bs", "4", "--out", "run"]
    resumes_to_the_same_weights(command, capsys)


def test_a_table_with_text_is_classified(folder, capsys):
    rows = [{"body": f"a {word} film", "mood": mood} for mood, word in (("good", "fine"), ("bad", "awful")) * 30]
    pd.DataFrame(rows).to_csv("reviews.csv", index=False)
    command = ["train", "reviews.csv", "--text", "body", "--target", "mood", "--test", "reviews.csv", "--seed", "1"]
    assert cli.main([*command, "--epochs", "1", "--out", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test_accuracy"] == 1
    assert cli.main(["predict", "run/model.tips", "reviews.csv"]) == 0
    made = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(made.columns) == ["body", "mood", "prediction", "p_bad", "p_good"]
    assert (made["prediction"] == made["mood"]).all()


def test_a_folder_a_class_is_classified_where_asked(folder, capsys):
    for i in range(12):
        place = folder / "moods" / ("good", "bad")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.txt").write_text(("a fine film", "an awful film")[i % 2])
    assert cli.main(["train", "moods", "--task", "classification", "--epochs", "1", "--out", "run"]) == 0
    assert "valid_accuracy" in capsys.readouterr().out


def test_a_reader_who_goes_away_is_no_error(folder):
    assert cli.main([*TRAIN, "--epochs", "0.2", "--out", "run"]) == 0
    with process("generate", "run/model.tips", "--n", "100000") as writing:
        writing.stdout.read(5)
        writing.stdout.close()
        assert "Traceback" not in writing.stderr.read()
        assert writing.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train", "none.txt"], "there is no file none.txt"),
        (["train", "table.csv", "--text", "a"], "--target is not given; name one of the columns 'a', 'b'"),
        (["train", "table.csv", "--text", "c", "--target", "b"], "no column 'c'"),
        (["train", "sayings.txt", "--size", "32"], "--size is for pictures, and sayings.txt holds text; leave it out"),
        (["train", "sayings.txt", "--tokenizer", "chars"], "no tokenizer 'chars'. Did you mean 'char'?"),
        (["train", "short.txt", "--tokenizer", "char"], "the training text has 10 tokens, no more than a window of 32"),
        (["train", "short.txt"], "the training text has 3 tokens"),
        (["train", "word.txt"], "the text is too short: a split of it has 1 tokens"),
        (["generate", "sayings.txt"], "sayings.txt"),
    ],
)
def test_mistakes_are_refused(args, words, refused, folder):
    (folder / "short.txt").write_text("a short one\n")
    (folder / "word.txt").write_text("short\n")
    (folder / "table.csv").write_text("a,b\nsome text,1\nmore text,2\n")
    assert words in refused(*args)


def test_a_language_model_predicts_no_rows(capsys):
    assert cli.main([*TRAIN, "--epochs", "0.2", "--out", "run"]) == 0
    assert cli.main(["predict", "run/model.tips", "more.txt"]) == 2
    assert "the model writes text; use tipsai generate" in capsys.readouterr().err
