"""Assessing a stratum: from the planes of its exposures to episodes, maps and what is usual.

The work goes by rows of the region, so that memory does not grow with it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from .bends import mark_bent
from .blocks import Block, rate_of
from .exposures import PLANES, summary_of
from .opens import mark_open, response
from .population import Population, measure, population_of
from .series import Series
from .states import EPISODE, STATES, judge
from .thresholds import Thresholds, thresholds_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .blocks import Planes

    Matrix = NDArray[np.float64]
    Map = NDArray[np.float32]

__all__ = ["FEWEST", "Assessment", "assess", "tile_of"]

_ELEMENTS: Final = 3_000_000
"""Rates in one block; each takes some 200 bytes while it is judged."""
_TILE: Final = 32
"""Rows and columns whose pixels are each other's neighbours."""
FEWEST: Final = 64
"""Pixels from which a median stands for the neighbours."""
_SETTLED: Final = 0.1
"""Offset of the first integration, in errors of one integration, up to which it counts like the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """What is known of a stratum.

    Attributes
    ----------
    episodes : ndarray of `EPISODE`
        In the order of pixels, which count row by row from 0 in the region, and begins.
    population : Population
        What is usual.
    thresholds : Thresholds
        That were applied.
    first : bool
        Whether the first integration counts like the others.
    state : ndarray of uint8, shape (ny, nx)
        At the last exposure: 1 + index in `STATES`, 0 for none.
    rate, noise : ndarray of float32, shape (ny, nx)
        At the last exposure, and standard deviation from exposure to exposure; DN/s, NaN where it is not known.
    """

    episodes: NDArray[np.void]
    population: Population
    thresholds: Thresholds
    first: bool
    state: NDArray[np.uint8]
    rate: Map
    noise: Map


def assess(
    exposures: Sequence[Planes],
    shape: tuple[int, int],
    times: Matrix,
    *,
    settling: Matrix,
    integrations: int,
    light: str,
    false_alarms: float,
    ramps: bool = False,
) -> Assessment:
    """Judge all pixels of a stratum.

    Parameters
    ----------
    exposures : sequence of Planes
        In the order of time; each is read three times, in parts.
    shape : tuple of int
        (ny, nx) of the region.
    times : ndarray of float64, shape (n,)
        Starts of the exposures, days.
    settling : ndarray of float64, shape (n,), keyword-only
        Offsets of the first integrations; see `ExposureData`.
    integrations : int, keyword-only
        Fewest integrations of an exposure.
    light : {'dark', 'flat', 'sky'}, keyword-only
        What fell on the detector.
    false_alarms : float, keyword-only
        Fraction of quiet pixels that may get a state.

    Returns
    -------
    Assessment
        Episodes, maps and what is usual.
    """
    offsets = settling[np.isfinite(settling)]
    first = not offsets.size or abs(float(np.median(offsets))) < _SETTLED
    usable = integrations if first or integrations < 2 else integrations - 1
    thresholds = thresholds_for(len(exposures), usable, false_alarms)
    work = _Stratum(exposures, shape, first, light)
    height = max(1, _ELEMENTS // (len(exposures) * shape[1]))
    starts = range(0, shape[0], height)
    whole = work.block(0, height) if len(starts) == 1 else None  # else a block is read when it is needed
    measures = [measure(whole or work.block(start, height)) for start in starts]
    population = population_of(measures)
    found, responses = [], []
    for start, part in zip(starts, measures, strict=True):
        block = whole or work.block(start, height)
        found.append(judge(block, part, population, thresholds, times, light=light))
        if light == "flat":
            responses.append(response(block))
    episodes = np.concatenate([np.zeros(0, EPISODE), *found])
    if responses:
        ratio, spread = (np.concatenate(parts).reshape(shape) for parts in zip(*responses, strict=True))
        mark_open(episodes, ratio, spread)
    if ramps:
        episodes = mark_bent(exposures, episodes, shape[0] * shape[1])
    rate, error = work.last()
    noise = np.concatenate([part.noise for part in measures]).reshape(shape) * error
    state = np.zeros(shape, np.uint8)
    lasting = episodes[episodes["end"] == len(exposures)]
    codes = {name.encode(): i + 1 for i, name in enumerate(STATES)}
    state.ravel()[lasting["pixel"]] = [codes[name] for name in lasting["state"].tolist()]
    return Assessment(episodes, population, thresholds, first, state, rate.astype(np.float32), noise.astype(np.float32))


class _Stratum:
    """Blocks of a stratum, whose common changes are taken out."""

    def __init__(self, exposures: Sequence[Planes], shape: tuple[int, int], first: bool, light: str) -> None:
        self._exposures = exposures
        self._shape = shape
        self._first = first
        self._light = light
        self._rows, self._columns = (tile_of(n) for n in shape)
        self._tile_rows, self._tile_columns = _ranges(self._rows), _ranges(self._columns)
        levels = np.stack([self._level(planes) for planes in exposures])
        self._usual = np.median(levels, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = np.where(levels > 0, self._usual / levels, 1.0)
        self._change = factor if light == "flat" else self._usual - levels

    def _level(self, planes: Planes) -> Matrix:
        """Give the median rate of each tile; of all pixels where a tile has few; 0 where there are few at all."""
        rate, _ = self._rates(planes, slice(None))
        found = np.full((len(self._tile_rows), len(self._tile_columns)), np.nan)
        for i, j in np.ndindex(found.shape):
            middle = _median_of(rate[self._tile_rows[i], self._tile_columns[j]])
            found[i, j] = np.nan if middle is None else middle
        few = np.isnan(found)
        if few.any():
            found[few] = _median_of(rate) or 0.0
        return found

    def _rates(self, planes: Planes, rows: slice) -> tuple[Matrix, Matrix]:
        part = planes[:3, rows]
        count = planes[4:5, rows]
        return rate_of(summary_of(np.concatenate([part, count, count])), first=self._first)

    def last(self) -> tuple[Matrix, Matrix]:
        """Give rate and error of the last exposure, of shape (ny, nx)."""
        return self._rates(self._exposures[-1], slice(None))

    def block(self, start: int, height: int) -> Block:
        """Give all pixels of some rows."""
        rows = slice(start, min(start + height, self._shape[0]))
        shape = (len(self._exposures), (rows.stop - start) * self._shape[1])
        rates, errors, scatter, counts = (np.empty(shape) for _ in range(4))
        for i, planes in enumerate(self._exposures):
            part = planes[: len(PLANES), rows]
            rate, error = rate_of(summary_of(part), first=self._first)
            change = self._of_pixels(self._change[i], rows)
            rates[i] = (rate * change if self._light == "flat" else rate + change).ravel()
            errors[i] = (error * change if self._light == "flat" else error).ravel()
            scatter[i], counts[i] = part[3].ravel(), part[4].ravel()
        errors[~np.isfinite(rates)] = np.nan
        level = self._of_pixels(self._usual, rows).ravel()
        return Block(start * self._shape[1], Series(rates, errors), level, scatter, counts)

    def _of_pixels(self, tiles: Matrix, rows: slice) -> Matrix:
        return tiles[np.ix_(self._rows[rows], self._columns)]


def tile_of(length: int) -> NDArray[np.intp]:
    """Number the tile that each row or column belongs to."""
    tiles = max(1, round(length / _TILE))
    return np.arange(length) * tiles // length


def _ranges(tiles: NDArray[np.intp]) -> list[slice]:
    """Give the rows or columns of each tile."""
    borders = np.searchsorted(tiles, np.arange(tiles[-1] + 2))
    return [slice(begin, end) for begin, end in itertools.pairwise(borders.tolist())]


def _median_of(values: Matrix) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size >= FEWEST else None
