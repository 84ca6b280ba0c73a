"""Bitshuffle + LZ4 outside HDF5: the same bytes as its registered filter 32008, on as many cores as there are.

HDF5 runs filters under its global lock, one chunk at a time. The library that `hdf5plugin` brings exports the
compressor itself; called through ctypes it runs without Python's lock too. Where a build of it does not export the
two functions, `available` is False and chunks go through HDF5's own filter pipeline, slower and otherwise equal.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import IntegrityError
from .hdf5library import load_hdf5

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["HEADER_BYTES", "available", "block_of", "compress", "decompress", "most_for", "room_for"]

_HEADER = struct.Struct(">QI")
"""What the filter writes before a chunk: decompressed bytes and bytes per block, both big-endian."""

HEADER_BYTES = _HEADER.size
"""Its length."""

_LENGTH = struct.Struct(">I")
"""What stands before each block: its compressed bytes."""

_BLOCK_BYTES = 1 << 15
"""Bytes per block: coded and decoded up to a sixth faster than the filter's own 8 KiB, and a hundredth smaller.

LZ4 clears 16 KiB of memory for each block, and sooner sees what is noise the more of it is in one piece.
"""

_LEAST_BYTES, _MOST_BYTES = 1 << 14, 1 << 16
"""Bytes per block of a chunk that divides into equal ones: many chunks are coded, or decoded, by one call then.

Each call ends with asking for Python's lock: a fiftieth of a save where the cores are free, a twentieth where not.
"""

_LEAST_ELEMENTS = 128
"""Elements per block, at least: with fewer there is nothing to shuffle."""

_BLOCK_LIMIT = 1 << 24
"""Bytes per block beyond which a header can't be ours."""

_ELEMENTS_AT_ONCE = 8
"""Blocks are multiples of eight elements (`BSHUF_BLOCKED_MULT` of the format)."""


@functools.cache
def _library() -> ctypes.CDLL | None:
    load_hdf5()
    import hdf5plugin

    for path in sorted(Path(hdf5plugin.PLUGIN_PATH).glob("*h5bshuf*")):
        try:
            library = ctypes.CDLL(str(path))
            size, pointer = ctypes.c_size_t, ctypes.c_void_p
            for name in ("bshuf_compress_lz4", "bshuf_decompress_lz4"):
                function = getattr(library, name)
                function.argtypes = [pointer, pointer, size, size, size]
                function.restype = ctypes.c_int64
            library.bshuf_compress_lz4_bound.argtypes = [size] * 3
            library.bshuf_compress_lz4_bound.restype = size
        except (OSError, AttributeError):
            continue
        return library
    return None


def available() -> bool:
    """Tell whether chunks can be coded without HDF5.

    Returns
    -------
    bool
        False where the filter's library does not export its compressor.
    """
    return _library() is not None


@functools.lru_cache(maxsize=256)
def block_of(size: int, element: int) -> int:
    """Tell how many elements are coded together; the same must be said to HDF5 of a dataset that we code chunks of.

    Parameters
    ----------
    size, element : int
        Elements of a chunk, and bytes of each.

    Returns
    -------
    int
        Of blocks of 16 to 64 KiB that a chunk divides into, the largest; where there are none, blocks of 32 KiB, or 128
        elements where that is more.
    """
    for count in range(-(-size * element // _MOST_BYTES), size * element // _LEAST_BYTES + 1):
        if size % (count * _ELEMENTS_AT_ONCE) == 0 and size // count >= _LEAST_ELEMENTS:
            return size // count
    return max(_LEAST_ELEMENTS, _BLOCK_BYTES // element // _ELEMENTS_AT_ONCE * _ELEMENTS_AT_ONCE)


def room_for(size: int, element: int) -> int:
    """Tell how many bytes a coded chunk has at most.

    Parameters
    ----------
    size, element : int
        Elements of the chunk, and bytes of each.

    Returns
    -------
    int
        More than the chunk itself has.
    """
    library = _library()
    assert library is not None  # noqa: S101 - callers ask `available` first
    return int(HEADER_BYTES + library.bshuf_compress_lz4_bound(size, element, block_of(size, element)))


def most_for(size: int, element: int) -> int:
    """Tell how many bytes a chunk can have at most, whichever program coded it in blocks of whichever size.

    Parameters
    ----------
    size, element : int
        Elements of the chunk, and bytes of each.

    Returns
    -------
    int
        Those of a chunk that does not compress, in the smallest blocks there are.
    """
    overhead = _LENGTH.size + 16 + _ELEMENTS_AT_ONCE * element // 255  # LZ4's bound
    return HEADER_BYTES + size * element + (size // _ELEMENTS_AT_ONCE + 1) * overhead


def compress(chunks: NDArray[Any], chosen: Sequence[int], target: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Code some chunks as filter 32008 (bitshuffle, LZ4) would.

    Parameters
    ----------
    chunks : ndarray, shape (number of chunks, …)
        C-contiguous, little-endian; each padded to a chunk's full shape.
    chosen : sequence of int
        Which of them, in ascending order.
    target : ndarray of uint8
        As many times `room_for` one chunk as are chosen; is overwritten.

    Returns
    -------
    iterator of ndarray of uint8
        For `write_direct_chunk`; views of the target. All are coded before the first is given, and each is good until
        the next is asked for: its header takes the place of the last bytes of the one before.

    Raises
    ------
    ValueError
        If there is not enough room.
    """
    library = _library()
    assert library is not None  # noqa: S101 - callers ask `available` first
    element, size = chunks.dtype.itemsize, math.prod(chunks.shape[1:])
    if target.nbytes < len(chosen) * room_for(size, element):
        raise ValueError(f"no room for {len(chosen)} chunks in {target.nbytes} bytes")
    block = block_of(size, element)
    source, aim = chunks.ctypes.data, target.ctypes.data
    spans: list[tuple[int, int]] = []
    end = 0
    for first, count in _runs(chosen, 1 if size % block else len(chosen)):
        begin = end + HEADER_BYTES
        length = library.bshuf_compress_lz4(source + first * size * element, aim + begin, count * size, element, block)
        if length < 0:
            raise IntegrityError(f"bitshuffle could not compress {count * size * element} bytes (code {length})")
        end = begin + length
        cuts = [begin, *_cuts(target.data, begin, size // block, count - 1), end]
        spans += itertools.pairwise(cuts)
    return _headed(target, spans, _HEADER.pack(size * element, block * element))


def _runs(chosen: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Find chunks that lie side by side: the first, and how many they are."""
    first = count = 0
    for number in chosen:
        if count and number == first + count and count < most:
            count += 1
            continue
        if count:
            yield first, count
        first, count = number, 1
    if count:
        yield first, count


def _cuts(coded: memoryview, position: int, blocks: int, count: int) -> Iterator[int]:
    """Find where so many chunks of so many blocks end."""
    for _ in range(count):
        for _ in range(blocks):
            position += _LENGTH.size + _LENGTH.unpack_from(coded, position)[0]
        yield position


def _headed(target: NDArray[np.uint8], spans: list[tuple[int, int]], header: bytes) -> Iterator[NDArray[np.uint8]]:
    for begin, end in spans:
        target.data[begin - len(header) : begin] = header
        yield target[begin - len(header) : end]


def decompress(heads: bytes, coded: NDArray[np.uint8], ends: Sequence[int], chunks: NDArray[Any]) -> None:
    """Decode chunks that stand one behind the other, their headers apart.

    Parameters
    ----------
    heads : bytes
        `HEADER_BYTES` for each chunk, as they stood before it.
    coded : ndarray of uint8
        All else, without gaps; may end too soon.
    ends : sequence of int
        Where in it each chunk ends; one at least.
    chunks : ndarray, shape (number of chunks, …)
        C-contiguous, each of a chunk's full shape, little-endian; is filled.

    Raises
    ------
    IntegrityError
        If the bytes are not chunks of that size. It does not tell which of several.
    """
    library = _library()
    assert library is not None  # noqa: S101 - callers ask `available` first
    element, size = chunks.dtype.itemsize, math.prod(chunks.shape[1:])
    begins = (0, *ends[:-1])
    blocks = [_block_in(heads, i * HEADER_BYTES, size, element) for i in range(len(ends))]
    for begin, end, block in zip(begins, ends, blocks, strict=True):
        _check_blocks(coded.data[begin:end], size, block, element)
    source, target = coded.ctypes.data, chunks.ctypes.data
    # Chunks that divide into equal blocks are one sequence of blocks.
    at_once = len(ends) if len(set(blocks)) == 1 and size % blocks[0] == 0 else 1
    for i in range(0, len(ends), at_once):
        length = library.bshuf_decompress_lz4(
            source + begins[i], target + i * size * element, at_once * size, element, blocks[i]
        )
        if length != ends[i + at_once - 1] - begins[i]:
            raise IntegrityError("a chunk does not decompress to its own length")


def _block_in(heads: bytes, position: int, size: int, element: int) -> int:
    """Give the elements per block that a chunk's header tells, if it can be one of ours."""
    told, block_bytes = _HEADER.unpack_from(heads, position)
    block: int = block_bytes // element
    if told != size * element or block == 0 or block % _ELEMENTS_AT_ONCE or block_bytes > _BLOCK_LIMIT:
        raise IntegrityError(f"a chunk says it holds {told} bytes in blocks of {block_bytes}, not {size * element}")
    return block


def _check_blocks(coded: memoryview, elements: int, block: int, element: int) -> None:
    """Walk the lengths that stand before the blocks: the decoder follows them wherever they lead."""
    full, rest = divmod(elements, block)
    position = 0
    for _ in range(full + (rest >= _ELEMENTS_AT_ONCE)):
        if position + _LENGTH.size > len(coded):
            raise IntegrityError("a chunk ends within its blocks")
        position += _LENGTH.size + _LENGTH.unpack_from(coded, position)[0]
    if position + rest % _ELEMENTS_AT_ONCE * element != len(coded):
        raise IntegrityError("a chunk's blocks do not add up to its length")
