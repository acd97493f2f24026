import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as hyp

from tipsai.core.errors import DataError, SettingError
from tipsai.core.state import IGNORED, Batch
from tipsai.data.loaders import Draw
from tipsai.vision import augment
from tipsai.vision.augment import Augment, Augmentation
from tipsai.vision.view import View, views

SEEDS = hyp.integers(0, 10**6)
PLAIN = ((0.0,) * 3, (1.0,) * 3)  # mean and std that change nothing
EVERYTHING = Augmentation(saturation=0.2, hue=0.05, erase=0.5, translate=0.1)


def batch(b=4, c=3, h=40, w=50, seed=0, sizes=None, y=()):
    x = torch.randint(0, 256, (b, c, h, w), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Batch((x,) if sizes is None else (x, torch.tensor(sizes)), y or (torch.arange(b),))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(seed=SEEDS, b=hyp.integers(1, 9))
def test_what_a_picture_undergoes_does_not_depend_on_those_that_follow(seed, b):
    few = augment.draw_parameters(EVERYTHING, b, (32, 32), generator(seed))
    many = augment.draw_parameters(EVERYTHING, 12, (32, 32), generator(seed))
    assert all(torch.equal(f, m[:b]) for f, m in zip(few, many, strict=True))


def test_parameters_lie_where_the_settings_say():
    drawn = augment.draw_parameters(EVERYTHING, 4000, (32, 32), generator())
    assert drawn.flip.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert 9.9 < drawn.degrees.abs().max() <= 10 and 1.09 < drawn.zoom.max() <= 1.1 and drawn.zoom.min() == 1
    assert (drawn.degrees == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)
    inwards = 1 - drawn.corners.abs()
    assert 0 <= inwards.min() and 0.19 < inwards.max() <= 0.2 + 1e-6
    for factor in (drawn.brightness, drawn.contrast, drawn.saturation):
        assert 0.8 <= factor.min() < 0.81 and 1.19 < factor.max() <= 1.2
    assert drawn.hue.abs().max() <= 0.05
    width, height = (drawn.erase[:, 2] - drawn.erase[:, 0]) / 2, (drawn.erase[:, 3] - drawn.erase[:, 1]) / 2
    assert ((width * height) > 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert (width * height).max() <= 0.33 + 1e-6
    assert len({tuple(row) for row in drawn.crop.tolist()}) == 4000


def test_switching_one_transform_off_leaves_the_others_as_they_were():
    all_on = augment.draw_parameters(EVERYTHING, 8, (32, 32), generator())
    fewer = augment.draw_parameters(Augmentation(rotate=0, flip=0, translate=0.1), 8, (32, 32), generator())
    assert not fewer.flip.any() and not fewer.degrees.any() and torch.equal(fewer.zoom, all_on.zoom)
    assert torch.equal(fewer.corners, all_on.corners) and torch.equal(fewer.brightness, all_on.brightness)


@pytest.mark.parametrize("size", [(24, 24), (100, 104)])
def test_a_draw_repeats_and_another_position_differs(size):
    made = Augment(EVERYTHING, View(size, *PLAIN))
    found = [made(batch(), Draw(3, 1, position)).x[0] for position in (0, 0, 1)]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert found[0].shape == (4, 3, *size) and found[0].dtype == torch.float32
    assert 0 <= found[0].min() and found[0].max() <= 1


def test_evaluation_draws_nothing():
    state = torch.get_rng_state()
    made = Augment(EVERYTHING, View((24, 24), *PLAIN))
    one, two = made(batch(), None), made(batch(), None)
    assert torch.equal(one.x[0], two.x[0]) and torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.x[0], Augment(None, View((24, 24), *PLAIN))(batch(), Draw(0, 0, 0)).x[0])


@pytest.mark.parametrize("c", [1, 3, 12])
def test_small_pictures_are_flipped_and_shifted_exactly(c):
    x = batch(64, c, 32, 32).x[0]
    settings = Augmentation.small(translate=1 / 8)
    made = Augment(settings, View((32, 32), (0.0,) * c, (1.0,) * c))(Batch((x,), ()), Draw(0, 0, 5)).x[0]
    drawn = augment.draw_parameters(settings, 64, (32, 32), Draw(0, 0, 5).generator("augment"))
    moves = (drawn.shift * 9).floor().long() - 4
    assert set(moves.flatten().tolist()) == set(range(-4, 5))
    wide = torch.cat([x.flip(3), x, x.flip(3)], 3)
    wide = torch.cat([wide.flip(2), wide, wide.flip(2)], 2)
    wide = wide.float().div(255)
    for i, (dx, dy) in enumerate(moves.tolist()):
        expected = wide[i].flip(2) if drawn.flip[i] else wide[i]
        assert torch.allclose(made[i], expected[:, 32 - dy : 64 - dy, 32 - dx : 64 - dx], atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, sized=hyp.booleans())
def test_masks_and_points_go_where_the_picture_goes(seed, sized):
    sizes = [[40, 50], [30, 44], [40, 20]] if sized else None
    x = torch.zeros(3, 1, 40, 50)
    at = torch.tensor([[14, 12], [20, 9], [8, 21]])
    for i, (column, row) in enumerate(at.tolist()):
        x[i, 0, row - 3 : row + 4, column - 3 : column + 4] = 1
    n = torch.tensor(sizes or [[40, 50]] * 3).flip(1)
    points = ((at + 0.5) / n * 2 - 1).float()
    warps = Augmentation(erase=0, brightness=0, contrast=0, padding="zeros")
    given_x = (x,) if sizes is None else (x, torch.tensor(sizes))
    draw, how = Draw(seed, 0, 0), ((80, 90), (0.0,), (1.0,))
    of_mask = Augment(warps, View(*how, kind="mask"))(Batch(given_x, (x.to(torch.int16), *given_x[1:])), draw)
    seen, mask = of_mask.x[0][:, 0], of_mask.y[0]
    assert mask.dtype == torch.int64 and mask.shape == (3, 80, 90) and set(mask.unique().tolist()) <= {-100, 0, 1}
    assert ((seen > 0.5) != (mask == 1)).float().mean() < 0.02
    of_points = Augment(warps, View(*how, kind="points"))(Batch(given_x, (points,)), draw)
    assert torch.equal(of_points.x[0], of_mask.x[0]) and of_points.y[0].shape == (3, 2)
    v, u = ((torch.arange(k) + 0.5) * 2 / k - 1 for k in (80, 90))
    for picture, point in zip(seen, of_points.y[0], strict=True):
        if point.abs().max() < 0.6:
            centre = torch.stack([(picture.sum(0) * u).sum(), (picture.sum(1) * v).sum()]) / picture.sum()
            assert (centre - point).abs().max() < 0.05


def test_labels_and_missing_targets_stay():
    made = Augment(EVERYTHING, View((24, 24), *PLAIN))(batch(), Draw(0, 0, 0))
    assert torch.equal(made.y[0], torch.arange(4))
    assert Augment(None, View((24, 24), *PLAIN, kind="mask"))(Batch(batch().x, ()), None).y == ()


def test_a_batch_of_pictures_of_the_canvas_size_is_one_without_sizes():
    plain, sized = batch(), batch(sizes=[[40, 50]] * 4)
    made = Augment(EVERYTHING, View((24, 24), *PLAIN))
    assert torch.equal(made(plain, Draw(0, 0, 0)).x[0], made(sized, Draw(0, 0, 0)).x[0])
    assert len(made(sized, None).x) == 1


def test_normalisation_is_by_mean_and_std():
    x = batch(h=24, w=24)
    made = View((24, 24), (0.2, 0.3, 0.4), (0.5, 0.6, 0.7))(x).x[0]
    expected = (x.x[0] / 255 - torch.tensor([0.2, 0.3, 0.4])[:, None, None]) / torch.tensor([0.5, 0.6, 0.7])[
        :, None, None
    ]
    assert torch.allclose(made, expected, atol=1e-5)
    floats = View((24, 24), (0.2, 0.3, 0.4), (0.5, 0.6, 0.7))(Batch((x.x[0] / 255,), ())).x[0]
    assert torch.allclose(floats, expected, atol=1e-5)


@pytest.mark.parametrize(("view", "outside"), [("crop", 0), ("squish", 0), ("pad", 0.5)])
def test_views_of_evaluation(view, outside):
    x = torch.full((1, 1, 40, 80), 255, dtype=torch.uint8)
    mask = torch.ones(1, 1, 40, 80, dtype=torch.int16)
    made = View((20, 20), (0.0,), (1.0,), "mask", view)(Batch((x,), (mask,)))
    assert (made.x[0] == 0).float().mean().item() == pytest.approx(outside, abs=0.11)
    assert (made.y[0] == IGNORED).float().mean() == outside


def test_the_crop_keeps_the_contents_shape_up_to_the_ratio():
    drawn = augment.draw_parameters(Augmentation(), 200, (30, 60), generator())
    settings = Augmentation(flip=0, rotate=0, zoom=1, perspective=0)
    sizes = torch.tensor([[100, 70]]).expand(200, 2)
    m = augment.matrix(settings, drawn, sizes, (30, 60))
    stretch = (m[:, 0, 0].abs() * 70 / 60) / (m[:, 1, 1] * 100 / 30)  # input pixels an output pixel, x over y
    assert 0.75 - 1e-4 <= stretch.min() < 0.8 and 1.25 < stretch.max() <= 4 / 3 + 1e-4


def test_erasing_paints_rectangles_of_the_mean_colour():
    x = torch.ones(3, 2, 20, 10)
    boxes = torch.tensor([[-1.0, -1, 0, 0], [0, 0, 0, 0], [0.2, -0.5, 0.6, 1]])
    made = augment.erase(x, boxes)
    assert made is x and (x[0, :, :10, :5] == 0).all() and x[0].sum() == 2 * 150
    assert (x[1] == 1).all() and (x[2, :, 5:, 6:8] == 0).all() and x[2].sum() == 2 * 170


@pytest.mark.parametrize("side", [24, 128])
def test_views_keep_small_pictures_sharp(side):
    """Whole pixels only: an impulse stays one."""
    x = torch.zeros(1, 1, side, side)
    x[0, 0, side // 2, side // 2] = 1
    seen = [view(Batch((x,), ()), None).x[0] for view in views(View((side, side), (0.0,), (1.0,)))]
    sharp = [set(v.unique().tolist()) == {0.0, 1.0} for v in seen]
    assert all(sharp) if side == 24 else sharp[:2] == [True, True]
    assert len({tuple(v.flatten().tolist()) for v in seen}) == len(seen)


def test_test_time_views_begin_with_the_plain_one_and_differ():
    made = [view(batch(1), None).x[0] for view in views(View((24, 24), *PLAIN))]
    assert torch.equal(made[0], Augment(None, View((24, 24), *PLAIN))(batch(1), None).x[0])
    assert torch.allclose(made[1], made[0].flip(3), atol=1e-4)
    assert all(not torch.allclose(a, b, atol=1e-2) for i, a in enumerate(made) for b in made[:i])
    assert len(views(View((24, 24), *PLAIN), flip=False)) == len(made) // 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flip": 1.5}, r"flip is 1.5; expected a number in 0..1"),
        ({"perspective": 0.7}, r"perspective is 0.7; expected a number in 0..0.5"),
        ({"zoom": 0.9}, r"zoom is 0.9; expected a factor of at least 1"),
        ({"scale": (0.0, 1.0)}, r"scale is \(0.0, 1.0\)"),
        ({"ratio": (2.0, 1.0)}, r"the smaller one first"),
        ({"padding": "wrap"}, r"padding is 'wrap'"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(SettingError, match=message):
        Augmentation(**changes)


def test_other_mistakes_are_named():
    with pytest.raises(SettingError, match="kind is 'box'"):
        View((24, 24), *PLAIN, kind="box")
    with pytest.raises(SettingError, match="view is 'fit'"):
        View((24, 24), *PLAIN, view="fit")
    with pytest.raises(DataError, match="expected pictures"):
        View((24, 24), *PLAIN)(Batch((torch.rand(2, 3),), ()))


def test_a_picture_is_mirrored_in_every_other_epoch():
    x = batch(16, 3, 8, 8)
    made = Augment(Augmentation.small(translate=0.0), View((8, 8), *PLAIN))
    items = torch.arange(100, 116)
    plain = made(x, None).x[0]
    first, second, third = (made(x, Draw(3, epoch, epoch, items)).x[0] for epoch in range(3))
    mirrored = ~(first == plain).flatten(1).all(1)
    assert 0 < mirrored.sum() < 16
    assert torch.equal(first[mirrored], plain.flip(3)[mirrored]) and torch.equal(
        second[~mirrored], plain.flip(3)[~mirrored]
    )
    assert torch.equal(second[mirrored], plain[mirrored]) and torch.equal(third, first)
