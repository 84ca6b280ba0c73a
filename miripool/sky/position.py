"""Positions on the sky: right ascension and declination, ICRS, as numbers, text, or coordinates of astropy."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, TypeAlias

from ..errors import InvalidInput

__all__ = [
    "SkyPosition",
    "Vector",
    "check_radius",
    "cross",
    "dot",
    "in_degrees",
    "read_position",
    "separation",
    "unit",
]

Vector: TypeAlias = tuple[float, float, float]
"""x towards RA 0, Dec 0; y towards RA 90; z towards the north pole."""

_ANGLE = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d+\.?\d*|\.\d+)"
    r"(?:(?P<unit>[hd°:])(?:(?P<minutes>\d+\.?\d*)(?:[m:'\u2032](?:(?P<seconds>\d+\.?\d*)[s\"\u2033]?)?)?)?)?",
    re.ASCII,
)
_FORMS = "write a position as 150.1167, 2.2058 (degrees) or '10h00m28s +02d12m21s'"
_UNITS = frozenset("hd°:")
"""What parts a whole number of hours or degrees from the minutes behind it."""
_BOUNDS = {"RA": (0, 360), "Dec": (-90, 90)}


@dataclass(frozen=True, slots=True)
class SkyPosition:
    """A position on the sky.

    Attributes
    ----------
    ra, dec : float
        Right ascension, 0 to 360, and declination, -90 to 90, degrees, ICRS.
    text : str or None
        How the user wrote it, if in hours, minutes or seconds: messages repeat it. It doesn't count in comparisons.
    """

    ra: float
    dec: float
    text: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check("RA", self.ra)
        _check("Dec", self.dec)

    @property
    def vector(self) -> Vector:
        """The direction, of length 1."""
        ra, dec = math.radians(self.ra), math.radians(self.dec)
        return math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)

    @classmethod
    def towards(cls, vector: Vector) -> SkyPosition:
        """Give the position in a direction.

        Parameters
        ----------
        vector : Vector
            Of any length but 0.

        Returns
        -------
        SkyPosition
            RA from 0, below 360.
        """
        x, y, z = vector
        ra = math.degrees(math.atan2(y, x)) % 360.0
        return cls(0.0 if ra == 360.0 else ra, math.degrees(math.atan2(z, math.hypot(x, y))))


def dot(a: Vector, b: Vector) -> float:
    """Give the inner product of two vectors."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Give the vector product of two vectors."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def unit(vector: Vector) -> Vector:
    """Give the vector of length 1 in a direction; the length must not be 0."""
    length = math.hypot(*vector)
    return vector[0] / length, vector[1] / length, vector[2] / length


def separation(a: Vector, b: Vector) -> float:
    """Give the angle between two directions.

    Parameters
    ----------
    a, b : Vector
        Of length 1.

    Returns
    -------
    float
        Degrees. By the lengths of sum and difference, which is exact for small angles and for large ones (W. Kahan,
        "How Futile are Mindless Assessments of Roundoff", 2006, section 12).
    """
    apart = math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2])
    together = math.hypot(a[0] + b[0], a[1] + b[1], a[2] + b[2])
    return math.degrees(2 * math.atan2(apart, together))


def check_radius(radius: Any) -> float:
    """Insist that the radius of a circle is one.

    Parameters
    ----------
    radius : float
        Degrees.

    Returns
    -------
    float
        The same.

    Raises
    ------
    InvalidInput
        If it is not above 0 and at most 180.
    """
    if isinstance(radius, bool) or not isinstance(radius, int | float) or not 0 < radius <= 180:
        raise InvalidInput(f"a radius is above 0 and at most 180 degrees, not {radius!r}")
    return float(radius)


def read_position(*given: Any) -> SkyPosition:
    """Read a position.

    Parameters
    ----------
    *given : object
        RA and Dec, each as a number in degrees, as an angle of astropy (`Quantity`, `Angle`, `Longitude`, `Latitude`),
        or as text; or one text with both; or one coordinate of astropy (`SkyCoord`, in any frame, or a frame with data,
        `Galactic(l, b)`). Text is in degrees (``150.1167``,
        ``150d07m00s``) or, for RA, in hours (``10h00m28s``, ``10:00:28``). Hours, minutes and seconds may have blanks
        between them: ``10 00 28 +02 12 21``.

    Returns
    -------
    SkyPosition
        ICRS.

    Raises
    ------
    InvalidInput
        If it can't be read, or there is no such position.
    """
    written: tuple[Any, ...] = given
    if len(given) == 1 and isinstance(given[0], str):
        given = _split(given[0])
    elif len(given) == 1 and hasattr(given[0], "transform_to"):
        given = _of_coordinate(given[0])
    if len(given) != 2:
        raise InvalidInput(f"a position has two coordinates; {_FORMS}")
    ra, dec = (_read_angle(value, name) for value, name in zip(given, _BOUNDS, strict=True))
    return SkyPosition(ra, dec, _text(written) if any(map(_has_units, given)) else None)


def in_degrees(angle: Any, what: str) -> float:
    """Give an angle in degrees.

    Parameters
    ----------
    angle : float or Quantity
        A number in degrees, or one angle of astropy: `Quantity`, `Angle`, `Longitude`, `Latitude`.
    what : str
        What it is, for the error.

    Returns
    -------
    float
        Degrees.

    Raises
    ------
    InvalidInput
        If it is no angle, or several.
    """
    if getattr(angle, "shape", ()):
        raise InvalidInput(f"one {what} is wanted here, and this is an array of {angle.size}")
    try:
        return float(angle.to_value("deg") if hasattr(angle, "to_value") else angle)
    except (TypeError, ValueError):  # astropy's error for a unit that is no angle is both
        raise InvalidInput(f"{angle!r} is no {what}; give degrees, or an angle with a unit") from None


def _of_coordinate(coordinate: Any) -> tuple[float, float]:
    """Give RA and Dec of a coordinate of astropy, degrees, ICRS."""
    from astropy.coordinates import ICRS, SkyCoord

    try:
        icrs = SkyCoord(coordinate).transform_to(ICRS())
    except (AttributeError, TypeError, ValueError):  # the first for altitude and azimuth without a place and a time
        raise InvalidInput("this coordinate can't be turned into ICRS: it has no data, no place, or no time") from None
    if icrs.shape:
        raise InvalidInput(
            f"one position is wanted here, and this coordinate is an array of {icrs.size}; give them one by one"
        )
    return float(icrs.ra.deg), float(icrs.dec.deg)


def _has_units(value: Any) -> bool:
    """Tell whether a coordinate is text that is not just a number of degrees."""
    return isinstance(value, str) and not _UNITS.isdisjoint(value)


def _text(written: tuple[Any, ...]) -> str | None:
    """Give a position as the user wrote it, in one text; None where a part of it is a number."""
    return " ".join(" ".join(written).split()) if all(isinstance(part, str) for part in written) else None


def _check(name: str, degrees: float, written: object = None) -> None:
    """Insist that a coordinate is within its bounds."""
    low, high = _BOUNDS[name]
    if not low <= degrees <= high:  # NaN is not
        shown = degrees if written is None else f"{written} ({degrees:.10g} degrees)"
        raise InvalidInput(f"{name} {shown} is not between {low} and {high} degrees")


def _split(text: str) -> tuple[str, ...]:
    """Split text into RA and Dec."""
    words = text.replace(",", " ").split()
    if len(words) == 6:
        between = "" if any(word[-1:] in _UNITS for word in words) else ":"
        return between.join(words[:3]), between.join(words[3:])
    if len(words) != 2:
        raise InvalidInput(f"{text!r} is no position; {_FORMS}")
    return tuple(words)


def _read_angle(value: Any, name: str) -> float:
    """Give a coordinate in degrees, within its bounds."""
    if isinstance(value, Real) and not isinstance(value, bool):
        _check(name, float(value))
        return float(value)
    if hasattr(value, "to_value"):
        degrees = in_degrees(value, name)
        _check(name, degrees, value)
        return degrees
    found = _ANGLE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or (found["unit"] == "h" and name != "RA"):
        raise InvalidInput(f"{name} can't be read from {value!r}; {_FORMS}")
    minutes, seconds = float(found["minutes"] or 0), float(found["seconds"] or 0)
    if minutes >= 60 or seconds >= 60:
        raise InvalidInput(f"{name} {value!r} has 60 or more minutes or seconds")
    degrees = float(found["whole"]) + minutes / 60 + seconds / 3600
    in_hours = name == "RA" and found["unit"] in ("h", ":")
    degrees *= (-1 if found["sign"] == "-" else 1) * (15 if in_hours else 1)
    _check(name, degrees, repr(value) if found["unit"] else None)
    return degrees
