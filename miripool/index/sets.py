"""Conditions as sets of serials, each from one index of `keyword` (see `miripool.index.keyword_indexes`)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, select, true

from ..query.tree import (
    And,
    Compare,
    Covers,
    HasDataset,
    HasKey,
    HasTag,
    In,
    IsNull,
    Keyword,
    Like,
    Literal,
    Node,
    Not,
    Or,
    Overlaps,
    Range,
    Statistic,
    Truth,
)
from .keyword_indexes import LONG_TEXT
from .predicates import Columns, condition, is_never
from .rowconditions import sources, statistic_columns
from .schema import dataset, keyword, tag
from .skyconditions import find_footprints, is_near

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["Candidates", "branches", "find_candidates", "has_range", "keyword_order", "scan_datasets"]


class Candidates(NamedTuple):
    """Serials that may satisfy a condition.

    Attributes
    ----------
    selects : tuple of Select
        Together they give all of them, some perhaps twice.
    exact : bool
        Whether all of them satisfy it.
    """

    selects: tuple[Select[Any], ...]
    exact: bool = True


def find_candidates(node: Node) -> Candidates | None:
    """Give a condition as a set.

    Parameters
    ----------
    node : Node
        In normal form.

    Returns
    -------
    Candidates or None
        None if no index helps.
    """
    seen = find_footprints(node)
    if seen is not None:
        return Candidates((seen,))
    if isinstance(node, HasTag):
        return Candidates((select(tag.c.serial).where(tag.c.label == node.label),))
    if isinstance(node, Or) and node.parts:
        found = [find_candidates(part) for part in node.parts]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            return None
        return Candidates(tuple(s for one in known for s in one.selects), all(one.exact for one in known))
    if isinstance(node, And):
        first = next((one for part in node.parts if (one := find_candidates(part)) is not None), None)
        return None if first is None else Candidates(first.selects, exact=False)
    used = sources(node)
    if len(used) != 1 or not isinstance(used[0], Keyword) or isinstance(node, IsNull):
        return None
    if isinstance(node, Not) and isinstance(node.part, HasKey):
        return None
    return Candidates(tuple(_of_keyword(node, used[0])), exact=used[0].hdu is None)


def has_range(node: Node) -> bool:
    """Tell whether the server finds a condition's set without looking at all values of the keyword.

    Parameters
    ----------
    node : Node
        In normal form.

    Returns
    -------
    bool
        True for comparisons of keywords with constants, for texts whose beginning is known, and for places on the sky.
    """
    if isinstance(node, Or):
        return all(map(has_range, node.parts))
    if isinstance(node, (HasKey, HasTag, Covers, Overlaps)) or is_near(node):
        return True
    if isinstance(node, Compare):
        return node.op != "!=" and isinstance(node.left, Keyword) and isinstance(node.right, Literal)
    if isinstance(node, Like):
        return isinstance(node.operand, Keyword) and node.pattern[:1] not in ("", "%", "_")
    return isinstance(node, (Range, In, Truth)) and isinstance(node.operand, Keyword)


def _of_keyword(node: Node, place: Keyword) -> Iterator[Select[Any]]:
    k = keyword.alias()
    for partial, columns in branches(k):
        found = _on_row(node, columns)
        if not is_never(found):
            where = [k.c.key == place.key, k.c.first, partial, found]
            if place.hdu is not None:
                where.append(k.c.hdu_name == place.hdu)
            yield select(k.c.serial).where(and_(*where))
    if place.hdu is not None:
        found = _on_row(node, Columns(k.c.number, k.c.text, k.c.flag, k.c.time))
        here = and_(k.c.key == place.key, k.c.hdu_name == place.hdu, k.c.occurrence == 0)
        yield select(k.c.serial).where(here, ~k.c.first, found)


def _on_row(node: Node, columns: Columns) -> ColumnElement[bool]:
    return true() if isinstance(node, HasKey) else condition(node, lambda _: columns)


def branches(k: Any) -> Iterator[tuple[ColumnElement[bool], Columns]]:
    """Tell how the partial indexes share the rows that a bare keyword means.

    Parameters
    ----------
    k : FromClause
        `keyword`, or an alias of it.

    Yields
    ------
    ColumnElement, Columns
        The condition of each index, and the columns that are not NULL where it holds.
    """
    c = k.c
    short = func.octet_length(c.text) <= LONG_TEXT
    yield c.number.is_not(None), Columns(number=c.number)
    yield and_(c.time.is_(None), short), Columns(text=c.text)
    yield and_(c.time.is_not(None), short), Columns(text=c.text, time=c.time, always_time=True)
    yield func.octet_length(c.text) > LONG_TEXT, Columns(text=c.text, time=c.time)
    yield and_(c.number.is_(None), c.text.is_(None)), Columns(flag=c.flag)


def keyword_order(types: Collection[str]) -> tuple[Any, ColumnElement[bool], list[ColumnElement[Any]]] | None:
    """Give what an order by a bare keyword reads, where one index has all its values in that order.

    Parameters
    ----------
    types : collection of str
        Of its values, from `miripool.index.vocabulary.keyword_types`.

    Returns
    -------
    tuple or None
        An alias of `keyword`, the condition of the index, and its columns in the order of `order_by`. None where values
        of several types would have to be merged.
    """
    if len(types) != 1:
        return None
    k = keyword.alias()
    short = func.octet_length(k.c.text) <= LONG_TEXT
    (only,) = types
    if only == "number":
        return k, k.c.number.is_not(None), [k.c.number]
    if only == "time":
        return k, and_(k.c.time.is_not(None), short), [k.c.time, k.c.text]
    if only == "text":
        return k, and_(k.c.time.is_(None), short), [k.c.text]
    return k, and_(k.c.number.is_(None), k.c.text.is_(None), k.c.flag.is_not(None)), [k.c.flag]


def scan_datasets(node: Node) -> Select[Any] | None:
    """Give a condition on the statistics of one named dataset as a set, by reading the whole table.

    Parameters
    ----------
    node : Node
        In normal form.

    Returns
    -------
    Select or None
        Cheaper than asking each product, where all products are asked.
    """
    used = sources(node)
    leaf = node.part if isinstance(node, Not) else node
    if len(used) != 1 or not isinstance(used[0], Statistic) or isinstance(leaf, (And, Or, IsNull, HasDataset)):
        return None
    name = used[0].dataset
    if name is None or name != name.upper():
        return None
    d = dataset.alias()
    found = condition(node, functools.partial(statistic_columns, d))
    return select(d.c.serial).where(d.c.name == name, found)
