"""Arrays inside a FITS stream, turned into native ones as far as they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..model.tiles import basic_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ..model.dataset import ArraySource
    from .stream import Stream

__all__ = [
    "BytesSource",
    "ComputedSource",
    "ImageSource",
    "RowsSource",
    "encode",
    "encode_pieces",
    "is_folded",
    "iter_blocks",
]

_SLAB = 128 << 20
"""Bytes read at a time: one integration of most FULL ramps, since stored tiles hold all groups of an integration."""
_PIECE = 256 << 10
"""Bytes encoded at a time: these stay in the cache, 5 GB/s; 4 MB go at 3 GB/s."""


class _Indexed(Protocol):
    def __getitem__(self, key: Any, /) -> Any: ...


class BytesSource:
    """Bytes of a stream as they are.

    Parameters
    ----------
    stream : Stream
        The whole stream.
    start, stop : int
        Where the part begins and ends.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, stream: Stream, start: int, stop: int) -> None:
        self._read = _BoxReader(stream, start, (stop - start,), self.dtype)
        self.shape = self._read.shape

    def __getitem__(self, key: Any, /) -> Any:
        return self._read[key]


class ImageSource:
    """An image of a stream: big-endian, integers of the other signedness with their top bit turned.

    Parameters
    ----------
    stream : Stream
        The whole stream.
    start : int
        Where the image begins.
    shape : tuple of int
        Length of each axis, slowest first.
    stored : numpy.dtype
        What BITPIX says, native byte order.
    folded : bool
        Whether BZERO changes the signedness: the elements are unsigned (of 8 bits: signed) then.
    """

    def __init__(
        self, stream: Stream, start: int, shape: tuple[int, ...], stored: np.dtype[Any], *, folded: bool
    ) -> None:
        self.shape = shape
        self.dtype = _other_signedness(stored) if folded else stored
        self._top = _top_bit(stored) if folded else None
        self._read = _BoxReader(stream, start, shape, stored)

    def __getitem__(self, key: Any, /) -> Any:
        part = self._read[key]
        if self._top is None:
            return part
        unsigned = part.view(self._top.dtype)
        return np.bitwise_xor(unsigned, self._top, out=unsigned if part.ndim else None).view(self.dtype)


class RowsSource:
    """Rows of a binary table of a stream.

    Parameters
    ----------
    stream : Stream
        The whole stream.
    start, rows : int
        Where the first row begins, and how many there are.
    dtype : numpy.dtype
        Structured, native byte order.
    """

    def __init__(self, stream: Stream, start: int, rows: int, dtype: np.dtype[Any]) -> None:
        self.shape = (rows,)
        self.dtype = dtype
        self._read = _BoxReader(stream, start, self.shape, dtype)

    def __getitem__(self, key: Any, /) -> Any:
        return self._read[key]


class _BoxReader:
    """An array that lies in a stream, big-endian; what is asked for is read again and given in native order."""

    def __init__(self, stream: Stream, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self._stream = stream
        self._start = start
        self._dtype = dtype

    def __getitem__(self, key: Any, /) -> Any:
        basic = basic_index(key, self.shape)
        if basic is None:
            return self[...][key]
        starts, box, local = basic
        stored = self._dtype.newbyteorder(">")
        part = self._stream.read_box(self._start, self.shape, stored, starts, box)
        if self._dtype.names is not None:
            return part[local].astype(self._dtype)[()]
        if stored.itemsize > 1:
            part = _swapped(part, self._dtype)
        return part[local]


class ComputedSource:
    """An array that has to be computed as a whole, once, when it is first read.

    Parameters
    ----------
    shape : tuple of int
        Length of each axis, slowest first.
    dtype : numpy.dtype
        Native byte order.
    compute : callable
        Gives the array.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], compute: Callable[[], NDArray[Any]]) -> None:
        self.shape = shape
        self.dtype = dtype
        self._compute = compute
        self._array: NDArray[Any] | None = None

    def __getitem__(self, key: Any, /) -> Any:
        if self._array is None:
            self._array = self._compute()
        return np.array(self._array[key])[()]


def is_folded(dtype: np.dtype[Any]) -> bool:
    """Tell whether FITS stores elements of a type with their top bit turned, by way of BZERO.

    Parameters
    ----------
    dtype : numpy.dtype
        Of a plain array.

    Returns
    -------
    bool
        True for int8 and for unsigned integers of 16 bits and more (FITS standard 4.0, table 11).
    """
    return dtype == np.int8 or (dtype.kind == "u" and dtype.itemsize > 1)


def _top_bit(stored: np.dtype[Any]) -> Any:
    return np.dtype(f"u{stored.itemsize}").type(1 << (8 * stored.itemsize - 1))


def _swapped(part: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Turn bytes in place: several times as quick as `byteswap`, which also keeps Python's lock meanwhile."""
    flat = np.ascontiguousarray(part).reshape(-1)  # of several axes NumPy would make a copy first
    native = flat.view(dtype)
    np.copyto(native, flat)
    return native.reshape(part.shape)


def _other_signedness(stored: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.int8) if stored.itemsize == 1 else np.dtype(f"u{stored.itemsize}")


def encode(array: NDArray[Any]) -> bytes:
    """Give the bytes that FITS has for an array or for rows.

    Parameters
    ----------
    array : ndarray
        Native byte order, any shape.

    Returns
    -------
    bytes
        Big-endian, C order.
    """
    if is_folded(array.dtype):
        unsigned = np.dtype(f"u{array.dtype.itemsize}")
        top = unsigned.type(1 << (8 * unsigned.itemsize - 1))
        out = np.empty(array.shape, unsigned.newbyteorder(">"))
        np.bitwise_xor(np.ascontiguousarray(array).view(unsigned).reshape(array.shape), top, out=out)
        return out.tobytes()
    return array.astype(array.dtype.newbyteorder(">")).tobytes()


def encode_pieces(elements: NDArray[Any]) -> Iterator[bytes]:
    """Encode elements piece by piece.

    Parameters
    ----------
    elements : ndarray, shape (number of elements,)
        Native byte order.

    Yields
    ------
    bytes
        As of `encode`, some 100 kB at a time; a single element may have more.
    """
    step = max(_PIECE // max(elements.dtype.itemsize, 1), 1)
    for start in range(0, elements.size, step):
        yield encode(elements[start : start + step])


def iter_blocks(source: ArraySource) -> Iterator[bytes]:
    """Encode an array block by block.

    Parameters
    ----------
    source : ArraySource
        Image or table rows.

    Yields
    ------
    bytes
        All elements in C order, some 100 kB at a time.
    """
    for slab in _iter_slabs(source, source.shape, source.dtype.itemsize, ()):
        yield from encode_pieces(slab.reshape(-1))


def _iter_slabs(
    source: _Indexed, shape: tuple[int, ...], itemsize: int, place: tuple[int, ...]
) -> Iterator[NDArray[Any]]:
    """Cut along the first axis where a single step is small enough; a step larger than that is cut further."""
    if not shape:
        yield np.asarray(source[place])
        return
    one = int(np.prod(shape[1:], dtype=np.int64)) * itemsize
    if one > _SLAB and len(shape) > 1:
        for i in range(shape[0]):
            yield from _iter_slabs(source, shape[1:], itemsize, (*place, i))
        return
    step = max(_SLAB // max(one, 1), 1)
    for start in range(0, shape[0], step):
        yield np.asarray(source[(*place, slice(start, min(start + step, shape[0])))])
