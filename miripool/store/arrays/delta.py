"""Delta blobs: arrays of which most tiles are those of an older array stand in its blob, and in few tiles of their own.

The blob of an array of which few pixels changed has all tiles from older blobs, and the ramps of these pixels packed in
a dataset ``/pixels`` (`miripool.store.arrays.changedpixels`).

The HDF5 file of a delta blob has a sparse dataset ``/tiles`` with the tiles that no older blob has, and a virtual
dataset ``/data`` over it and ``/data`` of the older blobs, by paths relative to its own folder. Each tile is looked for
in the file that holds it, never in one that has it from another. A file that is missing would read as NaN through HDF5,
without an error; here the tiles are looked up by name in the blobs that have them, and each is checked.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...model.tiles import grid, tile_at
from .changedpixels import packed_shape
from .tilereader import FoundTile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ...model.tiles import Tile
    from .changedpixels import ChangedPixels, Replacement
    from .tilelist import TileList
    from .tilereader import Places

__all__ = ["LEAST_TILED", "DeltaTiles", "Mapping", "Part", "Relatives", "mappings", "may_share"]

_LEAST_BYTES = 1 << 15
"""Bytes of an array below which it has a blob of its own: a blob that needs others has some 7 KB itself.

That is part of the pool's format: collectors do not look into the blobs of smaller ones for what they need. It was a
megabyte before format 3.
"""

LEAST_TILED = 1 << 20
"""Bytes of an array below which it shares no tiles, as it has few; it may share all but some pixels."""


def may_share(shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Tell whether an array is such that its blob may be a delta blob.

    Parameters
    ----------
    shape : sequence of int
        Of the array.
    dtype : numpy.dtype
        Of its elements.

    Returns
    -------
    bool
        True for numbers of 32 KiB or more.
    """
    return dtype.kind in "iuf" and int(np.prod(shape, dtype=object)) * dtype.itemsize >= _LEAST_BYTES


@dataclass(frozen=True, slots=True)
class Part:
    """An open blob's own tiles, and in which others the rest are.

    Attributes
    ----------
    own : Places
        Of the tiles in its own file; it has the digests and ranges of all.
    file_bytes : int
        Size of its own file.
    owners : tuple of str
        Digests of the others.
    numbers : ndarray of uint16, shape (number of tiles,), or None
        0 for its own tiles, else the number of the blob that has it, counted from 1; None where all are its own.
    pixels : ChangedPixels, optional
        What is put into the tiles, wherever these are.
    whole : callable, optional
        Reads the array, where it is not in tiles.
    """

    own: Places
    file_bytes: int
    owners: tuple[str, ...] = ()
    numbers: NDArray[Any] | None = None
    pixels: ChangedPixels | None = None
    whole: Callable[[], NDArray[Any]] | None = None

    def with_pixels(self, pixels: ChangedPixels) -> Part:
        """Give the same with changed pixels."""
        return dataclasses.replace(self, pixels=pixels)

    def owner(self, tile: Tile) -> str | None:
        """Tell which other blob has a tile; None for its own."""
        number = 0 if self.numbers is None else int(self.numbers[tile.number])
        return self.owners[number - 1] if number else None


class DeltaTiles:
    """Says where the tiles of an open delta blob are: in its own file, or in those of other blobs.

    Parameters
    ----------
    part : Part
        The blob itself.
    open_part : callable
        Opens the blob of a digest, or gives what it has opened; told of the blobs that have led there.
    """

    def __init__(self, part: Part, open_part: Callable[[str, Sequence[str]], Part]) -> None:
        self.chunks = part.own.chunks
        self._part = part
        self._open_part = open_part

    def find(self, tile: Tile) -> FoundTile:
        """Tell where a tile is."""
        part = self._part
        passed: list[str] = []
        changes: tuple[Replacement, ...] = ()
        # Two rounds, unless a blob that had the tile itself was lost and made again as a delta blob.
        while True:
            if part.pixels is not None and (change := part.pixels.of(tile)) is not None:
                changes = (change, *changes)
            if (owner := part.owner(tile)) is None:
                break
            part = self._open_part(owner, passed)
            passed.append(owner)
        found = part.own.find(tile)
        if not changes:
            return found
        return FoundTile(tile, found.blob, found.file, found.offset, found.size, found.elements, changes)

    def digests(self) -> Sequence[bytes]:
        """Give the digest of each tile."""
        return self._part.own.digests()

    def ranges(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Give the smallest and the largest element of each tile, NaN ignored, if they are known."""
        return self._part.own.ranges()


class Relatives:
    """Blobs of arrays like one that is to be stored, from which it may take tiles.

    Parameters
    ----------
    blobs : sequence of (str, TileList)
        Digest and tiles of each, one at least; those that come first are preferred.

    Attributes
    ----------
    digests : tuple of str
        Of the blobs.
    chunks : tuple of int
        Shape of a tile.
    """

    def __init__(self, blobs: Sequence[tuple[str, TileList]]) -> None:
        self.digests = tuple(digest for digest, _ in blobs)
        self.chunks = blobs[0][1].chunks
        self._known: list[dict[bytes, int]] = [{} for _ in blobs[0][1].records]
        self._first: NDArray[np.int64] = np.full(len(self._known), -1)
        self._sizes: NDArray[np.int64] = np.zeros(len(self._known), np.int64)
        for i, (_, tiles) in enumerate(blobs):
            owned = tiles.numbers == 0
            for number, (digest, own) in enumerate(zip(tiles.records["digest"].tolist(), owned.tolist(), strict=True)):
                if own:  # what it has from another blob, that one gives
                    self._known[number].setdefault(digest, i)
            new = owned & (self._first < 0)
            self._first[new], self._sizes[new] = i, tiles.records["size"][new]

    def find(self, number: int, digest: bytes) -> int:
        """Find a blob that has a tile.

        Parameters
        ----------
        number : int
            Of the tile.
        digest : bytes
            Of its elements.

        Returns
        -------
        int
            Which of `digests`; -1 for none.
        """
        return self._known[number].get(digest, -1)

    @property
    def first(self) -> NDArray[np.int64]:
        """For each tile the first blob that has one at its place, shape (number of tiles,): which; -1 for none."""
        return self._first

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Coded bytes of the tiles in `first`."""
        return self._sizes


@dataclass(frozen=True, slots=True)
class Mapping:
    """What of a virtual dataset is in a file.

    Attributes
    ----------
    file, dataset : bytes
        Path, relative to the folder of the delta blob's own file, and what there holds it.
    space, source : h5py.h5s.SpaceID
        The elements in the virtual dataset, and those in the other; in the same order.
    """

    file: bytes
    dataset: bytes
    space: Any
    source: Any


def mappings(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    owners: Sequence[str],
    numbers: NDArray[Any],
    runs: NDArray[Any] | None = None,
) -> Iterator[Mapping]:
    """Say what a delta blob's virtual dataset consists of: one part for each file, however scattered its tiles.

    HDF5 opens a file for each part, and reads as fast as from a plain dataset; a part for each tile takes longer. All
    changed pixels are one part, too: with one for each run HDF5 took twice as long to read the real SUB64 ramp.

    Parameters
    ----------
    shape, chunks : tuple of int
        Of the array and of a tile.
    owners : sequence of str
        Digests of the other blobs.
    numbers : ndarray of int, shape (number of tiles,)
        Where each tile is, as in `DeltaTiles`.
    runs : ndarray of int, shape (nruns, 3), optional
        Changed pixels, from `miripool.store.arrays.changedpixels.runs_of`.

    Yields
    ------
    Mapping
        In the order of the numbers; those without a tile are left out. The changed pixels come last.
    """
    import h5py

    places = np.array(list(np.ndindex(grid(shape, chunks))))
    counts = np.bincount(numbers, minlength=len(owners) + 1)
    largest = int(counts.argmax())
    columns = [] if runs is None else list(_boxes(shape, runs))
    for owner in np.flatnonzero(counts).tolist():
        space = h5py.h5s.create_simple(shape)
        # Each step takes HDF5 the longer, the more there are: from the largest part the others are cut out.
        if owner == largest:
            space.select_all()
            if counts[owner] < len(numbers) or columns:
                space.select_hyperslab((0,) * len(shape), (1,) * len(shape), block=shape)
            chosen, step = places[numbers != owner], h5py.h5s.SELECT_NOTB
        else:
            space.select_none()
            chosen, step = places[numbers == owner], h5py.h5s.SELECT_OR
        _step(space, step, (_corners(tile_at(tuple(index), shape, chunks).inside) for index in chosen.tolist()))
        _step(space, h5py.h5s.SELECT_NOTB, columns)
        if owner == 0:
            yield Mapping(b".", b"/tiles", space, space)
        else:  # /data: what is a delta blob today may be made again as a plain one
            name = owners[owner - 1]
            yield Mapping(f"../{name[:2]}/{name}.h5".encode(), b"/data", space, space)
    if runs is not None:
        space = h5py.h5s.create_simple(shape)
        space.select_none()
        _step(space, h5py.h5s.SELECT_OR, columns)
        packed = packed_shape(shape, runs)
        source = h5py.h5s.create_simple(packed)
        # As all of a source without an extent HDF5 would tell it again.
        source.select_hyperslab((0,) * len(packed), (1,) * len(packed), block=packed)
        yield Mapping(b".", b"/pixels", space, source)


def _step(space: Any, step: int, boxes: Iterable[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    """Add boxes, by first element and shape, to what is selected, or cut them out."""
    for start, block in boxes:
        space.select_hyperslab(start, (1,) * len(start), block=block, op=step)


def _corners(box: tuple[slice, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(s.start for s in box), tuple(s.stop - s.start for s in box)


def _boxes(shape: tuple[int, ...], runs: NDArray[Any]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    outer = shape[:-2]
    for row, column, length in runs.tolist():
        yield (*(0 for _ in outer), row, column), (*outer, 1, length)
