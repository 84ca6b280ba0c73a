"""Tables of metadata beside the folders: CSV files, made when they are looked at, and kept while nothing changes."""

from __future__ import annotations

import os
import tempfile
import weakref
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ..index.kept import Answers
from ..records.plain import csv_text, plain
from .rows import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ..index.folders import FileFolder, FileRow
    from ..pool.core import Core

__all__ = ["CsvTable", "Tables"]

_COLUMNS = {
    **{name: name for name in ("urn", "kind", "name", "version", "tags")},
    "date": "start_time",
    "program": "PROGRAM",
    "target": "TARGNAME",
    **{name: name for name in ("filter", "subarray", "readpatt", "nints", "ngroups")},
    "size": "bytes",
}
"""Columns of a table, and the fields and keywords they are from; the path comes last."""
_KEPT = 256
_SMALL_BYTES = 1 << 16
"""Bytes up to which a table is kept in memory, not in a temporary file."""
_PATIENCE = 10.0
"""How many times as long as it took to make it a table will do while the pool goes on, if it took long: one of 100,000
products takes some seconds."""
_PIECE = 1 << 20


class CsvTable:
    """A CSV file that was made. Several threads may read it.

    Parameters
    ----------
    lines : iterator of str
        Parts of its text.
    modified : datetime
        When the pool was changed last; aware.

    Attributes
    ----------
    size : int
        Bytes.
    etag : str
        Digest of its content.
    modified : datetime
        As given.
    """

    def __init__(self, lines: Iterator[str], modified: datetime) -> None:
        digest = blake2b(digest_size=16)
        with tempfile.TemporaryFile() as file:
            for text in lines:
                data = text.encode()
                digest.update(data)
                file.write(data)
            self.size = file.tell()
            self.etag = digest.hexdigest()
            self.modified = modified
            file.seek(0)
            self._content = file.read() if self.size <= _SMALL_BYTES else b""
            self._file = None if self._content else os.dup(file.fileno())
        if self._file is not None:
            weakref.finalize(self, os.close, self._file)

    def read(self, start: int, stop: int) -> bytes:
        """Give some of its bytes, as slicing them all would.

        Parameters
        ----------
        start, stop : int
            Counted from 0.

        Returns
        -------
        bytes
            What is beyond the end is left out.
        """
        if self._file is None:
            return self._content[start:stop]
        return os.pread(self._file, max(0, min(stop, self.size) - start), start)

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Give some of its bytes in pieces.

        Parameters
        ----------
        start, stop : int
            As for `read`.

        Yields
        ------
        bytes
            A megabyte each at most, none of them empty.
        """
        for offset in range(start, min(stop, self.size), _PIECE):
            yield self.read(offset, min(offset + _PIECE, stop))


class Tables:
    """The tables of a pool.

    Parameters
    ----------
    core : Core
        The pool.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._made = Answers(_KEPT)

    def take(
        self,
        folder: FileFolder,
        path_of: Callable[[FileRow], str],
        state: tuple[int, str | None],
        modified: datetime,
    ) -> CsvTable:
        """Give the table of a folder, made if the pool has changed since.

        Parameters
        ----------
        folder : FileFolder
            Whose versions it lists.
        path_of : callable
            Gives the path of a version's file there.
        state : tuple of int and str
            Number and digest of the last journal entry.
        modified : datetime
            When that was written; aware.

        Returns
        -------
        CsvTable
            As the pool is, or was a moment ago where the table takes long to make.
        """

        def make() -> CsvTable:
            return CsvTable(self._lines(folder, path_of), modified)

        return self._made.get(folder, state, make, patience=_PATIENCE)

    def _lines(self, folder: FileFolder, path_of: Callable[[FileRow], str]) -> Iterator[str]:
        yield ",".join((*_COLUMNS, "path")) + "\n"
        for rows in walk(self._core, folder):
            yield csv_text(self._records(rows, path_of), (*_COLUMNS, "path"), heads=False) + "\n"

    def _records(self, rows: list[FileRow], path_of: Callable[[FileRow], str]) -> Iterator[dict[str, Any]]:
        listed = self._core.listing([row.serial for row in rows], list(_COLUMNS.values()), check=False)
        for row, found in zip(rows, listed, strict=True):
            yield {**{name: plain(found[key]) for name, key in _COLUMNS.items()}, "path": path_of(row)}
