"""Taking times: works done by turns, so that what the machine does besides hits all of them."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def timed(work: Callable[[], Any]) -> Callable[[], float]:
    """Give what does a work and tells how long it took, in seconds."""

    def measure() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return measure


def in_turns(
    rounds: int,
    *works: Callable[[], float],
    warm: int = 1,
    before: Callable[[], Any] = lambda: None,
    of: Callable[[list[float]], float] = statistics.median,
) -> list[float]:
    """Do works by turns, each after `before`; give the median, or what else of what each tells, the first left out."""
    taken: list[list[float]] = [[] for _ in works]
    for round_ in range(rounds + warm):
        for times, work in zip(taken, works, strict=True):
            before()
            seconds = work()
            if round_ >= warm:
                times.append(seconds)
    return [of(times) for times in taken]


def copy_durably(sources: Iterable[Path], target: Path) -> float:
    """Copy files one over the other, each until it is on disk; give the time. The copy goes again."""
    begin = time.perf_counter()
    for source in sources:
        with source.open("rb") as read, target.open("wb") as written:
            shutil.copyfileobj(read, written, 1 << 24)
            written.flush()
            os.fsync(written.fileno())
    seconds = time.perf_counter() - begin
    target.unlink()
    return seconds


def forget(paths: Iterable[Path]) -> None:
    """Have the kernel drop files from its cache."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
