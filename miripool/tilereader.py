"""Reading tiles of a blob, on all cores, and checking each; wherever it is told that they are."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import bitshuffle
from .digest import tile_digest
from .errors import IntegrityError
from .room import Room
from .threads import map_bounded, works_alone
from .tiles import Tile, copy_overlap, room_of, tile_at, tile_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from .blob import Blob
    from .dataset import Choose

__all__ = ["MAX_TILE", "Found", "Places", "TileReader"]

MAX_TILE = 1 << 26
"""Bytes of a tile beyond which a file is not ours."""

_RUN_BYTES = 1 << 21
"""Bytes of the tiles that a thread reads at a time: many enough that threads seldom wait for each other."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a tile is: descriptor of an open file, offset and length in bytes; or its elements, if HDF5 had to read."""

    tile: Tile
    descriptor: int = -1
    offset: int = 0
    size: int = 0
    elements: NDArray[Any] | None = None


class Places(Protocol):
    """Says where the tiles of an open blob are.

    Attributes
    ----------
    chunks : tuple of int
        Shape of a tile.
    """

    chunks: tuple[int, ...]

    def find(self, tile: Tile) -> Found:
        """Tell where a tile is."""

    def digests(self) -> Sequence[bytes]:
        """Give the digest of each tile."""

    def ranges(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Give the smallest and the largest element of each tile, NaN ignored, if they are known."""


_room = Room()


def _read_run(run: Sequence[Found]) -> list[memoryview | None]:
    """Read tiles as they are in their files, those at once that stand one behind the other.

    What is given is this thread's, until it reads again; None for those read already.
    """
    room = memoryview(_room.take("coded", sum(found.size for found in run)).data)
    coded: list[memoryview | None] = []
    first = 0
    while first < len(run):
        if run[first].elements is not None:
            coded.append(None)
            first += 1
            continue
        end = first + 1
        while end < len(run) and _follows(run[end - 1], run[end]):
            end += 1
        size = sum(found.size for found in run[first:end])
        whole = _read(run[first].descriptor, run[first].offset, room[:size])
        room = room[size:]
        begin = run[first].offset
        coded += [whole[found.offset - begin : found.offset - begin + found.size] for found in run[first:end]]
        first = end
    return coded


def _follows(one: Found, other: Found) -> bool:
    """Tell whether a tile stands right behind another."""
    return (one.descriptor, one.offset + one.size) == (other.descriptor, other.offset) and other.elements is None


def _read(descriptor: int, offset: int, room: memoryview) -> memoryview:
    """Read as many bytes as there is room for, or as there are."""
    if hasattr(os, "preadv"):
        return room[: os.preadv(descriptor, [room], offset)]
    return memoryview(os.pread(descriptor, len(room), offset))  # macOS before 11


class TileReader:
    """Reads tiles of an open blob.

    Parameters
    ----------
    blob : Blob
        What it should hold.
    places : Places
        Where its tiles are.
    """

    def __init__(self, blob: Blob, places: Places) -> None:
        self._blob = blob
        self._places = places
        self._chunks = places.chunks

    def read(self, starts: tuple[int, ...], shape: tuple[int, ...], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read a box of elements, on all cores, into an array that is given or a native one; give that."""
        target: NDArray[Any] = np.empty(shape, self._blob.dtype) if out is None else out
        if 0 in shape:
            return target
        fill = self._filler()
        jobs = ((found, target, starts) for found in self._in_runs(self._touched(starts, shape)))
        for _ in map_bounded(fill, jobs):
            pass
        return target

    def read_many(self, corners: Iterable[tuple[tuple[int, ...], tuple[int, ...]]]) -> Iterator[NDArray[Any]]:
        """Read boxes, several at a time on as many cores; give them in their order."""
        fill = self._filler()

        def read(job: tuple[list[Found], tuple[int, ...], tuple[int, ...]]) -> NDArray[Any]:
            found, starts, shape = job
            return fill((found, np.empty(shape, self._blob.dtype), starts))

        jobs = (
            ([self._places.find(t) for t in self._touched(starts, shape)], starts, shape) for starts, shape in corners
        )
        yield from map_bounded(read, jobs)

    def read_pieces(self, choose: Choose | None, *, lend: bool) -> Iterator[NDArray[Any]]:
        """Read tiles, several at a time on as many cores: whole ones stacked along a new axis, others alone."""
        fill, dtype, chunks = self._filler(), self._blob.dtype, self._chunks

        def read(found: list[Found]) -> NDArray[Any]:
            if len(found) == 1:
                inside = found[0].tile.inside
                return fill((found, np.empty([s.stop - s.start for s in inside], dtype), found[0].tile.start))
            return fill((found, empty((len(found), *chunks)), None))

        alone = lend and works_alone()

        def empty(shape: tuple[int, ...]) -> NDArray[Any]:
            if not alone:
                return np.empty(shape, dtype)
            return _room.take("decoded", math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)

        tiles = self._touched((0,) * len(chunks), self._blob.shape)
        ranges = None if choose is None else self._places.ranges()
        if choose is not None and ranges is not None:
            tiles = itertools.compress(tiles, choose(*ranges, tile_sizes(self._blob.shape, chunks)))
        runs = self._in_runs(tiles, whole=True)
        yield from map(read, runs) if alone else map_bounded(read, runs)

    def _touched(self, starts: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[Tile]:
        ranges = [range(s // c, (s + n - 1) // c + 1) for s, n, c in zip(starts, shape, self._chunks, strict=True)]
        return (tile_at(index, self._blob.shape, self._chunks) for index in itertools.product(*ranges))

    def _in_runs(self, tiles: Iterable[Tile], *, whole: bool = False) -> Iterator[list[Found]]:
        """Give the tiles in lists that are worth a thread's while; with `whole`, those cut by the edge alone."""
        most = max(1, _RUN_BYTES // max(1, math.prod(self._chunks) * self._blob.dtype.itemsize))
        run: list[Found] = []
        for tile in tiles:
            alone = whole and any(s.stop - s.start < n for s, n in zip(tile.inside, self._chunks, strict=True))
            if run and (alone or len(run) == most):
                yield run
                run = []
            run.append(self._places.find(tile))
            if alone:
                yield run
                run = []
        if run:
            yield run

    def _filler(self) -> Callable[[tuple[list[Found], NDArray[Any], tuple[int, ...] | None]], NDArray[Any]]:
        """Give the function that reads and decodes tiles, checks them and puts them where they belong; for any thread.

        It takes the tiles, a box, and where the box starts; None for a box with a first axis of one place for each.
        """
        blob, chunks = self._blob, self._chunks
        digests = self._places.digests()

        def fill(job: tuple[list[Found], NDArray[Any], tuple[int, ...] | None]) -> NDArray[Any]:
            run, target, starts = job
            for i, (found, coded) in enumerate(zip(run, _read_run(run), strict=True)):
                tile = found.tile
                room = target[i] if starts is None else room_of(tile, target, starts)
                elements = found.elements if coded is None else _decode(blob, tile, coded, chunks, room)
                assert elements is not None  # noqa: S101 - not coded means read already
                if tile_digest(elements) != digests[tile.number]:
                    raise blob.damaged(f"has other values in tile {tile.number} (at {tile.start}) than were stored")
                if starts is None and elements is not room:
                    target[i] = elements
                elif starts is not None and elements is not room:
                    copy_overlap(elements, tile, target, starts)
            return target

        return fill


def _decode(
    blob: Blob, tile: Tile, coded: memoryview, chunks: tuple[int, ...], room: NDArray[Any] | None
) -> NDArray[Any]:
    """Decode a tile where it belongs, if it fits there as it is; else into memory of this thread, until the next."""
    little = blob.dtype.newbyteorder("<")
    here = room is not None and room.shape == chunks and room.dtype == little
    if here and room is not None:
        whole: NDArray[Any] = room
    else:
        whole = _room.take("tile", math.prod(chunks) * little.itemsize).view(little).reshape(chunks)
    try:
        bitshuffle.decompress(coded, whole)
    except IntegrityError as error:
        raise blob.damaged(f"can't be decoded in tile {tile.number} (at {tile.start}): {error}") from error
    return whole if here else whole[tuple(slice(s.stop - s.start) for s in tile.inside)]
