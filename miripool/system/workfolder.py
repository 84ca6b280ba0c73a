"""Work folders: for files of unfinished work. They are removed afterwards, even if their process was killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StorageError
from .oserrors import storage_error

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["make_parent", "work_folder"]

_LOCK = "lock"
_BEGUN = "begun-"
"""How the name of a work folder begins as long as its lock is not held."""
_FORM = re.compile("(run|begun)-[a-z0-9_]{8}")
"""Names of work folders; what is named otherwise is not ours, and stays."""
_NOT_OURS = {
    *(errno.ENOENT, errno.ENOTDIR),  # another process was faster, or its owner is done
    *(errno.ELOOP, errno.EISDIR, errno.ENXIO),  # a link, a folder, a socket: not our lock, so not our folder
    *(errno.EACCES, errno.EPERM, errno.EROFS),  # another user's, who shares the pool
}
"""Errors with which a lock can't be opened whose folder stays."""
_ABANDONED = 3600
"""Seconds after which no process will lock it any more."""


@contextlib.contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Make a folder for a run, gone afterwards; those of runs that were killed go first.

    Parameters
    ----------
    parent : Path
        Where; made if it is not there. What is there of another user's is left alone.

    Yields
    ------
    Path
        The folder.

    Raises
    ------
    StorageError, ReadOnly
        If none can be made.
    """
    make_parent(parent)
    with contextlib.ExitStack() as stack:
        try:
            for old in parent.iterdir():
                _remove_if_left(old)
            folder = _begin(parent, stack)
        except OSError as error:
            raise storage_error(error, parent) from error
        yield folder


def make_parent(parent: Path) -> None:
    """Make the folder that work folders are in, unless it is there.

    Parameters
    ----------
    parent : Path
        In a folder that is there.

    Raises
    ------
    StorageError
        If something else has its name, or it can't be made.
    """
    try:
        parent.mkdir(exist_ok=True)
    except FileExistsError:
        raise StorageError(f"{parent} is not a folder, as a pool needs it for unfinished work: move it away") from None
    except OSError as error:
        raise storage_error(error, parent) from error


def _begin(parent: Path, stack: contextlib.ExitStack) -> Path:
    """Make a folder; the stack holds its lock, and removes it."""
    # Whoever sees a folder of this name finds its lock held, or its owner dead.
    begun = Path(tempfile.mkdtemp(prefix=_BEGUN, dir=parent))
    lock = stack.enter_context((begun / _LOCK).open("w"))
    with contextlib.suppress(OSError):  # a file system without locks: nobody removes what others leave
        fcntl.flock(lock, fcntl.LOCK_EX)
    folder = begun.rename(parent / begun.name.replace(_BEGUN, "run-", 1))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _remove_if_left(folder: Path) -> None:
    if not _FORM.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
        return
    if folder.name.startswith(_BEGUN):
        with contextlib.suppress(FileNotFoundError):  # its owner is done
            if time.time() - folder.stat().st_mtime > _ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NOT_OURS:
            return
        raise
    try:
        with contextlib.suppress(OSError):  # somebody works there, or the file system has no locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)  # it follows no links
    finally:
        os.close(lock)
