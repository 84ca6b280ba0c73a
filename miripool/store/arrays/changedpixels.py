"""Changed pixels: those in which an array differs from the older ones that have its tiles, and its ramps there.

A *run* is some pixels side by side in one row, in all integrations and groups. The elements of all runs are packed
along the last axis, in the order of rows and columns; the axis of rows has one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ...model.tiles import Tile

__all__ = ["ChangedPixels", "Replacement", "are_runs", "count_runs", "packed_shape", "places_of", "runs_of"]

_MOST_RUNS = (1 << 16) - 1
"""Runs beyond which a file is not ours."""

_MOST_KNOWN = 64
"""Integrations of which the packed elements are remembered: tiles are read one integration after the other."""


def count_runs(mask: NDArray[np.bool_]) -> int:
    """Count the runs of a frame.

    Parameters
    ----------
    mask : ndarray of bool, shape (ny, nx)
        Which pixels have changed.

    Returns
    -------
    int
        A run does not go on in the next row.
    """
    return int(np.count_nonzero(mask[:, 0]) + np.count_nonzero(mask[:, 1:] & ~mask[:, :-1]))


def runs_of(mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Give the runs of a frame.

    Parameters
    ----------
    mask : ndarray of bool, shape (ny, nx)
        Which pixels have changed.

    Returns
    -------
    ndarray of uint32, shape (nruns, 3)
        Row and column of the first pixel, 0-based in the array, and the number of pixels; in C order.
    """
    edges = np.diff(mask.astype(np.int8), axis=1, prepend=0, append=0)
    rows, begins = np.nonzero(edges > 0)
    _, ends = np.nonzero(edges < 0)
    return np.stack([rows, begins, ends - begins], axis=1).astype(np.uint32)


def are_runs(runs: NDArray[Any], shape: tuple[int, ...]) -> bool:
    """Tell whether numbers from a file can be runs.

    Parameters
    ----------
    runs : ndarray of int, shape (nruns, 3)
        As from `runs_of`.
    shape : tuple of int
        Of the array, two axes at least.

    Returns
    -------
    bool
        False for none, for runs beyond the frame, and for those that meet or are out of order.
    """
    if runs.ndim != 2 or runs.shape[1] != 3 or not 0 < len(runs) <= _MOST_RUNS or len(shape) < 2:
        return False
    rows, columns, lengths = runs.astype(np.int64).T
    if min(rows.min(), columns.min(), lengths.min() - 1) < 0 or rows.max() >= shape[-2]:
        return False
    begins, ends = rows * (shape[-1] + 1) + columns, rows * (shape[-1] + 1) + columns + lengths
    return bool((columns + lengths).max() <= shape[-1] and np.all(ends[:-1] < begins[1:]))


def packed_shape(shape: tuple[int, ...], runs: NDArray[Any]) -> tuple[int, ...]:
    """Give the shape of the packed elements.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    runs : ndarray of int, shape (nruns, 3)
        As from `runs_of`.

    Returns
    -------
    tuple of int
        As many axes: those before rows and columns, 1, and the number of pixels.
    """
    return (*shape[:-2], 1, int(runs[:, 2].sum(dtype=np.int64)))


def places_of(runs: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give each pixel of some runs.

    Parameters
    ----------
    runs : ndarray of int, shape (nruns, 3)
        As from `runs_of`.

    Returns
    -------
    rows, columns : ndarray of int64, shape (npixels,)
        0-based in the array.
    """
    begins, lengths = runs[:, 1].astype(np.int64), runs[:, 2].astype(np.int64)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(runs[:, 0].astype(np.int64), lengths), np.repeat(begins, lengths) + within


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """What replaces some pixels of one tile.

    Attributes
    ----------
    rows, columns : ndarray of int, shape (npixels,)
        0-based in the tile.
    elements : ndarray, shape (…, npixels)
        All else of the tile along the first axes.
    """

    rows: NDArray[Any]
    columns: NDArray[Any]
    elements: NDArray[Any]

    def put(self, tile: NDArray[Any]) -> None:
        """Put them into a tile, with padding or without."""
        outer: tuple[Any, ...] = tuple(slice(n) for n in self.elements.shape[:-1])
        tile[(*outer, self.rows, self.columns)] = self.elements


class ChangedPixels:
    """The changed pixels of an open blob.

    Parameters
    ----------
    runs : ndarray of int, shape (nruns, 3)
        As from `runs_of`.
    chunks : tuple of int
        Shape of a tile of the array.
    nbytes : int
        Size of the packed elements, decoded.
    read : callable
        Reads a box of the packed elements, of which it is given the first element along each axis and the shape; all of
        them if it is given none. Checks what it reads.
    """

    def __init__(
        self, runs: NDArray[Any], chunks: tuple[int, ...], nbytes: int, read: Callable[..., NDArray[Any]]
    ) -> None:
        rows, columns = places_of(runs)
        self.nbytes = nbytes
        self._read = read
        self._known: dict[tuple[tuple[int, int], ...], NDArray[Any]] = {}
        patches = np.stack([rows // chunks[-2], columns // chunks[-1]])
        order = np.lexsort(patches[::-1])
        cuts = np.flatnonzero(np.any(np.diff(patches[:, order], axis=1), axis=0)) + 1
        self._of_patch = {
            (int(rows[chosen[0]] // chunks[-2] * chunks[-2]), int(columns[chosen[0]] // chunks[-1] * chunks[-1])): (
                rows[chosen],
                columns[chosen],
                chosen,
            )
            for chosen in np.split(order, cuts)
        }
        self._count = len(rows)

    def of(self, tile: Tile) -> Replacement | None:
        """Give what replaces pixels of a tile; None if it has none of them."""
        row, column = tile.start[-2:]
        found = self._of_patch.get((row, column))
        if found is None:
            return None
        rows, columns, chosen = found
        return Replacement(rows - row, columns - column, self._packed(tile.inside[:-2])[..., 0, chosen])

    def read_all(self) -> None:
        """Read all of them, and check what is read."""
        self._read()

    def _packed(self, outer: tuple[slice, ...]) -> NDArray[Any]:
        key = tuple((s.start, s.stop) for s in outer)
        if key not in self._known:
            if len(self._known) == _MOST_KNOWN:
                self._known.clear()
            starts = (*(s.start for s in outer), 0, 0)
            self._known[key] = self._read(starts, (*(s.stop - s.start for s in outer), 1, self._count))
        return self._known[key]
