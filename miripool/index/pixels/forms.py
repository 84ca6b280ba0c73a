"""Pixel rows from arrays: a product's datasets, read in bands of detector rows, as chunks for COPY.

Memory holds one band of tiles and some detector rows of it in COPY's form.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ...instruments.miri import COLUMNS, FIRST_REFERENCE, REFERENCE_COLUMNS
from .wire import Rows, WireField

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ...model.dataset import Dataset
    from ..pixelset import PixelSet

    Arrays = Mapping[str, NDArray[Any]]
    Chunks = Iterator[memoryview[int]]

__all__ = ["TABLES", "common_groupdq", "rows_of"]

TABLES = {"Raw": "raw_pixel", "Ramp": "ramp_pixel", "RateInts": "rateints_pixel", "Rate": "rate_pixel"}
"""Table of each kind; the reference output of a Raw goes to ``ref_pixel``."""

_ELEMENTS = 1 << 19
"""Elements in COPY's form at a time: a few megabytes, which stay in the cache."""
_BAND_BYTES = 48 << 20
"""Bytes of a dataset that are in memory at a time; at least one row of tiles."""
_SAMPLED_ROWS = 2

_PLACE = (
    WireField("exp_id", "i4"),
    WireField("set_id", "i4"),
    WireField("pixel_id", "i4"),
    WireField("y", "i2"),
    WireField("x", "i2"),
)
_CODES = {"dn": "i2", "reference": "i2", "sci": "f4", "groupdq": "i2", "rate": "f4", "err": "f4"}


def common_groupdq(pixels: PixelSet, product: Mapping[str, Dataset]) -> NDArray[np.int16] | None:
    """Find the group DQ that most pixels share, by looking at the rows in the middle.

    Parameters
    ----------
    pixels : PixelSet
        Of a Ramp; others have none.
    product : mapping of str to Dataset
        The version.

    Returns
    -------
    ndarray of int16, shape (nints, ngroups), or None
        The pattern; None where there is no group DQ.
    """
    name = pixels.datasets.get("groupdq")
    if name is None or pixels.nints is None or pixels.ngroups is None:
        return None
    middle = pixels.placement.rows // 2
    sample = product[name][:, :, middle : middle + _SAMPLED_ROWS].astype(np.int16)
    ramps = np.ascontiguousarray(sample.reshape(pixels.nints * pixels.ngroups, -1).T)
    ((pattern, _),) = Counter(ramp.tobytes() for ramp in ramps).most_common(1)
    return np.frombuffer(pattern, np.int16).reshape(pixels.nints, pixels.ngroups)


def rows_of(
    pixels: PixelSet,
    product: Mapping[str, Dataset],
    table: str,
    *,
    exp_id: int,
    set_id: int,
    common: NDArray[np.int16] | None = None,
) -> tuple[list[str], Chunks]:
    """Give the rows of a product's pixels, or of its reference output.

    Parameters
    ----------
    pixels : PixelSet
        What they are made from.
    product : mapping of str to Dataset
        The version.
    table : str
        One of `TABLES`, or ``ref_pixel``.
    exp_id, set_id : int, keyword-only
        Numbers that all rows get.
    common : ndarray, keyword-only, optional
        From `common_groupdq`.

    Returns
    -------
    columns : list of str
        In the order of the fields.
    chunks : iterator of memoryview
        Rows for COPY; each is good until the next is asked for.
    """
    return _MAKERS[table](_Work(pixels, product, exp_id, set_id, common))


class _Work:
    """One table's rows."""

    def __init__(
        self,
        pixels: PixelSet,
        product: Mapping[str, Dataset],
        exp_id: int,
        set_id: int,
        common: NDArray[np.int16] | None,
    ) -> None:
        self.pixels = pixels
        self.common = common
        self.depth = tuple(n for n in (pixels.nints, pixels.ngroups) if n is not None)
        self._product = product
        self._numbers = {"exp_id": exp_id, "set_id": set_id}

    def has(self, column: str) -> bool:
        """Tell whether the product has a column's dataset."""
        return column in self.pixels.datasets

    def field(self, column: str) -> WireField:
        """Give the form of a column with integrations and groups."""
        return WireField(column, _CODES.get(column, "i8"), self.depth)

    def bands(self, columns: Sequence[str], width: int) -> Iterator[tuple[int, Arrays]]:
        """Read columns by detector rows; gives the first row, 0-based, and elements by (row, column, …)."""
        datasets = {column: self._product[self.pixels.datasets[column]] for column in columns if self.has(column)}
        rows = self.pixels.placement.rows
        per_row = max(d.dtype.itemsize * d.size // max(d.shape[-2], 1) for d in datasets.values())
        band = _band_rows(per_row)
        elements = max(d.size // max(d.shape[-2], 1) for d in datasets.values())
        step = max(1, _ELEMENTS // max(elements, 1))
        for first in range(0, rows, band):
            last = min(first + band, rows)
            read = {column: d[..., first:last, :] for column, d in datasets.items()}
            for start in range(first, last, step):
                part = slice(start - first, min(start + step, last) - first)
                yield start, {column: _by_pixel(array[..., part, :], width) for column, array in read.items()}

    def place(self, first: int, count: int, width: int, columns: int, start: int) -> dict[str, Any]:
        """Number pixels: those of `count` detector rows of `width` values each, from row `first` (0-based) on."""
        p = self.pixels.placement
        y = np.repeat(np.arange(p.y + first, p.y + first + count), width)
        column = np.tile(np.arange(width), count)
        ids = (y - 1) * columns + (p.x - 1) * columns // COLUMNS + column + start
        return {**self._numbers, "pixel_id": ids, "y": y, "x": p.x + column * (COLUMNS // columns)}


def _band_rows(row_bytes: int) -> int:
    """Detector rows to read at once: about as many as a row of tiles has, more where they are small."""
    return max(32, min(512, _BAND_BYTES // max(row_bytes, 1)))


def _by_pixel(array: NDArray[Any], width: int) -> NDArray[Any]:
    """Put rows and columns first: shape (pixels, integrations, groups), a view."""
    flat = array.reshape(*array.shape[:-2], array.shape[-2] * width)
    return np.moveaxis(flat, -1, 0)


def _raw(work: _Work) -> tuple[list[str], Chunks]:
    return _dn(work, "dn", work.pixels.placement.columns, COLUMNS, 1)


def _reference(work: _Work) -> tuple[list[str], Chunks]:
    return _dn(work, "reference", work.pixels.placement.columns // 4, REFERENCE_COLUMNS, FIRST_REFERENCE)


def _dn(work: _Work, column: str, width: int, columns: int, start: int) -> tuple[list[str], Chunks]:
    fields = [*_PLACE, WireField("dn", "i2", work.depth)]

    def chunks() -> Chunks:
        form = None
        for first, arrays in work.bands([column], width):
            values = arrays[column]
            count = len(values) // width
            form = form or Rows(fields, len(values))
            # DN - 32768: the other signedness of the same bits but the first.
            signed = np.bitwise_xor(values, np.uint16(0x8000)).view(np.int16)
            yield form.fill({**work.place(first, count, width, columns, start), "dn": signed})

    return [f.name for f in fields], chunks()


def _ramp(work: _Work) -> tuple[list[str], Chunks]:
    fields = [WireField("pixeldq", "i8"), *_PLACE, *map(work.field, ("sci", "groupdq", "err"))]
    return _with_nulls(work, fields, "groupdq", lambda flags: np.any(flags != work.common, axis=(1, 2)))


def _rateints(work: _Work) -> tuple[list[str], Chunks]:
    fields = [*_PLACE, *map(work.field, ("rate", "err", "dq"))]
    return _with_nulls(work, fields, "dq", lambda flags: flags.any(axis=1))


def _rate(work: _Work) -> tuple[list[str], Chunks]:
    fields = [WireField("dq", "i8"), *_PLACE, WireField("rate", "f4"), WireField("err", "f4")]
    return _with_nulls(work, fields, "dq", lambda flags: flags != 0)


def _with_nulls(
    work: _Work, fields: list[WireField], flags: str, differs: Callable[[NDArray[Any]], Any]
) -> tuple[list[str], Chunks]:
    """Give rows of which those have a NULL for `flags` that have nothing of their own to tell."""
    width = work.pixels.placement.columns
    wanted = [f.name for f in fields if f not in _PLACE]
    missing = [name for name in wanted if not work.has(name)]
    names = [f.name for f in fields]

    def chunks() -> Chunks:
        forms: dict[bool, Rows] = {}
        for first, arrays in work.bands(wanted, width):
            count = len(next(iter(arrays.values())))
            values = {**work.place(first, count // width, width, COLUMNS, 1), **arrays}
            own = differs(arrays[flags]) if flags in arrays else np.zeros(count, bool)
            for with_flags in (False, True):
                chosen = own if with_flags else ~own
                if not chosen.any():
                    continue
                null = missing if with_flags else [*missing, flags]
                if with_flags not in forms:
                    forms[with_flags] = Rows(fields, count, null)
                part = values if chosen.all() else {n: v[chosen] if np.ndim(v) else v for n, v in values.items()}
                yield forms[with_flags].fill(part)

    return names, chunks()


_MAKERS: Mapping[str, Callable[[_Work], tuple[list[str], Chunks]]] = {
    "raw_pixel": _raw,
    "ref_pixel": _reference,
    "ramp_pixel": _ramp,
    "rateints_pixel": _rateints,
    "rate_pixel": _rate,
}
