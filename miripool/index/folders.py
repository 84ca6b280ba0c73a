"""Versions as a folder lists them: page by page, each from where the last one ended, and one by its name.

A folder may hold 250,000 versions. A page of it is read from an index that has the folder's order: `product` by kind,
name and version, `tag` by label, kind and name, `product` by the time of observation, or by serial.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import (
    ARRAY,
    DateTime,
    Integer,
    Interval,
    Text,
    bindparam,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    select,
    tuple_,
)

from ..model.keywords import BENCH
from ..model.kinds import KINDS, sources
from ..model.product import Context
from .schema import keyword, product, tag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, Select

    from .connection import Database

__all__ = [
    "FILE_KINDS",
    "PAGE",
    "FileFolder",
    "FileRow",
    "by_digest",
    "by_name",
    "can_be_stored",
    "has_any",
    "labels",
    "page",
    "periods",
]

FILE_KINDS = tuple(name for name, kind in KINDS.items() if not issubclass(kind.cls, Context))
"""Kinds whose products are FITS files; contexts are lists of others."""

PAGE = 1_000
"""Rows of a page: 5 ms to read, and some 0.5 MB."""

_p, _t = product.c, tag.c


@dataclass(frozen=True, slots=True)
class FileFolder:
    """Which versions a folder holds: the heads, unless it says otherwise.

    Attributes
    ----------
    kind : str or None
        Of this kind alone; None for all that have files.
    label : str or None
        The versions that this tag marks instead of heads.
    start, stop : datetime or None
        Observed from then on, and before; aware. Both or none.
    undated : bool
        Only those of which it is not known when they were observed.
    all_versions : bool
        All versions that are not in the trash.
    """

    kind: str | None = None
    label: str | None = None
    start: datetime | None = None
    stop: datetime | None = None
    undated: bool = False
    all_versions: bool = False

    @property
    def order(self) -> _Order:
        """What its pages follow."""
        if self.label is not None:
            return "label"
        if self.start is not None:
            return "time"
        return "track" if self.kind is not None else "serial"


_Order = Literal["label", "time", "track", "serial"]


class FileRow(NamedTuple):
    """A version, as far as its file's name, size and times need it.

    Attributes
    ----------
    serial : int
        The URN's number.
    kind, name : str
        Its track.
    version : int
        From 0 in each track.
    created : datetime
        When it was saved, aware UTC.
    manifest : str
        Digest of its manifest: names its content.
    bytes : int
        Size of its FITS file.
    start_time : datetime or None
        When it was observed, aware UTC.
    is_bench : bool
        Whether its file is a ground test's.
    """

    serial: int
    kind: str
    name: str
    version: int
    created: datetime
    manifest: str
    bytes: int
    start_time: datetime | None
    is_bench: bool


_BENCH_CARD = (
    select(keyword.c.serial)
    .where(keyword.c.serial == _p.serial, keyword.c.key == "BITPIX", keyword.c.hdu_name == BENCH)
    .correlate(product)
    .limit(1)
    .scalar_subquery()
)
"""A bench's header is kept beside those of the Level-1b file, and every FITS header has this card. Of an EXISTS,
PostgreSQL would look at all products' cards first: 35 ms for a page of 20,000 products, which now takes 5 ms."""

_IS_BENCH = case((_p.kind == func.any(cast(list(sources()), ARRAY(Text))), _BENCH_CARD.is_not(None)), else_=false())
_ROW = (_p.serial, _p.kind, _p.name, _p.version, _p.created, _p.manifest, _p.bytes, _p.start_time, _IS_BENCH)
_WITH_FILES = _p.kind == func.any(cast(list(FILE_KINDS), ARRAY(Text)))


def _after(columns: tuple[Column[Any], ...]) -> ColumnElement[bool]:
    """Give the condition that rows come after the last one of the page before."""
    given = (bindparam(f"after_{i}", type_=_type(column)) for i, column in enumerate(columns))
    return tuple_(*columns) > tuple_(*given)


def _type(column: Column[Any]) -> Any:
    return Text() if isinstance(column.type, Text) else column.type


_KEYS: dict[_Order, tuple[Column[Any], ...]] = {
    "label": (_t.kind, _t.name),
    "time": (_p.start_time, _p.serial),
    "track": (_p.name, _p.version),
    "serial": (_p.serial,),
}


def _after_values(folder: FileFolder, row: FileRow | None) -> dict[str, Any]:
    if row is None:
        return {}
    found = {
        "label": (row.kind, row.name),
        "time": (row.start_time, row.serial),
        "track": (row.name, row.version),
        "serial": (row.serial,),
    }[folder.order]
    return {f"after_{i}": value for i, value in enumerate(found)}


def _values(folder: FileFolder) -> dict[str, Any]:
    given = {"kind": folder.kind, "label": folder.label, "start": folder.start, "stop": folder.stop}
    return {name: value for name, value in given.items() if value is not None}


def _shape(folder: FileFolder) -> tuple[bool, bool, bool, bool, bool]:
    """Give all of a folder that its statements depend on."""
    named = folder.kind is not None, folder.label is not None, folder.start is not None
    return (*named, folder.undated, folder.all_versions)


def _conditions(kind: bool, label: bool, dated: bool, undated: bool, all_versions: bool) -> Iterator[Any]:
    yield _p.removed.is_(None) if all_versions or label else _p.head
    yield _p.kind == bindparam("kind", type_=Text()) if kind else _WITH_FILES
    if label:
        yield from (_t.serial == _p.serial, _t.label == bindparam("label", type_=Text()))
    if dated:
        yield _p.start_time >= bindparam("start", type_=DateTime(timezone=True))
        yield _p.start_time < bindparam("stop", type_=DateTime(timezone=True))
    if undated:
        yield _p.start_time.is_(None)


@functools.cache
def _page_statement(shape: tuple[bool, ...], order: _Order, goes_on: bool) -> Select[Any]:
    keys = _KEYS[order]
    statement = select(*_ROW).where(*_conditions(*shape))
    if goes_on:
        statement = statement.where(_after(keys))
    return statement.order_by(*keys).limit(bindparam("most", type_=Integer()))


def page(database: Database, folder: FileFolder, after: FileRow | None = None, most: int = PAGE) -> list[FileRow]:
    """Give some versions of a folder.

    Parameters
    ----------
    database : Database
        The pool's schema.
    folder : FileFolder
        The folder.
    after : FileRow, optional
        The last version of the page before; the first page unless given.
    most : int, optional
        How many to give.

    Returns
    -------
    list of FileRow
        By name and version; what a tag marks by kind and name; of a time by time; else by serial. Fewer than `most`
        only at the end.
    """
    statement = _page_statement(_shape(folder), folder.order, after is not None)
    values = {**_values(folder), **_after_values(folder, after), "most": most}
    return [FileRow(*row) for row in database.ask(*database.written(statement, **values))]


def can_be_stored(name: str) -> bool:
    """Tell whether a version or a tag may have a name: a path may hold what PostgreSQL can't store.

    Parameters
    ----------
    name : str
        Any text.

    Returns
    -------
    bool
        False for one with NUL or with bytes that are no UTF-8.
    """
    return "\0" not in name and name == name.encode(errors="ignore").decode()


def has_any(database: Database, folder: FileFolder) -> bool:
    """Tell whether a folder holds a version.

    Parameters
    ----------
    database, folder
        As for `page`.

    Returns
    -------
    bool
        True if so.
    """
    return bool(page(database, folder, most=1))


@functools.cache
def _named_statement(shape: tuple[bool, ...], of_version: bool, by_digest: bool) -> Select[Any]:
    statement = select(*_ROW).where(*_conditions(*shape))
    if of_version:
        statement = statement.where(_p.version == bindparam("version", type_=Integer()))
    if not by_digest:
        return statement.where(_p.name == bindparam("name", type_=Text()))
    digest = func.encode(func.sha256(func.convert_to(_p.name, "UTF8")), "hex")
    pattern = bindparam("pattern", type_=Text())
    return statement.where(_p.name.like(pattern), digest.startswith(bindparam("digest", type_=Text())))


def by_name(database: Database, folder: FileFolder, name: str, version: int | None = None) -> FileRow | None:
    """Find a version of a folder by its name.

    Parameters
    ----------
    database : Database
        The pool's schema.
    folder : FileFolder
        The folder; with a kind, for a name alone may be that of several products.
    name : str
        Of the product.
    version : int, optional
        Its number, in a folder of all versions.

    Returns
    -------
    FileRow or None
        None if the folder does not hold it.
    """
    return _one(database, folder, version, by_digest=False, name=name) if can_be_stored(name) else None


def by_digest(
    database: Database, folder: FileFolder, beginning: str, digest: str, version: int | None = None
) -> FileRow | None:
    """Find a version of a folder by the beginning of its name, and by the digest of all of it.

    Parameters
    ----------
    database, folder, version
        As for `by_name`.
    beginning : str
        Of the name; not empty.
    digest : str
        How the SHA-256 of the name in UTF-8 begins, hexadecimal.

    Returns
    -------
    FileRow or None
        None if the folder does not hold it.
    """
    pattern = re.sub(r"([\\%_])", r"\\\1", beginning) + "%"
    return _one(database, folder, version, by_digest=True, pattern=pattern, digest=digest)


def _one(
    database: Database, folder: FileFolder, version: int | None, *, by_digest: bool, **given: str
) -> FileRow | None:
    statement = _named_statement(_shape(folder), version is not None, by_digest)
    values = {**_values(folder), **given, **({} if version is None else {"version": version})}
    rows = database.ask(*database.written(statement, **values))
    return FileRow(*rows[0]) if rows else None


_MARKED = exists(select(_p.serial).where(_p.serial == _t.serial, _p.removed.is_(None), _WITH_FILES).correlate(tag))
_LABELS = select(_t.label).where(_MARKED).distinct().order_by(_t.label)


def labels(database: Database) -> list[str]:
    """List the tags that mark a file.

    Parameters
    ----------
    database : Database
        The pool's schema.

    Returns
    -------
    list of str
        By label.
    """
    return [label for (label,) in database.ask(*database.written(_LABELS))]


@functools.cache
def _periods_statement(unit: Literal["year", "day"]) -> Select[Any]:
    """Go from the first time of each period to the first one after it: one step down the index for each."""
    utc = DateTime(timezone=True)
    wanted = (_p.head, _WITH_FILES, _p.start_time < bindparam("stop", type_=utc))
    first = select(func.min(_p.start_time).label("time")).where(*wanted, _p.start_time >= bindparam("start", type_=utc))
    found = first.cte("found", recursive=True)
    beyond = func.date_trunc(unit, found.c.time, type_=utc) + cast(literal(f"1 {unit}"), Interval())
    following = select(func.min(_p.start_time)).where(*wanted, _p.start_time >= beyond).correlate(found)
    every = found.union_all(select(following.scalar_subquery()).where(found.c.time.is_not(None)))
    return select(every.c.time).where(every.c.time.is_not(None)).order_by(every.c.time)


def periods(database: Database, unit: Literal["year", "day"], start: datetime, stop: datetime) -> list[datetime]:
    """List the years, or days, in which heads were observed, in UTC.

    Parameters
    ----------
    database : Database
        The pool's schema.
    unit : {'year', 'day'}
        What to list.
    start, stop : datetime
        Between which times; aware.

    Returns
    -------
    list of datetime
        The first observation of each, in order.
    """
    statement = _periods_statement(unit)
    return [time for (time,) in database.ask(*database.written(statement, start=start, stop=stop))]
