"""A pool as a mounted file system, by FUSE: what the kernel asks is answered from the pool's tree."""

from __future__ import annotations

import contextlib
import errno
import itertools
import stat
import struct
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import FileMissing, MiripoolError, PoolNotFound
from ..pool.core import core_of
from ..store.poolinfo import name_within
from ..system.signals import ending_noted
from .attachment import Watcher, attach
from .kernel import (
    NOT_KNOWN,
    ROOT,
    Attributes,
    Channel,
    Opcode,
    attributes_answer,
    entry_answer,
    folder_entry,
    init_answer,
    open_answer,
    statfs_answer,
)
from .mountpoint import device_of
from .tree import PoolTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..pool.core import Core
    from ..session.pool import Pool
    from .kernel import Request
    from .tree import FileNode, OpenedFile

    _Entry = tuple[int, str, FileNode | None]

__all__ = ["PoolOperations", "mount"]

_THREADS = 8
_TOLD = 1_000
_HANDLE = struct.Struct("=Q")
_PIECE = struct.Struct("=QQI")  # handle, offset, size
_FORGOTTEN = struct.Struct("=QQ")  # number, how many times


@dataclass(slots=True)
class _Known:
    """What the kernel has been given a number for, and how many times: it forgets as many."""

    path: str
    node: FileNode
    times: int = 0


class _Listing:
    """A folder that somebody lists: the kernel asks for some entries at a time, and for the last one again."""

    def __init__(self, path: str, nodes: Callable[[], Iterator[FileNode]]) -> None:
        self.path = path
        self.lock = threading.Lock()
        self._nodes = nodes
        self._entries = self._begin()
        self._last: _Entry | None = None
        self._position = 0

    def _begin(self) -> Iterator[_Entry]:
        dots: list[tuple[str, FileNode | None]] = [(".", None), ("..", None)]
        listed = itertools.chain(dots, ((node.name, node) for node in self._nodes()))
        return ((number, name, node) for number, (name, node) in enumerate(listed, 1))

    def entries(self, offset: int) -> Iterator[_Entry]:
        if offset == self._position - 1 and self._last is not None:
            yield self._last
        elif offset != self._position:
            self._entries = itertools.islice(self._begin(), offset, None)
            self._position = offset
        for entry in self._entries:
            self._last, self._position = entry, entry[0]
            yield entry


class PoolOperations:
    """Answers to the kernel. It asks in several threads.

    The kernel's number of a file stands for its path and its content. When another version takes the place of one, it
    gets another number, with a memory of its own; who has the older one open reads on in that.

    Parameters
    ----------
    tree : PoolTree
        The pool.
    tell : callable
        Takes what goes wrong, a sentence each.
    gone : callable
        Says what became of the pool, given the error of a pool that is not there.
    """

    def __init__(self, tree: PoolTree, tell: Callable[[str], None], gone: Callable[[PoolNotFound], str]) -> None:
        self._tree = tree
        self._gone = gone
        self._tell = tell
        self._told: set[str] = set()
        self._numbers = itertools.count(1)
        self._known = {ROOT: _Known("/", tree.find("/"))}
        self._opened: dict[int, tuple[str, OpenedFile]] = {}
        self._listings: dict[int, _Listing] = {}
        self._lock = threading.Lock()
        self._answers: dict[int, Callable[[Request], bytes]] = {
            Opcode.INIT: lambda request: init_answer(request.body),
            Opcode.LOOKUP: self._look_up,
            Opcode.GETATTR: self._tell_attributes,
            Opcode.OPEN: self._open,
            Opcode.READ: self._read,
            Opcode.RELEASE: self._close,
            Opcode.OPENDIR: self._open_folder,
            Opcode.READDIR: self._list,
            Opcode.READDIRPLUS: self._list,
            Opcode.RELEASEDIR: self._close_folder,
            Opcode.STATFS: lambda _: statfs_answer(),
        }

    def serve(self, channel: Channel) -> None:
        """Answer until nothing more comes.

        Parameters
        ----------
        channel : Channel
            The kernel.
        """
        while (request := channel.receive()) is not None:
            if request.opcode in (Opcode.FORGET, Opcode.BATCH_FORGET):
                self._forget(request)
            elif request.opcode != Opcode.INTERRUPT:  # the kernel wants no answer to these three
                content, number = self._answered(request)
                channel.answer(request, content, error=number)

    def _answered(self, request: Request) -> tuple[bytes, int]:
        """Turn miripool's errors into a file system's; what is more than "no such file" goes to the log."""
        answer = self._answers.get(request.opcode)
        if answer is None:
            return b"", errno.ENOSYS
        try:
            return answer(request), 0
        except FileMissing:
            return b"", errno.ENOENT
        except PoolNotFound as error:
            self.tell(self._gone(error))
            return b"", errno.ESTALE
        except MiripoolError as error:
            self.tell(f"{self._path(request)}: {error}")
            return b"", errno.EIO
        except OSError as error:
            return b"", error.errno or errno.EIO
        except Exception:  # a mistake in this program: others can read on
            self.tell(traceback.format_exc())
            return b"", errno.EIO

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

    # Names and numbers

    def _path(self, request: Request) -> str:
        return self._known[request.node].path

    def _remember(self, path: str, node: FileNode) -> bytes:
        """Give a node to the kernel, under a number."""
        with self._lock:
            known = self._known.setdefault(node.inode, _Known(path, node))
            known.node = node  # the same content may have been saved again, at another time
            known.times += 1
        return entry_answer(node.inode, _attributes(node))

    def _forget(self, request: Request) -> None:
        if request.opcode == Opcode.FORGET:
            pairs = [(request.node, *_HANDLE.unpack(request.body))]
        else:
            pairs = list(_FORGOTTEN.iter_unpack(request.body[8:]))  # after their number, and filling
        with self._lock:
            for number, times in pairs:
                known = self._known[number]
                known.times -= times
                if known.times <= 0 and number != ROOT:
                    del self._known[number]

    def _look_up(self, request: Request) -> bytes:
        path = _within(self._path(request), request.body.removesuffix(b"\0").decode(errors="surrogateescape"))
        return self._remember(path, self._tree.find(path))

    def _tell_attributes(self, request: Request) -> bytes:
        known = self._known[request.node]
        node = self._tree.find(known.path) if known.node.is_folder else known.node  # a file's never change
        return attributes_answer(_attributes(node))

    # Files

    def _open(self, request: Request) -> bytes:
        known = self._known[request.node]
        file = self._tree.open(known.path)
        if file.etag != known.node.etag:
            raise OSError(errno.ESTALE, "the kernel looks up the name again, and opens what it finds then")
        number = next(self._numbers)
        self._opened[number] = known.path, file
        return open_answer(number)

    def _read(self, request: Request) -> bytes:
        handle, start, size = _PIECE.unpack_from(request.body)
        _, file = self._opened[handle]
        return file.read(start, start + size)

    def _close(self, request: Request) -> bytes:
        del self._opened[_HANDLE.unpack_from(request.body)[0]]
        return b""

    # Folders

    def _open_folder(self, request: Request) -> bytes:
        path = self._path(request)
        listing = _Listing(path, lambda: self._tree.entries(path, sizes=False))
        number = next(self._numbers)
        self._listings[number] = listing
        return open_answer(number)

    def _list(self, request: Request) -> bytes:
        """Go on to list a folder, as far as the kernel has room.

        With sizes and times, where they are known: else `ls -l` would ask about each file by itself.
        """
        handle, offset, room = _PIECE.unpack_from(request.body)
        listing = self._listings[handle]
        room -= len(NOT_KNOWN)
        found = bytearray()
        with listing.lock:
            for number, name, node in listing.entries(offset):
                inode, mode = (ROOT, stat.S_IFDIR) if node is None else (node.inode, _mode(node))
                entry = folder_entry(name.encode(errors="surrogateescape"), inode, mode, number)
                if len(found) + len(entry) > room:
                    break
                if request.opcode == Opcode.READDIRPLUS:
                    found += self._listed(_within(listing.path, name), node)
                found += entry
        return bytes(found)

    def _listed(self, path: str, node: FileNode | None) -> bytes:
        """Give an entry's node to the kernel, but not that of a table, whose size is not known yet."""
        if node is None or not (node.is_folder or node.etag):
            return NOT_KNOWN
        return self._remember(path, node)

    def _close_folder(self, request: Request) -> bytes:
        del self._listings[_HANDLE.unpack_from(request.body)[0]]
        return b""


def _within(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def _mode(node: FileNode) -> int:
    return stat.S_IFDIR | 0o555 if node.is_folder else stat.S_IFREG | 0o444


def _attributes(node: FileNode) -> Attributes:
    changed = round(node.modified.timestamp() * 1_000_000) * 1_000
    return Attributes(node.inode, node.size, _mode(node), 2 if node.is_folder else 1, changed)


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
        If the system refuses the mount, or can't take it away at the end.
    """
    core = core_of(pool)
    # A pool or a server that can't be used is an error of this command, not of who looks at files later.
    operations = PoolOperations(PoolTree(pool), tell, lambda error: _gone(core, error))
    with ending_noted() as ended, Watcher() as watcher:
        attachment = attach(folder, device_of(core.id))
        watcher.watch(attachment)
        channel = Channel(attachment.file)
        try:
            with _serving(operations, channel, lambda: ended.put(None)):
                try:
                    ready()
                    ended.get()
                finally:
                    attachment.take_away()
        finally:
            channel.close()


@contextlib.contextmanager
def _serving(operations: PoolOperations, channel: Channel, ended: Callable[[], None]) -> Iterator[None]:
    """Answer in threads, until the end of the body; say if nothing more can come."""

    def serve() -> None:
        try:
            operations.serve(channel)
        finally:
            ended()

    threads = [threading.Thread(target=serve, name=f"mount {number}") for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        channel.stop()
        for thread in threads:
            thread.join()
