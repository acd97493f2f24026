"""The device that a run works on."""

import torch

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
