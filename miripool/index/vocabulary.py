"""What keywords a pool has, and what values they take: for tables, checks and suggestions."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, Text, cast, exists, func, select

from .keyword_indexes import LONG_TEXT
from .schema import dataset, keyword, keyword_name
from .selection import is_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, Connection, Select

    from .connection import Database
    from .rows import KeywordValue

__all__ = [
    "datasets",
    "has_keyword",
    "keyword_types",
    "keyword_values",
    "keywords",
    "nearest_values",
    "steps",
    "values_near",
]

_DISTINCT = 300
"""Values looked at for suggestions: each is one step down an index, some 20 microseconds."""


def keywords(connection: Connection) -> list[str]:
    """List all keywords.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        To the pool's schema.

    Returns
    -------
    list of str
        Sorted, each once.
    """
    statement = select(keyword_name.c.key).distinct().order_by(keyword_name.c.key)
    return list(connection.execute(statement).scalars())


def datasets(database: Database) -> list[str]:
    """List the names of the datasets of all products.

    Parameters
    ----------
    database : Database
        The index.

    Returns
    -------
    list of str
        Sorted, each once.
    """
    with database.read() as connection:
        return list(connection.execute(select(dataset.c.name).distinct().order_by(dataset.c.name)).scalars())


def has_keyword(connection: Connection, key: str, hdu: str | None = None) -> bool:
    """Tell whether any product has, or had, a keyword.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        To the pool's schema.
    key : str
        Upper case.
    hdu : str, optional
        Name of the HDU; any if left out.

    Returns
    -------
    bool
        True if so.
    """
    names = select(keyword_name.c.key).where(keyword_name.c.key == key)
    if hdu is not None:
        names = names.where(keyword_name.c.hdu_name == _plain(hdu))
    return bool(connection.execute(select(exists(names))).scalar_one())


def keyword_types(connection: Connection, key: str, hdu: str | None = None) -> frozenset[str]:
    """Tell what types the values of a keyword have.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        To the pool's schema.
    key : str
        Upper case.
    hdu : str, optional
        Name of the HDU; what the bare name means if left out.

    Returns
    -------
    frozenset of str
        Of ``number``, ``text`` (that is no time), ``time`` and ``flag``; empty if no product has a value.
    """
    k = keyword.c
    short = func.octet_length(k.text) <= LONG_TEXT
    # Each as one of the partial indexes has it.
    kinds: dict[str, list[Any]] = {
        "number": [k.number.is_not(None)],
        "time": [k.time.is_not(None), short],
        "text": [k.time.is_(None), short],
        "long": [func.octet_length(k.text) > LONG_TEXT],
        "flag": [k.number.is_(None), k.text.is_(None), k.flag.is_not(None)],
    }
    places = _places(key, hdu)
    asked = [exists(select(k.serial).where(*place, *that)) for that in kinds.values() for place in places]
    row: Sequence[Any] = connection.execute(select(*(one.label(f"a{i}") for i, one in enumerate(asked)))).one()
    answers = iter(row)
    found = {kind for kind in kinds for _ in places if next(answers)}
    return frozenset("text" if kind == "long" else kind for kind in found)


def _places(key: str, hdu: str | None) -> list[list[Any]]:
    """Give the conditions that find a keyword's rows: what the bare name means, or those of one HDU."""
    k = keyword.c
    if hdu is None:
        return [[k.key == key, k.first]]
    return [[k.key == key, first, k.hdu_name == _plain(hdu)] for first in (k.first, ~k.first)]


def nearest_values(database: Database, key: str, hdu: str | None, value: float | datetime) -> list[float | datetime]:
    """Find numbers or times that a keyword has, for suggestions.

    Parameters
    ----------
    database : Database
        The pool's.
    key : str
        Upper case.
    hdu : str or None
        Name of the HDU; None for what the bare name means.
    value : float or datetime
        What was asked for.

    Returns
    -------
    list of float or datetime
        Sorted: the smallest, those next to `value`, the largest; of all versions.
    """
    k = keyword.c
    numbers = isinstance(value, (int, float))
    column: Any = k.number if numbers else k.time
    is_short = () if numbers else (func.octet_length(k.text) <= LONG_TEXT,)
    found: set[Any] = set()
    with database.read() as connection:
        for place in _places(key, hdu):
            here = select(column).where(*place, column.is_not(None), *is_short)
            for beyond, order in (
                ((), column.asc()),
                ((), column.desc()),
                ((column <= value,), column.desc()),
                ((column >= value,), column.asc()),
            ):
                found.update(connection.execute(here.where(*beyond).order_by(order).limit(1)).scalars())
    return sorted(found)


def keyword_values(
    connection: Connection, serials: Sequence[int], keys: Sequence[tuple[str | None, str]]
) -> dict[int, dict[tuple[str | None, str], KeywordValue]]:
    """Read the values of some keywords of many products, in one statement.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        To the pool's schema.
    serials : sequence of int
        The versions.
    keys : sequence of (str or None, str)
        HDU and keyword; without an HDU, what the bare name means.

    Returns
    -------
    dict
        For each serial that has any of them, the values by key; missing keywords are left out.
    """
    found: dict[int, dict[tuple[str | None, str], KeywordValue]] = {}
    wanted: dict[tuple[str | None, str], list[tuple[str | None, str]]] = {}
    for hdu, key in keys:
        wanted.setdefault((None if hdu is None else _plain(hdu), key), []).append((hdu, key))
    if not wanted or not serials:
        return found
    k = keyword.c
    statement = select(k.serial, k.hdu_name, k.key, k.first, k.number, k.text, k.flag).where(
        is_one_of(k.serial, serials),
        k.key == func.any(cast(sorted({key for _, key in wanted}), ARRAY(Text))),
        k.occurrence == 0,
    )
    if all(hdu is None for hdu, _ in wanted):
        statement = statement.where(k.first)
    for serial, hdu_name, key, first, number, words, flag in connection.execute(statement.order_by(k.serial, k.hdu)):
        value = number if number is not None else words if words is not None else flag
        values = found.setdefault(serial, {})
        if first:
            values.update(dict.fromkeys(wanted.get((None, key), ()), value))
        # Names that differ in case only: the first HDU is meant.
        for asked in wanted.get((hdu_name, key), ()):
            values.setdefault(asked, value)
    return found


def _plain(hdu: str) -> str:
    """Give the name of an HDU as it is compared: like `MetaData` does, in any case, ``SCI,1`` being ``SCI``."""
    return hdu.upper().removesuffix(",1")


def values_near(connection: Connection, key: str, value: str, limit: int = 5) -> list[str]:
    """Find texts that a bare keyword has and that resemble another; dates and texts of over 500 bytes left out.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        To the pool's schema.
    key : str
        Upper case.
    value : str
        What was asked for.
    limit : int, optional
        Most texts to give.

    Returns
    -------
    list of str
        The nearest first; where none is near, the first ones in order.
    """
    around = {*_distinct(connection, key, ""), *_distinct(connection, key, value[:3])}
    ordered = sorted(around)
    by_lower = {text.casefold(): text for text in reversed(ordered)}
    near = difflib.get_close_matches(value.casefold(), by_lower, n=limit, cutoff=0.5)
    return [by_lower[text] for text in near] or ordered[:limit]


def _distinct(connection: Connection, key: str, start: str) -> list[str]:
    """List different texts from `start` on, by a step down the index for each instead of a scan."""
    # As the index `keyword_text` has it; without an index, this would take minutes.
    short = func.octet_length(keyword.c.text) <= LONG_TEXT
    here = (keyword.c.key == key, keyword.c.first, keyword.c.time.is_(None), short)
    return steps(connection, keyword.c.text, here, start=start)


def steps(
    connection: Connection,
    column: Column[Any],
    where: Sequence[ColumnElement[bool]] = (),
    *,
    start: Any = None,
    limit: int = _DISTINCT,
) -> list[Any]:
    """List different values in order, by a step down an index for each instead of a scan.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        To the pool's schema.
    column : sqlalchemy.Column
        An index begins with it, after what `where` fixes.
    where : sequence of sqlalchemy.ColumnElement
        Conditions, as the index has them.
    start : object, keyword-only, optional
        The first value that is wanted.
    limit : int, keyword-only
        Most values to give.

    Returns
    -------
    list
        Each once, NULL left out.
    """

    def following(after: Any) -> Select[Any]:
        return select(column).where(*where, after).order_by(column).limit(1)

    # A sub-select in brackets: without them, its ORDER BY would be the union's.
    begin = column.is_not(None) if start is None else column >= start
    first = select(following(begin).scalar_subquery().label("value"))
    values = first.cte("distinct_value", recursive=True)
    later = following(column > values.c.value).correlate(values).scalar_subquery()
    values = values.union_all(select(later).where(values.c.value.is_not(None)))
    statement = select(values.c.value).where(values.c.value.is_not(None)).limit(limit)
    return list(connection.execute(statement).scalars())
