import json
import math
import sys
import urllib.error
from pathlib import Path

import pytest
import torch
from helpers import learner
from torch import nn
from torchvision import models

from tipsai import DataLoaders, optim
from tipsai.core import modes
from tipsai.core.errors import MissingExtraError, SettingError, ShapeError
from tipsai.vision import backbone
from tipsai.vision.backbone import build, input_size, splitter, statistics
from tipsai.vision.models import SmallResNet

NAMES = models.list_models(module=models)
HUGE = ("regnet_x_32gf", "regnet_y_32gf", "regnet_y_128gf", "vit_h_14", "vit_l_16", "vit_l_32", "convnext_large")
FIXED = ("vit_", "maxvit_")
TIMM = ("timm/resnet18", "convnextv2_atto", "tf_efficientnet_lite0", "mobilenetv4_conv_small", "ghostnet_100")


def small(n_in=3, n_classes=7):
    return nn.Sequential(
        nn.Conv2d(n_in, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, n_classes)
    )


def check(arch, side=64):
    """A backbone gives the right shape, starts at the task's loss, and splits into groups that cover it."""
    torch.manual_seed(0)
    model = build(arch, 5, size=side if side == 224 else None)
    with torch.no_grad():  # in training mode: untrained running statistics of deep residual networks say nothing
        out = model(torch.randn(4, 3, side, side))
        assert model.eval()(torch.randn(1, 3, side, side)).shape == (1, 5)
    assert out.shape == (4, 5)
    loss = nn.functional.cross_entropy(out, torch.tensor([0, 1, 2, 3]))
    assert float(loss) == pytest.approx(math.log(5), rel=0.2)
    assert len(optim.layer_groups(model, splitter)) == 3
    json.dumps(model.arguments)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_maps_has_their_layout(layout):
    """What comes before the head once got gradients of the other layout, and every layer up to a convolution was slower."""
    x_bchw = torch.randn(5, 6, 3, 4).to(memory_format=layout).requires_grad_()
    seen = []
    maps = x_bchw * 1.0
    maps.register_hook(seen.append)
    pooled = build(nn.Conv2d(3, 6, 3), 2, cut="").head[:2](maps)
    assert torch.allclose(pooled, x_bchw.mean((2, 3)))
    pooled.square().sum().backward()
    assert seen[0].is_contiguous(memory_format=layout)
    assert torch.allclose(seen[0], (2 * pooled / 12)[:, :, None, None].expand_as(maps))


@pytest.mark.parametrize(
    "arch", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5"]
)
def test_a_backbone_gets_a_head_for_the_task(arch):
    check(arch)


@pytest.mark.parametrize("arch", ["vit_b_16", "swin_t", "convnext_tiny", "densenet121", "efficientnet_b0", "vgg11_bn"])
def test_the_classifier_is_found_wherever_it_stands(arch):
    with torch.device("meta"):
        model = build(arch, 5)
        whole = models.get_model(arch)
    outer = sum(m.out_features == 1000 for m in model.modules() if isinstance(m, nn.Linear))
    assert outer == 0 and model.head[-1].out_features == 5
    lost = set(whole.state_dict()) - set(model.body.state_dict())
    assert len(lost) == 2 and {Path(name).suffix for name in lost} == {".weight", ".bias"}


@pytest.mark.slow
@pytest.mark.parametrize("arch", [name for name in NAMES if name not in HUGE])
def test_every_backbone_of_torchvision(arch):
    check(arch, 224 if arch.startswith(FIXED) else 128 if arch in backbone.HALVED else 64)


@pytest.mark.slow
@pytest.mark.parametrize("arch", [*TIMM, "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "levit_128s"])
def test_families_of_timm(arch):
    pytest.importorskip("timm")
    check(arch, 224 if "224" in arch or "levit" in arch else 64)


def test_the_auxiliary_classifiers_and_the_hidden_normalisation_are_off():
    model = build("googlenet", 2)
    assert model.train()(torch.rand(2, 3, 64, 64)).shape == (2, 2)
    assert model.body.aux1 is None and model.body.transform_input is False
    assert statistics("googlenet") == backbone.HALVES


def test_only_the_head_drops():
    rates = [m.p for m in build("mobilenet_v3_small", 2, dropout=0.3).modules() if isinstance(m, nn.Dropout)]
    assert [rate for rate in rates if rate] == [0.3]


@pytest.mark.parametrize("arch", ["mobilenet_v3_small", "mnasnet0_5"])
def test_batch_norms_from_scratch_follow_within_tens_of_steps(arch, tmp_path):
    """Both come with a momentum that suits 100,000 steps, after some hundred of which evaluation would be at chance."""
    own = models.get_model(arch)
    assert max(momentums(own)) < 0.1 and momentums(build(arch, 2)) == {0.1}
    torch.save(own.state_dict(), tmp_path / "own.pth")
    assert momentums(build(arch, 2, weights=tmp_path / "own.pth")) == momentums(own)  # statistics that are good already
    assert momentums(build(own, 2)) == momentums(models.get_model(arch))  # one's own are left alone


def momentums(model):
    return {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)}


def test_the_arguments_make_the_model_again_without_fetching():
    model = build("resnet18", 3, 1, dropout=0.4).eval()
    again = build(**json.loads(json.dumps(model.arguments))).eval()
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 1, 40, 40)
    assert torch.equal(model(x), again(x)) and again.head[0].p == 0.4
    assert model.arguments["pretrained"] is False and build(small(), 2).arguments is None


def test_a_timm_model_is_rebuilt_from_timm():
    pytest.importorskip("timm")
    model = build("timm/resnet18", 2, 4)
    assert model.arguments["arch"] == "timm/resnet18" and model(torch.rand(2, 4, 32, 32)).shape == (2, 2)
    assert build("convnextv2_atto", 2).arguments["arch"] == "timm/convnextv2_atto"


# --- modules of one's own -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "n_features"),
    [
        (small(), 8),
        (nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()), 6),  # maps
        (nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 6),  # vectors
        (nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 9, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 6),
    ],
)
def test_a_module_is_cut_where_its_classifier_is(net, n_features):
    model = build(net, 4)
    assert model.head[-1].in_features == n_features and model(torch.rand(2, 3, 20, 20)).shape == (2, 4)


def test_a_first_layer_of_another_kind_keeps_the_convolutions_behind_it():
    """Such as the built-in network's whitening, which gives its first convolution 24 channels of three colours."""
    for n_in, net in ((3, SmallResNet(3, 16, width=8)), (2, nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(8, 4, 3)))):
        before = [tuple(p.shape) for p in net.parameters()]
        model = build(net, 5, n_in, size=16)
        assert model(torch.rand(2, n_in, 16, 16)).shape == (2, 5)
        assert [tuple(p.shape) for p in model.body.parameters()] == before


def test_a_module_is_cut_where_one_says():
    net = nn.Sequential(small(n_classes=8), nn.ReLU(), nn.Linear(8, 3))
    assert build(net, 2, cut="0.4").head[-1].in_features == 3  # what follows is kept
    net = small()
    assert build(net, 2, cut="").head[-1].in_features == 7
    with pytest.raises(SettingError, match=r"no layer 'fcc' to cut. It has '0', '4'"):
        build(small(), 2, cut="fcc")
    with pytest.raises(SettingError, match=r"cut='fc' is for a module of your own; 'resnet18' is cut by itself"):
        build("resnet18", 2, cut="fc")


def test_a_module_that_flattens_needs_the_size():
    def net():
        return nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 10 * 10, 4))

    assert build(net(), 3, size=10)(torch.rand(1, 3, 10, 10)).shape == (1, 3)
    with pytest.raises(SettingError, match=r"does not run on a picture of 3 x 64 x 64 .* Give size="):
        build(net(), 3)


def test_what_is_neither_vectors_nor_maps_is_refused():
    with pytest.raises(ShapeError, match=r"gives shape \[2, 5, 3844\]; expected .* Name the classifier"):
        build(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(2)), 2)
    with pytest.raises(SettingError, match="pretrained=True needs a backbone's name, and arch is a Sequential"):
        build(small(), 2, pretrained=True)


def test_a_dry_run_leaves_no_trace():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    net[1].eval()
    build(net, 2)
    assert net.training and not net[1].training and net[1].num_batches_tracked == 0


# --- layer groups -------------------------------------------------------------------------------------------------


def test_the_groups_of_a_resnet_part_after_its_second_stage():
    model = build("resnet18", 2)
    early, late, head = splitter(model)
    stages = {id(p) for part in ("layer3", "layer4") for p in getattr(model.body, part).parameters()}
    assert {id(p) for p in late} == stages and head == list(model.head.parameters()) and len(early) == 30


def test_a_frozen_body_keeps_its_batch_norms():
    model = build("resnet18", 2)
    for p in model.body.parameters():
        p.requires_grad_(False)
    modes.train(model)
    assert model.head.training and not model.body.bn1.training
    before = model.body.bn1.running_mean.clone()
    model(torch.randn(4, 3, 32, 32))
    assert torch.equal(before, model.body.bn1.running_mean)


def test_it_is_fine_tuned_by_groups():
    x, y = torch.randn(24, 3, 16, 16), torch.arange(24) % 2
    learn = learner(DataLoaders.from_tensors((x, y), (x, y), bs=8), build(small(), 2), splitter=splitter)
    before = [p.detach().clone() for p in learn.model.body.parameters()]
    learn.freeze()
    learn.fit(1, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, learn.model.body.parameters(), strict=True))
    learn.fine_tune(1, progress=False)
    assert not torch.equal(before[0], next(learn.model.body.parameters()))


# --- weights ------------------------------------------------------------------------------------------------------


def test_weights_that_cannot_be_fetched_are_one_error(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    says = r"weights of resnet18 cannot be fetched \(URLError: .*no network.*\): give pretrained=False, or put https.*"
    with pytest.raises(SettingError, match=says + r"checkpoints/resnet18-.*pth, or give weights=PATH"):
        build("resnet18", 2, pretrained=True)


def test_timm_weights_that_cannot_be_fetched_are_one_error(monkeypatch):
    timm = pytest.importorskip("timm")

    def offline(*args, **kwargs):
        raise FileNotFoundError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        SettingError, match=r"weights of tf_efficientnet_lite0 cannot be fetched \(FileNotFound.*network\)"
    ):
        build("tf_efficientnet_lite0", 2, pretrained=True)
    with pytest.raises(SettingError, match=r"timm has no weights 'resnet18.a7'. Expected 'resnet18"):
        build("timm/resnet18.a7", 2)


def test_settings_that_exclude_each_other_are_refused(tmp_path):
    with pytest.raises(SettingError, match="both pretrained and weights"):
        build("resnet18", 2, pretrained=True, weights=tmp_path / "w.pth")
    with pytest.raises(SettingError, match=r"resnet18 has no weights 'IMAGENET_V1'. Did you mean 'IMAGENET1K_V1'"):
        build("resnet18", 2, pretrained="IMAGENET_V1")
    with pytest.raises(SettingError, match="dropout is 1"):
        build("resnet18", 2, dropout=1)
    with pytest.raises(SettingError, match="n_out is 0"):
        build("resnet18", 0)


# --- names and statistics -----------------------------------------------------------------------------------------


def test_a_misspelt_backbone_is_answered_by_its_neighbour(monkeypatch):
    with pytest.raises(SettingError, match=r"there is no backbone 'resnet81'. Did you mean 'resnet\d+'\? Expected"):
        build("resnet81", 2)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SettingError, match=r"not installed: pip install 'tipsai\[vision\]'"):
        build("convnextv2_atto", 2)
    with pytest.raises(MissingExtraError, match=r"pip install 'tipsai\[vision\]'"):
        build("timm/convnextv2_atto", 2)


def test_statistics_belong_to_the_backbone():
    assert statistics("resnet18") == backbone.IMAGENET and statistics("resnet18", False) is None
    (mean,), (std,) = statistics("resnet18", n_in=1)
    assert mean == pytest.approx(0.449) and std == pytest.approx(0.226)
    assert statistics("resnet18", n_in=4)[0] == (0.485, 0.456, 0.406, 0.485)
    assert (input_size("resnet18"), input_size("efficientnet_b1"), input_size("vit_h_14")) == (224, 240, 518)


def test_statistics_of_timm():
    pytest.importorskip("timm")
    assert statistics("tf_efficientnet_lite0") == backbone.HALVES and input_size("tf_efficientnet_lite0") == 224
