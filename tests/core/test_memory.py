"""Memory that is used again for the next batch."""

import resource

import pytest
import torch

from tipsai.core import memory
from tipsai.core.evaluate import evaluating

BLOCK = 64 << 20  # bytes; above every threshold of the C library's own


def faults(n: int) -> int:
    """Pages that the system handed out while a block of 64 MB was asked for, filled and freed n times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n):
        torch.ones(BLOCK, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


class Library:
    """Stands for the C library: notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.calls.append((parameter, value))
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.calls.append((pad,))
        return 1


@pytest.fixture
def library(monkeypatch):
    stand_in = Library()
    monkeypatch.setattr(memory, "_library", lambda: stand_in)
    return stand_in


@pytest.mark.skipif(memory._library() is None, reason="another C library, or the environment rules its memory")
def test_freed_blocks_are_used_again_inside_and_given_back_at_the_end():
    with memory.reused():
        faults(3)  # until the blocks have found their places
        inside = faults(10)
    outside = faults(10)
    assert inside < outside / 5


def test_only_the_outermost_sets_and_puts_back(library):
    with memory.reused():
        assert library.calls == list(memory.REUSING.items())
        with memory.reused():
            pass
        assert library.calls == list(memory.REUSING.items())
    assert library.calls[-4:] == [*memory.USUAL.items(), (0,)]


def test_an_error_inside_puts_it_back_too(library):
    with pytest.raises(ValueError), memory.reused():
        raise ValueError
    assert library.calls[-1] == (0,)


def test_evaluation_reuses_memory(library):
    with evaluating(torch.nn.Linear(1, 1)):
        assert library.calls == list(memory.REUSING.items())


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "1"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=3")]
)
def test_what_the_environment_says_stands(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert memory._library.__wrapped__() is None


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    assert memory._library.__wrapped__() is None
    monkeypatch.setattr(memory, "_library", lambda: None)
    with memory.reused():
        assert torch.ones(3).sum() == 3
