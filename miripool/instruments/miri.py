"""MIRI's detectors: which pixel is where, in coordinates of the FULL array.

Column ``x`` counts from 1 to 1032, row ``y`` from 1 to 1024, as in FITS and DS9, and
``pixel_id = (y - 1) * 1032 + x``. Reference output has one value for each group of four columns, numbered behind the
pixels: ``pixel_id = 1056769 + (y - 1) * 258 + (x - 1) // 4``, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import FormatError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.metadata import MetaData

__all__ = [
    "COLUMNS",
    "FIRST_REFERENCE",
    "PLACE_KEYS",
    "REFERENCE_COLUMNS",
    "ROWS",
    "SUBARRAYS",
    "Placement",
    "pixel_id_at",
    "subarray_at",
]

COLUMNS = 1032
ROWS = 1024
"""Size of the FULL array."""

REFERENCE_COLUMNS = COLUMNS // 4
"""Values of reference output in a row."""

FIRST_REFERENCE = ROWS * COLUMNS + 1
"""pixel_id of the first reference output."""

PLACE_KEYS = ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")
"""Keywords of first column and row, and of the numbers of columns and rows."""


def pixel_id_at(x: int, y: int) -> int:
    """Number a pixel.

    Parameters
    ----------
    x, y : int
        Column 1…1032 and row 1…1024 of the FULL array.

    Returns
    -------
    int
        From 1.

    Raises
    ------
    InvalidInput
        If there is no such pixel.
    """
    if not (1 <= x <= COLUMNS and 1 <= y <= ROWS):
        raise InvalidInput(
            f"there is no pixel x={x}, y={y}: columns x go from 1 to {COLUMNS}, rows y from 1 to {ROWS} (FULL array)"
        )
    return (y - 1) * COLUMNS + x


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

    @classmethod
    def of(cls, meta: MetaData) -> Placement:
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
        values = []
        for key in PLACE_KEYS:
            value = meta[key].value if key in meta else None
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value < 1:
                raise FormatError(f"its header has {key} = {value!r}, so its pixels have no place on the detector")
            values.append(int(value))
        found = cls(*values)
        if found.x + found.columns - 1 > COLUMNS or found.y + found.rows - 1 > ROWS:
            raise FormatError(
                f"its subarray (columns {found.x} to {found.x + found.columns - 1}, rows {found.y} to "
                f"{found.y + found.rows - 1}) lies outside the detector's {COLUMNS} columns and {ROWS} rows"
            )
        return found

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
