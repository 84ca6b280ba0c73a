"""Pixel rows from arrays: a product's datasets, read in bands of detector rows, as chunks for COPY.

Memory holds one band of tiles and some detector rows of it in COPY's form.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ...model.kinds import KINDS
from ..pixelset import REFERENCE
from .wire import Rows, WireField

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ...model.dataset import Dataset
    from ...model.kinds import Kind, PixelColumn
    from ..pixelset import PixelSet

    Arrays = Mapping[str, NDArray[Any]]
    Chunks = Iterator[memoryview[int]]

__all__ = ["common_groupdq", "rows_of"]

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


def common_groupdq(pixels: PixelSet, product: Mapping[str, Dataset]) -> NDArray[np.int16] | None:
    """Find the group DQ that most pixels share, by looking at the rows in the middle.

    Parameters
    ----------
    pixels : PixelSet
        Of a kind with group DQ; others have none.
    product : mapping of str to Dataset
        The version.

    Returns
    -------
    ndarray of int16, shape (nints, ngroups), or None
        The pattern; None where there is no group DQ.
    """
    columns = KINDS[pixels.kind].columns
    name = next((pixels.datasets.get(column.name) for column in columns if column.null == "common"), None)
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
        The kind's, of pixels or of the reference output.
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
    work = _Work(pixels, product, exp_id, set_id, common)
    kind = KINDS[pixels.kind]
    return _reference(work, kind) if table == kind.reference_table else _pixels(work, kind)


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

    def field(self, column: PixelColumn) -> WireField:
        """Give the form of a column."""
        return WireField(column.name, column.code, self.depth[: column.axes])

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

    def place(self, first: int, count: int, step: int = 1, start: int = 1) -> dict[str, Any]:
        """Number values: those of `count` detector rows, one for `step` columns, from row `first` (0-based) on."""
        p = self.pixels.placement
        width = p.columns // step
        y = np.repeat(np.arange(p.y + first, p.y + first + count), width)
        column = np.tile(np.arange(width), count)
        ids = (y - 1) * (self.pixels.detector.columns // step) + (p.x - 1) // step + column + start
        return {**self._numbers, "pixel_id": ids, "y": y, "x": p.x + column * step}


def _band_rows(row_bytes: int) -> int:
    """Detector rows to read at once: about as many as a row of tiles has, more where they are small."""
    return max(32, min(512, _BAND_BYTES // max(row_bytes, 1)))


def _by_pixel(array: NDArray[Any], width: int) -> NDArray[Any]:
    """Put rows and columns first: shape (pixels, integrations, groups), a view."""
    flat = array.reshape(*array.shape[:-2], array.shape[-2] * width)
    return np.moveaxis(flat, -1, 0)


def _reference(work: _Work, kind: Kind) -> tuple[list[str], Chunks]:
    assert kind.reference is not None  # noqa: S101 - its table is named
    fields = [*_PLACE, work.field(kind.reference)]
    detector = work.pixels.detector
    width = work.pixels.placement.columns // detector.outputs

    def chunks() -> Chunks:
        form = None
        for first, arrays in work.bands([REFERENCE], width):
            values = arrays[REFERENCE]
            form = form or Rows(fields, len(values))
            place = work.place(first, len(values) // width, detector.outputs, detector.first_reference)
            yield form.fill({**place, fields[-1].name: _signed(values)})

    return [f.name for f in fields], chunks()


def _signed(values: NDArray[Any]) -> NDArray[np.int16]:
    """Give DN - 32768: the other signedness of the same bits but the first."""
    signed: NDArray[np.int16] = np.bitwise_xor(values, np.uint16(0x8000)).view(np.int16)
    return signed


def _pixels(work: _Work, kind: Kind) -> tuple[list[str], Chunks]:
    """Give rows of which those have a NULL for flags that have no flags of their own to tell."""
    width = work.pixels.placement.columns
    fields = [*_PLACE, *map(work.field, kind.columns)]
    wanted = [column.name for column in kind.columns]
    missing = [name for name in wanted if not work.has(name)]
    dn = [column.name for column in kind.columns if column.holds == "dn"]
    flags = next((column for column in kind.columns if column.null and work.has(column.name)), None)

    def chunks() -> Chunks:
        forms: dict[bool, Rows] = {}
        for first, arrays in work.bands(wanted, width):
            count = len(next(iter(arrays.values())))
            values = {**work.place(first, count // width), **arrays}
            values |= {name: _signed(arrays[name]) for name in dn}
            own = np.zeros(count, bool) if flags is None else _differ(arrays[flags.name], flags, work.common)
            for with_flags in (False, True):
                chosen = own if with_flags else ~own
                if not chosen.any():
                    continue
                null = missing if with_flags or flags is None else [*missing, flags.name]
                if with_flags not in forms:
                    forms[with_flags] = Rows(fields, count, null)
                part = values if chosen.all() else {n: v[chosen] if np.ndim(v) else v for n, v in values.items()}
                yield forms[with_flags].fill(part)

    return [f.name for f in fields], chunks()


def _differ(flags: NDArray[Any], column: PixelColumn, common: NDArray[np.int16] | None) -> NDArray[np.bool_]:
    """Find the pixels of which the flags are not what NULL stands for."""
    differ: NDArray[np.bool_] = flags != (common if column.null == "common" else 0)
    found: NDArray[np.bool_] = np.any(differ, axis=tuple(range(1, differ.ndim)))
    return found
