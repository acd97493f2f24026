"""What pictures come in: it trains or predicts, a message says what was odd, and what the model sees is right."""

import io
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from pictures import encoded, exif, smooth, stored, tree, write
from PIL import Image

from tipsai import load_learner
from tipsai.core.errors import DataError
from tipsai.vision import ImageDataLoaders, geometry, read, vision_learner
from tipsai.vision.targets import in_picture, in_pixels

SMALL = {"width": 8, "seed": 0, "device": "cpu"}


@pytest.fixture
def pets(tmp_path):
    return tree(tmp_path / "pets", "cat/*6.png", "dog/*6.png", shape=(10, 12))


def trained(root, **options):
    dls = ImageDataLoaders.from_folder(root, **({"bs": 4, "valid": 0.25} | options))
    learn = vision_learner(dls, **SMALL)
    learn.fit(1, progress=False)
    assert np.isfinite(list(learn.results().values())).all()
    return learn


def names(paths):
    return sorted(os.path.basename(path) for path in paths)


# --- training ---------------------------------------------------------------------------------------------------------


def test_a_class_with_one_picture(pets, said):
    write(pets / "owl" / "0.png", (10, 12))
    learn = trained(pets)
    assert "of 'owl' there is a single picture to train on" in said()
    assert learn.dls.targets["train"].count("owl") == 1
    assert list(learn.predict(pets / "owl").columns) == ["prediction", "p_cat", "p_dog", "p_owl"]


def test_a_text_among_the_pictures(pets, said):
    (pets / "cat" / "notes.txt").write_text("hello")
    (pets / "list.csv").write_text("a,b\n")
    learn = trained(pets)
    assert f"ignored in {pets}: 2 files (1 .csv, 1 .txt) without a picture." in said()
    assert learn.dls.train.n_items + learn.dls.valid.n_items == 12


@pytest.mark.parametrize("cache", [True, False])
def test_a_truncated_jpeg(pets, cache, said):
    whole = write(pets / "cat" / "short.jpg", (200, 200), quality=95)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    learn = trained(pets, cache=cache, n_workers=0)
    text = said()
    assert "1 of 13 pictures cannot be read and were left out" in text
    assert text.count("short.jpg") == 1 and "the file ends early: the last" in text
    assert [found.code for found in learn.findings] == ["unreadable-pictures"]
    assert names(learn.findings[0].evidence) == ["short.jpg"]


@pytest.mark.parametrize("cache", [True, False])
def test_a_picture_of_one_pixel(pets, cache):
    Image.new("RGB", (1, 1), "red").save(pets / "cat" / "dot.png")
    learn = trained(pets, cache=cache, n_workers=0)
    assert learn.dls.train.n_items + learn.dls.valid.n_items == 13
    made = learn.predict(pets / "cat" / "dot.png")
    assert np.isfinite(made["p_cat"]).all()
    batch = next(learn.dls.as_evaluated(learn.dls.test_dl(pets / "cat" / "dot.png").batches(), "cpu"))
    assert np.unique(learn.dls.picture.decode(batch.x[0][0]).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


def test_only_pictures_of_one_pixel(tmp_path):
    tree(tmp_path, "a/*4.png", "b/*4.png", shape=(1, 1))
    assert trained(tmp_path).dls.picture.size == (1, 1)


def test_two_spellings_of_a_path(pets, said):
    os.symlink("0.png", pets / "cat" / "again.png")
    os.link(pets / "dog" / "0.png", pets / "dog" / "twice.png")
    learn = trained(pets)
    assert "2 pictures given twice (the same file); one of each is kept" in said()
    assert learn.dls.train.n_items + learn.dls.valid.n_items == 12
    assert len(learn.predict(pets)) == 14  # a row for every name that was asked for
    frame = pd.DataFrame({"file": ["cat/0.png", "./cat/../cat/0.png", "dog/0.png", "dog/1.png"], "kind": list("aabb")})
    dls = ImageDataLoaders.from_df(frame, "file", "kind", root=pets, valid=0.0)
    assert dls.train.n_items == 3 and "1 picture given twice" in said()


LABELS = ["Größe", "ελληνικά", "猫咪", "🐈", "two words", "it's", 'say "hi"', "a,b;c", "{x}", "%s", "-", "a\nb"]


def test_names_in_other_scripts(tmp_path, said, capsys):
    for label in LABELS:
        tree(tmp_path / "data", f"{label}/{label}*2.JPG", shape=(8, 8))
    learn = trained(tmp_path / "data", valid=0.0)
    assert set(learn.dls.blocks[1].vocab.labels_) == set(LABELS)
    learn.export(tmp_path / "m.tips")
    made = load_learner(tmp_path / "m.tips", device="cpu").predict(tmp_path / "data")
    assert set(made.columns) == {"prediction"} | {f"p_{label}" for label in LABELS}
    from tipsai import cli

    assert (
        cli.main(["predict", str(tmp_path / "m.tips"), str(tmp_path / "data"), "--out", str(tmp_path / "o.csv")]) == 0
    )
    back = pd.read_csv(tmp_path / "o.csv")
    assert back["path"].tolist() == made.index.tolist() and back.columns.tolist() == ["path", *made.columns]
    assert back["prediction"].tolist() == made["prediction"].tolist()


def test_a_name_that_is_no_text(pets, tmp_path, capsys):
    """Bytes that are no UTF-8 come from old disks; a CSV shows them escaped."""
    name = os.fsdecode(b"caf\xe9.png")
    try:
        os.rename(pets / "cat" / "0.png", pets / "cat" / name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    (pets / "dog" / os.fsdecode(b"\xff.png")).write_bytes(b"no picture")
    learn = trained(pets)
    assert len(learn.findings) == 1
    learn.export(tmp_path / "m.tips")
    from tipsai import cli

    assert cli.main(["predict", str(tmp_path / "m.tips"), str(pets)]) == 0
    assert "caf\\udce9.png," in capsys.readouterr().out


def test_all_kinds_of_files_in_one_folder(tmp_path):
    """Whatever the file, the model sees the same upright picture in colours."""
    seen = smooth(16, 24)
    rgb = Image.fromarray(seen)
    grey = Image.fromarray(smooth(16, 24, 1))
    clear = rgb.copy()
    clear.putalpha(255)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = {
        "plain.PNG": encoded(rgb),
        "upper.JPG": encoded(rgb, "JPEG", quality=98, subsampling=0),
        "turned.jpeg": encoded(stored(seen, 6), "JPEG", quality=98, subsampling=0, exif=exif(6)),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG", quality=98),
        "palette.png": encoded(rgb.quantize(256)),
        "clear.png": encoded(clear),
        "moving.gif": encoded(rgb, "GIF", save_all=True, append_images=[Image.new("RGB", (24, 16), "red")]),
        "lossless.Webp": encoded(rgb, "WEBP", lossless=True),
    }
    greys = {"grey.png": encoded(grey), "deep.png": encoded(np.asarray(grey).astype(np.uint16) * 257)}
    for i, (name, data) in enumerate((files | greys).items()):
        (tmp_path / "ab"[i % 2] / name).write_bytes(data)
    learn = trained(tmp_path, valid=0.2)
    assert learn.findings == [] and learn.dls.picture.channels == 3 and learn.dls.picture.size == (16, 24)
    paths = [str(path) for path in tmp_path.rglob("*.*")]
    batch = next(learn.dls.test_dl(paths, bs=16).batches())
    for path, picture, size in zip(paths, *batch.x, strict=True):
        assert size.tolist() == [16, 24], path
        expected = seen if os.path.basename(path) in files else np.asarray(grey)[..., None].repeat(3, 2)
        assert np.abs(picture.permute(1, 2, 0).numpy().astype(int) - expected).mean() < 6, path


def test_another_number_of_channels_at_prediction(pets, tmp_path):
    grey = np.asarray(Image.fromarray(smooth(10, 12, 1)))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey[..., None].repeat(3, 2)).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 255)])).save(tmp_path / "rgba.png")
    (tmp_path / "deep.png").write_bytes(encoded(grey.astype(np.uint16) * 257))
    paths = [tmp_path / f"{name}.png" for name in ("grey", "rgb", "rgba", "deep")]
    for channels in (1, 3, 4):
        learn = trained(pets, channels=channels)
        made = learn.predict(paths)
        np.testing.assert_allclose(made["p_cat"], made["p_cat"].iloc[0], atol=1e-5)


def test_pictures_that_are_all_grey_and_colours_at_prediction(tmp_path):
    for i in range(8):
        path = tmp_path / "data" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth(8, 8, 1, seed=i)).save(path)
    learn = trained(tmp_path / "data")
    assert learn.dls.picture.channels == 1
    write(tmp_path / "colour.png", (8, 8))
    assert np.isfinite(learn.predict(tmp_path / "colour.png")["p_a"]).all()


# --- large pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [True, False])
def test_a_picture_that_is_too_large_is_left_out(pets, cache, said, monkeypatch):
    """A PNG cannot be reduced while it is read. Its header says so, also where files are too many to decode them all."""
    monkeypatch.setattr(read, "MAX_PIXELS", 10_000)
    monkeypatch.setattr(read.read_image, "__defaults__", (3, None, None, 10_000))
    monkeypatch.setattr(read, "FULL_BYTES", 0)
    Image.new("L", (200, 200)).save(pets / "cat" / "large.png")
    learn = trained(pets, cache=cache, n_workers=0, size=10, channels=3)
    assert names(learn.findings[0].evidence) == ["large.png"]
    assert "200 x 200 pixels would be held in memory; the limit is 10,000" in said()


HUGE = """
import re, sys
from pathlib import Path
from tipsai.vision import ImageDataLoaders, vision_learner
root, cache = Path(sys.argv[1]), sys.argv[2] == "True"
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
learn = vision_learner(ImageDataLoaders.from_folder(root / "small", valid=0.0, bs=4), width=8, seed=0, device="cpu")
learn.fit(1, progress=False)
before = peak()
dls = ImageDataLoaders.from_folder(root / "all", valid=0.0, bs=4, size=32, n_workers=0, cache=cache)
learn = vision_learner(dls, width=8, seed=0, device="cpu")
learn.fit(1, progress=False)
made = learn.predict(root / "all")
print(dls.train.n_items, len(dls.findings), len(made), int(made["p_a"].isna().sum()), round(peak() - before))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
@pytest.mark.parametrize("cache", [True, False])
def test_900_million_pixels(tmp_path, cache):
    """A JPEG of 30,000 x 30,000 is learned from in little memory; a PNG of as many pixels is said and left out."""
    for part in ("small", "all"):
        tree(tmp_path / part, "a/*4.png", "b/*4.png", shape=(32, 32))
    image = Image.new("L", (30_000, 30_000), 77)
    image.save(tmp_path / "all" / "a" / "large.jpg")
    image.save(tmp_path / "all" / "b" / "large.png", compress_level=1)
    del image
    command = [sys.executable, "-W", "error", "-c", HUGE, str(tmp_path), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    n_items, n_findings, n_rows, n_empty, megabytes = map(int, done.stdout.split())
    assert (n_items, n_findings, n_rows, n_empty) == (9, 1, 10, 1)
    assert megabytes < 400, f"{megabytes} MB"
    print(f"\n{megabytes} MB above small pictures")


# --- prediction -------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(pets):
    """Six pictures, two of which cannot be read."""
    root = pets.parent / "new"
    tree(root, "*4.png", shape=(10, 12))
    (root / "1a.png").write_bytes((root / "1.png").read_bytes()[:60])
    (root / "9.jpg").write_bytes(b"")
    return root


def check_rows(learn, root, columns, said):
    said()
    made = learn.predict(root)
    assert (
        names(made.index)
        == [os.path.basename(p) for p in made.index]
        == ["0.png", "1.png", "1a.png", "2.png", "3.png", "9.jpg"]
    )
    assert made.columns.tolist() == [*columns, "problem"]
    bad = np.array([False, False, True, False, False, True])
    assert made.loc[bad, columns].isna().all(axis=None) and made.loc[~bad, columns].notna().all(axis=None)
    assert made["problem"].str.startswith(("it is damaged", "the file")).tolist() == bad.tolist()
    assert made["problem"][~bad].eq("").all()
    text = said()
    assert "2 of 6 pictures cannot be read and have no prediction" in text and "9.jpg: the file is empty" in text
    in_their_place = [made.index[0] if empty else path for path, empty in zip(made.index, bad, strict=True)]
    good = learn.predict(in_their_place)  # as many, since other batch sizes round otherwise
    assert "problem" not in good.columns and "cannot be read" not in said()
    for name in columns:
        left, right = made.loc[~bad, name], good.loc[~bad, name]
        if right.dtype.kind == "f":
            np.testing.assert_allclose(left.astype(float), right.astype(float), atol=1e-5)
        else:
            assert all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))
    return made


def test_classes_of_a_folder_with_corrupt_pictures(pets, broken, said):
    made = check_rows(trained(pets), broken, ["prediction", "p_cat", "p_dog"], said)
    assert made["p_cat"].dtype.kind == "f"
    learn = trained(pets)
    assert learn.predict(broken, tta=True)["problem"].ne("").sum() == 2


def test_classes_that_are_numbers_stay_whole_beside_a_corrupt_picture(pets, broken, said):
    paths = [str(path) for path in sorted(pets.rglob("*.png"))]
    frame = pd.DataFrame({"file": paths, "kind": [3, 7] * 6, "x": np.linspace(0.5, 4, 12), "tags": ["u v", "u"] * 6})
    kinds = vision_learner(ImageDataLoaders.from_df(frame, "file", "kind"), **SMALL)
    kinds.fit(1, progress=False)
    made = check_rows(kinds, broken, ["prediction", "p_3", "p_7"], said)
    assert set(made["prediction"].dropna()) <= {3, 7} and "3.0" not in made.to_csv()
    numbers = vision_learner(ImageDataLoaders.from_df(frame, "file", "x"), **SMALL)
    check_rows(numbers, broken, ["prediction"], said)
    several = vision_learner(ImageDataLoaders.from_df(frame, "file", "tags", label_delim=" "), **SMALL)
    check_rows(several, broken, ["prediction", "p_u", "p_v"], said)


def test_masks_of_a_folder_with_corrupt_pictures(pets, broken, said):
    mask = np.zeros((10, 12), np.uint8)
    mask[:5] = 1
    for i in range(6):
        write(pets.parent / "scenes" / "images" / f"{i}.png", (10, 12))
        write(pets.parent / "scenes" / "masks" / f"{i}.png").write_bytes(encoded(mask))
    learn = trained(pets.parent / "scenes")
    made = check_rows(learn, broken, ["prediction", "share_0", "share_1"], said)
    assert made["prediction"].iloc[0].shape == (10, 12) and made["prediction"].iloc[2] is None


def test_a_corrupt_mask_is_left_out_with_its_picture(tmp_path, said):
    for i in range(6):
        write(tmp_path / "images" / f"{i}.png", (10, 12))
        write(tmp_path / "masks" / f"{i}.png").write_bytes(encoded(np.arange(120, dtype=np.uint8).reshape(10, 12) % 2))
    (tmp_path / "masks" / "3.png").write_bytes(b"")
    for cache in (True, False):
        learn = trained(tmp_path, cache=cache, n_workers=0)
        assert learn.dls.train.n_items + learn.dls.valid.n_items == 5
        assert "masks/3.png: the file is empty" in said()


def test_points_of_a_picture_that_cannot_be_read(pets, broken, said):
    frame = pd.DataFrame({"file": [p.name for p in sorted(broken.iterdir())], "nose_x": 6.0, "nose_y": 2.5})
    dls = ImageDataLoaders.from_df(frame, "file", ["nose_x", "nose_y"], root=broken, task="points", valid=0.25, bs=3)
    assert "2 of 6 pictures cannot be read and were left out" in said()
    learn = vision_learner(dls, **SMALL)
    learn.fit(1, progress=False)
    check_rows(learn, broken, ["nose_x", "nose_y"], said)


def test_points_are_predicted_in_pixels_of_the_picture(tmp_path):
    """Of pictures of several sizes, and read at a smaller scale than they have."""
    rows = []
    for i in range(8):
        height, width = [(40, 60), (80, 50)][i % 2]
        write(tmp_path / f"{i}.png", (height, width))
        rows.append({"file": f"{i}.png", "nose_x": width * 0.25, "nose_y": height * 0.75})
    dls = ImageDataLoaders.from_df(
        pd.DataFrame(rows), "file", ["nose_x", "nose_y"], root=tmp_path, task="points", size=16, valid=0.0, aug=None
    )
    learn = vision_learner(dls, **SMALL)
    torch.nn.init.zeros_(learn.model.head[-1].weight)
    learn.model.head[-1].bias.data = torch.tensor([-0.5, 0.5])  # it says for every picture what is true
    made = learn.predict([tmp_path / f"{i}.png" for i in range(8)])
    np.testing.assert_allclose(made["nose_x"], [row["nose_x"] for row in rows], atol=1e-3)
    np.testing.assert_allclose(made["nose_y"], [row["nose_y"] for row in rows], atol=1e-3)


@pytest.mark.parametrize("view", ["crop", "squish", "pad"])
def test_what_the_model_sees_goes_back_to_the_picture(view):
    """in_pixels undoes what the warp does to points, in_picture what it does to masks."""
    from tipsai.vision.blocks import ImageBlock

    block = ImageBlock((16, 24), view=view)
    arrays = [np.zeros((30, 20, 3), np.uint8), np.zeros((10, 40, 3), np.uint8), np.zeros((16, 24, 3), np.uint8)]
    points = np.array([[5.0, 12.0], [22.0, 3.0], [1.0, 2.0]])
    sizes = torch.tensor([a.shape[:2] for a in arrays])
    outline = torch.tensor(points / sizes.numpy()[:, ::-1] * 2 - 1)[:, None]
    fit = {"crop": geometry.centre_crop, "pad": geometry.pad}.get(view)
    m_b33 = geometry.whole(sizes) if fit is None else fit(sizes, block.size)
    seen = geometry.warp_points(outline, m_b33)[:, 0].numpy()
    made = in_pixels({"x": seen[:, 0], "y": seen[:, 1]}, block, arrays)
    np.testing.assert_allclose(np.stack([made["x"], made["y"]], 1), points, atol=1e-4)
    mask = np.arange(16)[:, None] * 24 + np.arange(24)
    for array, size, m in zip(arrays, sizes, m_b33, strict=True):
        whole = in_picture(mask, block, array)
        assert whole.shape == array.shape[:2]
        y, x = np.indices(whole.shape)
        centres = torch.tensor(np.stack([(x + 0.5) / size[1].item(), (y + 0.5) / size[0].item()], -1) * 2 - 1).float()
        to = geometry.warp_points(centres.reshape(1, -1, 2), m[None])[0].reshape(*whole.shape, 2).numpy()
        inside = (np.abs(to) < 1).all(-1)
        distance = np.abs(np.stack([whole % 24, whole // 24], -1) + 0.5 - (to + 1) / 2 * [24, 16])
        assert inside.any() and distance[inside].max() < 0.5 + 1e-4


def test_new_pictures_decode_in_bounded_batches(pets):
    learn = trained(pets)
    loader = learn.dls.test_dl(pets, bs=5)
    assert [batch.n_rows for batch in loader.batches()] == [5, 5, 2] == [len(b.x[0]) for b in loader.batches()]
    assert len(loader) == 3
    whole = torch.cat([pred for pred, _ in learn.iter_preds(loader)])
    torch.testing.assert_close(whole, learn.get_preds(learn.dls.test_dl(pets))[0], atol=1e-5, rtol=1e-5)
    with pytest.raises(DataError, match="there are no pictures to predict"):
        learn.predict([])


def test_several_pictures_in_any_iterable(pets):
    learn = vision_learner(ImageDataLoaders.from_folder(pets, seed=0), seed=0)
    paths = sorted(pets.glob("*/*.*"))[:3]
    expected = learn.predict(paths)
    for given in (tuple(paths), pd.Series(paths), pd.Index(map(str, paths)), (path for path in paths)):
        pd.testing.assert_frame_equal(learn.predict(given), expected)
    with pytest.raises(DataError, match="give the column of their paths"):
        learn.predict(pd.DataFrame({"path": paths}))
    with pytest.raises(DataError, match="expected a path, a file's bytes"):
        learn.predict(io.BytesIO(b"two\nlines"))


def test_raw_predictions_of_corrupt_pictures_are_said(pets, broken, said):
    learn = trained(pets)
    loader = learn.dls.test_dl(broken)
    assert len(learn.get_preds(loader)[0]) == 6 and sorted(loader.problems) == [2, 5]
    assert "2 of 6 pictures cannot be read and have no prediction" in said()
    assert "problem" not in learn.predict([str(pets / "cat" / f"{i}.png") for i in range(6)])
    bad = [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32) + 7]
    made = learn.predict(bad)
    assert made["problem"].tolist() == ["", "its floats run from 7 to 7; expected 0 to 1. Scale them."]
