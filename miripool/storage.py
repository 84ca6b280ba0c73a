"""Storage: bytes by key in a folder. Read, list, put-if-absent, delete; no more is asked of it.

An object store offers the same four, so a pool could live in one. One key's bytes may change, ``pool.json``'s, and
what was damaged may be put anew: for them there is `replace`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .errors import DiskFull, InvalidInput, NotFound, PoolNotFound, ReadOnly, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["TEMPORARY", "LocalStorage", "Storage", "storage_error", "unconfirmed"]

TEMPORARY = ".tmp-"
"""Prefix of files that no key names: what a killed writer leaves behind."""


class Storage(Protocol):
    """Where a pool keeps its bytes. Keys are relative paths with ``/``; what `put` put under one never changes."""

    def read(self, key: str) -> bytes:
        """Give the bytes of a key; NotFound if there are none."""

    def path(self, key: str) -> Path:
        """Give a path at which the bytes of a key can be read by a library that wants files."""

    def exists(self, key: str) -> bool:
        """Tell whether the key is there."""

    def confirm(self, key: str) -> bool:
        """Tell whether the key is there, and make sure that it stays, whoever put it."""

    def keys(self, prefix: str) -> Iterator[str]:
        """List the keys in the folder `prefix`, in no order, temporary files left out."""

    def put(self, key: str, source: bytes | Path) -> bool:
        """Put bytes, or a finished file of `workspace`, under a key, durably, unless it is taken.

        Returns False where the key was there before: then nothing changed.
        """

    def workspace(self, key: str) -> Path:
        """Give the path of a new temporary file that can be put under `key`; the caller writes it."""

    def replace(self, key: str, source: bytes | Path) -> None:
        """Put bytes, or a finished file, under a key, durably, whatever it held before."""

    def delete(self, key: str) -> bool:
        """Remove a key; False if it was not there."""

    def set_aside(self, key: str, other: str) -> None:
        """Move what is under a key to another one, whatever is there."""

    def size(self, key: str) -> int:
        """Give the bytes of a key; NotFound if it is not there."""

    def settle(self) -> None:
        """Never make the place of all keys again, now that it is there: where it is gone, so are they."""

    def temporaries(self) -> Iterator[Path]:
        """List the files of `workspace` that are there: those of running writers, and what killed ones left."""


class LocalStorage:
    """A folder of a local or network file system that has hard links and fsync.

    Parameters
    ----------
    root : pathlib.Path
        The folder; made when something is put.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._is_settled = False

    def settle(self) -> None:
        """Never make the root again: from now on a root that is not there was moved away, with all that is in it."""
        self._is_settled = True

    def path(self, key: str) -> Path:
        """Give the file of a key.

        Parameters
        ----------
        key : str
            Relative path with ``/``.

        Returns
        -------
        pathlib.Path
            Whether the file is there or not.

        Raises
        ------
        InvalidInput
            If the key would lead out of the folder, or is none that a file can have.
        """
        parts = key.split("/")
        if not key.isprintable() or any(part in {"", ".", ".."} or part.startswith(TEMPORARY) for part in parts):
            raise InvalidInput(f"not a storage key: {key!r}")
        return self.root.joinpath(*parts)

    def read(self, key: str) -> bytes:
        """Give the bytes of a key.

        Parameters
        ----------
        key : str
            Relative path.

        Returns
        -------
        bytes
            All of them.

        Raises
        ------
        NotFound
            If the key is not there.
        StorageError
            If it can't be read.
        """
        path = self.path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{path} is not there") from None
        except OSError as error:
            raise storage_error(error, path) from error

    def exists(self, key: str) -> bool:
        """Tell whether a key is there.

        Parameters
        ----------
        key : str
            Relative path.

        Returns
        -------
        bool
            True if so.

        Raises
        ------
        ReadOnly, StorageError
            If this user can't look, or the disk does not answer: that is not a "no".
        """
        path = self.path(key)
        try:
            return stat.S_ISREG(path.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise storage_error(error, path) from error

    def confirm(self, key: str) -> bool:
        """Tell whether a key is there, and make sure that it stays.

        A name is seen before it is on disk. Whoever refers to what somebody else has put has to wait for that too.

        Parameters
        ----------
        key : str
            Relative path.

        Returns
        -------
        bool
            True if so.

        Raises
        ------
        ReadOnly, StorageError
            If it can't be told.
        """
        if not self.exists(key):
            return False
        folder = self.path(key).parent
        try:
            _sync_folder(folder)
        except OSError as error:
            raise storage_error(error, folder) from error
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """List the keys in a folder, in no order.

        Parameters
        ----------
        prefix : str
            The folder's key; sub-folders are walked too.

        Yields
        ------
        str
            Keys; none if the folder is not there.
        """
        yield from _walk(self.path(prefix), prefix)

    def workspace(self, key: str) -> Path:
        """Make a place for a file that will be put under `key`: beside it, so that a hard link is enough.

        Parameters
        ----------
        key : str
            Relative path.

        Returns
        -------
        pathlib.Path
            A path that is not there yet, in a folder that is.

        Raises
        ------
        StorageError, ReadOnly
            If the folder can't be made.
        """
        target = self.path(key)
        try:
            self._make_folder(target.parent)
        except OSError as error:
            raise storage_error(error, target.parent) from error
        return target.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")

    def put(self, key: str, source: bytes | Path) -> bool:
        """Put bytes under a key, durably, unless the key is taken.

        The bytes are on disk before the name appears, and the name is before this returns.

        Parameters
        ----------
        key : str
            Relative path.
        source : bytes or pathlib.Path
            The content, or a file that `workspace` placed and the caller wrote; it is gone afterwards.

        Returns
        -------
        bool
            False where the key was there before: then nothing changed, and what is there stays.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If it could not be written; nothing is left behind.
        """
        return self._place(key, source, _link)

    def replace(self, key: str, source: bytes | Path) -> None:
        """Put bytes under a key, durably, whatever it held before; a reader sees the old or the new ones.

        Parameters
        ----------
        key : str
            Relative path.
        source : bytes or pathlib.Path
            As for `put`.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If they could not be written; the old ones are still there then.
        """
        self._place(key, source, _rename)

    def _place(self, key: str, source: bytes | Path, name: Callable[[Path, Path], bool]) -> bool:
        target = self.path(key)
        temporary = source if isinstance(source, Path) else self.workspace(key)
        try:
            if isinstance(source, bytes):
                temporary.write_bytes(source)
            _sync_file(temporary)
            named = name(temporary, target)
        except OSError as error:
            self._refuse_moved()
            raise storage_error(error, target) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        try:
            _sync_folder(target.parent)
        except OSError as error:
            raise unconfirmed(error, target) from error
        return named

    def delete(self, key: str) -> bool:
        """Remove a key.

        Parameters
        ----------
        key : str
            Relative path.

        Returns
        -------
        bool
            False if it was not there.

        Raises
        ------
        ReadOnly, StorageError
            If it can't be removed.
        """
        path = self.path(key)
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise storage_error(error, path) from error
        return True

    def set_aside(self, key: str, other: str) -> None:
        """Move a file to another key, durably.

        Parameters
        ----------
        key, other : str
            From where to where; what is there is replaced.

        Raises
        ------
        NotFound
            If it is not there.
        """
        source, target = self.path(key), self.path(other)
        try:
            self._make_folder(target.parent)
            source.replace(target)
            for folder in (target.parent, source.parent):
                _sync_folder(folder)
        except FileNotFoundError:
            raise NotFound(f"{source} is not there") from None
        except OSError as error:
            raise storage_error(error, source) from error

    def size(self, key: str) -> int:
        """Give the size of a key.

        Parameters
        ----------
        key : str
            Relative path.

        Returns
        -------
        int
            Bytes.

        Raises
        ------
        NotFound
            If it is not there.
        """
        path = self.path(key)
        try:
            return path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{path} is not there") from None
        except OSError as error:
            raise storage_error(error, path) from error

    def temporaries(self) -> Iterator[Path]:
        """List temporary files.

        Yields
        ------
        pathlib.Path
            Of running writers, and those that killed ones left.
        """
        yield from self.root.rglob(f"{TEMPORARY}*")

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if folder == self.root:
            self._refuse_moved()
        self._make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        _sync_folder(folder.parent)

    def _refuse_moved(self) -> None:
        if self._is_settled and not self.root.is_dir():
            raise PoolNotFound(
                f"the pool that was opened at {self.root} is there no longer: it was deleted or renamed meanwhile. "
                "Open the pool again"
            )


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise storage_error(error, folder) from error
    for entry in entries:
        if entry.name.startswith(TEMPORARY):
            continue
        key = f"{prefix}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, key)
        else:
            yield key


def _link(temporary: Path, target: Path) -> bool:
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    return True


def _rename(temporary: Path, target: Path) -> bool:
    temporary.replace(target)
    return True


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unconfirmed(error: OSError, path: Path) -> StorageError:
    """Say that a name is there, and may be gone after a crash.

    Parameters
    ----------
    error : OSError
        What the sync of its folder raised.
    path : pathlib.Path
        The name.

    Returns
    -------
    StorageError
        To be raised by the caller.
    """
    return StorageError(f"{path} is there, but the disk did not confirm it ({error.strerror}); look at the disk")


def storage_error(error: OSError, path: Path) -> StorageError | ReadOnly:
    """Say what an operating system's error means for a pool.

    Parameters
    ----------
    error : OSError
        What was raised.
    path : pathlib.Path
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
