"""Detectors: how large they are, how their pixels are numbered, and which part of one an exposure reads.

Columns ``x`` and rows ``y`` count from 1 in the FULL array, as in FITS and DS9. ``pixel_id`` counts row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import FormatError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.metadata import MetaData

__all__ = ["PLACE_KEYS", "Aperture", "DetectorRecord", "Placement"]

PLACE_KEYS = ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")
"""Keywords of first column and row, and of the numbers of columns and rows."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A rectangle of the FULL array.

    Attributes
    ----------
    x, y : int
        Its first column and row, from 1.
    columns, rows : int
        Its size.
    """

    x: int
    y: int
    columns: int
    rows: int

    def covers(self, x: int, y: int) -> bool:
        """Tell whether a pixel is inside.

        Parameters
        ----------
        x, y : int
            Column and row of the FULL array.

        Returns
        -------
        bool
            True if so.
        """
        return self.x <= x < self.x + self.columns and self.y <= y < self.y + self.rows


@dataclass(frozen=True, slots=True)
class Aperture:
    """Where an array looks: its reference point, and the scale of the pixels there.

    Attributes
    ----------
    subarray : str
        As the keyword SUBARRAY has it.
    x, y : float
        Column and row of the reference point, 1-based, in the array's own pixels: what CRPIX1 and CRPIX2 say.
    v2, v3 : float
        The same point on the telescope, arcseconds.
    x_scale, y_scale : float
        Arcseconds on the sky that a pixel is wide and high.
    """

    subarray: str
    x: float
    y: float
    v2: float
    v3: float
    x_scale: float
    y_scale: float


@dataclass(frozen=True, slots=True)
class DetectorRecord:
    """A detector of an instrument.

    Attributes
    ----------
    name, instrument : str
        As the keywords DETECTOR and INSTRUME have them.
    sca : int
        Its number (keyword SCA_ID of ground tests).
    columns, rows : int
        Size of the FULL array, reference pixels included.
    first_science_column : int
        First column, from 1, whose pixels see light; as many reference pixels as before it are at the other end.
    outputs : int
        Columns for which the reference output has one value; 0 where there is no reference output.
    pixel_scale : float or None
        Arcseconds on the sky that a pixel is wide, about; None where no single number holds.
    apertures : tuple of Aperture
        Of its subarrays that make images of the sky.
    """

    name: str
    instrument: str
    sca: int
    columns: int
    rows: int
    first_science_column: int = 5
    outputs: int = 0
    pixel_scale: float | None = None
    apertures: tuple[Aperture, ...] = ()

    def aperture(self, subarray: object) -> Aperture | None:
        """Find the aperture of a subarray.

        Parameters
        ----------
        subarray : object
            What the keyword SUBARRAY says.

        Returns
        -------
        Aperture or None
            None where none is known.
        """
        name = subarray.strip().upper() if isinstance(subarray, str) else ""
        return next((aperture for aperture in self.apertures if aperture.subarray == name), None)

    @property
    def pixels(self) -> int:
        """Number of its pixels, which is the last pixel_id."""
        return self.columns * self.rows

    @property
    def first_reference(self) -> int:
        """pixel_id of the first value of the reference output, numbered behind the pixels, row by row."""
        return self.pixels + 1

    @property
    def reference_columns(self) -> tuple[slice, slice]:
        """Columns of reference pixels, 0-based."""
        count = self.first_science_column - 1
        return slice(0, count), slice(self.columns - count, self.columns)

    def has(self, x: int, y: int) -> bool:
        """Tell whether there is such a pixel.

        Parameters
        ----------
        x, y : int
            Column and row of the FULL array.

        Returns
        -------
        bool
            True if so.
        """
        return 1 <= x <= self.columns and 1 <= y <= self.rows

    def pixel_id(self, x: int, y: int) -> int:
        """Number a pixel: ``(y - 1) * columns + x``.

        Parameters
        ----------
        x, y : int
            Column and row of the FULL array.

        Returns
        -------
        int
            From 1.

        Raises
        ------
        InvalidInput
            If there is no such pixel.
        """
        if not self.has(x, y):
            raise InvalidInput(
                f"there is no pixel x={x}, y={y}: columns x go from 1 to {self.columns}, "
                f"rows y from 1 to {self.rows} (FULL array)"
            )
        return (y - 1) * self.columns + x

    def place(self, meta: MetaData) -> Placement:
        """Read SUBSTRT1, SUBSTRT2, SUBSIZE1 and SUBSIZE2.

        Parameters
        ----------
        meta : MetaData
            Of a product.

        Returns
        -------
        Placement
            Inside the FULL array.

        Raises
        ------
        FormatError
            If a keyword is missing or they don't lie inside the FULL array.
        """
        return self.place_in({key: meta[key].value for key in PLACE_KEYS if key in meta})

    def place_in(self, said: Mapping[str, object]) -> Placement:
        """Read the same keywords from a mapping; see `place`."""
        values = []
        for key in PLACE_KEYS:
            value = said.get(key)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value < 1:
                raise FormatError(f"its header has {key} = {value!r}, so its pixels have no place on the detector")
            values.append(int(value))
        found = Placement(*values)
        if found.x + found.columns - 1 > self.columns or found.y + found.rows - 1 > self.rows:
            raise FormatError(
                f"its subarray (columns {found.x} to {found.x + found.columns - 1}, rows {found.y} to "
                f"{found.y + found.rows - 1}) lies outside the detector's {self.columns} columns and {self.rows} rows"
            )
        return found
