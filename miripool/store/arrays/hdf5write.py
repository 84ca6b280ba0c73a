"""Writing a blob's HDF5 file: plain, or with the tiles only that no other blob has."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import sys
import tempfile
from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...model.tiles import Slab, Tile, grid, slabs, tile_shape
from ...system.scratch import Room
from ...system.threads import map_bounded
from . import bitshuffle
from .changedpixels import AT_ONCE
from .delta import mappings
from .digest import tile_digest
from .hdf5datasets import hdf5_type, name_array, store_whole
from .hdf5file import DEFLATED_FORMAT, DELTA_FORMAT, FORMAT, PIXEL_FORMAT
from .hdf5library import load_hdf5
from .smallfile import small_file
from .survey import LEAST_SHARED, SAMPLES, gather
from .tilelist import PIXEL_RECORD, PixelList, TileList, record_type, write_tile_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import h5py
    from numpy.typing import NDArray

    from ...model.dataset import ArraySource
    from ..manifest import BlobRef
    from .delta import Relatives
    from .survey import Changes

__all__ = ["is_deflated", "write_delta", "write_pixels", "write_plain"]

_MAX_CODED = 1 << 16
"""Bytes of an element (a table's row) beyond which it is not coded: bitshuffle's blocks are of 128 elements."""

_PLAIN_BYTES = 1 << 12
"""Arrays up to this size are neither chunked nor compressed: the book-keeping would outweigh them."""

_LONG_ROW = 1 << 10
"""Bytes of a table's row from which on the table is deflated: bitshuffle does nothing for one row of text.

The ASDF logs of the real SUB64 exposure take 8 instead of 29 KB each.
"""

_MOST_DEFLATED = 1 << 19
"""Bytes beyond which a table is not: it is read as a whole. Deflated by 1032 at most, it never looks like a lie."""

_AHEAD_BYTES = 1 << 23
"""Bytes that are written between two hints to the system."""

_ROOM_BYTES = 1 << 25
"""Bytes that are set aside on the disk at a time: ext4 then takes a tenth less of a save's computing."""

_KEEP_SIZE = 1
"""``FALLOC_FL_KEEP_SIZE``: space behind the end of the file, which stays where it is."""

_room = Room()


def is_deflated(ref: BlobRef) -> bool:
    """Tell whether an array is a table that is stored as a whole, by deflate.

    Parameters
    ----------
    ref : BlobRef
        What the array is.

    Returns
    -------
    bool
        True for tables of long rows, such as ASDF logs, that are neither small nor large.
    """
    size = math.prod(ref.shape) * ref.dtype.itemsize
    return ref.dtype.names is not None and ref.dtype.itemsize >= _LONG_ROW and _PLAIN_BYTES < size <= _MOST_DEFLATED


def write_plain(path: Path, ref: BlobRef, source: ArraySource) -> None:
    """Write a blob that holds all of its tiles.

    Parameters
    ----------
    path : Path
        The file, made again.
    ref : BlobRef
        What the array is.
    source : ArraySource
        The array.

    Raises
    ------
    OSError, RuntimeError, ValueError
        If it can't be written; HDF5 reports a full disk as any of them.
    """
    little = ref.dtype.newbyteorder("<")
    if ref.nbytes <= _PLAIN_BYTES:
        path.write_bytes(small_file(ref, np.asarray(source[...]).astype(little, copy=False)))
        return
    with _writing(path) as file:
        if not ref.shape or little.itemsize > _MAX_CODED or is_deflated(ref):
            whole = np.asarray(source[...]).astype(little, copy=False)
            data = store_whole(file, b"data", whole, deflated=is_deflated(ref))
            digests, tiles = np.frombuffer(tile_digest(whole), np.uint8).reshape(1, 16), None
        else:
            chunks = tile_shape(ref.shape, little.itemsize)
            data = _chunked(file, b"data", ref, chunks)
            records = np.zeros(math.prod(grid(ref.shape, chunks)), record_type(little))
            _write_tiles(file, data, chunks, source, records)
            tiles = TileList(chunks, records)
            digests = _digests(tiles)
        name_array(data, ref.digest, DEFLATED_FORMAT if is_deflated(ref) else FORMAT)
        kept = store_whole(file, b"tile_digests", digests)
        _flush(file)  # while all objects are held: a write that fails as one is let go of raises no error
        del kept
    if tiles is not None:
        write_tile_list(path, ref, tiles)


def write_delta(path: Path, ref: BlobRef, source: ArraySource, relatives: Relatives) -> bool:
    """Write a blob that holds only the tiles that others have not.

    Parameters
    ----------
    path : Path
        The file, made again.
    ref : BlobRef
        What the array is.
    source : ArraySource
        The array.
    relatives : Relatives
        The other blobs, of arrays of the same dtype, shape and tiles.

    Returns
    -------
    bool
        False if too much has changed: the file is of no use then.

    Raises
    ------
    OSError, RuntimeError, ValueError
        If it can't be written.
    """
    little = ref.dtype.newbyteorder("<")
    chunks = tile_shape(ref.shape, little.itemsize)
    if relatives.chunks != chunks or not _is_promising(ref, source, relatives):
        return False
    records = np.zeros(math.prod(grid(ref.shape, chunks)), record_type(little, delta=True))
    with _writing(path) as file:
        own = _chunked(file, b"tiles", ref, chunks)
        found = _write_tiles(file, own, chunks, source, records, relatives)
        if found is None:
            return False
        owners, records["owner"] = _owners(relatives, found)
        tiles = TileList(chunks, records, owners)
        data = _map(file, ref, tiles)
        name_array(data, ref.digest, DELTA_FORMAT)
        kept = _share(file, tiles)
        _flush(file)
        del kept
    write_tile_list(path, ref, tiles)
    return True


def write_pixels(path: Path, ref: BlobRef, source: ArraySource, relatives: Relatives, changes: Changes) -> None:
    """Write a blob that holds only some pixels, and has all tiles from others.

    Parameters
    ----------
    path : Path
        The file, made again.
    ref : BlobRef
        What the array is.
    source : ArraySource
        The array.
    relatives : Relatives
        The other blobs, of arrays of the same dtype, shape and tiles.
    changes : Changes
        From `miripool.store.arrays.survey.survey`.

    Raises
    ------
    OSError, RuntimeError, ValueError
        If it can't be written.
    """
    packed = gather(ref, source, relatives.chunks, changes.runs)
    part = replace(ref, shape=packed.shape)
    # What all readers read at once is one tile.
    chunks = part.shape if part.nbytes <= AT_ONCE else tile_shape(part.shape, part.dtype.itemsize)
    records = np.zeros(math.prod(grid(part.shape, chunks)), record_type(part.dtype))
    owners, changes.records["owner"] = _owners(relatives, changes.bases)
    with _writing(path) as file:
        own = _chunked(file, b"tiles", ref, relatives.chunks)  # none of them is stored
        pixels = _chunked(file, b"pixels", part, chunks)
        _write_tiles(file, pixels, chunks, packed, records)
        few = PixelList(changes.runs, chunks, records[[name for name, _ in PIXEL_RECORD]].astype(PIXEL_RECORD))
        tiles = TileList(relatives.chunks, changes.records, owners, few)
        name_array(_map(file, ref, tiles), ref.digest, PIXEL_FORMAT)
        kept = [
            own,
            *_share(file, tiles),
            store_whole(file, b"runs", changes.runs.astype("<u4")),
            store_whole(file, b"pixel_digests", _digests(few)),
        ]
        _flush(file)
        del kept
    write_tile_list(path, ref, tiles)


def _owners(relatives: Relatives, found: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.uint16]]:
    """Give the relatives that have tiles, the most used first, and for each tile the place of its one among them.

    Places count from 1; tiles that are found nowhere, -1, get 0.
    """
    used = [number for number, _ in Counter(found[found >= 0].tolist()).most_common()]
    place = np.zeros(len(relatives.digests) + 1, np.uint16)  # of what is found nowhere comes last
    place[used] = np.arange(1, len(used) + 1)
    return tuple(relatives.digests[number] for number in used), place[found]


def _share(file: h5py.h5f.FileID, tiles: TileList) -> list[h5py.h5d.DatasetID]:
    """Say which blobs have the tiles, and what these hold."""
    return [
        store_whole(file, b"tile_digests", _digests(tiles)),
        store_whole(file, b"tile_owners", tiles.numbers.astype("<u2")),
        store_whole(file, b"owners", np.array(tiles.owners, "S32")),
    ]


def _chunked(file: h5py.h5f.FileID, name: bytes, ref: BlobRef, chunks: tuple[int, ...]) -> h5py.h5d.DatasetID:
    import h5py

    little = ref.dtype.newbyteorder("<")
    space, kind = h5py.h5s.create_simple(ref.shape), hdf5_type(little)
    return h5py.h5d.create(file, name, kind, space, _coded(chunks, little.itemsize))


@functools.lru_cache(maxsize=64)
def _coded(chunks: tuple[int, ...], element: int) -> Any:
    """Say how a dataset is stored in coded chunks. h5py's own way to say it takes longer than HDF5 to make the file."""
    import h5py
    import hdf5plugin

    coded = hdf5plugin.Bitshuffle(nelems=bitshuffle.block_of(math.prod(chunks), element), cname="lz4")
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk(chunks)
    made.set_filter(coded.filter_id, h5py.h5z.FLAG_OPTIONAL, coded.filter_options)
    made.set_obj_track_times(False)
    return made


def _digests(tiles: TileList | PixelList) -> NDArray[np.uint8]:
    return np.stack([np.frombuffer(digest, np.uint8) for digest in tiles.records["digest"].tolist()])


def _map(file: h5py.h5f.FileID, ref: BlobRef, tiles: TileList) -> h5py.h5d.DatasetID:
    """Make the virtual dataset over all tiles; what of it is missing reads as NaN, where there is such a thing."""
    import h5py

    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    little = ref.dtype.newbyteorder("<")
    made.set_fill_value(np.array(np.nan if little.kind == "f" else 0, little))
    made.set_layout(h5py.h5d.VIRTUAL)
    runs = tiles.pixels.runs if tiles.pixels is not None else None
    for mapping in mappings(ref.shape, tiles.chunks, tiles.owners, tiles.numbers, runs):
        made.set_virtual(mapping.space, mapping.file, mapping.dataset, mapping.source)
    space = h5py.h5s.create_simple(ref.shape)
    return h5py.h5d.create(file, b"data", h5py.h5t.py_create(little), space, made)


def _is_promising(ref: BlobRef, source: ArraySource, relatives: Relatives) -> bool:
    """Look at some places of an array, whether enough of its tiles are there."""
    places = list(slabs(ref.shape, relatives.chunks, ref.dtype.itemsize))
    there = total = 0
    for slab in places[:: max(1, len(places) // SAMPLES)]:
        for tile, part in slab.cut(np.asarray(source[slab.inside])):
            there += relatives.find(tile.number, tile_digest(part)) >= 0
            total += 1
    return there >= LEAST_SHARED * total


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[h5py.h5f.FileID]:
    """Make an HDF5 file. After an error what HDF5 still wants to write goes nowhere: the file is of no use any more.

    It would try again, as its objects are let go of one by one, and each time tell the user that it could not.
    """
    load_hdf5()
    import h5py

    file = h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, *_file_lists())
    descriptor = file.get_vfd_handle()
    try:
        yield file
        file.close()
    except BaseException:
        with contextlib.suppress(OSError), tempfile.TemporaryFile() as nowhere:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                os.dup2(nowhere.fileno(), descriptor)
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            file.close()
        raise


@functools.cache
def _file_lists() -> tuple[Any, Any]:
    """Say how files are created and accessed. h5py's own way to say it takes longer than HDF5 to make the file."""
    import h5py

    created = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    created.set_obj_track_times(False)
    accessed = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    accessed.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    accessed.set_fclose_degree(h5py.h5f.CLOSE_STRONG)  # with all of its objects
    return created, accessed


def _flush(file: h5py.h5f.FileID) -> None:
    import h5py

    h5py.h5f.flush(file)


def _write_tiles(
    file: h5py.h5f.FileID,
    data: h5py.h5d.DatasetID,
    chunks: tuple[int, ...],
    source: ArraySource,
    records: NDArray[Any],
    relatives: Relatives | None = None,
) -> NDArray[np.int64] | None:
    """Write the tiles that no relative has, and all records.

    Gives for each tile which relative has it, -1 for none; None as soon as it is clear that most of them have changed.
    """
    import h5py

    shape, dtype = data.shape, data.dtype
    owners = np.full(len(records), -1)
    most = len(records) * (1 - LEAST_SHARED) if relatives is not None else len(records)
    written = 0
    direct = bitshuffle.available()
    most_coded = bitshuffle.room_for(math.prod(chunks), dtype.itemsize) if direct else 0
    spare: deque[NDArray[np.uint8]] = deque()  # memory for coded tiles that have been written

    def code(slab: Slab) -> tuple[list[Tile], Iterable[NDArray[Any]], NDArray[np.uint8]]:
        whole, parts = _gathered(slab, np.asarray(source[slab.inside]), chunks, dtype)
        numbers = [tile.number for tile in slab.tiles]
        if dtype.kind in "iuf":
            records["low"][numbers], records["high"][numbers] = _ranges(whole, parts)
        digests = [tile_digest(part) for part in parts]
        records["digest"][numbers] = np.frombuffer(b"".join(digests), "V16")
        if relatives is not None:
            owners[numbers] = [relatives.find(*tile) for tile in zip(numbers, digests, strict=True)]
        own = np.flatnonzero(owners[numbers] < 0).tolist()
        room = _one_of(spare, len(own) * most_coded)
        coded = bitshuffle.compress(whole, own, room) if direct else [parts[i].copy() for i in own]
        return [slab.tiles[i] for i in own], coded, room

    ahead = _Ahead(file.get_vfd_handle())
    for own, coded, room in map_bounded(code, slabs(shape, chunks, dtype.itemsize)):
        written += len(own)
        if written > most:
            return None
        for tile, elements in zip(own, coded, strict=True):
            if direct:
                data.write_direct_chunk(tile.start, elements)
            else:
                h5py.Dataset(data)[tile.inside] = elements
            ahead.wrote(elements.nbytes)
        spare.append(room)
    _flush(file)  # by now HDF5 knows where it puts them
    ahead.end()
    found: list[Any] = []
    data.chunk_iter(found.append)  # asked for one by one, each would be looked for among all
    starts = np.array([chunk.chunk_offset for chunk in found], np.int64).reshape(-1, len(shape))
    numbers = np.ravel_multi_index(tuple((starts // chunks).T), grid(shape, chunks))
    records["offset"][numbers] = [chunk.byte_offset for chunk in found]
    records["size"][numbers] = [chunk.size for chunk in found]
    return owners


def _one_of(spare: deque[NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    """Take memory that is no longer used, or new memory if there is none of that size."""
    with contextlib.suppress(IndexError):
        room = spare.pop()
        if room.size >= size:
            return room
    return np.empty(size, np.uint8)


def _gathered(
    slab: Slab, elements: NDArray[Any], chunks: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Copy a slab's tiles to memory of this thread, good until the next: one after the other, padded with zeros.

    Gives them, and of each what is no padding. Threads hinder each other where they call Python often.
    """
    count = len(slab.tiles)
    room = _room.take("tiles", count * math.prod(chunks) * dtype.itemsize)
    whole: NDArray[Any] = room.view(dtype).reshape(count, *chunks)
    if all(n % c == 0 for n, c in zip(elements.shape, chunks, strict=True)):
        steps = grid(elements.shape, chunks)
        split = elements.reshape(tuple(n for pair in zip(steps, chunks, strict=True) for n in pair))
        axes = range(split.ndim)
        np.copyto(whole.reshape(steps + chunks), split.transpose(*axes[::2], *axes[1::2]), casting="equiv")
        return whole, list(whole)
    parts = []
    for tile, (_, part) in zip(whole, slab.cut(elements), strict=True):
        if part.shape != chunks:
            tile[...] = np.zeros((), dtype)
        parts.append(tile[tuple(slice(n) for n in part.shape)])
        np.copyto(parts[-1], part, casting="equiv")
    return whole, parts


def _ranges(whole: NDArray[Any], parts: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give the smallest and the largest element of each tile, NaN ignored; both NaN where nothing else is there."""
    flat = whole.reshape(len(whole), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    for i, part in enumerate(parts):
        if part.shape != whole.shape[1:] or low[i] != low[i]:
            low[i], high[i] = np.fmin.reduce(part, axis=None), np.fmax.reduce(part, axis=None)
    return low, high


class _Ahead:
    """Has the disk make room for a file, and begin to take what was written of it, while more is computed.

    These are hints, which only Linux takes: whether all is on the disk is for `os.fsync` to tell.

    Parameters
    ----------
    descriptor : int
        The open file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = 0
        self._bytes = 0
        self._room_to = 0

    def wrote(self, count: int) -> None:
        """Tell that so many bytes more are in the file."""
        self._bytes += count
        if self._bytes >= _AHEAD_BYTES and sys.platform == "linux":
            end = os.fstat(self._descriptor).st_size
            # Linux begins to write what is asked to leave memory, and what it is about to write stays there.
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._descriptor, self._begun, end - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun, self._bytes = end, 0
            if end + 2 * _AHEAD_BYTES > self._room_to:
                self._room_to = end + _ROOM_BYTES
                _make_room(self._descriptor, end, _ROOM_BYTES)

    def end(self) -> None:
        """Give back the room that was not needed."""
        if self._room_to:
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size)


def _make_room(descriptor: int, start: int, count: int) -> None:
    """Set space aside behind a file's end. Where there is none, or no such thing, writing finds its own or tells."""
    call = _fallocate()
    if call is not None:
        call(descriptor, _KEEP_SIZE, start, count)


@functools.cache
def _fallocate() -> Any:
    # `os.posix_fallocate` changes the file's size, and writes all blocks where the file system can't set them aside.
    call = getattr(ctypes.CDLL(None), "fallocate", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
    return call
