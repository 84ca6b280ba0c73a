"""Arrays as PostgreSQL sends them in binary form: reading thousands of numbers as text would take most of the time."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ...model.kinds import PixelColumn

__all__ = ["array_of", "arrays_of", "flat_arrays", "meant"]

_ELEMENTS = {21: np.dtype(">i2"), 23: np.dtype(">i4"), 20: np.dtype(">i8"), 700: np.dtype(">f4"), 701: np.dtype(">f8")}

_SENT = {oid: np.dtype([("size", ">i4"), ("value", element)]) for oid, element in _ELEMENTS.items()}
"""Each element is sent with its length."""


def array_of(sent: Any) -> NDArray[Any]:
    """Unpack an array.

    Parameters
    ----------
    sent : bytes-like
        From ``array_send``, or by COPY; smallint, integer, bigint, real or double precision, without NULL.

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
    first = memoryview(sent[0])
    head, shape, element = _form_of(first)
    record = np.dtype([("head", np.uint8, (head,)), ("elements", element, shape)])
    if set(map(len, sent)) != {record.itemsize}:
        return None
    records = np.frombuffer(b"".join(sent), record)
    if not (records["head"] == records["head"][0]).all():
        return None
    values = records["elements"]["value"]
    return values.astype(values.dtype.newbyteorder("="))


def flat_arrays(sent: Sequence[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Unpack arrays, of unlike lengths perhaps, into one.

    Parameters
    ----------
    sent : sequence of bytes-like
        As for `array_of`; double precision.

    Returns
    -------
    values : ndarray of float64, shape (n,)
        The elements of all of them.
    lengths : ndarray of int64
        How many are of each.
    """
    alike = arrays_of(sent) if sent else np.empty((0, 0))
    if alike is not None:
        return alike.reshape(-1), np.full(len(sent), alike[:1].size)
    found = [array_of(one).reshape(-1) for one in sent]
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


def _form_of(content: memoryview[int]) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Give the length of the header, the shape and the type of an element."""
    ndim, _, oid = struct.unpack_from(">iii", content)
    shape = struct.unpack_from(">" + "ii" * ndim, content, 12)[::2]
    return 12 + 8 * ndim, shape if ndim else (0,), _SENT[oid]
