"""Errors of the operating system, in the words of `miripool.errors`."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..errors import DiskFull, ReadOnly, StorageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["storage_error", "unconfirmed"]


def storage_error(error: OSError, path: Path | str) -> StorageError | ReadOnly:
    """Say what an operating system's error means for a pool.

    Parameters
    ----------
    error : OSError
        What was raised.
    path : pathlib.Path or str
        What was to be read or written.

    Returns
    -------
    StorageError or ReadOnly
        To be raised by the caller.
    """
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return DiskFull(f"no space left to write {path}; make room and try again, nothing was changed")
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return ReadOnly(f"{path} can't be written or read by this user ({error.strerror})")
    return StorageError(f"{path}: {error.strerror or error}")


def unconfirmed(error: OSError, path: Path | str) -> StorageError:
    """Say that a name is there, and may be gone after a crash.

    Parameters
    ----------
    error : OSError
        What the sync of its folder raised.
    path : pathlib.Path or str
        The name.

    Returns
    -------
    StorageError
        To be raised by the caller.
    """
    return StorageError(f"{path} is there, but the disk did not confirm it ({error.strerror}); look at the disk")
