"""Reading tiles of a blob, on all cores, and checking each; wherever it is told that they are."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...errors import IntegrityError
from ...model.tiles import Tile, all_tiles, put_tiles, tile_sizes, tiles_at
from ...system.scratch import Room
from ...system.threads import map_bounded, works_alone
from . import bitshuffle
from .digest import tile_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ...model.dataset import Choose
    from .changedpixels import Replacement
    from .openfile import OpenFile
    from .stored import StoredArray

    Look = Callable[[NDArray[Any]], None]

__all__ = ["MAX_TILE", "FoundTile", "Places", "TileReader"]

MAX_TILE = 1 << 26
"""Bytes of a tile beyond which a file is not ours."""

_RUN_BYTES = 1 << 21
"""Bytes of the tiles that a thread reads at a time: many enough that threads seldom wait for each other."""

_MOST_BUFFERS = 1024
"""Buffers that the system fills in one call (`IOV_MAX`)."""


@dataclass(frozen=True, slots=True)
class FoundTile:
    """Where a tile is: an open blob's file, offset and length in bytes; or its elements, if HDF5 had to read.

    What replaces some of its pixels is put into it, one after the other.
    """

    tile: Tile
    blob: StoredArray
    file: OpenFile
    offset: int = 0
    size: int = 0
    elements: NDArray[Any] | None = None
    replaced: tuple[Replacement, ...] = ()


class Places(Protocol):
    """Says where the tiles of an open blob are.

    Attributes
    ----------
    chunks : tuple of int
        Shape of a tile.
    """

    chunks: tuple[int, ...]

    def find(self, tile: Tile) -> FoundTile:
        """Tell where a tile is."""

    def digests(self) -> Sequence[bytes]:
        """Give the digest of each tile."""

    def ranges(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Give the smallest and the largest element of each tile, NaN ignored, if they are known."""


_room = Room()


def _beginning_in(
    tiles: Sequence[Tile], whole: NDArray[Any], starts: tuple[int, ...], shape: tuple[int, ...]
) -> Iterator[NDArray[Any]]:
    """Give the elements of the tiles whose first one lies in a box: of all together, or, without padding, of each."""
    begin = [
        all(start <= at < start + n for at, start, n in zip(tile.start, starts, shape, strict=True)) for tile in tiles
    ]
    parts = [tuple(slice(s.stop - s.start) for s in tile.inside) for tile in tiles]
    if all(begin) and all(s.stop == n for part in parts for s, n in zip(part, whole.shape[1:], strict=True)):
        yield whole
        return
    yield from (elements[part] for elements, part, is_here in zip(whole, parts, begin, strict=True) if is_here)


def _stretches(run: Sequence[FoundTile], most: int) -> Iterator[Sequence[FoundTile]]:
    """Cut a list of tiles into those that stand one behind the other in a file, so many at most."""
    first = 0
    while first < len(run):
        end = first + 1
        while end < min(first + most, len(run)) and _follows(run[end - 1], run[end]):
            end += 1
        yield run[first:end]
        first = end


def _follows(one: FoundTile, other: FoundTile) -> bool:
    """Tell whether a tile stands right behind another."""
    return one.file is other.file and one.offset + one.size == other.offset and other.elements is None


def _read_apart(stretch: Sequence[FoundTile]) -> tuple[bytes, NDArray[np.uint8], list[int]]:
    """Read tiles that stand one behind the other: their headers, all else, and where in that each ends.

    What is given is this thread's, until it reads again; it is shorter where the file is.
    """
    head = bitshuffle.HEADER_BYTES
    ends = list(itertools.accumulate(max(0, found.size - head) for found in stretch))
    heads, coded = bytearray(head * len(stretch)), _room.take("coded", ends[-1])
    buffers: list[memoryview] = []
    for i, (found, begin, end) in enumerate(zip(stretch, (0, *ends[:-1]), ends, strict=True)):
        buffers += [memoryview(heads)[head * i :][: min(head, found.size)], coded.data[begin:end]]
    try:
        count = stretch[0].file.fill(stretch[0].offset, buffers)
    except OSError as error:
        raise stretch[0].blob.unreadable("can't be read", error) from error
    return bytes(heads), coded[: max(0, count - len(heads))], ends


class TileReader:
    """Reads tiles of an open blob.

    Parameters
    ----------
    blob : StoredArray
        What it should hold.
    places : Places
        Where its tiles are.
    """

    def __init__(self, blob: StoredArray, places: Places) -> None:
        self._blob = blob
        self._places = places
        self.chunks = places.chunks

    def read(
        self,
        starts: tuple[int, ...],
        shape: tuple[int, ...],
        out: NDArray[Any] | None = None,
        look: Look | None = None,
    ) -> NDArray[Any]:
        """Read a box of elements, on all cores, into an array that is given or a native one; give that.

        The elements of each tile that begins in the box are shown to `look`, of several together or of one, in any
        order, from any thread.
        """
        target: NDArray[Any] = np.empty(shape, self._blob.dtype) if out is None else out
        if 0 in shape:
            return target
        fill = self._filler(look)
        jobs = ((found, target, starts) for found in self._in_runs(self._touched(starts, shape)))
        for _ in map_bounded(fill, jobs):
            pass
        return target

    def read_many(self, corners: Iterable[tuple[tuple[int, ...], tuple[int, ...]]]) -> Iterator[NDArray[Any]]:
        """Read boxes, several at a time on as many cores; give them in their order."""
        fill = self._filler()

        def read(job: tuple[list[FoundTile], tuple[int, ...], tuple[int, ...]]) -> NDArray[Any]:
            found, starts, shape = job
            return fill((found, np.empty(shape, self._blob.dtype), starts))

        jobs = (
            ([self._places.find(t) for t in self._touched(starts, shape)], starts, shape) for starts, shape in corners
        )
        yield from map_bounded(read, jobs)

    def read_pieces(self, choose: Choose | None, *, lend: bool) -> Iterator[NDArray[Any]]:
        """Read tiles, several at a time on as many cores: whole ones stacked along a new axis, others alone."""
        fill, dtype, chunks = self._filler(), self._blob.dtype, self.chunks

        def read(found: list[FoundTile]) -> NDArray[Any]:
            if len(found) == 1:
                inside = found[0].tile.inside
                return fill((found, np.empty([s.stop - s.start for s in inside], dtype), found[0].tile.start))
            return fill((found, empty((len(found), *chunks)), None))

        alone = lend and works_alone()

        def empty(shape: tuple[int, ...]) -> NDArray[Any]:
            if not alone:
                return np.empty(shape, dtype)
            return _room.take("decoded", math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)

        shape = self._blob.shape
        tiles = all_tiles(shape, chunks)
        ranges = None if choose is None else self._places.ranges()
        if choose is not None and ranges is not None:
            tiles = itertools.compress(tiles, choose(*ranges, tile_sizes(shape, chunks)))
        runs = self._in_runs(tiles, whole=True, growing=choose is not None)
        if choose is not None:  # the first tiles often tell enough: others are not decoded meanwhile
            yield from map(read, itertools.islice(runs, 1))
        yield from map(read, runs) if alone else map_bounded(read, runs)

    def _touched(self, starts: tuple[int, ...], shape: tuple[int, ...]) -> Iterable[Tile]:
        if shape == self._blob.shape:
            return all_tiles(shape, self.chunks)
        ranges = [range(s // c, (s + n - 1) // c + 1) for s, n, c in zip(starts, shape, self.chunks, strict=True)]
        return tiles_at(ranges, self._blob.shape, self.chunks)

    def _in_runs(
        self, tiles: Iterable[Tile], *, whole: bool = False, growing: bool = False
    ) -> Iterator[list[FoundTile]]:
        """Give the tiles in lists that are worth a thread's while; with `whole`, those cut by the edge alone.

        Growing lists begin with a quarter, and double: who takes them may soon know enough.
        """
        longest = self._tiles_at_once()
        most = max(1, longest // 4) if growing else longest
        run: list[FoundTile] = []
        for tile in tiles:
            alone = whole and any(s.stop - s.start < n for s, n in zip(tile.inside, self.chunks, strict=True))
            if run and (alone or len(run) == most):
                yield run
                run, most = [], min(2 * most, longest)
            run.append(self._places.find(tile))
            if alone:
                yield run
                run = []
        if run:
            yield run

    def _filler(
        self, look: Look | None = None
    ) -> Callable[[tuple[list[FoundTile], NDArray[Any], tuple[int, ...] | None]], NDArray[Any]]:
        """Give the function that reads and decodes tiles, checks them and puts them where they belong; for any thread.

        It takes the tiles, a box, and where the box starts; None for a box with a first axis of one place for each.
        """
        digests = self._places.digests()
        most = self._tiles_at_once()

        def fill(job: tuple[list[FoundTile], NDArray[Any], tuple[int, ...] | None]) -> NDArray[Any]:
            run, target, starts = job
            done = 0
            for stretch in _stretches(run, most):
                here = target[done : done + len(stretch)] if starts is None else None
                done += len(stretch)
                whole = self._elements(stretch, here)
                tiles = [found.tile for found in stretch]
                for found, elements in zip(stretch, whole, strict=True):
                    tile = found.tile
                    for replacement in found.replaced:
                        replacement.put(elements)
                    inside = elements[tuple(slice(s.stop - s.start) for s in tile.inside)]
                    digest = tile_digest(inside)
                    if digest != digests[tile.number]:
                        how = f"has other values in tile {tile.number} (at {tile.start}) than were stored"
                        raise self._at_fault(found, digest).damaged(how)
                if starts is not None:
                    if look is not None:
                        for part in _beginning_in(tiles, whole, starts, target.shape):
                            look(part)
                    put_tiles(whole, tiles, target, starts)
                elif here is not None and whole is not here:
                    here[...] = whole
            return target

        return fill

    def _tiles_at_once(self) -> int:
        tile_bytes = math.prod(self.chunks) * self._blob.dtype.itemsize
        return min(_MOST_BUFFERS // 2, max(1, _RUN_BYTES // max(1, tile_bytes)))

    def _elements(self, stretch: Sequence[FoundTile], here: NDArray[Any] | None) -> NDArray[Any]:
        """Give the elements of tiles that stand one behind the other, with padding, along a new first axis.

        They are decoded to the place given, if it has their byte order; else to memory of this thread, until the next
        are.
        """
        blob, chunks = self._blob, self.chunks
        if stretch[0].elements is not None:
            return stretch[0].elements[np.newaxis]
        shape, little = (len(stretch), *chunks), blob.dtype.newbyteorder("<")
        if here is not None and here.dtype == little:
            whole = here
        else:
            whole = _room.take("tiles", math.prod(shape) * little.itemsize).view(little).reshape(shape)
        with contextlib.suppress(IntegrityError):
            bitshuffle.decompress(*_read_apart(stretch), whole)
            return whole
        for found, room in zip(stretch, whole[:, np.newaxis], strict=True):  # one of them is damaged: which?
            try:
                bitshuffle.decompress(*_read_apart([found]), room)
            except IntegrityError as error:
                how = f"can't be decoded in tile {found.tile.number} (at {found.tile.start}): {error}"
                raise found.blob.damaged(how) from error
        return whole

    def _at_fault(self, found: FoundTile, digest: bytes) -> StoredArray:
        """Tell which blob is damaged where a tile has other elements than it should: who has it, or who lists it."""
        if found.replaced:
            bare = self._elements([dataclasses.replace(found, replaced=())], None)[0]
            digest = tile_digest(bare[tuple(slice(s.stop - s.start) for s in found.tile.inside)])
        if found.blob is not self._blob:
            listed = found.blob.tile_list()
            if listed is not None and listed.records["digest"][found.tile.number].tobytes() == digest:
                return self._blob
        return found.blob
