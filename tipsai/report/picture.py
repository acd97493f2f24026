"""Small pictures within a page."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

SIDE = 224  # pixels at most, of a picture on the page
LOSSLESS = 64  # pixels of a side up to which a picture keeps every one of them
QUALITY = 85
GAP = 2  # pixels between pictures side by side


def data_uri(pixels: Any) -> str:
    """A picture uint8 [h, w, 3] as a data URI: PNG where it is small, else JPEG, shrunk where it is large."""
    from PIL import Image  # here, since only runs of pictures need it

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    factor = SIDE / max(picture.size)
    if factor < 1:
        width, height = (max(1, round(side * factor)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    kind = "png" if max(picture.size) <= LOSSLESS else "jpeg"
    data = io.BytesIO()
    picture.save(data, kind, quality=QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"


def beside(pictures: Sequence[Any]) -> Any:
    """Pictures of one height side by side, with a white gap."""
    parts = []
    for i, picture in enumerate(pictures):
        if i:
            parts.append(np.full((picture.shape[0], GAP, 3), 255, np.uint8))
        parts.append(picture)
    return np.concatenate(parts, axis=1)


def of_tensor(x_chw: Tensor, low: float, high: float) -> Any:
    """A raw tensor of one or three channels as pixels, black at low and white at high."""
    scaled = ((x_chw.float() - low) / max(high - low, 1e-12) * 255).round().clamp(0, 255).byte()
    return scaled.expand(3, -1, -1).permute(1, 2, 0).cpu().numpy()
