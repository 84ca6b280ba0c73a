"""Where tests write: in memory where Linux has a roomy /dev/shm, for most of their time went to files and their fsync.

`TMPDIR=/tmp` runs them on a disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psutil

_MEMORY = Path("/dev/shm")
_ROOM = 6 * 1024**3
"""Bytes that must be free there; the tests need less than half of them at a time."""
_PREFIX = "miripool-tests-"


def take() -> Path | None:
    """Let temporary files of this process and its children lie in memory; None where the user chose, or none is there.

    What runs left behind that were killed goes first.
    """
    if "TMPDIR" in os.environ or not _MEMORY.is_dir():
        return None
    for left in _MEMORY.glob(f"{_PREFIX}*"):
        if not psutil.pid_exists(int(left.name.removeprefix(_PREFIX))):
            shutil.rmtree(left, ignore_errors=True)
    if shutil.disk_usage(_MEMORY).free < _ROOM:
        return None
    folder = _MEMORY / f"{_PREFIX}{os.getpid()}"
    folder.mkdir(mode=0o755)
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None
    return folder


def give_back(folder: Path) -> None:
    """Free the memory."""
    del os.environ["TMPDIR"]
    tempfile.tempdir = None
    shutil.rmtree(folder, ignore_errors=True)
