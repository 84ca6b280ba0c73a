"""Storage: bytes by key in a folder. Read, list, put-if-absent, delete; no more is asked of it.

An object store offers the same four, so a pool could live in one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .errors import DiskFull, InvalidInput, NotFound, ReadOnly, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LocalStorage", "Storage", "storage_error"]

_TEMPORARY = ".tmp-"
"""Prefix of files that no key names: what a killed writer leaves behind."""


class Storage(Protocol):
    """Where a pool keeps its bytes. Keys are relative paths with ``/``; what a key holds never changes."""

    def read(self, key: str) -> bytes:
        """Give the bytes of a key; NotFound if there are none."""

    def path(self, key: str) -> Path:
        """Give a path at which the bytes of a key can be read by a library that wants files."""

    def exists(self, key: str) -> bool:
        """Tell whether the key is there."""

    def keys(self, prefix: str) -> Iterator[str]:
        """List the keys in the folder `prefix`, in no order, temporary files left out."""

    def put(self, key: str, source: bytes | Path) -> bool:
        """Put bytes, or a finished file of `workspace`, under a key, durably, unless it is taken.

        Returns False where the key was there before: then nothing changed.
        """

    def workspace(self, key: str) -> Path:
        """Give the path of a new temporary file that can be put under `key`; the caller writes it."""

    def delete(self, key: str) -> bool:
        """Remove a key; False if it was not there."""


class LocalStorage:
    """A folder of a local or network file system that has hard links and fsync.

    Parameters
    ----------
    root : pathlib.Path
        The folder; made when something is put.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

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
            If the key would lead out of the folder.
        """
        parts = key.split("/")
        if any(part in {"", ".", ".."} or "\0" in part for part in parts):
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
        """
        return self.path(key).is_file()

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
        for entry in self._scan(prefix):
            key = f"{prefix}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self.keys(key)
            elif not entry.name.startswith(_TEMPORARY):
                yield key

    def _scan(self, prefix: str) -> list[os.DirEntry[str]]:
        path = self.path(prefix)
        try:
            with os.scandir(path) as entries:
                return list(entries)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error(error, path) from error

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
        return target.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")

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
            False where the key was there before: then nothing changed.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If it could not be written; nothing is left behind.
        """
        target = self.path(key)
        temporary = source if isinstance(source, Path) else self.workspace(key)
        try:
            if isinstance(source, bytes):
                temporary.write_bytes(source)
            _sync_file(temporary)
            os.link(temporary, target)
            _sync_folder(target.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise storage_error(error, target) from error
        else:
            return True
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

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
        except FileNotFoundError:
            return False
        except OSError as error:
            raise storage_error(error, path) from error
        return True

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        _sync_folder(folder.parent)


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
