"""What a model consists of: layers, shapes, parameters, memory."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tipsai.core.evaluate import evaluating
from tipsai.core.state import Batch
from tipsai.core.text import table


@dataclass(frozen=True, slots=True)
class Layer:
    """One leaf module, as it ran on a batch."""

    name: str
    kind: str
    shape: str
    n_parameters: int  # parameters met before in another layer (tied) are not counted again
    trainable: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """Prints as a table."""

    layers: list[Layer]
    n_parameters: int
    n_trainable: int
    parameter_bytes: int
    activation_bytes: int
    n_rows: int

    def __str__(self) -> str:
        rows = [
            [
                la.name,
                la.kind,
                la.shape,
                f"{la.n_parameters:,}",
                "yes" if la.trainable else "no" if la.n_parameters else "",
            ]
            for la in self.layers
        ]
        text = table(rows, ["layer", "type", "output", "parameters", "trained"])
        training = 4 * self.parameter_bytes + self.activation_bytes
        return (
            f"{text}\n\n{self.n_parameters:,} parameters, {self.n_trainable:,} of them trained; {_size(self.parameter_bytes)} of weights.\n"
            f"About {_size(training)} in training with a batch of {self.n_rows}: weights, gradients, two optimizer moments, activations."
        )

    __repr__ = __str__


def _size(n_bytes: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if n_bytes < 1024:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.3g} GB"


def summarize(model: nn.Module, batch: Batch) -> Summary:
    """Runs one batch through the model, in evaluation mode, and notes every leaf module it passes.

    Tied parameters count once. Modules that did not run are left out of the rows, not of the total. Activation memory
    is the sum of the leaves' outputs, which is what backward keeps, roughly.
    """
    layers: list[Layer] = []
    seen: set[nn.Parameter] = set()
    activation_bytes = 0

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            nonlocal activation_bytes
            tensors = [t for t in (out if isinstance(out, tuple | list) else (out,)) if isinstance(t, Tensor)]
            activation_bytes += sum(t.nbytes for t in tensors)
            params = [p for p in module.parameters() if p not in seen]
            seen.update(params)
            shape = ", ".join(str(list(t.shape)) for t in tensors)
            layers.append(
                Layer(
                    name,
                    type(module).__name__,
                    shape,
                    sum(p.numel() for p in params),
                    any(p.requires_grad for p in params),
                )
            )

        return hook

    leaves = [(name, m) for name, m in model.named_modules() if not any(True for _ in m.children())]
    handles = [m.register_forward_hook(note(name or type(m).__name__)) for name, m in leaves]
    try:
        with evaluating(model):
            model(*batch.x)
    finally:
        for handle in handles:
            handle.remove()
    params = list(model.parameters())
    loose = [(name, p) for name, p in model.named_parameters() if p not in seen]
    layers += [Layer(name, "Parameter", str(list(p.shape)), p.numel(), p.requires_grad) for name, p in loose]
    return Summary(
        layers,
        sum(p.numel() for p in params),
        sum(p.numel() for p in params if p.requires_grad),
        sum(p.nbytes for p in params),
        activation_bytes,
        batch.n_rows,
    )
