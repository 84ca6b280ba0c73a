"""Names of files and folders: made of names of products and tags alone, and turned back into these.

Letters of any script, blanks and most marks stay as they are. What file systems, shells, DS9 or CFITSIO read as
something else is written as ``%`` and two hexadecimal digits for each byte of UTF-8, as in web addresses. A name that
is too long for a file is cut, and ends in ``~`` and 16 digits of its SHA-256: such a one is looked up.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ..index.folders import FILE_KINDS
from ..model.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..index.folders import FileRow

__all__ = ["FileName", "Stem", "escape", "file_name", "parse_file_name", "parse_stem", "parse_tag_name", "tag_name"]

BENCH_SUFFIX = "raw"
"""A ground test's file is no Level-1b file, which `uncal` would mean."""

_MOST_BYTES = 200
"""Of a name in a file's: with ``_v2147483647_exposurestatistics.fits`` it stays below 255, the most a name may have."""
_DIGITS = 16
_CUT = "~"

_MEANT = frozenset("%/\\~[]()")
r"""``%`` and ``~`` mark what was changed; ``/`` and ``\`` part folders; CFITSIO and DS9 read brackets as an extension,
and parentheses as a copy."""
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_FIRST = frozenset(". -!@")
"""A dot hides a file, a minus begins an option; CFITSIO reads ``!`` and ``@`` at the beginning."""
_LAST = frozenset(". ")

_PLAIN = re.compile(rf"(?=.{{1,{_MOST_BYTES}}}\Z)\w(?:[\w .+,=-]*[\w+,=-])?", re.ASCII)
"""Names that stay as they are, found ten times as fast: nearly all."""
_ESCAPED = re.compile(r"[^%]*(?:%[0-9A-F]{2}[^%]*)*")
_FILE = re.compile(r"(.*)_([a-z]+)\.fits", re.DOTALL)
_VERSION = re.compile(r"(.*)_v(0|[1-9][0-9]{0,9})", re.DOTALL)
_CUT_STEM = re.compile(rf"([^~]+){_CUT}([0-9a-f]{{{_DIGITS}}})", re.DOTALL)

_HIDDEN_CSV = re.compile(r"%2E(?=csv\Z)", re.IGNORECASE)

_SUFFIXES = {kind: KINDS[kind].suffix or kind.lower() for kind in FILE_KINDS}
_KINDS = {suffix: kind for kind, suffix in _SUFFIXES.items()} | {BENCH_SUFFIX: "Raw"}


@dataclass(frozen=True, slots=True)
class Stem:
    """What a part of a path says of a name.

    Attributes
    ----------
    name : str
        The name, or its beginning.
    digest : str
        How the SHA-256 of the whole name begins, hexadecimal; empty if `name` is all of it.
    """

    name: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class FileName:
    """What a file's name says.

    Attributes
    ----------
    kind : str
        Of the product.
    stem : Stem
        Its name.
    version : int or None
        Its version; None for the name of a file in a folder that holds one version of each product.
    """

    kind: str
    stem: Stem
    version: int | None = None


def escape(name: str) -> str:
    """Write a name as a part of a path.

    Parameters
    ----------
    name : str
        Any text.

    Returns
    -------
    str
        At most 200 bytes of UTF-8; different for different names.
    """
    if _PLAIN.fullmatch(name):
        return name
    parts = list(_escaped(name))
    if sum(len(part.encode()) for part in parts) <= _MOST_BYTES:
        return "".join(parts)
    room = _MOST_BYTES - len(_CUT) - _DIGITS
    for kept, part in enumerate(parts):
        room -= len(part.encode())
        if room < 0:
            return "".join(parts[:kept]) + _CUT + _digest(name)
    raise AssertionError("a name that is longer than the room for it ends before it does")


def _digest(name: str) -> str:
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def _escaped(name: str) -> Iterator[str]:
    """Give each character as it is written."""
    end = len(name) - 1
    for i, char in enumerate(name):
        at_edge = (i == 0 and char in _FIRST) or (i == end and char in _LAST)
        if at_edge or char in _MEANT or unicodedata.category(char) in _UNSEEN:
            yield _quoted(char)
        else:
            yield char


def _quoted(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def parse_stem(text: str) -> Stem | None:
    """Read what `escape` wrote.

    Parameters
    ----------
    text : str
        A part of a path.

    Returns
    -------
    Stem or None
        None for what `escape` does not write.
    """
    cut = _CUT_STEM.fullmatch(text)
    written = text if cut is None else cut[1]
    if not _ESCAPED.fullmatch(written):
        return None
    try:
        name = unquote_to_bytes(written.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    if cut is not None:
        return Stem(name, cut[2])
    return Stem(name) if escape(name) == text else None


def tag_name(label: str) -> str:
    """Write a tag as the name of a folder.

    Parameters
    ----------
    label : str
        The tag.

    Returns
    -------
    str
        As `escape` writes it; a table's ending is not left as it is, for the tag ``a`` has the table ``a.csv``.
    """
    written = escape(label)
    return f"{written[:-4]}%2E{written[-3:]}" if written.lower().endswith(".csv") else written


def parse_tag_name(text: str) -> Stem | None:
    """Read what `tag_name` wrote.

    Parameters
    ----------
    text : str
        Name of a folder.

    Returns
    -------
    Stem or None
        None for what `tag_name` does not write.
    """
    for written in (text, _HIDDEN_CSV.sub(".", text)):
        stem = parse_stem(written)
        if stem is not None and (stem.digest or tag_name(stem.name) == text):
            return stem
    return None


def file_name(row: FileRow, *, with_version: bool) -> str:
    """Give the name of a version's file.

    Parameters
    ----------
    row : FileRow
        The version.
    with_version : bool, keyword-only
        For a folder that holds several versions of a product.

    Returns
    -------
    str
        E.g. ``a_ramp.fits`` or ``a_v3_ramp.fits``.
    """
    suffix = BENCH_SUFFIX if row.is_bench else _SUFFIXES[row.kind]
    number = f"_v{row.version}" if with_version else ""
    return f"{escape(row.name)}{number}_{suffix}.fits"


def parse_file_name(text: str, *, with_version: bool) -> FileName | None:
    """Read the name of a version's file.

    Parameters
    ----------
    text : str
        The file's name.
    with_version : bool, keyword-only
        As for `file_name`.

    Returns
    -------
    FileName or None
        None for what `file_name` does not write. Whether there is such a version has to be looked up; the name of the
        version found may still be another, where a raw file is a ground test's.
    """
    found = _FILE.fullmatch(text)
    if found is None or found[2] not in _KINDS:
        return None
    written, version = found[1], None
    if with_version:
        numbered = _VERSION.fullmatch(written)
        if numbered is None or int(numbered[2]) >= 1 << 31:
            return None
        written, version = numbered[1], int(numbered[2])
    stem = parse_stem(written)
    return None if stem is None else FileName(_KINDS[found[2]], stem, version)
