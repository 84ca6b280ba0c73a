"""The detectors that are known, and which of them a version is of.

A further instrument is a module beside this one and its detectors here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidInput
from . import miri

if TYPE_CHECKING:
    from ..model.metadata import MetaData
    from .detector import DetectorRecord

__all__ = ["DETECTORS", "detector_named", "detector_of", "extent", "pixel_id_at"]

DETECTORS: dict[str, DetectorRecord] = {detector.name: detector for detector in miri.DETECTORS}
"""By the name in the keyword DETECTOR."""


def detector_named(name: str | None) -> DetectorRecord:
    """Give a detector.

    Parameters
    ----------
    name : str or None
        Of the detector, in capitals or not.

    Returns
    -------
    DetectorRecord
        MIRI's imager where the name is unknown, or there is none.
    """
    return DETECTORS.get((name or "").strip().upper(), miri.IMAGER)


def detector_of(meta: MetaData) -> DetectorRecord:
    """Give the detector that a header names.

    Parameters
    ----------
    meta : MetaData
        Of a product.

    Returns
    -------
    DetectorRecord
        As `detector_named`.
    """
    value = meta["DETECTOR"].value if "DETECTOR" in meta else None
    return detector_named(value if isinstance(value, str) else None)


def extent(name: str | None = None) -> tuple[int, int]:
    """Give the greatest column and row.

    Parameters
    ----------
    name : str, optional
        Of the detector; of all known unless given.

    Returns
    -------
    columns, rows : int
        Of the FULL array.
    """
    those = [detector_named(name)] if name else list(DETECTORS.values())
    return max(detector.columns for detector in those), max(detector.rows for detector in those)


def pixel_id_at(x: int, y: int, name: str | None = None) -> int:
    """Number a pixel.

    Parameters
    ----------
    x, y : int
        Column and row of the FULL array.
    name : str, optional
        Of the detector; the first known that has such a pixel unless given.

    Returns
    -------
    int
        From 1.

    Raises
    ------
    InvalidInput
        If there is no such pixel.
    """
    those = [detector_named(name)] if name else list(DETECTORS.values())
    for detector in those:
        if detector.has(x, y):
            return detector.pixel_id(x, y)
    columns, rows = extent(name)
    raise InvalidInput(
        f"there is no pixel x={x}, y={y}: columns x go from 1 to {columns}, rows y from 1 to {rows} (FULL array)"
    )
