"""One condition as SQL, on columns that hold a value by type, as `miripool.query.values.Value` does in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Double,
    Text,
    and_,
    case,
    collate,
    false,
    func,
    literal,
    null,
    or_,
    true,
)
from sqlalchemy.sql.elements import False_

from ..query.tree import Arithmetic, Call, Compare, In, IsNull, Like, Literal, Node, Not, Range, Truth
from ..query.values import LARGE, OPERATORS, SMALL, UNKNOWN, Value, calculate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Columns", "condition", "is_never"]


class Columns(NamedTuple):
    """A value in SQL, by type; NULL in each column but that of its type, a time has its text too.

    Attributes
    ----------
    number, text, flag, time : ColumnElement or None
        None where the value is never of that type.
    always_time : bool
        Whether `time` is never NULL.
    """

    number: ColumnElement[Any] | None = None
    text: ColumnElement[Any] | None = None
    flag: ColumnElement[Any] | None = None
    time: ColumnElement[Any] | None = None
    always_time: bool = False


def is_never(found: ColumnElement[bool]) -> bool:
    """Tell whether a condition can't be true, whatever the rows are.

    Parameters
    ----------
    found : ColumnElement
        From `condition`.

    Returns
    -------
    bool
        True for the constant.
    """
    return isinstance(found, False_)


def condition(node: Node, source: Callable[[Node], Columns]) -> ColumnElement[bool]:
    """Write one condition.

    Parameters
    ----------
    node : Node
        A leaf, or `Not` of one; not a question for a key, a tag or a dataset.
    source : callable
        Gives the columns of keywords, fields and statistics.

    Returns
    -------
    ColumnElement
        True, false or NULL; the constant ``false`` if it can't be true.
    """
    if isinstance(node, Compare):
        return _compare(node.op, _columns(node.left, source), _columns(node.right, source))
    if isinstance(node, Range):
        operand = _columns(node.operand, source)
        low = _compare(">" if node.low_open else ">=", operand, _columns(node.low, source))
        high = _compare("<" if node.high_open else "<=", operand, _columns(node.high, source))
        return false() if is_never(low) or is_never(high) else and_(low, high)
    if isinstance(node, In):
        return _is_in(node, _columns(node.operand, source))
    negated = isinstance(node, Not)
    leaf = node.part if isinstance(node, Not) else node
    if isinstance(leaf, In):
        return _is_not_in(leaf, _columns(leaf.operand, source))
    if isinstance(leaf, Like):
        text = _columns(leaf.operand, source).text
        return false() if text is None else text.not_like(leaf.pattern) if negated else text.like(leaf.pattern)
    if isinstance(leaf, Truth):
        flag = _columns(leaf.operand, source).flag
        return false() if flag is None else flag.is_(not negated)
    if isinstance(leaf, IsNull):
        given = [c for c in _columns(leaf.operand, source)[:4] if isinstance(c, ColumnElement)]
        known = _any_of([c.is_not(None) for c in given])
        return known if negated else and_(true(), *(c.is_(None) for c in given))
    raise TypeError(f"{type(node).__name__} is not for the index")


def _any_of(found: Sequence[ColumnElement[bool]]) -> ColumnElement[bool]:
    """Give an alternative; of nothing the constant itself, which `or_` would wrap."""
    return or_(*found) if found else false()


def _compare(op: str, left: Columns, right: Columns) -> ColumnElement[bool]:
    apply = OPERATORS[op]
    found: list[Any] = []
    if left.time is not None and right.time is not None:
        found.append(apply(left.time, right.time))
    if left.text is not None and right.text is not None:
        both_times = left.time is not None and right.time is not None
        times = [side.time.is_(None) for side in (left, right) if side.time is not None and not side.always_time]
        if not both_times:
            found.append(apply(left.text, right.text))
        elif times:
            found.append(and_(or_(*times), apply(left.text, right.text)))
    if left.number is not None and right.number is not None:
        found.append(apply(left.number, right.number))
    if left.flag is not None and right.flag is not None and op in ("==", "!="):
        found.append(apply(left.flag, right.flag))
    return _any_of(found)


class _Items:
    """The items of a list by type."""

    def __init__(self, node: In) -> None:
        values = [Value.of_literal(item.value) for item in node.items]
        self.numbers = [v.number for v in values if v.number is not None]
        self.flags = [v.flag for v in values if v.flag is not None]
        self.texts = [v.text for v in values if v.text is not None]
        self.plain = [v.text for v in values if v.text is not None and v.time is None]
        self.times = [v.time for v in values if v.time is not None]


def _is_in(node: In, operand: Columns) -> ColumnElement[bool]:
    items = _Items(node)
    found: list[ColumnElement[bool]] = []
    if operand.number is not None and items.numbers:
        found.append(operand.number.in_(items.numbers))
    if operand.flag is not None and items.flags:
        found.append(operand.flag.in_(items.flags))
    if operand.text is not None and items.plain:
        found.append(operand.text.in_(items.plain))
    if operand.time is not None and items.times:
        found.append(operand.time.in_(items.times))
    if operand.text is not None and items.times and not operand.always_time:
        written = operand.text.in_(sorted(set(items.texts) - set(items.plain)))
        found.append(written if operand.time is None else and_(operand.time.is_(None), written))
    return _any_of(found)


def _is_not_in(node: In, operand: Columns) -> ColumnElement[bool]:
    items = _Items(node)
    found: list[ColumnElement[bool]] = []
    if operand.number is not None and items.numbers:
        found.append(operand.number.not_in(items.numbers))
    if operand.flag is not None and items.flags:
        found.append(operand.flag.not_in(items.flags))
    if operand.text is not None and items.texts and not operand.always_time:
        other = operand.text.not_in(items.texts)
        found.append(other if operand.time is None else and_(operand.time.is_(None), other))
    if operand.time is not None and items.texts:
        differs = [operand.time.is_not(None)]
        differs += [operand.time.not_in(items.times)] if items.times else []
        differs += [operand.text.not_in(items.plain)] if items.plain and operand.text is not None else []
        # A time that has no text (when a product was saved) compares with times only.
        if items.times or operand.text is not None:
            found.append(and_(*differs))
    return _any_of(found)


def _columns(node: Node, source: Callable[[Node], Columns]) -> Columns:
    """Give a value's columns."""
    constant = _constant(node)
    if constant is not None:
        return _literal_columns(constant)
    if isinstance(node, Call):
        return _call(node.function, _columns(node.arguments[0], source))
    if isinstance(node, Arithmetic):
        left, right = _columns(node.left, source).number, _columns(node.right, source).number
        return Columns() if left is None or right is None else Columns(number=_calculate(node.op, left, right))
    return source(node)


def _constant(node: Node) -> Value | None:
    """Give the value of an expression of literals: PostgreSQL would compute it when it plans, whatever guards it."""
    if isinstance(node, Literal):
        return Value.of_literal(node.value)
    if isinstance(node, Arithmetic):
        left, right = _constant(node.left), _constant(node.right)
        if left is not None and right is not None:
            return Value.of(calculate(node.op, left.number, right.number))
    if isinstance(node, Call) and node.function in ("abs", "neg"):
        inner = _constant(node.arguments[0])
        if inner is not None:
            number = inner.number
            return UNKNOWN if number is None else Value(number=abs(number) if node.function == "abs" else -number)
    return None


def _literal_columns(value: Value) -> Columns:
    return Columns(
        None if value.number is None else literal(value.number, Double),
        None if value.text is None else collate(literal(value.text, Text), "C"),
        None if value.flag is None else literal(value.flag),
        None if value.time is None else literal(value.time, DateTime(timezone=True)),
        always_time=value.time is not None,
    )


def _call(function: str, operand: Columns) -> Columns:
    if function in ("abs", "neg"):
        if operand.number is None:
            return Columns()
        return Columns(number=func.abs(operand.number) if function == "abs" else -operand.number)
    if operand.text is None:
        return Columns()
    return Columns(text=func.lower(operand.text) if function == "lower" else func.upper(operand.text))


def _calculate(op: str, a: ColumnElement[Any], b: ColumnElement[Any]) -> ColumnElement[Any]:
    """Do arithmetic where nothing overflows; else NULL. PostgreSQL raises errors, underflow included."""
    guards = [_is_moderate(a), _is_moderate(b)]
    if op in ("/", "//", "%"):
        guards.append(b != literal(0.0, Double))
    results: dict[str, Callable[[], ColumnElement[Any]]] = {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "/": lambda: a.op("/")(b),
        "//": lambda: func.floor(a.op("/")(b)),
        "%": lambda: a - b * func.floor(a.op("/")(b)),
    }
    return case((and_(*guards), results[op]()), else_=null())


def _is_moderate(number: ColumnElement[Any]) -> ColumnElement[bool]:
    between = func.abs(number).between(literal(SMALL, Double), literal(LARGE, Double))
    return or_(number == literal(0.0, Double), between)
