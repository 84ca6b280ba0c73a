"""Strata: exposures that can be compared with each other. Nothing is compared across them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from ..errors import FormatError, InvalidInput
from ..instruments.detector import Placement
from ..instruments.known import detector_of
from .groupslopes import FITTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.metadata import MetaData

__all__ = ["LIGHT", "Region", "Stratum", "corner_of", "stratum_of"]

LIGHT: Final = ("dark", "flat", "sky")
"""What falls on the detector: nothing, the same everywhere, or a scene."""

_REGION = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*")
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the FULL array; all four limits are included.

    Attributes
    ----------
    x0, x1, y0, y1 : int
        First and last column and row, from 1.
    """

    x0: int
    x1: int
    y0: int
    y1: int

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read ``X0:X1,Y0:Y1``.

        Parameters
        ----------
        text : str
            E.g. ``1:72,779:842``.

        Returns
        -------
        Region
            The rectangle.

        Raises
        ------
        InvalidInput
            If it is written otherwise, or empty.
        """
        found = _REGION.fullmatch(text)
        if found is None:
            raise InvalidInput(f"{text!r} is not a region; write X0:X1,Y0:Y1, e.g. 1:72,779:842 (FULL array, from 1)")
        region = cls(*map(int, found.groups()))
        if not (1 <= region.x0 <= region.x1 and 1 <= region.y0 <= region.y1):
            raise InvalidInput(
                f"the region {text!r} is empty; columns and rows count from 1, and the smaller comes first"
            )
        return region

    def __str__(self) -> str:
        return f"{self.x0}:{self.x1},{self.y0}:{self.y1}"

    def within(self, place: Placement) -> Placement | None:
        """Give the part of a subarray that lies in the region.

        Parameters
        ----------
        place : Placement
            Of the subarray.

        Returns
        -------
        Placement or None
            None if there is none.
        """
        x, y = max(self.x0, place.x), max(self.y0, place.y)
        last_x, last_y = min(self.x1, place.x + place.columns - 1), min(self.y1, place.y + place.rows - 1)
        return Placement(x, y, last_x - x + 1, last_y - y + 1) if x <= last_x and y <= last_y else None


@dataclass(frozen=True, slots=True, order=True)
class Stratum:
    """What exposures have in common that can be compared.

    Attributes
    ----------
    detector, subarray, readpatt : str
        As the keywords have them.
    context : str
        CRDS context, keyword CRDS_CTX.
    skipped : str
        Steps of the pipeline that were skipped, by the keywords that say so without ``S_``, separated by commas.
    light : {'dark', 'flat', 'sky'}
        What fell on the detector.
    x, y, columns, rows : int
        The part of the FULL array that is monitored; x and y from 1.
    """

    detector: str
    subarray: str
    readpatt: str
    context: str
    skipped: str
    light: str
    x: int
    y: int
    columns: int
    rows: int

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Stratum:
        """Read a stratum from a row of a table.

        Parameters
        ----------
        row : mapping
            With its attributes by name; others are left aside.

        Returns
        -------
        Stratum
            The stratum.
        """
        return cls(**{field.name: row[field.name] for field in fields(cls)})

    def __str__(self) -> str:
        without = f" without {self.skipped}" if self.skipped else ""
        return f"{self.detector} {self.subarray} {self.readpatt} {self.context} {self.light}{without}"


def stratum_of(meta: MetaData, region: Region | None = None, light: str | None = None) -> Stratum | None:
    """Give the stratum that an exposure belongs to.

    Parameters
    ----------
    meta : MetaData
        Of the exposure.
    region : Region, optional
        What is monitored; all of it unless given.
    light : {'dark', 'flat', 'sky'}, optional
        What fell on the detector; EXP_TYPE tells it unless given.

    Returns
    -------
    Stratum or None
        None if the exposure has no pixel in the region.

    Raises
    ------
    FormatError
        If the header does not say where the subarray is.
    """
    place = detector_of(meta).place(meta)
    part = place if region is None else region.within(place)
    if part is None:
        return None
    skipped = sorted({key[2:] for key in meta if key.startswith("S_") and _text(meta, key) == "SKIPPED"})
    if FITTED in meta:
        skipped.append(f"groups except {_text(meta, FITTED)}")
    return Stratum(
        _text(meta, "DETECTOR"),
        _text(meta, "SUBARRAY"),
        _text(meta, "READPATT"),
        _text(meta, "CRDS_CTX"),
        ",".join(skipped),
        light or _light_of(_text(meta, "EXP_TYPE")),
        part.x,
        part.y,
        part.columns,
        part.rows,
    )


def _text(meta: MetaData, key: str) -> str:
    value = meta[key].value if key in meta else None
    return value.strip() or _UNKNOWN if isinstance(value, str) else _UNKNOWN


def _light_of(exposure_type: str) -> str:
    if "DARK" in exposure_type.upper():
        return "dark"
    return "flat" if "FLAT" in exposure_type.upper() else "sky"


def corner_of(meta: MetaData, stratum: Stratum) -> tuple[int, int]:
    """Give where the monitored part begins in the arrays of an exposure.

    Parameters
    ----------
    meta : MetaData
        Of the exposure.
    stratum : Stratum
        Its stratum.

    Returns
    -------
    row, column : int
        From 0.

    Raises
    ------
    FormatError
        If the subarray does not hold the part.
    """
    place = detector_of(meta).place(meta)
    if stratum.x < place.x or stratum.y < place.y:
        raise FormatError(f"its subarray does not hold column {stratum.x}, row {stratum.y}")
    return stratum.y - place.y, stratum.x - place.x
