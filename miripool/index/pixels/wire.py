"""PostgreSQL's binary COPY format, straight from NumPy: a row is an element of a structured array.

Each field is its length in bytes and its value, big-endian; an array's value is its dimensions and then each element
with a length of its own. Where all rows of a chunk have the same fields at the same places, all that never changes is
written once, and a chunk costs one assignment for each field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["HEADER", "TRAILER", "CopyReader", "Rows", "WireField"]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Signature, flags and length of the header's extension."""
TRAILER = b"\xff\xff"

_OIDS = {"i2": 21, "i4": 23, "i8": 20, "f4": 700}
"""Type numbers of smallint, integer, bigint and real."""


@dataclass(frozen=True, slots=True)
class WireField:
    """One column of the rows to load.

    Attributes
    ----------
    name : str
        Of the column.
    code : {'i2', 'i4', 'i8', 'f4'}
        Its element type: smallint, integer, bigint, real.
    shape : tuple of int
        Of the array that it holds; empty for a single value.
    """

    name: str
    code: str
    shape: tuple[int, ...] = ()

    def _dtype(self) -> np.dtype[Any]:
        value = np.dtype(f">{self.code}")
        if not self.shape:
            return np.dtype([("size", ">i4"), ("value", value)])
        elements = [("size", ">i4"), ("value", value)]
        head = [("size", ">i4"), ("ndim", ">i4"), ("nulls", ">i4"), ("oid", ">i4")]
        return np.dtype([*head, ("dims", ">i4", (len(self.shape), 2)), ("elements", elements, self.shape)])

    def _prepare(self, rows: NDArray[Any]) -> None:
        """Write what is the same in each row."""
        width = np.dtype(self.code).itemsize
        if not self.shape:
            rows["size"] = width
            return
        rows["size"] = rows.dtype.itemsize - 4
        rows["ndim"], rows["nulls"], rows["oid"] = len(self.shape), 0, _OIDS[self.code]
        rows["dims"] = [(length, 1) for length in self.shape]
        rows["elements"]["size"] = width


class Rows:
    """A form for rows of one table: filled again and again.

    Parameters
    ----------
    fields : sequence of WireField
        In the order of the columns; those that `null` names are sent as NULL.
    capacity : int
        Rows that it holds at most.
    null : collection of str
        Names of fields.
    """

    def __init__(self, fields: Sequence[WireField], capacity: int, null: Sequence[str] = ()) -> None:
        kinds = [(f.name, ">i4" if f.name in null else f._dtype()) for f in fields]
        self._rows = np.zeros(capacity, [("fields", ">i2"), *kinds])
        self._rows["fields"] = len(fields)
        self._arrays = {f.name: bool(f.shape) for f in fields if f.name not in null}
        for field in fields:
            if field.name in null:
                self._rows[field.name] = -1
            else:
                field._prepare(self._rows[field.name])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self._rows.dtype.itemsize

    def fill(self, values: Mapping[str, Any], count: int) -> memoryview[int]:
        """Write values into the form.

        Parameters
        ----------
        values : mapping
            For each field that is not NULL an array whose first axis is the row, one value for all rows, or a list of
            arrays that stand one after the other along the first axis of the field's own.
        count : int
            Rows.

        Returns
        -------
        memoryview
            The rows as COPY wants them; good until the next call.
        """
        for name, is_array in self._arrays.items():
            part = self._rows[name][:count]
            if not is_array:
                part["value"] = values[name]
                continue
            target = part["elements"]["value"]
            given = values[name] if isinstance(values[name], list) else [values[name]]
            depth = target.shape[1] // len(given)
            for place, value in enumerate(given):
                target[:, place * depth : (place + 1) * depth] = value
        return memoryview(self._rows[:count].view(np.uint8))  # type: ignore[arg-type]


class CopyReader:
    """Lets COPY read rows as they are made.

    Parameters
    ----------
    chunks : iterable of bytes-like
        From `Rows.fill`; each is taken before the next is made.

    Attributes
    ----------
    error : BaseException or None
        What `chunks` raised; psycopg2 would only give its text.
    """

    def __init__(self, chunks: Iterable[bytes | memoryview[int]]) -> None:
        self._chunks = self._with_frame(chunks)
        self._rest: memoryview[int] = memoryview(b"")
        self.error: BaseException | None = None

    @staticmethod
    def _with_frame(chunks: Iterable[bytes | memoryview[int]]) -> Iterator[bytes | memoryview[int]]:
        yield HEADER
        yield from chunks
        yield TRAILER

    def read(self, size: int = -1, /) -> bytes:
        """Give the next bytes.

        Parameters
        ----------
        size : int
            How many at most.

        Returns
        -------
        bytes
            Empty at the end.
        """
        try:
            while not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return b""
                self._rest = memoryview(chunk)
        except BaseException as error:
            self.error = error
            raise
        part = bytes(self._rest[:size])
        self._rest = self._rest[size:]
        return part
