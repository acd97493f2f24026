"""What the doctor says of pictures. Whole runs stand in tests/doctor/gallery_modalities.py."""

import pytest
import torch
from doctor.gallery_modalities import Body, pictures, stripes
from torch import nn

from tipsai.core.finding import Finding
from tipsai.doctor import CHECKS as GENERAL
from tipsai.vision import vision_learner
from tipsai.vision.checks import judge_size, looks


def found(learn):
    said = learn.check(silent=[check.code for check in GENERAL], progress=False)
    assert not said.failed
    return {finding.code: finding for finding in said}


# --- size -----------------------------------------------------------------------------------------------------------


def test_pictures_made_smaller_than_96_pixels_are_told():
    """DA03."""
    finding = found(pictures(stripes(0, 40, 120, size=64), 0))["small-pictures"]
    assert (finding.tip, finding.severity) == ("DA03", "advice")
    assert "have 120 pixels a side, the model sees 64x64" in finding.message and "size=96" in finding.fix


@pytest.mark.parametrize(
    "side, size, severity, fix",
    [
        (200, 64, "advice", "size=128"),
        (500, 64, "warning", "size=128"),
        (40, 24, "advice", "Leave size out."),
        (200, 96, None, ""),
        (40, 32, None, ""),
        (28, 28, None, ""),
    ],
)
def test_how_much_smaller_is_worth_a_word(side, size, severity, fix):
    said = list(judge_size({"side": side, "size": (size, size)}))
    assert [verdict.severity for verdict in said] == ([severity] if severity else [])
    assert all(fix in verdict.fix for verdict in said)


def test_a_resized_copy_is_judged_by_its_own_size():
    dls = stripes(0, 40, 120, size=96)
    assert "small-pictures" not in found(pictures(dls, 0))
    assert "small-pictures" in found(pictures(dls.resized(48), 0))


# --- weights --------------------------------------------------------------------------------------------------------


def test_few_large_pictures_want_weights():
    finding = found(pictures(stripes(0, 60, 64), 0))["no-pretrained-weights"]
    assert (finding.tip, finding.severity) == (
        "AR03",
        "advice",
    ) and "vision_learner(dls, 'resnet18', pretrained=True)" in finding.fix
    assert "no-pretrained-weights" not in found(pictures(stripes(0, 60, 48), 0))


def test_what_a_module_of_ones_own_holds_is_not_known():
    assert "no-pretrained-weights" not in found(vision_learner(stripes(0, 60, 64), Body(), seed=0, device="cpu"))


def test_weights_that_could_not_be_had_are_not_told_twice():
    learn = pictures(stripes(0, 60, 64), 0)
    learn.dls.findings.append(Finding("no-weights", "AR03", "warning", "none"))
    assert "no-pretrained-weights" not in found(learn)


# --- far from photographs -------------------------------------------------------------------------------------------


def photograph(n=20):
    """Blurred noise with colours: alike at neighbouring pixels."""
    rough = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(rough, 64, mode="bilinear")


@pytest.mark.parametrize(
    "pixels, reason",
    [
        (photograph(), ""),
        (photograph().mean(1, keepdim=True), "no colour"),
        (photograph().mean(1, keepdim=True).expand(-1, 3, -1, -1), "no colour"),
        (photograph() * 0.2, "mean is 0.10"),
        (0.9 + photograph() * 0.1, "mean is 0.95"),
        (0.45 + photograph() * 0.1, "hardly vary"),
        (torch.rand(20, 3, 64, 64), "neighbouring pixels are hardly alike"),
    ],
    ids=["like one", "one channel", "three equal channels", "dark", "light", "flat", "noise"],
)
def test_what_is_far_from_photographs(pixels, reason):
    from tipsai.vision.checks import DOMAIN

    said = list(DOMAIN.judge(looks(pixels)))
    assert len(said) == bool(reason) and all(reason in verdict.message for verdict in said)


def test_pictures_are_seen_as_they_were_before_normalisation():
    learn = vision_learner(stripes(0, 60, 32), Body(), pretrained=True, seed=0, device="cpu")
    assert "far-from-pretraining" not in found(learn)
    learn.dls = learn.dls.normalized([0.0, 0.0, 0.0], [9.0, 9.0, 9.0])
    assert "far-from-pretraining" not in found(learn)
