"""Polygons on the sky: their edges are arcs of great circles, their inside is the smaller side.

All is done with directions (vectors of length 1), so that the poles and RA 0 are places like others. A polygon
consists of convex pieces. A direction p is in a convex piece exactly if n·p >= 0 for the normals n of all its edges: n
is the vector product of an edge's start and end, which go round counter-clockwise as seen with north up and east to
the right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InvalidInput
from .position import SkyPosition, Vector, cross, dot, separation, unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["MAX_CORNERS", "TOLERANCE", "Edge", "Plane", "SkyPolygon"]

TOLERANCE = 1e-12
"""Radians (0.2 microarcseconds) outside an edge at which a position still counts as on it: rounding errors are less."""
MAX_CORNERS = 500
_REACH = 40.0
"""Degrees from the middle of a polygon to its farthest corner. Two pieces, and a cell between them, then fit in one
hemisphere, in which convex pieces that don't overlap are divided by an edge of one of them."""
_FLAT = 1e-7
"""Area of a polygon, as a share of the square of its length, from which it has an inside."""

_Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge of a convex piece.

    Attributes
    ----------
    normal : Vector
        Of length 1, towards the inside.
    start, end : Vector
        Its corners.
    """

    normal: Vector
    start: Vector
    end: Vector


class Plane:
    """The plane that touches the sky in one direction; great circles are straight lines in it (gnomonic projection).

    Parameters
    ----------
    middle : Vector
        The direction, of length 1.
    right : Vector, optional
        Where its first axis goes, of length 1 and at a right angle to `middle`; anywhere, if not given. Its second axis
        goes to the left of that.
    """

    def __init__(self, middle: Vector, right: Vector | None = None) -> None:
        self.middle = middle
        other: Vector = (0.0, 0.0, 1.0) if abs(middle[2]) < 0.9 else (1.0, 0.0, 0.0)
        self._right = unit(cross(other, middle)) if right is None else right
        self._up = cross(middle, self._right)

    def project(self, direction: Vector) -> _Point:
        """Give the place of a direction less than 90 degrees away."""
        depth = dot(direction, self.middle)
        return dot(direction, self._right) / depth, dot(direction, self._up) / depth

    def direction(self, point: _Point) -> Vector:
        """Give the direction of a place."""
        x, y = point
        m, r, u = self.middle, self._right, self._up
        return unit((m[0] + x * r[0] + y * u[0], m[1] + x * r[1] + y * u[1], m[2] + x * r[2] + y * u[2]))


@dataclass(frozen=True, slots=True)
class SkyPolygon:
    """A polygon.

    Parameters
    ----------
    corners : tuple of SkyPosition
        In order, in either sense. The first may be repeated at the end.

    Attributes
    ----------
    pieces : tuple of tuple of Edge
        Convex, next to each other; together they are the polygon.
    middle : Vector
        Mean of its corners.
    centroid : Vector
        Centre of its area.
    area : float
        Square radians, of its projection to the plane at the middle of its corners.

    Raises
    ------
    InvalidInput
        If there are fewer than three different corners, the edges cross each other, there is no inside, or a corner is
        more than 40 degrees from the middle.
    """

    corners: tuple[SkyPosition, ...]
    pieces: tuple[tuple[Edge, ...], ...]
    middle: Vector
    centroid: Vector
    area: float

    def __init__(self, corners: Sequence[SkyPosition]) -> None:
        set_ = object.__setattr__
        set_(self, "corners", tuple(corners))
        if len(corners) > MAX_CORNERS:
            raise InvalidInput(f"a polygon has at most {MAX_CORNERS} corners, and this one has {len(corners)}")
        directions = _different([corner.vector for corner in corners])
        if len(directions) < 3:
            raise InvalidInput(f"a polygon has at least three different corners, and this one has {len(directions)}")
        plane = _plane_of(directions)
        points = [plane.project(direction) for direction in directions]
        area, centroid = _measure(points)
        length = max(math.dist(points[0], point) for point in points)
        if abs(area) <= _FLAT * length**2:
            raise InvalidInput("this polygon has no inside: its corners lie on one line, or its edges cross")
        if area < 0:
            points, directions = points[::-1], directions[::-1]
        if _crosses(points):
            raise InvalidInput("the edges of this polygon cross each other; give its corners in order")
        pieces = tuple(_edges([directions[i] for i in piece]) for piece in _convex_pieces(points))
        set_(self, "pieces", pieces)
        set_(self, "middle", plane.middle)
        set_(self, "centroid", plane.direction(centroid))
        set_(self, "area", abs(area))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SkyPolygon) and self.corners == other.corners

    def __hash__(self) -> int:
        return hash(self.corners)

    def covers(self, direction: Vector) -> bool:
        """Tell whether a direction is inside, or on an edge."""
        return any(all(dot(edge.normal, direction) >= -TOLERANCE for edge in piece) for piece in self.pieces)

    def meets_circle(self, middle: Vector, radius: float) -> bool:
        """Tell whether a circle overlaps the polygon.

        Parameters
        ----------
        middle : Vector
            Of the circle.
        radius : float
            Degrees, up to 180.

        Returns
        -------
        bool
            True also where they only touch.
        """
        return self.covers(middle) or any(_reaches(edge, middle, radius) for piece in self.pieces for edge in piece)

    def meets(self, other: SkyPolygon) -> bool:
        """Tell whether another polygon overlaps this one; True also where they only touch."""
        near = separation(self.middle, other.middle) <= 2 * _REACH
        return near and any(not _divided(ours, theirs) for ours in self.pieces for theirs in other.pieces)


def _different(directions: list[Vector]) -> list[Vector]:
    """Leave out corners that repeat the one before them, and a last one that repeats the first."""
    found: list[Vector] = []
    for direction in directions:
        if not found or math.dist(direction, found[-1]) > TOLERANCE:
            found.append(direction)
    while len(found) > 1 and math.dist(found[0], found[-1]) <= TOLERANCE:
        found.pop()
    return found


def _plane_of(directions: list[Vector]) -> Plane:
    total = tuple(map(sum, zip(*directions, strict=True)))
    if math.hypot(*total) > 1e-6 * len(directions):
        middle = unit((total[0], total[1], total[2]))
        if all(separation(middle, direction) <= _REACH for direction in directions):
            return Plane(middle)
    raise InvalidInput(f"a corner is more than {_REACH:g} degrees from the middle of this polygon; use smaller ones")


def _measure(points: list[_Point]) -> tuple[float, _Point]:
    """Give area, positive if counter-clockwise, and centroid of a plane polygon."""
    x0, y0 = points[0]
    area = x = y = 0.0
    for (ax, ay), (bx, by) in _pairs([(px - x0, py - y0) for px, py in points]):
        part = (ax * by - bx * ay) / 2
        area += part
        x += part * (ax + bx) / 3
        y += part * (ay + by) / 3
    return area, ((x0 + x / area, y0 + y / area) if area else points[0])


def _pairs(points: Sequence[_Point]) -> Iterator[tuple[_Point, _Point]]:
    return zip(points, [*points[1:], points[0]], strict=True)


def _turn(a: _Point, b: _Point, c: _Point) -> float:
    """Tell on which side of the line from `a` to `b` a point is: left if positive."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _crosses(points: list[_Point]) -> bool:
    edges = list(_pairs(points))
    for i, (a, b) in enumerate(edges):
        for j in range(i + 2, len(edges) - (i == 0)):
            c, d = edges[j]
            if _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0:
                return True
    return False


def _convex_pieces(points: list[_Point]) -> list[list[int]]:
    """Cut a counter-clockwise polygon into convex pieces, given by the numbers of their corners."""
    left = list(range(len(points)))
    if all(_turn(*(points[k] for k in corner)) >= 0 for corner in _triples(left)):
        return [left]
    pieces: list[list[int]] = []
    while len(left) > 3:
        ear = next((corner for corner in _triples(left) if _is_ear(points, left, corner)), None)
        if ear is None:
            raise InvalidInput("the edges of this polygon touch each other; give it as several polygons")
        if _turn(*(points[k] for k in ear)) > 0:
            pieces.append(list(ear))
        left.remove(ear[1])
    return [*pieces, left] if _turn(*(points[k] for k in left)) > 0 else pieces


def _triples(numbers: list[int]) -> Iterator[tuple[int, int, int]]:
    for i, number in enumerate(numbers):
        yield numbers[i - 1], number, numbers[(i + 1) % len(numbers)]


def _is_ear(points: list[_Point], left: list[int], corner: tuple[int, int, int]) -> bool:
    """Tell whether a corner can be cut off: it is no notch, and no other corner is in the way."""
    a, b, c = (points[k] for k in corner)
    if _turn(a, b, c) < 0:
        return False
    others = (points[k] for k in left if points[k] not in (a, b, c))
    return not any(_turn(a, b, p) >= 0 and _turn(b, c, p) >= 0 and _turn(c, a, p) >= 0 for p in others)


def _edges(corners: list[Vector]) -> tuple[Edge, ...]:
    # Of a short edge, `cross(a, b)` would be what is left of numbers that cancel each other.
    return tuple(
        Edge(unit(cross(a, (b[0] - a[0], b[1] - a[1], b[2] - a[2]))), a, b)
        for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)
    )


def _reaches(edge: Edge, middle: Vector, radius: float) -> bool:
    """Tell whether an edge comes as near to a direction as a radius says."""
    if separation(edge.start, middle) <= radius:
        return True
    from_start, from_end, along = dot(edge.start, middle), dot(edge.end, middle), dot(edge.start, edge.end)
    beside = from_start >= along * from_end and from_end >= along * from_start
    return beside and abs(dot(edge.normal, middle)) <= math.sin(math.radians(min(radius, 90.0)))


def _divided(ours: tuple[Edge, ...], theirs: tuple[Edge, ...]) -> bool:
    """Tell whether an edge of one of two convex pieces has the other one outside."""
    return any(
        all(dot(edge.normal, other.start) < -TOLERANCE for other in there)
        for here, there in ((ours, theirs), (theirs, ours))
        for edge in here
    )
