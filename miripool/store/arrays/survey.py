"""Survey: which pixels of an array differ from those of older blobs, before it is decided how the array is stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...model.tiles import grid, slabs
from ...system.threads import map_bounded
from .changedpixels import count_runs, packed_shape, places_of, runs_of
from .delta import LEAST_TILED
from .digest import tile_digest
from .tilelist import record_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ...model.dataset import ArraySource
    from ...model.tiles import Slab, Tile
    from ..manifest import BlobRef
    from .delta import Relatives

__all__ = ["LEAST_SHARED", "SAMPLES", "Changes", "gather", "survey"]

SAMPLES = 8
"""Places of an array that are looked at before a delta blob is tried."""

LEAST_SHARED = 0.25
"""Part of the tiles below which a delta blob of tiles is not worth that another blob is needed to read it.

With 2 to 97 % of the tiles changed it was written at least as fast as a plain one, and read as fast within the noise:
what counts is what is saved.
"""

_MOST_RUNS = 96
"""Runs of changed pixels beyond which tiles are stored.

HDF5 reads a SUB64 ramp 0.48 times as fast as a plain one with 35 runs, 0.39 with 63, 0.27 with 124, 0.18 with 241. It
takes time with the square of their number to open a file: 0.2 ms for 12, 1.3 for 100, 34 for 500, 90 for 1000.
"""

_MOST_PIXELS = 1 << 12
"""Changed pixels beyond which tiles are stored: who reads one pixel reads those of one integration."""

_LEAST_SAVED = 1 << 14
"""Bytes below which it is not worth that another blob is needed, and two files are opened."""

_BASE_BYTES = 6000
_RUN_BYTES = 160
"""Bytes of a blob of changed pixels besides their elements: at least, and for each run."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How an array differs from older ones, in few pixels.

    Attributes
    ----------
    records : ndarray, shape (number of tiles,)
        Digests, smallest and largest elements of the array's tiles, as in the list of a delta blob.
    bases : ndarray of int, shape (number of tiles,)
        Which relative has the tile, or the one that the changed pixels are put into.
    runs : ndarray of uint32, shape (nruns, 3)
        The changed pixels; one at least.
    """

    records: NDArray[Any]
    bases: NDArray[np.int64]
    runs: NDArray[np.uint32]


def survey(
    ref: BlobRef,
    source: ArraySource,
    relatives: Relatives,
    read_tile: Callable[[int, Tile], NDArray[Any]],
) -> Changes | None:
    """Find the pixels of an array that differ from those of its relatives.

    Parameters
    ----------
    ref : BlobRef
        What the array is.
    source : ArraySource
        The array; two axes at least.
    relatives : Relatives
        Blobs of arrays of the same dtype, shape and tiles.
    read_tile : callable
        Reads a tile of a relative, of which it is given the number.

    Returns
    -------
    Changes or None
        None where it is not worth while to store these pixels alone.

    Raises
    ------
    MiripoolError
        If a relative can't be read.
    """
    if len(ref.shape) < 2:
        return None
    looker = _Looker(ref, source, relatives, read_tile)
    every = list(slabs(ref.shape, relatives.chunks, ref.dtype.itemsize))
    some = every[:: max(1, len(every) // SAMPLES)]
    for places in (some, [slab for slab in every if slab not in some]) if len(some) < len(every) else (every,):
        if not looker.look(places):
            return None
    return looker.changes()


class _Looker:
    """Looks at parts of an array; remembers what it saw."""

    def __init__(
        self,
        ref: BlobRef,
        source: ArraySource,
        relatives: Relatives,
        read_tile: Callable[[int, Tile], NDArray[Any]],
    ) -> None:
        self._source = source
        self._relatives = relatives
        self._read_tile = read_tile
        self._shape = ref.shape
        self._little = ref.dtype.newbyteorder("<")
        count = math.prod(grid(ref.shape, relatives.chunks))
        self._records = np.zeros(count, record_type(self._little, delta=True))
        self._bases: NDArray[np.int64] = np.full(count, -1)
        self._most_pixels = min(_MOST_PIXELS, ref.shape[-2] * ref.shape[-1] // 4)
        self._changed: NDArray[np.bool_] = np.zeros(count, np.bool_)
        self._mask: NDArray[np.bool_] = np.zeros(ref.shape[-2:], np.bool_)

    def look(self, places: Sequence[Slab]) -> bool:
        """Look at some parts; False as soon as it is clear that too many pixels have changed."""
        for found in map_bounded(self._look, places):
            if found is None:
                return False
            for rows, columns, changed in found:
                self._mask[rows, columns] |= changed
            if found and (count_runs(self._mask) > _MOST_RUNS or np.count_nonzero(self._mask) > self._most_pixels):
                return False
        return True

    def _look(self, slab: Slab) -> list[tuple[slice, slice, NDArray[np.bool_]]] | None:
        """Give the changed pixels of each tile that has some; None where one has no counterpart."""
        elements = np.ascontiguousarray(np.asarray(self._source[slab.inside]), self._little)
        found: list[tuple[slice, slice, NDArray[np.bool_]]] = []
        for tile, view in slab.cut(elements):
            part = np.ascontiguousarray(view)
            record, digest = self._records[tile.number], tile_digest(part)
            record["digest"], record["low"], record["high"] = np.void(digest), *_range(part)
            base = self._relatives.find(tile.number, digest)
            if base < 0:
                base = int(self._relatives.first[tile.number])
                if base < 0:
                    return None
                old = self._read_tile(base, tile)
                changed = _differ(part, old.astype(self._little, copy=False))
                found.append((tile.inside[-2], tile.inside[-1], changed))
                self._changed[tile.number] = True
            self._bases[tile.number] = base
        return found

    def changes(self) -> Changes | None:
        """Decide by what it costs."""
        runs = runs_of(self._mask)
        if not len(runs):
            return None
        sizes = self._relatives.sizes
        total = int(sizes.sum())
        share = int(sizes[self._changed].sum())
        raw = math.prod(self._shape) * self._little.itemsize
        tiled = raw >= LEAST_TILED and np.count_nonzero(self._changed) <= (1 - LEAST_SHARED) * len(self._changed)
        pixels = int(runs[:, 2].sum()) * math.prod(self._shape[:-2]) * self._little.itemsize
        cost = _BASE_BYTES + _RUN_BYTES * len(runs) + pixels * min(1.0, total / raw)
        if (share if tiled else total) - cost < max(_LEAST_SAVED, cost):
            return None
        return Changes(self._records, self._bases, runs)


def _range(part: NDArray[Any]) -> tuple[Any, Any]:
    """Give the smallest and the largest element, NaN ignored; both NaN where nothing else is there."""
    low = part.min()
    if low == low:
        return low, part.max()
    return np.fmin.reduce(part, axis=None), np.fmax.reduce(part, axis=None)


def _differ(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which pixels of two tiles differ in a bit, NaN and signs of zero counted, in any group."""
    bits = f"u{one.dtype.itemsize}"
    found: NDArray[np.bool_] = (one.view(bits) != other.view(bits)).any(axis=tuple(range(one.ndim - 2)))
    return found


def gather(ref: BlobRef, source: ArraySource, chunks: tuple[int, ...], runs: NDArray[Any]) -> NDArray[Any]:
    """Pack the elements of changed pixels.

    Parameters
    ----------
    ref : BlobRef
        What the array is.
    source : ArraySource
        The array.
    chunks : tuple of int
        Shape of its tiles: it is read by whole ones.
    runs : ndarray of int, shape (nruns, 3)
        From `survey`.

    Returns
    -------
    ndarray
        Of the shape that `miripool.store.arrays.changedpixels.packed_shape` gives.
    """
    packed: NDArray[Any] = np.empty(packed_shape(ref.shape, runs), ref.dtype.newbyteorder("<"))
    rows, columns = places_of(runs)
    for slab in slabs(ref.shape, chunks, ref.dtype.itemsize):
        band = slab.inside[-2]
        chosen = np.flatnonzero((band.start <= rows) & (rows < band.stop))  # slabs are whole along the columns
        if len(chosen):
            elements = np.asarray(source[slab.inside])
            outer: tuple[Any, ...] = slab.inside[:-2]
            packed[(*outer, 0, chosen)] = elements[..., rows[chosen] - band.start, columns[chosen]]
    return packed
