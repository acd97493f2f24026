import copy
import json
import math

import pytest
import torch
from helpers import learner
from torch import nn
from torchvision import models

from tipsai import DataLoaders, optim
from tipsai.core.errors import SettingError
from tipsai.vision import backbone, unet
from tipsai.vision.backbone import splitter
from tipsai.vision.unet import Maps, build


def tiny():
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    )


def strides(model):
    return [round(at.stride) for at in model.body.levels]


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40), (7, 5)])
def test_the_output_has_the_pictures_size(size):
    model = build(tiny(), 3).eval()
    assert model(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_the_stages_of_a_resnet_are_its_levels():
    model = build("resnet18", 2, 1).eval()
    assert [at.module for at in model.body.levels] == ["relu", "layer1", "layer2", "layer3", "layer4"]
    assert strides(model) == [2, 4, 8, 16, 32] and model(torch.rand(1, 1, 35, 50)).shape == (1, 2, 35, 50)
    assert isinstance(model.body.net.avgpool, unet.Passed)


def test_the_maps_are_the_backbones_own():
    torch.manual_seed(0)
    net, x = models.resnet18().eval(), torch.rand(1, 3, 64, 64)
    y = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))
    maps = Maps(net)(x)
    assert torch.equal(maps[2], y) and [m.shape[1] for m in maps] == [64, 64, 128, 256, 512]


@pytest.mark.parametrize(("size", "levels"), [(32, [2, 4, 8, 16]), (16, [2, 4, 8]), (None, [2, 4, 8, 16, 32])])
def test_small_pictures_use_the_levels_they_have(size, levels):
    model = build("resnet18", 2, size=size)
    assert strides(model) == levels
    assert model(torch.rand(1, 3, size or 64, size or 64)).shape[-1] == (size or 64)
    assert all(p.grad is None for p in model.parameters())
    model(torch.rand(2, 3, size or 64, size or 64)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())  # nothing is carried along unused


def test_it_goes_over_what_build_made_and_over_plain_modules():
    for arch in (backbone.build(tiny(), 2), tiny()):
        model = build(arch, 3)
        assert strides(model) == [1, 2, 4] and isinstance(model.body.net[3], unet.Passed)
        assert model.arguments is None


def test_channels_may_stand_last():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 2, 2), nn.Conv2d(8, 12, 2, 2)
            self.norm_a, self.norm_b = nn.LayerNorm(8), nn.LayerNorm(12)

        def forward(self, x):
            x = self.norm_a(self.a(x).permute(0, 2, 3, 1))
            return self.norm_b(self.b(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))

    model = build(Last(), 2)
    assert [(at.channels, at.channels_last) for at in model.body.levels] == [(8, True), (12, True)]
    assert model(torch.rand(1, 3, 20, 20)).shape == (1, 2, 20, 20)


def test_what_a_network_does_after_its_last_map_is_not_done():
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.pool, self.fc = tiny()[:3], nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

        def forward(self, x):
            x = self.pool(self.body(x))
            return self.fc(x.view(len(x), -1))  # maps with channels innermost have no such view

    model = build(Viewing(), 2).to(memory_format=torch.channels_last)
    x = torch.rand(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    assert model(x).shape == (2, 2, 32, 32)


def test_a_module_that_is_used_again_and_again_is_no_level():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.act = nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 6, 2, 2), nn.ReLU()

        def forward(self, x):
            return self.act(self.b(self.act(self.a(x))))

    model = build(Shared(), 2)
    assert [at.module for at in model.body.levels] == ["a", "b"]
    assert model(torch.rand(1, 3, 18, 22)).shape == (1, 2, 18, 22)


def test_a_backbone_without_maps_is_refused():
    with pytest.raises(SettingError, match=r"at least two sizes; the VisionTransformer has 'conv_proj at stride 8'"):
        build(models.VisionTransformer(96, 8, 1, 2, 16, 32), 2, size=96)
    with pytest.raises(SettingError, match="the Sequential has none for pictures of 96"):
        build(nn.Sequential(nn.Flatten(), nn.Linear(3 * 96 * 96, 4)), 2, size=96)


def test_what_works_on_tokens_after_its_stem_is_refused():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 8, 2, 2))
            self.blocks = nn.Sequential(*[nn.Linear(8, 8) for _ in range(6)])

        def forward(self, x):
            return self.blocks(self.stem(x).flatten(2).mT).mean(1)

    with pytest.raises(SettingError, match="the Tokens has 'stem.0 at stride 2' for"):
        build(Tokens(), 2)


def test_the_groups_are_body_and_decoder():
    model = build("resnet18", 2)
    early, late, decoder = optim.layer_groups(model, splitter)
    assert {*decoder} == {*model.blocks.parameters(), *model.output.parameters()}
    assert {*early, *late} == {*model.body.parameters()}


def test_the_arguments_make_it_again():
    model = build("resnet18", 3, size=32, width=16).eval()
    again = build(**json.loads(json.dumps(model.arguments))).eval()
    again.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(model(x), again(x)) and model.arguments["pretrained"] is False


def test_a_copy_is_independent():
    model = build(tiny(), 2).eval()
    x, twin = torch.rand(1, 3, 16, 16), copy.deepcopy(model)
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    assert float(twin(x).detach().abs().sum()) == 0 and float(model(x).detach().abs().sum()) > 0


def test_it_learns_masks_and_starts_at_the_tasks_loss():
    torch.manual_seed(0)
    x = torch.rand(24, 3, 17, 17)
    y = (x.mean(1) > 0.5).long() + (x[:, 0] > 0.9)
    learn = learner(
        DataLoaders.from_tensors((x, y), (x, y), bs=8),
        build(tiny(), 3),
        metrics=["accuracy", "dice", "iou"],
        splitter=splitter,
        lr=1e-2,
    )
    first = learn.validate()
    assert first["valid_loss"] == pytest.approx(math.log(3), rel=0.2)
    learn.fit_one_cycle(6, progress=False)
    last = learn.history[-1]
    assert last["valid_loss"] < 0.8 * first["valid_loss"] and last["valid_accuracy"] > first["valid_accuracy"]
    assert 0 < last["valid_iou"] < last["valid_dice"] < 1


def test_yes_no_masks_train_with_one_output():
    torch.manual_seed(0)
    x = torch.rand(16, 3, 16, 16)
    y = x[:, :1] > 0.5
    learn = learner(DataLoaders.from_tensors((x, y), (x, y), bs=8), build(tiny(), 1), metrics=["accuracy", "iou"])
    learn.fit(2, lr=1e-2, progress=False)
    assert set(learn.history[-1]) >= {"valid_accuracy", "valid_iou"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch",
    "convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 mnasnet0_5 mobilenet_v3_small regnet_y_400mf "
    "shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t vgg11_bn alexnet resnet50 timm/resnet18 convnextv2_atto "
    "tf_efficientnet_lite0 mobilenetv4_conv_small swin_tiny_patch4_window7_224 fastvit_t8".split(),
)
def test_every_family_of_backbones_has_levels(arch):
    if arch not in models.list_models(module=models):
        pytest.importorskip("timm")
    size = 224 if "224" in arch else None
    model = build(arch, 4, size=size).eval()
    shape = (size, size) if size else (97, 131)
    with torch.no_grad():
        assert model(torch.rand(1, 3, *shape)).shape == (1, 4, *shape)
    assert len(model.body.levels) >= 4 and strides(model)[-1] >= 16
