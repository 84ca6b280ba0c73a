"""Selecting: what SQL can answer is asked of the index, the rest of lazily loaded products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import InvalidInput, TagNotFound, UnknownKeyword
from .index import compile_where, order_by
from .keywords import dictionary, suggest
from .listing import BASIC
from .query import as_query
from .query.division import split
from .query.evaluator import evaluate
from .query.tree import Keyword, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .pool import Pool
    from .query import Query
    from .query.tree import Node
    from .reference import ProductRef

__all__ = ["TABLE_COLUMNS", "select"]

TABLE_COLUMNS = (*BASIC, "start_time", "detector", "subarray", "readpatt", "exp_type", "ngroups", "nints", "crds_ctx")
"""Columns of `ProductRefs.to_table` unless others are asked for."""


def select(
    pool: Pool,
    query: Any,
    previous: Sequence[ProductRef] | None,
    *,
    tag: str | None,
    all_versions: bool | None,
    order: str | Sequence[str] | None,
    limit: int | None,
) -> Sequence[int]:
    """Find the serials of the products that match; the parameters are those of `Pool.select`.

    Parameters
    ----------
    pool : Pool
        The pool; its index is caught up.
    query, previous, tag, all_versions, order, limit : object
        As for `Pool.select`.

    Returns
    -------
    sequence of int
        In the order asked for.
    """
    asked = as_query(query)
    label = tag if tag is not None else asked.tag
    if limit is not None and limit < 0:
        raise InvalidInput(f"limit is {limit}; it can't be negative")
    if label is not None and not pool.tag_exists(label):
        near = suggest(label, [t.label for t in pool.catalog.tags()])
        raise TagNotFound(f"no version has the tag {label!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    _refuse_unknown(pool, asked)
    sql, rest = split(asked.node)
    keys = [order] if isinstance(order, str) else list(order or ())
    serials = pool.catalog.serials(
        where=None if sql is None else compile_where(sql),
        kinds=asked.kinds,
        all_versions=(all_versions if all_versions is not None else asked.all_versions) or previous is not None,
        tag=label,
        among=None if previous is None else [ref.serial for ref in previous if ref.pool.name == pool.name],
        order_by=order_by(keys),
        limit=limit if rest is None else None,
    )
    return serials if rest is None else _filter(pool, serials, rest, limit)


def _filter(pool: Pool, serials: Sequence[int], rest: Node, limit: int | None) -> Sequence[int]:
    found: list[int] = []
    for start in range(0, len(serials), 100):
        for row in pool.catalog.rows(serials[start : start + 100]):
            if limit is not None and len(found) >= limit:
                return found
            if evaluate(rest, pool.load_version(row)):
                found.append(row.serial)
    return found


def _refuse_unknown(pool: Pool, asked: Query) -> None:
    """A keyword that no product has is a slip of the pen, not a condition that happens to fail."""
    names = dictionary()
    for keyword in {node for node in walk(asked.node) if isinstance(node, Keyword)}:
        known = names.knows(f"{keyword.hdu}.{keyword.key}" if keyword.hdu else keyword.key)
        if known or pool.catalog.has_keyword(keyword.key, keyword.hdu) or pool.catalog.count(all_versions=True) == 0:
            continue
        near = suggest(keyword.key, {*pool.catalog.keywords(), *names})
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UnknownKeyword(f"no product of pool {pool.name} has a keyword {keyword.key}{hint}")
