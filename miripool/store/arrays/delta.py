"""Delta blobs: arrays of which most tiles are those of an older array stand in its blob, and in few tiles of their own.

The HDF5 file of a delta blob has a sparse dataset ``/tiles`` with the tiles that no older blob has, and a virtual
dataset ``/data`` over it and ``/data`` of the older blobs, by paths relative to its own folder. Each tile is looked for
in the file that holds it, never in one that has it from another. A file that is missing would read as NaN through HDF5,
without an error; here the tiles are looked up by name in the blobs that have them, and each is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...model.tiles import grid, tile_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ...model.tiles import Tile
    from .tilelist import TileList
    from .tilereader import FoundTile, Places

__all__ = ["DeltaTiles", "Mapping", "Part", "Relatives", "mappings", "may_share"]

_LEAST_BYTES = 1 << 20
"""Bytes of an array below which it has a blob of its own, as it has few tiles.

That is part of the pool's format: collectors do not look into the blobs of smaller ones for what they need.
"""


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
        True for numbers of a megabyte or more.
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
    """

    own: Places
    file_bytes: int
    owners: tuple[str, ...] = ()
    numbers: NDArray[Any] | None = None

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
        # One step, unless a blob that had the tile itself was lost and made again as a delta blob.
        while (owner := part.owner(tile)) is not None:
            part = self._open_part(owner, passed)
            passed.append(owner)
        return part.own.find(tile)

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
        for i, (_, tiles) in enumerate(blobs):
            owned = tiles.numbers == 0
            for number, (digest, own) in enumerate(zip(tiles.records["digest"].tolist(), owned.tolist(), strict=True)):
                if own:  # what it has from another blob, that one gives
                    self._known[number].setdefault(digest, i)

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


@dataclass(frozen=True, slots=True)
class Mapping:
    """What of a virtual dataset is in a file.

    Attributes
    ----------
    file, dataset : bytes
        Path, relative to the folder of the delta blob's own file, and what there holds it.
    space : h5py.h5s.SpaceID
        The elements, at the same place in both.
    """

    file: bytes
    dataset: bytes
    space: Any


def mappings(
    shape: tuple[int, ...], chunks: tuple[int, ...], owners: Sequence[str], numbers: NDArray[Any]
) -> Iterator[Mapping]:
    """Say what a delta blob's virtual dataset consists of: one part for each file, however scattered its tiles.

    HDF5 opens a file for each part, and reads as fast as from a plain dataset; a part for each tile takes longer.

    Parameters
    ----------
    shape, chunks : tuple of int
        Of the array and of a tile.
    owners : sequence of str
        Digests of the other blobs.
    numbers : ndarray of int, shape (number of tiles,)
        Where each tile is, as in `DeltaTiles`.

    Yields
    ------
    Mapping
        In the order of the numbers; those without a tile are left out.
    """
    import h5py

    places = np.array(list(np.ndindex(grid(shape, chunks))))
    counts = np.bincount(numbers, minlength=len(owners) + 1)
    largest = int(counts.argmax())
    for owner in np.flatnonzero(counts).tolist():
        space = h5py.h5s.create_simple(shape)
        # Each step takes HDF5 the longer, the more there are: from the largest part the others are cut out.
        if owner == largest:
            space.select_all()
            if counts[owner] < len(numbers):
                space.select_hyperslab((0,) * len(shape), (1,) * len(shape), block=shape)
            chosen, step = places[numbers != owner], h5py.h5s.SELECT_NOTB
        else:
            space.select_none()
            chosen, step = places[numbers == owner], h5py.h5s.SELECT_OR
        for index in chosen.tolist():
            inside = tile_at(tuple(index), shape, chunks).inside
            start, block = tuple(s.start for s in inside), tuple(s.stop - s.start for s in inside)
            space.select_hyperslab(start, (1,) * len(shape), block=block, op=step)
        if owner == 0:
            yield Mapping(b".", b"/tiles", space)
        else:  # /data: what is a delta blob today may be made again as a plain one
            name = owners[owner - 1]
            yield Mapping(f"../{name[:2]}/{name}.h5".encode(), b"/data", space)
