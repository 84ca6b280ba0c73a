"""Work folders: where something is made that is not yet kept, gone afterwards, whatever becomes of its maker."""

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

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["work_folder"]

_LOCK = "lock"
_BEGUN = "begun-"
"""How the name of a work folder begins as long as its lock is not held."""
_FORM = re.compile("(run|begun)-[a-z0-9_]{8}")
"""Names of work folders; what is named otherwise is not ours, and stays."""
_ABANDONED = 3600
"""Seconds after which nobody will hold it."""


@contextlib.contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Make a folder for a run, gone afterwards; those of runs that were killed go first.

    Parameters
    ----------
    parent : Path
        Where; made if it is not there.

    Yields
    ------
    Path
        The folder.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.iterdir():
        _remove_if_left(old)
    # Whoever sees a folder of this name finds its lock held, or its owner dead.
    begun = Path(tempfile.mkdtemp(prefix=_BEGUN, dir=parent))
    with (begun / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = begun.rename(parent / begun.name.replace(_BEGUN, "run-", 1))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    if not _FORM.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
        return
    with contextlib.suppress(FileNotFoundError):  # another process was faster, or its owner is done
        if folder.name.startswith(_BEGUN):
            if time.time() - folder.stat().st_mtime > _ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
            return
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            lock = os.open(folder / _LOCK, flags)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
                return  # a link, a folder, a socket: not our lock, so not our folder
            raise
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody works there
        else:
            shutil.rmtree(folder, ignore_errors=True)  # it follows no links
        finally:
            os.close(lock)
