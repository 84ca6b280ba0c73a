"""A FITS file's bytes, wherever they are: read from a file as far as they are asked for, or held in memory.

Files are read, not mapped: memory is touched once and used again, and a file that is cut off meanwhile is an error to
tell instead of a signal. A file that changes while it is in use is refused, for what was read of it belongs to no file.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import stat
import sys
import tempfile
import weakref
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FileMissing, FormatError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Stream", "expect", "open_stream"]

_IN_MEMORY = 64 << 20
"""Compressed files that are larger than this when decompressed go to a temporary file."""
_CHUNK = 1 << 20
"""Bytes read at a time where all of a stream is read."""
_EXPECTED = 1 << 24
"""Bytes that the system reads ahead of us; the rest of a larger file it finds out by itself."""
_MOST_BYTES = 4 << 30
_MOST_RATIO = 100
"""A compressed file that becomes larger than both, in bytes and in times its size, is made to fill disks."""


class Stream:
    """Bytes to read from.

    Parameters
    ----------
    label : str
        File name for error messages.
    size : int
        How many bytes there are.
    """

    def __init__(self, label: str, size: int) -> None:
        self.label = label
        self.size = size

    def read_runs(self, starts: Sequence[int], target: NDArray[np.uint8]) -> None:
        """Read runs of bytes, all of one length.

        Parameters
        ----------
        starts : sequence of int
            Where each begins.
        target : ndarray of uint8, shape (runs, bytes)
            Is filled; C order.

        Raises
        ------
        StorageError
            If the file can't be read, or has changed since it was opened.
        """
        raise NotImplementedError

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Read a part.

        Parameters
        ----------
        start, stop : int
            Where it begins and ends; an end beyond the stream's is the stream's.

        Returns
        -------
        ndarray of uint8
            The caller's own.
        """
        target: NDArray[np.uint8] = np.empty(max(0, min(stop, self.size) - start), np.uint8)
        self.read_runs([start], target[np.newaxis])
        return target

    def chunks(self) -> Iterator[memoryview[int]]:
        """Read all of it.

        Yields
        ------
        memoryview
            The bytes in order, about a megabyte at a time; good until the next one is asked for.
        """
        target = np.empty((1, min(_CHUNK, self.size)), np.uint8)
        for start in range(0, self.size, _CHUNK):
            part = target[:, : self.size - start]
            self.read_runs([start], part)
            yield part[0].data

    def read_box(
        self, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], starts: tuple[int, ...], box: tuple[int, ...]
    ) -> NDArray[Any]:
        """Read a box of an array that lies in the stream in C order.

        Parameters
        ----------
        start : int
            Where the array begins.
        shape : tuple of int
            Its axes, slowest first.
        dtype : numpy.dtype
            Its elements as the stream has them.
        starts, box : tuple of int
            The box's first element and length along each axis.

        Returns
        -------
        ndarray
            Of the box's shape; the caller's own.
        """
        if 0 in box:
            return np.empty(box, dtype)
        # Whole rows: reading a few bytes more is cheaper than a call for each element.
        cut = slice(starts[-1], starts[-1] + box[-1]) if shape else slice(None)
        read_box, read_starts = [*box[:-1], *shape[-1:]], [*starts[:-1], *(0 for _ in shape[-1:])]
        run, axis = dtype.itemsize, len(shape)  # axes from `axis` on lie one after the other
        while axis and (axis == len(shape) or read_box[axis] == shape[axis]):
            axis -= 1
            run *= read_box[axis]
        strides = [dtype.itemsize]
        for length in shape[:0:-1]:
            strides.append(strides[-1] * length)
        strides.reverse()
        first = start + sum(s * at for s, at in zip(strides, read_starts, strict=False))
        offsets = np.zeros((), np.int64)
        for length, stride in zip(read_box[:axis], strides, strict=False):
            offsets = np.add.outer(offsets, np.arange(length) * stride)
        target = np.empty((offsets.size, run), np.uint8)
        self.read_runs((first + offsets.reshape(-1)).tolist(), target)
        whole = target.reshape(-1).view(dtype).reshape(read_box)
        return whole[..., cut] if shape and box[-1] != shape[-1] else whole


class _Memory(Stream):
    def __init__(self, label: str, content: bytes | memoryview) -> None:
        self._bytes = np.frombuffer(content, np.uint8)
        super().__init__(label, self._bytes.size)

    def read_runs(self, starts: Sequence[int], target: NDArray[np.uint8]) -> None:
        for start, run in zip(starts, target, strict=True):
            run[:] = self._bytes[start : start + run.size]


class _File(Stream):
    """An open file; it is read to its end even where its name is taken away meanwhile."""

    def __init__(self, label: str, descriptor: int) -> None:
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)
        self._state = self._look()
        super().__init__(label, self._state[0])

    def _look(self) -> tuple[int, int]:
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns

    def read_runs(self, starts: Sequence[int], target: NDArray[np.uint8]) -> None:
        try:
            for start, run in zip(starts, target, strict=True):
                self._fill(start, run.data)
            state = self._look()
        except OSError as error:
            raise StorageError(f"{self.label}: can't be read: {error.strerror or error}") from error
        if state != self._state:
            raise StorageError(f"{self.label}: has changed while it was read; try again when no program writes to it")

    def _fill(self, start: int, run: memoryview[int]) -> None:
        while run:
            count = os.preadv(self._descriptor, [run], start)
            if count == 0:
                raise OSError(errno.EIO, "it ends before its size")
            start, run = start + count, run[count:]


def expect(path: Path) -> None:
    """Have the system begin to read a file that will be read soon; a hint, which only Linux takes.

    Parameters
    ----------
    path : Path
        The file; errors are raised when it is read.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, ValueError):
        if not path.is_file():  # whoever writes to a FIFO would see a reader come and go
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.posix_fadvise(descriptor, 0, _EXPECTED, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


def open_stream(source: Path | bytes | memoryview, label: str) -> Stream:
    """Open a file, or take bytes; gzip is undone.

    Parameters
    ----------
    source : Path, bytes or memoryview
        A FITS file or its content, compressed by gzip or not.
    label : str
        File name for error messages.

    Returns
    -------
    Stream
        Its content.

    Raises
    ------
    FileMissing
        If there is no such file.
    FormatError
        If it is a folder, empty, or damaged gzip.
    StorageError
        If it can't be read.
    """
    stream = _Memory(label, source) if isinstance(source, (bytes, memoryview)) else _open(source, label)
    if stream.size == 0:
        raise FormatError(f"{label}: empty, not a FITS file; copy it again from where it came from")
    return _decompress(stream) if stream.read(0, 2).tobytes() == b"\x1f\x8b" else stream


def _open(path: Path, label: str) -> Stream:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe is refused, not waited for
    except (FileNotFoundError, NotADirectoryError):
        raise FileMissing(f"{label}: no such file; check the name") from None
    except OSError as error:
        raise StorageError(f"{label}: can't be read: {error.strerror or error}") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "a folder, not a FITS file; name the files in it" if stat.S_ISDIR(mode) else "not a regular file"
        raise FormatError(f"{label}: {what}")
    return _File(label, descriptor)


def _decompress(stream: Stream) -> Stream:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        try:
            with gzip.GzipFile(fileobj=_Reader(stream)) as packed:  # type: ignore[call-overload]
                while chunk := packed.read(_CHUNK):
                    spool.write(chunk)
                    if spool.tell() > max(_MOST_BYTES, _MOST_RATIO * stream.size):
                        raise FormatError(
                            f"{stream.label}: its {stream.size} bytes decompress to more than {spool.tell() >> 30} GB; "
                            "if this is right, decompress the file yourself (gunzip)"
                        )
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FormatError(
                f"{stream.label}: damaged gzip file ({error}); copy it again from where it came from"
            ) from error
        except OSError as error:
            raise StorageError(f"{stream.label}: can't be decompressed to a temporary file: {error}") from error
        size = spool.tell()
        if size == 0:
            raise FormatError(f"{stream.label}: empty, not a FITS file; copy it again from where it came from")
        if size <= _IN_MEMORY:
            spool.seek(0)
            return _Memory(stream.label, spool.read())
        spool.flush()
        return _File(stream.label, os.dup(spool.fileno()))  # outlives the file's name


class _Reader:
    """Reads a stream like a file."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._place = 0

    def read(self, n: int = -1) -> bytes:
        part = self._stream.read(self._place, self._stream.size if n < 0 else self._place + n).tobytes()
        self._place += len(part)
        return part
