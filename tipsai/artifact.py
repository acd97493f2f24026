"""Artifacts: what a trained model is, as data. Reading one runs no code and imports nothing that it names."""

import hashlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tipsai import container
from tipsai.core.errors import ArtifactError
from tipsai.core.state import Row
from tipsai.core.weights import load_tensors
from tipsai.data.block import Block
from tipsai.optim import load_state


@dataclass(frozen=True, slots=True)
class Builder:
    """How a built-in model is made again: a name in the table of builders, and plain arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contents:
    """What an artifact held."""

    manifest: dict[str, Any]
    model: nn.Module
    blocks: tuple[Block, Block] | None


def data_fingerprint(loader: Any) -> str:
    """A digest of a split: all of its tensors where they lie in memory, else its length. "" without one."""
    if loader is None:
        return ""
    rows = getattr(loader, "rows", None)
    tensors: Sequence[Tensor] = rows.tensors() if rows is not None else ()
    digest = hashlib.blake2b(str(loader.n_items).encode(), digest_size=12)
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        stride = max(
            1, flat.numel() // 4_000_000
        )  # a large split is sampled evenly, so that this takes no noticeable time
        digest.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
        digest.update(flat[::stride].contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def git_commit() -> str:
    """The commit of the folder that the run was started in, with a mark if it had changes; "" outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):  # no git here; the artifact then says nothing of it
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def export(
    path: str | Path,
    model: nn.Module,
    builder: Builder | None,
    blocks: tuple[Block, Block] | None,
    facts: Mapping[str, Any],
) -> None:
    """Writes an artifact: manifest.json, processors.json, model.safetensors."""
    manifest = {
        "format_version": container.FORMAT_VERSION,
        "kind": "artifact",
        "builder": {"name": builder.name, "arguments": builder.arguments} if builder else None,
        "model_class": type(model).__name__,
        "versions": container.versions(),
        "git_commit": git_commit(),
        **facts,
    }
    described = [{"type": type(block).__name__, "state": block.to_dict()} for block in blocks] if blocks else None
    container.write(path, {"manifest": manifest, "processors": described}, {"model": model.state_dict()})


def read(
    path: str | Path,
    builders: Callable[[str], Callable[..., nn.Module] | None],
    block_types: Callable[[str], Callable[[Any], Block] | None],
    model: nn.Module | None = None,
) -> Contents:
    """Reads an artifact with the two look-ups that it is given; what neither knows is refused.

    Args:
        path: the file.
        builders: from a builder's name to the function that makes the model, None if unknown.
        block_types: from a block's name to the function that makes it of its state, None if unknown.
        model: a hand-made model to fill, where the artifact names no builder.

    Raises:
        ArtifactError: the file is damaged, of a newer format, names something unknown, or does not fit the model.
    """
    documents, groups = container.read(path)
    manifest = documents["manifest"]
    if manifest.get("kind") != "artifact":
        raise ArtifactError(
            f"{path} holds the kind {manifest.get('kind')!r}, no exported model; give a file that learn.export wrote."
        )
    try:
        blocks = None
        if documents["processors"] is not None:
            x, y = (_known(block_types, d["type"], path)(d["state"]) for d in documents["processors"])
            blocks = (x, y)
        spec = manifest["builder"]
        if model is None:
            if spec is None:
                raise ArtifactError(
                    f"{path} holds a hand-made {manifest['model_class']}; pass an instance: load_learner(path, model={manifest['model_class']}(...))."
                )
            model = _known(builders, spec["name"], path)(**spec["arguments"])
        load_tensors(model, groups["model"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{path} does not fit ({type(error).__name__}: {error}). Export it anew, or pass the model it was made from."
        ) from error
    return Contents(manifest, model, blocks)


def _known(table: Callable[[str], Any], name: str, path: str | Path) -> Any:
    found = table(name)
    if found is None:
        raise ArtifactError(f"{path} names {name!r}, which this version does not know. Upgrade: pip install -U tipsai")
    return found


def save(path: str | Path, model: nn.Module, opt: Optimizer | None, history: list[Row]) -> None:
    """Writes weights, optimizer state and history."""
    tensors: dict[str, Any] = {}
    tree = container.pack({"opt": opt.state_dict() if opt else None, "history": history}, tensors, "state")
    manifest = {"format_version": container.FORMAT_VERSION, "kind": "save", "versions": container.versions()}
    container.write(path, {"manifest": manifest, "state": tree}, {"model": model.state_dict(), "state": tensors})


def load(path: str | Path, model: nn.Module, opt: Optimizer) -> tuple[Optimizer | None, list[Row]]:
    """Takes over what save wrote; returns the optimizer (None if none was saved) and the history.

    Raises:
        ArtifactError: the file is damaged, or from another kind of model.
    """
    documents, groups = container.read(path)
    if documents["manifest"].get("kind") != "save":
        raise ArtifactError(
            f"{path} holds the kind {documents['manifest'].get('kind')!r}; load takes what learn.save wrote, load_learner what learn.export did."
        )
    tree = container.unpack(documents["state"], groups.get("state", {}))
    try:
        load_tensors(model, groups["model"])
        if tree["opt"] is not None:
            load_state(opt, tree["opt"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path} does not fit this learner: {error}") from error
    return (opt if tree["opt"] is not None else None), tree["history"]
