"""Conditions on the sky as SQL: the index of the cells finds few footprints, then their edges decide exactly.

A footprint consists of convex pieces, whose edges stand in the array ``footprint.edges`` (`0018_sky.sql`). What is
asked of the edges of one piece is one aggregate, grouped by the piece's number; the mathematics is that of
`miripool.sky.polygon`, which answers the same question about one product.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    String,
    and_,
    bindparam,
    cast,
    column,
    func,
    literal,
    not_,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE

from ..query.tree import Compare, Covers, Literal, Node, Overlaps, Range, Separation
from ..sky.cells import cell_at, cells_of, ranges_text
from ..sky.circle import Circle
from ..sky.polygon import TOLERANCE
from .footprints import NUMBERS
from .predicates import Columns, condition
from .schema import footprint

if TYPE_CHECKING:
    from sqlalchemy import FromClause, Select, TextClause

    from ..sky.circle import Shape
    from ..sky.polygon import Edge
    from ..sky.position import Vector

__all__ = ["find_footprints", "is_near", "row_condition", "separation_of"]

_PIECE, _NORMAL, _START, _END = 0, 1, 4, 7
"""Where an edge's numbers begin."""
_SEEN = footprint.alias("seen")
"""Made once: SQLAlchemy makes some 100 objects for it."""
_EDGE = "seen.edges"
_FROM = f"FROM generate_series(1, cardinality({_EDGE}), {NUMBERS}) AS e(i)"


def find_footprints(node: Node) -> Select[Any] | None:
    """Give a condition as a set of serials.

    Parameters
    ----------
    node : Node
        In normal form.

    Returns
    -------
    Select or None
        Of exactly the versions that satisfy it; None if it is not about the sky, or the index of the cells can't help.
    """
    if isinstance(node, (Covers, Overlaps)):
        return select(_SEEN.c.serial).where(_counts(darks=node.darks), _holds_for(node))
    asked = _farthest(node)
    if asked is None:
        return None
    place, radius = asked
    ranges = func.unnest(_multirange(Circle(place.position, min(radius, 180.0))))
    cells = ranges.table_valued(column("r")).render_derived()
    near = and_(_SEEN.c.centre >= func.lower(cells.c.r), _SEEN.c.centre < func.upper(cells.c.r))
    exact = condition(node, lambda _: Columns(number=_degrees(place.position.vector)))
    return select(_SEEN.c.serial).join_from(cells, _SEEN, near).where(_counts(darks=place.darks), exact)


def is_near(node: Node) -> bool:
    """Tell whether a condition asks for what is at most so far from a position."""
    return _farthest(node) is not None


def _holds_for(node: Covers | Overlaps) -> ColumnElement[bool]:
    """Write a condition on one row of `footprint`: true or false."""
    edges = _Edges()
    if isinstance(node, Covers):
        cell = literal(cell_at(node.position), BigInteger)
        return and_(
            _SEEN.c.cells.op("@>", is_comparison=True)(cell), edges.condition(edges.covers(node.position.vector))
        )
    touched = _SEEN.c.cells.op("&&", is_comparison=True)(_multirange(node.shape))
    if isinstance(node.shape, Circle):
        middle, radius = node.shape.middle.vector, node.shape.radius
        found = [edges.covers(middle), edges.reaches(middle, radius)]
    else:
        found = [edges.meets(piece) for piece in node.shape.pieces]
    return and_(touched, edges.condition(f"({' OR '.join(found)})"))


def separation_of(node: Separation, serial: ColumnElement[Any], outer: FromClause) -> ColumnElement[Any]:
    """Give the distance of a product's footprint from a position.

    Parameters
    ----------
    node : Separation
        The position.
    serial : ColumnElement
        The product's.
    outer : FromClause
        Where that column comes from.

    Returns
    -------
    ColumnElement
        Degrees; NULL where there is no footprint.
    """
    chosen = select(_degrees(node.position.vector)).where(_SEEN.c.serial == serial, _counts(darks=node.darks))
    return chosen.correlate(outer).scalar_subquery()


def row_condition(node: Covers | Overlaps, serial: ColumnElement[Any], outer: FromClause) -> ColumnElement[Any]:
    """Give whether a product's footprint satisfies a condition; NULL where there is none. As for `separation_of`."""
    chosen = select(_holds_for(node)).where(_SEEN.c.serial == serial, _counts(darks=node.darks))
    return chosen.correlate(outer).scalar_subquery()


def _counts(*, darks: bool) -> ColumnElement[bool]:
    return true() if darks else not_(_SEEN.c.dark)


def _multirange(shape: Shape) -> ColumnElement[Any]:
    return cast(literal(ranges_text(cells_of(shape)), String), INT8MULTIRANGE)


def _farthest(node: Node) -> tuple[Separation, float] | None:
    """Give the distance beyond which a comparison can't hold."""
    if isinstance(node, Compare) and node.op in ("<", "<=", "=="):
        place, end = node.left, node.right
    elif isinstance(node, Range):
        place, end = node.operand, node.high
    else:
        return None
    if not isinstance(place, Separation) or not isinstance(end, Literal) or isinstance(end.value, bool | str):
        return None
    return (place, float(end.value)) if end.value > 0 else None


class _Edges:
    """Conditions on the edges of a footprint, written as text: SQLAlchemy takes 4 ms for one of its own making."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}

    def value(self, number: float) -> str:
        """Give a number's place in the text."""
        name = f"v{len(self._values)}"
        self._values[name] = number
        return f":{name}"

    def inner(self, first: int, direction: Vector) -> str:
        """Write the inner product of a vector of an edge with a direction."""
        return " + ".join(f"{_EDGE}[e.i + {first + i}] * {self.value(v)}" for i, v in enumerate(direction))

    def any_piece(self, *having: str) -> str:
        """Write that there is a convex piece whose edges satisfy conditions."""
        return f"EXISTS (SELECT {_FROM} GROUP BY {_EDGE}[e.i] HAVING {' AND '.join(having)})"

    def any_edge(self, where: str) -> str:
        """Write that there is an edge that satisfies a condition."""
        return f"EXISTS (SELECT {_FROM} WHERE {where})"

    def covers(self, direction: Vector) -> str:
        """Write that a direction is in a piece."""
        return self.any_piece(f"min({self.inner(_NORMAL, direction)}) >= {-TOLERANCE!r}")

    def meets(self, piece: tuple[Edge, ...]) -> str:
        """Write that no edge, of either of two convex pieces, has the other piece outside."""
        farthest = ", ".join(self.inner(_NORMAL, edge.start) for edge in piece)
        theirs = (f"max({self.inner(_START, edge.normal)}) >= {-TOLERANCE!r}" for edge in piece)
        return self.any_piece(f"min(greatest({farthest})) >= {-TOLERANCE!r}", *theirs)

    def reaches(self, middle: Vector, radius: float) -> str:
        """Write that an edge comes as near to a direction as a radius, in degrees, says."""
        chord = 2 * math.sin(math.radians(radius) / 2)
        offsets = (f"({_EDGE}[e.i + {_START + i}] - {self.value(v)}) ^ 2" for i, v in enumerate(middle))
        along = " + ".join(f"{_EDGE}[e.i + {_START + i}] * {_EDGE}[e.i + {_END + i}]" for i in range(3))
        start, end = (f"({self.inner(place, middle)})" for place in (_START, _END))
        beside = f"{start} >= ({along}) * {end} AND {end} >= ({along}) * {start}"
        reach = self.value(math.sin(math.radians(min(radius, 90.0))))
        near = f"abs({self.inner(_NORMAL, middle)}) <= {reach}"
        return self.any_edge(f"{' + '.join(offsets)} <= {self.value(chord * chord)} OR ({beside} AND {near})")

    def condition(self, words: str) -> TextClause:
        """Give the text with its values."""
        values = (bindparam(name, value, Double, unique=True) for name, value in self._values.items())
        return text(words).bindparams(*values)


def _degrees(direction: Vector) -> ColumnElement[Any]:
    """Give the angle between the centre of a footprint and a direction, as `miripool.sky.position.separation` does."""
    places = (_SEEN.c.x, _SEEN.c.y, _SEEN.c.z)

    def length(sign: int) -> ColumnElement[Any]:
        x, y, z = (c + literal(sign * v, Double) for c, v in zip(places, direction, strict=True))
        return func.sqrt(x * x + y * y + z * z, type_=Double)

    return func.degrees(2 * func.atan2(length(-1), length(1), type_=Double), type_=Double)
