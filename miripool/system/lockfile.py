"""Lock file: a lock that only its owner can hold, unlike that of a folder, which everybody may lock who may open it.

The file goes with its holder. One that a killed process has left is used again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING

from .folderlock import lock_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["hold_lock_file"]

_HOW = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def hold_lock_file(path: Path, *, seconds: float) -> Iterator[None]:
    """Make a file that this user alone may open, and keep other processes off that want it too.

    Parameters
    ----------
    path : pathlib.Path
        The file; removed afterwards.
    seconds : float, keyword-only
        To wait at most for others.

    Raises
    ------
    TimeoutError
        If another process holds it all the time.
    PermissionError
        If the file is another user's, or can't be made.
    OSError
        If the file can't be made for another reason.
    """
    until = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        while not stack.enter_context(_locked(path, until)):
            stack.pop_all().close()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path, until: float) -> Iterator[bool]:
    """Lock a file. What is given says whether it still lies there: the holder before has removed it, or has not."""
    descriptor = os.open(path, _HOW, 0o600)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))  # he could hold it
        lock_folder(descriptor, seconds=max(0.0, until - time.monotonic()))
        yield _is_at(path, descriptor)
    finally:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was forked meanwhile would keep it
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
