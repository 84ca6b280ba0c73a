"""MASK reference files: the header that JWST's pipeline and CRDS read, the flags, and the table that defines them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from ..instruments.miri import subarray_at
from ..query.pixelwhere import FLAGS
from .maskflags import flags_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from ..instruments.detector import DetectorRecord, Placement

__all__ = ["DEFINITION", "MaskHeader", "definition_table", "mask_bytes"]

DEFINITION: Final = np.dtype([("BIT", "i4"), ("VALUE", "u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")])
"""A row of the table DQ_DEF, as `stdatamodels.jwst.datamodels.MaskModel` reads it."""

_MEANING: Final[Mapping[str, str]] = {
    "DO_NOT_USE": "Bad pixel. Do not use.",
    "NON_SCIENCE": "Pixel not on science portion of detector",
    "DEAD": "Dead pixel",
    "HOT": "Hot pixel",
    "WARM": "Warm pixel",
    "LOW_QE": "Low quantum efficiency",
    "RC": "RC pixel",
    "TELEGRAPH": "Telegraph pixel",
    "NONLINEAR": "Pixel highly nonlinear",
    "BAD_REF_PIXEL": "Reference pixel cannot be used",
    "UNRELIABLE_BIAS": "Bias variance large",
    "UNRELIABLE_DARK": "Dark variance large",
    "UNRELIABLE_SLOPE": "Slope variance large (i.e., noisy pixel)",
    "UNRELIABLE_FLAT": "Flat variance large",
    "OPEN": "Open pixel (counts move to adjacent pixels)",
    "ADJ_OPEN": "Adjacent to open pixel",
    "OTHER_BAD_PIXEL": "A catch-all flag",
    "REFERENCE_PIXEL": "Pixel is a reference pixel",
}
"""Descriptions, as in the JWST pipeline's documentation, "Data quality flags"."""

_GENERIC: Final = "GENERIC"
"""SUBARRAY of a mask that the pipeline may cut. The schema of the datamodels also knows no name ILLUM."""
_LAUNCH: Final = datetime(2021, 12, 25, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MaskHeader:
    """What the header of a MASK file says.

    Attributes
    ----------
    detector : DetectorRecord
        The detector.
    place : Placement
        Of the array in the FULL array.
    useafter, made : datetime
        From when on the mask is valid, and when it was made; aware.
    exposures : tuple of datetime
        Start of the first and the last exposure; aware. The pedigree says whether they are in flight.
    description, author : str
        As CRDS shows them.
    history : tuple of str
        Lines for HISTORY.
    """

    detector: DetectorRecord
    place: Placement
    useafter: datetime
    made: datetime
    exposures: tuple[datetime, datetime]
    description: str
    author: str
    history: tuple[str, ...]

    @property
    def subarray(self) -> str:
        """SUBARRAY: GENERIC for the FULL array, from which the pipeline cuts what it needs, and for unnamed parts."""
        name = subarray_at(self.place)
        return _GENERIC if name in ("FULL", "ILLUM") else name

    def cards(self) -> list[tuple[str, object, str]]:
        """Give keyword, value and comment of each card."""
        place = self.place
        return [
            ("DATE", _iso(self.made), "UTC"),
            ("DATAMODL", "MaskModel", "type of data model"),
            ("TELESCOP", "JWST", "telescope"),
            ("REFTYPE", "MASK", "type of reference file"),
            ("PEDIGREE", self._pedigree(), "origin of the data"),
            ("DESCRIP", _ascii(self.description), ""),
            ("AUTHOR", _ascii(self.author), ""),
            ("USEAFTER", _iso(self.useafter), "from when on it is valid, UTC"),
            ("INSTRUME", self.detector.instrument, "instrument"),
            ("DETECTOR", self.detector.name, "detector"),
            ("SUBARRAY", self.subarray, "subarray"),
            ("SUBSTRT1", place.x, "first column, 1-based"),
            ("SUBSTRT2", place.y, "first row, 1-based"),
            ("SUBSIZE1", place.columns, "columns"),
            ("SUBSIZE2", place.rows, "rows"),
            ("FASTAXIS", 1, "rows are read along the columns' numbers"),
            ("SLOWAXIS", 2, ""),
        ]

    def _pedigree(self) -> str:
        """Say INFLIGHT with two dates, as CRDS wants it, or GROUND."""
        first, last = (time.astimezone(UTC) for time in self.exposures)
        return f"INFLIGHT {first:%Y-%m-%d} {last:%Y-%m-%d}" if first >= _LAUNCH else "GROUND"


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def definition_table(names: Iterable[str]) -> NDArray[np.void]:
    """Make the table DQ_DEF.

    Parameters
    ----------
    names : iterable of str
        Of flags.

    Returns
    -------
    ndarray of `DEFINITION`
        In the order of bits; the values are JWST's own, so nothing is translated when the file is read.
    """
    chosen = set(names)
    rows = [
        (value.bit_length() - 1, value, name.encode(), _MEANING.get(name, name.replace("_", " ").lower()).encode())
        for name, value in FLAGS.items()
        if name in chosen
    ]
    return np.array(rows, DEFINITION)


def mask_bytes(header: MaskHeader, dq: NDArray[np.uint32], names: Iterable[str] = ()) -> bytes:
    """Make a MASK file.

    Parameters
    ----------
    header : MaskHeader
        What its header says.
    dq : ndarray of uint32, shape (ny, nx)
        The flags.
    names : iterable of str
        Flags to define beside those that are set. A datamodel drops bits that the file does not define.

    Returns
    -------
    bytes
        The file. Equal arguments give equal bytes.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header.extend(fits.Card(*card) for card in header.cards())
    for line in header.history:
        primary.header.add_history(_ascii(line))
    used = flags_in(int(np.bitwise_or.reduce(dq, axis=None)))
    table = fits.BinTableHDU(definition_table({*names, *used}), name="DQ_DEF")
    made = io.BytesIO()
    fits.HDUList([primary, fits.ImageHDU(dq, name="DQ"), table]).writeto(made)
    return made.getvalue()
