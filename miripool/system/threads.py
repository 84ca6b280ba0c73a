"""Threads: as many as cores, fed with a bounded number of jobs."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Executor, Future

__all__ = ["cores", "map_bounded", "one_of_many", "work_ahead", "work_alone", "workers_of", "works_alone"]

_T = TypeVar("_T")
_R = TypeVar("_R")


class _Busy:
    """How many threads work at whole products side by side."""

    def __init__(self) -> None:
        self.count = 0
        self.lock = threading.Lock()


_busy = _Busy()
_here = threading.local()
"""Of each thread, whether it is one of those that `map_bounded` works with."""
_cores = os.cpu_count() or 1


def cores() -> int:
    """Tell how many cores this machine has.

    Returns
    -------
    int
        1 where that is not known.
    """
    return _cores


@contextlib.contextmanager
def one_of_many() -> Iterator[None]:
    """Mark what a thread does as one of several jobs: with all cores at work, none of them asks for more threads."""
    with _busy.lock:
        _busy.count += 1
    try:
        yield
    finally:
        with _busy.lock:
            _busy.count -= 1


def work_alone() -> None:
    """Have this process ask for no more threads, ever: it is one of several that keep all cores at work."""
    with _busy.lock:
        _busy.count += _cores


def works_alone() -> bool:
    """Tell whether `map_bounded` works in the caller's thread alone: one result is there at a time.

    Returns
    -------
    bool
        True where `one_of_many` jobs keep all cores at work, and in the threads of `map_bounded` themselves: one of
        them that waited for another would keep it from working.
    """
    return _busy.count >= _cores or getattr(_here, "is_ours", False)


def workers_of(executor: Executor) -> int:
    """Tell how many jobs an executor does at a time.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Threads, processes, or Dask's ``client.get_executor()``.

    Returns
    -------
    int
        This machine's cores where the executor does not say.
    """
    # There is no public way to ask. Dask's knows the client, which knows the threads of each worker.
    count = getattr(executor, "_max_workers", None)
    client: Any = getattr(executor, "_client", None)
    if count is None and client is not None:
        count = sum(client.nthreads().values())
    return count or _cores


def work_ahead(jobs: Iterable[_T], submit: Callable[[_T], Future[_R]], most: int) -> Generator[tuple[_T, Future[_R]]]:
    """Hand out jobs some way ahead of the caller, who takes the results; closing it drops the jobs not yet begun.

    Parameters
    ----------
    jobs : iterable
        Taken as there is room.
    submit : callable
        Gives a job to the executor.
    most : int
        Jobs handed out at a time.

    Yields
    ------
    object, concurrent.futures.Future
        Each job and its result, in the order of the jobs.
    """
    running: deque[tuple[_T, Future[_R]]] = deque()
    try:
        for job in jobs:
            running.append((job, submit(job)))
            if len(running) >= most:
                yield running.popleft()
        while running:
            yield running.popleft()
    finally:
        for _, future in running:
            future.cancel()


def map_bounded(function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
    """Apply a function that runs without Python's lock to items, on all cores, in bounded memory.

    Parameters
    ----------
    function : callable
        Called in threads; in the caller's own for a single item, and where `one_of_many` jobs keep all cores at work.
    items : iterable
        Taken in the caller's thread, only a few ahead of the results.

    Yields
    ------
    object
        Results, in the order of the items.
    """
    if works_alone():
        yield from map(function, items)
        return
    taken = iter(items)
    first = list(itertools.islice(taken, 2))
    if len(first) < 2:
        yield from map(function, first)
        return
    threads = _threads(os.getpid())
    running: deque[Future[_R]] = deque()
    try:
        for item in itertools.chain(first, taken):
            running.append(threads.submit(function, item))
            if len(running) > 2 * _cores:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()
        wait(running)  # they may read what the caller is about to close


@functools.lru_cache(maxsize=1)
def _threads(process: int) -> ThreadPoolExecutor:  # noqa: ARG001 - a child has none of its parent's threads
    """Give the threads of `map_bounded`, which stay: to start them for each array would take 0.3 ms."""
    return ThreadPoolExecutor(_cores, thread_name_prefix="miripool-array", initializer=_begin)


def _begin() -> None:
    _here.is_ours = True
