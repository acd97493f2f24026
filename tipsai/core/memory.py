"""Memory of the host that is used again for the next batch, instead of going back to the system and coming anew."""

import contextlib
import ctypes
import os
import platform
import threading
from collections.abc import Iterator, Mapping
from functools import cache

# Parameters of the C library's allocator, see library.mallopt(3).
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
KEEP = 2**31 - 1  # the most that mallopt takes
# Its defaults, and where its own rule takes the thresholds once large blocks have been freed: mallopt ends that rule.
USUAL = {MMAP_MAX: 65_536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}
REUSING = {MMAP_MAX: 0, TRIM_THRESHOLD: KEEP}
CONTROLS = ("MALLOC_MMAP_", "MALLOC_TRIM_", "MALLOC_TOP_PAD_")

_lock = threading.Lock()
_depth = 0


@contextlib.contextmanager
def reused() -> Iterator[None]:
    """Inside, freed memory stays with the process; when the outermost one ends, it goes back to the system.

    A step frees its activations and the next asks for the same again. Left to itself, the GNU C library returns large blocks
    at once, and the system hands out every page of them anew, zeroed: a tenth to three tenths of a step's time on a processor
    (tests/benchmarks/reused_memory.py). Elsewhere than on Linux with that library, and where the environment already says
    how memory is to be handled (MALLOC_TRIM_THRESHOLD_ and its like, GLIBC_TUNABLES), nothing is changed.
    """
    global _depth
    library = _library()
    with _lock:
        _depth += 1
        if _depth == 1 and library:
            _set(library, REUSING)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0 and library:
                _set(library, USUAL)
                library.malloc_trim(0)


def _set(library: ctypes.CDLL, values: Mapping[int, int]) -> None:
    for parameter, value in values.items():
        library.mallopt(parameter, value)


@cache
def _library() -> ctypes.CDLL | None:
    """The GNU C library; None where it is another, or where its memory is the user's business."""
    told = any(name.startswith(CONTROLS) for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if platform.libc_ver()[0] != "glibc" or told:
        return None
    return ctypes.CDLL(None)
