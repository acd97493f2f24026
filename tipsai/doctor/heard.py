"""Which of torch's functions a forward pass calls: modules' and functions' alike."""

from collections.abc import Callable, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode


class Heard(TorchFunctionMode):
    """Tells of every function of torch, once it was called.

    Args:
        tell: takes its name, positional arguments, keyword arguments and result.
    """

    def __init__(self, tell: Callable[[str, Sequence[Any], dict[str, Any], Any], None]) -> None:
        super().__init__()
        self.tell = tell

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.tell(getattr(func, "__name__", ""), args, kwargs, result)
        return result
