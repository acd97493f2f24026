"""The one file format: a zip of JSON documents and safetensors, sealed with a digest, written whole or not at all.

The digest, of every byte before it, stands in the zip's comment, which is the end of the file. Equal contents give equal
bytes. Reading runs no code and imports nothing that a file names.
"""

import errno
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tipsai.core.errors import ArtifactError, OutputError, listing

FORMAT_VERSION = 1
SEAL = b"sha256:"
SEAL_LENGTH = len(SEAL) + 64
BLOCK = 1 << 20  # bytes hashed at a time


def write(
    path: str | Path, documents: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]] | None = None
) -> None:
    """Writes documents (as <name>.json) and groups of tensors (as <name>.safetensors) to one file.

    A temporary file beside it is written, flushed to the disk and renamed, so that the file is either the old one or
    the new one, whole, whenever the process dies.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    from safetensors.torch import save  # here, since importing tipsai must cost nothing beyond torch

    path = Path(path)
    members = {f"{name}.json": _to_json(document) for name, document in documents.items()}
    for name, group in (tensors or {}).items():
        unique, aliases = _untied(group)
        members[f"{name}.safetensors"] = save(unique, metadata={"aliases": json.dumps(aliases)})
    with writing(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, data in members.items():
                info = zipfile.ZipInfo(name)  # without the time, so that equal contents give equal bytes
                info.external_attr = 0o644 << 16
                archive.writestr(info, data)
            archive.comment = b" " * SEAL_LENGTH
        temporary.seek(-SEAL_LENGTH, os.SEEK_END)
        temporary.write(_seal(temporary))


def _seal(file: Any) -> bytes:
    """The digest of all but the last SEAL_LENGTH bytes, which leaves the file where the seal stands."""
    length = file.seek(-SEAL_LENGTH, os.SEEK_END)
    file.seek(0)
    digest = hashlib.sha256()
    while data := file.read(min(BLOCK, length)):
        digest.update(data)
        length -= len(data)
    return SEAL + digest.hexdigest().encode()


class writing:
    """Gives a binary file that takes the place of `path` when the block ends well, and leaves no trace when it does not."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __enter__(self) -> Any:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".part", dir=self.path.parent)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        self.temporary = name
        self.file = os.fdopen(handle, "w+b")
        return self.file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self.file.flush()
                os.fsync(self.file.fileno())
                self.file.close()
                umask = os.umask(0)
                os.umask(umask)
                os.chmod(self.temporary, 0o666 & ~umask)  # mkstemp's 0600 would hide a model from its group
                os.replace(self.temporary, self.path)
                _sync_folder(self.path.parent)
                return
        except OSError as failure:
            error = failure
        _discard(self.file, self.temporary)
        if isinstance(error, OSError):
            raise _cannot_write(self.path, error) from error


def _discard(file: Any, name: str) -> None:
    for clean in (file.close, lambda: os.unlink(name)):
        try:
            clean()
        except OSError:  # a full disk can refuse the flush in close; the error that led here is the one to report
            continue


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _cannot_write(path: Path, error: OSError) -> OutputError:
    reason = {
        errno.ENOSPC: "the disk is full",
        errno.EACCES: "no permission",
        errno.EROFS: "the file system is read-only",
        errno.EISDIR: "it is a folder",
    }
    return OutputError(
        f"cannot write {path}: {reason.get(error.errno or 0, error.strerror or str(error))}. Free some room, or choose another place."
    )


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Reads what write wrote: (documents by name, groups of tensors by name, on the CPU).

    Raises:
        ArtifactError: there is no such file, it is truncated or changed, or of a newer format.
    """
    path = Path(path)
    if path.is_dir():
        within = sorted(map(str, path.glob("*.tips")))
        hint = f" Did you mean {listing(within)}?" if within else ""
        raise ArtifactError(f"{path} is a folder; expected an artifact: a file that ends in .tips.{hint}")
    if not path.is_file():
        raise ArtifactError(f"there is no file {path}; expected an artifact written by export, save or a checkpoint.")
    try:
        with path.open("rb") as file:
            expected = _seal(file)
            if file.read() != expected:
                raise ValueError("its contents do not fit its digest")
        members = dict(_members(path))
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ArtifactError(
            f"{path} is no artifact, is truncated, or was changed after it was written ({error}). "
            "Copy it again, or export it anew."
        ) from error
    from safetensors.torch import load

    try:
        documents = {
            name.removesuffix(".json"): _from_json(data) for name, data in members.items() if name.endswith(".json")
        }
        version = documents["manifest"]["format_version"]
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise ArtifactError(
                f"{path} has format {version}; this version reads up to {FORMAT_VERSION}. Upgrade: pip install -U tipsai"
            )
        groups = {
            name.removesuffix(".safetensors"): _tied(load(data), data)
            for name, data in members.items()
            if name.endswith(".safetensors")
        }
    except ArtifactError:
        raise
    except Exception as error:  # whatever a damaged document does to its parser, the user learns which file it is
        raise ArtifactError(f"{path} cannot be read ({type(error).__name__}: {error}). Export it anew.") from error
    return documents, groups


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:  # ours are stored; a compressed one could unpack to any size
                raise ValueError(f"the member {info.filename} is compressed")
            yield info.filename, archive.read(info)


def _to_json(document: Any) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _from_json(data: bytes) -> Any:
    return json.loads(data)


def _untied(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Each tensor once: those that are the same memory (tied weights) become names for the first of them (LM01)."""
    unique: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[tuple[Any, ...], str] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        if tensor.numel() and identity in seen:
            aliases[name] = seen[identity]
        else:
            seen[identity] = name
            # A copy where memory is shared in another way (a slice or a view of another), which safetensors refuses.
            storage = tensor.untyped_storage()
            whole = tensor.is_contiguous() and storage.nbytes() == tensor.nbytes and storage.data_ptr() not in storages
            storages.add(storage.data_ptr())
            unique[name] = (
                tensor.detach() if whole and tensor.device.type == "cpu" else tensor.detach().cpu().contiguous().clone()
            )
    return unique, aliases


def _tied(tensors: dict[str, Tensor], data: bytes) -> dict[str, Tensor]:
    length = int.from_bytes(data[:8], "little")
    aliases = json.loads(json.loads(data[8 : 8 + length]).get("__metadata__", {}).get("aliases", "{}"))
    return tensors | {name: tensors[first] for name, first in aliases.items()}


def pack(tree: Any, tensors: dict[str, Tensor], prefix: str = "") -> Any:
    """Plain data with tensors in it, as JSON; the tensors go into `tensors`. unpack is its inverse (tuples become lists)."""
    if isinstance(tree, Tensor):
        while prefix in tensors:  # keys such as 1 and "1" read alike
            prefix += "'"
        tensors[prefix] = tree
        return {"$tensor": prefix}
    if isinstance(tree, Mapping):
        return {"$items": [[k, pack(v, tensors, f"{prefix}.{k}")] for k, v in tree.items()]}
    if isinstance(tree, list | tuple):
        return [pack(v, tensors, f"{prefix}.{i}") for i, v in enumerate(tree)]
    if tree is None or isinstance(tree, str | int | float | bool):
        return tree
    raise TypeError(f"{prefix} is a {type(tree).__name__}; state that is saved must be plain data and tensors.")


def unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What pack took apart."""
    if isinstance(tree, dict):
        if "$tensor" in tree:
            return tensors[tree["$tensor"]]
        return {k: unpack(v, tensors) for k, v in tree["$items"]}
    return [unpack(v, tensors) for v in tree] if isinstance(tree, list) else tree


def versions() -> dict[str, str]:
    """What a run's numbers depend on."""
    import platform
    import sys
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("tipsai")
    except PackageNotFoundError:  # run from a source folder that was never installed
        own = "unknown"
    return {
        "tipsai": own,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": sys.platform,
        "threads": str(torch.get_num_threads()),
    }
