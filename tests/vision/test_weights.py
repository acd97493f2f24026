import logging

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from tipsai.core.errors import ArtifactError, SettingError
from tipsai.vision import weights
from tipsai.vision.backbone import build
from tipsai.vision.weights import fit_channels, load_weights


@pytest.fixture
def resnet_file(tmp_path):
    """Weights of a torchvision resnet18 with its own classifier, and the network they are from."""
    torch.manual_seed(5)
    net = models.resnet18().eval()
    torch.save(net.state_dict(), tmp_path / "resnet.pth")
    return net, tmp_path / "resnet.pth"


def test_grey_pictures_give_what_three_equal_colours_gave():
    torch.manual_seed(0)
    net, x = models.resnet18().eval(), torch.randn(2, 1, 40, 40)
    grey = models.resnet18().eval()
    grey.load_state_dict(net.state_dict())
    weights.adapt_input(grey, 1)
    assert torch.allclose(grey(x), net(x.expand(-1, 3, -1, -1)), atol=1e-5)
    assert grey.conv1.in_channels == 1


@pytest.mark.parametrize("n_in", [2, 4, 6])
def test_other_channels_repeat_the_weights_and_keep_the_scale(n_in):
    weight = torch.randn(8, 3, 3, 3)
    fitted = fit_channels(weight, n_in)
    assert fitted.shape == (8, n_in, 3, 3) and torch.allclose(fitted[:, 0], weight[:, 0] * 3 / n_in)
    same = torch.ones(1, n_in, 3, 3)
    if n_in % 3 == 0:
        assert torch.allclose((fitted * same).sum(1), weight.sum(1), atol=1e-5)


def same_features(model, net):
    x = torch.randn(2, 3, 48, 48)
    net.fc = nn.Identity()
    return torch.allclose(model.eval().body(x), net(x), atol=1e-6)


@pytest.mark.parametrize("wrap", ["", "module.", "model.", "_orig_mod.body."])
@pytest.mark.parametrize("inside", [None, "state_dict", "model"])
def test_weights_are_taken_from_a_file_with_any_wrapper(resnet_file, tmp_path, wrap, inside):
    net, _ = resnet_file
    state = {wrap + name: value for name, value in net.state_dict().items()}
    torch.save({inside: state, "epoch": 3} if inside else state, tmp_path / "w.pth")
    assert same_features(build("resnet18", 2, weights=tmp_path / "w.pth"), net)


def test_weights_are_taken_from_safetensors_and_into_other_channels(resnet_file, tmp_path, caplog):
    net, _ = resnet_file
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    with caplog.at_level(logging.WARNING):
        model = build("resnet18", 2, 1, weights=tmp_path / "w.safetensors")
    assert torch.allclose(model.body.conv1.weight, net.conv1.weight.sum(1, keepdim=True)) and not caplog.records


def test_a_few_tensors_that_do_not_fit_are_told(resnet_file, caplog):
    net, _ = resnet_file
    state = net.state_dict()
    state["bn1.weight"] = torch.ones(3)
    del state["layer1.0.bn1.bias"]
    with caplog.at_level(logging.WARNING, logger="tipsai"):
        load_weights(build("resnet18", 2).body, state, "w.pth")
    assert "leaves 2 of 100 tensors" in caplog.text and "bn1.weight [3] for [64]" in caplog.text
    assert "layer1.0.bn1.bias is missing" in caplog.text


def test_weights_of_another_backbone_are_refused(resnet_file):
    with pytest.raises(ArtifactError, match=r"fits \d+ of the backbone's \d+ tensors, less than 90%.*is missing"):
        build("resnet34", 2, weights=resnet_file[1])


def test_old_names_of_densenet_are_known():
    body = build("densenet121", 2).body
    wanted = body.state_dict()
    assert weights._rename("features.denseblock1.denselayer2.norm.1.weight", wanted) in wanted


def test_positions_of_a_vit_are_interpolated():
    state = models.VisionTransformer(32, 8, 1, 2, 16, 32).state_dict()
    body = models.VisionTransformer(48, 8, 1, 2, 16, 32)
    load_weights(body, state, "vit.pth")
    assert torch.equal(body.encoder.pos_embedding[:, 0], state["encoder.pos_embedding"][:, 0])
    assert torch.equal(body.conv_proj.weight, state["conv_proj.weight"])


def test_a_file_that_is_no_weights_is_refused(tmp_path):
    with pytest.raises(SettingError, match="there is no file of weights"):
        build("resnet18", 2, weights=tmp_path / "none.pth")
    for name, content in (("a.pth", b"junk"), ("a.safetensors", b"junk")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ArtifactError, match=r"cannot be read as weights .* Expected a state_dict"):
            build("resnet18", 2, weights=tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "b.pth")
    with pytest.raises(ArtifactError, match="holds a dict without tensors"):
        build("resnet18", 2, weights=tmp_path / "b.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "c.pth")  # code, which is not run
    with pytest.raises(ArtifactError, match="cannot be read as weights"):
        build("resnet18", 2, weights=tmp_path / "c.pth")


def test_pretrained_weights_are_taken_from_the_cache(resnet_file, tmp_path, monkeypatch):
    net, file = resnet_file
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    file.rename(tmp_path / "checkpoints" / models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2])
    model = build("resnet18", 2, pretrained=True)
    assert model.arguments["pretrained"] is False and same_features(model, net)
    assert build("resnet18", 2, pretrained="IMAGENET1K_V1").arguments == model.arguments
