"""Conditions on the sky as text, made of coordinates: to be used in queries, alone or with others."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidInput
from ..sky.circle import Circle
from ..sky.polygon import SkyPolygon
from ..sky.position import in_degrees, read_position
from .text import to_text
from .tree import Covers, Overlaps, Separation

__all__ = ["covers", "overlaps", "separation"]


def covers(*position: Any, darks: bool = False) -> str:
    """Write the condition that a footprint has a position.

    Parameters
    ----------
    *position : SkyCoord, str, float or Quantity
        One coordinate of astropy; or text, ``"10h00m28s +02d12m21s"``; or RA and Dec, each in degrees, as an angle
        with a unit, or as text. ICRS.
    darks : bool, keyword-only
        Whether darks, and exposures through OPAQUE, count.

    Returns
    -------
    str
        E.g. ``covers(150.1167, 2.2058)``, for `Pool.select` and all that takes a condition.

    Raises
    ------
    InvalidInput
        If there is no such position.
    """
    return to_text(Covers(read_position(*position), darks))


def overlaps(where: Any, radius: Any = None, *, darks: bool = False) -> str:
    """Write the condition that a footprint has a part of the sky in common with a circle or a polygon.

    Parameters
    ----------
    where : SkyCoord, str or sequence
        Middle of the circle, as for `covers`; or the corners of a polygon: a `SkyCoord` of several, or a list.
    radius : float or Quantity, optional
        Of the circle; degrees unless it has a unit.
    darks : bool, keyword-only
        Whether darks, and exposures through OPAQUE, count.

    Returns
    -------
    str
        E.g. ``overlaps(circle(150.1, 2.2, 0.5))``.

    Raises
    ------
    InvalidInput
        If there is no such circle or polygon.
    """
    if radius is None:
        if isinstance(where, str) or getattr(where, "isscalar", False):
            raise InvalidInput(f"overlaps({where!r}) is one position; give a radius in degrees, or several corners")
        return to_text(Overlaps(SkyPolygon([_corner(corner) for corner in where]), darks))
    return to_text(Overlaps(Circle(_corner(where), in_degrees(radius, "radius")), darks))


def separation(*position: Any, darks: bool = False) -> str:
    """Write the angle between a position and the centre of a footprint, in degrees, to be compared with a number.

    Parameters
    ----------
    *position, darks : object
        As for `covers`.

    Returns
    -------
    str
        E.g. ``separation(150.1, 2.2)``: ``pool.select(f"{separation(coord)} < 2")``.
    """
    return to_text(Separation(read_position(*position), darks))


def _corner(given: Any) -> Any:
    return read_position(*given) if isinstance(given, tuple | list) else read_position(given)
