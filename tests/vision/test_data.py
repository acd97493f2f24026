"""ImageDataLoaders: from folders, tables, functions and arrays to batches; and what they say of bad pictures."""

import logging
import os
import pathlib

import numpy as np
import pandas as pd
import pytest
import torch
from pictures import smooth, tree, write
from PIL import Image

from tipsai.core.errors import DataError, SettingError
from tipsai.vision import Augmentation, ImageDataLoaders, MaskBlock, PointBlock

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def told(caplog):
    caplog.set_level(logging.INFO, logger="tipsai")
    return caplog


def first(dls, part="train"):
    return next(iter(dls.feed(part, CPU).batches()))


@pytest.fixture
def pets(tmp_path):
    return tree(tmp_path / "pets", "cat/*6.jpg", "dog/*6.png", shape=(20, 24))


def test_a_folder_for_each_class(pets, told):
    dls = ImageDataLoaders.from_folder(pets, bs=4)
    assert dls.task == "classification" and dls.blocks[1].vocab.labels_ == ["cat", "dog"]
    assert (dls.train.n_items, dls.valid.n_items) == (10, 2)
    batch = first(dls)
    assert batch.x[0].shape == (4, 3, 20, 24) and batch.x[0].dtype == torch.float32
    assert batch.y[0].dtype == torch.int64
    assert "10 train, 2 valid, in memory; task: classification; the model sees 20x24 pixels, 3 channels" in told.text


def test_every_class_validates_in_proportion(tmp_path):
    tree(tmp_path, "a/*20.png", "b/*10.png")
    dls = ImageDataLoaders.from_folder(tmp_path, valid=0.2)
    targets = dls.targets["valid"]
    assert (targets.count("a"), targets.count("b")) == (4, 2)


def test_parts_are_taken_as_they_lie(tmp_path):
    tree(tmp_path, "train/a/*4.png", "train/b/*4.png", "val/a/*2.png", "val/b/*1.png", "test/a/*1.png", "test/b/*2.png")
    dls = ImageDataLoaders.from_folder(tmp_path)
    assert (dls.train.n_items, dls.valid.n_items, dls.test.n_items) == (8, 3, 3)


def test_a_test_folder_is_never_validation(tmp_path):
    tree(tmp_path, "train/a/*5.png", "train/b/*5.png", "test/a/*3.png", "test/b/*3.png")
    dls = ImageDataLoaders.from_folder(tmp_path)
    assert (dls.train.n_items, dls.valid.n_items, dls.test.n_items) == (8, 2, 6)
    assert all("/train/" in path for path in dls.items["valid"])


def test_a_test_folder_elsewhere(pets, tmp_path):
    tree(tmp_path / "more", "cat/*2.png", "dog/*2.png", shape=(20, 24))
    assert ImageDataLoaders.from_folder(pets, test=tmp_path / "more").test.n_items == 4
    tree(pets, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png")
    with pytest.raises(SettingError, match="has a test folder of its own"):
        ImageDataLoaders.from_folder(pets, test=tmp_path / "more")


def test_the_split_follows_the_seed(pets):
    seen = [ImageDataLoaders.from_folder(pets, seed=seed).items["valid"] for seed in (1, 1, 2, 3, 4)]
    assert seen[0] == seen[1] and any(other != seen[0] for other in seen[2:])


@pytest.mark.parametrize("cache", [True, False])
def test_pictures_of_many_sizes_come_to_one(cache, tmp_path):
    for i, shape in enumerate([(30, 40), (40, 30), (100, 20), (25, 25), (64, 80), (33, 31)]):
        write(tmp_path / "ab"[i % 2] / f"{i}.png", shape)
    dls = ImageDataLoaders.from_folder(tmp_path, size=32, valid=0.34, cache=cache, n_workers=0, bs=4)
    assert first(dls).x[0].shape == (4, 3, 32, 32)
    assert first(dls, "valid").x[0].shape[1:] == (3, 32, 32)


def test_memory_and_disk_give_the_same_batches(pets):
    made = [ImageDataLoaders.from_folder(pets, cache=cache, n_workers=0, bs=4) for cache in (True, False)]
    for one, other in zip(*(dls.feed("train", CPU).batches(seed=3, epoch=2) for dls in made), strict=True):
        assert torch.equal(one.y[0], other.y[0])
        assert torch.equal(one.x[0], other.x[0])
    assert torch.equal(first(made[0], "valid").x[0], first(made[1], "valid").x[0])


def test_workers_give_the_same_batches(pets):
    made = [ImageDataLoaders.from_folder(pets, cache=False, n_workers=n, bs=4) for n in (0, 2)]
    batches = [list(dls.feed("train", CPU).batches(seed=3)) for dls in made]
    assert all(torch.equal(a.x[0], b.x[0]) for a, b in zip(*batches, strict=True))


def test_what_cannot_be_read_is_left_out_and_said(pets, told):
    (pets / "cat" / "bad.jpg").write_bytes(b"not a picture")
    (pets / "dog" / "short.jpg").write_bytes((pets / "cat" / "0.jpg").read_bytes()[:-120])
    (pets / "dog" / "empty.png").write_bytes(b"")
    for cache in (True, False):
        dls = ImageDataLoaders.from_folder(pets, cache=cache, n_workers=0)
        assert dls.train.n_items + dls.valid.n_items == 12
        (found,) = dls.findings
        assert found.severity == "warning" and "3 of 15 pictures cannot be read" in found.message
        assert {os.path.basename(path) for path in found.evidence} == {"bad.jpg", "short.jpg", "empty.png"}
        assert "bad.jpg" in told.text
        sum(batch.n_rows for batch in dls.feed("train", CPU).batches())


def test_nothing_readable_is_refused(tmp_path):
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"text")
    with pytest.raises(DataError, match="none of the pictures can be read"):
        ImageDataLoaders.from_folder(tmp_path)


@pytest.mark.parametrize(
    "names,message",
    [
        ([], "is empty"),
        (["a/*3.png"], "at least two classes"),
        (["*3.png"], "without labels"),
    ],
)
def test_folders_that_cannot_be_learned_from_are_refused(names, message, tmp_path):
    tree(tmp_path, *names)
    with pytest.raises(DataError, match=message):
        ImageDataLoaders.from_folder(tmp_path)


def test_training_is_augmented_and_validation_is_not(pets):
    dls = ImageDataLoaders.from_folder(pets, size=16, aug=Augmentation(), bs=6)
    feed = dls.feed("train", CPU)
    once, again, other = (
        torch.cat([b.x[0] for b in feed.batches(seed=1, epoch=epoch)]).sum((1, 2, 3)).sort().values
        for epoch in (0, 0, 1)
    )
    assert torch.equal(once, again) and not torch.allclose(once, other)
    assert torch.equal(first(dls, "valid").x[0], first(dls, "valid").x[0])


def test_no_augmentation(pets):
    dls = ImageDataLoaders.from_folder(pets, aug=None, bs=6)
    block, rows = dls.blocks[0], dls.train.rows
    plain = rows.take(torch.arange(6)).x[0].float() / 255
    expected = (plain - torch.tensor(block.mean)[:, None, None]) / torch.tensor(block.std)[:, None, None]
    seen = dls.batch_tfms[0](rows.take(torch.arange(6)), None).x[0]
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=1e-5)


def test_an_unknown_augmentation_is_refused(pets):
    with pytest.raises(SettingError, match="aug is 'strong'"):
        ImageDataLoaders.from_folder(pets, aug="strong")


def test_inputs_are_normalised_by_the_training_pictures(pets):
    dls = ImageDataLoaders.from_folder(pets, aug=None, bs=10)
    seen = dls.batch_tfms[0](dls.train.rows.take(slice(0, 10)), None).x[0]
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_statistics_of_a_backbone_take_their_place(pets):
    dls = ImageDataLoaders.from_folder(pets, aug=None, bs=10)
    other = dls.normalized([0.0] * 3, [1.0] * 3)
    seen = other.batch_tfms[0](other.train.rows.take(slice(0, 4)), None).x[0]
    torch.testing.assert_close(seen, other.train.rows.take(slice(0, 4)).x[0] / 255, atol=1e-5, rtol=1e-5)
    assert dls.blocks[0].mean != [0.0] * 3


@pytest.mark.parametrize("cache", [True, False])
def test_another_size_of_the_same_pictures(pets, cache):
    dls = ImageDataLoaders.from_folder(pets, size=16, cache=cache, n_workers=0, bs=4)
    larger = dls.resized(20, bs=2)
    assert first(larger).x[0].shape == (2, 3, 20, 20) and first(dls).x[0].shape == (4, 3, 16, 16)
    assert larger.items == dls.items
    with pytest.raises(SettingError, match="expected pixels"):
        dls.resized(0)


def test_grey_pictures_have_one_channel(tmp_path):
    for i in range(6):
        path = tmp_path / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(smooth(9, 9, 1, seed=i)).save(path)
    assert first(ImageDataLoaders.from_folder(tmp_path)).x[0].shape[1:] == (1, 9, 9)
    assert first(ImageDataLoaders.from_folder(tmp_path, channels=3)).x[0].shape[1:] == (3, 9, 9)
    write(tmp_path / "a" / "colour.png", (9, 9))
    assert first(ImageDataLoaders.from_folder(tmp_path)).x[0].shape[1:] == (3, 9, 9)


# --- tables and functions ---------------------------------------------------------------------------------------------


@pytest.fixture
def listed(tmp_path):
    tree(tmp_path, "p/*8.jpg", shape=(20, 30))
    frame = pd.DataFrame({"file": [f"p/{i}.jpg" for i in range(8)], "kind": list("aabbaabb")})
    frame["size"] = np.linspace(0.5, 4, 8)
    frame["tags"] = ["x y", "x", "y", "", "x y", "x", "y", ""]
    frame["nose_x"], frame["nose_y"] = 15.0, 5.0
    frame["part"] = ["train"] * 5 + ["valid"] * 2 + ["test"]
    return frame, tmp_path


def test_a_table_of_classes(listed):
    frame, root = listed
    dls = ImageDataLoaders.from_df(frame, "file", "kind", root=root, part="part")
    assert dls.task == "classification"
    assert (dls.train.n_items, dls.valid.n_items, dls.test.n_items) == (5, 2, 1)


def test_a_csv_file_beside_its_pictures(listed):
    frame, root = listed
    frame.to_csv(root / "list.csv", index=False)
    assert ImageDataLoaders.from_csv(root / "list.csv", "file", "kind").train.n_items == 6


def test_several_labels(listed):
    frame, root = listed
    dls = ImageDataLoaders.from_df(frame, "file", "tags", root=root, label_delim=" ")
    assert dls.task == "multilabel" and dls.blocks[1].vocab.labels_ == ["x", "y"]
    assert first(dls).y[0].dtype == torch.bool


def test_numbers(listed):
    frame, root = listed
    dls = ImageDataLoaders.from_df(frame, "file", "size", root=root)
    assert dls.task == "regression" and dls.blocks[1].n_out == 1
    dls = ImageDataLoaders.from_df(frame, "file", ["size", "nose_x"], root=root)
    assert dls.task == "regression" and dls.blocks[1].n_out == 2


def test_points_go_where_the_picture_goes(listed):
    frame, root = listed
    dls = ImageDataLoaders.from_df(
        frame, "file", ["nose_x", "nose_y"], root=root, task="points", size=(20, 30), aug=Augmentation(flip=1.0)
    )
    assert isinstance(dls.blocks[1], PointBlock) and dls.blocks[1].names == ("nose",)
    torch.testing.assert_close(first(dls, "valid").y[0][0], torch.tensor([0.0, -0.5]))
    assert first(dls).y[0].shape[1:] == (2,)
    only_flip = Augmentation.small(flip=1.0, translate=0.0)
    frame["nose_x"] = 6.0
    dls = ImageDataLoaders.from_df(
        frame, "file", ["nose_x", "nose_y"], root=root, task="points", size=(20, 30), aug=only_flip
    )
    torch.testing.assert_close(first(dls).y[0][0], torch.tensor([0.6, -0.5]))


def test_points_need_pairs_of_columns(listed):
    frame, root = listed
    with pytest.raises(SettingError, match="x and y"):
        ImageDataLoaders.from_df(frame, "file", ["nose_x"], root=root, task="points")


def test_missing_files_are_listed(listed):
    frame, root = listed
    frame.loc[2, "file"] = "p/99.jpg"
    with pytest.raises(DataError, match=r"99\.jpg"):
        ImageDataLoaders.from_df(frame, "file", "kind", root=root)


def test_a_labelling_function_and_an_expression(tmp_path):
    tree(tmp_path, "cat_0.jpg", "cat_1.jpg", "dog_0.jpg", "dog_1.jpg", "dog_2.jpg")
    by_function = ImageDataLoaders.from_function(tmp_path, lambda path: path.name.split("_")[0])
    by_expression = ImageDataLoaders.from_function(tmp_path, r"^(\w+)_\d")
    for dls in (by_function, by_expression):
        assert dls.blocks[1].vocab.labels_ == ["cat", "dog"]


def test_an_unknown_task_is_refused(pets):
    with pytest.raises(SettingError, match="Did you mean 'segmentation'"):
        ImageDataLoaders.from_folder(pets, task="segmentaton")


# --- masks --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path):
    for i in range(6):
        write(tmp_path / "images" / f"{i}.jpg", (24, 32))
        mask = np.zeros((24, 32), np.uint8)
        mask[:, :10], mask[0, 0] = 1, 255
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("cache", [True, False])
def test_masks_follow_their_pictures(scenes, cache):
    only_flip = Augmentation.small(flip=1.0, translate=0.0)
    dls = ImageDataLoaders.from_folder(
        scenes, ignore=255, names=["ground", "wall"], aug=only_flip, cache=cache, n_workers=0
    )
    assert dls.task == "segmentation" and isinstance(dls.blocks[1], MaskBlock) and dls.blocks[1].n_out == 2
    batch = first(dls)
    assert batch.x[0].shape[2:] == batch.y[0].shape[1:] == (24, 32) and batch.y[0].dtype == torch.int64
    assert batch.y[0][0, 5].tolist() == [0] * 22 + [1] * 10
    assert int(batch.y[0][0, 0, -1]) == -100
    assert first(dls, "valid").y[0][0, 5].tolist() == [1] * 10 + [0] * 22


def test_values_outside_the_classes_are_refused(scenes):
    with pytest.raises(DataError, match=r"holds the values \[255\]"):
        ImageDataLoaders.from_folder(scenes, values=[0, 1])


def test_a_table_or_a_function_names_masks_and_their_values(scenes):
    names = sorted(path.name for path in (scenes / "images").iterdir())
    frame = pd.DataFrame(
        {"im": [f"images/{n}" for n in names], "mask": [f"masks/{pathlib.Path(n).stem}.png" for n in names]}
    )
    how = {"task": "segmentation", "size": 24, "bs": 2, "values": [0, 1], "ignore": 255, "aug": None, "seed": 0}
    made = [
        ImageDataLoaders.from_df(frame, "im", "mask", root=scenes, **how),
        ImageDataLoaders.from_function(scenes / "images", lambda p: p.parents[1] / "masks" / f"{p.stem}.png", **how),
        ImageDataLoaders.from_folder(scenes, **how),
    ]
    for dls in made:
        assert dls.blocks[1].vocab.labels_ == [0, 1] and dls.blocks[1].ignore == 255
        for mine, folders in zip(dls.valid.batches(), made[-1].valid.batches(), strict=True):
            torch.testing.assert_close(mine.x[0], folders.x[0])
    with pytest.raises(SettingError, match="values, names and ignore are for masks, and the task is classification"):
        ImageDataLoaders.from_df(frame.assign(y=list("ab") * (len(frame) // 2)), "im", "y", root=scenes, ignore=255)
    with pytest.raises(SettingError, match="like is given, so .* ignore would be ignored"):
        ImageDataLoaders.from_folder(scenes, like=made[-1], ignore=255)


def test_settings_of_masks_are_refused_without_masks(pets):
    with pytest.raises(SettingError, match="the task is classification; leave them out"):
        ImageDataLoaders.from_folder(pets, ignore=255)


# --- arrays and new pictures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12, 8, 8), (12, 1, 8, 8), (12, 8, 8, 3), (12, 3, 8, 8)])
def test_arrays(shape):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    dls = ImageDataLoaders.from_arrays((x, np.arange(12) % 3), 0.25)
    assert (dls.train.n_items, dls.valid.n_items) == (9, 3)
    assert first(dls).x[0].shape[1:] == (3 if 3 in shape else 1, 8, 8)


def test_arrays_with_a_validation_part():
    x, y = np.zeros((6, 8, 8), np.uint8), list("aabbab")
    dls = ImageDataLoaders.from_arrays((x, y), (x[:2], y[:2]), (x[:3], y[:3]))
    assert (dls.train.n_items, dls.valid.n_items, dls.test.n_items) == (6, 2, 3)
    assert ImageDataLoaders.from_arrays((x, y), 0).valid is None


@pytest.mark.parametrize(
    "given,message",
    [
        ((np.zeros((4, 8, 8)), [0, 1, 0, 1]), "expected uint8"),
        (([np.zeros((8, n, 3), np.uint8) for n in (5, 6, 7, 8)], [0, 1, 0, 1]), "several shapes"),
        ((np.zeros((4, 8), np.uint8), [0, 1, 0, 1]), "have shape"),
        ((np.zeros((4, 8, 8), np.uint8), [0, 1]), "4 pictures and 2 targets"),
        ((np.zeros((4, 8, 8), np.uint8), [1, 1, 1, 1]), "at least two classes"),
        (np.zeros((4, 8, 8), np.uint8), "expected a pair"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(given, message):
    with pytest.raises(DataError, match=message):
        ImageDataLoaders.from_arrays(given)


def test_new_pictures_in_any_form(pets):
    dls = ImageDataLoaders.from_folder(pets)
    paths = sorted(pathlib.Path(pets, "cat").iterdir())
    array = np.asarray(Image.open(paths[0]))
    counts = {
        "folder": (pets, 12),
        "path": (paths[0], 1),
        "paths": (paths[:3], 3),
        "picture": (Image.fromarray(array), 1),
        "array": (array, 1),
        "arrays": (np.stack([array, array]), 2),
        "grey arrays": (np.zeros((5, 9, 9), np.uint8), 5),
    }
    for given, n in counts.values():
        assert dls.test_dl(given).n_items == n
        assert sum(batch.n_rows for batch in dls.test_dl(given).batches()) == n


def test_a_picture_with_other_channels_at_prediction(pets, tmp_path):
    dls = ImageDataLoaders.from_folder(pets)
    Image.fromarray(smooth(9, 9, 1)).save(tmp_path / "grey.png")
    Image.new("RGBA", (9, 9)).save(tmp_path / "clear.png")
    loader = dls.test_dl([tmp_path / "grey.png", tmp_path / "clear.png"])
    assert next(iter(loader.batches())).x[0].shape[1] == 3


def test_larger_pictures_seen_below_96_pixels_are_said(tmp_path, said):
    """DA03."""
    tree(tmp_path, "a/*3.png", "b/*3.png", shape=(200, 240))
    ImageDataLoaders.from_folder(tmp_path, size=64)
    assert "have 200 pixels a side, the model sees 64x64" in said()
    ImageDataLoaders.from_folder(tmp_path, size=96)
    assert "pixels a side" not in said()


def test_large_folders_validate_on_fewer():
    n = 20_000
    x, y = np.zeros((n, 1, 1), np.uint8), np.arange(n) % 2
    dls = ImageDataLoaders.from_arrays((x, y))
    assert (dls.valid.n_items, dls.train.n_items) == (2500, n - 2500)
    assert ImageDataLoaders.from_arrays((x, y), 0.2).valid.n_items == n // 5
    assert ImageDataLoaders.from_arrays((x, y), 0.0).valid is None
    assert ImageDataLoaders.from_arrays((x[:50], y[:50])).valid.n_items == 10
    many = ImageDataLoaders.from_arrays((x, np.arange(n) % 400))
    assert many.valid.n_items == 4000 and all(np.bincount(many.targets["valid"]) == 10)
