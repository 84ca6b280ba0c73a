"""Work folders: where something is made that is not yet kept, gone afterwards, whatever becomes of its maker."""

from __future__ import annotations

import contextlib
import fcntl
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
    with contextlib.suppress(FileNotFoundError):  # another process was faster, or its owner is done
        if folder.name.startswith(_BEGUN):
            if time.time() - folder.stat().st_mtime > _ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
            return
        with (folder / _LOCK).open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # somebody works there
            shutil.rmtree(folder, ignore_errors=True)
