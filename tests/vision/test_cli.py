"""The command line on a folder of pictures, end to end: what a run writes, resuming to the same weights, predictions."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import keeps_the_minutes, process, resumes_to_the_same_weights
from hypothesis import given
from hypothesis import strategies as st
from pictures import encoded, smooth, tree, write
from PIL import Image

from tipsai import cli, load_learner, run_folder
from tipsai.vision import ImageDataLoaders, defaults, face, vision_learner
from tipsai.vision.models import SmallResNet
from tipsai.vision.read import probe, read_mask

N = {"train": 6, "valid": 2, "test": 3}
TRAIN = ["train", "pets", "--seed", "3"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for part, n in N.items():
        tree(tmp_path / "pets" / part, f"cat/*{n}.jpg", f"dog/*{n}.png", shape=(6, 6))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- train ------------------------------------------------------------------------------------------------------------


def test_train_writes_a_run_and_prints_it(capsys, folder):
    assert cli.main([*TRAIN, "--epochs", "1", "--out", "run"]) == 0
    out, err = capsys.readouterr()
    files = ["config.json", "history.csv", "metrics.json", "model.tips", "report.html"]
    assert sorted(path.name for path in (folder / "run").iterdir()) == files
    figures = json.loads((folder / "run" / "metrics.json").read_text())
    assert list(figures) == [
        "train_loss",
        "train_objective",
        "valid_loss",
        "valid_accuracy",
        "train_seconds",
        "n_parameters",
        "n_epochs",
        "n_steps",
        "test_loss",
        "test_accuracy",
    ]
    assert all(isinstance(value, int | float) and np.isfinite(value) for value in figures.values())
    assert "model and history: run" in out and "test_accuracy" in out
    assert "epoch 1/1" in err and "12 train, 4 valid, 6 test, in memory; task: classification" in err
    with open("run/history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1"] and float(rows[0]["valid_loss"]) == figures["valid_loss"]
    config = json.loads((folder / "run" / "config.json").read_text())
    assert (config["data"], config["seed"], config["n_epochs"]) == ("pets", 3, 1)
    assert config["n_steps"] == figures["n_steps"] == 2
    learn = load_learner("run/model.tips")
    assert list(learn.test_looks.values()) == [1]
    assert learn.dls.blocks[1].vocab.labels_ == ["cat", "dog"]


def test_the_figures_are_those_of_the_exported_model(capsys):
    """train_loss and test_loss as anybody can compute them from the artifact and the pictures."""
    assert cli.main([*TRAIN, "--epochs", "2", "--out", "run", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    learn = load_learner("run/model.tips")
    for part in N:
        made = learn.predict(f"pets/{part}")
        truth = ["cat" if f"{os.sep}cat{os.sep}" in path else "dog" for path in made.index]
        p = [row[f"p_{label}"] for label, (_, row) in zip(truth, made.iterrows(), strict=True)]
        assert figures[f"{part}_loss"] == pytest.approx(-np.log(p).mean(), abs=1e-3)  # bf16 against fp32
        if part != "train":
            assert figures[f"{part}_accuracy"] == pytest.approx((made["prediction"] == truth).mean())


def test_json_prints_exactly_metrics_json(capsys, folder):
    assert cli.main([*TRAIN, "--epochs", "1", "--size", "8", "--bs", "4", "--out", "run", "--json"]) == 0
    out, err = capsys.readouterr()
    assert out == (folder / "run" / "metrics.json").read_text() and "the model sees 8x8 pixels" in err
    assert json.loads(out)["n_steps"] == 3
    assert cli.main([*TRAIN, "--epochs", "1", "--out", "run", "--resume", "--json"]) == 0
    again, err = capsys.readouterr()
    assert again == out and "the run in run is complete" in err


def test_a_test_folder_elsewhere(capsys, folder):
    os.rename(folder / "pets" / "test", folder / "later")
    assert cli.main([*TRAIN, "--epochs", "1", "--test", "later", "--out", "run", "--json"]) == 0
    assert "test_loss" in json.loads(capsys.readouterr().out)


@pytest.fixture
def table(folder):
    rows = [(str(p.relative_to(folder / "pets")), p.parent.name) for p in sorted((folder / "pets/train").glob("*/*"))]
    frame = pd.DataFrame(rows, columns=["file", "kind"])
    frame.to_csv(folder / "pets" / "list.csv", index=False)
    frame.iloc[::3].to_csv(folder / "pets" / "new.csv", index=False)
    return frame


def test_a_table_that_names_pictures(table, capsys):
    command = ["train", "pets/list.csv", "--image", "file", "--target", "kind", "--test", "pets/new.csv"]
    assert cli.main([*command, "--epochs", "1", "--out", "run"]) == 0
    out, err = capsys.readouterr()
    assert "10 train, 2 valid, 4 test, in memory; task: classification" in err and "test_accuracy" in out
    assert load_learner("run/model.tips").dls.blocks[1].vocab.labels_ == ["cat", "dog"]


@pytest.mark.parametrize(
    "options, text",
    [
        (["pets/list.csv", "--image", "file"], "--target is not given; name one of the columns 'file', 'kind'"),
        (["pets/list.csv", "--image", "fil", "--target", "kind"], "no column 'fil'. Did you mean 'file'?"),
        (["pets", "--image", "file", "--target", "kind"], "pets is a folder; expected a table"),
        (["pets", "--target", "kind"], "--target is for tables, and pets holds pictures"),
        (
            ["pets/list.csv", "--image", "file", "--text", "kind"],
            "--text is for text, and pets/list.csv holds pictures",
        ),
    ],
)
def test_tables_of_pictures_that_are_refused(options, text, table, refused):
    assert text in refused("train", *options)


def test_a_table_whose_column_names_pictures_says_how_to_learn_from_them(table, capsys):
    assert cli.main(["check", "pets/list.csv", "--target", "kind"]) in (0, 1)
    assert "the column 'file' names pictures; to learn from what they show, add --image file" in capsys.readouterr().err


def test_minutes_are_kept_and_the_steps_stored(capsys):
    keeps_the_minutes(TRAIN, capsys)


@pytest.mark.parametrize("seconds, width", [(1e-6, None), (1e3, 32)], ids=["enough", "few"])
def test_where_minutes_are_few_the_network_is_narrower(monkeypatch, capsys, seconds, width):
    monkeypatch.setattr(face, "seconds_a_step", lambda learn, measuring: seconds)
    assert cli.main([*TRAIN, "--minutes", "0.02", "--out", "run"]) == 0
    err = capsys.readouterr().err
    assert ("a network of width 32, so that it sees each picture often enough" in err) == (width is not None)
    config = run_folder.read_json(Path("run", "config.json"))
    assert config["width"] == (width or defaults.WIDTH)  # kept, so that a run goes on with the same network
    assert load_learner("run/model.tips").model.body.n_features == 4 * config["width"]


def test_no_width_at_all_is_refused(capsys):
    assert cli.main([*TRAIN, "--minutes", "0.02", "--width", "0", "--out", "run"]) == 2
    assert "width" in capsys.readouterr().err


def test_a_width_of_ones_own_is_kept(monkeypatch, capsys):
    monkeypatch.setattr(face, "seconds_a_step", lambda learn, measuring: 1e3)
    assert cli.main([*TRAIN, "--minutes", "0.02", "--width", "48", "--out", "run"]) == 0
    assert load_learner("run/model.tips").model.body.n_features == 4 * 48
    assert cli.main([*TRAIN, "--arch", "resnet18", "--no-pretrained", "--width", "48", "--out", "again"]) == 2
    assert "'width' is for the built-in 'small_resnet', not for 'resnet18'" in capsys.readouterr().err


@given(st.floats(0, 1e4), st.floats(1, 4))
def test_more_time_never_makes_a_network_narrower(n_epochs, factor):
    widths = [defaults.width_within(n_epochs * f) for f in (1, factor)]
    assert defaults.NARROWEST <= widths[0] <= widths[1] <= defaults.WIDTH
    assert defaults.width_within(defaults.PASSES) == defaults.WIDTH


def test_ctrl_c_and_resume_end_in_the_very_same_weights(folder, capsys):
    command = [*TRAIN, "--epochs", "8", "--bs", "4", "--out", "run"]
    resumes_to_the_same_weights(command, capsys)


def test_pictures_that_cannot_be_read_are_said_once_and_the_run_goes_on(capsys, folder):
    (folder / "pets" / "train" / "cat" / "bad.jpg").write_bytes(b"<html>")
    assert cli.main([*TRAIN, "--epochs", "1", "--out", "run"]) == 0
    err = capsys.readouterr().err
    assert err.count("1 of 23 pictures cannot be read and were left out") == 1
    assert "bad.jpg: this is no picture but a web page" in err


def test_weights_come_from_a_file(capsys, folder):
    torch.manual_seed(1)
    body = SmallResNet(3, 6)
    torch.save(body.state_dict(), folder / "w.pth")
    how = ["--arch", "small_resnet", "--weights", "w.pth"]
    assert cli.main([*TRAIN, *how, "--epochs", "1", "--out", "run"]) == 0
    capsys.readouterr()
    first = load_learner("run/model.tips").model.body[0][0]
    assert torch.equal(first.weight, body[0][0].weight)  # it is not trained, and fitted to pictures only from scratch
    assert cli.main([*TRAIN, *how[:3], "v.pth", "--out", "again"]) == 2
    assert "there is no file of weights 'v.pth'" in capsys.readouterr().err


# --- predict ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tree(path / "pets", "cat/*4.jpg", "dog/*4.jpg", shape=(6, 6))
    learn = vision_learner(ImageDataLoaders.from_folder(path / "pets", bs=4), width=8, seed=0, device="cpu")
    learn.fit(1, progress=False)
    learn.export(path / "model.tips")
    return path / "model.tips"


def test_predict_on_standard_output_and_to_a_file(model, capsys, folder):
    assert cli.main(["predict", str(model), "pets/test"]) == 0
    out, err = capsys.readouterr()
    assert cli.main(["predict", str(model), "pets/test", "--out", "made.csv"]) == 0
    nothing, said = capsys.readouterr()
    assert err == "" and nothing == "" and "6 rows with predictions: made.csv" in said
    assert (folder / "made.csv").read_text() == out
    made = pd.read_csv("made.csv")
    assert made.columns.tolist() == ["path", "prediction", "p_cat", "p_dog"]
    assert made["path"].tolist() == [
        f"pets/test/{c}/{i}.{e}" for c, e in (("cat", "jpg"), ("dog", "png")) for i in range(3)
    ]
    np.testing.assert_allclose(made["p_cat"] + made["p_dog"], 1, atol=1e-5)
    assert (made["prediction"] == np.where(made["p_cat"] > 0.5, "cat", "dog")).all()
    assert cli.main(["predict", str(model), "pets/test/dog/1.png"]) == 0
    one = pd.read_csv(folder / "made.csv").iloc[4]
    assert capsys.readouterr().out.splitlines()[1].startswith(f"{one['path']},{one['prediction']},")


def test_predict_by_several_views(model, capsys, folder):
    """--tta is what predict(tta=True) gives."""
    assert cli.main(["predict", str(model), "pets/test", "--tta"]) == 0
    made = pd.read_csv(io.StringIO(capsys.readouterr().out))
    learn = load_learner(model)
    np.testing.assert_allclose(made["p_cat"], learn.predict("pets/test", tta=True)["p_cat"], atol=1e-6)
    assert np.abs(made["p_cat"].to_numpy() - learn.predict("pets/test")["p_cat"].to_numpy()).max() > 1e-5


def test_predict_with_a_corrupt_picture(model, capsys, folder):
    (folder / "pets" / "test" / "cat" / "1.jpg").write_bytes(b"no picture")
    assert cli.main(["predict", str(model), "pets/test", "--out", "made.csv"]) == 0
    err = capsys.readouterr().err
    assert "1 of 6 pictures cannot be read and have no prediction" in err and "Traceback" not in err
    made = pd.read_csv("made.csv")
    assert made.columns.tolist() == ["path", "prediction", "p_cat", "p_dog", "problem"]
    assert (
        made["prediction"].isna().tolist() == [False, True, False, False, False, False] == made["p_cat"].isna().tolist()
    )
    assert made["problem"][1].startswith("this is no picture but text") and made["problem"].isna().sum() == 5


def test_a_reader_who_goes_is_no_error(model, folder):
    """As `tipsai predict ... | head` does, of more output than a pipe holds."""
    data = encoded(smooth(6, 6))
    os.mkdir("many")
    for i in range(1000):
        (folder / "many" / f"{'long-name-' * 8}{i}.png").write_bytes(data)
    reading, writing = os.pipe()
    done = process("predict", str(model), "many", stdout=writing)
    os.close(writing)
    os.close(reading)
    _, err = done.communicate(timeout=60)
    assert (done.returncode, err) == (0, "")


def scene(path, height, width, mask):
    write(path / "images" / "a b" / f"{len(list(path.rglob('*.jpg')))}.jpg", (height, width))
    name = f"{len(list(path.rglob('*.jpg'))) - 1}.png"
    (path / "masks" / "a b").mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path / "masks" / "a b" / name)


def test_masks(capsys, folder):
    """A table holds the shares of the classes; a folder takes the masks, in the pictures' names, sizes and values."""
    for i in range(6):
        height, width = [(12, 16), (16, 12)][i % 2]
        mask = np.full((height, width), 3, np.uint8)
        mask[: height // 2] = 200
        scene(folder / "scenes", height, width, mask)
    command = ["train", "scenes", "--epochs", "1", "--seed", "1", "--out", "run", "--json"]
    assert cli.main(command) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {"valid_loss", "valid_iou", "valid_dice", "valid_accuracy"} <= figures.keys()
    (folder / "scenes" / "images" / "a b" / "3.jpg").write_bytes(b"")
    write(folder / "scenes" / "images" / "a b" / "0.png", (5, 7))  # beside 0.jpg
    assert cli.main(["predict", "run/model.tips", "scenes/images"]) == 0
    out, _ = capsys.readouterr()
    assert out.splitlines()[0] == "path,share_3,share_200,problem" and len(out.splitlines()) == 8
    assert cli.main(["predict", "run/model.tips", "scenes/images", "--out", "masks"]) == 0
    nothing, err = capsys.readouterr()
    assert nothing == "" and "7 rows with predictions: masks/predictions.csv" in err
    assert (folder / "masks" / "predictions.csv").read_text() == out
    made = pd.read_csv("masks/predictions.csv")
    names = sorted(os.path.relpath(path, "masks") for path in (folder / "masks").rglob("*.png"))
    assert names == [f"a b/{name}.png" for name in ("0.jpg", "0.png", "1", "2", "4", "5")]
    for name, path in zip(names, made.dropna(subset="share_3")["path"], strict=True):
        values, found = read_mask(folder / "masks" / name).numpy(), probe(path)
        assert values.shape == (found.height, found.width)
        assert set(np.unique(values)) <= {3, 200}
        row = made.set_index("path").loc[path]
        assert (values == 3).mean() == pytest.approx(
            row["share_3"], abs=0.15
        )  # shares are those of what the model sees
    assert cli.main(["predict", "run/model.tips", "scenes/images", "--out", "masks"]) == 2
    assert "--out masks is there already and is no empty folder" in capsys.readouterr().err
    assert cli.main(["predict", "run/model.tips", "scenes/images/a b/1.jpg", "--out", "one"]) == 0
    assert sorted(path.name for path in (folder / "one").iterdir()) == ["1.png", "predictions.csv"]


def test_masks_of_many_values(folder, capsys):
    """Values above 255 need a PNG of 16 bits."""
    for _ in range(4):
        mask = np.full((8, 8), 1000, np.uint16)
        mask[:4] = 7
        scene(folder / "scenes", 8, 8, mask)
    assert cli.main(["train", "scenes", "--epochs", "1", "--seed", "1", "--out", "run"]) == 0
    assert cli.main(["predict", "run/model.tips", "scenes/images", "--out", "masks"]) == 0
    found = {int(v) for path in (folder / "masks").rglob("*.png") for v in np.unique(read_mask(path))}
    assert found <= {7, 1000} and found


def test_points(folder, capsys):
    """x and y in pixels of each picture."""
    rows = []
    for i in range(6):
        write(folder / "faces" / f"{i}.png", (20, 30 + i))
        rows.append({"file": f"{i}.png", "eye_x": 10.0 + i, "eye_y": 4.0})
    dls = ImageDataLoaders.from_df(pd.DataFrame(rows), "file", ["eye_x", "eye_y"], root="faces", task="points", size=10)
    learn = vision_learner(dls, width=8, seed=0, device="cpu")
    torch.nn.init.zeros_(learn.model.head[-1].weight)
    learn.model.head[-1].bias.data = torch.tensor([0.0, -0.6])
    learn.export("m.tips")
    assert cli.main(["predict", "m.tips", "faces", "--out", "made.csv"]) == 0
    made = pd.read_csv("made.csv")
    assert made.columns.tolist() == ["path", "eye_x", "eye_y"]
    np.testing.assert_allclose(made["eye_x"], [15 + i / 2 for i in range(6)], atol=1e-4)
    np.testing.assert_allclose(made["eye_y"], 4, atol=1e-4)
