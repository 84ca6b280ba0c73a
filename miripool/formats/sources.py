"""Arrays inside a FITS stream, turned into native ones as far as they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ..dataset import ArraySource

__all__ = ["BytesSource", "ComputedSource", "ImageSource", "RowsSource", "encode", "is_folded", "iter_blocks"]

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
    stream : ndarray of uint8
        The whole stream.
    start, stop : int
        Where the part begins and ends.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, stream: NDArray[np.uint8], start: int, stop: int) -> None:
        self._part = stream[start:stop]
        self.shape = self._part.shape

    def __getitem__(self, key: Any, /) -> Any:
        return np.array(self._part[key])[()]


class ImageSource:
    """An image of a stream: big-endian, integers of the other signedness with their top bit turned.

    Parameters
    ----------
    stream : ndarray of uint8
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
        self, stream: NDArray[np.uint8], start: int, shape: tuple[int, ...], stored: np.dtype[Any], *, folded: bool
    ) -> None:
        size = int(np.prod(shape, dtype=np.int64)) * stored.itemsize
        self.shape = shape
        self.dtype = _other_signedness(stored) if folded else stored
        plain = np.dtype(f"u{stored.itemsize}") if folded else stored
        self._view = stream[start : start + size].view(plain.newbyteorder(">")).reshape(shape)
        self._top = plain.type(1 << (8 * plain.itemsize - 1)) if folded else None

    def __getitem__(self, key: Any, /) -> Any:
        part = self._view[key]
        if self._top is None:
            return part.astype(self.dtype)
        # NumPy's buffered loop swaps bytes and turns the bit in one go: 3 GB/s.
        return np.bitwise_xor(part, self._top).view(self.dtype)


class RowsSource:
    """Rows of a binary table of a stream.

    Parameters
    ----------
    stream : ndarray of uint8
        The whole stream.
    start, rows : int
        Where the first row begins, and how many there are.
    dtype : numpy.dtype
        Structured, native byte order.
    """

    def __init__(self, stream: NDArray[np.uint8], start: int, rows: int, dtype: np.dtype[Any]) -> None:
        self.shape = (rows,)
        self.dtype = dtype
        self._view = stream[start : start + rows * dtype.itemsize].view(dtype.newbyteorder(">"))

    def __getitem__(self, key: Any, /) -> Any:
        return np.asarray(self._view[key]).astype(self.dtype)[()]


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
        flat = slab.reshape(-1)
        step = max(_PIECE // max(flat.dtype.itemsize, 1), 1)
        for start in range(0, flat.size, step):
            yield encode(flat[start : start + step])


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
