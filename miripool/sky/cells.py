"""Cells: where footprints are, in numbers that a database can index.

The cells are those of HEALPix, in nested order, so that a part of the sky is few ranges of numbers. A shape's cells
are all that it touches, and some more; what is in them is then compared exactly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from .circle import Circle
from .position import SkyPosition, separation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .circle import Shape

__all__ = ["Ranges", "cell_at", "cells_of", "ranges_text"]

Ranges: TypeAlias = "list[tuple[int, int]]"
"""First cell, and the one behind the last."""

_DEPTH = 29
"""The deepest: 0.4 milliarcseconds."""
_MOST = 27
"""The deepest at which cells of a circle are asked for: cdshealpix fails beyond that."""
_CELL = 58.6
"""Degrees that a cell of depth 0 is wide; each depth halves that."""
_CELLS = 12 << 2 * _DEPTH
"""Of the whole sky."""
_WIDE = 60.0
"""Radius in degrees from which all of the sky is looked at."""
_MARGIN = 1e-9
"""Degrees that are added to a radius: what touches the shape at its edge is in the cells as well."""
_FINE = 1.5
"""How often a cell fits in the radius, from that to twice as often: 13 to 60 cells, 5 to 20 ranges, for a circle. The
finer they are, the fewer footprints have to be looked at, and the more there is to store."""


def cell_at(position: SkyPosition) -> int:
    """Give the cell of a position.

    Parameters
    ----------
    position : SkyPosition
        Anywhere.

    Returns
    -------
    int
        Nested, of depth 29.
    """
    from astropy import units
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import lonlat_to_healpix

    lon, lat = Longitude(position.ra, units.deg), Latitude(position.dec, units.deg)
    return int(lonlat_to_healpix(lon, lat, _DEPTH, num_threads=1)[0])


def cells_of(shape: Shape) -> Ranges:
    """Give cells in which all of a shape is: those of a circle around it.

    Parameters
    ----------
    shape : Circle or SkyPolygon
        Anywhere.

    Returns
    -------
    list of (int, int)
        In order, nested, of depth 29.
    """
    from astropy import units
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import cone_search

    middle, radius = _around(shape)
    if radius >= _WIDE:
        return [(0, _CELLS)]
    depth = max(0, min(_MOST, int(math.log2(_CELL * _FINE / radius))))
    lon, lat = Longitude(middle.ra, units.deg), Latitude(middle.dec, units.deg)
    cells, depths, _ = cone_search(lon, lat, radius * units.deg, depth)
    found: Ranges = []
    for cell, at in sorted(
        (int(cell) << 2 * (_DEPTH - int(at)), int(at)) for cell, at in zip(cells, depths, strict=True)
    ):
        end = cell + (1 << 2 * (_DEPTH - at))
        if found and found[-1][1] == cell:
            found[-1] = (found[-1][0], end)
        else:
            found.append((cell, end))
    return found


def ranges_text(ranges: Sequence[tuple[int, int]]) -> str:
    """Write ranges as a multirange of PostgreSQL, which puts together what overlaps."""
    return "{" + ",".join(f"[{start},{end})" for start, end in ranges) + "}"


def _around(shape: Shape) -> tuple[SkyPosition, float]:
    """Give a circle around a shape, a little larger than it: its radius in degrees."""
    if isinstance(shape, Circle):
        return shape.middle, shape.radius * 1.000001 + _MARGIN
    radius = max(separation(shape.middle, corner.vector) for corner in shape.corners)
    return SkyPosition.towards(shape.middle), radius * 1.000001 + _MARGIN
