"""Where on the detector: MIRI's subarrays and how long it takes to read one."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from miripool.errors import InvalidInput
from miripool.instruments import miri

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FULL_SHAPE", "SUBARRAYS", "Subarray", "find_group_time", "find_subarray"]

FULL_SHAPE: Final = (miri.IMAGER.rows, miri.IMAGER.columns)
"""Rows and columns of the FULL array."""


class Subarray(NamedTuple):
    """A rectangle of the FULL array, in the order of the keywords SUBSTRT1, SUBSTRT2, SUBSIZE1, SUBSIZE2.

    Attributes
    ----------
    xstart, ystart : int
        Column and row of its first pixel, 1-based, in the FULL array.
    xsize, ysize : int
        Number of columns and of rows.
    """

    xstart: int
    ystart: int
    xsize: int
    ysize: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns: the shape of one frame in NumPy's order, (ny, nx)."""
        return self.ysize, self.xsize

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the FULL array, 0-based, to cut the subarray out of an array of shape (1024, 1032)."""
        y, x = self.ystart - 1, self.xstart - 1
        return slice(y, y + self.ysize), slice(x, x + self.xsize)


SUBARRAYS: Final[Mapping[str, Subarray]] = MappingProxyType(
    {
        name: Subarray(place.x, place.y, place.columns, place.rows)
        for name, place in miri.SUBARRAYS.items()
        if name != "ILLUM"
    }
)
"""The subarrays of the imager that can be simulated, by the name in the keyword SUBARRAY."""

_CLOCKS = {
    "FULL": 277504,
    "BRIGHTSKY": 86528,
    "SUB256": 29952,
    "SUB128": 11904,
    "SUB64": 8512,
    "SLITLESSPRISM": 15904,
    "MASK1065": 23968,
    "MASK1140": 23968,
    "MASK1550": 23968,
    "MASKLYOT": 32400,
}
"""Detector clocks of 10 microseconds per frame in FAST readout. Source: frame times of the JWST User Documentation."""

_CLOCK = 10e-6
_SLOW_FULL = 23.88992
"""Seconds per frame of the FULL array in SLOWR1 readout. Source: JWST User Documentation, "MIRI Detector Readout"."""


def find_subarray(name: str) -> Subarray:
    """Find a subarray by its name.

    Parameters
    ----------
    name : str
        As in the keyword SUBARRAY, e.g. ``"SUB64"``.

    Returns
    -------
    Subarray
        Its place in the FULL array, 1-based.

    Raises
    ------
    InvalidInput
        No subarray of that name; the message lists those there are.
    """
    try:
        return SUBARRAYS[name]
    except KeyError:
        msg = f"MIRI has no subarray {name!r}; use one of {', '.join(SUBARRAYS)}."
        raise InvalidInput(msg) from None


def find_group_time(subarray: str, readpatt: str) -> float:
    """Find the time from one group to the next.

    Parameters
    ----------
    subarray : str
        As in the keyword SUBARRAY.
    readpatt : str
        Readout pattern with one frame per group: FAST, FASTR1, SLOW or SLOWR1.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    InvalidInput
        Unknown subarray or pattern, or slow readout of a subarray, which MIRI does not do.
    """
    find_subarray(subarray)
    if readpatt in {"FAST", "FASTR1"}:
        return _CLOCKS[subarray] * _CLOCK
    if readpatt not in {"SLOW", "SLOWR1"}:
        msg = f"Readout pattern {readpatt!r} is not simulated; use FAST, FASTR1, SLOW or SLOWR1."
        raise InvalidInput(msg)
    if subarray != "FULL":
        msg = f"MIRI reads subarray {subarray} in FAST or FASTR1 only; use one of these instead of {readpatt}."
        raise InvalidInput(msg)
    return _SLOW_FULL
