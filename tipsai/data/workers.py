"""Worker processes that read and encode items while the model trains: how many, what they are sent, how long they stay."""

import atexit
import contextlib
import logging
import multiprocessing
import os
import pickle  # noqa: S403  multiprocessing sends with it; nothing is ever read back from a file
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from tipsai.core import rng
from tipsai.core.errors import SettingError, TipsaiError

log = logging.getLogger("tipsai")


def default_workers() -> int:
    """Worker processes for decoding: the processors this process may use, less one for the training itself, at most 8 (DA16)."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(8, n - 1)) if n > 2 else n - 1


class _Nowhere:
    """A file that forgets what is written to it."""

    def write(self, data: bytes) -> int:
        return len(data)


def travels(thing: Any) -> bool:
    """Whether multiprocessing can send something to a fresh process; lambdas and local classes cannot go."""
    try:
        pickle.Pickler(_Nowhere(), pickle.HIGHEST_PROTOCOL).dump(thing)
    except (pickle.PicklingError, AttributeError, TypeError):  # which one depends on the thing and on Python's version
        return False
    except RuntimeError:  # locks and queues go only while a process is being started
        return True
    return True


class _Seeded:
    """A dataset asked by (index, seed): each item's randomness is seeded by its epoch and position, in any worker.

    A worker hands a user's mistake on as the error that it is: raised there, its message would drown in a traceback.
    """

    def __init__(self, dataset: Any, in_worker: bool) -> None:
        self.dataset, self.in_worker = dataset, in_worker

    def __getitem__(self, key: tuple[int, int | None]) -> Any:
        index, seed = key
        if self.in_worker:
            if seed is not None:
                rng.seed_everything(seed)
            try:
                return self.dataset[index]
            except TipsaiError as error:
                return error
        if seed is None:
            return self.dataset[index]
        python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.default_generator.manual_seed(seed)
            return self.dataset[index]
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            torch.set_rng_state(cpu)


class _Collated:
    """A batch of samples; or the first error among them, see _Seeded."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: Sequence[Any]) -> Any:
        return next((s for s in samples if isinstance(s, TipsaiError)), None) or self.collate(samples)


def _begin(worker: int) -> None:
    """Lets Ctrl-C, which a terminal sends to workers as well, be answered by the process that trains: it needs them still.

    A worker that started afresh ends as a forked one does, without taking the interpreter down: the thread that sends
    its batches may be inside torch when a pass breaks off, and Python, which ends such threads, would abort the process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(os._exit, 0)


class Workers:
    """Reads the items of a dataset in processes of their own.

    They end with the pass over the data that they were started for; inside `persistent()` they wait for the next one,
    since a start takes a fifth of a second where processes fork, and seconds where each imports torch anew. A worker
    has a copy of the dataset, so only those that say `steady = True` are read by workers that wait: what their items
    are never changes.

    Args:
        n: processes; 0 reads in this one. What cannot be sent to processes that start afresh (macOS, Windows) is read
            here instead, which is said.

    Raises:
        SettingError: n is no number of processes.
    """

    def __init__(self, n: int) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise SettingError(f"n_workers is {n!r}; expected a whole number of processes, 0 for none.")
        self.n = n
        self._sent = False  # whether it is known that the dataset can be sent to workers
        self._persistent = False
        self._waiting: Any = None  # the torch DataLoader whose workers wait for the next pass

    @contextlib.contextmanager
    def persistent(self) -> Iterator[None]:
        """Workers stay from one pass to the next in here, and end with it."""
        before, self._persistent = self._persistent, True
        try:
            yield
        finally:
            self._persistent = before
            if not before:
                self._waiting = None

    def read(
        self,
        dataset: Any,
        collate: Callable[[Any], Any],
        batches: Sequence[Sequence[tuple[int, int | None]]],
        generator: torch.Generator,
    ) -> Iterator[Any]:
        """One pass: the collated samples of each batch.

        Args:
            dataset: has __len__ and __getitem__.
            collate: from a list of samples to a batch of them.
            batches: the items of each, as (index, seed); seed is what the item's randomness follows from, if it has any.
            generator: seeds what is random in items without a seed.

        Raises:
            TipsaiError: an item, or collate, raised it.
        """
        # taken, so that a pass that begins beside this one starts workers of its own
        loader, self._waiting = self._waiting, None
        if loader is None or loader.dataset.dataset is not dataset:
            loader = self._start(dataset, collate, generator)
        loader.batch_sampler[:] = batches
        for sample in loader:
            if isinstance(sample, TipsaiError):
                raise sample
            yield sample
        # a pass that broke off does not come here: its workers may be busy, or dead
        if loader.persistent_workers and self._persistent:
            self._waiting = loader

    def _start(self, dataset: Any, collate: Callable[[Any], Any], generator: torch.Generator) -> Any:
        n = self._possible(dataset, collate)
        return torch.utils.data.DataLoader(
            _Seeded(dataset, in_worker=n > 0),  # type: ignore[arg-type]
            batch_sampler=[],
            num_workers=n,
            collate_fn=_Collated(collate),
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_begin,
            generator=generator,
            persistent_workers=n > 0 and self._persistent and getattr(dataset, "steady", False),
        )

    def _possible(self, dataset: Any, collate: Callable[[Any], Any]) -> int:
        """The workers that can be had: none where they start afresh and the dataset cannot be sent to them."""
        afresh = multiprocessing.get_start_method() != "fork"
        if self.n and afresh and not self._sent and not travels((dataset, collate)):
            log.warning(
                "the items are decoded in this process, not in %d workers: the dataset holds a lambda or a local class, "
                "which cannot be sent to another process. Define it with def or class at the top of a module.",
                self.n,
            )
            self.n = 0
        self._sent = True
        return self.n
