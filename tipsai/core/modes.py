"""Training and evaluation mode of modules, putting it back, and a copy that may be trained instead."""

import contextlib
import copy
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Afterwards every module is in the mode it was in, whatever happens inside."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def train(model: nn.Module) -> None:
    """Training mode, save for batch norms that are frozen: their running statistics stay as they were (AR03)."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            params = list(module.parameters())
            if params and not any(p.requires_grad for p in params):
                module.eval()


def copied(model: nn.Module) -> nn.Module:
    """A copy that may be trained. Recurrent layers keep their weights in one piece, as a GPU wants them; a copy breaks it up."""
    made = copy.deepcopy(model)
    for module in made.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    return made
