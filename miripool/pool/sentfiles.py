"""Files for other programs: images and tables that were sent to DS9 or TOPCAT. They are kept for a day.

The programs may read a file again as long as they show it.

Beside a table lies a list of the versions and pixels that its rows stand for: a program that says "row 7" means them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import platformdirs

from ..errors import StorageError
from ..model.names import Urn
from ..system.files import read_plain
from ..system.oserrors import storage_error
from ..system.outfile import writing_file
from .votable import votable_pieces

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SentFiles", "SentRow", "find_row", "find_rows"]

_KEPT_SECONDS = 86400.0
_PLAIN = re.compile(r"[A-Za-z0-9_.+/-]+")
"""Paths that every program reads in a URL: DS9 does not decode ``%20``, and hangs for letters like é."""
_NAME_LENGTH = 120
_TABLE, _ROWS = ".vot", ".rows.json"
_MOST = 1 << 30
"""Bytes of a list of rows that is read."""


@dataclass(frozen=True, slots=True)
class SentRow:
    """What a row of a table that was sent stands for.

    Attributes
    ----------
    urn : str
        The version.
    x, y : int or None
        Column and row of a pixel, in the FULL array, 1-based; None if the table is not one of pixels.
    """

    urn: str
    x: int | None
    y: int | None

    @property
    def pool(self) -> str:
        """Name of the pool when the table was sent."""
        return Urn.parse(self.urn).pool

    @property
    def serial(self) -> int:
        """Number of the version in the pool."""
        return Urn.parse(self.urn).serial


class SentFiles:
    """The files of a home that were sent. What is older than a day goes when this object is made.

    Parameters
    ----------
    home : pathlib.Path or None
        The home; where it can't be written, or there is none, the user's cache is used.

    Raises
    ------
    StorageError, ReadOnly
        If no folder can be made.
    """

    def __init__(self, home: Path | None) -> None:
        self.folder = _folder(home)
        _clean(self.folder)

    def write(self, name: str, ending: str, content: str, pieces: Iterable[bytes], size: int | None = None) -> Path:
        """Write a file, unless it is there.

        Parameters
        ----------
        name : str
            Speaks to who sees it in a program's window.
        ending : str
            Of the file's name, with its dot.
        content : str
            Names the content: another content gets another path.
        pieces : iterable of bytes
            The file; not read if it is there.
        size : int, optional
            Bytes of the file: one that is shorter is written again.

        Returns
        -------
        pathlib.Path
            A path that needs no quoting in a URL.

        Raises
        ------
        DiskFull, StorageError
            If it can't be written.
        IntegrityError
            If stored data are damaged or missing. No part of the file is left.
        """
        folder = self.folder / hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
        file = folder / f"{_safe(name)}{ending}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            os.utime(folder)
            with contextlib.suppress(FileNotFoundError):
                if size is not None and file.stat().st_size == size:
                    os.utime(file)
                    return self._plain(file)
        except OSError as error:
            raise storage_error(error, file) from error
        with writing_file(file, overwrite=True) as out:
            for piece in pieces:
                out.write(piece)
        return self._plain(file)

    def write_table(self, table: Any, name: str) -> Path:
        """Write a table as a VOTable, and the list of what its rows stand for if it has a column ``urn``.

        Parameters
        ----------
        table : astropy.table.Table
            Any; see `votable_pieces`. Pixels are in its columns ``x`` and ``y``, or in its ``meta``.
        name : str
            Speaks to who sees it in a program's window.

        Returns
        -------
        pathlib.Path
            A path that needs no quoting in a URL; its stem is the table's id.

        Raises
        ------
        DiskFull, StorageError
            If it can't be written.
        """
        token = secrets.token_hex(6)
        stem = f"{_safe(name)}-{token}"
        if "urn" in table.colnames:
            self.write(stem, _ROWS, token, [json.dumps(_rows_of(table)).encode()])
        return self.write(stem, _TABLE, token, votable_pieces(table, name))

    def _plain(self, file: Path) -> Path:
        """Give a path of a file without letters that programs stumble over: through a link if there is need."""
        if _PLAIN.fullmatch(str(file)):
            return file
        place = Path(tempfile.gettempdir())
        own = (place if _PLAIN.fullmatch(str(place)) else Path("/tmp")) / f"miripool-{os.geteuid()}"  # noqa: S108
        link = own / hashlib.blake2b(os.fsencode(self.folder), digest_size=8).hexdigest()
        try:
            own.mkdir(mode=0o700, exist_ok=True)
            _refuse_others(own)
            for one in own.iterdir():
                if not one.exists():  # the link of a home that is gone
                    one.unlink(missing_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(self.folder)
        except OSError as error:
            raise storage_error(error, own) from error
        return link / file.relative_to(self.folder)


def find_row(home: Path | None, table: str, row: int) -> SentRow | None:
    """Find what a row stands for of a table that was sent, by this process or another.

    Parameters
    ----------
    home : pathlib.Path or None
        The home from which it was sent.
    table : str
        The table's id or URL, as a message about its rows names it.
    row : int
        Counted from 0.

    Returns
    -------
    SentRow or None
        None if the table is not one of ours, is no longer kept, or has no such row.
    """
    return next(iter(find_rows(home, table, [row])), None)


def find_rows(home: Path | None, table: str, rows: Iterable[int]) -> list[SentRow]:
    """Find what rows stand for, as `find_row` does; the table's list is read once.

    Parameters
    ----------
    home, table : object
        As for `find_row`.
    rows : iterable of int
        Counted from 0.

    Returns
    -------
    list of SentRow
        In that order, without rows that the table does not have; empty if it is not one of ours.
    """
    try:
        stem = Path(urlsplit(table).path).name.removesuffix(_TABLE)
    except ValueError:  # it is no URL, e.g. http://[
        return []
    token = stem.rpartition("-")[2]
    if not re.fullmatch("[0-9a-f]{12}", token):
        return []
    folder = hashlib.blake2b(token.encode(), digest_size=8).hexdigest()
    for place in _places(home):
        file = place / "samp" / folder / f"{stem}{_ROWS}"
        try:
            known = json.loads(read_plain(file, limit=_MOST))
            return [_row_of(known, row) for row in rows if 0 <= row < len(known["urn"])]
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise StorageError(f"{file} can't be read: {error}; send the table again") from error
    return []


def _row_of(known: dict[str, Any], row: int) -> SentRow:
    x, y = (None if known[axis] is None else known[axis][row] for axis in "xy")
    return SentRow(known["urns"][known["urn"][row]], x, y)


def _rows_of(table: Any) -> dict[str, Any]:
    """Give the versions that rows stand for, each once, and for each row the number of its version and its pixel."""
    texts = [str(urn) for urn in table["urn"]]
    numbers = {urn: number for number, urn in enumerate(dict.fromkeys(texts))}
    places: dict[str, list[int] | None] = {}
    for axis in "xy":
        if axis in table.colnames and table[axis].dtype.kind in "iu":
            places[axis] = [int(value) for value in table[axis]]
        else:
            places[axis] = [int(table.meta[axis])] * len(texts) if axis in table.meta else None
    return {"urns": list(numbers), "urn": [numbers[urn] for urn in texts], **places}


def _safe(name: str) -> str:
    """Make a part of a file's name of any text; of a long one its end is kept, which has the version."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", name)[-_NAME_LENGTH:].strip(".-") or "file"


def _places(home: Path | None) -> list[Path]:
    """List where files may lie, the best first."""
    cache = platformdirs.user_cache_path("miripool")
    return [cache] if home is None else [home / "scratch", cache]


def _folder(home: Path | None) -> Path:
    """Make the folder, readable by the user alone."""
    errors = []
    for place in _places(home):
        folder = place / "samp"
        try:
            place.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            _refuse_others(folder)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
        except OSError as error:
            errors.append(storage_error(error, folder))
    raise errors[0] if errors else StorageError(f"{folder} can't be written")


def _refuse_others(folder: Path) -> None:
    """Refuse a folder that is another user's, or open to others: they could put files or links into it."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(1, "it belongs to another user, or is no folder", str(folder))
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def _clean(folder: Path) -> None:
    """Remove what is older than a day; several processes may do so at once."""
    limit = time.time() - _KEPT_SECONDS
    with contextlib.suppress(OSError):
        for below in list(folder.iterdir()):
            with contextlib.suppress(OSError):  # it is gone, or still in use
                for file in below.iterdir():
                    if file.lstat().st_mtime < limit:
                        file.unlink()
                if below.lstat().st_mtime < limit:
                    below.rmdir()
