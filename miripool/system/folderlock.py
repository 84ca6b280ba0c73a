"""Folder lock: a lock (``flock``) that a process holds on an open folder, and that lasts no longer than it wants.

A forked child has the same lock as its parent, not one of its own. So the holder frees the lock before it closes the
folder, and a child closes it at once: neither a child that lives long nor a killed parent leaves a lock behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["lock_folder", "open_folder"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_open: set[int] = set()
"""Descriptors of folders that are locked, or about to be."""


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """Open a folder that is to be locked; afterwards it is free and closed, whatever children were forked meanwhile.

    Parameters
    ----------
    path : pathlib.Path
        The folder.

    Yields
    ------
    int
        Its descriptor.

    Raises
    ------
    OSError
        If it can't be opened.
    """
    descriptor = os.open(path, _FOLDER)
    _open.add(descriptor)
    try:
        yield descriptor
    finally:
        if descriptor in _open:  # in a child that was forked in the body it is closed already
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            _open.discard(descriptor)
            os.close(descriptor)


def lock_folder(
    descriptor: int,
    *,
    seconds: float,
    alone: bool = True,
    pause: float = 0.005,
    waiting: Callable[[], None] | None = None,
) -> bool:
    """Lock a folder, and wait some time for those who have it locked.

    Parameters
    ----------
    descriptor : int
        From `open_folder`.
    seconds : float, keyword-only
        To wait at most.
    alone : bool, keyword-only
        Keep all others off; otherwise many hold the lock at once.
    pause : float, keyword-only
        Seconds between two tries.
    waiting : callable, keyword-only, optional
        Called once if the lock is not to be had at once.

    Returns
    -------
    bool
        False on a file system without locks.

    Raises
    ------
    TimeoutError
        If others hold it all the time.
    """
    how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
                waiting = None
            if time.monotonic() > until:
                raise TimeoutError(f"the folder was locked for {seconds:.0f} s") from None
            time.sleep(pause)
        except OSError:
            return False
        else:
            return True


def _let_go() -> None:
    for descriptor in _open:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _open.clear()


os.register_at_fork(after_in_child=_let_go)
