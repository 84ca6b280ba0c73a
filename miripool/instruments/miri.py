"""MIRI's detectors and subarrays.

Its detectors are alike: columns from 1 to 1032, rows from 1 to 1024, and ``pixel_id = (y - 1) * 1032 + x``. Reference
output has one value for each group of four columns, numbered behind the pixels:
``pixel_id = 1056769 + (y - 1) * 258 + (x - 1) // 4``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from .detector import Aperture, DetectorRecord, Placement

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DETECTORS", "IMAGER", "NAMES", "PARITY", "SUBARRAYS", "V3_ANGLE", "subarray_at"]

_APERTURES = (
    Aperture("FULL", 693.5, 512.5, -453.34829, -373.667949, 0.11049812, 0.11133593),
    Aperture("BRIGHTSKY", 256.5, 256.5, -457.433389, -396.318333, 0.1107978, 0.11086003),
    Aperture("SUB256", 128.5, 128.5, -439.639945, -411.947899, 0.11086, 0.11007152),
    Aperture("SUB128", 70.5, 62.5, -381.037312, -330.86721, 0.10971685, 0.11002661),
    Aperture("SUB64", 38.5, 32.5, -378.758527, -346.788779, 0.1098525, 0.11042994),
    Aperture("SLITLESSPRISM", 38.5, 301.0, -378.600113, -344.752445, 0.10983718, 0.11037921),
    Aperture("MASK1065", 121.18, 113.12, -393.831254, -420.626198, 0.11020964, 0.10910099),
    Aperture("MASK1140", 120.75, 113.24, -391.75259, -396.280919, 0.11024593, 0.11065528),
    Aperture("MASK1550", 120.75, 114.29, -389.7919, -371.846167, 0.1100977, 0.11096615),
    Aperture("MASKLYOT", 144.33, 167.88, -389.682935, -337.45666, 0.10974923, 0.11026162),
)
"""Source, also of `V3_ANGLE` and `PARITY`: JWST's Science Instrument Aperture File in PRDOPSSOC-075 (pysiaf 0.29),
apertures MIRIM_FULL, MIRIM_SUB64 …: XSciRef, YSciRef, V2Ref, V3Ref, XSciScale, YSciScale. The reference point of FULL
is the middle of the imager's field, not of the array."""

IMAGER = DetectorRecord(
    "MIRIMAGE", "MIRI", 493, columns=1032, rows=1024, first_science_column=5, outputs=4, pixel_scale=0.11,
    apertures=_APERTURES,
)  # fmt: skip
"""The imager's, which also takes the low-resolution spectra and the coronagraphs' images. Source of the pixel scale:
JWST User Documentation, "MIRI Imaging": 0.11 arcsec."""

DETECTORS = (
    IMAGER,
    DetectorRecord("MIRIFULONG", "MIRI", 494, columns=1032, rows=1024, first_science_column=5, outputs=4),
    DetectorRecord("MIRIFUSHORT", "MIRI", 495, columns=1032, rows=1024, first_science_column=5, outputs=4),
)
"""The imager's and the spectrometer's two."""

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
