"""Token numbers one after the other: in memory while they are few, in a file that is memory-mapped when they are many."""

import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from tipsai.core.errors import DataError
from tipsai.text.tokenizers import Tokenizer, Tokens

IN_MEMORY = 1 << 26  # bytes; more go to a file in the folder for temporary ones (TMPDIR)


class Store:
    """Takes tokens piece by piece.

    Args:
        kind: uint16 or uint32.
        in_memory: bytes that are kept in memory.
    """

    def __init__(self, kind: type[np.uint16] | type[np.uint32], in_memory: int = IN_MEMORY) -> None:
        self.kind, self.in_memory = kind, in_memory
        self.parts: list[Tokens] = []
        self.held = 0
        self.file: IO[bytes] | None = None

    def add(self, tokens: Tokens) -> None:
        self.parts.append(tokens.astype(self.kind, copy=False))
        self.held += self.parts[-1].nbytes
        if self.held > self.in_memory:
            if self.file is None:
                self.file = tempfile.TemporaryFile(prefix="tipsai-tokens-")  # noqa: SIM115  closed when it is mapped
            self._write(self.file)

    def _write(self, file: IO[bytes]) -> None:
        for part in self.parts:
            file.write(part.tobytes())
        self.parts, self.held = [], 0

    def tokens(self) -> Tokens:
        """All that was added: an array, or a memory map of a file that is gone with it."""
        if self.file is None:
            return np.concatenate(self.parts) if self.parts else np.zeros(0, self.kind)
        self._write(self.file)
        self.file.flush()
        with self.file as file:  # the map keeps what it needs of it
            return mapped(file, self.kind)


def mapped(file: Any, kind: type[np.uint16] | type[np.uint32]) -> Tokens:
    """A file of raw numbers as an array; pages are read when they are asked for, and never written."""
    return np.memmap(file, kind, mode="r")


def opened(tokens: Any, tokenizer: Tokenizer) -> Tokens:
    """Tokens as they were given: an array, or a file of raw numbers (.bin) or of NumPy's (.npy), which is memory-mapped.

    Raises:
        DataError: there is no such file, it is of another type, or a number is no token.
    """
    if isinstance(tokens, str | Path):
        path = Path(tokens)
        if path.suffix not in (".bin", ".npy") or not path.is_file():
            raise DataError(f"{path} is no file of tokens; expected a .bin of {tokenizer.type.__name__} or a .npy.")
        try:
            found = mapped(path, tokenizer.type) if path.suffix == ".bin" else np.load(path, mmap_mode="r")
        except ValueError as error:
            raise DataError(f"{path} is no file of tokens ({error}).") from error
    else:
        found = np.asarray(tokens)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise DataError(f"tokens are {found.dtype} {list(found.shape)}; expected whole numbers in one dimension.")
    step = 1 << 20
    for start in range(0, len(found), step):
        part = found[start : start + step]
        if part.max() >= tokenizer.n_tokens or part.min() < 0:
            raise DataError(
                f"the tokens hold the number {part.max()}, and the tokenizer has {tokenizer.n_tokens:,} tokens; give the one they were made with."
            )
    return found if found.dtype in (np.uint16, np.uint32) else found.astype(tokenizer.type)
