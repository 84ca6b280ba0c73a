"""Changed pixels: those in which an array differs from the older ones that have its tiles, and its ramps there.

A *run* is some pixels side by side in one row, in all integrations and groups. The elements of all runs are packed
along the last axis, in the order of rows and columns; the axis of rows has one place.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ...model.tiles import Tile

__all__ = [
    "AT_ONCE",
    "ChangedPixels",
    "Patch",
    "Replacement",
    "are_runs",
    "count_runs",
    "packed_shape",
    "places_of",
    "runs_of",
]

_MOST_RUNS = (1 << 16) - 1
"""Runs beyond which a file is not ours."""

_MOST_COLUMNS = 1 << 32
"""Tiles beside each other, for numbers of their places."""

AT_ONCE = 1 << 18
"""Bytes of packed elements up to which all are read at once, and are one tile: 0.05 ms, five tiles took 0.17."""

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
    if runs.min() < 0 or lengths.min() < 1 or (columns + lengths).max() > shape[-1] or rows[-1] >= shape[-2]:
        return False
    begins = rows * (shape[-1] + 1) + columns
    return bool((begins[:-1] + lengths[:-1] < begins[1:]).all())


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


class Patch:
    """Pixels of the tiles at one place of the frame, whatever the integration.

    Parameters
    ----------
    rows, columns : ndarray of int, shape (npixels,)
        0-based in the tile.
    chosen : slice
        Where they are among all changed pixels, in the order of the patches.
    """

    def __init__(self, rows: NDArray[Any], columns: NDArray[Any], chosen: slice) -> None:
        self._rows = rows
        self._columns = columns
        self.chosen = chosen
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], NDArray[Any]] = {}

    def places(self, shape: tuple[int, ...], outer: tuple[int, ...]) -> NDArray[Any]:
        """Give the places of their elements in a tile, as it lies in memory.

        Parameters
        ----------
        shape, outer : tuple of int
            Of the tile, padding counted; of what is no padding, along the axes before rows and columns.

        Returns
        -------
        ndarray of int, shape (number of elements,)
            Pixels last.
        """
        found = self._known.get((shape, outer))
        if found is None:
            frames = np.arange(math.prod(shape[:-2])).reshape(shape[:-2])[tuple(slice(n) for n in outer)]
            within = self._rows * shape[-1] + self._columns
            found = np.add.outer(frames.ravel() * math.prod(shape[-2:]), within).ravel()
            self._known[shape, outer] = found
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """What replaces some pixels of one tile.

    Attributes
    ----------
    patch : Patch
        Which pixels.
    elements : ndarray, shape (…, npixels)
        All else of the tile along the first axes.
    """

    patch: Patch
    elements: NDArray[Any]

    def put(self, tile: NDArray[Any]) -> None:
        """Put them into a tile, with padding or without, whose elements lie one behind the other."""
        # Three times as fast as by rows and columns: one index for each element.
        places = self.patch.places(tile.shape, self.elements.shape[:-1])
        tile.reshape(-1)[places] = self.elements.reshape(-1)


@functools.lru_cache(maxsize=8)
def _patches_of(runs: bytes, kind: str, frame: tuple[int, int]) -> tuple[NDArray[Any], dict[int, Patch]]:
    """Give the order of pixels by patches of that many rows and columns, and the patches by number.

    They are remembered: arrays of one version, and readings of one array, mostly have the same pixels.
    """
    rows, columns = places_of(np.frombuffer(runs, kind).reshape(-1, 3))
    numbers = rows // frame[0] * _MOST_COLUMNS + columns // frame[1]
    order = np.argsort(numbers, kind="stable")
    numbers, rows, columns = numbers[order], rows[order] % frame[0], columns[order] % frame[1]
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(rows)]
    parts = [slice(*ends) for ends in itertools.pairwise(cuts)]
    return order, {int(numbers[part.start]): Patch(rows[part], columns[part], part) for part in parts}


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
        self.nbytes = nbytes
        self._read = read
        self._count = int(runs[:, 2].sum(dtype=np.int64))
        self._chunks = chunks
        self._order, self._patches = _patches_of(runs.tobytes(), runs.dtype.str, chunks[-2:])
        self._known: dict[tuple[tuple[int, int], ...], NDArray[Any]] = {}
        self._whole: NDArray[Any] | None = None
        self._of_patch: dict[int, NDArray[Any]] = {}

    def of(self, tile: Tile) -> Replacement | None:
        """Give what replaces pixels of a tile; None if it has none of them."""
        row, column = tile.start[-2:]
        patch = self._patches.get(row // self._chunks[-2] * _MOST_COLUMNS + column // self._chunks[-1])
        if patch is None:
            return None
        return Replacement(patch, self._elements(tile.inside[:-2], patch))

    def read_all(self) -> None:
        """Read all of them, and check what is read."""
        self._read()

    def _elements(self, outer: tuple[slice, ...], patch: Patch) -> NDArray[Any]:
        """Give a patch's pixels in some integrations and groups; those of all are read at once where they are few."""
        if self.nbytes <= AT_ONCE:
            if self._whole is None:
                self._whole = self._read()[..., 0, self._order]
            first = patch.chosen.start
            if first not in self._of_patch:
                self._of_patch[first] = np.ascontiguousarray(self._whole[..., patch.chosen])
            return self._of_patch[first][outer]
        key = tuple((s.start, s.stop) for s in outer)
        if key not in self._known:
            if len(self._known) == _MOST_KNOWN:
                self._known.clear()
            starts = (*(s.start for s in outer), 0, 0)
            shape = (*(s.stop - s.start for s in outer), 1, self._count)
            self._known[key] = self._read(starts, shape)[..., 0, self._order]
        return self._known[key][..., patch.chosen]
