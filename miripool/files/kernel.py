"""What Linux asks of a file system by FUSE, and how answers are laid out (linux/fuse.h, protocol 7.31).

libfuse's simple interface knows files by their paths. All who have a path open then share one memory of the kernel, and
get bytes of two versions when the path's content changes. Here each content has a number of its own.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import struct
import threading
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "NOT_KNOWN",
    "ROOT",
    "Attributes",
    "Channel",
    "Opcode",
    "Request",
    "attributes_answer",
    "entry_answer",
    "folder_entry",
    "init_answer",
    "open_answer",
    "statfs_answer",
]

ROOT = 1
"""Number of the topmost folder."""

_SECONDS = 0.5
"""For so long the kernel takes names, sizes and times to be as they were; the tree does so as long again."""
_NANOSECONDS = round(_SECONDS * 1e9)
_READ_AHEAD = 1 << 15
"""Bytes that the kernel reads around a page that a memory map touches: one pixel of 100 groups of a FULL ramp then
takes 0.6 % of the file; with the kernel's own 128 kB it takes 2.5 %. Programs that read on still ask for 128 kB."""
_REQUEST_BYTES = 1 << 14
"""Longer than any request of a file system that can't be written."""

_MAJOR, _MINOR = 7, 31
_ASYNC_READ, _DO_READDIRPLUS, _READDIRPLUS_AUTO, _PARALLEL_DIROPS = 1 << 0, 1 << 13, 1 << 14, 1 << 18
_FLAGS = _ASYNC_READ | _DO_READDIRPLUS | _READDIRPLUS_AUTO | _PARALLEL_DIROPS
_KEEP_CACHE = 1 << 1

_IN = struct.Struct("=IIQQIIII")  # length, opcode, unique, node, uid, gid, pid, extensions
_OUT = struct.Struct("=IiQ")  # length, negative error, unique
_INIT_IN = struct.Struct("=IIII")  # major, minor, read-ahead, flags
_INIT_OUT = struct.Struct("=IIIIHHIIHHII24x")  # the same; background, congestion; write, time step; pages, alignment; …
_ATTRIBUTES = struct.Struct("=QQQqqqIIIIIIIIII")
_ATTRIBUTES_OUT = struct.Struct("=QII")  # valid: seconds, nanoseconds; filling
_ENTRY_OUT = struct.Struct("=QQQQII")  # node, generation, entry and attributes valid: seconds, nanoseconds
_OPEN_OUT = struct.Struct("=QII")  # handle, flags, filling
_FOLDER_ENTRY = struct.Struct("=QQII")  # inode, offset of the next, length of the name, type
_STATFS_OUT = struct.Struct("=QQQQQIII28x")  # blocks, free, available, files, free; block size, name length, fragment

NOT_KNOWN = bytes(_ENTRY_OUT.size + _ATTRIBUTES.size)
"""In the place of an `entry_answer` before a `folder_entry`: the kernel asks once a program wants to know."""


class Opcode(IntEnum):
    """What the kernel asks for."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    INTERRUPT = 36
    BATCH_FORGET = 42
    READDIRPLUS = 44


@dataclass(frozen=True, slots=True)
class Request:
    """A question of the kernel.

    Attributes
    ----------
    opcode : int
        An `Opcode`, or one that is not known here.
    unique : int
        Names the request in its answer.
    node : int
        The file or folder, or the folder that a name is looked up in.
    body : bytes
        What belongs to the opcode.
    """

    opcode: int
    unique: int
    node: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Attributes:
    """What `stat` says of a file or folder.

    Attributes
    ----------
    inode, size, mode, links : int
        As in `os.stat_result`.
    changed : int
        All of its times, in nanoseconds.
    """

    inode: int
    size: int
    mode: int
    links: int
    changed: int

    def packed(self) -> bytes:
        """Lay the attributes out for the kernel.

        Returns
        -------
        bytes
            A ``fuse_attr``; this user owns the file.
        """
        seconds, rest = divmod(self.changed, 1_000_000_000)
        owner = os.geteuid(), os.getegid()
        blocks = -(-self.size // 512)
        times = (seconds,) * 3 + (rest,) * 3
        return _ATTRIBUTES.pack(self.inode, self.size, blocks, *times, self.mode, self.links, *owner, 0, 4096, 0)


class Channel:
    """The open connection to the kernel. Several threads may use it.

    Parameters
    ----------
    file : int
        Descriptor of ``/dev/fuse``; `close` closes it.
    """

    def __init__(self, file: int) -> None:
        os.set_blocking(file, False)
        self._file = file
        self._woken, self._wake = os.pipe()
        self._turn = threading.Lock()
        self._poll = select.poll()
        self._poll.register(file, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)

    def receive(self) -> Request | None:
        """Wait for a request.

        Returns
        -------
        Request or None
            None once nothing more comes: the mount was taken away, or `stop` was called.
        """
        with self._turn:  # one thread waits for the kernel; else all would wake up at each request
            while True:
                ready = dict(self._poll.poll())
                if self._woken in ready:
                    return None
                try:
                    message = os.read(self._file, _REQUEST_BYTES)
                except OSError as error:
                    if error.errno == errno.ENODEV:
                        return None
                    if error.errno not in (errno.EAGAIN, errno.ENOENT, errno.EINTR):  # who asked has gone meanwhile
                        raise
                    continue
                _, opcode, unique, node, *_ = _IN.unpack_from(message)
                return Request(opcode, unique, node, message[_IN.size :])

    def answer(self, request: Request, content: bytes = b"", *, error: int = 0) -> None:
        """Answer a request.

        Parameters
        ----------
        request : Request
            The request.
        content : bytes
            What belongs to the opcode.
        error : int, keyword-only
            A number of `errno`.
        """
        header = _OUT.pack(_OUT.size + len(content), -error, request.unique)
        try:
            os.writev(self._file, [header, content])
        except OSError as failed:
            if failed.errno not in (errno.ENOENT, errno.ENODEV):  # nobody waits for the answer any more
                raise

    def stop(self) -> None:
        """Make `receive` return, in all threads, now and later."""
        os.write(self._wake, b".")

    def close(self) -> None:
        """End the connection: who still has a file open gets errors."""
        for file in (self._file, self._woken, self._wake):
            os.close(file)


def init_answer(body: bytes) -> bytes:
    """Agree on how the kernel asks.

    Parameters
    ----------
    body : bytes
        Of its first request.

    Returns
    -------
    bytes
        The answer.
    """
    _, _, read_ahead, flags = _INIT_IN.unpack_from(body)
    return _INIT_OUT.pack(_MAJOR, _MINOR, min(read_ahead, _READ_AHEAD), flags & _FLAGS, 0, 0, 4096, 1, 0, 0, 0, 0)


def attributes_answer(attributes: Attributes) -> bytes:
    """Answer what a file is like.

    Parameters
    ----------
    attributes : Attributes
        Of the file.

    Returns
    -------
    bytes
        The answer.
    """
    return _ATTRIBUTES_OUT.pack(0, _NANOSECONDS, 0) + attributes.packed()


def entry_answer(node: int, attributes: Attributes) -> bytes:
    """Answer what has a name in a folder.

    Parameters
    ----------
    node : int
        Number of the file.
    attributes : Attributes
        Of the file.

    Returns
    -------
    bytes
        The answer.
    """
    return _ENTRY_OUT.pack(node, 0, 0, 0, _NANOSECONDS, _NANOSECONDS) + attributes.packed()


def open_answer(handle: int) -> bytes:
    """Answer that a file or folder is open. What the kernel has read of a file stays good: its content never changes.

    Parameters
    ----------
    handle : int
        Names the open file.

    Returns
    -------
    bytes
        The answer.
    """
    return _OPEN_OUT.pack(handle, _KEEP_CACHE, 0)


def folder_entry(name: bytes, inode: int, mode: int, following: int) -> bytes:
    """Lay out an entry of a folder.

    Parameters
    ----------
    name : bytes
        The entry's name.
    inode, mode : int
        Of the entry.
    following : int
        Where the next entry begins.

    Returns
    -------
    bytes
        Padded.
    """
    entry = _FOLDER_ENTRY.pack(inode, following, len(name), stat.S_IFMT(mode) >> 12) + name
    return entry + bytes(-len(entry) % 8)


def statfs_answer() -> bytes:
    """Answer how large the file system is: it takes no space.

    Returns
    -------
    bytes
        The answer.
    """
    return _STATFS_OUT.pack(0, 0, 0, 0, 0, 4096, 255, 4096)
