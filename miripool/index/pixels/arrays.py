"""Arrays as PostgreSQL sends them in binary form: reading thousands of numbers as text would take most of the time."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ...model.kinds import PixelColumn

__all__ = ["array_of", "arrays_of", "joined_arrays", "meant"]

_ELEMENTS = {
    20: np.dtype(">i8"),
    21: np.dtype(">i2"),
    23: np.dtype(">i4"),
    700: np.dtype(">f4"),
    701: np.dtype(">f8"),
    1184: np.dtype(">i8"),  # timestamptz: microseconds since 2000
}

_SENT = {oid: np.dtype([("size", ">i4"), ("value", element)]) for oid, element in _ELEMENTS.items()}
"""Each element is sent with its length."""


def array_of(sent: Any) -> NDArray[Any]:
    """Unpack an array.

    Parameters
    ----------
    sent : bytes-like
        From ``array_send``; smallint, integer, bigint, real, double precision or timestamptz, without NULL.

    Returns
    -------
    ndarray
        Of the shape and type that it had; shape (0,) for an empty array.
    """
    content = memoryview(sent)
    head, shape, element = _form_of(content)
    values = np.frombuffer(content, element, offset=head)["value"].reshape(shape)
    return values.astype(values.dtype.newbyteorder("="))


def arrays_of(sent: Sequence[Any]) -> NDArray[Any] | None:
    """Unpack arrays together, which takes a tenth of the time.

    Parameters
    ----------
    sent : sequence of bytes-like
        As for `array_of`; at least one.

    Returns
    -------
    ndarray or None
        The arrays along a first axis; None if they are not all of one shape.
    """
    length = len(sent[0])
    return None if any(len(one) != length for one in sent) else _alike(memoryview(b"".join(sent)))


def joined_arrays(sent: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Unpack arrays that the server has joined: ``string_agg(array_send(…), '')``.

    Parameters
    ----------
    sent : bytes-like
        Arrays of double precision, as for `array_of`.

    Returns
    -------
    values : ndarray, shape (n,)
        The elements of all of them.
    lengths : ndarray of int64
        How many are of each.
    """
    content = memoryview(sent)
    if not content:
        return np.empty(0), np.empty(0, np.int64)
    alike = _alike(content)
    if alike is not None:
        return alike.reshape(-1), np.full(len(alike), math.prod(alike.shape[1:]))
    found = []
    while content:
        head, shape, element = _form_of(content)
        size = head + math.prod(shape) * element.itemsize
        found.append(array_of(content[:size]).reshape(-1))
        content = content[size:]
    return np.concatenate(found), np.asarray([len(one) for one in found], np.int64)


def meant(column: PixelColumn, stored: NDArray[Any]) -> NDArray[Any]:
    """Give the values that stored ones mean.

    Parameters
    ----------
    column : PixelColumn
        Of a kind's pixel rows.
    stored : ndarray
        As the table of blocks has them.

    Returns
    -------
    ndarray
        DN as uint16; others as they are.
    """
    return (stored.astype(np.int32) + 32768).astype(np.uint16) if column.holds == "dn" else stored


def _alike(content: memoryview[int]) -> NDArray[Any] | None:
    """Unpack arrays that stand one after the other, along a first axis; None if they are not all of one shape."""
    head, shape, element = _form_of(content)
    record = np.dtype([("head", np.uint8, (head,)), ("elements", element, shape)])
    if len(content) % record.itemsize:
        return None
    # A header that is the first one's tells that the next array begins where the next record does.
    records = np.frombuffer(content, record)
    if not (records["head"] == records["head"][0]).all():
        return None
    values = records["elements"]["value"]
    return values.astype(values.dtype.newbyteorder("="))


def _form_of(content: memoryview[int]) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Give the length of the header, the shape and the type of an element."""
    ndim, _, oid = struct.unpack_from(">iii", content)
    shape = struct.unpack_from(">" + "ii" * ndim, content, 12)[::2]
    return 12 + 8 * ndim, shape if ndim else (0,), _SENT[oid]
