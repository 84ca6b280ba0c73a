"""Footprints: the part of the sky that an exposure's header says it saw.

S_REGION says it. Where that is missing or can't be read, the outline of the array is computed from the telescope's
pointing (RA_REF, DEC_REF, ROLL_REF, V3I_YANG, VPARITY), for the imager alone: the pixels of a spectrum are no picture
of the sky. The footprint is that of the whole array, not of the pixels that light reaches.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..instruments.known import DETECTORS
from .circle import Circle
from .pointing import POINTING_KEYS, SIZE_KEYS, Pointing
from .polygon import SkyPolygon
from .position import Vector, unit
from .region import read_region

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .circle import Shape
    from .polygon import Edge

__all__ = ["DARK_FILTER", "FOOTPRINT_KEYS", "Footprint", "footprint_of", "is_dark", "is_image", "pointing_of"]

_log = logging.getLogger(__name__)

FOOTPRINT_KEYS = ("S_REGION", "DETECTOR", "EXP_TYPE", "FILTER", *POINTING_KEYS)
"""Keywords that are read; each means its first card in the file."""
DARK_FILTER = "OPAQUE"
"""Filter through which no light comes."""
_PRISM = "P750L"
_LRS = "MIR_LRS"


@dataclass(frozen=True, slots=True)
class Footprint:
    """The part of the sky that an exposure saw.

    Attributes
    ----------
    polygons : tuple of SkyPolygon
        At least one; they may overlap.
    dark : bool
        Whether the exposure is a dark or was taken through OPAQUE: the telescope points somewhere, but nothing is seen.
    """

    polygons: tuple[SkyPolygon, ...]
    dark: bool = False

    @property
    def centre(self) -> Vector:
        """Direction of the centre of its area."""
        parts = [tuple(polygon.area * x for x in polygon.centroid) for polygon in self.polygons]
        x, y, z = map(sum, zip(*parts, strict=True))
        return unit((x, y, z))

    def pieces(self) -> Iterator[tuple[Edge, ...]]:
        """Give the convex pieces of all polygons."""
        for polygon in self.polygons:
            yield from polygon.pieces

    def covers(self, direction: Vector) -> bool:
        """Tell whether a direction is inside, or on an edge."""
        return any(polygon.covers(direction) for polygon in self.polygons)

    def meets(self, shape: Shape) -> bool:
        """Tell whether a circle or a polygon overlaps the footprint or touches it."""
        if isinstance(shape, Circle):
            middle = shape.middle.vector
            return any(polygon.meets_circle(middle, shape.radius) for polygon in self.polygons)
        return any(polygon.meets(shape) for polygon in self.polygons)


def footprint_of(values: Mapping[str, Any]) -> Footprint | None:
    """Read a header.

    Parameters
    ----------
    values : mapping of str to object
        What it says for `FOOTPRINT_KEYS`.

    Returns
    -------
    Footprint or None
        None where it does not say, or what it says makes no sense: the log has why.
    """
    polygons = _named(values) or _pointed(values)
    return Footprint(polygons, is_dark(values)) if polygons else None


def is_dark(values: Mapping[str, Any]) -> bool:
    """Tell whether no light was to reach the detector: EXP_TYPE is a dark's, or the filter is OPAQUE."""
    return "DARK" in _text(values, "EXP_TYPE") or _text(values, "FILTER") == DARK_FILTER


def is_image(values: Mapping[str, Any]) -> bool:
    """Tell whether the pixels are a picture of the sky: the imager's or a coronagraph's, without the prism."""
    detector = DETECTORS.get(_text(values, "DETECTOR"))
    dispersed = _text(values, "FILTER") == _PRISM or _text(values, "EXP_TYPE").startswith(_LRS)
    return detector is not None and detector.pixel_scale is not None and not dispersed


def pointing_of(values: Mapping[str, Any]) -> Pointing | None:
    """Give the linear world coordinates of an image.

    Parameters
    ----------
    values : mapping of str to object
        What a header says for `FOOTPRINT_KEYS`.

    Returns
    -------
    Pointing or None
        None where the header has none, or the pixels are no picture of the sky.
    """
    return Pointing.read(values, DETECTORS[_text(values, "DETECTOR")]) if is_image(values) else None


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return value.strip().upper() if isinstance(value, str) else ""


def _named(values: Mapping[str, Any]) -> tuple[SkyPolygon, ...]:
    region = values.get("S_REGION")
    if not isinstance(region, str) or not region.strip():
        return ()
    try:
        return read_region(region)
    except InvalidInput as error:
        _log.debug("%s; its pointing is used instead", error)
        return ()


def _pointed(values: Mapping[str, Any]) -> tuple[SkyPolygon, ...]:
    pointing = pointing_of(values)
    size = [values.get(key) for key in SIZE_KEYS]
    if pointing is None or not all(isinstance(n, int | float) and 0 < n < 10_000 for n in size):
        return ()
    columns, rows = (int(n) for n in size if n is not None)
    try:
        return (SkyPolygon(pointing.outline(columns, rows)),)
    except InvalidInput as error:
        _log.debug("the pointing in a header makes no footprint: %s", error)
        return ()
