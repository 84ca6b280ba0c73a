"""Open file: the bytes of a blob while it is read, on this machine or elsewhere."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..storage.contract import Storage

__all__ = ["DescriptorFile", "OpenFile", "RangeFile", "open_file"]

_MOMENT = 100_000_000
"""Nanoseconds since a file's last change below which its time does not tell of the next."""


class OpenFile(Protocol):
    """Bytes that several threads read at once."""

    @property
    def size(self) -> int:
        """How many there are."""

    @property
    def state(self) -> tuple[int, ...] | None:
        """What changes as soon as any of them does; None where that can't be told."""

    def read(self, start: int, count: int) -> bytes:
        """Give some of them; fewer where they end before."""

    def fill(self, start: int, buffers: Sequence[memoryview]) -> int:
        """Put consecutive bytes into buffers, one after the other; tell how many there were."""


class DescriptorFile:
    """A file of this machine, by its descriptor.

    Parameters
    ----------
    descriptor : int
        Open as long as this is used.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._status = os.fstat(descriptor)
        self.size = self._status.st_size

    @property
    def state(self) -> tuple[int, ...] | None:
        """Device, number, length and time of the last change; None for a file that was changed a moment ago.

        The kernel's clock ticks every few milliseconds: two changes may have one time.
        """
        found = self._status
        if abs(time.time_ns() - found.st_ctime_ns) < _MOMENT:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def read(self, start: int, count: int) -> bytes:
        """Give some bytes."""
        return os.pread(self._descriptor, count, start)

    def fill(self, start: int, buffers: Sequence[memoryview]) -> int:
        """Put consecutive bytes into buffers."""
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, buffers, start)
        whole = self.read(start, sum(len(buffer) for buffer in buffers))  # macOS before 11
        return _scatter(whole, buffers)


class RangeFile:
    """A key of a storage, read by ranges.

    Parameters
    ----------
    storage : Storage
        Where it is.
    key : str
        The blob's.
    """

    def __init__(self, storage: Storage, key: str) -> None:
        self._storage = storage
        self._key = key
        self.size = storage.status(key).size
        self.state: tuple[int, ...] | None = None

    def read(self, start: int, count: int) -> bytes:
        """Give some bytes."""
        return self._storage.read_ranges(self._key, [(start, count)])[0]

    def fill(self, start: int, buffers: Sequence[memoryview]) -> int:
        """Put consecutive bytes into buffers."""
        return _scatter(self.read(start, sum(len(buffer) for buffer in buffers)), buffers)


def _scatter(data: bytes, buffers: Sequence[memoryview]) -> int:
    position = 0
    for buffer in buffers:
        part = data[position : position + len(buffer)]
        buffer[: len(part)] = part
        position += len(part)
    return position


@contextlib.contextmanager
def open_file(storage: Storage, key: str) -> Iterator[OpenFile]:
    """Open a key for reading: by its descriptor where it is a file of this machine, else by ranges.

    Parameters
    ----------
    storage : Storage
        Where it is.
    key : str
        The blob's.

    Yields
    ------
    OpenFile
        Good within the ``with``.

    Raises
    ------
    NotFound
        If it is not there.
    IntegrityError
        If it is no plain file.
    ReadOnly, StorageError
        If it can't be opened.
    """
    if storage.files is None:
        yield RangeFile(storage, key)
        return
    with storage.files.descriptor(key) as descriptor:
        yield DescriptorFile(descriptor)
