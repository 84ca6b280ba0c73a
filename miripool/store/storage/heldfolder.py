"""Held folder: a pool's folder that stays where it is while an entry is written into it, or while it is moved away.

Who writes an entry holds a shared lock (``flock``) of the folder for some milliseconds; who renames or deletes the pool
holds it alone. The lock (`folderlock`) belongs to the folder itself: two homes that reach one folder by different paths
see it.

A file system without locks of folders has none of this: on NFS Linux turns ``flock`` into a lock of a byte range, and
refuses to lock alone what is not open for writing, which no folder can be. What is written goes through the open folder
all the same, so that an entry gets into the pool itself wherever the folder was moved in between.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from ...errors import Conflict, NotFound
from ...system.files import name_new, read_plain
from ...system.folderlock import lock_folder, open_folder
from ...system.oserrors import storage_error, unconfirmed
from .contract import MOST_BYTES, TEMPORARY, Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["HeldFolder", "held_folder"]

_WAIT = 30.0
"""Seconds to wait for the lock; who has it needs milliseconds, unless it was stopped."""

_BELOW = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW

_lasting: set[tuple[int, int, int]] = set()
"""Device and number of a pool's folder, and number of a folder in it whose name is known to be on disk."""


class HeldFolder:
    """A folder by its descriptor, whatever its path is.

    Parameters
    ----------
    root : pathlib.Path
        Where it was when it was opened, for messages.
    descriptor : int
        The open folder.
    """

    def __init__(self, root: Path, descriptor: int) -> None:
        self._root = root
        self._descriptor = descriptor

    def name(self, key: str) -> str:
        """Give where a key was when the folder was opened, for messages."""
        return str(self._root / key)

    def read(self, key: str, *, limit: int = MOST_BYTES) -> bytes:
        """Give the bytes of a key that is in no folder below; as `LocalStorage.read`."""
        path = self._root / key
        try:
            return read_plain(path, limit=limit, folder=self._descriptor)
        except FileNotFoundError:
            raise NotFound(f"{path} is not there") from None
        except OSError as error:
            raise storage_error(error, path) from error

    def put(self, key: str, source: bytes) -> bool:
        """Put bytes under ``folder/name``, durably, unless it is taken: as `LocalStorage.put`."""
        name, _, file = key.partition("/")
        try:
            folder = self._open(name)
            try:
                named = _put(folder, (self._root / key).parent / file, source)
                _confirm(folder, self._root / key)
            finally:
                os.close(folder)
        except OSError as error:
            raise storage_error(error, self._root / key) from error
        return named

    def status(self, key: str) -> Status:
        """Look at a key's file; as `LocalStorage.status`."""
        path = self._root / key
        try:
            return Status.of(os.lstat(key, dir_fd=self._descriptor))
        except FileNotFoundError:
            raise NotFound(f"{path} is not there") from None
        except OSError as error:
            raise storage_error(error, path) from error

    def _open(self, name: str) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=self._descriptor)
        folder = os.open(name, _BELOW, dir_fd=self._descriptor)
        root, below = os.fstat(self._descriptor), os.fstat(folder)
        # Another process may have made it a moment ago: its name has to be on disk before what is put into it counts.
        known = (root.st_dev, root.st_ino, below.st_ino)
        if known not in _lasting:
            os.fsync(self._descriptor)
            _lasting.add(known)
        return folder


@contextlib.contextmanager
def held_folder(root: Path, *, alone: bool = False) -> Iterator[HeldFolder]:
    """Keep a pool's folder where it is.

    Parameters
    ----------
    root : pathlib.Path
        The folder.
    alone : bool, keyword-only
        Keep all others off, to move it; otherwise many hold it at once.

    Yields
    ------
    HeldFolder
        The folder that was at this path when the lock was got.

    Raises
    ------
    NotFound
        If there is none.
    Conflict
        If another process does not let go of it.
    """
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(open_folder(root))
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{root} is not there") from None
        except OSError as error:
            raise storage_error(error, root) from error
        _lock(descriptor, root, alone=alone)
        if not _is_at(descriptor, root):
            raise NotFound(f"{root} was moved")
        yield HeldFolder(root, descriptor)


def _lock(descriptor: int, root: Path, *, alone: bool) -> None:
    try:
        lock_folder(descriptor, seconds=_WAIT, alone=alone, pause=0.002)
    except TimeoutError:
        doing = "writes to it or renames it" if alone else "renames or deletes it"
        raise Conflict(
            f"{root} has been locked for {_WAIT:.0f} s by a process that {doing}; nothing was changed. Try again; "
            "if it stays locked, look for a stopped process that uses the pool"
        ) from None


def _is_at(descriptor: int, root: Path) -> bool:
    try:
        there = root.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise storage_error(error, root) from error
    return os.path.samestat(os.fstat(descriptor), there)


def _put(folder: int, target: Path, source: bytes) -> bool:
    temporary = target.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    file = os.open(temporary.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(source)
            stream.flush()
            os.fsync(stream.fileno())
        return name_new(temporary, target, folder=folder)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary.name, dir_fd=folder)


def _confirm(folder: int, path: Path) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        raise unconfirmed(error, path) from error
