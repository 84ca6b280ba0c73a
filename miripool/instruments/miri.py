"""MIRI's detectors and subarrays.

Its detectors are alike: columns from 1 to 1032, rows from 1 to 1024, and ``pixel_id = (y - 1) * 1032 + x``. Reference
output has one value for each group of four columns, numbered behind the pixels:
``pixel_id = 1056769 + (y - 1) * 258 + (x - 1) // 4``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from .detector import DetectorRecord, Placement

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DETECTORS", "IMAGER", "NAMES", "PARITY", "REFERENCE", "SUBARRAYS", "V3_ANGLE", "subarray_at"]

IMAGER = DetectorRecord(
    "MIRIMAGE", "MIRI", 493, columns=1032, rows=1024, first_science_column=5, outputs=4, pixel_scale=0.11
)
"""The imager's, which also takes the low-resolution spectra and the coronagraphs' images. Source of the pixel scale:
JWST User Documentation, "MIRI Imaging": 0.11 arcsec."""

DETECTORS = (
    IMAGER,
    DetectorRecord("MIRIFULONG", "MIRI", 494, columns=1032, rows=1024, first_science_column=5, outputs=4),
    DetectorRecord("MIRIFUSHORT", "MIRI", 495, columns=1032, rows=1024, first_science_column=5, outputs=4),
)
"""The imager's and the spectrometer's two."""

REFERENCE = (-453.559, -373.814)
"""V2 and V3 of the middle of the imager's FULL array, arcseconds. Source, also of the next two: JWST's Science
Instrument Aperture File, aperture MIRIM_FULL."""
V3_ANGLE = 4.83544897
"""Degrees from the telescope's V3 axis to the imager's columns, keyword V3I_YANG."""
PARITY = -1
"""Sense in which the imager's rows run along V2, keyword VPARITY."""

NAMES: Mapping[int, str] = MappingProxyType({detector.sca: detector.name for detector in DETECTORS})
"""By SCA_ID."""

SUBARRAYS: Mapping[str, Placement] = MappingProxyType(
    {
        "FULL": Placement(1, 1, 1032, 1024),
        "BRIGHTSKY": Placement(457, 51, 512, 512),
        "SUB256": Placement(413, 51, 256, 256),
        "SUB128": Placement(1, 889, 136, 128),
        "SUB64": Placement(1, 779, 72, 64),
        "SLITLESSPRISM": Placement(1, 529, 72, 416),
        "MASK1065": Placement(1, 19, 288, 224),
        "MASK1140": Placement(1, 245, 288, 224),
        "MASK1550": Placement(1, 467, 288, 224),
        "MASKLYOT": Placement(1, 717, 320, 304),
        "ILLUM": Placement(360, 1, 668, 1024),
    }
)
"""By the name in the keyword SUBARRAY. Source: JWST User Documentation, "MIRI Detector Subarrays", and the headers of
real files; ILLUM is the ground test's."""


def subarray_at(place: Placement) -> str:
    """Name a subarray.

    Parameters
    ----------
    place : Placement
        Its position and size.

    Returns
    -------
    str
        ``GENERIC`` where none begins in that group of four columns and has that row and size.
    """

    def corner(p: Placement) -> tuple[int, ...]:
        return (p.x - 1) // 4, p.y, p.columns, p.rows

    return next((name for name, known in SUBARRAYS.items() if corner(known) == corner(place)), "GENERIC")
