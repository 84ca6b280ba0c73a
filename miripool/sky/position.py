"""Positions on the sky: right ascension and declination, ICRS, as numbers, text, or coordinates of astropy."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

from ..errors import InvalidInput

__all__ = ["SkyPosition", "Vector", "check_radius", "cross", "dot", "read_position", "separation", "unit"]

Vector: TypeAlias = tuple[float, float, float]
"""x towards RA 0, Dec 0; y towards RA 90; z towards the north pole."""

_ANGLE = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d+\.?\d*|\.\d+)"
    r"(?:(?P<unit>[hd°:])(?:(?P<minutes>\d+\.?\d*)(?:[m:'\u2032](?:(?P<seconds>\d+\.?\d*)[s\"\u2033]?)?)?)?)?",
    re.ASCII,
)
_FORMS = "write a position as 150.1167, 2.2058 (degrees) or '10h00m28s +02d12m21s'"


@dataclass(frozen=True, slots=True)
class SkyPosition:
    """A position on the sky.

    Attributes
    ----------
    ra, dec : float
        Right ascension, 0 to 360, and declination, -90 to 90, degrees, ICRS.
    """

    ra: float
    dec: float

    def __post_init__(self) -> None:
        if not 0 <= self.ra <= 360:  # NaN is neither
            raise InvalidInput(f"RA {self.ra} is not between 0 and 360 degrees")
        if not -90 <= self.dec <= 90:
            raise InvalidInput(f"Dec {self.dec} is not between -90 and 90 degrees")

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
        RA and Dec, each as a number in degrees or as text; or one text with both; or one coordinate of astropy
        (`SkyCoord`). Text is in degrees (``150.1167``, ``150d07m00s``) or, for RA, in hours (``10h00m28s``,
        ``10:00:28``). Hours, minutes and seconds may have blanks between them: ``10 00 28 +02 12 21``.

    Returns
    -------
    SkyPosition
        ICRS.

    Raises
    ------
    InvalidInput
        If it can't be read, or there is no such position.
    """
    if len(given) == 1 and isinstance(given[0], str):
        given = _split(given[0])
    elif len(given) == 1 and hasattr(given[0], "icrs"):
        icrs = given[0].icrs
        if getattr(icrs, "shape", ()):
            raise InvalidInput("one position is wanted here, and this coordinate has several")
        given = (float(icrs.ra.deg), float(icrs.dec.deg))
    if len(given) != 2:
        raise InvalidInput(f"a position has two coordinates; {_FORMS}")
    ra, dec = (_read_angle(value, is_ra=is_ra) for value, is_ra in zip(given, (True, False), strict=True))
    return SkyPosition(ra, dec)


def _split(text: str) -> tuple[str, ...]:
    """Split text into RA and Dec."""
    words = text.replace(",", " ").split()
    if len(words) == 6:
        between = "" if any(word[-1:] in "hd°" for word in words) else ":"
        return between.join(words[:3]), between.join(words[3:])
    if len(words) != 2:
        raise InvalidInput(f"{text!r} is no position; {_FORMS}")
    return tuple(words)


def _read_angle(value: Any, *, is_ra: bool) -> float:
    """Give an angle in degrees."""
    name = "RA" if is_ra else "Dec"
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    found = _ANGLE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or (found["unit"] == "h" and not is_ra):
        raise InvalidInput(f"{name} can't be read from {value!r}; {_FORMS}")
    minutes, seconds = float(found["minutes"] or 0), float(found["seconds"] or 0)
    if minutes >= 60 or seconds >= 60:
        raise InvalidInput(f"{name} {value!r} has 60 or more minutes or seconds")
    degrees = float(found["whole"]) + minutes / 60 + seconds / 3600
    in_hours = is_ra and found["unit"] in ("h", ":")
    return (-1 if found["sign"] == "-" else 1) * degrees * (15 if in_hours else 1)
