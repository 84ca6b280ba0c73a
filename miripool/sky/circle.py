"""Circles on the sky, and what a footprint is compared with: circles and polygons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .polygon import SkyPolygon
from .position import SkyPosition, check_radius

__all__ = ["Circle", "Shape"]


@dataclass(frozen=True, slots=True)
class Circle:
    """All positions up to some angle away from one.

    Attributes
    ----------
    middle : SkyPosition
        The one.
    radius : float
        Degrees, above 0 and at most 180.
    """

    middle: SkyPosition
    radius: float

    def __post_init__(self) -> None:
        check_radius(self.radius)


Shape: TypeAlias = Circle | SkyPolygon
"""A part of the sky."""
