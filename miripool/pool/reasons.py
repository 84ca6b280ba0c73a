"""Reasons: why a question found nothing, and what there is instead."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .. import index
from ..index import pixels
from ..query.division import split
from ..query.queries import PixelQuery, Query
from ..query.text import to_text
from ..query.tree import (
    ALL,
    And,
    Compare,
    Covers,
    Field,
    HasTag,
    In,
    Keyword,
    Like,
    Literal,
    Node,
    Overlaps,
    Range,
    Separation,
    conjuncts,
    walk,
)
from ..query.values import as_time
from ..sky.circle import Circle
from ..sky.position import SkyPosition
from ..system.words import counted
from . import select as selecting
from .tags import exists, no_such_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .core import Core
    from .reference import ProductRef

__all__ = ["hint", "in_order", "why_empty", "with_node"]

_WHOLE_SKY = Circle(SkyPosition(0.0, 90.0), 180.0)
_LOOKED_AT = 10_000
"""Versions whose fields are looked at for a hint."""


def with_node(asked: Query, node: Node) -> Query:
    """Give the same question with another condition.

    Parameters
    ----------
    asked : Query
        The question.
    node : Node
        The condition.

    Returns
    -------
    Query
        Without conditions on pixels.
    """
    made = object.__new__(Query)
    made._fill(asked.kinds, asked.variable, node, asked.all_versions, asked.tag)
    return made


def in_order(node: Node) -> Iterator[Node]:
    """Give the conditions as they are asked: first what the index answers.

    Parameters
    ----------
    node : Node
        A predicate.

    Yields
    ------
    Node
        Conditions that must all hold.
    """
    for part in split(node):
        if part is not None:
            yield from conjuncts(part)


def why_empty(
    pool: Core,
    asked: Query,
    previous: Sequence[ProductRef] | None = None,
    *,
    tag: str | None = None,
    all_versions: bool | None = None,
) -> str:
    """Say why a question found nothing. No array is read.

    Parameters
    ----------
    pool, asked, previous, tag, all_versions : object
        As for `miripool.pool.select.select`; the pool's index is caught up.

    Returns
    -------
    str
        One or two sentences: the first condition that no product satisfies, and what there is instead.
    """

    def count(node: Node, *, everything: bool | None = all_versions) -> int:
        return len(selecting.select(pool, with_node(asked, node), previous, tag=tag, all_versions=everything))

    everything = asked.all_versions if all_versions is None else all_versions
    heads = not everything and tag is None and previous is None
    left = count(ALL)
    if not left:
        return _nothing_there(pool, asked, previous, tag)
    sql, rest = split(asked.node)
    before: tuple[Node, ...] = ()
    for part in () if sql is None else conjuncts(sql):
        still = count(And((*before, part)))
        if still:
            before, left = (*before, part), still
            continue
        reason = f"none of the {_products(left, heads=heads)} satisfies {to_text(part, asked.variable)}"
        reason = reason if not before else f"{reason} together with the conditions before it"
        older = count(And((*before, part)), everything=True) if heads else 0
        if older:
            matching = f"{counted(older, 'older version')} {'matches' if older == 1 else 'match'}"
            return f"{reason}. {matching}; all_versions=True or --all-versions includes older versions"
        sky = _about_the_sky(part, before, left, count)
        if sky is not None:
            return f"{reason}. {sky}"
        alone = count(part) if before else 0
        if alone:
            return f"{reason}. Alone, this condition holds for {_products(alone, heads=heads)}"
        found = hint(pool, asked, part)
        return reason if found is None else f"{reason}. {found}"
    which = to_text(rest, asked.variable) if rest is not None else ""
    if isinstance(asked, PixelQuery):
        serials = selecting.select(pool, with_node(asked, And(before)), previous, tag=tag, all_versions=all_versions)
        return _no_pixels(pool, asked, serials, heads=heads)
    return f"none of the {_products(left, heads=heads)} satisfies {which}"


def _about_the_sky(part: Node, before: tuple[Node, ...], left: int, count: Callable[[Node], int]) -> str | None:
    """Say what a condition on the sky leaves out: darks, and what has no footprint; None for another condition."""
    if not any(isinstance(node, (Covers, Overlaps, Separation)) for node in walk(part)):
        return None
    said = []
    if (
        isinstance(part, (Covers, Overlaps))
        and not part.darks
        and (darks := count(And((*before, replace(part, darks=True)))))
    ):
        said.append(f"With darks=True it holds for {counted(darks, 'exposure')} that saw nothing: darks, and OPAQUE")
    without = left - count(And((*before, Overlaps(_WHOLE_SKY, darks=True))))
    if without:
        said.append(f"{without} of {left} {'has' if without == 1 else 'have'} no footprint")
    return ". ".join(said) or None


def _no_pixels(pool: Core, asked: PixelQuery, serials: Sequence[int], *, heads: bool) -> str:
    seen = len(pixels.sets_of(pool.catalog.database, serials))
    unseen = len(serials) - seen
    wanted = f"{asked.at_least} or more pixels with {asked.text or 'any value'}"
    reason = f"none of the {_products(seen, heads=heads)} has {wanted}"
    if not unseen:
        return reason
    command = f"`miripool index pixels {shlex.quote(pool.name)}`"
    remedy = f"{command} makes pending rows, `… SPEC` rows that were dropped or left out"
    without = f"{_products(unseen, heads=heads)} {'has' if unseen == 1 else 'have'} no pixel rows"
    if not seen:
        return f"nothing to search: {without}; {remedy}"
    return f"{reason}; {without} and could not be searched: {remedy}"


def _products(number: int, *, heads: bool) -> str:
    return counted(number, "newest version" if heads else "version")


def _nothing_there(pool: Core, asked: Query, previous: Sequence[ProductRef] | None, tag: str | None) -> str:
    kinds = " or ".join(asked.kinds)
    if previous is not None:
        return f"none of the {len(previous)} earlier results is of kind {kinds} in pool {pool}"
    if tag is not None:
        return f"tag {tag!r} marks no version of kind {kinds} in pool {pool}"
    there = sorted(kind for kind, sums in pool.catalog.statistics().kinds.items() if sums.heads)
    return f"pool {pool} has no {kinds}; it has {', '.join(there)}" if there else f"pool {pool} is empty"


def hint(pool: Core, asked: Query, part: Node) -> str | None:
    """Name the values that resemble those that a condition asks for.

    Parameters
    ----------
    pool : Core
        The pool.
    asked : Query
        The question that the condition is part of.
    part : Node
        A condition that nothing satisfies.

    Returns
    -------
    str or None
        One sentence; None where nothing is near.
    """
    if isinstance(part, HasTag):
        return None if exists(pool, part.label) else str(no_such_tag(pool, part.label))
    operand, values = _asked_of(part)
    if operand is None or not values:
        return None
    name = operand.name if isinstance(operand, Field) else _name(operand)
    exact = isinstance(part, (In, Like)) or (isinstance(part, Compare) and part.op == "==")
    if isinstance(operand, Keyword) and not pool.catalog.has_keyword(operand.key, operand.hdu):
        return f"No product has the keyword {name}"
    if exact and all(isinstance(value, str) and as_time(value) is None for value in values):
        near = _texts(pool, asked, operand, [str(value) for value in values])
        wanted = " or ".join(map(repr, values))
        there = " or ".join(map(repr, dict.fromkeys(near)))
        return f"{name} is never {wanted}; the nearest is {there}" if near else None
    found = _around(pool, asked, operand, values[0])
    if not found:
        return None
    shown = [
        value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else f"{value:.17g}"
        for value in found
    ]
    if exact:
        return f"The nearest {name} is {' or '.join(dict.fromkeys(shown[1:-1]))}"
    return f"{name} ranges from {shown[0]} to {shown[-1]}" if shown[0] != shown[-1] else f"{name} is {shown[0]}"


def _name(operand: Keyword) -> str:
    return f"{operand.hdu}.{operand.key}" if operand.hdu else operand.key


def _texts(pool: Core, asked: Query, operand: Keyword | Field, values: Sequence[str]) -> list[str]:
    if isinstance(operand, Keyword):
        return [near for value in values for near in pool.catalog.values_near(operand.key, value)]
    return selecting.suggest_among(values, {str(value) for value in _fields(pool, asked, operand.name)})


def _fields(pool: Core, asked: Query, name: str) -> list[Any]:
    serials = selecting.select(pool, with_node(asked, ALL))[:_LOOKED_AT]
    values = (getattr(row, name, None) for row in pool.catalog.rows(serials))
    return [value for value in values if value is not None]


def _around(pool: Core, asked: Query, operand: Keyword | Field, value: Any) -> list[Any]:
    """Give what there is: the smallest, those next to a value, the largest."""
    moment = as_time(value) if isinstance(value, str) else None
    wanted: Any = value if moment is None else moment
    if isinstance(wanted, (str, bool)):
        return []
    found: list[Any]
    if isinstance(operand, Keyword):
        found = index.nearest_values(pool.catalog.database, operand.key, operand.hdu, wanted)
    else:
        found = sorted(_fields(pool, asked, operand.name))
    below, above = [v for v in found if v <= wanted][-1:], [v for v in found if v >= wanted][:1]
    return [*found[:1], *below, *above, *found[-1:]] if found else []


def _asked_of(part: Node) -> tuple[Keyword | Field | None, list[Any]]:
    operand: Node | None = None
    values: list[Any] = []
    if isinstance(part, Compare) and isinstance(part.right, Literal) and part.op != "!=":
        operand, values = part.left, [part.right.value]
    elif isinstance(part, In):
        operand, values = part.operand, [item.value for item in part.items]
    elif isinstance(part, Like):
        operand, values = part.operand, [part.pattern.strip("%")]
    elif isinstance(part, Range):
        operand, values = part.operand, [part.low.value]
    return (operand, values) if isinstance(operand, (Keyword, Field)) else (None, [])
