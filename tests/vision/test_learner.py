"""vision_learner: every task from pictures to an artifact that predicts the same."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import At, Boom, boom
from pictures import tree
from PIL import Image
from torch import nn

from tipsai import load_learner
from tipsai.callbacks.mixup import Mixing
from tipsai.core.errors import DataError, SettingError
from tipsai.doctor import CHECKS
from tipsai.vision import Augmentation, ImageDataLoaders, defaults, vision_learner
from tipsai.vision.models import SmallResNet
from tipsai.vision.progressive import Progressive

SMALL = {"width": 8, "seed": 1, "device": "cpu"}


def shapes(n=120, side=12, seed=0):
    """Bright squares or bars on noise, which any network tells apart."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 80, (n, side, side), dtype=np.uint8), rng.integers(0, 2, n)
    for picture, label in zip(x, y, strict=True):
        top, left = rng.integers(0, side - 5, 2)
        picture[top : top + (5 if label else 1), left : left + 5] = 230
    return x, y


@pytest.fixture(scope="module")
def trained():
    dls = ImageDataLoaders.from_arrays(shapes(), 0.25, shapes(40, seed=1), bs=16)
    learn = vision_learner(dls, metrics=["accuracy"], **SMALL)
    learn.fit_one_cycle(8, progress=False)
    return learn


def test_it_learns(trained):
    assert trained.history[-1]["valid_accuracy"] > 0.9
    assert trained.test()["test_accuracy"] > 0.9
    assert trained.validate(tta=True)["valid_accuracy"] > 0.9


def test_the_first_loss_is_that_of_knowing_nothing(trained):
    learn = vision_learner(trained.dls, **SMALL)
    assert learn.validate()["valid_loss"] == pytest.approx(np.log(2), rel=0.2)


@pytest.mark.parametrize("n, bs, factor", [(800, 64, 1.0), (2000, 128, 1.0), (34_000, 256, 2**0.5)])
def test_many_small_pictures_come_in_larger_batches_at_a_higher_rate(n, bs, factor):
    x, y = np.random.default_rng(0).integers(0, 256, (34_000, 8, 8), dtype=np.uint8), np.arange(34_000) % 2
    dls = ImageDataLoaders.from_arrays((x[:n], y[:n]), (x[:8], y[:8]))
    learn = vision_learner(dls, **SMALL)
    assert dls.bs == bs and not any(isinstance(cb, Progressive) for cb in learn.callbacks)
    given = vision_learner(ImageDataLoaders.from_arrays((x[:2000], y[:2000]), 0, bs=128), **SMALL)
    assert learn.lr == pytest.approx(factor * given.lr, rel=1e-3)


@pytest.mark.parametrize("n, bs, factor", [(200, 16, 0.5), (300, 32, 0.5**0.5), (800, 64, 1.0), (2000, 128, 1.0)])
def test_few_pictures_come_in_smaller_batches_at_a_lower_rate_of_adamw(n, bs, factor):
    """A ResNet on 200 pictures got six points less at the whole rate: tests/benchmarks/scratch_rates.py."""
    x, y = np.random.default_rng(0).integers(0, 256, (2000, 8, 8), dtype=np.uint8), np.arange(2000) % 2

    def rate(n, **options):
        dls = ImageDataLoaders.from_arrays((x[:n], y[:n]), 0)
        assert dls.bs == (bs if n < 2000 else 128)
        return vision_learner(dls, **SMALL, **options).lr

    assert rate(n, opt="adamw") == pytest.approx(factor * rate(2000, opt="adamw"))
    assert rate(n) == pytest.approx(rate(2000))  # Muon's suits few pictures as it is


def test_the_same_seed_gives_the_same_run():
    rows = []
    for _ in range(2):
        learn = vision_learner(ImageDataLoaders.from_arrays(shapes(48), bs=16), mixup=0.2, cutmix=1.0, **SMALL)
        learn.fit_one_cycle(2, progress=False)
        rows.append([row["train_objective"] for row in learn.history])
    assert rows[0] == rows[1]


def test_classifiers_from_scratch_mix_in_long_fits_unless_told_otherwise():
    dls = ImageDataLoaders.from_arrays(shapes(48), bs=16)

    def mixing(dls=dls, **options):
        found = [c for c in vision_learner(dls, **options, **SMALL).callbacks if isinstance(c, Mixing)]
        return [(type(c).__name__, c.alpha, c.fewest_epochs) for c in found]

    assert mixing() == [("MixUp", 0.4, defaults.MIXED_FROM), ("CutMix", 1.0, defaults.MIXED_FROM)]
    assert mixing(mixup=0.0) == mixing(cutmix=0.0) == []
    assert mixing(mixup=True) == [("MixUp", 0.4, 0)] and mixing(cutmix=True) == [("CutMix", 1.0, 0)]
    assert mixing(mixup=False) == []
    assert mixing(mixup=0.2) == [("MixUp", 0.2, 0)] and mixing(cutmix=1.0) == [("CutMix", 1.0, 0)]
    assert mixing(loss_fn=torch.nn.CrossEntropyLoss()) == []
    x, y = shapes(48)
    assert mixing(ImageDataLoaders.from_arrays((x, y + 0.5), bs=16)) == []


def test_mixed_targets_are_weighted_by_their_classes():
    learn = vision_learner(
        ImageDataLoaders.from_arrays(shapes(48), bs=16), mixup=0.4, class_weights="balanced", **SMALL
    )
    learn.fit(1, progress=False)
    assert np.isfinite(learn.history[0]["train_objective"])


def test_an_artifact_predicts_the_same(trained, tmp_path):
    trained.export(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", device="cpu")
    pictures = shapes(20, seed=2)[0]
    before, after = trained.predict(pictures), again.predict(pictures)
    assert list(before.columns) == ["prediction", "p_0", "p_1"]
    pd.testing.assert_frame_equal(before, after, atol=1e-6, rtol=0)
    assert again.dls.task == "classification"


def test_pictures_of_a_folder_are_predicted_by_path(tmp_path):
    tree(tmp_path / "data", "cat/*8.png", "dog/*8.png", shape=(12, 16))
    learn = vision_learner(ImageDataLoaders.from_folder(tmp_path / "data"), **SMALL)
    learn.fit(1, progress=False)
    frame = learn.predict(tmp_path / "data")
    assert len(frame) == 16 and frame.index.name == "path" and frame.index[0].endswith("cat/0.png")
    assert set(frame["prediction"]) <= {"cat", "dog"}
    pd.testing.assert_frame_equal(frame.iloc[:1], learn.predict(frame.index[0]), atol=1e-5)
    assert learn.predict(tmp_path / "data", tta=True).shape == frame.shape


def test_a_run_goes_on_from_a_checkpoint(tmp_path):
    whole = vision_learner(ImageDataLoaders.from_arrays(shapes(48), bs=16), **SMALL)
    whole.fit_one_cycle(4, progress=False)
    path = tmp_path / "c.tips"
    part = vision_learner(ImageDataLoaders.from_arrays(shapes(48), bs=16), **SMALL)
    with pytest.raises(Boom):
        part.fit_one_cycle(4, checkpoint=path, callbacks=[At(6, boom, "before_batch")], progress=False)
    rest = vision_learner(ImageDataLoaders.from_arrays(shapes(48), bs=16), **SMALL)
    rest.fit_one_cycle(4, checkpoint=path, resume=True, callbacks=[At(0, boom, "before_batch")], progress=False)
    for a, b in zip(whole.model.parameters(), rest.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_classes_can_be_weighted_and_labels_smoothed():
    x, _ = shapes(60)
    y = np.array([0] * 50 + [1] * 10)
    dls = ImageDataLoaders.from_arrays((x, y), 0, bs=16)
    learn = vision_learner(dls, class_weights="balanced", label_smoothing=0.1, **SMALL)
    torch.testing.assert_close(learn.loss_fn.class_weight, torch.tensor([0.6, 3.0]))
    assert learn.loss_fn.label_smoothing == 0.1
    assert vision_learner(dls, class_weights={1: 4}, **SMALL).loss_fn.class_weight.tolist() == [1, 4]


def test_settings_that_would_be_ignored_are_refused():
    numbers = ImageDataLoaders.from_arrays((shapes(20)[0], np.linspace(0, 1.5, 20)), bs=4)
    with pytest.raises(SettingError, match="need a classification"):
        vision_learner(numbers, class_weights="balanced", **SMALL)
    classes = ImageDataLoaders.from_arrays(shapes(20), bs=4)
    with pytest.raises(SettingError, match="width"):
        vision_learner(classes, "resnet18", pretrained=False, width=8)
    with pytest.raises(SettingError, match="has no weights"):
        vision_learner(classes, "small_resnet", pretrained=True)
    with pytest.raises(SettingError, match="expected ImageDataLoaders"):
        vision_learner("folder")


def test_an_unknown_backbone_names_the_nearest():
    dls = ImageDataLoaders.from_arrays(shapes(20), bs=4)
    with pytest.raises(SettingError, match="Did you mean 'resnet18'"):
        vision_learner(dls, "resnet81", pretrained=False)


def test_a_backbone_of_torchvision_and_its_layer_groups():
    dls = ImageDataLoaders.from_arrays(shapes(16, 32), bs=4)
    learn = vision_learner(dls, "resnet18", pretrained=False, seed=0, device="cpu")
    assert len(learn.layer_groups) == 3
    learn.freeze()
    assert [p.requires_grad for p in learn.model.body.parameters()].count(True) == 0
    learn.fit(1, progress=False)
    assert learn.builder.arguments["arch"] == "resnet18" and learn.builder.arguments["pretrained"] is False


def test_the_built_in_network_takes_weights_of_its_own(tmp_path):
    """Trained here and saved, fine-tuned there; what normalises the pictures is theirs, since the file does not say."""
    dls = ImageDataLoaders.from_arrays(shapes(16), bs=4)
    first = vision_learner(dls, width=8, seed=0, device="cpu")
    torch.save(first.model.body.state_dict(), tmp_path / "own.pth")
    learn = vision_learner(dls, weights=tmp_path / "own.pth", width=8, seed=1, device="cpu")
    for a, b in zip(first.model.body.parameters(), learn.model.body.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (learn.settings["opt"].value, learn.settings["weights"].overridden) == ("adamw", True)
    learn.fine_tune(1, progress=False)
    assert vision_learner(dls, "small_resnet", weights=tmp_path / "own.pth", width=8).dls.aug == dls.aug


@pytest.mark.parametrize(
    ("arch", "asked", "share", "overridden"),
    [(None, None, 0.0, False), ("resnet18", None, 0.2, False), (None, 0.3, 0.3, True), ("resnet18", 0.0, 0.0, True)],
)
def test_the_share_of_features_dropped_is_the_networks_and_is_said(arch, asked, share, overridden):
    dls = ImageDataLoaders.from_arrays(shapes(16, 32), bs=4)
    learn = vision_learner(dls, arch, pretrained=False, dropout=asked, seed=0, device="cpu")
    assert [m.p for m in learn.model.head.modules() if isinstance(m, nn.Dropout)] == [share]
    assert (learn.settings["dropout"].value, learn.settings["dropout"].overridden) == (share, overridden)
    assert learn.builder.arguments["dropout"] == share


def test_a_u_net_has_no_dropout_to_speak_of():
    pictures, masks = np.zeros((8, 16, 16, 3), np.uint8), np.zeros((8, 16, 16), np.uint8)
    masks[:, 4:] = 1
    learn = vision_learner(
        ImageDataLoaders.from_arrays((pictures, masks), task="segmentation", bs=4), width=8, seed=0, device="cpu"
    )
    assert "dropout" not in learn.settings


def test_a_module_of_your_own():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    learn = vision_learner(ImageDataLoaders.from_arrays(shapes(16), bs=4), net, seed=0, device="cpu")
    learn.fit(1, progress=False)
    assert learn.builder is None and learn.get_preds()[0].shape[1] == 2


def test_weights_from_a_file_bring_low_rates_for_the_body(tmp_path):
    from tipsai.vision import backbone

    made = backbone.build("resnet18", 5)
    torch.save(made.body.state_dict(), tmp_path / "w.pth")
    dls = ImageDataLoaders.from_arrays((shapes(16, 32)[0][..., None].repeat(3, -1), shapes(16, 32)[1]), bs=4)
    learn = vision_learner(dls, "resnet18", weights=tmp_path / "w.pth", seed=0, device="cpu")
    assert torch.equal(next(learn.model.body.parameters()), next(made.body.parameters()))
    assert learn.lr[0] == pytest.approx(learn.lr[-1] / 10)
    assert learn.dls.picture.mean == pytest.approx([0.485, 0.456, 0.406])
    learn.fine_tune(1, progress=False)


def test_numbers_are_predicted_in_their_own_units():
    x = np.random.default_rng(0).integers(0, 255, (80, 1, 1), dtype=np.uint8).repeat(10, 1).repeat(10, 2)
    y = x[:, 0, 0] * 10.0 + 0.5
    dls = ImageDataLoaders.from_arrays((x, y), 0.25, bs=16, aug=None)
    learn = vision_learner(dls, metrics=["rmse"], **SMALL)
    learn.fit_one_cycle(12, progress=False)
    assert learn.history[-1]["valid_rmse"] < 0.4 * y.std()
    assert learn.predict(x[:1])["prediction"].iloc[0] == pytest.approx(y[0], abs=0.5 * y.std())


def test_several_labels(tmp_path):
    tree(tmp_path, "*12.png", shape=(12, 12))
    frame = pd.DataFrame({"file": [f"{i}.png" for i in range(12)], "tags": ["x y", "x", "y"] * 4})
    dls = ImageDataLoaders.from_df(frame, "file", "tags", root=tmp_path, label_delim=" ")
    learn = vision_learner(dls, metrics=["accuracy"], mixup=0.2, **SMALL)
    learn.fit(1, progress=False)
    assert list(learn.predict(tmp_path).columns) == ["prediction", "p_x", "p_y"]


def test_masks_come_in_small_batches_and_a_narrow_body_learns_fast():
    """With the batches and rates of a classifier, a U-net of a thousand pictures still saw but background after minutes."""
    x = np.random.default_rng(0).integers(0, 255, (200, 32, 32, 3), dtype=np.uint8)
    dls = ImageDataLoaders.from_arrays((x, (x[..., 0] > 99).astype(np.uint8)), task="segmentation", seed=0)
    learn = vision_learner(dls, seed=0, device="cpu")
    assert dls.bs == 16 and learn.opt_spec == "muon" and learn.lr > 1e-2
    assert learn.model.arguments["network"] == {"width": 32}
    assert vision_learner(dls, width=8, seed=0, device="cpu").model.arguments["network"] == {"width": 8}
    adamw = vision_learner(dls, opt="adamw", seed=0, device="cpu")
    assert adamw.lr == pytest.approx(learn.lr / 3)


def test_a_unet_on_trained_weights_learns_by_muon_at_higher_rates_than_a_classifier():
    x = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)
    masks = ImageDataLoaders.from_arrays((x, (x[..., 0] > 99).astype(np.uint8)), task="segmentation", seed=0)
    classes = ImageDataLoaders.from_arrays((x, np.arange(12) % 2), seed=0)

    def learner(dls, **options):
        return vision_learner(dls, SmallResNet(3, 32, width=8), pretrained=True, seed=0, device="cpu", **options)

    unet = learner(masks)
    assert unet.opt_spec == "muon" and unet.lr == pytest.approx([5 * lr for lr in learner(classes).lr])
    assert learner(masks, opt="adamw").lr == learner(classes).lr
    before = unet.validate()["valid_loss"]
    unet.fine_tune(2, progress=False)
    assert unet.history[-1]["valid_loss"] < before


def test_masks_are_averaged_with_those_of_the_mirrored_picture():
    """So that mirrored pictures have mirrored masks, which a network alone does not promise."""
    x = np.random.default_rng(0).integers(0, 255, (12, 16, 24, 3), dtype=np.uint8)
    data = x, (x[..., 0] > 99).astype(np.uint8)
    learn = vision_learner(ImageDataLoaders.from_arrays(data, bs=4, task="segmentation"), **SMALL)
    learn.fit(1, progress=False)
    seen, mirrored = (learn.dls.test_dl(pictures) for pictures in (x, x[:, :, ::-1].copy()))
    alone = [learn.get_preds(loader)[0] for loader in (seen, mirrored)]
    assert (alone[0] - alone[1].flip(-1)).abs().max() > 0.01
    both = [learn.get_preds(loader, tta=True)[0] for loader in (seen, mirrored)]
    torch.testing.assert_close(both[0], both[1].flip(-1), atol=1e-5, rtol=1e-5)
    probabilities = (alone[0].softmax(1) + alone[1].softmax(1).flip(-1)) / 2
    torch.testing.assert_close(both[0].softmax(1), probabilities, atol=1e-5, rtol=1e-5)
    assert learn.validate(tta=True).keys() == learn.validate().keys()
    directed = ImageDataLoaders.from_arrays(data, bs=4, task="segmentation", aug=Augmentation.small(flip=0.0))
    with pytest.raises(SettingError, match="masks that may be mirrored"):
        vision_learner(directed, **SMALL).validate(tta=True)


def test_masks_are_predicted_and_come_back(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(16):
        mask = np.zeros((16, 20), np.uint8)
        top, left = rng.integers(0, 8, 2)
        mask[top : top + 8, left : left + 8] = 1
        for name, array in (("images", mask * 150 + rng.integers(0, 90, mask.shape, dtype=np.uint8)), ("masks", mask)):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / name / f"{i}.png")
    dls = ImageDataLoaders.from_folder(tmp_path, aug=Augmentation.small(flip=0.0), bs=4)
    learn = vision_learner(dls, metrics=["iou", "dice", "accuracy"], **SMALL)
    learn.fit_one_cycle(12, progress=False)
    assert learn.history[-1]["valid_accuracy"] > 0.9 and learn.history[-1]["valid_iou"] > 0.8
    learn.export(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", device="cpu")
    ours, theirs = (found.predict(tmp_path / "images") for found in (learn, again))
    assert ours["prediction"].iloc[0].shape == (16, 20)
    np.testing.assert_allclose(ours["share_1"], theirs["share_1"], atol=1e-6)
    with pytest.raises(SettingError, match="mixup is not defined|cannot"):
        vision_learner(dls, mixup=0.2, **SMALL).fit(1, progress=False)


def test_points_are_predicted(tmp_path):
    tree(tmp_path, "*8.png", shape=(12, 12))
    frame = pd.DataFrame({"file": [f"{i}.png" for i in range(8)], "nose_x": np.arange(8.0), "nose_y": 3.0})
    dls = ImageDataLoaders.from_df(frame, "file", ["nose_x", "nose_y"], root=tmp_path, task="points")
    learn = vision_learner(dls, metrics=["rmse"], **SMALL)
    learn.fit(1, progress=False)
    assert list(learn.predict(tmp_path).columns) == ["nose_x", "nose_y"]


def test_progressive_resizing_keeps_the_weights():
    learn = vision_learner(ImageDataLoaders.from_arrays(shapes(48, 24), bs=16, size=12), **SMALL)
    learn.fit(1, progress=False)
    learn.dls = learn.dls.resized(24)
    learn.fit(1, progress=False)
    assert len(learn.history) == 2


def test_few_pictures_from_scratch_are_said():
    """AR03."""
    dls = ImageDataLoaders.from_arrays(shapes(24), bs=8)
    only = {check.code for check in (*CHECKS, *dls.picture.checks)} - {"no-pretrained-weights"}
    assert vision_learner(dls, **SMALL).check(silent=only, progress=False) == []
    learn = vision_learner(dls, "resnet18", pretrained=False, seed=0, device="cpu")
    (found,) = learn.check(silent=only, progress=False)
    assert (found.code, found.tip, found.evidence["pictures"]) == ("no-pretrained-weights", "AR03", 19)
    assert "resnet18 starts from scratch on 19 pictures" in found.message


def test_a_reloaded_model_trains_further_on_new_pictures(trained, tmp_path):
    trained.export(tmp_path / "m.tips")
    x, y = shapes(60, side=20, seed=5)
    first = load_learner(tmp_path / "m.tips", device="cpu")
    dls = ImageDataLoaders.from_arrays((x, y), like=first.dls, bs=16)
    assert dls.picture.size == (12, 12) and dls.picture.mean == first.dls.picture.mean
    again = load_learner(tmp_path / "m.tips", dls=dls, device="cpu", lr=1e-3)
    before = again.validate()["valid_loss"]
    again.fit(3, progress=False)
    assert again.history[-1]["valid_loss"] < before
    with pytest.raises(SettingError, match="encode their fields in another way.*like="):
        load_learner(tmp_path / "m.tips", dls=ImageDataLoaders.from_arrays((x, y)))
    with pytest.raises(SettingError, match="like is given, so size"):
        ImageDataLoaders.from_arrays((x, y), like=first.dls, size=16)
    with pytest.raises(SettingError, match="like is for classification, and these pictures are for regression"):
        ImageDataLoaders.from_arrays((x, y.astype(float)), like=first.dls, task="regression")
    with pytest.raises(DataError, match="7"):
        ImageDataLoaders.from_arrays((x, np.where(y == 1, 7, y)), like=first.dls)


@pytest.mark.parametrize("side, tta", [(40, False), (100, False), (100, True)])
def test_half_precision_is_the_models_alone_and_not_the_views(side, tta):
    """A picture's place would be known to three digits: 1/400 of the side, and normalisation likewise."""
    x, y = np.random.default_rng(0).integers(0, 256, (24, side, side + 40, 3), dtype=np.uint8), np.arange(24) % 2
    seen = []

    class Seen(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(3, 2)

        def forward(self, x):
            seen.append(x.detach().clone())
            return self.last(x.mean((2, 3)))

    def looks(precision):
        seen.clear()
        dls = ImageDataLoaders.from_arrays((x, y), 0.5, bs=8)
        learn = vision_learner(dls, Seen(), seed=0, device="cpu", precision=precision)
        learn.validate(tta=tta)
        return list(seen)

    before, wanted = torch.get_num_threads(), looks("fp32")
    try:
        for n_threads in (1, 2):  # other threads do not know of the precision that is set in this one
            torch.set_num_threads(n_threads)
            found = looks("bf16")
            assert len(found) == len(wanted) > 0 and all(map(torch.equal, found, wanted))
    finally:
        torch.set_num_threads(before)
