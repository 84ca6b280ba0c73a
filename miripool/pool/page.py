"""Pages and facets of a pool: what a table of products shows at a time, and what it can be narrowed by."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..index.compile import column_of
from ..index.completion import values_from
from ..index.facets import TAGS, Facet, count_values
from ..index.page import Scope, Table
from ..model.keywords import dictionary
from ..model.kinds import kind_class, kinds_matching
from ..model.product import Product
from ..query.division import split
from ..query.queries import PixelQuery
from . import tags
from .find import as_asked
from .listing import FIELDS
from .scan import judge
from .select import select, sort_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..index import ProductRow
    from ..query import Query
    from ..query.tree import Node
    from .core import Core

__all__ = ["FACETS", "Facet", "Page", "facets", "keyword_names", "keyword_values", "page"]

FACETS = ("kind", "detector", "filter", "subarray", "readpatt", "exp_type", "channel", "band")
"""Columns that a table is narrowed by unless others are asked for."""

_ROWS = 100
"""Products that are read from the index at a time while their data are looked at."""

_FIRST = 1_000
"""Products that are looked for at first: to sort all of 1,000,000 and to fetch their numbers takes 2 s."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some consecutive rows of a table of products.

    Attributes
    ----------
    rows : list of ProductRow
        In the order asked for.
    total : int
        Rows of the whole table; if not `exact`, there are more.
    exact : bool
        Whether `total` is all.
    offset : int
        Rows before the first one.
    """

    rows: list[ProductRow]
    total: int
    exact: bool
    offset: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that is ready to be answered."""

    query: Query
    table: Table
    rest: Node | None
    """What the index can't answer."""


def page(
    core: Core,
    query: Any = "1",
    *,
    kinds: Sequence[str] | None = None,
    tag: str | None = None,
    all_versions: bool = False,
    trash: bool = False,
    order: str | Sequence[str] = ("-created",),
    limit: int = 100,
    offset: int = 0,
    most: int = 10_000,
) -> Page:
    """Give a page of a table of products.

    Parameters
    ----------
    core : Core
        The pool.
    query : Query, or what `as_query` makes one of, optional
        What to look for.
    kinds : sequence of str, keyword-only, optional
        Only these kinds, whichever the query asks for.
    tag : str, keyword-only, optional
        The versions that this tag marks.
    all_versions : bool, keyword-only
        Every living version, not only the heads.
    trash : bool, keyword-only
        The versions in the trash.
    order : str or sequence of str, keyword-only
        Fields and keywords; those with a ``-`` descending. What has no value comes last; the serial decides between
        equals.
    limit, offset : int, keyword-only
        How many rows, and how many to pass over.
    most : int, keyword-only
        Up to where to count the products that satisfy a predicate.

    Returns
    -------
    Page
        The rows. Under a condition on data, products are read until the page is full, and `total` is what was found.

    Raises
    ------
    UnknownKeyword, QueryError, TagNotFound, InvalidInput
        As for `Pool.select`.
    Interrupted
        If the thread was stopped, see `miripool.index.Interrupt`.
    """
    _refuse_numbers(limit=limit, offset=offset, most=most)
    keys = sort_keys(order)
    asked = _ask(core, query, keys, kinds, tag, most, all_versions=all_versions, trash=trash)
    if asked.rest is not None or isinstance(asked.query, PixelQuery):
        found, exact = _search(core, asked, keys, offset + limit)
        return Page(core.catalog.rows(found[offset : offset + limit]), len(found), exact, offset)
    total, exact = asked.table.total()
    serials = asked.table.serials(keys, names=dictionary(), limit=limit, offset=offset)
    return Page(core.catalog.rows(serials), total, exact, offset)


def facets(
    core: Core,
    query: Any = "1",
    *,
    kinds: Sequence[str] | None = None,
    tag: str | None = None,
    all_versions: bool = False,
    trash: bool = False,
    columns: Sequence[str] = FACETS,
    most: int = 10_000,
    values: int = 30,
) -> list[Facet]:
    """Count how many products have each value of some columns.

    Parameters
    ----------
    core : Core
        The pool.
    query, kinds, tag, all_versions, trash : object
        As for `page`.
    columns : sequence of str, keyword-only
        Fields and keywords in any form, and ``tags``.
    most : int, keyword-only
        Look at no more products that satisfy a predicate.
    values : int, keyword-only
        Most values to list of a column.

    Returns
    -------
    list of Facet
        One for each column. Without a predicate the counts are exact.

    Raises
    ------
    UnknownKeyword, QueryError, TagNotFound, InvalidInput
        As for `Pool.select`; InvalidInput also for a column that is different for each product.
    """
    _refuse_numbers(most=most, values=values)
    if "urn" in columns:
        raise InvalidInput("every product has a urn of its own; count another column")
    named = [column for column in columns if column != TAGS]
    asked = _ask(core, query, named, kinds, tag, most, all_versions=all_versions, trash=trash)
    if asked.rest is not None or isinstance(asked.query, PixelQuery):
        found, exact = _search(core, asked, [], most + 1)
        asked.table.give_sample(found, whole=exact and len(found) <= most)
    return count_values(asked.table, columns, values, names=dictionary())


def keyword_names(core: Core, prefix: str, limit: int = 20) -> list[str]:
    """List fields and keywords, to complete what is being typed.

    Parameters
    ----------
    core : Core
        The pool; its index is not caught up.
    prefix : str
        How they begin, or what they contain; in any case.
    limit : int, optional
        Most names to give.

    Returns
    -------
    list of str
        First those that begin so, fields before keywords. A field stands for the keyword of the same name.
    """
    _refuse_numbers(limit=limit)
    wanted = prefix.strip().lower()
    names = {name.lower(): name for name in (*core.catalog.keywords(), *reversed(FIELDS))}
    found = [name for name in (*FIELDS, *core.catalog.keywords()) if names[name.lower()] == name]
    begin = [name for name in found if name.lower().startswith(wanted)]
    contain = [name for name in found if wanted in name.lower() and not name.lower().startswith(wanted)]
    return [*begin, *contain][:limit]


def keyword_values(core: Core, key: str, prefix: str = "", limit: int = 20) -> list[Any]:
    """List values that a field or keyword has in any version, to complete what is being typed.

    Parameters
    ----------
    core : Core
        The pool; its index is not caught up.
    key : str
        Field or keyword in any form, or ``tags``.
    prefix : str, optional
        How they begin.
    limit : int, optional
        Most values to give.

    Returns
    -------
    list
        In order, each once: numbers, truth values, texts. Of numbers and times the first 300 different ones are looked
        at. Empty for fields that are different for each version, and for keywords that no product has.
    """
    _refuse_numbers(limit=limit)
    place = TAGS if key.strip() == TAGS else column_of(key.strip(), names=dictionary())
    with core.catalog.database.immediately() as connection:
        return values_from(connection, place, prefix, limit)


def _refuse_numbers(**given: object) -> None:
    for name, number in given.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 53:
            raise InvalidInput(f"{name} is {number!r}; it must be a whole number, 0 or more")


def _ask(
    core: Core,
    query: Any,
    names: Sequence[str],
    kinds: Sequence[str] | None,
    tag: str | None,
    most: int,
    *,
    all_versions: bool,
    trash: bool,
) -> _Asked:
    tags.check_tag(tag)
    asked, label = as_asked(core, query, tag, names)
    position = core.catch_up()
    sql, rest = split(asked.node)
    beyond = asked if rest is not None or isinstance(asked, PixelQuery) else None
    scope = Scope(sql, core.name, _kinds(asked, kinds), all_versions or asked.all_versions, label, trash, beyond)
    return _Asked(asked, Table(core.catalog, scope, position, most), rest)


def _kinds(asked: Query, kinds: Sequence[str] | None) -> tuple[str, ...]:
    if kinds is None:
        return tuple(asked.kinds)
    named = dict.fromkeys(kind_class(kind).kind for kind in kinds)
    if tuple(asked.kinds) == tuple(kinds_matching(Product)):
        return tuple(named)
    return tuple(kind for kind in named if kind in asked.kinds)


def _search(core: Core, asked: _Asked, keys: Sequence[str], most: int) -> tuple[list[int], bool]:
    """Find what the index alone can't: products in order until there are `most`; tell whether these are all."""
    table, query = asked.table, asked.query
    scope = table.scope
    if isinstance(query, PixelQuery):
        if scope.removed:
            raise InvalidInput("pixels of products in the trash can't be searched; restore the products first")
        if not scope.kinds:
            return [], True
        return select(core, query, tag=scope.tag, all_versions=scope.all_versions, order=keys), True
    found: list[int] = []
    if asked.rest is None or most == 0:
        return found, False
    with closing(judge(core, _rows(core, table, keys), asked.rest)) as judged:
        for row, matches in judged:
            if matches:
                found.append(row.serial)
                if len(found) == most:
                    # There may be none after it; to know that, all would have to be read.
                    return found, False
    return found, True


def _rows(core: Core, table: Table, keys: Sequence[str]) -> Iterator[ProductRow]:
    """Give the rows of a table in order: the first ones at once, for mostly no more are wanted."""
    serials = table.serials(keys, names=dictionary(), limit=_FIRST)
    if len(serials) == _FIRST:
        serials += table.serials(keys, names=dictionary(), limit=None, offset=_FIRST)
    for start in range(0, len(serials), _ROWS):
        yield from core.catalog.rows(serials[start : start + _ROWS])
