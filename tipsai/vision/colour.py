"""Colour: every change is an affine map of a pixel's channels, and one matrix does them all (DA17).

A matrix m_bcd is [b, c, c + 1]: a pixel p becomes m[:, :c] p + m[:, c]. Pixels lie in 0..1 here; apply takes other
ranges. Between the steps nothing is clamped: only the result is.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from tipsai.core.device import sent
from tipsai.core.errors import SettingError
from tipsai.vision.sample import SMALL, in_threads

AT_ONCE = 4  # pictures
LUMA = (0.2989, 0.587, 0.114)  # of RGB, as torchvision and Pillow weigh it (ITU-R 601-2)
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))  # NTSC: luma and two of colour


def identity(b: int, c: int, device: torch.device | str = "cpu") -> Tensor:
    """The matrix that changes nothing: [b, c, c + 1]."""
    return torch.eye(c, c + 1, device=device).expand(b, c, c + 1)


def compose(*matrices_bcd: Tensor) -> Tensor:
    """One matrix for several, the one that acts first given first."""
    made = matrices_bcd[0]
    for after in matrices_bcd[1:]:
        offset = after[..., :-1] @ made[..., -1:] + after[..., -1:]
        made = torch.cat([after[..., :-1] @ made[..., :-1], offset], -1)
    return made


def brightness(factor_b: Tensor, c: int = 3) -> Tensor:
    """Times a factor: [b, c, c + 1]. 0 gives black, 1 the picture."""
    return identity(len(factor_b), c, factor_b.device) * factor_b[:, None, None]


def contrast(factor_b: Tensor, mean_bc: Tensor) -> Tensor:
    """Away from the picture's mean grey, or (below 1) towards it: [b, c, c + 1].

    Args:
        factor_b: 0 gives grey, 1 the picture.
        mean_bc: of the picture's pixels, exactly, as it comes to this step (see moved).
    """
    c = mean_bc.shape[1]
    made = brightness(factor_b, c).clone()
    made[..., -1] = (1 - factor_b[:, None]) * (mean_bc @ _grey(c, mean_bc.device))[:, None]
    return made


def saturation(factor_b: Tensor) -> Tensor:
    """Away from each pixel's own grey, or (below 1) towards it: [b, 3, 4]. 0 gives a grey picture."""
    made = brightness(factor_b).clone()
    made[..., :3] += (1 - factor_b[:, None, None]) * _grey(3, factor_b.device)
    return made


def hue(turn_b: Tensor) -> Tensor:
    """Colours turned about the grey axis of YIQ, luma kept: [b, 3, 4].

    Args:
        turn_b: -0.5..0.5 of the whole circle, as torchvision counts, whose hue is an angle in HSV: no matrix, of the
            same direction, and not keeping luma.
    """
    to_yiq_33 = torch.tensor(_YIQ)
    from_yiq_33 = sent(torch.linalg.inv(to_yiq_33), turn_b.device)  # on a device its success would be waited for
    cos, sin = (2 * torch.pi * turn_b).cos(), (2 * torch.pi * turn_b).sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    turn_b33 = torch.stack([one, zero, zero, zero, cos, sin, zero, -sin, cos], -1).view(-1, 3, 3)
    return torch.nn.functional.pad(from_yiq_33 @ turn_b33 @ sent(to_yiq_33, turn_b.device), (0, 1))


def moved(mean_bc: Tensor, m_bcd: Tensor) -> Tensor:
    """The mean of pictures after a matrix, from that before it: [b, c]."""
    return (m_bcd[..., :-1] @ mean_bc[..., None])[..., 0] + m_bcd[..., -1]


def jitter(
    mean_bc: Tensor,
    brightness_b: Tensor | None = None,
    contrast_b: Tensor | None = None,
    saturation_b: Tensor | None = None,
    hue_b: Tensor | None = None,
) -> Tensor:
    """One matrix for brightness, then contrast, saturation and hue: [b, c, c + 1].

    Args:
        mean_bc: of the pictures, 0..1; torchvision's contrast too goes about each picture's own mean.
        brightness_b: factors, as of contrast and saturation.
        contrast_b: see contrast.
        saturation_b: see saturation.
        hue_b: see hue.

    Raises:
        SettingError: saturation or hue of pictures that are not RGB.
    """
    b, c = mean_bc.shape
    if c != 3 and (saturation_b is not None or hue_b is not None):
        raise SettingError(
            f"the pictures have {c} channels, and saturation and hue are those of three; set both to 0 for these."
        )
    made = identity(b, c, mean_bc.device)
    if brightness_b is not None:
        made = compose(made, brightness(brightness_b, c))
    if contrast_b is not None:
        made = compose(made, contrast(contrast_b, moved(mean_bc, made)))
    if saturation_b is not None:
        made = compose(made, saturation(saturation_b))
    return made if hue_b is None else compose(made, hue(hue_b))


def apply(
    x_bchw: Tensor,
    m_bcd: Tensor,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    *,
    top: float = 1.0,
    overwrite: bool = False,
) -> Tensor:
    """Pictures through colour matrices, clamped to 0..1, then normalised, in one pass: float [b, c, h, w].

    Args:
        x_bchw: float pixels of 0..top.
        m_bcd: for pixels of 0..1.
        mean: of each channel, subtracted from the clamped pixels; 0 by default.
        std: of each channel, by which they are divided; 1 by default.
        top: the largest value of x, such as 255.
        overwrite: whether the result may take the place of x, which saves memory and time.

    Raises:
        SettingError: mean or std are not one number a channel.
    """
    b, c, h, w = x_bchw.shape
    mean, std = [0.0] * c if mean is None else list(mean), [1.0] * c if std is None else list(std)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != c:
            raise SettingError(f"{name} has {len(values)} values, and the pictures {c} channels; give one a channel.")
    mean_c1, std_c1 = (sent(torch.tensor(values)[:, None], x_bchw.device) for values in (mean, std))
    scale_bcc, offset_bc1 = m_bcd[..., :-1] / (std_c1 * top), (m_bcd[..., -1:] - mean_c1) / std_c1
    lowest, highest = ([(end - m) / s for m, s in zip(mean, std, strict=True)] for end in (0, 1))
    x_bcn = x_bchw.flatten(2)
    if x_bchw.device.type != "cpu" or h * w < SMALL:
        x_bcn = torch.baddbmm(offset_bc1, scale_bcc, x_bcn)
        for i in range(c):
            x_bcn[:, i].clamp_(lowest[i], highest[i])
        return x_bcn.view(b, c, h, w)
    out_bcn = x_bcn if overwrite else torch.empty_like(x_bcn)

    def change(some: slice) -> None:  # a few pictures at a time stay in the cache
        made_kcn = torch.baddbmm(offset_bc1[some], scale_bcc[some], x_bcn[some])
        for i in range(c):
            torch.clamp(made_kcn[:, i], lowest[i], highest[i], out=out_bcn[some, i])

    in_threads([partial(change, slice(start, start + AT_ONCE)) for start in range(0, b, AT_ONCE)])
    return out_bcn.view(b, c, h, w)


def _grey(c: int, device: torch.device) -> Tensor:
    return sent(torch.tensor(LUMA), device) if c == 3 else torch.full((c,), 1 / c, device=device)
