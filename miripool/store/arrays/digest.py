"""Digest of an array: a name for its logical content.

xxh3_128 over a framed header (dtype, shape) and the elements in C order, little-endian; a table is framed column by
column. Chunking, compression and the version of any library do not matter. It detects accidents, not tampering.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from ...model.canonical import canonical_json
from ..manifest import dtype_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ...model.dataset import ArraySource

__all__ = [
    "LARGE_BYTES",
    "array_digest",
    "blocks",
    "hasher_of",
    "is_tiled",
    "little_bytes",
    "pieces_in_order",
    "tile_digest",
]

_BLOCK_BYTES = 9 << 20
"""Bytes read, hashed and summed by one thread at a time: a FULL frame of doubles in one piece.

With fewer, threads wait for each other; more cost memory.
"""

LARGE_BYTES = 1 << 28
"""The same where whole tiles are read: an integration of 60 FULL groups as floats, so that each is decoded once."""


def array_digest(source: ArraySource) -> str:
    """Name an array by its logical content.

    Parameters
    ----------
    source : ArraySource
        Any shape; numbers, bytes or a table (structured).

    Returns
    -------
    str
        xxh3_128, 32 hexadecimal digits.
    """
    hasher = hasher_of(source)
    if source.dtype.names:
        _hash_columns(hasher, np.asarray(source[...]))
    else:
        for block in blocks(source, large=is_tiled(source)):
            hasher.update(little_bytes(np.asarray(source[block], source.dtype)))
    return hasher.hexdigest()


def hasher_of(source: ArraySource) -> xxhash.xxh3_128:
    """Begin a digest: take in the frame, so that arrays of equal bytes and other shape differ.

    Parameters
    ----------
    source : ArraySource
        Its dtype and shape are framed.

    Returns
    -------
    xxhash.xxh3_128
        To be updated with the elements.
    """
    header = canonical_json({"array": dtype_to_json(source.dtype), "shape": list(source.shape)})
    return xxhash.xxh3_128(len(header).to_bytes(8, "little") + header)


def _hash_columns(hasher: xxhash.xxh3_128, rows: NDArray[Any]) -> None:
    for name in rows.dtype.names or ():
        column = np.ascontiguousarray(rows[name])
        hasher.update(column.nbytes.to_bytes(8, "little"))
        if column.dtype.names:
            _hash_columns(hasher, column)
        else:
            hasher.update(little_bytes(column))


def little_bytes(array: NDArray[Any]) -> memoryview[int]:
    """Give an array's elements as digests take them, without a copy where they already are so.

    Parameters
    ----------
    array : ndarray
        Any shape; not a table.

    Returns
    -------
    memoryview
        Little-endian, C order.
    """
    ordered = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return memoryview(ordered.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def tile_digest(tile: NDArray[Any]) -> bytes:
    """Digest the elements of one tile, C order, little-endian.

    Parameters
    ----------
    tile : ndarray
        Padding left out.

    Returns
    -------
    bytes
        xxh3_128, 16 bytes.
    """
    return xxhash.xxh3_128_digest(little_bytes(tile))


def is_tiled(source: ArraySource) -> bool:
    """Tell whether a source reads whole tiles, which hold all groups of a ramp, however little of them is wanted.

    Parameters
    ----------
    source : ArraySource
        Any.

    Returns
    -------
    bool
        True for stored blobs: `blocks` of theirs should be large.
    """
    return bool(getattr(source, "is_tiled", False))


def blocks(source: ArraySource, *, large: bool = False) -> Iterator[tuple[int | slice, ...]]:
    """Cut an array, front to back, into blocks of bounded size.

    Parameters
    ----------
    source : ArraySource
        Any shape.
    large : bool, keyword-only
        Blocks of up to 256 MB instead of 4.

    Yields
    ------
    tuple
        Index of a block; together they are all elements in C order.
    """
    shape = tuple(source.shape)
    if math.prod(shape) == 0 or not shape:
        yield tuple(slice(None) for _ in shape)
        return
    yield from _blocks_of((), shape, source.dtype.itemsize, LARGE_BYTES if large else _BLOCK_BYTES)


def pieces_in_order(source: ArraySource) -> Iterator[NDArray[Any]]:
    """Read all elements of a tiled source in the `blocks` in which others are read, but large ones at once.

    Parameters
    ----------
    source : ArraySource
        Not a table.

    Yields
    ------
    ndarray
        In C order, one after the other. Means and scatters, to their last digit, depend on where the cuts are.
    """
    for block in blocks(source, large=True):
        whole = np.asarray(source[block])
        for part in blocks(whole):
            yield whole[part]


def _blocks_of(
    prefix: tuple[int, ...], shape: tuple[int, ...], itemsize: int, most: int
) -> Iterator[tuple[int | slice, ...]]:
    below = math.prod(shape[1:]) * itemsize
    if below > most and len(shape) > 1:
        for i in range(shape[0]):
            yield from _blocks_of((*prefix, i), shape[1:], itemsize, most)
        return
    step = max(1, _BLOCK_BYTES // max(1, below))
    step = max(step, most // max(1, below) // step * step)  # large ones consist of whole small ones
    for start in range(0, shape[0], step):
        yield (*prefix, slice(start, start + step))
