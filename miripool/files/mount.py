"""A pool as a mounted file system, by FUSE: what the kernel asks is answered from the pool's tree."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mfusepy

from ..errors import FileMissing, MiripoolError, PoolNotFound, StorageError
from ..pool.core import core_of
from ..store.poolinfo import name_within
from .mountpoint import Watcher, device_of
from .tree import PoolTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..pool.core import Core
    from ..session.pool import Pool
    from .tree import FileNode, OpenedFile

__all__ = ["PoolOperations", "mount"]

_SECONDS = 0.5
"""For so long the kernel takes names, sizes and times to be as they were; the tree does so as long again."""
_READ_AHEAD = 1 << 15
"""Bytes that the kernel reads around a page that a memory map touches: one pixel of 100 groups of a FULL ramp then
takes 0.6 % of the file; with the kernel's own 128 kB it takes 2.5 %. Programs that read on still ask for 128 kB."""
_FILL_DIR_PLUS = 1 << 1
"""libfuse's flag for an entry of which all is known."""
_THREADS = 8
_TOLD = 1_000
_SIGNALLED = 8
"""What libfuse returns where a signal ended it."""


@dataclass(slots=True)
class _Reading:
    """A file that somebody has opened."""

    path: str
    file: OpenedFile
    is_stale: bool = False


@dataclass(slots=True)
class _Listing:
    """A folder that somebody lists: the kernel asks for some entries at a time, and for the last one again."""

    entries: Iterator[tuple[str, dict[str, int], int]]
    last: tuple[str, dict[str, int], int] | None = None
    position: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class PoolOperations(mfusepy.Operations):  # type: ignore[misc]
    """Answers to the kernel. It asks in several threads.

    Parameters
    ----------
    tree : PoolTree
        The pool.
    ready : callable
        Called once the mount answers.
    tell : callable
        Takes what goes wrong, a sentence each.
    gone : callable
        Says what became of the pool, given the error of a pool that is not there.
    """

    use_ns = True  # times in nanoseconds

    def __init__(
        self,
        tree: PoolTree,
        ready: Callable[[], None],
        tell: Callable[[str], None],
        gone: Callable[[PoolNotFound], str],
    ) -> None:
        self._tree = tree
        self._gone = gone
        self._ready = ready
        self._tell = tell
        self._told: set[str] = set()
        self._numbers = itertools.count(1)
        self._readings: dict[int, _Reading] = {}
        self._listings: dict[int, _Listing] = {}
        self._lock = threading.Lock()
        self._owner = {"st_uid": os.geteuid(), "st_gid": os.getegid()}

    def tell(self, text: str) -> None:
        """Tell what goes wrong, once.

        Parameters
        ----------
        text : str
            The kernel asks again and again for what can't be read.
        """
        with self._lock:
            if text in self._told:
                return
            if len(self._told) >= _TOLD:
                self._told.clear()
            self._told.add(text)
        self._tell(text)

    @contextlib.contextmanager
    def _answering(self, path: str) -> Iterator[None]:
        """Turn miripool's errors into a file system's; what is more than "no such file" goes to the log."""
        try:
            yield
        except FileMissing:
            raise mfusepy.FuseOSError(errno.ENOENT) from None
        except PoolNotFound as error:
            self.tell(self._gone(error))
            raise mfusepy.FuseOSError(errno.ESTALE) from None
        except MiripoolError as error:
            self.tell(f"{path}: {error}")
            raise mfusepy.FuseOSError(errno.EIO) from None

    def init_with_config(self, conn_info: Any, config_3: Any) -> None:
        """Set how the kernel asks, before its first question."""
        conn_info.max_readahead = min(conn_info.max_readahead, _READ_AHEAD)
        config_3.use_ino = 1
        config_3.attr_timeout = config_3.entry_timeout = _SECONDS
        # What the kernel has read of a file stays good until the file's time or size is another.
        config_3.auto_cache = 1
        self._ready()

    def getattr(self, path: str, _fh: int | None = None) -> dict[str, int]:
        """Tell size, times and rights of a file or folder."""
        with self._answering(path):
            return self._attributes(self._tree.find(path))

    def _attributes(self, node: FileNode) -> dict[str, int]:
        changed = round(node.modified.timestamp() * 1_000_000) * 1_000
        return {
            **_kind(node),
            **self._owner,
            "st_nlink": 2 if node.is_folder else 1,
            "st_size": node.size,
            "st_blocks": -(-node.size // 512),
            "st_mtime": changed,
            "st_ctime": changed,
            "st_atime": changed,
        }

    def opendir(self, path: str) -> int:
        """Begin to list a folder."""
        with self._answering(path):
            listing = _Listing(self._entries(path))
        number = next(self._numbers)
        self._listings[number] = listing
        return number

    def _entries(self, path: str) -> Iterator[tuple[str, dict[str, int], int]]:
        nodes = self._tree.entries(path, sizes=False)
        dots: list[tuple[str, dict[str, int]]] = [(".", {"st_mode": stat.S_IFDIR}), ("..", {"st_mode": stat.S_IFDIR})]
        listed = itertools.chain(dots, ((node.name, self._listed(node)) for node in nodes))
        return ((name, attributes, number) for number, (name, attributes) in enumerate(listed, 1))

    def _listed(self, node: FileNode) -> dict[str, int]:
        """Tell all of a node but for a table, whose size is not known yet."""
        return self._attributes(node) if node.is_folder or node.etag else _kind(node)

    def readdir_with_offset(self, path: str, offset: int, fh: int) -> Iterator[tuple[str, dict[str, int], int]]:
        """Go on to list a folder, as far as the kernel has room."""
        listing = self._listings[fh]
        with listing.lock, self._answering(path):
            if offset == listing.position - 1 and listing.last is not None:
                yield listing.last
            elif offset != listing.position:
                listing.entries = itertools.islice(self._entries(path), offset, None)
                listing.position = offset
            for entry in listing.entries:
                listing.last, listing.position = entry, entry[2]
                yield entry

    def releasedir(self, _path: str, fh: int) -> int:
        """End to list a folder."""
        del self._listings[fh]
        return 0

    def open(self, path: str, _flags: int) -> int:
        """Open a file.

        The kernel has one memory for all who read a path. If another version lies there now, who opened the old one
        gets an error from then on: otherwise pages of both would be mixed.
        """
        with self._answering(path):
            reading = _Reading(path, self._tree.open(path))
        number = next(self._numbers)
        with self._lock:
            for other in self._readings.values():
                if other.path == path and other.file.etag != reading.file.etag:
                    other.is_stale = True
            self._readings[number] = reading
        return number

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Give some bytes of a file."""
        reading = self._readings[fh]
        if reading.is_stale:
            raise mfusepy.FuseOSError(errno.ESTALE)
        with self._answering(path):
            return reading.file.read(offset, offset + size)

    def release(self, _path: str, fh: int) -> int:
        """Close a file."""
        with self._lock:
            del self._readings[fh]
        return 0


class _Fuse(mfusepy.FUSE):  # type: ignore[misc]
    """Lists folders with sizes and times, where they are known: else `ls -l` would ask about each file by itself.

    For 10,000 files on a busy machine that takes 2.5 s, and 1.2 s so. Of mfusepy, this takes the place of a method that
    gives names alone.
    """

    def readdir_fuse_3(self, path: bytes, buf: Any, filler: Any, offset: int, fip: Any, _flags: int) -> int:
        """Give the kernel as many entries as it has room for."""
        status = mfusepy.c_stat()
        where = path.decode(self.encoding, self.errors)
        for name, attributes, following in self.operations.readdir_with_offset(where, offset, fip.contents.fh):
            mfusepy.set_st_attrs(status, attributes, self.use_ns)
            known = _FILL_DIR_PLUS if "st_size" in attributes else 0
            if filler(buf, name.encode(self.encoding, self.errors), status, following, known):
                break
        return 0


def _kind(node: FileNode) -> dict[str, int]:
    mode = stat.S_IFDIR | 0o555 if node.is_folder else stat.S_IFREG | 0o444
    return {"st_mode": mode, "st_ino": node.inode}


def _gone(core: Core, error: PoolNotFound) -> str:
    """Say what became of a pool, and what to do."""
    now = None if core.home is None else name_within(core.home / "pools", core.id)
    if now is None:
        return f"pool {core.name} was deleted, or moved out of its home: end this mount"
    if now == core.name:  # the name is back, or an attached pool's index is another
        return str(error)
    return f"pool {core.name} was renamed to {now}: end this mount, and mount {now}"


def mount(pool: Pool, folder: Path, *, ready: Callable[[], None], tell: Callable[[str], None]) -> None:
    """Mount a pool, until it is unmounted or a signal comes.

    Parameters
    ----------
    pool : Pool
        The pool.
    folder : pathlib.Path
        From `checked_folder`.
    ready : callable, keyword-only
        Called once the mount answers.
    tell : callable, keyword-only
        Takes what goes wrong, a sentence each: damaged files, a pool that was deleted.

    Raises
    ------
    StorageError
        If the system refuses the mount; libfuse has written the reason to stderr.
    """
    tree = PoolTree(pool)
    tree.find("/")  # a pool or a server that can't be used is an error of this command, not of who looks at files later
    core = core_of(pool)
    operations = PoolOperations(tree, ready, tell, lambda error: _gone(core, error))
    options: dict[str, Any] = {"fsname": device_of(core.id), "subtype": "miripool"}
    if mfusepy.fuse_version_minor >= 12:  # before, there was no such option; 3.14 without it writes a warning
        options["max_threads"] = options["max_idle_threads"] = _THREADS
    with Watcher(folder):
        try:
            _Fuse(operations, str(folder), foreground=True, ro=True, **options)
        except RuntimeError as error:
            if error.args != (_SIGNALLED,):
                raise StorageError(f"{folder} could not be mounted (libfuse's error {error})") from error
