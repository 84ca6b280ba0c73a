"""S_REGION: the footprint that a header names, in the words of STC-S."""

from __future__ import annotations

import logging
import math
import re

from ..errors import InvalidInput
from .polygon import SkyPolygon
from .position import SkyPosition

__all__ = ["read_region"]

_log = logging.getLogger(__name__)

_REGION = re.compile(
    r"\s*POLYGON\s+(?:(?:ICRS|J2000|FK5)\s+)?(?P<numbers>(?:[^A-Z]|(?<=[\d.])E(?=[-+]?\d))*)", re.IGNORECASE
)
"""FK5 and ICRS differ by 0.02 arcseconds."""


def read_region(text: str) -> tuple[SkyPolygon, ...]:
    """Read the keyword S_REGION.

    Parameters
    ----------
    text : str
        ``POLYGON ICRS ra1 dec1 ra2 dec2 …`` in degrees, one or several times.

    Returns
    -------
    tuple of SkyPolygon
        Those that have an inside; why another one is left out goes to the log.

    Raises
    ------
    InvalidInput
        If the text has another form.
    """
    found: list[SkyPolygon] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        part = _REGION.match(text, at)
        if part is None:
            if found:
                _log.debug("the end of S_REGION %r is left out: it is no polygon", text[:200])
                break
            raise InvalidInput(f"S_REGION {text[:80]!r} is no list of polygons")
        try:
            found.append(SkyPolygon(_corners(part["numbers"])))
        except InvalidInput as error:
            _log.debug("a polygon of S_REGION %r is left out: %s", text[:200], error)
        at = part.end()
    return tuple(found)


def _corners(numbers: str) -> list[SkyPosition]:
    """Read pairs of RA and Dec; an RA may be below 0 or beyond 360."""
    try:
        values = [float(word) for word in numbers.replace(",", " ").split()]
    except ValueError:
        raise InvalidInput(f"S_REGION has {numbers.strip()[:40]!r} where numbers are expected") from None
    if len(values) % 2 or not all(map(math.isfinite, values)):
        raise InvalidInput("S_REGION has no pairs of finite numbers")
    return [SkyPosition(ra % 360.0, dec) for ra, dec in zip(values[::2], values[1::2], strict=True)]
