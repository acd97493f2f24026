"""A backbone's first layer fitted to the channels of the pictures, and its weights read from files."""

import logging
import math
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from tipsai.core.errors import ArtifactError, SettingError, listing
from tipsai.core.weights import load_tensors

log = logging.getLogger("tipsai")

LEAST_SHARE = 0.9  # of a body's tensors that a file of weights must hold
BROKEN = (
    pickle.UnpicklingError,
    SafetensorError,
    struct.error,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
WRAPPERS = re.compile(r"^(?:(?:module|model|_orig_mod|net|body|backbone|encoder)\.)+")


def fit_channels(weight: Tensor, n_in: int) -> Tensor:
    """A first convolution's weight `[out, c, kh, kw]` for n_in channels instead of c.

    One channel gets the sum, so a grey picture gives what it gave as three equal colours. Other numbers repeat the
    channels and scale by c / n_in, which keeps the size of what comes out.
    """
    c = weight.shape[1]
    if c == n_in:
        return weight
    if n_in == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, [i % c for i in range(n_in)]] * (c / n_in)


def adapt_input(net: nn.Module, n_in: int) -> None:
    """Gives a network's first convolution n_in channels, with its weights fitted."""
    name, old = first_conv(net)
    if old is None or old.in_channels == n_in:
        return
    if old.groups != 1:
        raise SettingError(
            f"the first convolution {name!r} takes {old.in_channels} channels in {old.groups} groups, which cannot be "
            f"fitted to n_in={n_in}; give the module a first layer of its own."
        )
    old.in_channels = n_in
    old.weight = nn.Parameter(fit_channels(old.weight.detach(), n_in))


def first_conv(net: nn.Module) -> tuple[str, nn.Conv2d | None]:
    return next(((name, m) for name, m in net.named_modules() if isinstance(m, nn.Conv2d)), ("", None))


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .pth or .safetensors file, by name; no code in it is run.

    Raises:
        SettingError: there is no such file.
        ArtifactError: it is damaged, or holds more than tensors.
    """
    if not Path(path).is_file():
        raise SettingError(
            f"there is no file of weights {str(path)!r}; give weights= the path of a .pth or .safetensors."
        )
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except BROKEN as error:
        raise ArtifactError(
            f"{path} cannot be read as weights ({str(error).splitlines()[0]}). Expected a state_dict, saved with "
            "torch.save(model.state_dict(), path) or safetensors."
        ) from error
    for inner in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(inner), Mapping):
            state = state[inner]
    if not isinstance(state, Mapping) or not any(isinstance(value, Tensor) for value in state.values()):
        raise ArtifactError(f"{path} holds a {type(state).__name__} without tensors; expected a state_dict.")
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}


def load_weights(body: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Puts a backbone's weights into its body. Names may carry a wrapper ("module.", "model.", ...); the classifier is left.

    Raises:
        ArtifactError: less than 90% of the body's tensors are there in the right shape. More, but not all: a warning.
    """
    wanted = {k: v for k, v in body.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = {_rename(name, wanted): value for name, value in state.items()}
    first = f"{first_conv(body)[0]}.weight"
    if first in given and first in wanted and given[first].ndim == 4:
        given[first] = fit_channels(given[first], wanted[first].shape[1])
    place = "encoder.pos_embedding"  # of torchvision's ViT, which depends on the pictures' size
    if place in wanted and place in given and given[place].shape != wanted[place].shape:
        patch = wanted[first].shape[-1]
        side = patch * math.isqrt(wanted[place].shape[1] - 1)
        given = dict(models.vision_transformer.interpolate_embeddings(side, patch, given))
    fits = {k: given[k] for k, v in wanted.items() if k in given and given[k].shape == v.shape}
    bad = [
        f"{k} {list(given[k].shape)} for {list(v.shape)}" if k in given else f"{k} is missing"
        for k, v in wanted.items()
        if k not in fits
    ]
    if len(fits) < LEAST_SHARE * len(wanted):
        raise ArtifactError(
            f"{source} fits {len(fits)} of the backbone's {len(wanted)} tensors, less than {LEAST_SHARE:.0%}: "
            f"{listing(bad, 5)}. It holds {listing(state, 3)}. Give the weights of this very backbone."
        )
    if bad:
        log.warning("%s leaves %d of %d tensors as they were: %s", source, len(bad), len(wanted), listing(bad))
    load_tensors(body, body.state_dict() | fits)


def _rename(name: str, wanted: Mapping[str, Tensor]) -> str:
    """The body's name for a tensor of a file: without wrappers, and with DenseNet's old names made new."""
    if name in wanted:
        return name
    bare = WRAPPERS.sub("", name)
    return bare if bare in wanted else re.sub(r"\b(norm|conv)\.(\d)\.", r"\1\2.", bare)
