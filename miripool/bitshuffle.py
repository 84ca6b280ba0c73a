"""Bitshuffle + LZ4 outside HDF5: the same bytes as its registered filter 32008, on as many cores as there are.

HDF5 runs filters under its global lock, one chunk at a time. The library that `hdf5plugin` brings exports the
compressor itself; called through ctypes it runs without Python's lock too. Where a build of it does not export the
two functions, `available` is False and chunks go through HDF5's own filter pipeline, slower and otherwise equal.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import IntegrityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["available", "compress", "decompress"]

_HEADER = struct.Struct(">QI")
"""What the filter writes before a chunk: decompressed bytes and bytes per block, both big-endian."""

_LENGTH = struct.Struct(">I")
"""What stands before each block: its compressed bytes."""

_BLOCK_LIMIT = 1 << 24
"""Bytes per block beyond which a header can't be ours (the default is 8 KiB)."""

_ELEMENTS_AT_ONCE = 8
"""Blocks are multiples of eight elements (`BSHUF_BLOCKED_MULT` of the format)."""


@functools.cache
def _library() -> ctypes.CDLL | None:
    import hdf5plugin

    for path in sorted(Path(hdf5plugin.PLUGIN_PATH).glob("*h5bshuf*")):
        try:
            library = ctypes.CDLL(str(path))
            size, pointer = ctypes.c_size_t, ctypes.c_void_p
            for name in ("bshuf_compress_lz4", "bshuf_decompress_lz4"):
                function = getattr(library, name)
                function.argtypes = [pointer, pointer, size, size, size]
                function.restype = ctypes.c_int64
            for name, count in (("bshuf_compress_lz4_bound", 3), ("bshuf_default_block_size", 1)):
                function = getattr(library, name)
                function.argtypes = [size] * count
                function.restype = size
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


def compress(chunk: NDArray[Any]) -> bytes:
    """Code one chunk as filter 32008 (bitshuffle, LZ4) would.

    Parameters
    ----------
    chunk : ndarray
        C-contiguous, little-endian, of the chunk's full shape.

    Returns
    -------
    bytes
        For `write_direct_chunk`.
    """
    library = _library()
    assert library is not None  # noqa: S101 - callers ask `available` first
    element = chunk.dtype.itemsize
    block = library.bshuf_default_block_size(element)
    target = np.empty(_HEADER.size + library.bshuf_compress_lz4_bound(chunk.size, element, block), np.uint8)
    _HEADER.pack_into(target.data, 0, chunk.nbytes, block * element)
    count = library.bshuf_compress_lz4(chunk.ctypes.data, target.ctypes.data + _HEADER.size, chunk.size, element, block)
    if count < 0:
        raise IntegrityError(f"bitshuffle could not compress a chunk of {chunk.nbytes} bytes (code {count})")
    return target[: _HEADER.size + count].tobytes()


def decompress(coded: bytes | memoryview, chunk: NDArray[Any]) -> None:
    """Decode one chunk.

    Parameters
    ----------
    coded : bytes or memoryview
        What `read_direct_chunk` gave.
    chunk : ndarray
        C-contiguous, of the chunk's full shape and little-endian dtype; is filled.

    Raises
    ------
    IntegrityError
        If the bytes are not a chunk of that size.
    """
    library = _library()
    assert library is not None  # noqa: S101 - callers ask `available` first
    element = chunk.dtype.itemsize
    if len(coded) < _HEADER.size:
        raise IntegrityError(f"a chunk of {len(coded)} bytes is too short")
    size, block_bytes = _HEADER.unpack_from(coded)
    block = block_bytes // element
    if size != chunk.nbytes or block == 0 or block % _ELEMENTS_AT_ONCE or block_bytes > _BLOCK_LIMIT:
        raise IntegrityError(f"a chunk says it holds {size} bytes in blocks of {block_bytes}, not {chunk.nbytes}")
    _check_blocks(coded, chunk.size, block, element)
    source = np.frombuffer(coded, np.uint8, offset=_HEADER.size)
    count = library.bshuf_decompress_lz4(source.ctypes.data, chunk.ctypes.data, chunk.size, element, block)
    if count != len(coded) - _HEADER.size:
        raise IntegrityError("a chunk does not decompress to its own length")


def _check_blocks(coded: bytes | memoryview, elements: int, block: int, element: int) -> None:
    """Walk the lengths that stand before the blocks: the decoder follows them wherever they lead."""
    full, rest = divmod(elements, block)
    position = _HEADER.size
    for _ in range(full + (rest >= _ELEMENTS_AT_ONCE)):
        if position + _LENGTH.size > len(coded):
            raise IntegrityError("a chunk ends within its blocks")
        position += _LENGTH.size + _LENGTH.unpack_from(coded, position)[0]
    if position + rest % _ELEMENTS_AT_ONCE * element != len(coded):
        raise IntegrityError("a chunk's blocks do not add up to its length")
