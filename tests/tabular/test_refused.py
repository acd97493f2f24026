"""Issue 2's list "Refused": one clear message and exit status 2, a typed error from Python, and nothing written over."""

import errno
import os

import numpy as np
import pandas as pd
import pytest
from helpers import snapshot

from tipsai import cli, container, load_learner, run_folder
from tipsai.core.errors import ArtifactError, ColumnError, DataError, OutputError, SettingError, TipsaiError
from tipsai.tabular import TabularDataLoaders, read_table, tabular_learner

N = 40
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, N),
        "city": np.array(["Rome", "Oslo", "Bern"])[RNG.integers(0, 3, N)],
        "salary": np.array(["high", "low"])[RNG.integers(0, 2, N)],
    }
)
CSV = FRAME.to_csv(index=False)
SMALL = {"n_members": 1, "width": 8, "seed": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.tips"
    learn = tabular_learner(TabularDataLoaders.from_df(FRAME, "salary"), **SMALL)
    learn.fit_one_cycle(1, progress=False)
    learn.export(path)
    return path


def says(error, message, text):
    """The command line and Python say the same."""
    assert all(part in message for part in text.split("*")), message
    assert isinstance(error.value, TipsaiError) and all(part in str(error.value) for part in text.split("*"))


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(200))
FILES = {
    "a missing file": (None, "there is no file*train.csv*Check the name"),
    "an empty file": (b"", "is empty; expected a header and rows"),
    "a picture": (PNG, "is no text table: it holds binary data*Export the table as CSV"),
    "latin-1": (CSV.replace("Rome", "Zürich").encode("latin-1"), "is not utf-8 text*Save it as UTF-8"),
    "UTF-16": (CSV.encode("utf-16"), "looks like UTF-16; save it as UTF-8"),
    "a header without rows": (b"age,city,salary\n", "has a header but no rows"),
    "doubled names": (b"age,city,age,salary\n1,a,2,x\n", "more than one column named 'age'; rename or drop"),
    "a long row": (b"age,city,salary\n1,a,x\n2,b,y,z\n3,c,x\n", "ragged: line 3 has 4 fields, the header 3"),
    "a short row": (b"age,city,salary\n1,a,x\n2,b\n3,c,x\n", "ragged: line 3 has 2 fields, the header 3"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name, refused, tmp_path):
    content, text = FILES[name]
    if content is not None:
        (tmp_path / "train.csv").write_bytes(content)
    message = refused("train", "train.csv", "--target", "salary")
    with pytest.raises(DataError) as error:
        TabularDataLoaders.from_file("train.csv", "salary")
    says(error, message, text)


@pytest.mark.parametrize("name", FILES)
def test_the_same_files_as_test_rows_and_as_input(name, refused, tmp_path, model):
    content, text = FILES[name]
    (tmp_path / "good.csv").write_text(CSV)
    if content is not None:
        (tmp_path / "train.csv").write_bytes(content)
    for command in (
        ("train", "good.csv", "--target", "salary", "--test", "train.csv", "--out", "run"),
        ("predict", model, "train.csv", "--out", "made.csv"),
    ):
        message = refused(*command)
        assert all(part in message for part in text.split("*")), message


def test_a_file_of_another_kind(refused, tmp_path):
    (tmp_path / "report.docx").write_bytes(b"PK\x03\x04")
    message = refused("train", "report.docx", "--target", "salary")
    with pytest.raises(DataError) as error:
        read_table("report.docx")
    says(error, message, "report.docx is no table that can be read; expected a file that ends in .csv, .tsv")


ROWS = {
    "one row": (FRAME.head(1), "there is 1 row to train on; expected at least 2"),
    "one value": (FRAME.assign(salary="low"), "the target 'salary' is always 'low'; there is nothing to learn"),
    "all missing": (FRAME.assign(salary=None), "the target 'salary' is missing in every row of the train table"),
    "one value, others missing": (FRAME.assign(salary=["low", None] * 20), "the target 'salary' is always 'low'"),
    "no such target": (FRAME.rename(columns={"salary": "Salery"}), "no column 'salary'. Did you mean 'Salery'?*'age'"),
    "nothing to learn from": (FRAME[["salary"]], "no column is left to learn from"),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name, refused, tmp_path):
    frame, text = ROWS[name]
    frame.to_csv(tmp_path / "train.csv", index=False)
    message = refused("train", "train.csv", "--target", "salary", "--out", "run")
    with pytest.raises(DataError) as error:
        TabularDataLoaders.from_df(frame, "salary")
    says(error, message, text)


def test_doubled_names_in_a_frame():
    with pytest.raises(DataError, match="more than one column named 'age'; rename or drop all but one"):
        TabularDataLoaders.from_df(FRAME[["age", "age", "salary"]], "salary")


def test_a_class_in_the_test_file_that_training_never_saw(refused, tmp_path):
    test = FRAME.assign(salary=["hihg", *FRAME["salary"][1:]])
    FRAME.to_csv(tmp_path / "train.csv", index=False)
    test.to_csv(tmp_path / "test.csv", index=False)
    message = refused("train", "train.csv", "--target", "salary", "--test", "test.csv", "--out", "run")
    with pytest.raises(DataError) as error:
        TabularDataLoaders.from_df(FRAME, "salary", test_df=test)
    says(
        error,
        message,
        "in the test table, column 'salary': the class 'hihg' was not in the training data. Did you mean 'high'?*"
        "The classes are 'high', 'low'",
    )


def test_missing_columns_at_prediction(refused, tmp_path, model):
    rows = FRAME.drop(columns="city").rename(columns={"age": "Age"})
    rows.to_csv(tmp_path / "new.csv", index=False)
    message = refused("predict", model, "new.csv", "--out", "made.csv")
    with pytest.raises(ColumnError) as error:
        load_learner(model).predict(rows)
    says(
        error,
        message,
        "2 of the 2 columns of training are missing (-)*\n  - age\n  - city\n  + Age\n  + salary\nRename",
    )


def test_a_number_column_that_arrives_as_words(refused, tmp_path, model):
    rows = FRAME.assign(age="old", city=FRAME["age"])
    rows.to_csv(tmp_path / "new.csv", index=False)
    message = refused("predict", model, "new.csv", "--out", "made.csv")
    with pytest.raises(ColumnError) as error:
        load_learner(model).predict(rows)
    says(error, message, "the column 'age' was numbers in training and now holds words such as 'old'*in their places")


ARGUMENTS = {
    "a negative rate": (["--lr", "-0.1"], "-0.1"),
    "no rate": (["--lr", "0"], "0"),
    "zero epochs": (["--epochs", "0"], "--epochs is 0.0; it must be above 0"),
    "no epochs": (["--epochs", "nan"], "--epochs is nan; it must be above 0"),
    "no minutes": (["--minutes", "-1"], "--minutes is -1.0; it must be above 0"),
    "a batch of nothing": (["--bs", "0"], "bs is 0; expected a whole number of rows, at least 1"),
    "a device that is not there": (
        ["--device", "cuda:99"],
        "device 'cuda:99' is not on this machine*Use 'auto' or 'cpu'",
    ),
    "no device": (["--device", "gpu"], "device 'gpu' is not on this machine*Use 'auto' or 'cpu'"),
    "an unknown kind": (["--kind", "age=numbr"], "kinds['age'] is 'numbr'. Did you mean 'number'?*'category'"),
    "no kind": (["--kind", "age"], "--kind is 'age'; expected COLUMN=KIND, such as"),
    "a kind of nothing": (["--kind", "agee=number"], "'agee' that is not there. Did you mean 'age'?"),
    "an unknown column to ignore": (["--ignore", "cty"], "no column 'cty'. Did you mean 'city'?"),
    "resume without a run": (["--resume"], "holds no run to go on with (there is no config.json)"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_refused_before_anything_is_made(name, refused, tmp_path):
    args, text = ARGUMENTS[name]
    (tmp_path / "train.csv").write_text(CSV)
    message = refused("train", "train.csv", "--target", "salary", "--out", "run", *args)
    assert all(part in message for part in text.split("*")), message
    assert not (tmp_path / "run").exists()


def test_a_target_that_is_not_given(refused, tmp_path):
    (tmp_path / "train.csv").write_text(CSV)
    message = refused("train", "train.csv", "--out", "run")
    assert "--target is not given; name one of the columns 'age', 'city', 'salary'" in message


@pytest.mark.parametrize("args", [["--task", "clustering"], ["--epochs", "many"], ["--epochs", "1", "--minutes", "1"]])
def test_what_argparse_refuses(args, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", "train.csv", *args])
    assert stopped.value.code == 2 and args[0] in capsys.readouterr().err and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [{"lr": -1e-3}, {"lr": 0.0}, {"lr": float("nan")}, {"device": "cuda:99"}, {"device": "gpu"}],
    ids=str,
)
def test_arguments_in_python(options):
    with pytest.raises(SettingError):
        tabular_learner(TabularDataLoaders.from_df(FRAME, "salary"), **(SMALL | options))


@pytest.mark.parametrize("n_epochs", [0, -1, float("nan"), float("inf")])
def test_epochs_in_python(n_epochs):
    learn = tabular_learner(TabularDataLoaders.from_df(FRAME, "salary"), **SMALL)
    before = learn.model.output.bias.clone()
    with pytest.raises(SettingError, match="n_epochs is .*; it must be above 0"):
        learn.fit_one_cycle(n_epochs, progress=False)
    assert (learn.model.output.bias == before).all() and learn.history == []


@pytest.mark.parametrize("name", run_folder.FILES)
def test_an_output_folder_that_holds_a_run(name, refused, tmp_path):
    (tmp_path / "train.csv").write_text(CSV)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text("{}")
    message = refused("train", "train.csv", "--target", "salary", "--out", "run")
    assert f"run already holds a run ({name}). Give another --out, or --resume" in message


def test_an_output_that_is_a_file(refused, tmp_path):
    (tmp_path / "train.csv").write_text(CSV)
    message = refused("train", "train.csv", "--target", "salary", "--out", "train.csv")
    assert "--out train.csv is a file; give a folder" in message


def test_an_unwritable_folder(refused, tmp_path, monkeypatch, model):
    (tmp_path / "train.csv").write_text(CSV)
    (tmp_path / "run").mkdir()

    def forbidden(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(container.tempfile, "mkstemp", forbidden)
    train = ("train", "train.csv", "--target", "salary", "--epochs", "1", "--out")
    assert "cannot write run/config.json: no permission" in refused(*train, "run")
    assert "cannot write made.csv: no permission" in refused("predict", model, "train.csv", "--out", "made.csv")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "cannot write train.csv/run/config.json: " in refused(*train, "train.csv/run")
    learn = load_learner(model)
    with pytest.raises(OutputError, match="choose another place"):
        learn.export(tmp_path / "train.csv" / "model.tips")


def test_a_full_disk(tmp_path, monkeypatch, capsys, model):
    """What was there stays as it was, and no half of a file is left."""
    (tmp_path / "train.csv").write_text(CSV)
    learn = load_learner(model)
    for name in ("model.tips", "made.csv"):
        (tmp_path / name).write_bytes(b"precious")
    before = snapshot(tmp_path)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="cannot write .*model.tips: the disk is full. Free some room"):
        learn.export(tmp_path / "model.tips")
    with pytest.raises(OutputError, match="the disk is full"):
        learn.save(tmp_path / "model.tips")
    new = tmp_path / "new"
    for command in (
        ("predict", model, tmp_path / "train.csv", "--out", tmp_path / "made.csv"),
        ("train", tmp_path / "train.csv", "--target", "salary", "--epochs", "1", "--out", new),
    ):
        assert cli.main([str(arg) for arg in command]) == 2
        out, err = capsys.readouterr()
        assert out == "" and "the disk is full. Free some room, or choose another place" in err
    assert not any(new.iterdir())
    new.rmdir()
    assert snapshot(tmp_path) == before


def test_a_disk_that_fills_up_while_training(tmp_path, monkeypatch, capsys):
    (tmp_path / "train.csv").write_text(CSV)
    calls, fsync = [], os.fsync

    def filling(handle):
        calls.append(handle)
        if len(calls) > 2:  # config.json has been written, and its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", filling)
    command = [
        "train",
        str(tmp_path / "train.csv"),
        "--target",
        "salary",
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    assert cli.main(command) == 2
    assert "checkpoint.tips: the disk is full" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
    monkeypatch.undo()
    assert cli.main([*command, "--resume"]) == 0


ARTIFACTS = {
    "truncated": (lambda data: data[: len(data) // 2], "truncated"),
    "tampered": (lambda data: data[:2000] + bytes([data[2000] ^ 1]) + data[2001:], "changed"),
    "no artifact": (lambda data: b"hello", "is no artifact"),
    "empty": (lambda data: b"", "is no artifact"),
}


@pytest.mark.parametrize("name", ARTIFACTS)
def test_artifacts(name, refused, tmp_path, model):
    change, text = ARTIFACTS[name]
    (tmp_path / "new.csv").write_text(CSV)
    (tmp_path / "m.tips").write_bytes(change(model.read_bytes()))
    message = refused("predict", "m.tips", "new.csv", "--out", "made.csv")
    with pytest.raises(ArtifactError) as error:
        load_learner("m.tips")
    says(error, message, f"m.tips*{text}*xport it anew")


def test_an_artifact_of_a_newer_format(refused, tmp_path, model):
    (tmp_path / "new.csv").write_text(CSV)
    documents, tensors = container.read(model)
    documents["manifest"]["format_version"] = container.FORMAT_VERSION + 1
    container.write(tmp_path / "m.tips", documents, tensors)
    message = refused("predict", "m.tips", "new.csv")
    with pytest.raises(ArtifactError) as error:
        load_learner("m.tips")
    says(error, message, f"has format {container.FORMAT_VERSION + 1}; this version reads up to*pip install -U tipsai")


def test_an_artifact_that_is_not_there_and_an_output_that_is_no_csv(refused, tmp_path, model):
    (tmp_path / "new.csv").write_text(CSV)
    assert "there is no file none.tips" in refused("predict", "none.tips", "new.csv")
    assert "--out is made.xlsx; expected a name that ends in .csv" in refused(
        "predict", model, "new.csv", "--out", "made.xlsx"
    )
