"""Times as columns of astropy's tables."""

from __future__ import annotations

import functools
from datetime import UTC, date
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray

__all__ = ["NEVER", "moments_columns", "refuse_naive", "time_column"]

NEVER: Final = -(1 << 63)
"""No moment, where moments are counted in microseconds: PostgreSQL's -infinity."""

_DAY = 86_400
_2000 = date(2000, 1, 1).toordinal()
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
    utc = [None if value is None else value.astimezone(UTC) for value in values]
    moments = np.asarray(
        [
            NEVER
            if v is None
            else (((v.toordinal() - _2000) * 24 + v.hour) * 60 + v.minute) * 60_000_000
            + v.second * 1_000_000
            + v.microsecond
            for v in utc
        ],
        np.int64,
    )
    if count is not None:
        moments = np.repeat(moments, count)
    (made,) = moments_columns(moments[np.newaxis], instead=None if instead is None else instead[np.newaxis])
    return made


def moments_columns(moments: NDArray[np.int64], *, instead: NDArray[np.float64] | None = None) -> list[Any]:
    """Make columns of times that are counted.

    They are made of two Julian dates each, in one step for all: from datetimes or datetime64, astropy takes 100 times
    as long.

    Parameters
    ----------
    moments : ndarray of int64, shape (columns, n)
        Microseconds since 2000, UTC, as PostgreSQL counts them: a day has 86,400 seconds. `NEVER` is no time.
    instead : ndarray of float64, shape (columns, n), keyword-only, optional
        As for `time_column`.

    Returns
    -------
    list of astropy.time.Time
        As from `time_column`.
    """
    from astropy.time import Time

    own = np.zeros(moments.shape, bool) if instead is None else np.isfinite(instead)
    counted = ~own & (moments != NEVER)
    day, over = np.full(moments.shape, float(_2000)), np.zeros(moments.shape)
    if instead is not None:
        # Days of today's MJD are 0.6 microseconds apart in float64, so this gives back the microsecond that was meant.
        days = np.where(own, instead, _2000 - _MJD)
        whole = np.floor(days)
        day, over = whole + _MJD, np.rint((days - whole) * (_DAY * 1e6)) / (_DAY * 1e6)
    if counted.any():
        # The second part is the part of the day that is over, also of days with a leap second (as in SOFA's dtf2d).
        days, micro = np.divmod(moments[counted], _DAY * 1_000_000)
        days += _2000
        day[counted], over[counted] = days, micro / ((_DAY + np.isin(days, _long_days())) * 1e6)
    together = Time(day + _BEFORE, over, format="jd", scale="utc")
    together.format = "isot"
    made = [together[i] for i in range(len(moments))]
    for column, missing in zip(made, ~(own | counted), strict=True):
        if missing.any():
            column[missing] = np.ma.masked
    return made


@functools.lru_cache(maxsize=1)
def _long_days() -> NDArray[np.int64]:
    """Give the ordinals of days that end with a leap second, as astropy knows them."""
    from astropy.utils.iers import LeapSeconds

    known = LeapSeconds.from_erfa()
    changes = [date(int(row["year"]), int(row["month"]), 1) for row in known]
    return np.asarray([day.toordinal() - 1 for day in changes if day > date(1972, 1, 1)], np.int64)
