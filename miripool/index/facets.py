"""Facets: how many products of a table have each value of a column.

All columns of `product` with few values are counted by one scan (GROUPING SETS): of 1,000,000 products, six columns
take 0.6 s and thirteen 1.0 s, where a GROUP BY for each takes 0.2 s, and one of all combinations 1.8 to 2.9 s. A
keyword that is no column of `product` is counted from its index. The counts are kept while the index stands where it
does.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, cast, func, null, or_, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import aggregate_order_by

from ..query.tree import Keyword
from .compile import column_of
from .page import FEW_VALUES
from .schema import keyword, product, tag
from .selection import is_one_of
from .sets import branches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Column, ColumnElement, Select, Subquery

    from ..query.places import Names
    from .page import Table

__all__ = ["TAGS", "Facet", "count_values"]

TAGS = "tags"
"""Name of the column whose values are the labels of tags."""

_PATIENCE = 10
"""Counts of a large pool, into which others save, may be ten times as old as they took: a second becomes ten."""

_VALUE = ("number", "flag", "text")
"""Columns of `keyword`, of which a value is in one."""

_EXACT = 2.0**53
"""Below this, a float that is a whole number is that number."""


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of a column and how many products have each.

    Attributes
    ----------
    column : str
        As it was asked for.
    values : list of (value, int)
        The most frequent values with the number of products, the most frequent first, then by value. For the column
        ``tags``, labels with the number of versions that they mark.
    missing : int
        Products without a value.
    more : int
        Further values that are not listed.
    exact : bool
        Whether all products that match were looked at; in a pool that others save into, some seconds ago.
    """

    column: str
    values: list[tuple[Any, int]]
    missing: int
    more: int
    exact: bool


class _Counts(NamedTuple):
    """The most frequent values of a column."""

    values: list[tuple[Any, int]]
    missing: int
    distinct: int


def count_values(table: Table, columns: Sequence[str], values: int, *, names: Names) -> list[Facet]:
    """Count the values of columns.

    Parameters
    ----------
    table : Table
        The products.
    columns : sequence of str
        Fields and keywords in any form, and ``tags``.
    values : int
        Most values to list of each.
    names : Names, keyword-only
        Dictionary of keywords.

    Returns
    -------
    list of Facet
        One for each column.
    """
    exact = not table.is_sampled or table.sample().whole
    places = [column if column == TAGS else column_of(column, names=names) for column in columns]
    counted: dict[str | Keyword, _Counts] = {}
    few = tuple(dict.fromkeys(p for p in places if isinstance(p, str) and p in FEW_VALUES))
    if few:
        counted |= table.keep(
            ("few", table.most, few), lambda: _scan(table, [product.c[name] for name in few]), patience=_PATIENCE
        )
    facets = []
    for column, place in zip(columns, places, strict=True):
        counts = counted[place] if place in counted else _count_one(table, place, values)
        shown = [(_plain(value), n) for value, n in counts.values[:values]]
        facets.append(Facet(column, shown, counts.missing, counts.distinct - len(shown), exact))
    return facets


def _rows(table: Table) -> ColumnElement[bool]:
    """Give the condition on the products that are counted."""
    if not table.is_sampled:
        return table.rows()
    return table.rows(is_one_of(product.c.serial, table.sample().serials))


def _scan(table: Table, columns: Sequence[Column[Any]]) -> dict[str | Keyword, _Counts]:
    """Count columns with few values by one scan."""
    sets = func.grouping_sets(*(tuple_(column) for column in columns))
    statement = select(func.grouping(*columns), *columns, func.count()).where(_rows(table)).group_by(sets)
    found: list[list[tuple[Any, int]]] = [[] for _ in columns]
    # The mask has a bit for each column, the last one's the lowest; it is 0 for the column that the row counts.
    every = (1 << len(columns)) - 1
    of = {every - (1 << (len(columns) - 1 - i)): i for i in range(len(columns))}
    for mask, *values, count in table.ask(statement):
        found[of[mask]].append((values[of[mask]], count))
    return {column.name: _sorted(counts) for column, counts in zip(columns, found, strict=True)}


def _sorted(counted: Iterable[tuple[Any, int]]) -> _Counts:
    listed = list(counted)
    values = sorted(((v, n) for v, n in listed if v is not None), key=lambda item: (-item[1], _rank(item[0])))
    return _Counts(values, sum(n for v, n in listed if v is None), len(values))


def _rank(value: Any) -> tuple[int, Any]:
    """Order values of all types: numbers, truth values and times before texts."""
    if isinstance(value, str):
        return 2, value
    return (1, value) if isinstance(value, (bool, datetime)) else (0, (value != value, value))


def _count_one(table: Table, place: str | Keyword, values: int) -> _Counts:
    def ask() -> _Counts:
        if place == TAGS:
            return _count_tags(table)
        if isinstance(place, Keyword):
            return _count_keyword(table, place, values)
        return _count_column(table, product.c[place], values)

    return table.keep(("one", table.most, place, values), ask, patience=_PATIENCE)


def _count_column(table: Table, column: Column[Any], values: int) -> _Counts:
    """Count a column that may have as many values as there are products."""
    counted = select(column.label("value"), func.count().label("n")).where(_rows(table)).group_by(column)
    return _most_frequent(table, counted.subquery(), ["value"], values)


def _count_keyword(table: Table, place: Keyword, values: int) -> _Counts:
    rows = union_all(*_keyword_rows(place)).subquery()
    if place.hdu is not None:  # several HDUs may have the name: the first one is meant
        place_of = func.row_number().over(partition_by=rows.c.serial, order_by=rows.c.hdu).label("place")
        placed = select(*rows.c, place_of).subquery()
        rows = select(*placed.c).where(placed.c.place == 1).subquery()
    value = [rows.c[name] for name in _VALUE]
    joined = select(*value, func.count().label("n")).join(product, product.c.serial == rows.c.serial)
    return _most_frequent(table, joined.where(_rows(table)).group_by(*value).subquery(), _VALUE, values)


def _keyword_rows(place: Keyword) -> Iterator[Select[Any]]:
    """Give the rows of a keyword, each select from one index."""
    k = keyword.alias()
    columns = [k.c[name] for name in ("serial", "hdu", *_VALUE)]
    here = [k.c.key == place.key]
    if place.hdu is not None:
        here += [k.c.hdu_name == place.hdu, k.c.occurrence == 0]
        yield select(*columns).where(*here, ~k.c.first)
    for of_index, there in branches(k):
        missing = {name for name in _VALUE if getattr(there, name) is None}
        shown = [cast(null(), c.type).label(c.name) if c.name in missing else c for c in columns]
        yield select(*shown).where(*here, k.c.first, of_index)


def _most_frequent(table: Table, counted: Subquery, names: Sequence[str], values: int) -> _Counts:
    """Read the most frequent values; the server counts how many there are."""
    columns, n = [counted.c[name] for name in names], counted.c.n
    listed = select(*columns, n, func.count().over(), func.sum(n).over())
    listed = listed.where(or_(*(column.is_not(None) for column in columns)))
    order = [n.desc(), *(column.asc().nulls_last() for column in columns)]
    found = table.ask(listed.order_by(*order).limit(max(values, 1)))
    distinct, there = found[0][-2:] if found else (0, 0)
    shown = [(next(value for value in row[:-3] if value is not None), row[-3]) for row in found]
    return _Counts(shown, table.total()[0] - int(there), distinct)


def _count_tags(table: Table) -> _Counts:
    """Count labels, and the products that have any, by one scan: products have few combinations of labels."""
    # What is in the trash shows no tags.
    where = and_(_rows(table), product.c.removed.is_(None))
    labels = func.array_agg(aggregate_order_by(tag.c.label, tag.c.label)).label("labels")
    marked = select(labels).join(product, product.c.serial == tag.c.serial).where(where).group_by(tag.c.serial)
    sets = marked.subquery()
    counted: Counter[str] = Counter()
    products = 0
    for combination, n in table.ask(select(sets.c.labels, func.count()).group_by(sets.c.labels)):
        products += n
        counted.update(dict.fromkeys(combination, n))
    return _sorted(counted.items())._replace(missing=table.total()[0] - products)


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value
