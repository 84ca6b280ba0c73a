"""Predicates as SQL: what `miripool.query.values` says, over the tables of one pool.

A condition has two forms. As a *row* condition (`miripool.index.rowconditions`) it is computed for one product, from
its row of `keyword`, one step down the primary key. As a *set* (`miripool.index.sets`) it is a select of serials that
one index of `keyword` answers alone.

The planner can't know how many products a condition leaves: `key` and `number` depend on each other, and it takes
them for independent. Semi-joins of such conditions were planned up to 50 times too slow (figures in
`miripool.index.keyword_indexes`). So nothing is left to it: the condition that leaves few products, by a count that
stops at a limit (`count_matches`), gives the serials, and the others are row conditions on these. Where no condition
leaves few, the sets are intersected, which needs no estimate either. All of it stands in ``serial = ANY (ARRAY
(SELECT …))``, which is computed once, before `product` is touched.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    Double,
    Integer,
    and_,
    cast,
    extract,
    func,
    intersect,
    literal,
    select,
    true,
    union_all,
)

from ..query.places import FIELDS, find_keyword
from ..query.tree import Node, conjuncts
from .rowconditions import RowConditions, is_of_product, typed_condition
from .schema import TYPED_KEYWORDS, keyword, product
from .sets import Candidates, find_candidates, has_range, scan_datasets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from ..query.places import Names
    from ..query.tree import Keyword

__all__ = [
    "FEW",
    "column_of",
    "compile_among",
    "compile_where",
    "count_candidates",
    "count_matches",
    "order_by",
    "order_columns",
    "ordered",
]

FEW = 10_000
"""Products that are looked at one by one; each other condition takes some 2 microseconds for each of them."""

_KEPT = 256
"""Conditions of which what was written is kept: to write it takes longer than a small pool takes to answer."""

_TYPED = {key: column for column, key in TYPED_KEYWORDS.items()}


def compile_where(
    node: Node, *, pool: str | None = None, counts: Mapping[Node, int] | None = None
) -> ColumnElement[bool]:
    """Write a predicate as a condition on `product`.

    Parameters
    ----------
    node : Node
        In normal form; `miripool.query.division.index_answers` says that the index can answer it.
    pool : str, keyword-only, optional
        The pool's name, where the predicate asks for URNs.
    counts : mapping of Node to int, keyword-only, optional
        From `count_matches`; without, the answer is the same, and with several 100,000 versions takes longer.

    Returns
    -------
    ColumnElement
        Never NULL-sensitive: what is not known to be true does not match.
    """
    driver = min(counts, key=counts.__getitem__) if counts else None
    return _where(node, pool, driver if driver is not None and counts is not None and counts[driver] < FEW else None)


@functools.lru_cache(maxsize=_KEPT)
def _where(node: Node, pool: str | None, driver: Node | None) -> ColumnElement[bool]:
    parts = conjuncts(node)
    on_product = RowConditions(product.c.serial, product, pool)
    if driver is not None:
        return _drive(driver, parts, on_product, pool)
    chosen: list[ColumnElement[bool]] = []
    sets: list[Select[Any]] = []
    for part in parts:
        found = None if typed_condition(part) is not None else find_candidates(part) or _scan(part)
        if found is None or not found.exact:
            chosen.append(on_product.write(part))
        if found is not None:
            sets.append(_together(found))
    return and_(true(), *([_is_in(_intersect(sets))] if sets else []), *chosen)


def _scan(part: Node) -> Candidates | None:
    found = scan_datasets(part)
    return None if found is None else Candidates((found,))


def _drive(driver: Node, parts: Sequence[Node], on_product: RowConditions, pool: str | None) -> ColumnElement[bool]:
    """Ask the other conditions of the few products that one condition leaves."""
    candidates = find_candidates(driver)
    if candidates is None:
        raise TypeError("a condition was counted that is no set")
    few = _together(candidates).subquery()
    on_few = RowConditions(few.c.serial, few, pool)
    inner: list[ColumnElement[bool]] = []
    outer: list[ColumnElement[bool]] = []
    for part in parts:
        if part == driver and candidates.exact:
            continue
        if is_of_product(part) or typed_condition(part) is not None:
            outer.append(on_product.write(part))
        else:
            inner.append(on_few.write(part))
    return and_(_is_in(select(few.c.serial).where(and_(true(), *inner))), *outer)


def _together(candidates: Candidates) -> Select[Any]:
    if not candidates.selects:
        return select(product.c.serial).where(literal(1) == literal(0))
    if len(candidates.selects) == 1:
        return candidates.selects[0]
    united = union_all(*candidates.selects).subquery()
    return select(united.c.serial)


def _intersect(sets: Sequence[Select[Any]]) -> Any:
    return sets[0] if len(sets) == 1 else intersect(*sets)


def _is_in(serials: Any) -> ColumnElement[bool]:
    return product.c.serial == func.any(func.array(serials.scalar_subquery()))


def count_matches(connection: Connection, node: Node) -> dict[Node, int]:
    """Count how many products each condition leaves, up to `FEW`; one statement, below 2 ms.

    Parameters
    ----------
    connection : Connection
        To the index.
    node : Node
        As for `compile_where`.

    Returns
    -------
    dict of Node to int
        For those parts of the conjunction that are ranges of an index; empty if there is nothing to choose from.
    """
    parts, statement = _counting(node)
    return {} if statement is None else dict(zip(parts, connection.execute(statement).one(), strict=True))


def compile_among(
    node: Node, *, pool: str | None = None, driver: Node | None = None, most: int | None = None
) -> ColumnElement[bool]:
    """Write a predicate as conditions on each row of `product`, after a limited number of candidates if wanted.

    Parameters
    ----------
    node, pool : object
        As for `compile_where`.
    driver : Node, keyword-only, optional
        One of the parts that `count_candidates` counted: only products that it leaves are looked at.
    most : int, keyword-only, optional
        At most so many of them.

    Returns
    -------
    ColumnElement
        For few rows: each condition takes some 2 microseconds for each.
    """
    return _among(node, pool, driver, most)


@functools.lru_cache(maxsize=_KEPT)
def _among(node: Node, pool: str | None, driver: Node | None, most: int | None) -> ColumnElement[bool]:
    on_product = RowConditions(product.c.serial, product, pool)
    candidates = None if driver is None else find_candidates(driver)
    known = driver if candidates is not None and candidates.exact else None
    rows = [on_product.write(part) for part in conjuncts(node) if part != known]
    return and_(true(), *([] if candidates is None else [_is_in(_together(candidates).limit(most))]), *rows)


def count_candidates(connection: Connection, node: Node, most: int) -> dict[Node, int]:
    """Count how many products each condition leaves that is a range of an index, up to a limit.

    Parameters
    ----------
    connection : Connection
        To the index.
    node : Node
        As for `compile_where`.
    most : int
        Where to stop; 10,000 products take 1 ms.

    Returns
    -------
    dict of Node to int
        For those parts of the conjunction; also where there is one only.
    """
    found = _ranges(node)
    return dict(zip(found, connection.execute(_count(found, most)).one(), strict=True)) if found else {}


def _ranges(node: Node) -> dict[Node, Candidates]:
    """Give the parts of a conjunction that are ranges of an index."""
    parts = (part for part in conjuncts(node) if has_range(part))
    return {part: candidates for part in parts if (candidates := find_candidates(part)) is not None}


def _count(found: Mapping[Node, Candidates], most: int) -> Select[Any]:
    limited = [_together(candidates).limit(most).subquery() for candidates in found.values()]
    return select(*(select(func.count()).select_from(s).scalar_subquery() for s in limited))


@functools.lru_cache(maxsize=_KEPT)
def _counting(node: Node) -> tuple[tuple[Node, ...], Select[Any] | None]:
    """Write the statement that counts, and say which parts it counts."""
    parts = conjuncts(node)
    found = _ranges(node)
    if not found or (len(parts) == 1 and typed_condition(parts[0]) is None):
        return (), None
    return tuple(found), _count(found, FEW)


def order_by(keys: Sequence[str], *, names: Names) -> list[ColumnElement[Any]]:
    """Write an order of products.

    Parameters
    ----------
    keys : sequence of str
        Fields (``created``, ``name``, …), or keywords and paths in any form; with ``-`` before it from the largest.
    names : Names, keyword-only
        Dictionary of keywords.

    Returns
    -------
    list of ColumnElement
        Numbers, truth values and times before texts; those that have no value last, whatever the direction; the
        serial decides between equals.
    """
    return [*(ordered(column, down=down) for column, down in order_columns(keys, names=names)), product.c.serial.asc()]


def order_columns(keys: Sequence[str], *, names: Names) -> list[tuple[ColumnElement[Any], bool]]:
    """Give what products are ordered by; the parameters are those of `order_by`.

    Parameters
    ----------
    keys, names : object
        As for `order_by`.

    Returns
    -------
    list of (ColumnElement, bool)
        Columns of `product`, or subqueries on `keyword`; True from the largest.
    """
    found: list[tuple[ColumnElement[Any], bool]] = []
    for key in keys:
        place = column_of(key.removeprefix("-").strip(), names=names)
        down = key.startswith("-")
        if place == "urn":
            found += [(product.c.kind, down), (product.c.serial, down)]
        else:
            columns = [product.c[place]] if isinstance(place, str) else _keyword_columns(place)
            found += [(column, down) for column in columns]
    return found


def ordered(
    column: ColumnElement[Any], *, down: bool, backwards: bool = False, whole: bool = False
) -> ColumnElement[Any]:
    """Write an order by one column, in which what has no value comes last.

    Parameters
    ----------
    column : ColumnElement
        From `order_columns`.
    down : bool, keyword-only
        From the largest.
    backwards : bool, keyword-only
        The whole order from its end: what has no value comes first.
    whole : bool, keyword-only
        All rows have a value.

    Returns
    -------
    ColumnElement
        For ORDER BY.
    """
    found = column.desc() if down != backwards else column.asc()
    # Where there are no NULLs, to say where they go would keep the server from reading an index backwards.
    if whole or (isinstance(column, Column) and not column.nullable):
        return found
    return found.nulls_first() if backwards else found.nulls_last()


def column_of(name: str, *, names: Names) -> str | Keyword:
    """Tell what a name in an order, or of a column of a table, means.

    Parameters
    ----------
    name : str
        A field, or a keyword or path in any form.
    names : Names, keyword-only
        Dictionary of keywords.

    Returns
    -------
    str or Keyword
        A column of `product`, ``urn``, or a keyword that is none.
    """
    bare = name.removeprefix("p.")
    if bare in FIELDS and (bare != "filename" or bare != name):
        return FIELDS[bare]
    place = find_keyword(name, names)
    return _TYPED[place.key] if place.hdu is None and place.key in _TYPED else place


def _keyword_columns(place: Keyword) -> list[ColumnElement[Any]]:
    k = keyword.alias()
    seconds = cast(extract("epoch", k.c.time), Double)
    number = func.coalesce(k.c.number, seconds, cast(cast(k.c.flag, Integer), Double))
    made: list[ColumnElement[Any]] = []
    for column in (number, k.c.text):
        chosen = select(column).where(k.c.serial == product.c.serial, k.c.key == place.key)
        if place.hdu is None:
            chosen = chosen.where(k.c.first)
        else:
            chosen = chosen.where(k.c.hdu_name == place.hdu).order_by(k.c.hdu, k.c.occurrence)
        made.append(chosen.limit(1).correlate(product).scalar_subquery())
    return made
