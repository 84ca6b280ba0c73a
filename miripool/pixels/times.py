"""The times of a pixel's rows: each integration's own where the file has them, its exposure's otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import IncompleteAnswer, MiripoolError
from ..index import pixels as rows
from ..model.names import Urn
from ..model.times import time_column
from ..model.timing import Timing, timing_of
from ..system.warning import warn_caller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..index import ProductRow
    from ..pool.core import Core

__all__ = ["time_columns"]


def time_columns(pool: Core, versions: Sequence[ProductRow], count: Sequence[int]) -> dict[str, Any]:
    """Give the columns of times for rows that stand for integrations.

    Parameters
    ----------
    pool : Core
        The versions'.
    versions : sequence of ProductRow
        In the order of the rows.
    count : sequence of int
        How many rows each of them has: its integrations, or one.

    Returns
    -------
    dict
        ``time``, ``mid_time`` and ``end_time``: astropy Time in UTC, masked where the file has none; ``time_of``:
        ``integration``, ``exposure`` or nothing, the one whose start ``time`` is.
    """
    known = _timings(pool, versions)
    own = [known[v.serial].integrations for v in versions]
    # A Rate has no integrations, and a file may have no INT_TIMES.
    parts = [o if o.shape[1] == n else np.full((3, n), np.nan) for o, n in zip(own, count, strict=True)]
    start, middle, end = np.concatenate(parts, axis=1) if parts else np.empty((3, 0))
    of_exposure = np.repeat([known[v.serial][:2] for v in versions] or np.empty((0, 2)), count, axis=0)
    is_own = np.isfinite(start)
    has_start = np.repeat([v.start_time is not None for v in versions], count).astype(bool)
    nothing = [None] * len(versions)
    return {
        "time": time_column([v.start_time for v in versions], count, instead=start),
        "mid_time": time_column(nothing, count, instead=np.where(is_own, middle, of_exposure[:, 0])),
        "end_time": time_column(nothing, count, instead=np.where(is_own, end, of_exposure[:, 1])),
        "time_of": np.where(is_own, "integration", np.where(has_start, "exposure", "")),
    }


def _timings(pool: Core, versions: Sequence[ProductRow]) -> dict[int, Timing]:
    """Give the times of versions: from the index, or from their files where this is the first time."""
    database = pool.catalog.database
    known = rows.read_timings(database, [v.serial for v in versions])
    read: dict[int, Timing] = {}
    for version in versions:
        if version.serial in known:
            continue
        try:
            read[version.serial] = timing_of(pool.load_version(version))
        except MiripoolError as error:
            known[version.serial] = Timing(np.nan, np.nan, np.empty((3, 0)))
            urn = Urn(pool.name, version.kind, version.serial)
            warn_caller(f"the times of the integrations of {urn} can't be read: {error}", IncompleteAnswer)
    if not database.read_only:
        rows.keep_timings(database, read)
    return known | read
