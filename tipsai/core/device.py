"""The device that a run works on."""

import torch
from torch import Tensor

from tipsai.core.errors import SettingError


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
