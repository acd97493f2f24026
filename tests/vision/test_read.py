"""Every kind of picture is decoded right, at the asked scale; every damaged file is named with its reason."""

import io
import pickle
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, exif, png, smooth, stored, write
from PIL import Image

from tipsai.core.errors import DataError, SettingError
from tipsai.vision.read import PictureError, check, probe, read_image, read_mask, reduction

RGB = smooth(24, 40)


def hwc(tensor):
    assert tensor.dtype == torch.uint8 and tensor.ndim == 3
    return tensor.permute(1, 2, 0).numpy()


# Kinds of pictures


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM", "JPEG", "AVIF", "JPEG2000", "MPO"])
def test_every_format(kind, tmp_path):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}, "AVIF": {"quality": 95}, "MPO": {"quality": 95}}
    path = tmp_path / "any_name"  # the content tells the format
    path.write_bytes(encoded(RGB, kind, **options.get(kind, {})))
    image = hwc(read_image(path))
    exact = kind in ("PNG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
    assert np.abs(image.astype(int) - RGB).mean() <= (0 if exact else 6)
    assert probe(path)[:4] == (24, 40, 3, 8) and probe(path).format == ("JPEG" if kind == "MPO" else kind)
    assert torch.equal(read_image(path.read_bytes()), read_image(str(path)))


def test_what_comes_back_is_a_view_of_rows_of_pixels():
    image = read_image(encoded(RGB))
    assert image.shape == (3, 24, 40) and image.permute(1, 2, 0).is_contiguous()
    image.zero_()  # it can be written to


def test_grey_and_channels():
    grey = encoded(RGB[..., 0])
    assert (read_image(grey, channels=1)[0].numpy() == RGB[..., 0]).all()
    assert (hwc(read_image(grey)) == RGB[..., :1]).all()
    rgba = hwc(read_image(encoded(RGB), channels=4))
    assert (rgba[..., :3] == RGB).all() and (rgba[..., 3] == 255).all()
    luminance = RGB @ [0.299, 0.587, 0.114]
    assert np.abs(read_image(encoded(RGB), channels=1)[0].numpy() - luminance).max() <= 1
    for quality in ({"quality": 95}, {"quality": 95, "keep_rgb": True}):  # JPEG gives its luminance without colours
        jpeg = encoded(RGB, "JPEG", subsampling=0, **quality)
        assert np.abs(read_image(jpeg, channels=1)[0].numpy() - luminance).max() <= 8


def on_white(rgb, alpha):
    share = alpha[..., None] / 255
    return rgb * share + 255 * (1 - share)


def test_transparency_is_composited_on_white():
    alpha = np.linspace(0, 255, 24 * 40).astype(np.uint8).reshape(24, 40)
    rgba = encoded(np.dstack([RGB, alpha]))
    assert np.abs(hwc(read_image(rgba)) - on_white(RGB, alpha)).max() <= 1
    assert (hwc(read_image(rgba, channels=4)) == np.dstack([RGB, alpha])).all()
    assert probe(rgba).channels == 4
    la = encoded(np.dstack([RGB[..., 0], alpha]))
    assert np.abs(hwc(read_image(la)) - on_white(RGB[..., [0, 0, 0]], alpha)).max() <= 1
    assert np.abs(read_image(la, channels=1)[0].numpy() - on_white(RGB[..., :1], alpha)[..., 0]).max() <= 1
    assert probe(la).channels == 2
    halved = hwc(read_image(rgba, at_least=12)).astype(int)  # transparent pixels add none of their colour
    assert np.abs(halved - on_white(RGB, alpha).reshape(12, 2, 20, 2, 3).mean((1, 3))).max() <= 3


def test_palettes():
    indices = np.arange(24 * 40, dtype=np.uint8).reshape(24, 40) % 4
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    assert image.mode == "P"
    assert (hwc(read_image(encoded(image))) == colours[indices]).all()
    assert probe(encoded(image)).channels == 3
    for transparency in (2, bytes([255, 128, 0, 255])):
        clear = encoded(image, transparency=transparency)
        alpha = np.array([255, 255, 0, 255] if transparency == 2 else [255, 128, 0, 255], np.uint8)[indices]
        assert np.abs(hwc(read_image(clear)) - on_white(colours[indices], alpha)).max() <= 1
        assert probe(clear).channels == 4
    halved = hwc(read_image(encoded(image), at_least=12)).astype(int)  # colours are averaged, not indices
    assert np.abs(halved - colours[indices].reshape(12, 2, 20, 2, 3).mean((1, 3))).max() <= 1


def test_a_transparent_colour():
    flat = np.zeros((4, 6, 3), np.uint8)
    flat[:, 3:] = (10, 20, 30)
    image = hwc(read_image(encoded(flat, transparency=(10, 20, 30))))
    assert (image[:, :3] == 0).all() and (image[:, 3:] == 255).all()


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind):
    cmyk = np.zeros((16, 48, 4), np.uint8)  # white, then pure yellow, then half black
    cmyk[:, 16:32, 2] = 255
    cmyk[:, 32:, 3] = 128
    data = encoded(
        Image.frombytes("CMYK", (48, 16), cmyk.tobytes()), kind, **({"quality": 95} if kind == "JPEG" else {})
    )
    image = hwc(read_image(data)).astype(int)
    for x, colour in ((4, (255, 255, 255)), (24, (255, 255, 0)), (44, (127, 127, 127))):
        assert np.abs(image[8, x] - colour).max() <= 3, (x, image[8, x])
    assert probe(data).channels == 3


def test_ycck():
    """YCCK is YCbCr of the inverted CMY: the Adobe marker of a CMYK file says so after its transform byte becomes 2."""
    cmyk = np.zeros((16, 16, 4), np.uint8)
    cmyk[..., 3] = 55
    data = bytearray(encoded(Image.frombytes("CMYK", (16, 16), cmyk.tobytes()), "JPEG", quality=95))
    place = data.index(b"Adobe") + 11
    assert data[place] == 0
    data[place] = 2
    # Stored (inverted) are 255, 255, 255, 200; read as Y, Cb, Cr = 255 that is R = 255, G = 76, B = 255, inverted again.
    image = hwc(read_image(bytes(data))).astype(int)
    with Image.open(io.BytesIO(bytes(data))) as im:
        assert im.mode == "CMYK"
        c, m, y, k = (np.asarray(im)[8, 8] / 255).tolist()
    assert k == pytest.approx(55 / 255, abs=0.01) and m != c
    assert np.abs(image[8, 8] - [255 * (1 - v) * (1 - k) for v in (c, m, y)]).max() <= 2


def test_one_bit():
    bits = np.indices((8, 10)).sum(0) % 2 == 0
    data = encoded(bits)
    assert probe(data) == (8, 10, 1, 1, "PNG")
    assert (hwc(read_image(data)) == bits[..., None] * 255).all()
    assert set(read_image(data, at_least=4, channels=1).unique().tolist()) <= {127, 128}  # averaged as grey


DEEP = np.array([[0, 255, 256, 4095], [32768, 40000, 65279, 65535]], np.uint16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_by_their_range(kind):
    data = encoded(DEEP, kind)
    assert probe(data)[:4] == (2, 4, 1, 16)
    assert (read_image(data, channels=1)[0].numpy() == DEEP >> 8).all()
    assert (hwc(read_image(data)) == (DEEP >> 8)[..., None]).all()


def test_32_bits_signs_and_floats():
    wide = np.array([[0, 1 << 24, 2**31 - 1, -1]], np.int32)
    data = encoded(wide, "TIFF")
    assert probe(data).bits == 32
    assert read_image(data, channels=1)[0].tolist() == [[128, 129, 255, 127]]  # signed: its lowest is black
    file = bytearray(data)
    place = file.index(bytes([0x53, 1, 3, 0]))  # the tag SampleFormat
    file[place + 8] = 1
    assert read_image(bytes(file), channels=1)[0].tolist() == [[0, 1, 127, 255]]
    assert read_mask(bytes(file)).tolist() == [[0, 1 << 24, 2**31 - 1, 2**32 - 1]]
    with pytest.raises(PictureError, match="values beyond 16 bits"):
        read_image(Image.fromarray(wide))  # made in memory, it does not say of how many bits it is
    floats = encoded(np.array([[0.0, 0.5, 1.0]], np.float32), "TIFF")
    assert read_image(floats, channels=1)[0].tolist() == [[0, 128, 255]] and probe(floats).bits == 32
    for wrong in (300.0, -1.0, np.nan):
        with pytest.raises(PictureError, match="floats run from .* expected 0 to 1"):
            read_image(encoded(np.array([[0.0, wrong]], np.float32), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP", "MPO"])
def test_the_first_frame_is_read(kind):
    first, second = (Image.new("RGB", (8, 6), colour) for colour in ("red", "blue"))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(first, kind, save_all=True, append_images=[second], **options)
    assert np.abs(hwc(read_image(data)) - np.array([255, 0, 0])).max() <= (kind == "MPO")
    assert probe(data).format == ("JPEG" if kind == "MPO" else kind)


def test_arrays_tensors_and_images():
    assert (hwc(read_image(RGB)) == RGB).all()
    assert (hwc(read_image(torch.from_numpy(RGB.copy()).permute(2, 0, 1))) == RGB).all()
    assert (hwc(read_image(Image.fromarray(RGB))) == RGB).all()
    assert (read_image(RGB[..., :1], channels=1)[0].numpy() == RGB[..., 0]).all()
    assert (read_image(DEEP, channels=1)[0].numpy() == DEEP >> 8).all()
    assert probe(Image.fromarray(RGB)) == probe(RGB) == (24, 40, 3, 8, "")
    assert (hwc(read_image((RGB / 255).astype(np.float64))) == RGB).all()
    assert read_image(np.eye(3) > 0, channels=1)[0].tolist() == (np.eye(3, dtype=int) * 255).tolist()
    for wrong, text in (
        (np.zeros((4, 5, 7), np.uint8), r"shape is \(4, 5, 7\); expected \[h, w\], or \[h, w, c\]"),
        (np.zeros((0, 5), np.uint8), "shape is"),
        (np.zeros((4, 5), np.int64), "type is int64; expected uint8"),
        (torch.full((3, 4, 5), 3.0), "floats run from 3 to 3"),
        (5, "given as int: expected a path"),
    ):
        with pytest.raises(PictureError, match=text):
            read_image(wrong)


def test_an_image_that_was_given_stays_as_it_is(tmp_path):
    path = write(tmp_path / "a.jpg", (64, 96))
    with Image.open(path) as im:
        assert read_image(im, at_least=8, channels=1).shape == (1, 8, 12)
        assert im.size == (96, 64) and im.mode == "RGB"


# EXIF


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations(kind, orientation):
    upright = smooth(32, 64)
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})
    data = encoded(stored(upright, orientation), kind, exif=exif(orientation), **options)
    image = hwc(read_image(data))
    assert image.shape == upright.shape and np.abs(image.astype(int) - upright).mean() <= (2 if kind == "JPEG" else 0)
    assert probe(data)[:2] == (32, 64)
    for least, size in ((8, (8, 16)), ((16, 16), (16, 32)), ((8, 33), (32, 64)), ((8, 32), (16, 32)), (1, (1, 2))):
        small = hwc(read_image(data, at_least=least))
        assert small.shape[:2] == size
        factor = 32 // size[0]
        blocks = upright.reshape(size[0], factor, size[1], factor, 3).mean((1, 3))
        assert np.abs(small - blocks).mean() <= (6 if kind == "JPEG" else 0.6)
    assert read_image(data, max_aspect=1).shape == (3, 32, 32)


def test_exif_behind_the_pixels_of_a_png():
    late = [(b"eXIf", exif(6).tobytes()[6:])]
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for data in (png(rows, 4, 8, chunks_after=late), png(rows, 4, 8, chunks_before=late)):
        assert probe(data)[:2] == (4, 3)
        assert (read_image(data, channels=1)[0].numpy() == np.rot90(rows, -1)).all()
        assert (read_mask(data).numpy() == np.rot90(rows, -1)).all()


def test_exif_that_cannot_be_read_turns_nothing():
    for broken in (b"Exif\0\0rubbish", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", b"Exif\0\0II*\0\xff\0\0\0"):
        data = encoded(RGB, "JPEG", exif=broken)
        assert read_image(data).shape == (3, 24, 40) and probe(data)[:2] == (24, 40)


# Scale


sides = st.integers(1, 70)


@settings(deadline=None, max_examples=150)
@given(sides, sides, st.one_of(st.integers(1, 40), st.tuples(st.integers(1, 40), st.integers(1, 40))), st.data())
def test_at_least(height, width, least, data):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF"]))
    orientation = data.draw(st.integers(1, 8)) if kind != "GIF" else 1
    options = {"exif": exif(orientation)} if kind != "GIF" else {}
    image = read_image(encoded(stored(smooth(height, width), orientation), kind, **options), at_least=least)
    rows, columns = (least, least) if isinstance(least, int) else least
    factor = reduction(height, width, least)
    assert image.shape[1:] == (-(-height // factor), -(-width // factor))
    assert factor == 1 or (image.shape[1] >= rows and image.shape[2] >= columns)
    assert height // (2 * factor) < rows or width // (2 * factor) < columns  # no larger factor would do


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([2, 4, 8, 16]), st.integers(0, 2**32 - 1))
def test_reduction_of_constant_blocks_is_exact(height, width, factor, seed):
    blocks = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    large = blocks.repeat(factor, 0).repeat(factor, 1)
    assert (hwc(read_image(encoded(large), at_least=(height, width))) == blocks).all()
    assert (read_mask(encoded(large[..., 0]), at_least=(height, width)).numpy() == blocks[..., 0]).all()
    if factor == 8:  # a block of the transform: its mean, but for rounding
        jpeg = encoded(large, "JPEG", quality=100, subsampling=0)
        assert np.abs(hwc(read_image(jpeg, at_least=(height, width))).astype(int) - blocks).max() <= 3


def test_panoramas():
    wide = smooth(10, 100)
    assert (hwc(read_image(encoded(wide), max_aspect=4)) == wide[:, 30:70]).all()
    assert (hwc(read_image(encoded(wide.swapaxes(0, 1)), max_aspect=4)) == wide[:, 30:70].swapaxes(0, 1)).all()
    assert read_image(encoded(wide), max_aspect=4, at_least=5).shape == (3, 5, 20)
    assert read_mask(encoded(wide[..., 0]), max_aspect=4, at_least=5).shape == (5, 20)
    assert read_image(encoded(wide), max_aspect=10).shape == (3, 10, 100)


def test_a_reduced_mask_keeps_the_middle_of_each_block():
    assert read_mask(np.arange(16).reshape(4, 4), at_least=2).tolist() == [[5, 7], [13, 15]]
    assert read_mask(np.arange(20).reshape(4, 5), at_least=2).tolist() == [[6, 8, 9], [16, 18, 19]]


@settings(deadline=None, max_examples=60)
@given(sides, sides, st.integers(1, 30), st.floats(1, 5))
def test_a_mask_has_the_size_of_its_picture(height, width, least, aspect):
    picture = encoded(smooth(height, width), "JPEG")
    mask = encoded(smooth(height, width, 1))
    assert read_mask(mask, least, aspect).shape == read_image(picture, 3, least, aspect).shape[1:]


def test_large_pictures_are_copied_by_bands():
    large = smooth(2100, 2500)
    assert (hwc(read_image(large)) == large).all()
    assert (hwc(read_image(large, max_aspect=1.1)) == large[:, 95:2405]).all()


@pytest.mark.parametrize(
    "arguments", [{"channels": 2}, {"at_least": 0}, {"at_least": (3, 0)}, {"max_aspect": 0.5}, {"max_aspect": np.nan}]
)
def test_settings_out_of_range(arguments):
    with pytest.raises(SettingError, match="expected"):
        read_image(encoded(RGB), **arguments)


# Size


def test_pictures_that_are_too_large():
    with pytest.raises(PictureError, match="40 x 24 pixels would be held in memory; the limit is 900 in all"):
        read_image(encoded(RGB), max_pixels=900)
    with pytest.raises(PictureError, match="the limit is 900"):
        read_image(encoded(RGB), max_pixels=900, at_least=8)  # PNG is decoded whole
    with pytest.raises(PictureError, match="or give at_least=, by which JPEG"):
        read_image(encoded(RGB, "JPEG"), max_pixels=900)
    assert read_image(encoded(RGB, "JPEG"), max_pixels=900, at_least=8).shape == (3, 12, 20)
    assert read_image(encoded(smooth(64, 64), "JPEG"), max_pixels=64, at_least=8).shape == (3, 8, 8)
    with pytest.raises(PictureError, match="40 x 24 pixels"):
        read_image(encoded(RGB, "JPEG", progressive=True), max_pixels=900, at_least=8)
    with pytest.raises(PictureError, match="the limit is 900"):
        read_mask(encoded(RGB[..., 0]), max_pixels=900)


def test_a_bomb_of_few_bytes_is_refused_at_its_header():
    bomb = bytearray(png([[0]], 1, 8))
    bomb[16:24] = (100_000).to_bytes(4) * 2
    import zlib

    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4)
    assert probe(bytes(bomb))[:2] == (100_000, 100_000)
    with pytest.raises(PictureError, match="100000 x 100000 pixels would be held"):
        read_image(bytes(bomb))


HUGE = """
import pathlib, resource, sys
from tipsai.vision.read import read_image, probe, PictureError
path, arguments = sys.argv[1], eval(sys.argv[2])
before = int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 2**20
imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(*probe(path)[:2])
try:
    print(tuple(read_image(path, **arguments).shape))
except PictureError as error:
    print(error)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(peak - before if peak > imports else 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_memory_for_900_million_pixels(tmp_path):
    image = Image.new("L", (30_000, 30_000), 77)
    image.save(tmp_path / "a.jpg")
    image.save(tmp_path / "a.png", compress_level=1)

    def run(name, **arguments):
        command = [sys.executable, "-W", "error", "-c", HUGE, str(tmp_path / name), repr(arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        head, result, megabytes = done.stdout.splitlines()
        assert head == "30000 30000"
        return result, int(megabytes)

    result, megabytes = run("a.jpg", at_least=512)
    assert result == "(3, 938, 938)" and megabytes < 200, (result, megabytes)
    for name in ("a.jpg", "a.png"):
        result, megabytes = run(name)
        assert "a.jpg: 30000 x 30000 pixels would be held" in result.replace(name, "a.jpg") and megabytes < 50
    result, megabytes = run("a.png", at_least=512, max_pixels=10**9)
    assert result == "(3, 938, 938)" and megabytes < 1100, (result, megabytes)  # one byte a pixel of grey


# Masks


def test_masks_keep_their_values():
    values = np.arange(60, dtype=np.uint8).reshape(6, 10)
    palette = Image.fromarray(values)
    palette.putpalette(bytes(range(256)) * 3)
    assert palette.mode == "P"
    for data in (encoded(values), encoded(palette), encoded(palette, transparency=3), encoded(values, "TIFF")):
        mask = read_mask(data)
        assert mask.dtype == torch.uint8 and (mask.numpy() == values).all()
    deep = values.astype(np.uint16) * 1000
    for kind in ("PNG", "TIFF"):
        mask = read_mask(encoded(deep, kind))
        assert mask.dtype == torch.int64 and (mask.numpy() == deep).all()
    signed = values.astype(np.int32) * 10_000_000 - 5
    assert (read_mask(encoded(signed, "TIFF")).numpy() == signed).all()
    assert read_mask(encoded(values > 5)).unique().tolist() == [0, 1]
    assert (read_mask(encoded(np.dstack([values] * 3))).numpy() == values).all()
    assert (read_mask(encoded(np.dstack([values] * 3 + [values * 0 + 255]))).numpy() == values).all()
    assert (read_mask(encoded(np.dstack([values, values * 0 + 255]))).numpy() == values).all()


def test_masks_in_memory():
    values = np.arange(60).reshape(6, 10) * 1000
    assert (read_mask(values).numpy() == values).all() and read_mask(values.astype(np.uint16)).dtype == torch.int64
    assert read_mask(torch.ones(4, 4, dtype=torch.uint8), at_least=2).shape == (2, 2)
    assert read_mask(values > 5).dtype == torch.uint8
    for wrong in (values / 2, values[None], values[:0]):
        with pytest.raises(PictureError, match=r"a mask given as ndarray: it is .*expected whole numbers \[h, w\]"):
            read_mask(wrong)


@pytest.mark.parametrize("bits, colour", [(2, 0), (4, 0), (2, 3), (4, 3)])
def test_masks_of_few_bits_are_not_stretched(bits, colour):
    row = 0b00011011 if bits == 2 else 0x0F
    expected = [[0, 1, 2, 3]] if bits == 2 else [[0, 15]]
    palette = [(b"PLTE", bytes(range(48)))] if colour == 3 else []
    data = png([[row]], len(expected[0]), bits, colour, palette)
    assert read_mask(data).tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_are_turned(orientation):
    values = np.arange(60, dtype=np.uint8).reshape(6, 10)
    for array in (values, values.astype(np.uint16) * 1000):
        data = encoded(stored(array, orientation), exif=exif(orientation))
        assert (read_mask(data).numpy() == array).all()


def test_masks_that_are_refused():
    with pytest.raises(PictureError, match="the mask is in colours .*expected one value a pixel. Save it"):
        read_mask(encoded(RGB))
    half = np.dstack([np.zeros((2, 2), np.uint8)] * 3 + [np.array([[0, 255], [0, 255]], np.uint8)])
    with pytest.raises(PictureError, match="half transparent"):
        read_mask(encoded(half))
    with pytest.raises(PictureError, match="mode F; expected whole numbers"):
        read_mask(encoded(np.ones((2, 2), np.float32), "TIFF"))


# What is wrong


JPEG = encoded(smooth(120, 160), "JPEG", quality=90)
PNG = encoded(smooth(120, 160))
DAMAGED = {
    "nothing": (b"", "the file is empty"),
    "text": (b"not a picture, just words\n", "no picture but text"),
    "a web page": (b"<!DOCTYPE html><html>404</html>", "a web page; the download went wrong"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "run git lfs pull"),
    "a drawing": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC or a film; save it as JPEG"),
    "a PDF": (b"%PDF-1.4\n", "a PDF document"),
    "noise": (bytes(range(128, 256)), "data that begin 80 81 82 83"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], r"the file ends early: the last \d\d% of its rows are missing"),
    "a JPEG without its end": (JPEG[:-40], "the file ends early"),
    "a JPEG's header": (JPEG[:300], "the file ends early|it is damaged"),
    "half a PNG": (PNG[: len(PNG) // 2], r"the file ends early: the last \d\d% of its rows are missing"),
    "a PNG's header": (PNG[:30], "it is damaged|the file ends early"),
    "a PNG with a wrong check sum": (PNG[:60] + bytes([PNG[60] ^ 255]) + PNG[61:], "it is damaged|ends early"),
    "half a GIF": (encoded(smooth(120, 160), "GIF")[:900], "the file ends early|it is damaged"),
    "half a WebP": (encoded(smooth(120, 160), "WEBP", lossless=True)[:900], "the file ends early|it is damaged"),
    "half a TIFF": (encoded(smooth(120, 160), "TIFF")[:900], "the file ends early|it is damaged"),
    "half a BMP": (encoded(smooth(120, 160), "BMP")[:900], "the file ends early"),
    "a progressive JPEG": (encoded(smooth(120, 160), "JPEG", progressive=True)[:700], "the file ends early"),
    "floats": (encoded(np.array([[0, 300]], np.float32), "TIFF"), "floats run from 0 to 300; expected 0 to 1"),
    "LAB": (encoded(Image.new("LAB", (4, 4)), "TIFF"), "LAB, which is not converted. Save it as RGB"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name, tmp_path):
    content, text = DAMAGED[name]
    path = tmp_path / "cat.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=text) as error:
        read_image(path)
    assert isinstance(error.value, DataError) and str(error.value).startswith(f"{path}: ")
    assert error.value.path == str(path) and error.value.reason in str(error.value)
    ((found, reason),) = check([write(tmp_path / "good.png"), path], full=True)
    assert found == str(path) and reason
    if name not in ("half a GIF", "half a WebP", "half a TIFF", "half a BMP", "floats"):  # those need to be decoded
        assert [found for found, _ in check([path], full=False)] == [str(path)]


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]), st.data())
def test_whatever_happens_to_a_file_only_our_error_comes(tmp_path_factory, kind, data):
    content = bytearray(encoded(smooth(20, 30), kind, **({"exif": exif(6)} if kind in ("JPEG", "PNG", "WEBP") else {})))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=5)):
        content[place] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(1, len(content)))])
    for read in (read_image, read_mask, probe):
        try:
            read(content, max_pixels=10_000_000) if read is not probe else read(content)
        except PictureError as error:
            assert error.reason
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(content)
    if probe_or_none(path) and not check([path], full=True):  # what was found good can be read
        read_image(path)


def probe_or_none(path):
    """Unless it is damaged, or claims a size that would take the test long."""
    try:
        found = probe(path)
    except PictureError:
        return None
    return found if found.height * found.width < 10_000_000 else None


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(PictureError, match="none.jpg: there is no such file"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(PictureError, match="this is a folder"):
        probe(tmp_path)
    assert [reason[:10] for _, reason in check([tmp_path / "none.jpg", tmp_path])] == ["there is n", "this is a "]


def test_odd_ends_that_are_no_fault(tmp_path):
    for name, content in (("zeros", JPEG + bytes(64)), ("trailer", JPEG + b"SEFT" * 700), ("png", PNG + b"more")):
        (tmp_path / name).write_bytes(content)
    assert check(sorted(tmp_path.iterdir()), full=False) == check(sorted(tmp_path.iterdir()), full=True) == []


def test_check_decodes_what_is_affordable(tmp_path, monkeypatch):
    (tmp_path / "a.bmp").write_bytes(encoded(smooth(120, 160), "BMP")[:900])
    assert len(check([tmp_path / "a.bmp"])) == 1
    monkeypatch.setattr("tipsai.vision.read.FULL_BYTES", 10)
    assert check([tmp_path / "a.bmp"]) == []


def test_check_keeps_the_order_and_works_in_threads(tmp_path):
    paths = [write(tmp_path / f"{i:03}.jpg") for i in range(100)]
    for i in (3, 40, 77):
        paths[i].write_bytes(JPEG[:-40])
    for n in (1, 4):
        assert [path for path, _ in check(paths, n_threads=n)] == [str(paths[i]) for i in (3, 40, 77)]


def test_the_error_passes_from_process_to_process():
    error = pickle.loads(pickle.dumps(PictureError("a.jpg", "is bad")))
    assert (str(error), error.path, error.reason) == ("a.jpg: is bad", "a.jpg", "is bad")
    assert (
        str(PictureError("Caught PictureError in worker 0")) == "Caught PictureError in worker 0"
    )  # as DataLoader does


def test_undecodable_names_can_be_printed(tmp_path):
    with pytest.raises(PictureError) as error:
        read_image(f"{tmp_path}/caf\udce9.jpg")
    assert "caf\\udce9.jpg: there is no such file" in str(error.value).encode("utf-8").decode()


def test_warnings_of_pil_stay_within_and_others_pass():
    odd = encoded(
        RGB,
        "JPEG",
        exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\x1a\x01\x05\0\x01\0\0\0\xff\xff\0\0",
    )
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [read_image(odd) for _ in range(30)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", stacklevel=1)
