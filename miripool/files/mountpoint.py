"""Where a pool can be mounted, and where it is: folders, the mounts of this machine, and how one is taken away."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AlreadyExists, FileMissing, InvalidInput, NotFound, StorageError
from ..system.oserrors import storage_error
from ..system.outfile import is_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["checked_folder", "device_of", "mounted_at", "need_fuse", "unmount_words"]

_DEVICE = Path("/dev/fuse")


def device_of(pool_id: str) -> str:
    """Give the name that the table of mounts has for a pool.

    Parameters
    ----------
    pool_id : str
        The pool's.

    Returns
    -------
    str
        In the place of a disk's name.
    """
    return f"miripool:{pool_id}"


def mounted_at(pool_id: str, name: str) -> Path:
    """Find the folder at which a pool is mounted.

    Parameters
    ----------
    pool_id : str
        The pool's.
    name : str
        Its name, for the message.

    Returns
    -------
    pathlib.Path
        The first, if it is mounted at several.

    Raises
    ------
    NotFound
        If this user has not mounted it.
    """
    for device, folder in _mounts():
        if device == device_of(pool_id) and is_folder(folder):  # another user's mount can't be looked into
            return folder
    raise NotFound(f"pool {name} is not mounted, so nothing can link to its files; `miripool mount {name} FOLDER` does")


def _mounts() -> Iterator[tuple[str, Path]]:
    import psutil

    for found in psutil.disk_partitions(all=True):
        yield found.device, Path(found.mountpoint)


def checked_folder(given: Path | str, *, apart_from: Path) -> Path:
    """Accept a folder at which a pool can be mounted.

    Parameters
    ----------
    given : path-like
        The folder.
    apart_from : pathlib.Path, keyword-only
        The pools' home: what is mounted in it would be taken for its files.

    Returns
    -------
    pathlib.Path
        Absolute, links resolved.

    Raises
    ------
    FileMissing
        If there is no such folder.
    AlreadyExists
        If something is mounted there.
    InvalidInput
        If it is no folder, not empty, or in the home.
    StorageError, ReadOnly
        If it can't be read.
    """
    try:
        folder = Path(given).resolve()
        if not folder.exists():
            raise FileMissing(f"there is no folder {given}; create it first")
        if not folder.is_dir():
            raise InvalidInput(f"{given} is not a folder; give an empty folder to mount the pool at")
        if os.path.ismount(folder):
            raise AlreadyExists(f"something is mounted at {given} already; {unmount_words(folder)} takes it away")
        if folder.is_relative_to(apart_from.resolve()):
            raise InvalidInput(f"{given} lies in the home of the pools, {apart_from}; give a folder elsewhere")
        if any(folder.iterdir()):
            raise InvalidInput(f"{given} is not empty, and a mount would hide what is in it; give an empty folder")
        _refuse_foreign(folder)
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise AlreadyExists(
                f"{given} is a mount whose program has gone; {unmount_words(Path(given))} takes it away"
            ) from error
        raise storage_error(error, Path(given)) from error
    return folder


def _refuse_foreign(folder: Path) -> None:
    if os.geteuid() != 0 and not os.access(folder, os.W_OK):
        raise InvalidInput(f"this user can't write to {folder}, and may mount at own folders only; give another one")


def unmount_words(folder: Path) -> str:
    """Say how a mount is taken away.

    Parameters
    ----------
    folder : pathlib.Path
        Where it is.

    Returns
    -------
    str
        A command, quoted for a sentence.
    """
    return f"`fusermount3 -u {shlex.quote(str(folder))}`"


def need_fuse() -> None:
    """Refuse to go on where the system can't mount.

    Raises
    ------
    StorageError
        The message says what is missing.
    """
    if not _DEVICE.exists():
        raise StorageError(f"there is no {_DEVICE}: this system, or this container, has no FUSE, so nothing is mounted")
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        raise StorageError(f"this user may not use {_DEVICE}; ask who looks after this machine")
    if shutil.which("fusermount3") is None:
        raise StorageError("fusermount3 is not installed; install the system's package fuse3")
