"""Pointing: where the pixels of an exposure look, by the linear world coordinates of its header.

Sources: the JWST pipeline's `jwst.lib.set_telescope_pointing.calc_rotation_matrix` for the matrix, and the FITS
standard 4.0, chapter 8, for CRPIX, CRVAL, CD, PC and CDELT. The distortion is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .polygon import Plane
from .position import SkyPosition, dot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..instruments.detector import DetectorRecord

__all__ = ["POINTING_KEYS", "SIZE_KEYS", "Pointing"]

_AXES = ("CTYPE1", "CTYPE2")
_MATRIX = ("1_1", "1_2", "2_1", "2_2")
_REFERENCE = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2")
_POINTING = ("RA_REF", "DEC_REF", "ROLL_REF", "V3I_YANG", "VPARITY")
"""V2_REF and V3_REF are the same point on the telescope; around it, the sky is a plane turned by these angles."""
_SUBARRAY = "SUBARRAY"
SIZE_KEYS = ("SUBSIZE1", "SUBSIZE2")
"""Keywords of the size of the array."""
POINTING_KEYS = (
    *_AXES, *_REFERENCE, "CDELT1", "CDELT2", *(f"CD{place}" for place in _MATRIX), *(f"PC{place}" for place in _MATRIX),
    *_POINTING, _SUBARRAY, *SIZE_KEYS,
)  # fmt: skip
"""Keywords that are read."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """The linear relation between the pixels of an exposure and the plane that touches the sky at a reference point.

    Attributes
    ----------
    reference : SkyPosition
        The point.
    x, y : float
        Column and row of the pixel that looks there, 1-based, in the exposure's own array (a subarray's).
    matrix : tuple of float
        Degrees to the east by column and by row, degrees to the north by column and by row, for one pixel.
    """

    reference: SkyPosition
    x: float
    y: float
    matrix: tuple[float, float, float, float]

    @classmethod
    def read(cls, values: Mapping[str, Any], detector: DetectorRecord) -> Pointing | None:
        """Take the world coordinates of a header, or else the telescope's pointing.

        Parameters
        ----------
        values : mapping of str to object
            Keywords and what they say.
        detector : DetectorRecord
            The exposure's.

        Returns
        -------
        Pointing or None
            None where the header has neither, or the detector's pixels have no one scale.
        """
        return _of_world_coordinates(values) or _of_telescope(values, detector)

    def position(self, x: float, y: float) -> SkyPosition:
        """Tell where a pixel looks.

        Parameters
        ----------
        x, y : float
            Column and row, 1-based, in the exposure's own array; 1.0 is the middle of the first one.

        Returns
        -------
        SkyPosition
            Without distortion.
        """
        east, east_y, north, north_y = self.matrix
        dx, dy = x - self.x, y - self.y
        point = math.radians(east * dx + east_y * dy), math.radians(north * dx + north_y * dy)
        return SkyPosition.towards(_tangent(self.reference).direction(point))

    def pixel(self, position: SkyPosition) -> tuple[float, float] | None:
        """Tell which pixel looks at a position.

        Parameters
        ----------
        position : SkyPosition
            Anywhere.

        Returns
        -------
        (float, float) or None
            Column and row as for `position`, perhaps outside the array; None a quarter of the sky away or farther.
        """
        direction = position.vector
        if dot(direction, self.reference.vector) <= 0:
            return None
        east, north = map(math.degrees, _tangent(self.reference).project(direction))
        a, b, c, d = self.matrix
        determinant = a * d - b * c
        return self.x + (d * east - b * north) / determinant, self.y + (a * north - c * east) / determinant

    def outline(self, columns: int, rows: int) -> list[SkyPosition]:
        """Give the corners of an array, at the outer edges of its pixels.

        Parameters
        ----------
        columns, rows : int
            Its size.

        Returns
        -------
        list of SkyPosition
            Four, in order.
        """
        right, top = columns + 0.5, rows + 0.5
        return [self.position(x, y) for x, y in ((0.5, 0.5), (right, 0.5), (right, top), (0.5, top))]


def _tangent(reference: SkyPosition) -> Plane:
    """Give the plane that touches the sky at a position, with east and north as its axes."""
    ra = math.radians(reference.ra)
    return Plane(reference.vector, (-math.sin(ra), math.cos(ra), 0.0))


def _numbers(values: Mapping[str, Any], keys: Iterable[str]) -> list[float] | None:
    """Give the finite numbers of keywords; None where one is missing."""
    found = [values.get(key) for key in keys]
    numbers = [float(v) for v in found if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    return numbers if len(numbers) == len(found) else None


def _of_world_coordinates(values: Mapping[str, Any]) -> Pointing | None:
    if not all(
        str(values.get(key)).startswith(kind) for key, kind in zip(_AXES, ("RA---TAN", "DEC--TAN"), strict=True)
    ):
        return None
    reference = _numbers(values, _REFERENCE)
    matrix = _numbers(values, [f"CD{place}" for place in _MATRIX])
    if matrix is None:
        turned, scale = _numbers(values, [f"PC{place}" for place in _MATRIX]), _numbers(values, ("CDELT1", "CDELT2"))
        if turned is None or scale is None:
            return None
        matrix = [turned[0] * scale[0], turned[1] * scale[0], turned[2] * scale[1], turned[3] * scale[1]]
    return None if reference is None else _made(reference[2:], reference[:2], matrix)


def _of_telescope(values: Mapping[str, Any], detector: DetectorRecord) -> Pointing | None:
    """Compute the matrix from the angle of the telescope, and that of the detector on it.

    The reference point is at CRPIX1, CRPIX2, or else where the subarray has it, or else in the middle of the array.
    """
    pointing, size = _numbers(values, _POINTING), _numbers(values, SIZE_KEYS)
    if pointing is None or size is None or detector.pixel_scale is None:
        return None
    ra, dec, roll, angle, parity = pointing
    if abs(parity) != 1:
        return None
    aperture = detector.aperture(values.get(_SUBARRAY))
    middle, scales = [(length + 1) / 2 for length in size], (detector.pixel_scale, detector.pixel_scale)
    if aperture is not None:
        middle, scales = [aperture.x, aperture.y], (aperture.x_scale, aperture.y_scale)
    at = _numbers(values, _REFERENCE[:2]) or middle
    turn = math.radians(math.fmod(roll, 360.0) - parity * math.fmod(angle, 360.0))
    by_column, by_row = (scale / 3600 for scale in scales)
    east = parity * math.cos(turn) * by_column, math.sin(turn) * by_row
    north = -parity * math.sin(turn) * by_column, math.cos(turn) * by_row
    return _made((ra, dec), at, (*east, *north))


def _made(reference: Sequence[float], at: Sequence[float], matrix: Sequence[float]) -> Pointing | None:
    a, b, c, d = matrix
    if a * d == b * c or not -90 <= reference[1] <= 90:
        return None
    return Pointing(SkyPosition(reference[0] % 360.0, reference[1]), at[0], at[1], (a, b, c, d))
