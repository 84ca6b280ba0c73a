"""The tree: a pool as folders of FITS files, of which none is there until it is read.

FUSE and WebDAV ask here what lies where. Names, sizes and times come from the index; a manifest is read when a file is
opened, an array when it is read.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, Protocol

from ..errors import InvalidInput
from ..formats import KeptFiles
from ..index.folders import FILE_KINDS, FileFolder, by_digest, by_name, can_be_stored, has_any, labels, periods
from ..pool.core import core_of
from .names import file_name, tag_name
from .openfile import Text, VersionFile
from .places import BY_DATE, BY_KIND, BY_TAG, PRODUCTS, README, TABLE, UNDATED, VERSIONS, TreePlace, missing, place_of
from .readme import readme
from .rows import ask, walk
from .tables import CsvTable, Tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..index.folders import FileRow
    from ..pool.reference import ProductRef
    from ..session.pool import Pool

__all__ = ["FileNode", "OpenedFile", "PoolTree"]

_LOOK_SECONDS = 0.5
"""For so long the pool is taken to be as it was."""
_KEPT = 20_000
"""Files that were listed or looked at just now: `ls -l` asks about each by itself."""
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_END = datetime(9999, 1, 1, tzinfo=UTC)


class OpenedFile(Protocol):
    """A file that was opened. Several threads may read it; nothing has to be closed."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def etag(self) -> str:
        """Names the content."""

    def read(self, start: int, stop: int) -> bytes:
        """Give some of its bytes, as slicing them all would."""

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Give some of its bytes in pieces, in bounded memory."""


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file or a folder.

    Attributes
    ----------
    name : str
        The last part of its path; empty for the top.
    is_folder : bool
        Whether it is one.
    size : int
        Bytes; 0 for folders.
    modified : datetime
        When the version was saved; of others, when the pool was changed last. Aware, UTC.
    inode : int
        Positive, below 2**63: another one for another path and another content.
    etag : str
        Names the content; empty for folders.
    """

    name: str
    is_folder: bool
    size: int
    modified: datetime
    inode: int
    etag: str


@dataclass(frozen=True, slots=True)
class _State:
    """Where the index stands, and when the last journal entry was written."""

    n: int
    digest: str | None
    time: datetime


class PoolTree:
    """A pool as a tree of files. Several threads may use it. What others save appears within a second.

    Parameters
    ----------
    pool : Pool
        The pool; stays open as long as the tree is used.
    """

    def __init__(self, pool: Pool) -> None:
        self._core = core_of(pool)
        self._files = KeptFiles()
        self._tables = Tables(self._core)
        self._looking = threading.Lock()
        self._looked = float("-inf")
        self._state: _State | None = None
        self._nodes: OrderedDict[str, tuple[FileNode, FileRow]] = OrderedDict()

    def find(self, path: str) -> FileNode:
        """Look up a path.

        Parameters
        ----------
        path : str
            From the top, e.g. ``/by-kind/Ramp/x_ramp.fits``.

        Returns
        -------
        FileNode
            What lies there.

        Raises
        ------
        FileMissing
            If nothing does.
        PoolNotFound
            If the pool was deleted or renamed.
        """
        state = self._look()
        known = self._nodes.get(path)
        if known is not None:
            return known[0]
        place = self._resolve(place_of(path))
        if place.what == "file":
            return self._file(place)[0]
        self._confirm(place)
        return self._other_node(place, state)

    def entries(self, path: str, *, sizes: bool = True) -> Iterator[FileNode]:
        """List a folder.

        Parameters
        ----------
        path : str
            The folder.
        sizes : bool, keyword-only
            Tell sizes of tables: each has to be made for that. Without, they are 0.

        Yields
        ------
        FileNode
            Sorted by name. Of versions, the names are the products' (as by `escape`, the order may be slightly
            another), or under a date their times. Any number is listed in bounded memory.

        Raises
        ------
        FileMissing
            If there is no such folder.
        InvalidInput
            If it is a file.
        """
        state = self._look()
        place = self._resolve(place_of(path))
        self._confirm(place)
        if place.what == "file":
            self._file(place)
        if place.what in ("table", "readme", "file"):
            raise InvalidInput(f"{path} is a file; only folders can be listed")
        if place.what == "folder":
            return self._versions(place)
        return (self._other_node(below, state, sizes=sizes) for below in self._below(place))

    def open(self, path: str) -> OpenedFile:
        """Open a file.

        Parameters
        ----------
        path : str
            The file.

        Returns
        -------
        OpenedFile
            The bytes of this version, also when another takes its place.

        Raises
        ------
        FileMissing
            If there is no such file.
        InvalidInput
            If it is a folder.
        IntegrityError
            If its manifest is missing or damaged.
        """
        state = self._look()
        place = self._resolve(place_of(path))
        self._confirm(place)
        if place.what == "file":
            return VersionFile(self._core, self._files, self._file(place)[1])
        if place.what == "table":
            return self._table(place, state)
        if place.what == "readme":
            return self._readme()
        raise InvalidInput(f"{path} is a folder; only files can be read")

    def path_of(self, ref: ProductRef) -> str:
        """Tell where a version lies.

        Parameters
        ----------
        ref : ProductRef
            Of this pool.

        Returns
        -------
        str
            Its path among all versions, e.g. ``/versions/Ramp/x_v3_ramp.fits``: its content never changes.

        Raises
        ------
        FileMissing
            If it is in the trash, or no FITS file.
        """
        self._look()
        row = None
        if ref.kind in FILE_KINDS:
            folder = FileFolder(ref.kind, all_versions=True)
            row = ask(self._core, lambda database: by_name(database, folder, ref.name, ref.version))
        if row is None:
            raise missing(f"/{VERSIONS}/{ref.kind}/{ref.name}")
        return f"/{VERSIONS}/{row.kind}/{file_name(row, with_version=True)}"

    # How the pool is now

    def _look(self) -> _State:
        """Take in what others have saved, but not at each question; forget what was known of the pool as it was."""
        with self._looking:
            if self._state is not None and time.monotonic() - self._looked < _LOOK_SECONDS:
                return self._state
            position = self._core.catch_up()
            self._looked = time.monotonic()
            if self._state is None or (self._state.n, self._state.digest) != (position.n, position.digest):
                archive = self._core.archive
                changed = archive.info.created if position.n < 0 else archive.journal.read(position.n).time
                self._state = _State(position.n, position.digest, changed)
                self._nodes = OrderedDict()  # another object: who is just listing the pool as it was keeps the old one
            return self._state

    def _resolve(self, place: TreePlace) -> TreePlace:
        """Put the label of its tag into a place."""
        if place.tag is None:
            return place
        label: str | None = place.tag.name
        if place.tag.digest:
            wanted = place.parts[1].removesuffix(TABLE) if place.what == "table" else place.parts[1]
            known = ask(self._core, labels)
            label = next((label for label in known if tag_name(label) == wanted), None)
        if label is None or not can_be_stored(label):
            raise missing(place.path)
        return replace(place, folder=replace(place.folder, label=label))

    def _confirm(self, place: TreePlace) -> None:
        """Make sure that a folder has something in it, or a table something to list; the topmost ones may be empty."""
        may_lack = place.what in ("year", "folder", "table") and place.parts != (PRODUCTS,)
        if may_lack and not self._has_any(place.folder):
            raise missing(place.path)

    def _has_any(self, folder: FileFolder) -> bool:
        return ask(self._core, lambda database: has_any(database, folder))

    # What lies in it

    def _below(self, place: TreePlace) -> Iterator[TreePlace]:
        """Give what lies in a folder of folders, sorted."""
        names: list[str] = []
        if place.what == "top":
            names = [README, BY_DATE, BY_KIND, BY_TAG, PRODUCTS, VERSIONS]
        elif place.what == "year":
            names = [day.date().isoformat() for day in self._periods("day", place.folder)]
        elif place.parts in ((BY_KIND,), (VERSIONS,)):
            versions = place.parts == (VERSIONS,)
            names = _with_tables(kind for kind in FILE_KINDS if self._has_any(FileFolder(kind, all_versions=versions)))
        elif place.parts == (BY_TAG,):
            names = _with_tables(map(tag_name, ask(self._core, labels)))
        elif place.parts == (BY_DATE,):
            years = [f"{year.year:04d}" for year in self._periods("year", FileFolder(start=_FIRST, stop=_END))]
            names = _with_tables([*years, *([UNDATED] if self._has_any(FileFolder(undated=True)) else [])])
        return (self._resolve(place_of("/".join((*place.parts, name)))) for name in names)

    def _periods(self, unit: Literal["year", "day"], span: FileFolder) -> list[datetime]:
        start, stop = span.start or _FIRST, span.stop or _END
        return ask(self._core, lambda database: periods(database, unit, start, stop))

    def _versions(self, place: TreePlace) -> Iterator[FileNode]:
        nodes = self._nodes
        base = place.path
        for rows in walk(self._core, place.folder):
            for row in rows:
                yield self._keep(nodes, row, base, with_version=place.folder.all_versions)

    def _keep(
        self, nodes: OrderedDict[str, tuple[FileNode, FileRow]], row: FileRow, base: str, *, with_version: bool
    ) -> FileNode:
        """Make the node of a version, and keep it for the question that comes next."""
        name = file_name(row, with_version=with_version)
        path = f"{base}/{name}"
        node = FileNode(name, False, row.bytes, row.created, _inode(path, row.manifest), row.manifest)
        nodes[path] = node, row
        while len(nodes) > _KEPT:
            with contextlib.suppress(KeyError):  # another thread was faster
                nodes.popitem(last=False)
        return node

    def _file(self, place: TreePlace) -> tuple[FileNode, FileRow]:
        """Look up a version: the name that it has must be the one asked for, of which parts may have been left out."""
        nodes = self._nodes
        known = nodes.get(place.path)
        if known is not None:
            return known
        name = place.file
        if name is None:
            raise missing(place.path)
        stem, version = name.stem, name.version
        if stem.digest:
            row = ask(self._core, lambda db: by_digest(db, place.folder, stem.name, stem.digest, version))
        else:
            row = ask(self._core, lambda db: by_name(db, place.folder, stem.name, version))
        if row is None or file_name(row, with_version=version is not None) != place.parts[-1]:
            raise missing(place.path)
        base = "/" + "/".join(place.parts[:-1])
        return self._keep(nodes, row, base, with_version=version is not None), row

    def _other_node(self, place: TreePlace, state: _State, *, sizes: bool = True) -> FileNode:
        """Make the node of what is no version."""
        name = place.parts[-1] if place.parts else ""
        if place.what == "table":
            size, etag, modified = 0, "", state.time
            if sizes:
                table = self._table(place, state)
                size, etag, modified = table.size, table.etag, table.modified
        elif place.what == "readme":
            content = self._readme()
            size, etag, modified = content.size, content.etag, self._core.archive.info.created
        else:
            return FileNode(name, True, 0, state.time, _inode(place.path, ""), "")
        return FileNode(name, False, size, modified, _inode(place.path, etag), etag)

    def _readme(self) -> Text:
        return Text(readme(self._core.name))

    def _table(self, place: TreePlace, state: _State) -> CsvTable:
        def path_of(row: FileRow) -> str:
            return _path_within(place, row)

        return self._tables.take(place.folder, path_of, (state.n, state.digest), state.time)


def _path_within(table: TreePlace, row: FileRow) -> str:
    """Tell where a version of a table lies, from the top."""
    folder, group = table.folder, table.parts[0]
    name = file_name(row, with_version=folder.all_versions)
    if group == BY_DATE and row.start_time is not None:
        return f"{BY_DATE}/{row.start_time.year:04d}/{row.start_time.date().isoformat()}/{name}"
    if group == PRODUCTS:
        return f"{BY_KIND}/{row.kind}/{name}"
    return f"{group}/{table.parts[1].removesuffix(TABLE)}/{name}"


def _with_tables(names: Iterable[str]) -> list[str]:
    return sorted(text for name in names for text in (name, name + TABLE))


def _inode(path: str, content: str) -> int:
    return int.from_bytes(blake2b(f"{path}\0{content}".encode(), digest_size=8).digest(), "big") >> 1 or 1
