"""Storage: bytes by key in a folder. Read, list, put-if-absent, delete; no more is asked of it.

An object store offers the same four, so a pool could live in one. One key's bytes may change, ``pool.json``'s, and
what was damaged may be put anew: for them there is `replace`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...errors import DiskFull, InvalidInput, NotFound, PoolNotFound, ReadOnly, StorageError
from ...system.files import folder_below, name_new, read_plain, refuse_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["MOST_BYTES", "TEMPORARY", "LocalStorage", "Storage", "storage_error", "unconfirmed"]

MOST_BYTES = 1 << 28
"""Bytes read at once: a manifest holds all headers of a file, an entry of the journal up to a million saves."""

TEMPORARY = ".tmp-"
"""Prefix of files that no key names: what a killed writer leaves behind."""

_SHARD = re.compile("[0-9a-f]{2}")
"""Names of the folders between which blobs and manifests are divided."""

_DEEPEST = 8
"""Folders in folders that are walked; keys have three at most, and what others make has no end."""


class Storage(Protocol):
    """Where a pool keeps its bytes. Keys are relative paths with ``/``; what `put` put under one never changes."""

    def read(self, key: str, *, limit: int = MOST_BYTES) -> bytes:
        """Give the bytes of a key; NotFound if there are none, IntegrityError if there are more than `limit`."""

    def path(self, key: str) -> Path:
        """Give a path at which the bytes of a key can be read by a library that wants files."""

    def exists(self, key: str) -> bool:
        """Tell whether the key is there."""

    def confirm(self, key: str) -> bool:
        """Tell whether the key is there, and make sure that it stays, whoever put it."""

    def keys(self, prefix: str) -> Iterator[str]:
        """List the keys in the folder `prefix`, in no order, temporary files left out."""

    def everything(self) -> Iterator[str]:
        """List all there is, temporary files and names that can't be keys too; folders too deep to walk end with /."""

    def refuse_links(self, folders: Iterable[str]) -> None:
        """Make sure that the bytes of keys in some folders are where the others are; StorageError if not."""

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

    def discard(self, key: str, *, age: float, dry_run: bool = False) -> int | None:
        """Remove a file of `workspace` that is older than some seconds; give its size, None if it stays or is gone."""


class LocalStorage:
    """A folder of a file system that has fsync, and hard links or a renaming that spares what is there.

    Parameters
    ----------
    root : pathlib.Path
        The folder; made when something is put.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._is_settled = False
        self._lasting: set[Path] = set()
        """Folders whose names are known to be on disk, with those of all folders from the root to them."""

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

    def read(self, key: str, *, limit: int = MOST_BYTES) -> bytes:
        """Give the bytes of a key.

        Parameters
        ----------
        key : str
            Relative path.
        limit : int, keyword-only
            Bytes that there are at most.

        Returns
        -------
        bytes
            All of them.

        Raises
        ------
        NotFound
            If the key is not there.
        IntegrityError
            If it is no plain file, or is larger.
        StorageError
            If it can't be read.
        """
        path = self.path(key)
        try:
            return read_plain(path, limit=limit)
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
            self._make_folder(folder)
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

        Raises
        ------
        StorageError
            If the folder is a symbolic link, or can't be read.
        """
        self.path(prefix)
        yield from (key for key in self._walk(prefix.split("/"), TEMPORARY) if not key.endswith("/"))

    def everything(self) -> Iterator[str]:
        """List all there is, in no order; symbolic links are listed, and not followed.

        Yields
        ------
        str
            Paths relative to the root; folders too deep to be walked end with ``/``.
        """
        yield from self._walk([])

    def _walk(self, parts: Sequence[str], but: str | None = None) -> Iterator[str]:
        folder = self.root.joinpath(*parts)
        try:
            with folder_below(self.root, parts) as descriptor, os.scandir(descriptor) as found:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise storage_error(error, folder) from error
        for name, is_folder in entries:
            if but is not None and name.startswith(but):
                continue
            key = "/".join((*parts, name))
            if not is_folder:
                yield key
            elif len(parts) >= _DEEPEST:
                yield f"{key}/"
            else:
                yield from self._walk((*parts, name), but)

    def refuse_links(self, folders: Iterable[str]) -> None:
        """Make sure that some folders, and those in them that are named by two digits, are no symbolic links.

        Parameters
        ----------
        folders : iterable of str
            Their keys.

        Raises
        ------
        StorageError
            If one is a link: what is behind it is not the pool's.
        """
        for folder in folders:
            path = self.path(folder)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), _errors_of(path):
                mode = path.lstat().st_mode
                refuse_link(path, mode)
                if not stat.S_ISDIR(mode):
                    continue
                with os.scandir(path) as found:
                    links = [entry.name for entry in found if _SHARD.fullmatch(entry.name) and entry.is_symlink()]
                for name in links:
                    refuse_link(path / name, stat.S_IFLNK)

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
        return self._place(key, source, name_new)

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
        *parts, name = key.split("/")
        try:
            with folder_below(self.root, parts) as descriptor:
                os.unlink(name, dir_fd=descriptor)
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
            return path.lstat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{path} is not there") from None
        except OSError as error:
            raise storage_error(error, path) from error

    def discard(self, key: str, *, age: float, dry_run: bool = False) -> int | None:
        """Remove a temporary file that nobody has written for some time.

        Parameters
        ----------
        key : str
            From `everything`; a symbolic link of such a name goes, and what it points to stays.
        age : float, keyword-only
            Seconds.
        dry_run : bool, keyword-only
            Only tell.

        Returns
        -------
        int or None
            Its bytes; None if it stays, or is gone already.

        Raises
        ------
        InvalidInput
            If it is not named as a temporary file is.
        ReadOnly, StorageError
            If it can't be removed.
        """
        *parts, name = key.split("/")
        if not name.startswith(TEMPORARY):
            raise InvalidInput(f"not a temporary file: {key!r}")
        try:
            with folder_below(self.root, parts) as descriptor:
                status = os.lstat(name, dir_fd=descriptor)
                if time.time() - status.st_mtime < age:
                    return None
                if not dry_run:
                    os.unlink(name, dir_fd=descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(error, self.root.joinpath(*parts, name)) from error
        return status.st_size

    def make(self) -> None:
        """Make the root, durably, whoever may have made it or the folder above it a moment ago.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If it can't be made.
        """
        try:
            self._make_folder(self.root)
            for folder in self.root.parents[:2]:
                _sync_folder(folder)
        except OSError as error:
            raise storage_error(error, self.root) from error

    def _make_folder(self, folder: Path) -> None:
        """Make a folder; below the root make sure that its name stays, and those of the folders that it is in."""
        if folder.is_dir() and (folder in self._lasting or self.root not in folder.parents):
            return
        if folder == self.root:
            self._refuse_moved()
        self._make_folder(folder.parent)
        if not folder.is_dir():
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
        self._make_last(folder.parent)

    def _make_last(self, folder: Path) -> None:
        """Make sure that the names of the folders in a folder stay; others may have made them a moment ago."""
        if folder != self.root and self.root not in folder.parents:
            _sync_folder(folder)
            return
        with os.scandir(folder) as found:
            names = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
        _sync_folder(folder)
        self._lasting.update(folder / name for name in names)

    def _refuse_moved(self) -> None:
        if self._is_settled and not self.root.is_dir():
            raise PoolNotFound(
                f"the pool that was opened at {self.root} is there no longer: it was deleted or renamed meanwhile. "
                "Open the pool again"
            )


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Say what the system says of a path in our words, unless it says that nothing is there."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise storage_error(error, path) from error


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
