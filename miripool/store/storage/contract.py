"""Storage: what a pool asks of the place where its bytes are. An object store can do all of it.

A backend has nine methods of its own: read a key, read ranges of it, look at its size and time of change, list keys by
prefix, list everything, put if absent, replace if unchanged, delete, and say where it is. What else is here suits an
object store as it is; a folder of a file system does some of it better (`miripool.store.storage.local`).

A key is a relative path with ``/``. What `Storage.put` put under one never changes, but for ``pool.json`` and for what
was damaged and is written again.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...errors import InvalidInput, NotFound
from .gathering import Gathering
from .leases import NoLeases

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from .leases import Leases

__all__ = ["MOST_BYTES", "TEMPORARY", "Held", "LocalFiles", "Status", "Storage", "check_key"]

MOST_BYTES = 1 << 28
"""Bytes read at once: a manifest holds all headers of a file, an entry of the journal up to a million saves."""

TEMPORARY = ".tmp-"
"""Prefix of files that no key names: what a killed writer leaves behind."""


_PLAIN_KEY = re.compile(r"\w[\w-]*(\.\w+)?(/\w[\w-]*(\.\w+)?)*", re.ASCII)
"""Nearly all keys, told in a fifth of the time."""


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a key without reading it.

    Attributes
    ----------
    size : int
        Bytes.
    changed : datetime
        When they were put there; aware, UTC, by the clock of the place.
    version : str
        Another one after each change: an ETag, or what a folder has like it.
    """

    size: int
    changed: datetime
    version: str

    @classmethod
    def of(cls, file: os.stat_result) -> Status:
        """Give the status of a folder's file."""
        changed = datetime.fromtimestamp(file.st_mtime, UTC)
        return cls(file.st_size, changed, f"{file.st_ino}-{file.st_mtime_ns}-{file.st_size}")


class LocalFiles(Protocol):
    """The keys of a storage as files of this machine: what a folder can offer, and no other place."""

    @property
    def root(self) -> Path:
        """The folder."""

    def path(self, key: str) -> Path:
        """Give the file of a key, for a library that wants a path; InvalidInput if no key is named so."""

    def descriptor(self, key: str) -> AbstractContextManager[int]:
        """Open the file of a key for reading, within a ``with``.

        NotFound if it is not there, IntegrityError if it is no plain file.
        """

    def version(self, path: Path) -> str:
        """Give the `Status.version` that a finished file keeps when it is put under a key."""


class Held(Protocol):
    """A storage that stays where it is for a moment: the part of a `Storage` that writing an entry takes."""

    def name(self, key: str) -> str:
        """Name a key in messages."""

    def read(self, key: str, *, limit: int = MOST_BYTES) -> bytes:
        """As `Storage.read`."""

    def put(self, key: str, source: bytes) -> bool:
        """As `Storage.put`."""

    def status(self, key: str) -> Status:
        """As `Storage.status`."""


class Storage(ABC):
    """Where a pool keeps its bytes."""

    # What each backend has

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is: what `miripool.store.storage.storage_at` finds it by, in another process too."""

    @abstractmethod
    def read(self, key: str, *, limit: int = MOST_BYTES) -> bytes:
        """Give all bytes of a key.

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
            If there are more bytes, or what is there is no plain file.
        ReadOnly, StorageError
            If they can't be read.
        """

    @abstractmethod
    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Give some ranges of the bytes of a key; the place may answer them together.

        Parameters
        ----------
        key : str
            Relative path.
        ranges : sequence of (int, int)
            Where each begins, and its length.

        Returns
        -------
        list of bytes
            One for each range; shorter where the bytes end before.

        Raises
        ------
        NotFound, IntegrityError, ReadOnly, StorageError
            As for `read`.
        """

    @abstractmethod
    def status(self, key: str) -> Status:
        """Look at a key without reading it.

        Parameters
        ----------
        key : str
            Relative path.

        Returns
        -------
        Status
            Size, time of change, version.

        Raises
        ------
        NotFound
            If nothing is there.
        ReadOnly, StorageError
            If this user can't look, or the place does not answer: that is not a "no".
        """

    @abstractmethod
    def keys(self, prefix: str) -> Iterator[str]:
        """List the keys below a prefix, in no order.

        Parameters
        ----------
        prefix : str
            Without a final ``/``: ``blobs`` gives ``blobs/ab/…``, not ``blobs.h5``.

        Yields
        ------
        str
            Keys; those that come or go meanwhile may be missing.

        Raises
        ------
        StorageError
            If they can't be listed.
        """

    @abstractmethod
    def everything(self) -> Iterator[str]:
        """List all there is, names that can't be keys too.

        Yields
        ------
        str
            Relative paths; folders too deep to be walked end with ``/``.
        """

    @abstractmethod
    def put(self, key: str, source: bytes | Path) -> bool:
        """Put bytes under a key, durably, unless the key is taken.

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

    @abstractmethod
    def replace(self, key: str, source: bytes | Path, *, version: str | None = None) -> bool:
        """Put bytes under a key, durably, in place of what is there; a reader sees the old or the new ones.

        Parameters
        ----------
        key : str
            Relative path.
        source : bytes or pathlib.Path
            As for `put`.
        version : str, keyword-only, optional
            Only if the key still has this version (`Status.version`). Otherwise whatever is there, if anything.

        Returns
        -------
        bool
            False where the key has another version, or is gone: then nothing changed.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If they could not be written; the old ones are still there then.
        """

    @abstractmethod
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

    # What follows from it

    @property
    def files(self) -> LocalFiles | None:
        """The keys as files of this machine; None where they are elsewhere."""
        return None

    @property
    def leases(self) -> Leases:
        """How processes that use this storage find out which of them have ended."""
        return NoLeases()

    def name(self, key: str) -> str:
        """Name a key in messages, so that people find it.

        Parameters
        ----------
        key : str
            Relative path.

        Returns
        -------
        str
            Its path, or its address.
        """
        return f"{self.place}/{check_key(key)}"

    def exists(self, key: str) -> bool:
        """Tell whether there are bytes under a key.

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
            As for `status`.
        """
        return not self.is_free(key)

    def has_any(self, keys: Iterable[str]) -> bool:
        """Tell whether any of some keys is there that are in one folder, in which another was looked for before.

        Parameters
        ----------
        keys : iterable of str
            Relative paths.

        Returns
        -------
        bool
            True if so.

        Raises
        ------
        ReadOnly, StorageError
            As for `status`.
        """
        return any(map(self.exists, keys))

    def is_free(self, key: str) -> bool:
        """Tell whether nothing has the name of a key, not even what can't be read as bytes.

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
            As for `status`.
        """
        try:
            self.status(key)
        except NotFound:
            return True
        return False

    def confirm(self, key: str) -> bool:
        """Tell whether a key is there, and make sure that it stays, whichever process put it.

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
            As for `status`.
        """
        return self.exists(key)

    def workspace(self, key: str) -> Path:
        """Give a place for a file that the caller writes and then puts under a key.

        Parameters
        ----------
        key : str
            Relative path.

        Returns
        -------
        pathlib.Path
            A path of this machine that is not there yet, in a folder that is.

        Raises
        ------
        StorageError, ReadOnly
            If there is no place.
        """
        check_key(key)
        return Path(tempfile.gettempdir()) / f"miripool-{secrets.token_hex(8)}"

    def gathering(self) -> Gathering:
        """Put many keys at once, and wait once until all of them are durable.

        Returns
        -------
        Gathering
            To be used in a ``with``.
        """
        return Gathering(self)

    def note(self, key: str, data: bytes) -> None:
        """Put bytes under a key, in place of what is there, for as long as this host runs: it need not be durable.

        A reader sees all of them or none, at once. After a power failure they may be gone, or others may be there.

        Parameters
        ----------
        key : str
            Relative path.
        data : bytes
            The content.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If they could not be written.
        """
        self.replace(key, data)

    def set_aside(self, key: str, other: str) -> None:
        """Move what is under a key to another one.

        Parameters
        ----------
        key, other : str
            From where to where; what is there is replaced.

        Raises
        ------
        NotFound
            If it is not there.
        """
        self.replace(other, self.read(key, limit=self.status(key).size))
        self.delete(key)

    def discard(self, key: str, *, age: float, dry_run: bool = False) -> int | None:  # noqa: ARG002
        """Remove an unfinished file that was not written to for some time.

        Parameters
        ----------
        key : str
            From `everything`, with a name that begins with `TEMPORARY`.
        age : float, keyword-only
            Seconds.
        dry_run : bool, keyword-only
            Only look.

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
        if not key.rpartition("/")[2].startswith(TEMPORARY):
            raise InvalidInput(f"not a temporary file: {key!r}")
        return None  # only a folder shows what is not finished

    def refuse_links(self, folders: Iterable[str]) -> None:  # noqa: B027 - only folders have links
        """Make sure that the bytes of keys in some folders are where the others are; StorageError if not.

        Parameters
        ----------
        folders : iterable of str
            First parts of keys.
        """

    def settle(self) -> None:  # noqa: B027 - what is no folder is not made
        """Never make the place again, now that it is there: where it is gone, so are all keys."""

    @contextlib.contextmanager
    def held(self, *, alone: bool = False) -> Iterator[Held]:  # noqa: ARG002
        """Keep the place where it is, as short as can be.

        Parameters
        ----------
        alone : bool, keyword-only
            To move it: no entry is written meanwhile.

        Yields
        ------
        Held
            To write an entry by.

        Raises
        ------
        NotFound
            If the place is not there.
        Conflict
            If another process does not let go of it.
        """
        yield self

    @contextlib.contextmanager
    def turn(self, prefix: str, *, seconds: float) -> Iterator[None]:  # noqa: ARG002
        """Wait for a turn among the writers that put keys of a prefix, if the place has turns; no writer is kept off.

        Parameters
        ----------
        prefix : str
            First part of the keys.
        seconds : float, keyword-only
            To wait at most.
        """
        yield


def check_key(key: str) -> str:
    """Refuse what is no key.

    Parameters
    ----------
    key : str
        Relative path with ``/``.

    Returns
    -------
    str
        The same.

    Raises
    ------
    InvalidInput
        If it would lead out of the storage, or is none that a file can have.
    """
    if _PLAIN_KEY.fullmatch(key):
        return key
    parts = key.split("/")
    if not key.isprintable() or any(part in {"", ".", ".."} or part.startswith(TEMPORARY) for part in parts):
        raise InvalidInput(f"not a storage key: {key!r}")
    return key
