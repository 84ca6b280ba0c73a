"""Threads: as many as cores, fed with a bounded number of jobs."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["map_bounded"]

_T = TypeVar("_T")
_R = TypeVar("_R")


def map_bounded(function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
    """Apply a function that runs without Python's lock to items, on all cores, in bounded memory.

    Parameters
    ----------
    function : callable
        Called in threads.
    items : iterable
        Taken in the caller's thread, only a few ahead of the results.

    Yields
    ------
    object
        Results, in the order of the items.
    """
    cores = os.cpu_count() or 1
    pool = ThreadPoolExecutor(cores)
    try:
        pending: deque[Future[_R]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * cores:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
