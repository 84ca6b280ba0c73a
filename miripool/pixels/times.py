"""The times of a pixel's rows: each integration's own where the file has them, its exposure's otherwise."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import IncompleteAnswer, MiripoolError
from ..index import pixels as rows
from ..model.names import Urn
from ..model.times import NEVER, moments_columns
from ..model.timing import Timing, timing_of
from ..system.warning import warn_caller

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..index.pixels import VersionColumns
    from ..pool.core import Core

__all__ = ["time_columns"]


def time_columns(pool: Core, versions: VersionColumns, count: NDArray[np.integer[Any]]) -> dict[str, Any]:
    """Give the columns of times for rows that stand for integrations.

    Parameters
    ----------
    pool : Core
        The versions'.
    versions : VersionColumns
        In the order of the rows.
    count : ndarray of int
        How many rows each of them has: its integrations, or one.

    Returns
    -------
    dict
        ``time``, ``mid_time`` and ``end_time``: astropy Time in UTC, masked where the file has none; ``time_of``:
        ``integration``, ``exposure`` or nothing, the one whose start ``time`` is.
    """
    versions = _completed(pool, versions)
    days = _of_integrations(versions, count)
    is_own = np.isfinite(days[0])
    days[1:, ~is_own] = np.repeat([versions.middle, versions.ended], count, axis=1)[:, ~is_own]
    moments = np.full(days.shape, NEVER)
    moments[0] = np.repeat(versions.started, count)
    made = dict(zip(("time", "mid_time", "end_time"), moments_columns(moments, instead=days), strict=True))
    return made | {"time_of": np.where(is_own, "integration", np.where(moments[0] != NEVER, "exposure", ""))}


def _of_integrations(versions: VersionColumns, count: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Give start, middle and end of each row, shape (3, rows); NaN where the file has no such times."""
    number = versions.integrations
    # A Rate has no integrations, and a file may have no INT_TIMES.
    has_own = np.repeat(number == count, count)
    step = np.repeat(number, count)[has_own]
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    first = (np.repeat(versions.first_time, count) + within)[has_own]
    found = np.full((3, len(has_own)), np.nan)
    found[:, has_own] = versions.times[np.stack([first, first + step, first + 2 * step])]
    return found


def _completed(pool: Core, versions: VersionColumns) -> VersionColumns:
    """Add the times that the index does not have: from the files of the versions."""
    if versions.timed.all():
        return versions
    database = pool.catalog.database
    read: dict[int, Timing] = {}
    failed: dict[int, Timing] = {}
    for version in pool.catalog.rows(versions.serials[~versions.timed].tolist()):
        try:
            read[version.serial] = timing_of(pool.load_version(version))
        except MiripoolError as error:
            failed[version.serial] = Timing(np.nan, np.nan, np.empty((3, 0)))
            urn = Urn(pool.name, version.kind, version.serial)
            warn_caller(f"the times of the integrations of {urn} can't be read: {error}", IncompleteAnswer)
    if not database.read_only:
        rows.keep_timings(database, read)
    return _with_timings(versions, read | failed)


def _with_timings(versions: VersionColumns, added: dict[int, Timing]) -> VersionColumns:
    middle, ended = versions.middle.copy(), versions.ended.copy()
    first, number, times = versions.first_time.copy(), versions.integrations.copy(), [versions.times]
    length = len(versions.times)
    for i in np.flatnonzero(~versions.timed):
        timing = added[int(versions.serials[i])]
        middle[i], ended[i] = timing.middle, timing.ended
        first[i], number[i] = length, timing.integrations.shape[1]
        times.append(timing.integrations.reshape(-1))
        length += timing.integrations.size
    return dataclasses.replace(
        versions, middle=middle, ended=ended, first_time=first, integrations=number, times=np.concatenate(times)
    )
