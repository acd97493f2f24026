"""Tensors by name, back into the model that they are of."""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """model.load_state_dict of plain tensors, which lack the versions of its modules that a state_dict carries.

    Some modules refuse a state without them (torchvision's MNASNet), others take it for one of their oldest version. Here the
    tensors are of the model as it is.

    Raises:
        RuntimeError: names or shapes differ.
    """
    state = OrderedDict(tensors)
    state._metadata = getattr(model.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
    model.load_state_dict(state)
