"""The device that a run works on."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tipsai.core.errors import SettingError, listing

MIXED = ("same device", "expected device", "should be the same")  # how torch says that tensors of two devices met


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, or the best there is: CUDA, then Apple's, then the CPU.

    Raises:
        SettingError: the device is unknown, or not on this machine.
    """
    if device is None or device == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(
            f"device {str(device)!r} is not on this machine ({str(error).splitlines()[0]}). Use 'auto' or 'cpu'."
        ) from error
    return found


def sent(t: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on a device, for which the host does not wait where that is safe; itself where it is there already.

    A GPU fetches by itself only from memory that stays in place (pinned); from other memory the copy begins when all work
    before it is done, and the host waits. Apple's would fetch from memory that is in use for something else by then
    (pytorch/pytorch#189690), and is waited for.
    """
    device = torch.device(device)
    if t.device.type != "cpu" or device.type in ("cpu", "mps"):
        return t.to(device)
    if device.type == "cuda" and not t.is_pinned():
        t = t.contiguous().pin_memory()  # what is expanded cannot be pinned
    return t.to(device, non_blocking=True)


def left_behind(model: nn.Module, device: torch.device) -> list[str]:
    """Attributes of a model that hold tensors or layers on another device: those that torch, not knowing of them, did not move."""
    known = set(model.modules())

    def is_elsewhere(value: Any) -> bool:
        if isinstance(value, list | tuple | dict):
            return any(map(is_elsewhere, value.values() if isinstance(value, dict) else value))
        if isinstance(value, nn.Module):
            return value not in known and any(t.device.type != device.type for t in value.state_dict().values())
        return isinstance(value, Tensor) and value.device.type != device.type

    return [
        f"{name}.{attribute}" if name else attribute
        for name, module in model.named_modules()
        for attribute, value in vars(module).items()
        if not attribute.startswith("_") and is_elsewhere(value)
    ]


@contextlib.contextmanager
def on_one_device(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Says what stayed on another device where the model fails because of it.

    Nothing is looked for until it fails: a model may keep such things on purpose, and fetch what it needs.

    Raises:
        SettingError: tensors of two devices met.
    """
    try:
        yield
    except RuntimeError as error:
        found = left_behind(model, device) if any(words in str(error) for words in MIXED) else []
        if not found:
            raise
        raise SettingError(
            f"{listing(found)} did not go to {device} with the model: torch moves only what it knows of. "
            "Keep layers in nn.ModuleList or nn.ModuleDict, and tensors by self.register_buffer(name, tensor)."
        ) from error
