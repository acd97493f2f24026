"""Folders, tables and naming schemes become lists of pictures; what is wrong with them is said in one message."""

import os
import re
import time
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, exif, smooth, stored, tree, write
from PIL import Image

from tipsai.core.errors import ColumnError, DataError, SettingError
from tipsai.data.split import column_split
from tipsai.vision.folders import _Tree, from_folder, list_pictures
from tipsai.vision.tables import from_frame, from_function

PIXEL = encoded(smooth(2, 2))


def touch(root, *names):
    """Files that bear the names of pictures, for what does not look into them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PIXEL)
    return root


def told(items):
    """Path within the root: label, for each item."""
    names = [os.path.relpath(path, items.root).replace(os.sep, "/") for path in items.paths]
    return dict(zip(names, items.labels, strict=True))


# Folders


def test_class_folders(tmp_path):
    items = from_folder(touch(tmp_path, "dog/2.JPG", "cat/b.png", "cat/siamese/1.jpeg", "dog/a.webp"))
    assert told(items) == {"cat/b.png": "cat", "cat/siamese/1.jpeg": "cat", "dog/2.JPG": "dog", "dog/a.webp": "dog"}
    assert items.parts is None and items.masks is None and not items.notes and len(items) == 4
    assert all(os.path.exists(path) for path in items.paths)


@pytest.mark.parametrize("train, valid", [("train", "valid"), ("training", "validation"), ("Train", "val")])
def test_parts(train, valid, tmp_path):
    names = [f"{part}/{kind}/{i}.jpg" for part in (train, valid, "test") for kind in ("cat", "dog") for i in range(2)]
    items = from_folder(touch(tmp_path, *names))
    assert sorted(items.parts) == ["test"] * 4 + ["train"] * 4 + ["valid"] * 4
    assert told(items)[f"{valid}/cat/1.jpg"] == "cat" and len(set(items.labels)) == 2
    split = column_split(items.parts)
    assert {items.paths[i].split(os.sep)[-3] for i in split.test} == {"test"}
    assert {items.paths[i].split(os.sep)[-3] for i in split.valid} == {valid}


def test_test_is_never_validation(tmp_path):
    items = from_folder(
        touch(tmp_path, "train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png", "test/a/1.png")
    )
    assert set(items.parts) == {"train", "test"}
    assert items.notes == ["test has no pictures of 'b'."] and items.counts == {"absent_in_test": 1}


def test_without_labels(tmp_path):
    items = from_folder(touch(tmp_path / "flat", "2.png", "1.png"))
    assert [os.path.basename(path) for path in items.paths] == ["1.png", "2.png"]
    assert items.labels is None and items.counts == {"unlabelled": 2}
    items = from_folder(touch(tmp_path / "parts", "train/cat.1.jpg", "train/dog.1.jpg", "test/1.jpg"))
    assert items.labels is None and items.parts == ["test", "train", "train"]


def test_what_lies_beside_is_said(tmp_path):
    touch(
        tmp_path,
        "train/a/1.png",
        "train/a/2.png",
        "train/b/1.png",
        "train/b/2.png",
        "test/7.png",
        "extra/x.png",
        "y.png",
    )
    (tmp_path / "train" / "empty").mkdir()
    for name in ("labels.csv", "train/a/1.json", "train/a/2.json", "README"):
        (tmp_path / name).write_text("x")
    items = from_folder(tmp_path)
    assert len(items) == 4 and set(items.parts) == {"train"}
    assert items.counts == {"others": 4, "outside_parts": 2, "unlabelled": 1, "empty_folders": 1}
    notes = "\n".join(items.notes)
    assert "4 files (2 .json, 1 .csv, 1 without an ending)" in notes
    assert "left out: 2 pictures outside the folders of parts, such as 'extra/x.png', 'y.png'" in notes
    assert "left out: 1 picture beside the class folders, such as 'test/7.png'" in notes
    assert "the folders 'train/empty' hold no pictures" in notes


def test_what_systems_leave_is_ignored(tmp_path):
    touch(tmp_path, "a/1.png", "b/2.png", "a/3.png", "b/4.png")
    touch(tmp_path, "__MACOSX/a/._1.png", "a/.ipynb_checkpoints/1-checkpoint.png", ".hidden/1.png", "a/._1.png")
    for name in ("a/Thumbs.db", ".DS_Store", "b/desktop.ini"):
        (tmp_path / name).write_text("x")
    items = from_folder(tmp_path)
    assert len(items) == 4 and not items.notes


def test_names_in_other_scripts_and_without_a_script(tmp_path):
    touch(tmp_path, "猫/一 二.jpg", "кот/1.jpg", "猫/2.jpg", "кот/2.jpg")
    undecodable = os.fsdecode(b"caf\xe9.jpg")
    try:
        touch(tmp_path, f"кот/{undecodable}")
    except OSError:
        pytest.skip("the file system takes text alone")
    items = from_folder(tmp_path)
    assert told(items)[f"кот/{undecodable}"] == "кот" and told(items)["猫/一 二.jpg"] == "猫"


def test_a_class_in_two_unicode_forms_is_one(tmp_path):
    composed, parted = "café", unicodedata.normalize("NFD", "café")
    touch(tmp_path, f"train/{composed}/1.png", f"train/{composed}/2.png", "train/tea/1.png", "train/tea/2.png")
    items = from_folder(touch(tmp_path, f"valid/{parted}/3.png", "valid/tea/3.png"))
    assert set(items.labels) == {composed, "tea"}


@settings(deadline=None, max_examples=20)
@given(
    st.sets(st.text("abzAZ09-_ ä", min_size=1, max_size=4).map(str.strip).filter(bool), min_size=4, max_size=12),
    st.randoms(),
)
def test_the_order_follows_from_the_names_alone(tmp_path_factory, names, random):
    orders = []
    for _ in range(2):
        shuffled = sorted(names)
        random.shuffle(shuffled)
        root = tmp_path_factory.mktemp("order")
        touch(root, *(f"{kind}/{name}.png" for name in shuffled for kind in ("a", "b")))
        orders.append(list(told(from_folder(root))))
    assert orders[0] == orders[1] == sorted(orders[0]) and len(orders[0]) == 2 * len(names)


def test_links(tmp_path):
    touch(tmp_path / "all", *(f"{i}.png" for i in range(5)))
    root = touch(tmp_path / "data", "a/real.png", "a/real2.png", "b/real3.png")
    for name, target in (("a/x.png", "0"), ("a/y.png", "0"), ("b/z.png", "1"), ("b/gone.png", "none")):
        (root / name).symlink_to(tmp_path / "all" / f"{target}.png")
    os.link(root / "a/real.png", root / "a/twin.png")
    (root / "a/self.png").symlink_to(root / "a/self.png")
    (root / "a/loop").symlink_to(root, target_is_directory=True)
    (root / "b/again").symlink_to(root / "b", target_is_directory=True)
    items = from_folder(root)
    assert told(items) == {
        "a/real.png": "a", "a/real2.png": "a", "a/x.png": "a", "b/real3.png": "b", "b/z.png": "b"
    }  # fmt: skip
    assert items.counts == {"broken_links": 2, "duplicates": 2}
    assert "2 pictures given twice (the same file); one of each is kept." in items.notes


def test_like_inodes_alone_make_no_duplicate(tmp_path):
    """On some file systems, files of different layers share their numbers."""
    touch(tmp_path, "1.png", "2.png")
    paths = [str(tmp_path / name) for name in ("1.png", "2.png", "1.png")]
    ids = _Tree(["1.png", "2.png", "1.png"], [7, 7, 7]).ids([0, 1, 2], paths)
    assert ids[0] != ids[1] and ids[0] == ids[2]


def test_linked_class_folders(tmp_path):
    touch(tmp_path / "all", "cats/1.png", "cats/2.png", "dogs/1.png", "dogs/2.png")
    for kind in ("cats", "dogs"):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "train" / kind).symlink_to(tmp_path / "all" / kind, target_is_directory=True)
    assert sorted(from_folder(tmp_path / "train").labels) == ["cats", "cats", "dogs", "dogs"]


def test_a_picture_of_two_parts_stays_in_the_later(tmp_path):
    touch(tmp_path, *(f"{part}/{kind}/{i}.png" for part in ("train", "valid") for kind in "ab" for i in range(2)))
    os.link(tmp_path / "valid/a/0.png", tmp_path / "train/a/same.png")
    items = from_folder(tmp_path)
    assert "train/a/same.png" not in told(items) and "valid/a/0.png" in told(items)
    assert "1 of them in two parts, kept in the later" in items.notes[0]


def test_a_picture_of_two_classes_is_refused(tmp_path):
    touch(tmp_path, "a/1.png", "b/2.png")
    os.link(tmp_path / "a/1.png", tmp_path / "b/1.png")
    with pytest.raises(
        DataError, match=r"1 picture given twice, with other labels: .*a.1.png is 'a', .*b.1.png is 'b'"
    ):
        from_folder(tmp_path)


def test_single_pictures_are_said(tmp_path):
    items = from_folder(touch(tmp_path, "a/1.png", "b/1.png", "b/2.png"))
    assert items.notes == ["of 'a' there is a single picture to train on."] and items.counts == {"single": 1}


def test_folders_that_are_refused(tmp_path):
    def refused(name, text):
        with pytest.raises(DataError, match=text):
            from_folder(tmp_path / name)

    (tmp_path / "empty" / "inner").mkdir(parents=True)
    refused("empty/inner", "inner is empty. Expected pictures: .*.jpg")
    refused("empty", "empty holds only empty folders")
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.txt", "c.heic"):
        (tmp_path / "texts" / name).write_text("x")
    refused("texts", r"texts holds no pictures, but 3 files \(2 .txt, 1 .heic\)")
    refused("textes", "there is no folder .*textes. Did you mean 'texts'")
    refused("texts/a.txt", "is a file; expected a folder of pictures. Unpack it")
    touch(tmp_path / "one", "cat/1.png", "cat/2.png")
    refused("one", "all 2 pictures the same label, 'cat'; expected at least two classes.$")
    touch(tmp_path / "yolo", "images/1.png", "images/2.png")
    refused("yolo", "same label, .images.; .*For segmentation a folder .masks. must hold")
    touch(tmp_path / "wrapped", "pets/cat/1.png", "pets/dog/2.png")
    refused("wrapped", "same label, 'pets'.* It holds the folders 'cat', 'dog'; perhaps '.*wrapped.pets' was meant")
    touch(tmp_path / "more", "train/cat/1.png", "train/dog/1.png", "valid/Dog/2.png")
    refused("more", "valid has pictures of 'Dog', of which train has none. Did you mean 'dog'")
    touch(tmp_path / "untrained", "test/cat/1.png", "cat/1.png", "dog/1.png")
    refused("untrained", "has pictures in 'test' beside 'cat', 'dog', but none in 'train'")
    touch(tmp_path / "hollow", "valid/cat/1.png", "valid/dog/1.png")
    (tmp_path / "hollow" / "train" / "cat").mkdir(parents=True)
    refused("hollow", "has pictures in 'valid', but none in 'train'")


@pytest.mark.slow
def test_60_000_files_take_less_than_a_second(tmp_path):
    for kind in range(20):
        (tmp_path / f"class{kind}").mkdir()
        for i in range(3000):
            (tmp_path / f"class{kind}" / f"{i:05}.jpg").touch()
    start = time.perf_counter()
    items = from_folder(tmp_path)
    assert len(items) == 60_000 and time.perf_counter() - start < 1


# Segmentation


@pytest.mark.parametrize(
    "images, masks",
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("Images/{}.jpg", "labels/{}.png"),
        ("images/more/{}.jpg", "annotations/more/{}.png"),
        ("images/{}.jpg", "masks/{}_mask.png"),
        ("images/{}.png", "labels/{}_P.png"),
    ],
)
def test_masks(images, masks, tmp_path):
    for i in range(3):
        write(tmp_path / images.format(i)), write(tmp_path / masks.format(i))
    items = from_folder(tmp_path)
    within = [os.path.relpath(path, tmp_path).replace(os.sep, "/") for path in items.masks]
    assert within == [masks.format(i) for i in range(3)] and items.labels is None and items.parts is None
    assert [os.path.relpath(path, tmp_path).replace(os.sep, "/") for path in items.paths] == list(
        map(images.format, range(3))
    )


@pytest.mark.parametrize("layout", ["{part}/{role}/{i}", "{role}/{part}/{i}"])
def test_masks_in_parts(layout, tmp_path):
    for part in ("train", "val"):
        for i in range(2):
            write(tmp_path / (layout.format(part=part, role="images", i=i) + ".jpg"))
            write(tmp_path / (layout.format(part=part, role="masks", i=i) + ".png"))
    write(tmp_path / "overview.png")
    items = from_folder(tmp_path)
    assert items.parts == ["train", "train", "valid", "valid"]
    assert all(
        os.path.splitext(p.replace("images", "masks"))[0] == os.path.splitext(m)[0]
        for p, m in zip(items.paths, items.masks, strict=True)
    )
    assert items.counts == {"outside_parts": 1}


def test_masks_that_are_refused(tmp_path):
    tree(tmp_path, "images/*3.jpg", "masks/*2.png", "masks/x.png")
    with pytest.raises(
        DataError, match=r"1 of 3 pictures in .* have no mask \('2'\), and 1 of 3 masks in .* have no picture \('x'\)"
    ):
        from_folder(tmp_path)
    (tmp_path / "masks/x.png").rename(tmp_path / "masks/2.png")
    assert len(from_folder(tmp_path)) == 3
    write(tmp_path / "masks/1.png", (3, 8))
    with pytest.raises(
        DataError, match="1 of 3 masks looked at have another size .*1.jpg has 6 x 8 pixels, its mask 3 x 8"
    ):
        from_folder(tmp_path)
    write(tmp_path / "masks/1.bmp")
    with pytest.raises(DataError, match="masks that differ in their endings alone, such as 'masks/1.png'"):
        from_folder(tmp_path)


def test_the_sizes_of_masks_are_those_after_turning(tmp_path):
    write(tmp_path / "masks/1.png", (6, 8))
    (tmp_path / "images").mkdir()
    (tmp_path / "images/1.jpg").write_bytes(encoded(stored(smooth(6, 8), 6), "JPEG", exif=exif(6)))
    assert len(from_folder(tmp_path)) == 1


def test_lossy_masks_are_said(tmp_path):
    tree(tmp_path, "images/*2.jpg", "masks/*2.jpg")
    assert from_folder(tmp_path).notes == ["2 masks in JPEG or WebP, which changes values: PNG keeps them."]


# Tables


@pytest.fixture
def four(tmp_path):
    return touch(tmp_path, *(f"im/{i}.jpg" for i in range(4)))


def frame(**columns):
    return pd.DataFrame({"file": [f"im/{i}.jpg" for i in range(4)]} | columns)


def test_a_table(four):
    df = frame(kind=list("abab"), part=["train", "train", "val", "val"], age=[1, 2, 3, 4], x=[0.5, 1, 2, 3])
    items = from_frame(df, "file", "kind", four, part_column="part")
    assert told(items) == {"im/0.jpg": "a", "im/1.jpg": "b", "im/2.jpg": "a", "im/3.jpg": "b"}
    assert items.parts == ["train", "train", "valid", "valid"]
    assert from_frame(df, "file", None, four).labels is None
    assert from_frame(df, "file", "age", str(four)).labels == [1, 2, 3, 4]
    assert from_frame(df, "file", ["age", "x"], four).labels == [(1, 0.5), (2, 1), (3, 2), (4, 3)]
    assert from_frame(df[::-1], "file", "kind", four).labels == list("baba")  # the order is the table's
    assert from_frame(df.assign(file=range(4)), "file", "kind", four / "im", suffix=".jpg").labels == list("abab")
    absolute = df.assign(file=[four / name for name in df["file"]])
    assert len(from_frame(absolute, "file", "kind")) == 4
    truth = from_frame(df.assign(held=[False, False, False, True]), "file", "kind", four, part_column="held")
    assert truth.counts["absent_in_valid"] == 1


def test_numbers_need_not_be_classes(four):
    df = frame(age=[1.5, 2, 3, 4], part=["train", "train", "val", "test"])
    assert from_frame(df, "file", "age", four, part_column="part").labels == [1.5, 2, 3, 4]


def test_several_labels(four):
    items = from_frame(frame(tags=["a b", " b", None, "a b a"]), "file", "tags", four, label_delim=" ")
    assert items.labels == [("a", "b"), ("b",), (), ("a", "b")]
    assert items.notes[0] == "1 picture with an empty cell in 'tags': none of the labels."
    hot = frame(sun=[1, 0, 1, 0], rain=[0, 0, 1, 1])
    assert from_frame(hot, "file", ["sun", "rain"], four).labels == [("sun",), (), ("sun", "rain"), ("rain",)]


def test_missing_files(four):
    def refused(df, text, **options):
        with pytest.raises(DataError, match=text):
            from_frame(df, "file", "kind", four, **options)

    df = frame(kind=list("abab"))
    refused(
        df.replace("im/2.jpg", "im/2b.jpg"),
        "1 of 4 files of the column 'file' are missing under .*: 'im/2b.jpg'. Did you mean 'im/2.jpg'",
    )
    refused(df.assign(file=[f"im/{i}" for i in range(4)]), "4 of 4 .*give suffix='.jpg'")
    refused(df.assign(file=[f"im\\{i}.jpg" for i in range(4)]), "written with backslashes: replace")
    refused(df.assign(file=[f"in/{i}.jpg" for i in range(4)]), "There is no folder '.*in': check root")
    refused(
        df.assign(file=["im/0.jpg", None, "im/2.jpg", " "]), r"2 of 4 rows have no path in 'file' \(the rows 1, 3\)"
    )
    refused(df.replace("im/2.jpg", "im/\0.jpg"), "1 of 4 files")
    many = pd.DataFrame({"file": [f"im/{i}.png" for i in range(100)], "kind": "a"})
    refused(many, "100 of 100 files .*: 'im/0.png', .* and 95 more.")


def test_tables_that_are_refused(four):
    df = frame(kind=list("abab"), other=list("abcd"), part=["train", "train", "test", "test"], words=list("wxyz"))

    def refused(error, text, *arguments, **options):
        with pytest.raises(error, match=text):
            from_frame(*arguments, root=four, **options)

    refused(
        ColumnError, "there is no column 'fil'. Did you mean 'file'.*The table has 'file', 'kind'", df, "fil", "kind"
    )
    refused(ColumnError, "there is no column 'parts'", df, "file", "kind", part_column="parts")
    refused(DataError, "no rows", df[:0], "file", "kind")
    refused(
        DataError,
        "1 of 4 pictures have no label: the column 'kind' has none for 'im/1.jpg'",
        df.assign(kind=["a", None, "b", "a"]),
        "file",
        "kind",
    )
    refused(DataError, "gives all 4 pictures the same label, 'a'", df.assign(kind="a"), "file", "kind")
    refused(
        DataError, "test has pictures of 'c', 'd', of which train has none", df, "file", "other", part_column="part"
    )
    refused(SettingError, "expected train, valid and test", df, "file", "kind", part_column="other")
    refused(SettingError, "label_delim separates", df, "file", ["kind", "other"], label_delim=" ")
    refused(DataError, "hold words; expected 0 and 1", df, "file", ["kind", "words"])
    refused(
        DataError,
        "2 of 4 pictures have no label: see the rows '1', '3'",
        df.assign(a=[1, None, 2, 3], b=[1, 2, 3, None]),
        "file",
        ["a", "b"],
    )


def test_duplicates_in_a_table(four):
    (four / "im/link.jpg").symlink_to(four / "im/1.jpg")
    df = pd.DataFrame(
        {"file": ["im/0.jpg", "./im/../im/0.jpg", "im/1.jpg", "im/link.jpg", "im/2.jpg"], "kind": list("aabba")}
    )
    items = from_frame(df, "file", "kind", four)
    assert items.labels == ["a", "b", "a"] and items.counts["duplicates"] == 2
    with pytest.raises(DataError, match="given twice, with other labels: .*1.jpg is 'b', .*link.jpg is 'c'"):
        from_frame(df.assign(kind=list("aabca")), "file", "kind", four)
    df.loc[5] = ["im/3.jpg", "a"]
    df["part"] = ["train", "valid", "train", "train", "valid", "train"]
    items = from_frame(df, "file", "kind", four, part_column="part")
    assert items.parts == ["valid", "train", "valid", "train"]


# Naming schemes


def test_functions_and_expressions(tmp_path):
    touch(tmp_path, "great_dane_1.jpg", "great_dane_2.jpg", "pug_1.jpg", "sub/pug_2.jpg")
    kinds = ["great_dane", "great_dane", "pug", "pug"]
    assert from_function(tmp_path, r"^(.+)_\d+").labels == kinds
    assert from_function(tmp_path, re.compile(r"^(.)(?P<label>.+)_\d+")).labels == [
        "reat_dane",
        "reat_dane",
        "ug",
        "ug",
    ]
    assert from_function(list_pictures(tmp_path), lambda path: path.name.split("_")[0]).labels == [
        "great",
        "great",
        "pug",
        "pug",
    ]
    assert from_function(tmp_path, lambda path: {path.stem[0], "x"}).labels[0] == ("g", "x")
    assert set(from_function(tmp_path, r"/(sub|[^/]*\.jpg)").labels) == {
        "sub",
        "great_dane_1.jpg",
        "great_dane_2.jpg",
        "pug_1.jpg",
    }


def test_functions_that_are_refused(tmp_path):
    touch(tmp_path, "pug_1.jpg", "pug.jpg", "dane_1.jpg")

    def refused(function, text, error=DataError, paths=tmp_path):
        with pytest.raises(error, match=text):
            from_function(paths, function)

    refused(lambda path: {}[path.stem], "label_func failed for the picture .*dane_1.jpg: KeyError: 'dane_1'")
    refused(r"^(.+)_\d", r"1 of 3 pictures have no label: label_func does not match '.*pug.jpg'")
    refused(lambda path: None, "3 of 3 pictures have no label: label_func has none for")
    refused(lambda path: "x", "gives all 3 pictures the same label, 'x'")
    refused(r"^.+_\d", "expected a group for the label", SettingError)
    refused(r"(", "no regular expression", SettingError)
    refused("(.)", "there are no paths", paths=[])
    refused(
        "(.)",
        "1 of 2 files given are missing: .*pag_1.jpg'. Did you mean '.*pug_1.jpg'",
        paths=[tmp_path / "pug.jpg", tmp_path / "pag_1.jpg"],
    )


def test_items_are_frozen_and_their_arrays_are_read(four):
    items = from_frame(frame(kind=list("abab")), "file", "kind", four)
    with pytest.raises(AttributeError):
        items.paths = []
    assert np.asarray(Image.open(items.paths[0])).shape == (2, 2, 3)


# --- masks of tables and functions ------------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path):
    tree(tmp_path, "images/*4.jpg", "masks/*4.png")
    return tmp_path


def table_of(n=4):
    return pd.DataFrame({"im": [f"images/{i}.jpg" for i in range(n)], "mask": [f"masks/{i}.png" for i in range(n)]})


def test_a_table_names_the_masks(scenes):
    items = from_frame(table_of(), "im", "mask", scenes, masks=True)
    assert items.masks == [f"{scenes}/masks/{i}.png" for i in range(4)] and items.labels is None
    assert items.masks == from_folder(scenes).masks


def test_a_function_names_the_masks(scenes):
    items = from_function(scenes / "images", lambda p: p.parents[1] / "masks" / f"{p.stem}.png", masks=True)
    assert items.masks == from_folder(scenes).masks


def test_masks_that_a_table_or_a_function_gets_wrong(scenes):
    write(scenes / "masks/1.png", (3, 8))
    text = "1 of 4 masks looked at have another size .*1.jpg has 6 x 8 pixels, its mask 3 x 8"
    with pytest.raises(DataError, match=text):
        from_frame(table_of(), "im", "mask", scenes, masks=True)
    with pytest.raises(DataError, match=text):
        from_function(scenes / "images", lambda p: p.parents[1] / "masks" / f"{p.stem}.png", masks=True)
    with pytest.raises(DataError, match="4 of 4 files that label_func gives are missing"):
        from_function(scenes / "images", lambda p: p.with_suffix(".gif"), masks=True)
    (scenes / "masks/1.png").unlink()
    with pytest.raises(DataError, match="1 of 4 files of the column 'mask' are missing: '.*masks/1.png'"):
        from_frame(table_of(), "im", "mask", scenes, masks=True)
    with pytest.raises(DataError, match="1 of 4 pictures have no mask: the column 'mask' has none for 'images/0.jpg'"):
        from_frame(table_of().replace("masks/0.png", None), "im", "mask", scenes, masks=True)
    twice = pd.concat([table_of().iloc[[0, 2, 3]], pd.DataFrame({"im": ["images/0.jpg"], "mask": ["masks/2.png"]})])
    with pytest.raises(DataError, match="1 picture given twice, with other labels: .*0.jpg is '.*0.png'"):
        from_frame(twice, "im", "mask", scenes, masks=True)
    with pytest.raises(SettingError, match="masks are files that one column names"):
        from_frame(table_of(), "im", ["mask", "im"], scenes, masks=True)
