"""Tile list: where the tiles of a blob are and what they hold, behind the end of its HDF5 file.

HDF5 passes over what follows its own end. With the list a tile is found and read by two plain reads, without HDF5, its
lock, or Python's; a file without one, or with one that is damaged, is read by HDF5. It is::

    records   one for each tile, in C order: offset and size in the file, xxh3_128 of the elements, smallest and largest
    header    JSON: digest, dtype and shape of the array, shape of a tile
    footer    length of the header, count of tiles, xxh3_128 of records and header, "MIRIPOOL"

That of a delta blob ends with "MIRIPOO2". Its header names other blobs, its records tell for each tile in which of
them it is, counted from 1; 0 is this file. A tile of another blob has no offset and no size: that blob's own list knows
them. That of a delta blob with changed pixels ends with "MIRIPOO3". All of its tiles are in other blobs; its header has
the runs of pixels, and offsets, sizes and digests of the tiles of their packed elements.
"""

from __future__ import annotations

import json
import math
import operator
import os
import re
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from ...model.tiles import Tile, grid
from . import bitshuffle
from .changedpixels import are_runs, packed_shape
from .tilereader import MAX_TILE, FoundTile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..manifest import BlobRef
    from .openfile import OpenFile
    from .stored import StoredArray

__all__ = [
    "PIXEL_RECORD",
    "ListedTiles",
    "PixelList",
    "TileList",
    "read_tile_list",
    "record_type",
    "tile_list_of",
    "write_tile_list",
]

_FOOTER = struct.Struct("<II16s8s")
_MAGIC = b"MIRIPOOL"
_DELTA_MAGIC = b"MIRIPOO2"
_PIXEL_MAGIC = b"MIRIPOO3"
PIXEL_RECORD = [("offset", "<u8"), ("size", "<u4"), ("digest", "V16")]
"""Fields of the record of a tile of packed elements; no dtype, as most commands need no NumPy."""
_FIRST = 1 << 12
"""Bytes at the end that are read at once: the lists of most arrays are shorter."""
_LARGEST = 1 << 26
"""Bytes of a list beyond which it is not ours."""
_KEPT_LISTS = 64
_KEPT_BYTES = 1 << 16
"""Lists that are remembered, each of so many bytes at most: versions of an array take tiles from the same few blobs.

To read a list takes 0.1 ms, a SUB64 ramp of 1.8 MB 1.5; that of a version with changed pixels needs two lists.
"""

_kept: OrderedDict[tuple[tuple[int, ...], BlobRef], TileList] = OrderedDict()
_kept_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class PixelList:
    """The changed pixels of an array.

    Attributes
    ----------
    runs : ndarray of uint32, shape (nruns, 3)
        From `miripool.store.arrays.changedpixels.runs_of`.
    chunks : tuple of int
        Shape of a tile of the packed elements.
    records : ndarray, shape (number of tiles of the packed elements,)
        With fields ``offset``, ``size`` and ``digest``.
    """

    runs: NDArray[Any]
    chunks: tuple[int, ...]
    records: NDArray[Any]


@dataclass(frozen=True, slots=True)
class TileList:
    """The tiles of an array.

    Attributes
    ----------
    chunks : tuple of int
        Shape of a tile.
    records : ndarray, shape (number of tiles,)
        With fields ``offset``, ``size``, ``digest`` and, for numbers, ``low`` and ``high``, NaN ignored; ``owner`` in
        a delta blob.
    owners : tuple of str
        Digests of the blobs that have tiles of a delta blob.
    pixels : PixelList, optional
        Pixels that a delta blob has itself.
    """

    chunks: tuple[int, ...]
    records: NDArray[Any]
    owners: tuple[str, ...] = ()
    pixels: PixelList | None = None

    @property
    def numbers(self) -> NDArray[Any]:
        """Where each tile is: 0 for this file, else the place in `owners`, counted from 1."""
        return self.records["owner"] if self.owners else np.zeros(len(self.records), np.uint16)


class ListedTiles:
    """Says where the tiles of an open blob are, by its list.

    Parameters
    ----------
    blob : StoredArray
        What it should hold.
    file : OpenFile
        Its file.
    tiles : TileList or PixelList
        From it.
    """

    def __init__(self, blob: StoredArray, file: OpenFile, tiles: TileList | PixelList) -> None:
        self._blob = blob
        self._file = file
        self._most = bitshuffle.most_for(math.prod(tiles.chunks), blob.dtype.itemsize)
        self.chunks = tiles.chunks
        self._records = tiles.records

    def find(self, tile: Tile) -> FoundTile:
        """Tell where in the file a tile is."""
        record = self._records[tile.number]
        offset, size = int(record["offset"]), int(record["size"])
        if not 0 < size <= self._most or offset + size > self._file.size:
            raise self._blob.damaged(f"has no tile {tile.number} (at {tile.start})")
        return FoundTile(tile, self._blob, self._file, offset, size)

    def digests(self) -> Sequence[bytes]:
        """Give the digest of each tile."""
        digests: list[bytes] = self._records["digest"].tolist()
        return digests

    def spans(self) -> NDArray[np.uint64]:
        """Give offset and size of each tile, zeros for those in other files."""
        return np.stack([self._records["offset"], self._records["size"].astype(np.uint64)], axis=1)

    def ranges(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Give the smallest and the largest element of each tile, NaN ignored; None where they are no numbers."""
        if "low" not in (self._records.dtype.names or ()):
            return None
        native = self._records.dtype["low"].newbyteorder("=")
        return self._records["low"].astype(native), self._records["high"].astype(native)


def record_type(dtype: np.dtype[Any], *, delta: bool = False) -> np.dtype[Any]:
    """Give the type of a list's records.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the array.
    delta : bool, keyword-only
        Whether tiles may be in other blobs.

    Returns
    -------
    numpy.dtype
        Packed, little-endian.
    """
    fields: list[Any] = [("offset", "<u8"), ("size", "<u4"), ("digest", "V16")]
    if dtype.kind in "iuf":
        fields += [("low", dtype.newbyteorder("<")), ("high", dtype.newbyteorder("<"))]
    if delta:
        fields.append(("owner", "<u2"))
    return np.dtype(fields)


def write_tile_list(path: str | os.PathLike[str], ref: BlobRef, tiles: TileList) -> None:
    """Put a list behind the end of a file.

    Parameters
    ----------
    path : path
        A whole HDF5 file.
    ref : BlobRef
        The array.
    tiles : TileList
        All of its tiles.
    """
    told: dict[str, Any] = {
        "digest": ref.digest,
        "dtype": _name(ref.dtype),
        "shape": list(ref.shape),
        "tile": list(tiles.chunks),
    }
    if tiles.owners:
        told["owners"] = list(tiles.owners)
    if tiles.pixels is not None:
        told["pixels"] = _tell_pixels(tiles.pixels)
    body = tiles.records.tobytes() + (header := json.dumps(told, sort_keys=True).encode())
    magic = _PIXEL_MAGIC if tiles.pixels is not None else _DELTA_MAGIC if tiles.owners else _MAGIC
    footer = _FOOTER.pack(len(header), len(tiles.records), xxhash.xxh3_128_digest(body), magic)
    with open(path, "ab") as file:  # noqa: PTH123 - the path may be of any kind
        file.write(body + footer)


def read_tile_list(file: OpenFile, ref: BlobRef) -> TileList | None:
    """Read a list.

    Parameters
    ----------
    file : OpenFile
        The blob.
    ref : BlobRef
        The array that it should hold.

    Returns
    -------
    TileList or None
        None where there is none of this array, or it is damaged.
    """
    end = file.size
    start = max(0, end - _FIRST)
    last = file.read(start, end - start)
    if len(last) < _FOOTER.size or not last.endswith((_MAGIC, _DELTA_MAGIC, _PIXEL_MAGIC)):
        return None
    header_size, count, digest, magic = _FOOTER.unpack_from(last, len(last) - _FOOTER.size)
    kind = record_type(ref.dtype, delta=magic != _MAGIC)
    size = count * kind.itemsize + header_size + _FOOTER.size
    if size > min(end, _LARGEST):
        return None
    if size > len(last):
        last = file.read(end - size, size)
        if len(last) < size:
            return None
    body = last[len(last) - size : len(last) - _FOOTER.size]
    if xxhash.xxh3_128_digest(body) != digest:
        return None
    records = np.frombuffer(body, kind, count)
    try:
        told = json.loads(body[count * kind.itemsize :])
        return _understand(told, records, ref) if ("pixels" in told) == (magic == _PIXEL_MAGIC) else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        return None  # somebody else's


def tile_list_of(file: OpenFile, ref: BlobRef) -> TileList | None:
    """Read a list as `read_tile_list` does, unless it was read before from this file, which has not changed since.

    Parameters
    ----------
    file : OpenFile
        The blob.
    ref : BlobRef
        The array that it should hold.

    Returns
    -------
    TileList or None
        None where there is none of this array, or it is damaged.
    """
    state = file.state
    if state is None:
        return read_tile_list(file, ref)
    key = (state, ref)
    with _kept_lock:
        if (found := _kept.get(key)) is not None:
            _kept.move_to_end(key)
            return found
    found = read_tile_list(file, ref)
    if found is not None and found.records.nbytes <= _KEPT_BYTES:
        with _kept_lock:
            _kept[key] = found
            while len(_kept) > _KEPT_LISTS:
                _kept.popitem(last=False)
    return found


def _understand(told: Any, records: NDArray[Any], ref: BlobRef) -> TileList | None:
    if (told["digest"], told["dtype"], told["shape"]) != (ref.digest, _name(ref.dtype), list(ref.shape)):
        return None
    chunks = tuple(map(operator.index, told["tile"]))
    if len(chunks) != len(ref.shape) or min(chunks) < 1 or math.prod(chunks) * ref.dtype.itemsize > MAX_TILE:
        return None
    if math.prod(grid(ref.shape, chunks)) != len(records):
        return None
    owners = tuple(told["owners"]) if "owner" in (records.dtype.names or ()) else ()
    if owners and not (all(re.fullmatch("[0-9a-f]{32}", d) for d in owners) and records["owner"].max() <= len(owners)):
        return None
    if "pixels" not in told:
        return TileList(chunks, records, owners)
    pixels = _understand_pixels(told["pixels"], ref)
    return TileList(chunks, records, owners, pixels) if pixels is not None and records["owner"].all() else None


def _tell_pixels(pixels: PixelList) -> dict[str, Any]:
    told: dict[str, Any] = {"runs": pixels.runs.tolist(), "tile": list(pixels.chunks)}
    told |= {name: pixels.records[name].tolist() for name in ("offset", "size")}
    return told | {"digest": [digest.hex() for digest in pixels.records["digest"].tolist()]}


def _understand_pixels(told: Any, ref: BlobRef) -> PixelList | None:
    runs = np.array(told["runs"])
    if runs.dtype.kind != "i" or not are_runs(runs, ref.shape):
        return None
    shape, chunks = packed_shape(ref.shape, runs), tuple(map(operator.index, told["tile"]))
    if len(chunks) != len(shape) or min(chunks) < 1 or math.prod(chunks) * ref.dtype.itemsize > MAX_TILE:
        return None
    parts = list(zip(told["offset"], told["size"], map(bytes.fromhex, told["digest"]), strict=True))
    if len(parts) != math.prod(grid(shape, chunks)):
        return None
    return PixelList(runs.astype(np.uint32), chunks, np.array(parts, PIXEL_RECORD))


def _name(dtype: np.dtype[Any]) -> str | Sequence[Any]:
    return dtype.newbyteorder("<").str if dtype.names is None else repr(dtype.newbyteorder("<").descr)
