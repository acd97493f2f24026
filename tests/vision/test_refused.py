"""Pictures that cannot be learned from: one clear message and exit status 2, a typed error from Python, nothing written."""

import os
import pathlib

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from pictures import tree, write
from PIL import Image

from tipsai import load_learner
from tipsai.core.errors import ArtifactError, DataError, SettingError, TipsaiError
from tipsai.tabular import TabularDataLoaders, tabular_learner
from tipsai.vision import Augmentation, ImageDataLoaders, vision_learner

SMALL = {"width": 8, "seed": 0, "device": "cpu"}
CPU = torch.device("cpu")


def says(message, text):
    assert all(part in message for part in text.split("*")), message


@pytest.fixture
def pets(tmp_path):
    return tree(tmp_path / "pets", "cat/*4.png", "dog/*4.png", shape=(8, 8))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of pictures; and one of a table."""
    folder = tmp_path_factory.mktemp("models")
    x, y = np.zeros((8, 8, 8, 3), np.uint8), list("abababab")
    learn = vision_learner(ImageDataLoaders.from_arrays((x, y), 0.0, bs=4), **SMALL)
    learn.fit(1, progress=False)
    learn.export(folder / "pictures.tips")
    frame = pd.DataFrame({"a": range(8), "y": y})
    table = tabular_learner(TabularDataLoaders.from_df(frame, "y", valid=0.25), n_members=1, width=8, seed=0)
    table.fit(1, progress=False)
    table.export(folder / "table.tips")
    return folder


FOLDERS = {
    "empty": ([], "is empty. Expected pictures: *.jpg"),
    "only another file": (["!notes.doc"], "holds no pictures, but 1 file (1 .doc)"),
    "one class": (["cat/*3.png"], "the same label, 'cat'; expected at least two classes"),
    "one class and another without pictures": (["cat/*3.png", "!dog/text.txt"], "expected at least two classes"),
    "no classes": (["*3.png"], "without labels; expected a folder for each class"),
    "a class that train lacks": (
        ["train/cat/*3.png", "train/dog/*3.png", "valid/cat/*1.png", "valid/dgo/*1.png"],
        "valid has pictures of 'dgo', of which train has none. Did you mean 'dog'?",
    ),
    "no part to train on": (["valid/cat/*3.png", "valid/dog/*3.png"], "none in 'train'"),
    "nothing readable": (
        ["!a/1.jpg", "!b/2.jpg"],
        "none of the pictures can be read. *1.jpg: this is no picture but text",
    ),
    "one picture": (["a/1.jpg", "!b/2.jpg"], "expected at least*2"),
    "one class readable": (
        ["a/*3.jpg", "!b/2.jpg"],
        "all pictures are of the class 'a'; expected at least two classes",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(name, refused, tmp_path):
    names, text = FOLDERS[name]
    root = tmp_path / "data"
    root.mkdir()
    tree(root, *(n for n in names if n[0] != "!"), shape=(8, 8))
    for n in names:
        if n[0] == "!":
            (root / n[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / n[1:]).write_text("hello")
    message = refused("train", "data", "--out", "run")
    with pytest.raises(DataError) as error:
        ImageDataLoaders.from_folder("data")
    says(message, text)
    says(str(error.value), text)


def test_no_folder_and_a_file_in_its_place(refused, pets, tmp_path):
    says(refused("train", "pest"), "there is no folder pest. Did you mean 'pets'?")
    with pytest.raises(DataError, match="there is no folder pest. Did you mean 'pets'?"):
        ImageDataLoaders.from_folder("pest")
    message = refused("train", pets / "cat" / "0.png")
    says(message, "0.png is a single picture; expected a folder of pictures, a table, or text")
    with pytest.raises(DataError, match="is a file; expected a folder of pictures"):
        ImageDataLoaders.from_folder(pets / "cat" / "0.png")
    message = refused("train", "pets", "--test", pets / "cat" / "0.png", "--out", "run")
    says(message, "0.png is a file; expected a folder of pictures")
    says(refused("train", "pets", "--test", "nowhere", "--out", "run"), "there is no folder nowhere")


OPTIONS = {
    "target": (["--target", "y"], "--target is for tables, and pets holds pictures; leave it out"),
    "kind": (["--kind", "a=number"], "--kind is for tables"),
    "arch": (["--arch", "resnet81"], "there is no backbone 'resnet81'. Did you mean 'resnet18'?"),
    "size 0": (["--size", "0"], "size is 0; expected pixels"),
    "size -3": (["--size", "-3"], "size is -3; expected pixels"),
    "bs 0": (["--bs", "0"], "bs is 0; expected a whole number"),
    "epochs 0": (["--epochs", "0"], "--epochs is 0.0; it must be above 0"),
    "regression": (["--task", "regression"], "task is 'regression', and pets holds a folder for each class"),
    "multilabel": (["--task", "multilabel"], "task is 'multilabel', and pets holds a folder for each class"),
    "segmentation": (["--task", "segmentation"], "task is 'segmentation', and pets holds a folder for each class"),
    "device": (["--device", "tpu9"], "device 'tpu9' is not on this machine"),
    "weights": (["--arch", "small_resnet", "--pretrained"], "has no weights"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name, refused, pets):
    options, text = OPTIONS[name]
    says(refused("train", "pets", *options, "--out", "run"), text)


def test_options_of_pictures_with_a_table(refused, tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,u\n2,v\n")
    for option in (["--size", "8"], ["--arch", "resnet18"], ["--no-pretrained"]):
        says(
            refused("train", "t.csv", "--target", "y", *option), f"{option[0].replace('no-', '')} is for pictures*t.csv"
        )


def test_a_folder_that_holds_a_run(refused, pets, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    says(
        refused("train", "pets", "--out", "run"),
        "run already holds a run (config.json). Give another --out, or --resume",
    )
    says(
        refused("train", "pets", "--out", "pets.tips"),
        "--out pets.tips is a model's name; give a folder, such as pets:",
    )


@pytest.mark.parametrize(
    "option,text",
    [
        ({"size": 0}, "size is 0"),
        ({"size": (8, -1)}, "expected pixels"),
        ({"size": 16.5}, "size is 16.5; expected pixels"),
        ({"bs": 0}, "bs is 0"),
        ({"channels": 0}, "channels is 0; expected 1 (grey), 3 (RGB) or 4 (RGBA)"),
        ({"channels": 2}, "channels is 2"),
        ({"view": "stretch"}, "view is 'stretch'; expected 'crop', 'squish' or 'pad'"),
        ({"valid": 1.5}, "expected shares"),
        ({"valid": [1, 2]}, "expected shares"),
        ({"n_workers": -1, "cache": False}, "n_workers is -1"),
        ({"task": "clasification"}, "Did you mean 'classification'?"),
        ({"task": "points"}, "holds a folder for each class"),
        ({"values": [0, 1]}, "are for masks"),
        ({"sizes": 16}, "there is no option 'sizes'. Did you mean 'size'?"),
        ({"batch_size": 16}, "Expected one of size, bs, seed, aug, "),
    ],
)
def test_settings(option, text, pets):
    with pytest.raises(SettingError) as error:
        ImageDataLoaders.from_folder(pets, **option)
    assert text in str(error.value)


def test_what_is_no_architecture(pets):
    dls = ImageDataLoaders.from_folder(pets)
    for given in (torch.nn.Linear, len):
        with pytest.raises(SettingError, match=f"Build it first: {given.__name__}\\(...\\)"):
            vision_learner(dls, given, seed=0)
    with pytest.raises(SettingError, match="arch is 18; expected a backbone's name"):
        vision_learner(dls, 18, seed=0)
    learn = vision_learner(dls, torchvision.models.resnet18, pretrained=False, seed=0)
    assert learn.model.arguments["arch"] == "resnet18"


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_alphas_that_are_no_numbers(name, pets):
    with pytest.raises(SettingError, match="alpha is 'yes'; it must be a number"):
        vision_learner(ImageDataLoaders.from_folder(pets), seed=0, **{name: "yes"})


def test_an_architecture_that_does_not_exist(pets):
    with pytest.raises(SettingError, match="there is no backbone 'resnet81'. Did you mean 'resnet18'?"):
        vision_learner(ImageDataLoaders.from_folder(pets), "resnet81", seed=0)


# --- masks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path):
    for i in range(6):
        write(tmp_path / "scenes" / "images" / f"{i}.jpg", (8, 10))
        (tmp_path / "scenes" / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.arange(80, dtype=np.uint8).reshape(8, 10) % 2).save(
            tmp_path / "scenes" / "masks" / f"{i}.png"
        )
    return tmp_path / "scenes"


def test_a_mask_of_another_size(refused, scenes):
    Image.fromarray(np.zeros((10, 8), np.uint8)).save(scenes / "masks" / "3.png")
    text = "1 of 6 masks looked at have another size than their picture: *3.jpg has 8 x 10 pixels, its mask 10 x 8"
    says(refused("train", "scenes", "--out", "run"), text)
    with pytest.raises(DataError) as error:
        ImageDataLoaders.from_folder(scenes)
    says(str(error.value), text)


def test_a_picture_without_a_mask(refused, scenes):
    os.remove(scenes / "masks" / "3.png")
    says(refused("train", "scenes", "--out", "run"), "1 of 6 pictures in scenes have no mask ('3'). Both need")


def test_a_task_that_masks_are_not(refused, scenes):
    says(refused("train", "scenes", "--task", "classification"), "task is 'classification', and scenes holds masks")


def test_masks_with_values_that_are_no_class(scenes):
    """From memory it is said at once; else when the mask is read, and by one message as well."""
    Image.fromarray(np.full((8, 10), 7, np.uint8)).save(scenes / "masks" / "3.png")
    text = "masks/3.png holds the values [7], and the classes are [0, 1]"
    with pytest.raises(DataError) as error:
        ImageDataLoaders.from_folder(scenes, values=[0, 1], valid=0.0)
    says(str(error.value), text)
    dls = ImageDataLoaders.from_folder(scenes, values=[0, 1], valid=0.0, cache=False, n_workers=1, bs=3)
    with pytest.raises(DataError) as error:
        list(dls.feed("train", CPU).batches())
    says(str(error.value), text)
    assert "Traceback" not in str(error.value)


def test_masks_of_one_value(refused, scenes):
    for path in (scenes / "masks").iterdir():
        Image.fromarray(np.zeros((8, 10), np.uint8)).save(path)
    says(refused("train", "scenes"), "the masks hold the classes [0] only; expected at least 2")


# --- tables of paths --------------------------------------------------------------------------------------------------


def test_files_of_a_table_that_are_missing(pets, tmp_path):
    names = [f"cat/{i}.png" for i in range(4)] + ["dog/0.png", "dog/8.png", "dog/9.png"]
    pd.DataFrame({"file": names, "kind": list("aaabbbb")}).to_csv(pets / "list.csv", index=False)
    with pytest.raises(DataError) as error:
        ImageDataLoaders.from_csv(pets / "list.csv", "file", "kind")
    says(str(error.value), "2 of 7 files of the column 'file' are missing*'dog/8.png', 'dog/9.png'. Did you mean 'dog/")


def test_words_in_place_of_numbers(pets):
    frame = pd.DataFrame(
        {"file": ["cat/0.png", "cat/1.png", "dog/0.png"], "kind": ["a", "b", "a"], "other": list("xyx")}
    )
    for target, task in (("kind", "regression"), (["kind", "other"], "points")):
        with pytest.raises(TipsaiError, match="words"):
            ImageDataLoaders.from_df(frame, "file", target, root=pets, task=task)


# --- predicting -------------------------------------------------------------------------------------------------------


def test_a_model_of_the_other_kind(refused, pets, model, tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,u\n2,v\n")
    says(refused("predict", model / "table.tips", "pets"), "pets is a folder; expected a table")
    says(refused("predict", model / "table.tips", "pets/cat/0.png"), "0.png is no table that can be read")
    says(
        refused("predict", model / "pictures.tips", "t.csv"), "t.csv: this is no picture but text. Expected one of JPEG"
    )


@pytest.mark.parametrize(
    "given,text",
    [
        ("nowhere", "there is no file or folder nowhere"),
        ("hollow", "hollow is empty. Expected pictures"),
        ("broken", "none of the 2 pictures can be read; broken/0.png: the file is empty"),
    ],
)
@pytest.mark.parametrize("out", [[], ["--out", "made.csv"]])
def test_nothing_to_predict(given, text, out, refused, model, tmp_path):
    (tmp_path / "hollow").mkdir()
    (tmp_path / "broken").mkdir()
    for i in range(2):
        (tmp_path / "broken" / f"{i}.png").write_bytes(b"")
    says(refused("predict", model / "pictures.tips", given, *out), text)
    with pytest.raises(DataError) as error:
        load_learner(model / "pictures.tips").predict(given)
    says(str(error.value), text)


def test_a_damaged_artifact(refused, pets, model, tmp_path):
    data = (model / "pictures.tips").read_bytes()
    for name, content, text in (
        ("cut", data[: len(data) // 2], "truncated"),
        ("changed", data[:3000] + bytes([data[3000] ^ 1]) + data[3001:], "changed"),
        ("other", b"hello", "is no artifact"),
    ):
        (tmp_path / f"{name}.tips").write_bytes(content)
        says(refused("predict", f"{name}.tips", "pets"), f"{name}.tips*{text}")
        with pytest.raises(ArtifactError, match=text):
            load_learner(f"{name}.tips")


def test_outputs(refused, pets, model):
    says(refused("predict", model / "pictures.tips", "pets", "--out", "made.xlsx"), "expected a name that ends in .csv")
    says(
        refused("predict", model / "pictures.tips", "pets", "--out", "made"),
        "expected a name that ends in .csv. A folder takes masks, and these are none",
    )


def test_a_picture_that_becomes_unreadable(pets):
    """Between construction and the epoch: one error that names it, whoever decodes, and from the model's side as well."""
    for n_workers in (0, 1):
        dls = ImageDataLoaders.from_folder(
            pets, cache=False, n_workers=n_workers, valid=0.25, bs=4, aug=Augmentation.small()
        )
        learn = vision_learner(dls, **SMALL)
        path = pathlib.Path(dls.items["train"][2])
        whole = path.read_bytes()
        path.write_bytes(whole[:40])
        with pytest.raises(DataError) as error:
            learn.fit(1, progress=False)
        says(str(error.value), f"{path}: ")
        assert "Traceback" not in str(error.value) and "worker" not in str(error.value)
        with pytest.raises(DataError, match=path.name):
            learn.interpret("train")
        path.unlink()
        with pytest.raises(DataError, match="there is no such file"):
            learn.results()
        path.write_bytes(whole)
