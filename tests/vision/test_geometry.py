import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as hyp
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as peer

from tipsai.core.errors import DataError, SettingError
from tipsai.vision import geometry, sample, transforms

CORNERS = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
SEEDS = hyp.integers(0, 10**6)


def pictures(b=2, c=3, h=12, w=10, seed=0, dtype=torch.uint8):
    made = torch.randint(0, 256, (b, c, h, w), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return made if dtype == torch.uint8 else made.to(dtype)


def smooth(h, w):
    """A picture without fine detail: [1, 2, h, w]."""
    y, x = torch.meshgrid(torch.linspace(0, 3, h), torch.linspace(0, 4, w), indexing="ij")
    return torch.stack([100 + 80 * torch.sin(x + y), 100 + 80 * torch.cos(x * 1.3 - y)])[None]


def drawn(b, seed, strength=1.0):
    """Homographies such as augmentation draws."""
    u = torch.rand(b, 15, generator=torch.Generator().manual_seed(seed))
    boxes = geometry.crop_boxes(u[:, 11:15], 1.0, (0.35, 1.0), (3 / 4, 4 / 3))
    return geometry.compose(
        geometry.flip(u[:, 0] < 0.5),
        geometry.rotation(strength * 40 * (u[:, 1] - 0.5), 1.2),
        geometry.zoom(1 + 0.2 * u[:, 2]),
        geometry.perspective(CORNERS * (1 - 0.3 * strength * u[:, 3:11].view(b, 4, 2))),
        geometry.crop(boxes),
    )


@given(seed=SEEDS)
def test_points_through_a_product_go_through_each_in_turn(seed):
    first, second = drawn(3, seed), drawn(3, seed + 1)
    points = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(seed)) - 0.5
    in_turn = geometry.warp_points(geometry.warp_points(points, first), second)
    assert torch.allclose(geometry.warp_points(points, geometry.compose(first, second)), in_turn, atol=1e-3)


@given(degrees=hyp.floats(-180, 180), aspect=hyp.floats(0.3, 3), factor=hyp.floats(0.3, 3))
def test_turning_and_enlarging_back_is_the_identity(degrees, aspect, factor):
    a, f = torch.tensor([degrees]), torch.tensor([factor])
    there = geometry.compose(geometry.rotation(a, aspect), geometry.zoom(f))
    made = geometry.compose(there, geometry.zoom(1 / f), geometry.rotation(-a, aspect))
    assert torch.allclose(made, torch.eye(3)[None], atol=1e-5)


@given(seed=SEEDS)
def test_perspective_brings_the_corners_to_their_places(seed):
    corners = CORNERS * (1 - 0.5 * torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(seed)))
    found = geometry.warp_points(CORNERS.expand(3, 4, 2), geometry.perspective(corners))
    assert torch.allclose(found, corners, atol=1e-4)


@given(seed=SEEDS, relative=hyp.floats(0.3, 3))
def test_crops_lie_in_the_picture_and_have_the_area_and_shape_asked_for(seed, relative):
    generator = torch.Generator().manual_seed(seed)
    boxes = geometry.draw_crop_boxes(torch.full((64,), relative), (0.1, 0.2), (0.8, 1.25), generator)
    assert boxes.abs().max() <= 1 + 1e-6
    width, height = (boxes[:, 2] - boxes[:, 0]) / 2, (boxes[:, 3] - boxes[:, 1]) / 2
    stretch = width / height * relative
    assert stretch.min() >= 0.79 and stretch.max() <= 1.26
    assert (width * height).max() <= 0.2001
    whole = torch.maximum(width, height) < 0.999
    assert not whole.any() or (width * height)[whole].min() >= 0.0999


def test_crops_that_would_be_too_wide_are_made_smaller_in_their_own_shape():
    boxes = geometry.crop_boxes(torch.tensor([[1.0, 0.5, 0.3, 0.9]]), 0.25, (0.5, 1.0), (1.0, 1.0))
    assert torch.allclose(boxes[0, [0, 2]], torch.tensor([-1.0, 1.0]))
    assert (boxes[0, 3] - boxes[0, 1]).item() == pytest.approx(2 * 0.25)


@settings(deadline=None)
@given(seed=SEEDS, c=hyp.sampled_from([1, 3, 4, 12]), size=hyp.sampled_from([(7, 5), (8, 8), (100, 97)]))
def test_flips_and_the_identity_are_exact(seed, c, size):
    x = pictures(2, c, *size, seed)
    flags = torch.tensor([True, False])
    once = transforms.hflip(x, flags)
    assert torch.equal(once[0], x[0].flip(2).float()) and torch.equal(once[1], x[1].float())
    assert torch.equal(transforms.hflip(once, flags), x.float())
    assert torch.equal(sample.warp(x, geometry.whole(torch.tensor([size] * 2)), size), x.float())


@given(seed=SEEDS, dx=hyp.integers(-4, 4), dy=hyp.integers(-4, 4))
def test_shifts_by_whole_pixels_are_copies_with_mirrored_edges(seed, dx, dy):
    x = pictures(1, 3, 9, 7, seed)
    made = transforms.translate(x, torch.tensor([[dx, dy]]))
    wide = torch.cat([x.flip(3), x, x.flip(3)], 3)
    wide = torch.cat([wide.flip(2), wide, wide.flip(2)], 2)
    assert torch.equal(made, wide[:, :, 9 - dy : 18 - dy, 7 - dx : 14 - dx].float())


@pytest.mark.parametrize("size", [(20, 30), (110, 120)])  # at once, and one by one
@pytest.mark.parametrize("padding", ["reflection", "border"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_picture_of_one_colour_stays_so(size, padding, dtype):
    x = torch.full((4, 3, 150, 170), 77, dtype=dtype)
    for m in (drawn(4, 1), geometry.compose(drawn(4, 2), geometry.zoom(torch.full((4,), 0.2)))):
        assert torch.allclose(sample.warp(x, m, size, padding=padding), torch.tensor(77.0), atol=1e-3)


@pytest.mark.parametrize("padding", ["reflection", "border", "zeros"])
@pytest.mark.parametrize("interpolation", ["area", "nearest"])
@pytest.mark.parametrize("size", [(20, 30), (110, 120)])
def test_what_lies_beside_the_picture_on_its_canvas_never_shows(padding, interpolation, size):
    x, sizes = pictures(3, 2, 200, 180), torch.tensor([[150, 170], [200, 90], [31, 180]])
    beside = torch.ones(3, 1, 200, 180, dtype=torch.bool)
    for i, (h, w) in enumerate(sizes.tolist()):
        beside[i, :, :h, :w] = False
    m = geometry.compose(drawn(3, 5), geometry.zoom(torch.full((3,), 0.8)))
    how = {"padding": padding, "interpolation": interpolation}
    found = [sample.warp(x.masked_fill(beside, value), m, size, sizes, **how) for value in (0, 255)]
    assert torch.equal(*found)
    for i, (h, w) in enumerate(sizes.tolist()):  # and each is what it would be alone
        alone = sample.warp(x[i : i + 1, :, :h, :w], m[i : i + 1], size, **how)
        tolerance = 1e-2 if size == (110, 120) or interpolation == "nearest" else 40  # fewer samples for it alone
        assert (alone.float() - found[0][i].float()).abs().mean() < tolerance


@pytest.mark.parametrize("shrink", [1.0, 1.4, 2.0, 2.7, 3.3, 5.0, 9.0])
@pytest.mark.parametrize("padding", ["reflection", "border"])
def test_pictures_one_by_one_are_what_many_samples_give(shrink, padding):
    side = int(110 * shrink)
    x = smooth(side, side).expand(3, -1, -1, -1) + torch.rand(
        3, 1, side, side, generator=torch.Generator().manual_seed(0)
    )
    m = drawn(3, 7)
    made = sample.warp(x, m, (110, 110), padding=padding)
    assert (made - sample.warp(x, m, (110, 110), padding=padding, samples=12)).abs().mean() < 0.15


@pytest.mark.parametrize("across", [1.0, 1.2, 1.6, 2.1, 2.6, 4.5])
@pytest.mark.parametrize("down", [1.0, 1.5, 2.4])
def test_filtering_moves_nothing(across, down):
    """A slope stays one, of the same height in the same places, up to the pixels at the edge."""
    h, w = round(110 * down), round(120 * across)
    y, x = ((torch.arange(n) + 0.5) / n for n in (h, w))
    slopes = torch.stack([x.expand(h, w), y[:, None].expand(h, w)])[None]
    made = sample.warp(slopes, torch.eye(3)[None], (110, 120))
    y, x = ((torch.arange(n) + 0.5) / n for n in (110, 120))
    expected = torch.stack([x.expand(110, 120), y[:, None].expand(110, 120)])[None]
    assert torch.allclose(made[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-4)
    assert torch.allclose(made, sample.warp(slopes, torch.eye(3)[None], (110, 120), samples=12), atol=2e-3)


def test_zeros_beyond_the_edges():
    x = torch.full((1, 1, 120, 120), 50.0)
    for size in ((40, 40), (120, 120)):
        made = sample.warp(x, geometry.zoom(torch.tensor([0.5])), size, padding="zeros")
        middle, n = made[0, 0, size[0] // 2], size[0]
        assert middle[: n // 4 - 2].abs().max() == 0 and torch.allclose(middle[n // 4 + 2 : n // 2], torch.tensor(50.0))


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, size=hyp.sampled_from([(64, 48), (128, 150)]))
def test_a_bright_dot_goes_where_its_point_goes(seed, size):
    x = torch.zeros(1, 1, 150, 180)
    at = torch.randint(60, 90, (2,), generator=torch.Generator().manual_seed(seed)).tolist()
    x[0, 0, at[1] - 4 : at[1] + 5, at[0] - 4 : at[0] + 5] = 1
    m = geometry.compose(drawn(1, seed, 0.7), geometry.zoom(torch.tensor([0.4])))
    seen = sample.warp(x, m, size, padding="zeros")[0, 0]
    point = torch.tensor([[[(at[0] + 0.5) / 90 - 1, (at[1] + 0.5) / 75 - 1]]])
    expected = geometry.warp_points(point, m)[0, 0]
    v, u = ((torch.arange(n) + 0.5) * 2 / n - 1 for n in size)
    if expected.abs().max() > 0.8:  # partly out of sight
        return
    found = torch.stack([(seen.sum(0) * u).sum(), (seen.sum(1) * v).sum()]) / seen.sum()
    assert ((found - expected).abs() * torch.tensor([size[1] / 2, size[0] / 2])).max() < 0.5


@settings(deadline=None)
@given(seed=SEEDS, padding=hyp.sampled_from(["reflection", "border", "zeros"]))
def test_masks_keep_their_values_and_type(seed, padding):
    mask = torch.randint(0, 5, (2, 1, 30, 40), dtype=torch.int16) * 3
    made = sample.warp(mask, drawn(2, seed), (17, 23), interpolation="nearest", padding=padding, fill=-100)
    allowed = {0, 3, 6, 9, 12} | ({-100} if padding == "zeros" else set())
    assert made.dtype == torch.int16 and set(made.unique().tolist()) <= allowed


@pytest.mark.parametrize("shrink", [2, 4, 6])
@pytest.mark.parametrize("out", [32, 104])
def test_a_fine_checkerboard_shrinks_to_grey(shrink, out):
    n = out * shrink
    board = ((torch.arange(n)[:, None] + torch.arange(n)) % 2 * 255).to(torch.uint8)[None, None]
    made = sample.warp(board, geometry.whole(torch.tensor([[n, n]])), (out, out))
    error = (made - 127.5).abs()[0, 0]
    assert error[1:-1, 1:-1].max() < 0.01 and error.max() < 4  # in the corners an edge pixel is its own neighbour


@pytest.mark.parametrize("degrees", [9.0, -30.0])
def test_rotation_turns_as_torchvisions(degrees):
    x = smooth(120, 160)
    made = transforms.rotate(x, torch.tensor([degrees]))[..., 45:75, 60:100]
    other = peer.rotate(x, degrees, interpolation=InterpolationMode.BILINEAR)[..., 45:75, 60:100]
    assert (made - other).abs().max() < 0.5


def test_perspective_is_torchvisions():
    x, corners = smooth(120, 160), CORNERS[None] * torch.tensor([0.8, 0.9])
    ends = [[(a + 1) * 80 - 0.5, (b + 1) * 60 - 0.5] for a, b in corners[0].tolist()]
    starts = [[(a + 1) * 80 - 0.5, (b + 1) * 60 - 0.5] for a, b in CORNERS.tolist()]
    other = peer.perspective(x, starts, ends, interpolation=InterpolationMode.BILINEAR)
    assert (transforms.distort(x, corners) - other)[..., 20:-20, 20:-20].abs().max() < 0.6


def test_views_of_evaluation():
    sizes = torch.tensor([[100, 200], [100, 50]])
    point = torch.tensor([[[1.0, 1.0]]]).expand(2, 1, 2)
    assert torch.allclose(geometry.warp_points(point, geometry.whole(sizes)), point)
    cropped = geometry.warp_points(point, geometry.centre_crop(sizes, (64, 64)))[:, 0]
    assert torch.allclose(cropped, torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
    padded = geometry.warp_points(point, geometry.pad(sizes, (64, 64)))[:, 0]
    assert torch.allclose(padded, torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    x = smooth(100, 200)
    assert transforms.resized_crop(x, torch.tensor([[-1.0, -1, 0, 1]]), (100, 100)).shape == (1, 2, 100, 100)
    assert torch.equal(transforms.resized_crop(x, torch.tensor([[-1.0, -1, 0, 1]]), (100, 100)), x[..., :100])
    assert transforms.magnify(x, torch.tensor([2.0])).shape == x.shape


def test_the_number_of_threads_changes_nothing_and_is_kept():
    x, m, n = pictures(5, 3, 150, 150), drawn(5, 3), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(sample.warp(x, m, (112, 112)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(n)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_the_pictures_themselves_are_left_alone_whatever_their_layout():
    x = smooth(150, 150)
    before, m = x.clone(), drawn(1, 4)
    made = sample.warp(x, m, (112, 112))
    assert torch.equal(x, before)
    other = sample.warp(x.contiguous(memory_format=torch.channels_last), m, (112, 112))
    assert torch.allclose(made, other, atol=1e-4) and made.is_contiguous()


def test_mistakes_are_named():
    x, m = pictures(2), geometry.whole(torch.tensor([[12, 10]] * 2))
    with pytest.raises(DataError, match=r"expected pictures \[b, c, h, w\]"):
        sample.warp(x[0], m, (5, 5))
    with pytest.raises(DataError, match=r"\(1, 3, 3\)"):
        sample.warp(x, m[:1], (5, 5))
    with pytest.raises(SettingError, match="'cubic'"):
        sample.warp(x, m, (5, 5), interpolation="cubic")
    with pytest.raises(SettingError, match="'wrap'"):
        sample.warp(x, m, (5, 5), padding="wrap")
    assert math.isfinite(sample.warp(x, m, (5, 5)).sum().item())
