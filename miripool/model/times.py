"""Times as columns of astropy's tables."""

from __future__ import annotations

import functools
from datetime import UTC, date
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray

__all__ = ["refuse_naive", "time_column"]

_DAY = 86_400
_MJD = date(1858, 11, 17).toordinal()
_BEFORE = 1_721_424.5
"""Julian date of the midnight before `date.fromordinal(1)`, less one day."""


def refuse_naive(time: datetime | None) -> None:
    """Refuse a time without a time zone: it can't be compared with those of exposures.

    Parameters
    ----------
    time : datetime or None
        Any; None is no time.

    Raises
    ------
    InvalidInput
        If it has none.
    """
    if time is not None and time.tzinfo is None:
        raise InvalidInput(f"{time.isoformat()} has no time zone; give it one, e.g. tzinfo=datetime.UTC")


def time_column(
    values: Sequence[datetime | None], count: Sequence[int] | None = None, *, instead: NDArray[np.float64] | None = None
) -> Any:
    """Make a column of times.

    They are made of two Julian dates each, in one step for all: from datetimes or datetime64, astropy takes 100 times
    as long.

    Parameters
    ----------
    values : sequence of datetime or None
        Aware.
    count : sequence of int, optional
        How often each of them stands in the column; once unless given.
    instead : ndarray of float64, keyword-only, optional
        MJD in UTC of each element of the column; where it is not NaN, it is taken in place of the value.

    Returns
    -------
    astropy.time.Time
        UTC, to the microsecond, shown in ISO form; masked where a value is None.
    """
    from astropy.time import Time

    utc = [None if value is None else value.astimezone(UTC) for value in values]
    days = np.asarray([0 if v is None else v.toordinal() for v in utc], np.int64)
    micro = np.asarray(
        [0 if v is None else ((v.hour * 60 + v.minute) * 60 + v.second) * 1_000_000 + v.microsecond for v in utc],
        np.int64,
    )
    mask = np.asarray([v is None for v in utc], bool)
    days[mask] = date(2000, 1, 1).toordinal()
    lengths = _DAY + np.isin(days, _long_days())
    if count is not None:
        days, micro, mask, lengths = (np.repeat(a, count) for a in (days, micro, mask, lengths))
    if instead is not None:
        # Days of today's MJD are 0.6 microseconds apart in float64, so this gives back the microsecond that was meant.
        own = np.isfinite(instead)
        whole = np.floor(instead[own])
        days[own], micro[own] = whole + _MJD, np.rint((instead[own] - whole) * (_DAY * 1e6))
        mask, lengths = mask & ~own, np.where(own, _DAY, lengths)
    # The second part is the part of the day that is over, also of days with a leap second (as in SOFA's dtf2d).
    made = Time(days + _BEFORE, micro / (lengths * 1e6), format="jd", scale="utc")
    made.format = "isot"
    if mask.any():
        made[mask] = np.ma.masked
    return made


@functools.lru_cache(maxsize=1)
def _long_days() -> NDArray[np.int64]:
    """Give the ordinals of days that end with a leap second, as astropy knows them."""
    from astropy.utils.iers import LeapSeconds

    known = LeapSeconds.from_erfa()
    changes = [date(int(row["year"]), int(row["month"]), 1) for row in known]
    return np.asarray([day.toordinal() - 1 for day in changes if day > date(1972, 1, 1)], np.int64)
