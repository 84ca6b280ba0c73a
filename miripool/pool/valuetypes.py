"""Types of what a condition compares: a number never equals a text, and an error says what to write instead."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import QueryError
from ..query.text import to_text
from ..query.tree import (
    Arithmetic,
    Call,
    Compare,
    Field,
    In,
    Keyword,
    Like,
    Literal,
    Node,
    Range,
    Reduce,
    Separation,
    Statistic,
    Unit,
    is_array,
    walk,
)
from ..query.values import as_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .core import Core

__all__ = ["refuse_other_types"]

_WORDS = {"number": "a number", "text": "text", "flag": "true or false", "time": "a time"}
_FIELDS = {
    **dict.fromkeys(("version", "serial", "bytes", "stored_bytes", "entry"), "number"),
    **dict.fromkeys(("created", "start_time", "removed", "purged"), "time"),
    "head": "flag",
}
"""Types of fields; all others are text."""


def refuse_other_types(pools: Sequence[Core], node: Node) -> None:
    """Refuse conditions that compare values of two types, which no product can satisfy.

    Parameters
    ----------
    pools : sequence of Core
        Their indexes are caught up: they know what types a keyword's values have.
    node : Node
        A predicate.

    Raises
    ------
    QueryError
        If a comparison can't hold; the message says how to write it.
    """
    for leaf in walk(node):
        if not isinstance(leaf, (Compare, Range, In, Like)):
            continue
        operand, literals = _sides(leaf)
        if operand is None or is_array(operand):
            continue
        wanted = [_types_of_literal(item.value) for item in literals]
        for again in (False, True):  # what is remembered may lack the types of what was saved since
            there = _types(pools, operand, again=again)
            all_or_any = all if isinstance(leaf, Range) else any
            if not there or all_or_any(_compare(leaf, there, one) for one in wanted):
                break
        else:
            raise QueryError(_message(leaf, operand, literals, there))


def _sides(leaf: Compare | Range | In | Like) -> tuple[Node | None, list[Literal]]:
    if isinstance(leaf, Compare):
        left, right = leaf.left, leaf.right
        if isinstance(left, Literal):
            left, right = right, left
        return (left, [right]) if isinstance(right, Literal) and not isinstance(left, Literal) else (None, [])
    if isinstance(leaf, Range):
        return leaf.operand, [leaf.low, leaf.high]
    return leaf.operand, list(leaf.items) if isinstance(leaf, In) else [Literal(leaf.pattern)]


def _types(pools: Sequence[Core], operand: Node, *, again: bool) -> frozenset[str]:
    """Give the types that a value has; none where nobody knows."""
    if isinstance(operand, Keyword):
        return frozenset().union(*(p.catalog.keyword_types(operand.key, operand.hdu, again=again) for p in pools))
    if isinstance(operand, Field):
        return frozenset((_FIELDS.get(operand.name, "text"),))
    if isinstance(operand, Unit) or (isinstance(operand, Statistic) and operand.which == "unit"):
        return frozenset(("text",))
    if isinstance(operand, Call):
        return frozenset(("text" if operand.function in ("lower", "upper") else "number",))
    if isinstance(operand, Reduce) and operand.function in ("any", "all"):
        return frozenset(("flag",))
    return frozenset(("number",)) if isinstance(operand, (Statistic, Separation, Arithmetic, Reduce)) else frozenset()


def _types_of_literal(value: bool | float | str) -> frozenset[str]:
    if isinstance(value, bool):
        return frozenset(("flag",))
    if isinstance(value, str):
        return frozenset(("text",) if as_time(value) is None else ("text", "time"))
    return frozenset(("number",))


def _compare(leaf: Node, there: Iterable[str], wanted: Iterable[str]) -> bool:
    common = {*there} & ({"text", "time"} if isinstance(leaf, Like) else {*wanted})
    if isinstance(leaf, (Range, Compare)) and not (isinstance(leaf, Compare) and leaf.op in ("==", "!=")):
        common.discard("flag")
    return bool(common)


def _message(leaf: Node, operand: Node, literals: Sequence[Literal], there: frozenset[str]) -> str:
    shown = operand.key if isinstance(operand, Keyword) else to_text(operand)
    if isinstance(operand, Keyword) and operand.hdu is not None:
        shown = f"{operand.hdu}.{operand.key}"
    known = " or ".join(_WORDS[one] for one in ("number", "time", "text", "flag") if one in there)
    if "time" in there:
        known = _WORDS["time"]
    if isinstance(leaf, Like):
        return f"{shown} is {known}, and 'like' is for text"
    if "time" in there and (unread := _no_times(literals)):
        words = " or ".join(map(repr, unread))
        return (
            f"{shown} is a time, and {words} can't be read as one; write {shown} > '2018-03-08' or "
            "'2018-03-08T01:02:30', in UTC, or with an offset: '2018-03-08T01:02:30+01:00'"
        )
    meant = [_as_type(item.value, there) for item in literals]
    asked = " or ".join(dict.fromkeys(_WORDS[one] for item in literals for one in _one_type(item.value)))
    said = f"{shown} is {known}, and can't be compared with {asked}"
    if "time" in there:
        return f"{said}; write a time in quotes: {shown} > '2018-03-08'"
    if all(value is not None for value in meant):
        rewritten = {item: Literal(value) for item, value in zip(literals, meant, strict=True) if value is not None}
        return f"{said}; write {to_text(_rewrite(leaf, rewritten))}"
    return said


def _no_times(literals: Iterable[Literal]) -> list[str]:
    return [item.value for item in literals if isinstance(item.value, str) and as_time(item.value) is None]


def _one_type(value: bool | float | str) -> Iterator[str]:
    yield "flag" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def _as_type(value: bool | float | str, there: frozenset[str]) -> bool | float | str | None:
    """Give the value that was meant perhaps."""
    if there == {"flag"}:
        known = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
        return known.get(str(value).lower())
    if "number" in there:
        try:
            number = float(value)
        except ValueError:
            return None
        return int(number) if number.is_integer() else number
    return str(value)


def _rewrite(leaf: Node, values: dict[Literal, Literal]) -> Node:
    if isinstance(leaf, Compare):
        swapped = {name: values.get(side, side) for name, side in (("left", leaf.left), ("right", leaf.right))}  # type: ignore[call-overload]
        return replace(leaf, **swapped)
    if isinstance(leaf, Range):
        low, high = (Literal(type(values[leaf.low].value)(end.value)) for end in (leaf.low, leaf.high))
        return replace(leaf, low=low, high=high)
    return replace(leaf, items=tuple(values.values())) if isinstance(leaf, In) else leaf
