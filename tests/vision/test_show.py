"""Pictures at every stage, their targets drawn over them, and what a convolutional network makes of them."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tipsai import DataLoaders, Learner, plot, toys
from tipsai.core.errors import SettingError
from tipsai.vision import show
from tipsai.vision.augment import Augmentation
from tipsai.vision.blocks import ImageBlock, MaskBlock, PointBlock
from tipsai.vision.data import ImageDataLoaders
from tipsai.vision.models import SmallResNet


def _titles(fig):
    return [ax.get_title() for ax in fig.axes]


def _dls(n=24, channels=3, **options):
    toy = toys.images(n, size=16)
    names = np.array(["rising", "falling", "lying", "standing"])[toy.y]
    return ImageDataLoaders.from_arrays((toy.x[:, :channels], names), bs=8, **options)


def _net(n_in, n_out):
    return nn.Sequential(nn.Conv2d(n_in, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, n_out))


@pytest.fixture
def masks(tmp_path):
    """Pictures of squares, with masks of them."""
    g = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(12):
        picture, mask = g.integers(0, 99, (20, 30, 3), np.uint8), np.zeros((20, 30), np.uint8)
        y, x = g.integers(0, 12, 2)
        picture[y : y + 8, x : x + 8], mask[y : y + 8, x : x + 8] = 200, 7
        Image.fromarray(picture).save(tmp_path / f"images/{i}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/{i}.png")
    return ImageDataLoaders.from_folder(tmp_path, size=(20, 30), bs=4, names=["ground", "square"])


# --- blocks -------------------------------------------------------------------------------------------------------------


def _axes():
    fig = plot.blank(2, 2)
    return fig.add_subplot()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_is_drawn_in_its_shape(channels):
    block = ImageBlock((8, 12), channels, mean=[0.5] * channels, std=[0.25] * channels)
    ax = _axes()
    block.draw(ax, torch.zeros(channels, 8, 12))
    (image,) = ax.images
    assert image.get_array().shape == ((8, 12) if channels == 1 else (8, 12, channels))
    assert (image.get_array() == 128).all() and image.get_interpolation() == "nearest"
    assert ax.get_aspect() == pytest.approx(8 / 12)
    assert channels != 1 or (image.get_cmap().name, image.get_clim()) == ("gray", (0, 255))


def test_a_mask_has_a_colour_a_class_and_none_where_it_is_ignored():
    block = MaskBlock([0, 7], ["ground", "square"])
    ax = _axes()
    ImageBlock((2, 3), mean=[0.5] * 3, std=[1.0] * 3).draw(ax, torch.zeros(3, 2, 3))
    mask = torch.tensor([[0, 1, -100], [0, 1, 1]])
    block.draw(ax, mask)
    over = ax.images[1].get_array()
    seen = {f"#{r:02x}{g:02x}{b:02x}": a for r, g, b, a in over.reshape(-1, 4).tolist()}
    assert over[0, 2, 3] == 0 and set(plot.colours(2)) <= set(seen)
    assert block.legend([mask]) == dict(zip(["ground", "square"], plot.colours(2), strict=True))
    assert block.legend([mask[:, :1]]) == {"ground": plot.colours(2)[0]}


def test_points_lie_where_they_are():
    block = PointBlock(["eye", "nose"])
    ax = _axes()
    block.draw(ax, torch.tensor([-0.5, 0.25, 1.0, -1.0]))
    block.draw(ax, torch.zeros(4), predicted=True)
    dots, crosses = ax.collections
    np.testing.assert_allclose(dots.get_offsets(), [[-0.5, 0.25], [1, -1]])
    assert len(crosses.get_offsets()) == 2
    assert block.show(torch.tensor([-0.5, 0.25, 1.0, -1.0])) == "eye (-0.50, 0.25), nose (1.00, -1.00)"


# --- through loaders and learners ---------------------------------------------------------------------------------------


def test_masks_are_drawn_beside_their_predictions(masks, tmp_path):
    learn = Learner(masks, nn.Conv2d(3, 2, 3, padding=1), lr=0.1, device="cpu", seed=0)
    fig = learn.show_results(2)
    assert _titles(fig) == ["target", "prediction"] * 2
    assert {text.get_text() for text in fig.legends[0].get_texts()} <= {"ground", "square"}
    interp = learn.interpret()
    worst = interp.lowest_iou(2)
    assert all(name.endswith(".png") and "images" in name for name in worst["name"])
    titles = _titles(interp.plot_lowest_iou(2))
    assert titles[0] == "target" and titles[1] == f"prediction, IoU {worst['iou'][0]:.2f}"
    assert interp.confusion().index.tolist() == ["ground", "square"]
    masks.show_batch(3).savefig(tmp_path / "batch.png")
    assert set(_titles(masks.show_batch(3))) == {""}


def test_points_are_drawn_with_their_predictions():
    toy = toys.images(24, size=16)
    dls = ImageDataLoaders.from_arrays((toy.x, np.zeros((24, 4), np.float32)), task="points", bs=8)
    fig = Learner(dls, _net(3, 4), lr=0.1, device="cpu", seed=0).show_results(4)
    assert [len(ax.collections) for ax in fig.axes] == [2] * 4
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["target", "prediction"]


def test_pictures_are_told_by_their_paths(tmp_path):
    for i in range(16):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), i * 12, np.uint8)).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    dls = ImageDataLoaders.from_folder(tmp_path, bs=4, valid=0.5)
    top = Learner(dls, _net(3, 2), lr=0.1, device="cpu", seed=0).interpret().top_losses()
    assert top["name"].tolist() == [dls.items["valid"][i] for i in top["position"]]


# --- stages -------------------------------------------------------------------------------------------------------------

STRONG = Augmentation(
    translate=0.2, saturation=0.3, hue=0.2, erase=0.5, brightness=0.4, contrast=0.4, rotate=20, zoom=1.3
)


def test_every_transform_that_is_on_is_shown_alone_and_changes_the_picture():
    dls = _dls(aug=STRONG)
    fig = dls.show_transforms(2, n=3)
    names = [title.split()[0] for title in _titles(fig)]
    on = ["flip", "rotate", "zoom", "perspective", "translate", "scale", "ratio"]
    on += ["brightness", "contrast", "saturation", "hue", "erase"]
    assert names == ["as", "evaluation's", *on, "all", "all", "all"]
    pictures = [np.asarray(ax.images[0].get_array()).astype(int) for ax in fig.axes]
    np.testing.assert_array_equal(pictures[0], dls.train.at([2]).x[0][0].permute(1, 2, 0))
    changes = [abs(picture - pictures[1]).mean() for picture in pictures[2:]]
    assert min(changes) > 1, dict(zip(names[2:], changes, strict=True))


def test_every_setting_of_an_augmentation_is_known():
    known = set(show.one_by_one(STRONG)) | {"p_warp", "p_colour", "erase_area", "padding"}
    assert known == {field.name for field in fields(Augmentation)}
    assert show.one_by_one(show.OFF) == {}
    settings, _ = show.one_by_one(STRONG)["rotate"]
    assert settings == replace(show.OFF, rotate=20)


def test_what_is_off_is_not_shown():
    assert [t.split()[0] for t in _titles(_dls(aug=None).show_transforms())] == ["as", "evaluation's"]
    small = [t.split()[0] for t in _titles(_dls(aug=Augmentation.small(), channels=1).show_transforms(n=1))]
    assert small == ["as", "evaluation's", "flip", "translate", "all"]


def test_masks_are_drawn_at_every_stage(masks):
    fig = masks.show_transforms(n=1)
    assert [len(ax.images) for ax in fig.axes] == [1] + [2] * (len(fig.axes) - 1)


def test_stages_of_what_is_no_picture_are_refused():
    dls = DataLoaders.from_tensors((torch.randn(4, 2), torch.zeros(4)))
    with pytest.raises(SettingError, match="these loaders hold no pictures that are augmented"):
        show.transforms(dls)
    pictures = _dls()
    with pytest.raises(
        SettingError, match=rf"i is 99, and the train split has the items 0 to {pictures.train.n_items - 1}"
    ):
        pictures.show_transforms(99)


# --- inside a network ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_in, shape", [(1, (3, 3)), (3, (3, 3, 3)), (6, (3, 3))])
def test_filters_fill_their_own_range(n_in, shape, tmp_path):
    fig = show.first_layer_filters(_net(n_in, 2))
    assert len(fig.axes) == 5 and fig.get_suptitle().startswith("5 filters of layer '0', 3x3")
    assert ("the mean of 6 inputs" in fig.get_suptitle()) == (n_in == 6)
    for ax in fig.axes:
        pixels = ax.images[0].get_array()
        assert pixels.shape == shape and (pixels.min(), pixels.max()) == (0, 1)
        assert ax.images[0].get_interpolation() == "nearest"
    fig.savefig(tmp_path / "filters.png")


def test_the_whitening_of_the_built_in_network_is_its_first_layer():
    fig = show.first_layer_filters(SmallResNet(3, 16, width=8))
    assert fig.get_suptitle().startswith("24 filters of layer '0.0', 2x2") and len(fig.axes) == 24
    assert fig.axes[0].images[0].get_array().shape == (2, 2, 3)


def test_of_many_filters_some_are_shown():
    fig = show.first_layer_filters(nn.Conv2d(3, 100, 5))
    assert len(fig.axes) == show.MOST_FILTERS and fig.get_suptitle().startswith("64 of 100 filters")


def test_maps_are_those_of_the_layer():
    model, x = _net(1, 2), torch.randn(1, 8, 8)
    model.train()
    with torch.no_grad():
        maps = model[0](x[None])[0]
    fig = show.feature_maps(model, x, n=3)
    assert _titles(fig)[0] == "input" and len(fig.axes) == 4
    chosen = [int(title.split()[1]) for title in _titles(fig)[1:]]
    assert set(chosen) == set(maps.flatten(1).std(1).topk(3).indices.tolist())
    for ax, channel in zip(fig.axes[1:], chosen, strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), maps[channel], rtol=1e-5)
    assert model.training and not model[0]._forward_hooks
    for layer in ("1", model[1]):
        assert show.feature_maps(model, x[None], layer).get_suptitle() == "maps of layer '1'"


def test_layers_that_make_no_maps_are_refused():
    model, x = _net(1, 2), torch.randn(1, 8, 8)
    with pytest.raises(SettingError, match=r"the layer '4' gives \[1, 2\]; expected maps"):
        show.feature_maps(model, x, "4")
    with pytest.raises(SettingError, match="the model has no layer 'conv'"):
        show.feature_maps(model, x, "conv")
    with pytest.raises(SettingError, match="the layer, a ReLU, is no part of the model"):
        show.feature_maps(model, x, nn.ReLU())
    with pytest.raises(SettingError, match="the model, a Linear, has no Conv2d; there are no filters to look at"):
        show.first_layer_filters(nn.Linear(2, 2))
