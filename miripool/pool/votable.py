"""Any astropy table as a VOTable, which TOPCAT, DS9 and Aladin read.

astropy's own writer can't write unsigned numbers, arrays beside missing ones, or the shape of an array's cells in the
order of the standard, and warns of units such as DN/s. See VOTable 1.4, https://www.ivoa.net/documents/VOTable/.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["votable_pieces"]

_ROWS = 4096
"""Rows that are written at a time."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 can't hold."""

_DATATYPES = {
    **{"b1": "boolean", "u1": "unsignedByte", "i1": "short", "i2": "short", "u2": "int", "i4": "int", "u4": "long"},
    **{"i8": "long", "f2": "float", "f4": "float", "f8": "double", "c8": "floatComplex", "c16": "doubleComplex"},
}
"""By NumPy's type: the smallest that holds all its values. There are no unsigned numbers of more than 8 bits."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A column.

    Attributes
    ----------
    datatype : str
        VOTable's name of the type.
    values : numpy.ndarray
        One for each row; masked where there is none.
    cell : callable
        Writes one of them.
    arraysize, xtype : str
        Attributes of the element; empty if there are none.
    """

    datatype: str
    values: Any
    cell: Callable[[Any], str]
    arraysize: str = ""
    xtype: str = ""

    def cells(self, start: int, stop: int) -> Iterator[str]:
        """Write some rows' values; nothing where there is none."""
        part = self.values[start:stop]
        missing = np.ma.getmaskarray(part) if part.ndim == 1 else np.zeros(len(part), bool)
        for value, is_missing in zip(np.ma.getdata(part), missing, strict=True):
            yield "" if is_missing else self.cell(value)


def votable_pieces(table: Any, name: str = "") -> Iterator[bytes]:
    """Write a table, piece by piece.

    Parameters
    ----------
    table : astropy.table.Table
        Values may be masked, arrays of one shape or of many, times, text, lists of text, or any object; of an object
        that is none of these its text is written. Times are written as ISO text in UTC.
    name : str, optional
        Of the table.

    Yields
    ------
    bytes
        XML, UTF-8.
    """
    columns = [table[column] for column in table.colnames]
    fields = [_field(column) for column in columns]
    head = "".join(
        _element(field, column, title) for field, column, title in zip(fields, columns, table.colnames, strict=True)
    )
    yield (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'
        f'<RESOURCE type="results"><TABLE name={_quoted(name or "table")} nrows="{len(table)}">\n'
        f"{head}<DATA><TABLEDATA>\n"
    ).encode()
    for start in range(0, len(table), _ROWS):
        rows = zip(*(field.cells(start, start + _ROWS) for field in fields), strict=True)
        yield "".join(f"<TR>{''.join(f'<TD>{cell}</TD>' for cell in row)}</TR>\n" for row in rows).encode()
    yield b"</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>\n"


def _element(field: _Field, column: Any, title: str) -> str:
    given = {
        "name": title,
        "datatype": field.datatype,
        "arraysize": field.arraysize,
        "xtype": field.xtype,
        "unit": str(getattr(column, "unit", None) or ""),
    }
    attributes = " ".join(f"{key}={_quoted(value)}" for key, value in given.items() if value)
    told = _plain(str(getattr(column.info, "description", None) or ""))
    return f"<FIELD {attributes}>{f'<DESCRIPTION>{told}</DESCRIPTION>' if told else ''}</FIELD>\n"


def _field(column: Any) -> _Field:
    """Decide how a column is written."""
    if hasattr(column, "isot"):
        masked = np.ma.MaskedArray(np.asarray(column.utc.isot, str), mask=np.asarray(column.mask, bool))
        return _text(masked, xtype="timestamp")
    if hasattr(column, "to_value"):  # a Quantity
        plain = getattr(column, "unmasked", column).to_value()
        column = np.ma.MaskedArray(plain, mask=getattr(column, "mask", False))
    if not isinstance(column, np.ndarray):  # coordinates and other mixtures
        column = np.asarray([str(value) for value in column], object)
    values = np.ma.asarray(column)
    if values.dtype.kind == "M":
        return _text(np.ma.MaskedArray(np.datetime_as_string(values.data), np.isnat(values.data)), xtype="timestamp")
    if values.dtype.kind == "O":
        return _objects(values)
    if values.dtype.kind in "US":
        return _text(values)
    return _numbers(values)


def _numbers(values: Any) -> _Field:
    """Numbers, one in each row or an array of one shape. A missing element of an array is written as NaN."""
    is_array = values.ndim > 1
    if values.dtype == np.uint64 and (not values.size or np.ma.filled(values, 0).max() < 1 << 63):
        values = values.astype("i8")
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        values = values.astype("f8")
    code = f"{values.dtype.kind}{values.dtype.itemsize}"
    if code not in _DATATYPES:  # larger than any type, or no number at all
        return _text(np.ma.MaskedArray([_joined(value) for value in values], mask=_rows_missing(values), dtype=object))
    if is_array and np.ma.getmaskarray(values).any():
        values = np.ma.filled(values.astype("f8" if values.dtype.kind in "iub" else values.dtype), np.nan)
        code = f"{values.dtype.kind}{values.dtype.itemsize}"
    write = _writer(code)
    if not is_array:
        return _Field(_DATATYPES[code], values, write)
    # The first number of VOTable's shape is that of the axis that varies fastest.
    size = "x".join(map(str, reversed(values.shape[1:])))
    return _Field(_DATATYPES[code], values, lambda cell: " ".join(map(write, np.ravel(cell))), arraysize=size)


def _rows_missing(values: Any) -> Any:
    missing = np.ma.getmaskarray(values)
    return missing.reshape(len(values), -1).all(axis=1) if missing.ndim > 1 else missing


def _writer(code: str) -> Callable[[Any], str]:
    if code[0] == "b":
        return lambda value: "T" if value else "F"
    if code[0] == "f":
        digits = 9 if code in ("f2", "f4") else 17
        return lambda value: _number(float(value), digits)
    if code[0] == "c":
        return lambda value: f"{_number(value.real, 17)} {_number(value.imag, 17)}"
    return str


def _number(value: float, digits: int) -> str:
    if math.isfinite(value):
        return f"{value:.{digits}g}"
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _text(values: Any, *, xtype: str = "") -> _Field:
    if values.ndim > 1:
        joined = [_joined(row) for row in values]
        values = np.ma.MaskedArray(joined, mask=_rows_missing(values), dtype=object)
    return _Field("unicodeChar", values, lambda value: _plain(_said(value)), arraysize="*", xtype=xtype)


def _objects(values: Any) -> _Field:
    """Python's objects: arrays of several lengths, times, numbers, or what has only its text in common."""
    if values.ndim > 1:
        return _text(values)
    missing = np.ma.getmaskarray(values) | np.array([_is_nothing(value) for value in values.data], bool)
    masked = np.ma.MaskedArray(values.data, mask=missing)
    known = [value for value, is_missing in zip(values.data, missing, strict=True) if not is_missing]
    if known and all(isinstance(value, datetime) for value in known):
        return _text(masked, xtype="timestamp")
    if known and all(isinstance(value, (bool, int, float, np.number, np.bool_)) for value in known):
        return _scalars(masked, known)
    if known and all(_is_numeric(value) for value in known):
        return _ragged(masked, known)
    return _text(masked)


def _is_nothing(value: Any) -> bool:
    return value is None or value is np.ma.masked


def _is_numeric(value: Any) -> bool:
    return isinstance(value, (np.ndarray, list, tuple)) and np.ma.asarray(value).dtype.kind in "buif" and len(value) > 0


def _scalars(masked: Any, known: Sequence[Any]) -> _Field:
    made = np.asarray(known)
    filled = np.zeros(len(masked), made.dtype)
    filled[~masked.mask] = made
    return _numbers(np.ma.MaskedArray(filled, mask=masked.mask)) if made.dtype.kind in "buif" else _text(masked)


def _ragged(masked: Any, known: Sequence[Any]) -> _Field:
    """Arrays of unlike lengths or shapes: each row has as many numbers as it has; the shape is not kept."""
    has_gaps = any(np.ma.getmaskarray(np.ma.asarray(value)).any() for value in known)
    common = np.result_type(*(np.ma.asarray(value).dtype for value in known), *(["f8"] if has_gaps else []))
    code = f"{common.kind}{common.itemsize}"
    if code not in _DATATYPES:
        return _text(masked)
    write = _writer(code)

    def cell(value: Any) -> str:
        array = np.ma.asarray(value).astype(common)
        return " ".join(map(write, np.ravel(np.ma.filled(array, np.nan) if has_gaps else array.data)))

    return _Field(_DATATYPES[code], masked, cell, arraysize="*")


def _said(value: Any) -> str:
    """Give the text of any value."""
    if isinstance(value, datetime):
        utc = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        return utc.isoformat(timespec="milliseconds")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return _joined(value)


def _joined(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim:
        return ", ".join(map(_said, np.ma.filled(value.astype(object), "").ravel()))
    return ", ".join(map(_said, value)) if isinstance(value, (list, tuple, set, frozenset)) else str(value)


def _plain(text: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", text))


def _quoted(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("\ufffd", text))
