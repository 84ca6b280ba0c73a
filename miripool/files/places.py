"""Places in the tree of a pool: what a path means, by its words alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from ..errors import FileMissing
from ..index.folders import FILE_KINDS, FileFolder
from .names import FileName, Stem, parse_file_name, parse_tag_name

__all__ = [
    "BY_DATE",
    "BY_KIND",
    "BY_TAG",
    "PRODUCTS",
    "README",
    "TABLE",
    "UNDATED",
    "VERSIONS",
    "TreePlace",
    "place_of",
]

README = "README.txt"
PRODUCTS = "products.csv"
BY_KIND, BY_TAG, BY_DATE, VERSIONS = "by-kind", "by-tag", "by-date", "versions"
UNDATED = "undated"
TABLE = ".csv"

_DEPTH = 4
"""Parts of the longest path: by-date, year, day, file."""
_YEAR = re.compile(r"[0-9]{4}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)

_HEADS = FileFolder()

_What = Literal["top", "group", "year", "folder", "table", "file", "readme"]


@dataclass(frozen=True, slots=True)
class TreePlace:
    """What a path means. Whether it is there has to be looked up.

    Attributes
    ----------
    parts : tuple of str
        The path's parts.
    what : str
        ``top``, the folder of all; ``group``, one of the folders in it; ``year``, a folder of days; ``folder``, one of
        versions; ``table``, what lies beside a folder; ``file``, a version; ``readme``.
    folder : FileFolder
        The versions that lie there, or are listed there.
    tag : Stem or None
        The tag of the folder; its label is not in `folder` yet.
    file : FileName or None
        What the name of a file says.
    """

    parts: tuple[str, ...]
    what: _What
    folder: FileFolder = _HEADS
    tag: Stem | None = None
    file: FileName | None = None

    @property
    def path(self) -> str:
        """The path, from the top."""
        return "/" + "/".join(self.parts)


def place_of(path: str) -> TreePlace:
    """Read a path.

    Parameters
    ----------
    path : str
        E.g. ``/by-kind/Ramp/x_ramp.fits``; a slash at the end is left out.

    Returns
    -------
    TreePlace
        What it means.

    Raises
    ------
    FileMissing
        If no pool has such a path.
    """
    parts = tuple(path.strip("/").split("/")) if path.strip("/") else ()
    found = _read(parts) if len(parts) <= _DEPTH else None
    if found is None:
        raise missing(path)
    return found


def missing(path: str) -> FileMissing:
    """Say that a path is not there.

    Parameters
    ----------
    path : str
        The path.

    Returns
    -------
    FileMissing
        To be raised by the caller.
    """
    return FileMissing(f"there is no {path!r} among the files of this pool; {README} says how they are arranged")


def _read(parts: tuple[str, ...]) -> TreePlace | None:
    match parts:
        case ():
            return TreePlace(parts, "top")
        case (name,) if name == README:
            return TreePlace(parts, "readme")
        case (name,) if name == PRODUCTS:
            return TreePlace(parts, "table")
        case (name,) if name in (BY_KIND, BY_TAG, BY_DATE, VERSIONS):
            return TreePlace(parts, "group")
        case (group, name):
            return _shelf(parts, group, name)
        case (group, *between, name):
            above = _read((group, *between))
            return None if above is None else _within(above, parts, name)
        case _:
            return None


def _shelf(parts: tuple[str, ...], group: str, name: str) -> TreePlace | None:
    """Read what lies in a group: a folder, or the table beside it."""
    is_table = name.endswith(TABLE)
    word = name.removesuffix(TABLE)
    what: _What = "table" if is_table else "folder"
    if group in (BY_KIND, VERSIONS):
        found = FileFolder(word, all_versions=group == VERSIONS)
        return TreePlace(parts, what, found) if word in FILE_KINDS else None
    if group == BY_TAG:
        tag = parse_tag_name(word)
        return None if tag is None else TreePlace(parts, what, tag=tag)
    if group != BY_DATE:
        return None
    if word == UNDATED:
        return TreePlace(parts, what, FileFolder(undated=True))
    span = _year(word)
    return None if span is None else TreePlace(parts, "table" if is_table else "year", span)


def _within(above: TreePlace, parts: tuple[str, ...], name: str) -> TreePlace | None:
    if above.what == "year":
        day = _day(name) if name.startswith(above.parts[-1]) else None
        return None if day is None else TreePlace(parts, "folder", day)
    if above.what != "folder":
        return None
    file = parse_file_name(name, with_version=above.folder.all_versions)
    if file is None or above.folder.kind not in (None, file.kind):
        return None
    return TreePlace(parts, "file", replace(above.folder, kind=file.kind), above.tag, file)


def _year(word: str) -> FileFolder | None:
    if not _YEAR.fullmatch(word) or not 1 <= int(word) < 9999:
        return None
    return FileFolder(start=datetime(int(word), 1, 1, tzinfo=UTC), stop=datetime(int(word) + 1, 1, 1, tzinfo=UTC))


def _day(word: str) -> FileFolder | None:
    if not _DAY.fullmatch(word):
        return None
    try:
        start = datetime.fromisoformat(word).replace(tzinfo=UTC)
    except ValueError:
        return None
    return FileFolder(start=start, stop=start + timedelta(days=1))
