"""Courses of a pixel: its rate in each exposure of a stratum, and its neighbours' beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .assess import FEWEST, tile_of
from .blocks import rate_of
from .exposures import summary_of

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from .strata import Stratum
    from .views import StratumView

    Matrix = NDArray[np.float64]

__all__ = ["Course", "Episode", "read_course"]


@dataclass(frozen=True, slots=True)
class Episode:
    """A state of a pixel, and how long it lasted.

    Attributes
    ----------
    state : str
        E.g. ``hot``.
    begin, end : int
        First exposure in the state, and the first out of it, counted from 0 in the stratum; `end` is the number of
        exposures while the state lasts.
    amplitude, error : float
        DN/s.
    significance : float
        Standard deviations.
    fraction, dwell : float
        Of ``rts`` and ``unstable``; NaN for others.
    """

    state: str
    begin: int
    end: int
    amplitude: float
    error: float
    significance: float
    fraction: float
    dwell: float


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A pixel in the exposures of one stratum. Arrays go by exposure, in the order of time.

    Attributes
    ----------
    number : int
        Of the stratum, from 0.
    stratum : Stratum
        What the exposures have in common.
    first_counts : bool
        Whether the first integration of an exposure is part of `rate`.
    urns : tuple of str
        Of the exposures.
    times : tuple of datetime
        Their starts, UTC.
    versions : tuple of int
        Their numbers: 0 for the first version of an exposure.
    rate, error : ndarray of float64, shape (n,)
        Mean of the usable integrations and its standard error, DN/s, as measured; NaN where there is none.
    integrations : ndarray of int64, shape (n,)
        Integrations in `rate`.
    first : ndarray of float64, shape (n,)
        Slope of the first integration, DN/s; NaN where it is not usable, or the only one.
    level : ndarray of float64, shape (n,)
        Median rate of the neighbours, DN/s: of the tile of some 32 by 32 pixels that the pixel lies in. NaN where fewer
        than 64 of them have a rate.
    beside : ndarray of float64, shape (n, 4)
        Rates of the pixels to the left, to the right, below and above, DN/s; NaN where there is none.
    episodes : tuple of Episode
        By begin.
    """

    number: int
    stratum: Stratum
    first_counts: bool
    urns: tuple[str, ...]
    times: tuple[datetime, ...]
    versions: tuple[int, ...]
    rate: Matrix
    error: Matrix
    integrations: NDArray[np.int64]
    first: Matrix
    level: Matrix
    beside: Matrix
    episodes: tuple[Episode, ...]

    def state_at(self, index: int) -> str:
        """Name the state of the pixel at an exposure, from 0; empty for none, several joined by ``|``."""
        return "|".join(episode.state for episode in self.episodes if episode.begin <= index < episode.end)


def read_course(view: StratumView, x: int, y: int) -> Course:
    """Read the course of a pixel. Only the pixels around it are read of the kept planes.

    Parameters
    ----------
    view : StratumView
        Which stratum.
    x, y : int
        Column and row of the FULL array, from 1; in the monitored part.

    Returns
    -------
    Course
        What is known of it.
    """
    stratum = view.stratum
    row, column = y - stratum.y, x - stratum.x
    rows, columns = _tile(stratum.rows, row), _tile(stratum.columns, column)
    top, left = max(0, min(rows.start, row - 1)), max(0, min(columns.start, column - 1))
    part = slice(top, max(rows.stop, row + 2)), slice(left, max(columns.stop, column + 2))
    summary = summary_of(np.moveaxis(view.planes(*part), 1, 0))  # maps of shape (n, ny, nx)
    rate, error = rate_of(summary, first=view.first)
    i, j = row - top, column - left
    first = summary.first[:, i, j].astype(np.float64)
    used = np.nan_to_num(summary.count[:, i, j]).astype(np.int64)
    if view.first:
        used += np.isfinite(first) & np.isfinite(rate[:, i, j])
    tile = rate[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return Course(
        view.number,
        stratum,
        view.first,
        view.urns,
        view.times,
        view.versions,
        rate[:, i, j],
        error[:, i, j],
        used,
        first,
        _level(tile),
        _beside(rate, i, j),
        _episodes(view, x, y),
    )


def _tile(length: int, place: int) -> slice:
    """Give the rows or columns of the tile that a row or column belongs to."""
    numbers = tile_of(length)
    start, stop = np.searchsorted(numbers, [numbers[place], numbers[place] + 1])
    return slice(int(start), int(stop))


def _level(tile: Matrix) -> Matrix:
    values = tile.reshape(len(tile), -1)
    known = np.isfinite(values)
    enough = known.sum(axis=1) >= FEWEST
    level = np.full(len(values), np.nan)
    level[enough] = np.nanmedian(np.where(known, values, np.nan)[enough], axis=1)
    return level


def _beside(rate: Matrix, i: int, j: int) -> Matrix:
    found = np.full((len(rate), 4), np.nan)
    for k, (a, b) in enumerate(((i, j - 1), (i, j + 1), (i - 1, j), (i + 1, j))):
        if 0 <= a < rate.shape[1] and 0 <= b < rate.shape[2]:
            found[:, k] = rate[:, a, b]
    return found


def _episodes(view: StratumView, x: int, y: int) -> tuple[Episode, ...]:
    rows = view.episodes()
    mine: Any = rows[(rows["x"] == x) & (rows["y"] == y)]
    numbers = ("begin", "end", "amplitude", "error", "significance", "fraction", "dwell")
    found = [Episode(row["state"].decode(), *(row[name].item() for name in numbers)) for row in mine]
    return tuple(sorted(found, key=lambda episode: (episode.begin, episode.end)))
