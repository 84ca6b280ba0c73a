"""The FITS file that a product made in memory would be: headers from its metadata, data units from its arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput
from ..model.cards import CARD, close_header, format_card, is_structural, keyword_of, parse_header
from ..model.kinds import kind_of
from ..model.product import Hdu, Layout
from ..model.table import TableDataset
from .sources import is_folded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..model.cards import Value
    from ..model.dataset import ArraySource, Dataset
    from ..model.kinds import kind_of
    from ..model.metadata import MetaData
from ..model.product import Product

__all__ = ["layout_of"]

_BITPIX = {"u1": 8, "i1": 8, "i2": 16, "u2": 16, "i4": 32, "u4": 32, "i8": 64, "u8": 64, "f4": -32, "f8": -64}
_CODES = {"u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D", "c8": "C", "c16": "M", "b1": "L"}
_STORED_AS = {"f2": "f4", "b1": "u1"}
"""FITS has no such arrays; these hold all their values."""


def layout_of(product: Product) -> Layout:
    """Give the FITS file of a product.

    Parameters
    ----------
    product : Product
        From a file or a store, or made in memory.

    Returns
    -------
    Layout
        The file it came from, with the headers as its metadata are now; of a product made in memory a new one:
        a primary HDU and an extension for each dataset, the same for equal products.

    Raises
    ------
    InvalidInput
        If FITS can't hold a dataset.
    """
    layout = product.layout
    if layout is None:
        return Layout(_build(product))
    meta = _with_units(product, layout)
    if not meta.changed:
        return layout
    headers = [header for _, header in meta.headers]
    return Layout(tuple(map(_with_header, layout.hdus, headers)), layout.trailer)


def _with_units(product: Product, layout: Layout) -> MetaData:
    """Give the metadata of a product from a file, with the units that its datasets have been given since."""
    images = [hdu for hdu in layout.hdus if hdu.data is not None and hdu.data.dtype.names is None]
    units = {hdu.name: product[hdu.name].unit_text for hdu in images if product[hdu.name].unit_text != hdu.unit}
    meta = product.meta.copy() if units else product.meta
    for name, unit in units.items():
        meta[f"{name}.BUNIT"] = unit
    return meta


def _with_header(hdu: Hdu, header: bytes) -> Hdu:
    unit = next((card.value for card in parse_header(header) if card.keyword == "BUNIT"), None)
    shown = unit if isinstance(unit, str) and unit and hdu.encoding != "table" else None
    return replace(hdu, header=header, unit=shown)


def _build(product: Product) -> tuple[Hdu, ...]:
    headers = dict(product.meta.headers)
    names = ["PRIMARY", *(n for n in product if n != "PRIMARY"), *(n for n in headers if n not in product)]
    made = []
    for name in dict.fromkeys(names):
        own = b"".join(_own_cards(headers.get(name, b"")))
        own += _implied_cards(product, name)
        hdu = _build_hdu(name, product.get(name), own)
        made.append(_with_header(hdu, hdu.header))
    return tuple(made)


def _own_cards(header: bytes) -> list[bytes]:
    """Give the card images that do not describe the structure of the file the metadata came from."""
    images = []
    keep = True
    for start in range(0, len(header), CARD):
        image = header[start : start + CARD]
        keyword = keyword_of(image)
        if keyword is None:
            break
        if keyword != "CONTINUE":
            keep = not is_structural(keyword)
        if keep:
            images.append(image)
    return images


def _implied_cards(product: Product, name: str) -> bytes:
    """Say what the kind of the product and the units of its datasets mean, where its metadata do not."""
    cards = b""
    kind = kind_of(product)
    if name == "PRIMARY" and kind.datamodel and "PRIMARY.DATAMODL" not in product.meta:
        cards += format_card("DATAMODL", kind.datamodel, "Type of data model")
    if name in product and f"{name}.BUNIT" not in product.meta:
        implied = kind.unit if kind.is_rate and name in ("SCI", "ERR") else None
        if unit := product[name].unit_text or implied:
            cards += format_card("BUNIT", unit, "physical units of the array values")
    return cards


def _build_hdu(name: str, dataset: Dataset | None, own: bytes) -> Hdu:
    if dataset is None:
        return _finish(name, Hdu(b"", name), {"BITPIX": 8, "NAXIS": 0}, own)
    if dataset.source.dtype.names is not None:
        if name == "PRIMARY":
            raise InvalidInput(
                "dataset PRIMARY: a table needs another name, because FITS has tables in extensions only"
            )
        return _build_table(name, dataset, own)
    if dataset.source.dtype.kind not in "buif":
        raise InvalidInput(f"dataset {name}: FITS images hold numbers; make it a column of a structured array")
    source = _storable(dataset.source)
    bits = _BITPIX.get(source.dtype.str[1:])
    if bits is None:
        raise InvalidInput(f"dataset {name}: FITS has no images of {source.dtype}; convert it to float64")
    shape = source.shape
    values: dict[str, Value] = {"BITPIX": bits, "NAXIS": len(shape)}
    values |= {f"NAXIS{i}": n for i, n in enumerate(reversed(shape), 1)}
    after: dict[str, Value] = {}
    if is_folded(source.dtype):
        offset = -128 if source.dtype == np.int8 else 1 << (8 * source.dtype.itemsize - 1)
        after = {"BSCALE": 1, "BZERO": offset}
    if dataset.scale is not None:
        after = {"BSCALE": dataset.scale.bscale, "BZERO": dataset.scale.bzero, "BLANK": dataset.scale.blank}
        after = {key: value for key, value in after.items() if value is not None}
    data, encoding = (source, "image") if source.shape and 0 not in source.shape else (None, "none")
    hdu = Hdu(b"", name, encoding, data, scale=dataset.scale)  # type: ignore[arg-type]
    return _finish(name, hdu, values, own, after)


def _storable(source: ArraySource) -> ArraySource:
    if not source.shape:
        return _storable(np.asarray(source[...]).reshape(1))
    other = _STORED_AS.get(source.dtype.str[1:])
    if other is None:
        return source
    widened: NDArray[Any] = np.asarray(source[...]).astype(other)
    return widened


def _finish(
    name: str, hdu: Hdu, values: Mapping[str, Value], own: bytes, after: Mapping[str, Value] | None = None
) -> Hdu:
    table = hdu.encoding == "table"
    extname, _, version = name.partition(",")
    cards: list[tuple[str, Value, str]] = [("SIMPLE", True, "conforms to FITS standard")]
    if name != "PRIMARY":
        cards = [("XTENSION", "BINTABLE" if table else "IMAGE", "")]
    cards += [(key, value, "") for key, value in values.items()]
    if name == "PRIMARY":
        cards.append(("EXTEND", True, ""))
    elif not table:
        cards += [("PCOUNT", 0, ""), ("GCOUNT", 1, "")]
    cards += [(key, value, "") for key, value in (after or {}).items()]
    if name != "PRIMARY":
        cards.append(("EXTNAME", extname, ""))
        cards.append(("EXTVER", int(version) if version.isdecimal() else 1, ""))
    return replace(hdu, header=close_header(b"".join(format_card(*card) for card in cards) + own))


def _build_table(name: str, dataset: Dataset, own: bytes) -> Hdu:
    heap = dataset.heap if isinstance(dataset, TableDataset) else None
    if isinstance(dataset, TableDataset):
        source, columns = dataset.source, [_describe_column(c) for c in dataset.columns]
    else:
        source, columns = _storable_rows(name, dataset.source)
    rows, width = source.shape[0], source.dtype.itemsize
    size = 0 if heap is None else heap.shape[0]
    values: dict[str, Value] = {"BITPIX": 8, "NAXIS": 2, "NAXIS1": width, "NAXIS2": rows, "PCOUNT": size, "GCOUNT": 1}
    values["TFIELDS"] = len(columns)
    if isinstance(dataset, TableDataset) and dataset.gap:
        values["THEAP"] = rows * width + dataset.gap
    for i, column in enumerate(columns, 1):
        values |= {f"{key}{i}": value for key, value in column.items() if value is not None}
    return _finish(name, Hdu(b"", name, "table", source, heap), values, own)


def _describe_column(column: Any) -> dict[str, Value]:
    axes = column.shape
    if column.code == "A" and axes and not column.variable:
        axes = (*axes, column.dtype.itemsize)
    many = len(axes) > 1 and not column.variable
    return {
        "TTYPE": column.name,
        "TFORM": column.format,
        "TUNIT": column.unit,
        "TDIM": _tdim(axes) if many else None,
        "TSCAL": column.tscal if column.tscal != 1 else None,
        "TZERO": column.tzero if column.tzero != 0 else None,
        "TNULL": column.tnull,
    }


def _tdim(axes: tuple[int, ...]) -> str:
    return "(" + ",".join(str(n) for n in reversed(axes)) + ")"


def _storable_rows(name: str, source: ArraySource) -> tuple[ArraySource, list[dict[str, Value]]]:
    """Turn a structured array into rows as FITS stores them, and describe its columns."""
    rows = np.asarray(source[...]).reshape(-1)
    stored: list[tuple[str, NDArray[Any]]] = []
    columns = []
    for field in rows.dtype.names or ():
        values, form = _storable_field(name, field, rows[field])
        stored.append((field, values))
        columns.append({"TTYPE": field, **form})
    if not stored:
        raise InvalidInput(f"dataset {name}: a table needs at least one column")
    dtype = np.dtype([(field, values.dtype, values.shape[1:]) for field, values in stored])
    table = np.empty(len(rows), dtype)
    for field, values in stored:
        table[field] = values
    return table, columns


def _storable_field(name: str, field: str, values: NDArray[Any]) -> tuple[NDArray[Any], dict[str, Value]]:
    cell = values.shape[1:]
    count = int(np.prod(cell, dtype=np.int64))
    if values.dtype.kind == "U":
        try:
            values = np.strings.encode(values, "ascii")
        except UnicodeEncodeError:
            raise InvalidInput(f"dataset {name}, column {field}: FITS holds ASCII text only") from None
    if values.dtype.kind == "S":
        width = values.dtype.itemsize
        return values, {"TFORM": f"{count * width}A", "TDIM": _tdim((*cell, width)) if cell else None}
    offset: int | None = None
    if values.dtype.kind == "b":
        values, code = np.where(values, np.uint8(ord("T")), np.uint8(ord("F"))), "L"
    else:
        if values.dtype.kind == "f" and values.dtype.itemsize == 2:
            values = values.astype(np.float32)
        if is_folded(values.dtype):
            unsigned = np.dtype(f"u{values.dtype.itemsize}")
            offset = -128 if values.dtype == np.int8 else 1 << (8 * unsigned.itemsize - 1)
            turned = np.ascontiguousarray(values).view(unsigned) ^ unsigned.type(1 << (8 * unsigned.itemsize - 1))
            values = turned if unsigned.itemsize == 1 else turned.view(f"i{unsigned.itemsize}")
        found = _CODES.get(values.dtype.str[1:])
        if found is None:
            raise InvalidInput(f"dataset {name}, column {field}: FITS has no columns of {values.dtype}")
        code = found
    form = f"{count if cell else ''}{code}"
    return values, {"TFORM": form, "TDIM": _tdim(cell) if len(cell) > 1 else None, "TZERO": offset}
