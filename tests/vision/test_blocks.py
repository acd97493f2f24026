"""Pictures, masks and points as fields."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as hyp
from PIL import Image

from tipsai.core.errors import DataError, SettingError
from tipsai.vision.blocks import IGNORED, ImageBlock, MaskBlock, PointBlock, canvas


def test_pictures_of_one_size_are_stacked():
    pictures = [torch.full((3, 4, 5), i, dtype=torch.uint8) for i in range(3)]
    made, sizes = canvas(pictures)
    assert torch.equal(made, torch.stack(pictures)) and sizes.tolist() == [[4, 5]] * 3


@given(sizes=hyp.lists(hyp.tuples(hyp.integers(1, 9), hyp.integers(1, 9)), min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_each_picture_stands_in_its_corner(sizes):
    pictures = [torch.randint(1, 255, (2, *size), dtype=torch.uint8) for size in sizes]
    made, told = canvas(pictures, fill=0)
    assert told.tolist() == [list(size) for size in sizes]
    assert made.shape[2:] == (max(h for h, _ in sizes), max(w for _, w in sizes))
    for place, picture, (h, w) in zip(made, pictures, sizes, strict=True):
        assert torch.equal(place[:, :h, :w], picture)
        assert int(place.sum()) == int(picture.sum())


def test_statistics_are_those_of_the_training_pictures():
    rng = np.random.default_rng(0)
    pictures = [torch.from_numpy(rng.integers(0, 256, (3, 5, 7), dtype=np.uint8)) for _ in range(9)]
    block = ImageBlock((5, 7)).fit_pixels(pictures)
    pixels = torch.stack(pictures).double().div(255).permute(1, 0, 2, 3).flatten(1)
    assert block.mean == pytest.approx(pixels.mean(1).tolist())
    assert block.std == pytest.approx(pixels.std(1, correction=0).tolist())


def test_pictures_of_one_colour_have_a_spread_to_divide_by():
    assert ImageBlock((4, 4), 1).fit_pixels([torch.full((1, 4, 4), 7, dtype=torch.uint8)]).std == [1.0]


def test_statistics_of_another_number_of_channels_are_refused():
    with pytest.raises(SettingError, match="3 values, and the pictures 1 channels"):
        ImageBlock((4, 4), 1, mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.raises(SettingError, match="above zero"):
        ImageBlock((4, 4), 1, mean=[0.5], std=[0.0])


def test_a_picture_is_read_and_shown_as_it_was():
    array = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    block = ImageBlock((6, 8), mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.1])
    encoded = block.encode(Image.fromarray(array))
    assert encoded.dtype == torch.uint8 and encoded.shape == (3, 6, 8)
    seen = (encoded / 255 - torch.tensor(block.mean)[:, None, None]) / torch.tensor(block.std)[:, None, None]
    assert np.array_equal(block.decode(seen), array)
    assert "6x8 pixels" in block.show(seen)


def test_a_block_comes_back_from_plain_data():
    block = ImageBlock((32, 48), 1, 40, "pad", [0.3], [0.2])
    assert ImageBlock.from_dict(block.to_dict()).to_dict() == block.to_dict()
    masks = MaskBlock([0, 7], ["ground", "tree"], 255)
    assert MaskBlock.from_dict(masks.to_dict()).to_dict() == masks.to_dict()
    assert PointBlock.from_dict(PointBlock(["nose"]).to_dict()).names == ("nose",)


def test_classes_are_the_values_of_the_training_masks():
    block = MaskBlock(ignore=255)
    block.fit([np.array([[0, 3], [255, 3]], np.uint8), np.array([[9, 0], [0, 0]], np.uint8)])
    assert block.n_out == 3 and block.names == ["0", "3", "9"]
    codes = block.encode(np.array([[9, 255], [0, 3]], np.uint8))
    assert codes.tolist() == [[[2, IGNORED], [0, 1]]]
    assert block.decode(codes[0]).tolist() == [[9, 255], [0, 3]]


def test_values_outside_the_classes_are_refused():
    with pytest.raises(DataError, match=r"holds the values \[5\], and the classes are \[0, 1\]"):
        MaskBlock([0, 1]).encode(np.array([[0, 5]], np.uint8))


def test_masks_of_one_value_are_refused():
    with pytest.raises(DataError, match="at least 2"):
        MaskBlock().fit([np.zeros((2, 2), np.uint8)])


def test_names_must_be_as_many_as_the_classes():
    with pytest.raises(SettingError, match="3 names for 2 mask values"):
        MaskBlock([0, 1], ["a", "b", "c"]).fit([])


def test_predicted_masks_have_the_masks_values():
    block = MaskBlock([0, 7], ["ground", "tree"])
    pred = torch.zeros(1, 2, 2, 2)
    pred[0, 1, 0] = 1
    columns = block.predictions(pred)
    assert columns["prediction"][0].tolist() == [[7, 7], [0, 0]]
    assert columns["share_tree"].tolist() == [0.5] and columns["share_ground"].tolist() == [0.5]


def test_ignored_pixels_do_not_count_in_the_loss():
    block = MaskBlock([0, 1], ignore=255)
    pred = torch.randn(1, 2, 1, 2)
    total, weight = block.default_loss().report(pred, torch.tensor([[[1, IGNORED]]]))
    assert float(weight) == 1
    torch.testing.assert_close(total, torch.nn.functional.cross_entropy(pred[..., 0, 0], torch.tensor([1])))


def test_points_are_numbers_in_a_row():
    block = PointBlock(["nose", "ear"])
    assert block.n_out == 4
    assert block.encode([[0.1, 0.2], [0.3, 0.4]]).tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert list(block.predictions(torch.zeros(2, 4))) == ["nose_x", "nose_y", "ear_x", "ear_y"]


# --- pixels -----------------------------------------------------------------------------------------------------------


def test_a_picture_has_the_pixels_that_were_normalised():
    block = ImageBlock((4, 5)).normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    x = (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - torch.tensor(block.mean).view(3, 1, 1)) / torch.tensor(
        block.std
    ).view(3, 1, 1)
    np.testing.assert_array_equal(block.pixels(x), pixels)
    grey = ImageBlock((4, 5), channels=1).normalize([0.5], [0.5])
    assert grey.pixels(torch.zeros(1, 4, 5)).tolist() == [[[128] * 3] * 5] * 4


def test_a_mask_lies_over_the_picture_and_ignored_pixels_do_not():
    block = MaskBlock([0, 1])
    under = np.full((6, 6, 3), 100, np.uint8)
    mask = torch.zeros(6, 6, dtype=torch.int64)
    mask[3:] = 1
    mask[:, 5] = -100
    made = block.pixels(mask, under)
    assert made.shape == under.shape and made.dtype == np.uint8
    assert (made[:, 5] == 100).all(), "what is ignored is not coloured"
    assert (made[0, 0] != made[5, 0]).any() and (made[:, 0] != 100).any()


def test_points_are_marked_where_they_lie_and_at_the_edge_too():
    block = PointBlock(["nose", "tail"])
    under = np.zeros((41, 61, 3), np.uint8)
    for predicted in (False, True):
        made = block.pixels(torch.tensor([0.0, 0.0, 1.0, -1.0]), under, predicted)
        changed = np.argwhere(made.any(2))
        assert made.shape == under.shape and len(changed) > 4 and not under.any()
        middle = changed[(np.abs(changed - [20, 30]) <= 2).all(1)]
        corner = changed[(np.abs(changed - [0, 60]) <= 2).all(1)]
        assert len(middle) and len(corner) and len(middle) + len(corner) == len(changed)
    assert block.pixels(torch.tensor([0.0, 0.0, 1.0, -1.0])) is None
