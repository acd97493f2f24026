"""Pictures within a page."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from tipsai.report.picture import GAP, SIDE, beside, data_uri, of_tensor


def read(uri):
    kind, data = uri.split(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == f"data:image/{picture.format.lower()}"
    return np.asarray(picture)


def test_a_small_picture_keeps_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (28, 30, 3), np.uint8)
    np.testing.assert_array_equal(read(data_uri(pixels)), pixels)


@pytest.mark.parametrize("shape", [(400, 300), (100, 2000), (3, 3000), (100, 100)])
def test_a_large_one_is_shrunk_and_looks_the_same(shape):
    ramp = np.linspace(0, 255, shape[1])[None, :, None].repeat(shape[0], 0).repeat(3, 2).astype(np.uint8)
    made = read(data_uri(ramp))
    assert max(made.shape[:2]) == min(SIDE, max(shape)) and min(made.shape[:2]) >= 1
    assert abs(made.shape[0] / made.shape[1] - shape[0] / shape[1]) < 0.6 / min(made.shape[:2]) + 0.02
    middle = made[made.shape[0] // 2, :, 0].astype(int)
    assert middle[0] < 12 and middle[-1] > 243 and np.abs(np.diff(middle)).max() < 12


def test_pictures_stand_side_by_side():
    a, b = np.zeros((4, 3, 3), np.uint8), np.full((4, 5, 3), 9, np.uint8)
    both = beside([a, b])
    assert both.shape == (4, 8 + GAP, 3) and (both[:, 3 : 3 + GAP] == 255).all() and (both[:, 3 + GAP :] == 9).all()


def test_a_raw_tensor_is_black_at_its_least_and_white_at_its_most():
    x = torch.tensor([[[-1.0, 0.0, 1.0]]])
    np.testing.assert_array_equal(of_tensor(x, -1.0, 1.0)[0], [[0] * 3, [128] * 3, [255] * 3])
    assert of_tensor(torch.zeros(3, 2, 2), 0.0, 0.0).max() == 0
