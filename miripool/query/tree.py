"""The tree of a predicate: small, frozen, closed. Its readers are the evaluator, the compiler to SQL, and `to_text`.

::

    values       Literal Keyword Unit Field Statistic Separation Arithmetic Call Reduce PythonCall
    arrays       Dataset Subscript, and values and conditions made of them
    conditions   Compare Range In Like IsNull Truth HasKey HasTag HasDataset Covers Overlaps
    junctions    And Or Not

Text about pixels has values and a condition of its own, in `miripool.query.pixelwhere`, and the same junctions.
What the nodes mean (types, unknown values, NaN) is described once, in `miripool.query.values`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..sky.circle import Shape
    from ..sky.position import SkyPosition

__all__ = [
    "ALL",
    "And",
    "Arithmetic",
    "Call",
    "Compare",
    "Condition",
    "Covers",
    "Field",
    "HasDataset",
    "HasKey",
    "HasTag",
    "In",
    "IsNull",
    "Item",
    "Keyword",
    "Like",
    "Literal",
    "Node",
    "Not",
    "Or",
    "Overlaps",
    "PythonCall",
    "Range",
    "Reduce",
    "Separation",
    "Slice",
    "Statistic",
    "Subscript",
    "Truth",
    "Unit",
    "WholeArray",
    "children",
    "conjuncts",
    "is_array",
    "is_condition",
    "walk",
]


@dataclass(frozen=True, slots=True)
class Node:
    """Base of all nodes."""


@dataclass(frozen=True, slots=True)
class Condition(Node):
    """Base of the nodes that hold or don't, and are no values."""


@dataclass(frozen=True, slots=True, eq=False)
class Literal(Node):
    """A constant.

    Attributes
    ----------
    value : bool, int, float or str
        Integers fit in 64 bits.
    """

    value: bool | int | float | str

    def __eq__(self, other: object) -> bool:
        # To Python 1 and True are equal; to a predicate they are of two types.
        return isinstance(other, Literal) and (type(self.value), self.value) == (type(other.value), other.value)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Keyword(Node):
    """The value of a FITS keyword.

    Attributes
    ----------
    hdu : str or None
        Name of the HDU; None: the primary header, then the first HDU that has it.
    key : str
        Upper case.
    """

    hdu: str | None
    key: str


@dataclass(frozen=True, slots=True)
class Unit(Node):
    """The unit of a FITS keyword, text."""

    hdu: str | None
    key: str


@dataclass(frozen=True, slots=True)
class Field(Node):
    """Something that every saved product has beside its metadata.

    Attributes
    ----------
    name : str
        A value of `miripool.query.places.FIELDS`.
    """

    name: str


@dataclass(frozen=True, slots=True)
class WholeArray(Node):
    """A whole array of the product.

    Attributes
    ----------
    name : str or None
        Key in the product; None for ``p.data``: SCI, or the first dataset there is.
    """

    name: str | None


@dataclass(frozen=True, slots=True)
class Statistic(Node):
    """What is known of a dataset without reading it.

    Attributes
    ----------
    dataset : str or None
        As in `Dataset`.
    which : str
        ``min``, ``max``, ``mean``, ``std``, ``n``, ``n_nan``, ``n_flagged``, ``ndim``, ``unit`` or ``shape``.
    axis : int or None
        For ``shape``: 0-based, slowest axis first, negative from the end.
    """

    dataset: str | None
    which: str
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice in a subscript, as Python's (which can't be hashed)."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Separation(Node):
    """Degrees from a position to the centre of the footprint; unknown where there is no footprint."""

    position: SkyPosition
    darks: bool = False


Item: TypeAlias = "int | str | Slice | EllipsisType | Node"
"""Of a subscript: an index, a table's column, a slice, ``...``, or a condition that picks elements."""


@dataclass(frozen=True, slots=True)
class Subscript(Node):
    """A part of an array. A column or a condition stands alone."""

    operand: Node
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Reduce(Node):
    """One value from many: NaN and unknown elements are left out.

    Attributes
    ----------
    function : str
        One of `miripool.model.reductions.REDUCTIONS`.
    operand : Node
        An array.
    axis : tuple of int, optional
        Axes to reduce; all of them without.
    """

    function: str
    operand: Node
    axis: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """``+ - * / // % **`` in float64, or ``& | ^`` on the bits of integers."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function of values: ``abs neg invert isnan min max len lower upper``."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class PythonCall(Node):
    """A plain function of the caller, applied to the product."""

    name: str
    function: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Compare(Condition):
    """``==``, ``!=``, ``<``, ``<=``, ``>`` or ``>=`` of two values."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Range(Condition):
    """A value between two literals of one type: one scan of an index instead of two.

    Attributes
    ----------
    operand : Node
        The value.
    low, high : Literal
        The ends.
    low_open, high_open : bool
        Whether the end itself is outside.
    """

    operand: Node
    low: Literal
    high: Literal
    low_open: bool = False
    high_open: bool = False


@dataclass(frozen=True, slots=True)
class In(Condition):
    """A value that equals one of the literals."""

    operand: Node
    items: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Like(Condition):
    r"""A text that has a form.

    Attributes
    ----------
    operand : Node
        The text.
    pattern : str
        As in SQL: ``%`` any characters, ``_`` one character, ``\`` takes the meaning off the next.
    """

    operand: Node
    pattern: str


@dataclass(frozen=True, slots=True)
class IsNull(Condition):
    """A value that is missing or undefined."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Truth(Condition):
    """A value that is true; elements of an array that are not zero."""

    operand: Node


@dataclass(frozen=True, slots=True)
class HasKey(Condition):
    """The product has the keyword, be its value undefined."""

    hdu: str | None
    key: str


@dataclass(frozen=True, slots=True)
class HasTag(Condition):
    """The tag marks this version."""

    label: str


@dataclass(frozen=True, slots=True)
class HasDataset(Condition):
    """The product has a dataset of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class Covers(Condition):
    """The footprint has a position inside; unknown where there is no footprint.

    Attributes
    ----------
    position : SkyPosition
        On the sky.
    darks : bool
        Whether footprints of darks, and of exposures through OPAQUE, count.
    """

    position: SkyPosition
    darks: bool = False


@dataclass(frozen=True, slots=True)
class Overlaps(Condition):
    """The footprint and a circle or polygon have a part of the sky in common; unknown where there is no footprint."""

    shape: Shape
    darks: bool = False


@dataclass(frozen=True, slots=True)
class And(Condition):
    """All of the parts; without parts: always."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or(Condition):
    """Any of the parts; without parts: never."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """The part is known to be false."""

    part: Node


ALL = And(())
"""The predicate that every product satisfies."""


@functools.cache
def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def children(node: Node) -> Iterator[Node]:
    """Give the nodes directly below one.

    Parameters
    ----------
    node : Node
        Any.

    Yields
    ------
    Node
        In the order in which they are written.
    """
    for name in _fields(type(node)):  # type: ignore[arg-type]
        value = getattr(node, name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Node))


def walk(node: Node) -> Iterator[Node]:
    """Give a node and all below it.

    Parameters
    ----------
    node : Node
        Any.

    Yields
    ------
    Node
        Parents first.
    """
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(list(children(node))))


def conjuncts(node: Node) -> tuple[Node, ...]:
    """Split a predicate into the conditions that must all hold.

    Parameters
    ----------
    node : Node
        A condition.

    Returns
    -------
    tuple of Node
        Empty for the predicate that always holds.
    """
    return node.parts if isinstance(node, And) else (node,)


def is_condition(node: Node) -> bool:
    """Tell whether a node is a condition by itself, not a value.

    Parameters
    ----------
    node : Node
        Any.

    Returns
    -------
    bool
        True for comparisons, junctions and the like.
    """
    return isinstance(node, Condition)


def is_array(node: Node) -> bool:
    """Tell whether a node has many values for one product.

    Parameters
    ----------
    node : Node
        Any.

    Returns
    -------
    bool
        True for datasets, for what is computed from them element by element, and for reductions along an axis.
    """
    if isinstance(node, WholeArray):
        return True
    if isinstance(node, Reduce) and node.axis is None:
        return False
    if isinstance(node, Subscript):
        return is_array(node.operand)
    return any(is_array(child) for child in children(node))
