"""Fields of rows in PostgreSQL's binary form, each read in all rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Fields"]


class Fields:
    """The fields of some rows, read from left to right.

    Parameters
    ----------
    rows : sequence of bytes
        From `Database.copied`.
    """

    def __init__(self, rows: Sequence[bytes]) -> None:
        self._rows = rows
        self._at = 2

    def numbers(self, *codes: str) -> list[NDArray[Any]]:
        """Read the next fields, which hold numbers.

        Parameters
        ----------
        *codes : str
            Their types as NumPy names them, without byte order: ``i8`` for bigint and timestamptz, ``?`` for boolean.

        Returns
        -------
        list of ndarray
            A column for each field, which is NULL in no row.
        """
        fields = [field for i, code in enumerate(codes) for field in ((f"size {i}", ">i4"), (f"{i}", f">{code}"))]
        record = np.dtype(fields)
        begin, end = self._at, self._at + record.itemsize
        found = np.frombuffer(b"".join([row[begin:end] for row in self._rows]), record)
        self._at = end
        return [found[f"{i}"].astype(code) for i, code in enumerate(codes)]

    def contents(self) -> list[bytes | None]:
        """Read the next field as it was sent.

        Returns
        -------
        list of bytes or None
            None for NULL.
        """
        begin = self._at + 4
        sizes = np.frombuffer(b"".join([row[self._at : begin] for row in self._rows]), ">i4")
        if len(sizes) and (sizes == sizes[0]).all():
            self._at = begin + max(int(sizes[0]), 0)
            return [row[begin : self._at] for row in self._rows] if sizes[0] >= 0 else [None] * len(sizes)
        pairs = list(zip(self._rows, sizes.tolist(), strict=True))
        self._rows, self._at = [row[begin + max(size, 0) :] for row, size in pairs], 0
        return [row[begin : begin + size] if size >= 0 else None for row, size in pairs]

    def last(self) -> list[bytes]:
        """Read the last field as it was sent.

        Returns
        -------
        list of bytes
            Empty for NULL.
        """
        return [row[self._at + 4 :] for row in self._rows]
