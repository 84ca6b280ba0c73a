"""Tables: the columns of FITS binary tables, from stored rows to physical values (FITS standard 4.0, 7.3)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError, ProductNotFound
from .dataset import ArraySource, Dataset
from .keywords import suggest
from .units import parse_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .cards import Card

__all__ = ["Column", "TableDataset", "columns_from_cards"]

_TFORM = re.compile(r"(\d*)(?:([PQ])([LXBIJKAEDCM])(?:\(\d*\))?|([LXBIJKAEDCM]).*)\s*")
_TYPES = {
    "L": "u1", "X": "u1", "B": "u1", "I": "i2", "J": "i4", "K": "i8", "A": "S",
    "E": "f4", "D": "f8", "C": "c8", "M": "c16",
}  # fmt: skip
"""Type codes (table 18)."""
_POINTERS = {"P": "i4", "Q": "i8"}
"""Descriptors of variable-length columns: a count and an offset into the heap (7.3.5)."""
_OFFSETS = {"B": -(2**7), "I": 2**15, "J": 2**31, "K": 2**63}
"""TZERO that makes the other signedness of a column (table 19)."""
_MAX_ROW = 2**31 - 1
"""NumPy can't hold longer rows."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the header describes it.

    Attributes
    ----------
    name : str
        TTYPE; ``col3`` where the third column has none, ``flux_2`` where a column before it has the same name.
    format : str
        TFORM.
    code : str
        Type of the elements, one letter of FITS: L X B I J K A E D C M.
    repeat : int
        Elements in each row (bits for X, characters for A).
    shape : tuple of int
        Of each row's cell, slowest axis first; ``()`` for a single value.
    dtype : numpy.dtype
        Of one stored element, native byte order; descriptors (count, offset) for a variable-length column.
    unit : str or None
        TUNIT.
    tscal, tzero : int or float
        Physical value = tzero + tscal * stored.
    tnull : int or None
        Stored integer that stands for "no value".
    pointer : str or None
        P or Q for a variable-length column.
    """

    name: str
    format: str
    code: str
    repeat: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    unit: str | None = None
    tscal: float = 1
    tzero: float = 0
    tnull: int | None = None
    pointer: str | None = None

    @property
    def variable(self) -> bool:
        """Whether the cells are of different lengths and stand in the heap."""
        return self.pointer is not None

    @property
    def is_unsigned(self) -> bool:
        """Whether TZERO only changes the signedness of the integers."""
        return self.tscal == 1 and _OFFSETS.get(self.code) == self.tzero

    @property
    def is_scaled(self) -> bool:
        """Whether physical values are computed in floating point."""
        return self.code not in "LXA" and (self.tscal != 1 or self.tzero != 0) and not self.is_unsigned

    @property
    def width(self) -> int:
        """Bytes in each row."""
        return self._row_dtype().itemsize

    def _row_dtype(self) -> np.dtype[Any]:
        if self.pointer is None and self.code != "A":
            stored = (-(-self.repeat // 8),) if self.code == "X" else self.shape
            return np.dtype((self.dtype, stored)) if stored else self.dtype
        return np.dtype((self.dtype, self.shape)) if self.shape else self.dtype


def columns_from_cards(cards: Sequence[Card]) -> tuple[tuple[Column, ...], np.dtype[Any]]:
    """Read the columns of a binary table from its header.

    Parameters
    ----------
    cards : sequence of Card
        The header of a BINTABLE.

    Returns
    -------
    columns : tuple of Column
        In file order.
    dtype : numpy.dtype
        Structured, native byte order, packed; in big-endian byte order the rows are byte for byte those of the
        file. Columns of no width have no field. Logicals and bits are u1, a variable-length column's descriptor
        is a field of (count, offset).

    Raises
    ------
    FormatError
        If the cards do not describe the columns, or the columns do not fill the row of NAXIS1 bytes.
    """
    values = {card.keyword: card.value for card in reversed(cards)}
    number = values.get("TFIELDS")
    if not isinstance(number, int) or not 0 <= number <= 999:
        raise FormatError(f"TFIELDS = {number!r} is not a number of columns")
    taken: set[str] = set()
    columns = tuple(_read_column(values, i, taken) for i in range(1, number + 1))
    length = sum(column.width for column in columns)
    if length != values.get("NAXIS1"):
        raise FormatError(f"the columns take {length} bytes of each row, but NAXIS1 says {values.get('NAXIS1')!r}")
    if length > _MAX_ROW:
        raise FormatError(f"a row of {length} bytes is too long")
    return columns, np.dtype([(column.name, column._row_dtype()) for column in columns if column.width])


def _read_column(values: dict[str, Any], i: int, taken: set[str]) -> Column:
    form = values.get(f"TFORM{i}")
    found = _TFORM.fullmatch(form.strip()) if isinstance(form, str) else None
    if found is None or not isinstance(form, str):
        raise FormatError(f"TFORM{i} = {form!r} is not the format of a column")
    count, pointer, element, code = found.groups()
    repeat = int(count) if count else 1
    if repeat * 16 > _MAX_ROW or (pointer and repeat > 1):
        raise FormatError(f"TFORM{i} = {form!r} is not the format of a column")
    code = code or element
    if pointer:
        kind = np.dtype([("count", _POINTERS[pointer]), ("offset", _POINTERS[pointer])])
        shape: tuple[int, ...] = () if repeat else (0,)
    else:
        shape, kind = _read_shape(values.get(f"TDIM{i}"), code, repeat)
    unit = values.get(f"TUNIT{i}")
    null = values.get(f"TNULL{i}")
    return Column(
        _unique_name(values.get(f"TTYPE{i}"), i, taken),
        form.strip(),
        code,
        repeat,
        shape,
        kind,
        unit if isinstance(unit, str) and unit else None,
        _number(values.get(f"TSCAL{i}"), 1),
        _number(values.get(f"TZERO{i}"), 0),
        null if isinstance(null, int) and not isinstance(null, bool) and code in "BIJK" else None,
        pointer,
    )


def _read_shape(tdim: Any, code: str, repeat: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    axes = _read_tdim(tdim)
    fits = axes is not None and math.prod(axes) == repeat
    if code == "A":
        if fits and axes is not None and len(axes) > 1:
            return axes[:-1], np.dtype(f"S{axes[-1]}")
        return (), np.dtype(f"S{repeat}")
    if fits and axes is not None:
        return axes, np.dtype(_TYPES[code])
    return ((repeat,) if repeat != 1 else ()), np.dtype(_TYPES[code])


def _read_tdim(tdim: Any) -> tuple[int, ...] | None:
    """Give the axes of ``(nx,ny,...)``, slowest first."""
    if not isinstance(tdim, str) or not re.fullmatch(r"\s*\(\s*\d+(\s*,\s*\d+)*\s*\)\s*", tdim):
        return None
    return tuple(int(n) for n in reversed(tdim.strip().strip("()").split(",")))


def _number(value: Any, default: int) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def _unique_name(given: Any, i: int, taken: set[str]) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in given.strip()) if isinstance(given, str) else ""
    name = base = shown or f"col{i}"
    n = 2
    while name.lower() in taken:
        name, n = f"{base}_{n}", n + 1
    taken.add(name.lower())
    return name


class TableDataset(Dataset):
    """A binary table. ``d["time"]`` is a column in physical values; ``d[3]``, ``d[2:5]`` are rows as stored.

    Columns come as: text as str without the blanks and NULs behind it; logicals as bool (undefined as False); bits
    as bool, one for each; integers with the offset of the other signedness as exactly those integers; scaled
    columns as float64, NaN where TNULL says there is no value; integers with TNULL else as masked arrays; columns
    of variable length as object arrays of one array (or str) for each row.

    Parameters
    ----------
    name : str
        Name in the product.
    source : ArraySource
        Rows, of the structured dtype that `columns_from_cards` gives.
    columns : sequence of Column
        What the fields mean.
    heap : ArraySource, optional
        All bytes behind the rows, uint8.
    gap : int, optional
        Bytes of `heap` before the place that descriptors count from (THEAP).
    """

    def __init__(
        self,
        name: str,
        source: ArraySource,
        columns: Sequence[Column],
        *,
        heap: ArraySource | None = None,
        gap: int = 0,
    ) -> None:
        super().__init__(name, source)
        self.columns = tuple(columns)
        self.heap = heap
        self.gap = gap

    @classmethod
    def from_cards(
        cls, name: str, source: ArraySource, cards: Sequence[Card], heap: ArraySource | None = None
    ) -> TableDataset:
        """Make a table of stored rows and the header that describes them.

        Parameters
        ----------
        name : str
            Name in the product.
        source : ArraySource
            Rows.
        cards : sequence of Card
            The header.
        heap : ArraySource, optional
            All bytes behind the rows.

        Returns
        -------
        TableDataset
            The table.
        """
        values = {card.keyword: card.value for card in reversed(cards)}
        columns, _ = columns_from_cards(cards)
        rows = int(values["NAXIS1"]) * int(values["NAXIS2"])  # type: ignore[arg-type]
        theap = values.get("THEAP", rows)
        return cls(name, source, columns, heap=heap, gap=theap - rows if isinstance(theap, int) else 0)

    @property
    def colnames(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    def column(self, name: str) -> Column:
        """Find a column's description.

        Parameters
        ----------
        name : str
            Any case; the exact spelling goes first.

        Returns
        -------
        Column
            The description.

        Raises
        ------
        ProductNotFound
            If there is no such column; the message lists them.
        """
        for spelled in (str, str.lower):
            for column in self.columns:
                if spelled(column.name) == spelled(name):
                    return column
        near = suggest(name, self.colnames)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; it has {', '.join(self.colnames)}"
        raise ProductNotFound(f"no column {name!r} in table {self.name}{hint}")

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        (values,) = self.read_columns([key])
        return values

    def read_columns(self, names: Sequence[str]) -> list[Any]:
        """Read several columns; the rows are read once.

        Parameters
        ----------
        names : sequence of str
            As for `column`.

        Returns
        -------
        list of ndarray
            In physical values, in the order of the names.
        """
        columns = [self.column(name) for name in names]
        rows = np.asarray(self.source[...]) if any(column.width for column in columns) else None
        return [self._values(column, rows) for column in columns]

    def _values(self, column: Column, rows: NDArray[Any] | None) -> Any:
        if not column.width or rows is None:
            return np.zeros((len(self), *column.shape), dtype=np.str_ if column.code == "A" else column.dtype)
        stored = rows[column.name]
        return self._gather(column, stored) if column.variable else _to_physical(column, stored, column.repeat)

    def _gather(self, column: Column, pointers: NDArray[Any]) -> NDArray[np.object_]:
        """Read the cells of a variable-length column from the heap."""
        size = np.dtype("S1" if column.code == "A" else _TYPES[column.code]).itemsize
        cells = np.empty(len(pointers), dtype=object)
        counts = pointers["count"].tolist()
        offsets = pointers["offset"].tolist()
        sizes = [-(-n // 8) if column.code == "X" else n * size for n in counts]
        used = [(o, o + s) for o, s in zip(offsets, sizes, strict=True) if s]
        start, stop = (min(u[0] for u in used), max(u[1] for u in used)) if used else (0, 0)
        length = 0 if self.heap is None else self.heap.shape[0] - self.gap
        if min(counts, default=0) < 0 or start < 0 or stop > length:
            raise FormatError(
                f"column {column.name} of table {self.name} points to bytes {start} to {stop} of a heap of {length}; "
                "the file is damaged"
            )
        read = self.heap[self.gap + start : self.gap + stop] if self.heap is not None and used else b""
        heap = bytes(memoryview(read))
        for i, (count, offset, nbytes) in enumerate(zip(counts, offsets, sizes, strict=True)):
            part = heap[offset - start : offset - start + nbytes] if nbytes else b""
            cells[i] = _read_cell(column, part, count)
        return cells

    def to_table(self) -> Any:
        """Give an astropy Table of all columns.

        Returns
        -------
        astropy.table.Table
            In physical values, with units.
        """
        from astropy.table import Column as TableColumn
        from astropy.table import MaskedColumn, Table

        table = Table(meta={"name": self.name})
        for column in self.columns:
            values = self[column.name]
            kind = MaskedColumn if isinstance(values, np.ma.MaskedArray) else TableColumn
            table[column.name] = kind(values, unit=None if column.unit is None else parse_unit(column.unit))
        return table

    def __repr__(self) -> str:
        return f"<TableDataset {self.name}: {len(self)} rows of {', '.join(self.colnames) or 'no columns'}>"


def _read_cell(column: Column, part: bytes, count: int) -> Any:
    if column.code == "A":
        return part.decode("latin-1").partition("\x00")[0].rstrip(" ")
    kind = np.dtype(_TYPES[column.code])
    stored = np.frombuffer(part, dtype=kind.newbyteorder(">")).astype(kind)
    return _to_physical(column, stored[np.newaxis], count)[0]


def _to_physical(column: Column, stored: NDArray[Any], repeat: int) -> Any:
    if column.code == "A":
        return _to_text(stored)
    if column.code == "L":
        return stored == ord("T")
    if column.code == "X":
        bits = np.unpackbits(stored, axis=-1)[..., :repeat].astype(bool)
        return bits.reshape(-1, *column.shape) if not column.variable else bits
    missing = None if column.tnull is None else stored == column.tnull
    if column.is_scaled:
        kind = np.complex128 if stored.dtype.kind == "c" else np.float64
        values = stored.astype(kind) * column.tscal + column.tzero
        if missing is not None:
            values[missing] = np.nan
        return values
    values = _flip(stored) if column.is_unsigned else np.array(stored)
    return values if missing is None else np.ma.MaskedArray(values, mask=missing)


def _flip(stored: NDArray[Any]) -> NDArray[Any]:
    """Change the signedness by the top bit, which is the same as adding the offset, and exact."""
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    flipped = np.ascontiguousarray(stored).view(unsigned) ^ unsigned.type(1 << (8 * unsigned.itemsize - 1))
    signed: NDArray[Any] = flipped.view(np.int8) if unsigned.itemsize == 1 else flipped
    return signed


def _to_text(stored: NDArray[Any]) -> NDArray[np.str_]:
    """Decode bytes; a NUL ends the text (7.3.3.1), blanks behind it mean nothing."""
    if stored.size and bool((np.strings.find(stored, b"\x00") >= 0).any()):
        cut = [cell.partition(b"\x00")[0] for cell in stored.ravel().tolist()]
        stored = np.array(cut, dtype=stored.dtype).reshape(stored.shape)
    text: NDArray[np.str_] = np.strings.rstrip(np.strings.decode(stored, "latin-1"), " ")
    return text
