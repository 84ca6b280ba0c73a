"""What the words of text about single pixels mean; `miripool.query.grammar` reads it, the pixel rows answer it.

======================================  ==========================================================
``rate > 1.0``, ``1 < rate <= 5``       any integration of the pixel (any group, for ramps) has such a value
``ALL(rate > 1.0)``                     all of them that are numbers, and there is one
``rate[integration == 2] > 10``         integration 2, counted from 1 as in JWST's headers
``sci[group == 5] < 0``                 group 5 of any integration
``sci[integration == 2, group == 5]``   group 5 of integration 2
``dq is null``, ``rate is null``        no flag is set; there is no number
``has(dq, 'JUMP_DET')``, ``dq & 4``     a flag of the jwst datamodels, or a bit, is set
``x between 10 and 20``, ``y in (3, 4)``  column and row in the FULL array, from 1
======================================  ==========================================================

NaN satisfies no comparison. Numbers are compared in float64. ``not`` gives exactly the other pixels. Brackets name the
axis: a bare number, 0-based to NumPy and 1-based to SQL and to JWST's headers, would silently be off by one for many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import QueryError
from ..model.keywords import suggest
from ..model.kinds import pixel_axes, pixel_columns, pixel_kinds
from .grammar import read
from .normal import MIRRORED
from .tree import And, Arithmetic, Compare, Condition, In, IsNull, Like, Literal, Node, Not, Slice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from .grammar import Grammar, Place
    from .lexer import Token
    from .tree import Item

__all__ = ["FLAGS", "PixelTest", "parse_pixels"]

_FLAGS = (
    "DO_NOT_USE",
    "SATURATED",
    "JUMP_DET",
    "DROPOUT",
    "OUTLIER",
    "PERSISTENCE",
    "AD_FLOOR",
    "CHARGELOSS",
    "RESERVED",
    "NON_SCIENCE",
    "DEAD",
    "HOT",
    "WARM",
    "LOW_QE",
    "RC",
    "TELEGRAPH",
    "NONLINEAR",
    "BAD_REF_PIXEL",
    "NO_FLAT_FIELD",
    "NO_GAIN_VALUE",
    "NO_LIN_CORR",
    "NO_SAT_CHECK",
    "UNRELIABLE_BIAS",
    "UNRELIABLE_DARK",
    "UNRELIABLE_SLOPE",
    "UNRELIABLE_FLAT",
    "OPEN",
    "ADJ_OPEN",
    "FLUX_ESTIMATED",
    "MSA_FAILED_OPEN",
    "OTHER_BAD_PIXEL",
    "REFERENCE_PIXEL",
)
FLAGS: Mapping[str, int] = {name: 1 << bit for bit, name in enumerate(_FLAGS)}
"""Data quality flags of the jwst datamodels; a test compares with stdatamodels."""

_AXES = ("integration", "group")
"""Axes of a pixel's values, as brackets name them, in the order in which they are stored."""


@dataclass(frozen=True, slots=True)
class PixelTest(Condition):
    """One condition on a column of the pixel rows.

    Attributes
    ----------
    column : str
        Of the kind's pixel rows.
    items : tuple of int or None
        Integration and group, from 1; None for any; empty for a whole column.
    op : str
        ``== != < <= > >=``, ``in``, ``range`` (low, high, with the comparisons in `ends`), ``null``, ``flag``.
    values : tuple of float
        What it is compared with.
    ends : tuple of str
        Of a range: ``>`` or ``>=``, and ``<`` or ``<=``.
    every : bool
        All elements instead of any.
    """

    column: str
    items: tuple[int | None, ...]
    op: str
    values: tuple[float, ...] = ()
    ends: tuple[str, ...] = ()
    every: bool = False


def parse_pixels(text: str, kind: str) -> Node:
    """Read a condition on pixels.

    Parameters
    ----------
    text : str
        The condition; empty for all pixels.
    kind : str
        ``Raw``, ``Ramp``, ``RateInts`` or ``Rate``.

    Returns
    -------
    Node
        `PixelTest` joined by And, Or, Not.

    Raises
    ------
    QueryError
        If it can't be read; the message points at the column.
    """
    columns = pixel_axes(kind)
    if not columns:
        raise QueryError(f"{kind} has no pixel rows; the kinds that have them are {', '.join(pixel_kinds())}")
    return read(text, _Words(kind, columns))


@dataclass(frozen=True, slots=True)
class _Column(Node):
    """A column, or some of its elements: `items` as of a `PixelTest`."""

    name: str
    items: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class _Bits(Node):
    """``dq & 4``."""

    column: _Column
    bits: int


@dataclass(frozen=True, slots=True)
class _Axis(Node):
    """``integration``, in brackets."""

    name: str


@dataclass(frozen=True, slots=True)
class _AxisIs(Node):
    """``integration == 2``, in brackets: no condition of a pixel."""

    name: str
    number: int


class _Words:
    """The vocabulary of text about pixels of one kind, see `miripool.query.grammar.Vocabulary`."""

    hyphenated = ()

    def __init__(self, kind: str, columns: Mapping[str, int]) -> None:
        self.kind = kind
        self.columns = columns
        self.flags = {name for name, column in pixel_columns(kind).items() if column.holds == "flags"}
        self.axes = _AXES[: max(columns.values())]
        self._with_axes = max(columns, key=columns.__getitem__)

    @property
    def index_rule(self) -> str:
        return f"brackets name {' and '.join(f'{axis}s' for axis in _AXES)}; {self._brackets}"

    def whole(self, found: Node) -> Node:
        return found

    def name(self, words: Grammar, token: Token) -> Node:  # noqa: ARG002 -- nothing belongs to a column's name
        name = token.text.lower()
        if name in self.columns:
            return _Column(name)
        if name in _AXES:
            return _Axis(name)
        near = suggest(name, [*self.columns, *self.axes])
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise QueryError(f"{self.kind} has no column {token.text!r}; {hint}It has {', '.join(self.columns)}")

    def call(self, words: Grammar, token: Token) -> Node:
        name = token.text.lower()
        if name not in ("all", "any", "has"):
            raise QueryError(f"there is no function '{token.text}' here; there are ALL, ANY and has")
        words.expect("(")
        if name == "has":
            return self._has(words)
        at = words.token.column
        test = words.condition(words.expression(), at)
        words.expect(")")
        if not isinstance(test, PixelTest):
            raise QueryError("ALL and ANY take one comparison")
        if name == "any":
            return test
        if test.op == "null" or test.every:
            raise QueryError("ALL takes a comparison with numbers")
        return PixelTest(test.column, test.items, test.op, test.values, test.ends, every=True)

    def _has(self, words: Grammar) -> Node:
        at = words.token.column
        with words.located(at):
            column = self._flags_of(words.operand(words.expression(), at))
        words.expect(",")
        word = words.take()
        flag = FLAGS.get(word.text.upper()) if word.type in ("name", "string") else None
        if flag is None:
            near = suggest(word.text.upper(), FLAGS)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            words.fail(f"there is no flag {word.text!r}{hint}", word.column)
        words.expect(")")
        return PixelTest(column.name, column.items, "flag", (flag,))

    def _flags_of(self, node: Node) -> _Column:
        if isinstance(node, _Column) and node.name in self.flags:
            return node
        raise QueryError(f"{getattr(node, 'name', 'this')} holds no flags")

    def attribute(self, words: Grammar, base: Node | Place) -> NoReturn:  # noqa: ARG002
        raise QueryError("a column has no attributes; write its name alone, e.g. rate > 1")

    def contains(self, found: Node | Place, text: str) -> NoReturn:  # noqa: ARG002
        raise QueryError("'in' takes a list of numbers, e.g. x in (1, 2); to ask for a flag, write has(dq, 'JUMP_DET')")

    # -- brackets ------------------------------------------------------------------------------------------------

    def subscript(self, base: Node | Place, items: tuple[Item, ...]) -> Node:
        if not isinstance(base, _Column) or base.items:
            raise QueryError(f"only a column's name can have brackets, and only once; {self._brackets}")
        name, axes = base.name, _AXES[: self.columns[base.name]]
        if not axes:
            raise QueryError(f"{name} of a {self.kind} has neither integrations nor groups; write {name}")
        wanted: dict[str, int] = {}
        for item in items:
            if not isinstance(item, _AxisIs):
                raise QueryError(_advise(name, axes, items))
            if item.name not in axes:
                raise QueryError(f"{name} has no {item.name}s; it has {axes[0]}s: {_form(name, {axes[0]: 2})}")
            if item.name in wanted:
                raise QueryError(f"{item.name} is named twice; join conditions on each with 'and' or 'or'")
            wanted[item.name] = item.number
        if not wanted:
            raise QueryError(_advise(name, axes, items))
        last = max(axes.index(axis) for axis in wanted)
        return _Column(name, tuple(wanted.get(axis) for axis in axes[: last + 1]))

    @property
    def _brackets(self) -> str:
        """How brackets are written for this kind."""
        if not self.axes:
            return f"a {self.kind} has neither integrations nor groups"
        return f"write e.g. {_example(self._with_axes, self.axes)}"

    # -- operations ----------------------------------------------------------------------------------------------

    def condition(self, value: Node) -> Node:
        match value:
            case _Bits(column, bits):
                return PixelTest(column.name, column.items, "flag", (bits,))
            case _Column(name):
                raise QueryError(f"{name} is a column, not a condition; compare it, e.g. {name} > 1, {name} is null")
            case _AxisIs(name, number):
                where = "belongs in the brackets of a column, with a comma before the next one"
                raise QueryError(f"'{name} == {number}' {where}; {self._brackets}")
        raise QueryError(f"this is not a condition; compare a column, e.g. {next(iter(self.columns))} > 1")

    def operation(self, node: Node) -> Node:
        match node:
            case Compare():
                return self._compare(node)
            case And((Compare() as one, Compare() as other)):
                return self._between(one, other)
            case In(_Column(name, items), values):
                if not values:
                    raise QueryError(f"the list is empty; write e.g. {name} in (1, 2)")
                return PixelTest(name, items, "in", tuple(_number(value, name) for value in values))
            case IsNull(_Column(name, items)):
                return PixelTest(name, items, "null")
            case Arithmetic("&", Literal() as bits, _Column() as column) | Arithmetic(
                "&", _Column() as column, Literal() as bits
            ):
                return _Bits(self._flags_of(column), _bits(bits))
            case Like():
                raise QueryError("'like' asks for texts; columns of pixels hold numbers")
            case In(_Axis(name)) | IsNull(_Axis(name)):
                raise QueryError(_one_only(name))
            case In() | IsNull():
                raise QueryError("'in' and 'is' ask for a column, e.g. x in (1, 2), dq is null")
            case And():
                raise QueryError("write a range as low < column < high")
        raise QueryError("conditions on pixels have no arithmetic; test bits by dq & 4, and join conditions with 'and'")

    def _compare(self, node: Compare) -> Node:
        left, op, number = _oriented(node)
        match left:
            case _Column(name, items):
                return PixelTest(name, items, op, (number,))
            case _Axis(name):
                return _axis_is(name, op, number)
            case _Bits(column, bits):
                if number != 0 or op not in ("==", "!=", ">"):
                    raise QueryError("bits can only be compared with 0: dq & 4 != 0, dq & 4 == 0")
                test = PixelTest(column.name, column.items, "flag", (bits,))
                return Not(test) if op == "==" else test
        raise QueryError("a comparison has a column and a number, e.g. rate > 1")

    def _between(self, one: Compare, other: Compare) -> Node:
        (column, op, low), (same, second, high) = _oriented(one), _oriented(other)
        if not isinstance(column, _Column) or column != same or {op[0], second[0]} != {"<", ">"}:
            raise QueryError("write a range as low < column < high")
        if op[0] == "<":
            op, second, low, high = second, op, high, low
        return PixelTest(column.name, column.items, "range", (low, high), (op, second))


def _oriented(node: Compare) -> tuple[Node, str, int | float]:
    """Give a comparison as column, operator, number."""
    left, op, right = node.left, node.op, node.right
    if isinstance(left, Literal) and not isinstance(right, Literal):
        left, op, right = right, MIRRORED[op], left
    return left, op, _number(right, left.name if isinstance(left, (_Column, _Axis)) else "a column")


def _number(node: Node, beside: str) -> int | float:
    if isinstance(node, Literal) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return node.value
    name = repr(node.value) if isinstance(node, Literal) else getattr(node, "name", "this")
    raise QueryError(f"expected a number instead of {name}: {beside} is compared with numbers")


def _bits(node: Literal) -> int:
    value = node.value
    if isinstance(value, (str, bool)) or not 0 < value < 2**63 or value != int(value):
        raise QueryError("flags are bits of a whole number, e.g. dq & 4")
    return int(value)


def _axis_is(name: str, op: str, number: float) -> _AxisIs:
    if op != "==":
        raise QueryError(_one_only(name))
    if not isinstance(number, int):
        raise QueryError(f"{name} takes a whole number: {name} == 2")
    if number < 1:
        raise QueryError(f"{name}s count from 1, as in JWST's headers: the first is {name} == 1")
    return _AxisIs(name, number)


def _one_only(name: str) -> str:
    return f"brackets name one {name}: {name} == 2; for several, join conditions with 'and' or 'or'"


def _form(name: str, wanted: Mapping[str, int]) -> str:
    return f"{name}[{', '.join(f'{axis} == {number}' for axis, number in wanted.items())}]" if wanted else name


def _example(name: str, axes: tuple[str, ...]) -> str:
    return _form(name, dict(zip(axes, (1, 5) if len(axes) > 1 else (2,), strict=True)))


def _advise(name: str, axes: tuple[str, ...], items: Sequence[Item]) -> str:
    """Say how to write brackets that were filled as NumPy's or SQL's are."""
    written = f"{name}[{', '.join(map(_shown, items))}]"
    counting = f"{' and '.join(f'{axis}s' for axis in axes)} count from 1, as in JWST's headers"
    numbers = [item for item in items if isinstance(item, int)]
    positions = [item for item in items if item in (Slice(), ...) or (isinstance(item, int) and item >= 0)]
    if not items or len(positions) < len(items):
        return f"{written}: brackets name one {' or '.join(axes)}; write e.g. {_example(name, axes)} ({counting})"
    first = 0 if 0 in numbers else 1
    wanted = {a: item + 1 - first for a, item in zip(axes, items, strict=False) if isinstance(item, int)}
    form = _form(name, wanted)
    if len(items) > len(axes):
        return f"{written}: {name} has {' and '.join(f'{axis}s' for axis in axes)} only; write {form} ({counting})"
    if not wanted:
        return f"{written}: write {form}, which asks for any {' and '.join(axes)}"
    if not first:
        return f"{written}: counted from 0, that is {form} ({counting})"
    return f"{written}: write {form} ({counting})"


def _shown(item: Item) -> str:
    if isinstance(item, Slice):
        ends = [item.start, item.stop] if item.step is None else [item.start, item.stop, item.step]
        return ":".join("" if end is None else str(end) for end in ends)
    if isinstance(item, _AxisIs):
        return f"{item.name} == {item.number}"
    return "…" if isinstance(item, Node) else "..." if item is ... else repr(item)
