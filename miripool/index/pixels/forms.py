"""Pixel rows of a block from arrays: the datasets of its exposures, read in bands of detector rows, as chunks for COPY.

Memory holds one band of all exposures and some detector rows of it in COPY's form.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...model.kinds import KINDS
from ..pixelset import REFERENCE
from .blocks import pattern_column
from .patterns import find_patterns
from .wire import Rows, WireField

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ...model.dataset import Dataset
    from ...model.kinds import PixelColumn
    from ..pixelset import PixelSet
    from .patterns import Patterns

    Chunks = Iterator[memoryview[int]]
    _Form = tuple[tuple[int, bool], ...]

__all__ = ["SlotMember", "common_groupdq", "rows_of"]

_ELEMENTS = 1 << 19
"""Elements in COPY's form at a time: a few megabytes, which stay in the cache."""
_BAND_BYTES = 48 << 20
"""Bytes of the datasets that are in memory at a time; at least one row of tiles."""
_SAMPLED_ROWS = 2

_PLACE = (WireField("block_id", "i4"), WireField("pixel_id", "i4"))


@dataclass(frozen=True, slots=True)
class SlotMember:
    """One exposure of a block.

    Attributes
    ----------
    datasets : mapping of str to Dataset
        The version's.
    common : ndarray of int16, shape (nints, ngroups), or None
        From `common_groupdq`.
    """

    datasets: Mapping[str, Dataset]
    common: NDArray[np.int16] | None = None


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


def rows_of(pixels: PixelSet, members: Sequence[SlotMember], view: str, block_id: int) -> tuple[list[str], Chunks]:
    """Give the rows of a block: of its pixels, or of its reference output.

    Parameters
    ----------
    pixels : PixelSet
        What the rows of one of its exposures are made from; the others have the same place, shape and columns.
    members : sequence of SlotMember
        Its exposures, in the order of their slots.
    view : str
        The kind's, of pixels or of the reference output.
    block_id : int
        The block's number.

    Returns
    -------
    columns : list of str
        In the order of the fields.
    chunks : iterator of memoryview
        Rows for COPY; each is good until the next is asked for.
    """
    kind = KINDS[pixels.kind]
    if view == kind.reference_table:
        assert kind.reference is not None  # noqa: S101 - its view is named
        return _Work(pixels, members, block_id, {REFERENCE: kind.reference}, pixels.detector.outputs).rows()
    return _Work(pixels, members, block_id, {column.name: column for column in kind.columns}).rows()


@dataclass(frozen=True, slots=True)
class _Band:
    """Some detector rows of all exposures."""

    ids: NDArray[np.int64]
    """Numbers of the pixels."""
    arrays: Mapping[str, Sequence[NDArray[Any]]]
    """For each column an array of each exposure, shape (…, pixels)."""


class _Work:
    """The rows of one table of a block; `step` detector columns share a row."""

    def __init__(
        self,
        pixels: PixelSet,
        members: Sequence[SlotMember],
        block_id: int,
        columns: Mapping[str, PixelColumn],
        step: int = 1,
    ) -> None:
        self.pixels = pixels
        self.members = members
        self.block_id = block_id
        self.depth = tuple(n for n in (pixels.nints, pixels.ngroups) if n is not None)
        self.step = step
        self.width = pixels.placement.columns // step
        there = {name: column for name, column in columns.items() if name in pixels.datasets}
        self.columns = there
        self.values = [name for name, column in there.items() if column.holds != "flags"]
        self.flags = [name for name, column in there.items() if column.holds == "flags"]
        fields = (WireField(c.name, c.code, self._shape(c, len(members))) for c in map(there.__getitem__, self.values))
        self.head = [*_PLACE, *fields]
        """Fields that all rows have in the same form."""

    def rows(self) -> tuple[list[str], Chunks]:
        """Give the columns, values before flags, and the rows."""
        flags = [self.columns[name] for name in self.flags]
        names = [field.name for field in self.head]
        names += [name for column in flags for name in (column.name, pattern_column(column))]
        return names, self._chunks()

    def _shape(self, column: PixelColumn, number: int) -> tuple[int, ...]:
        """Give the shape of so many values of a column in one array: the first axis counts through all of them."""
        depth = self.depth[: column.axes]
        return (number * depth[0], *depth[1:]) if depth else (number,)

    def _chunks(self) -> Chunks:
        elements = sum(math.prod(field.shape) for field in self.head)
        step = max(1, _ELEMENTS // elements)
        kept: dict[_Form, Rows] = {}
        for band in self._bands():
            found = [find_patterns(band.arrays[name], self._defaults(name)) for name in self.flags]
            for form, pixels in _by_form(found, len(band.ids)):
                # What is the same in each row is written once, but for forms of few rows.
                rows = kept.get(form) or self._rows(form, min(step, len(pixels)))
                if len(pixels) >= step:
                    kept[form] = rows
                for start in range(0, len(pixels), step):
                    part = pixels[start : start + step]
                    values = self._values(band, part, alone=len(pixels) == len(band.ids))
                    for name, patterns, (number, _) in zip(self.flags, found, form, strict=True):
                        values |= self._pattern_values(self.columns[name], patterns, part, number)
                    yield rows.fill(values, len(part))

    def _rows(self, form: _Form, capacity: int) -> Rows:
        """Prepare rows whose pixels have so many patterns of flags."""
        fields, null = list(self.head), []
        for name, (number, is_one) in zip(self.flags, form, strict=True):
            column = self.columns[name]
            of = WireField(pattern_column(column), "i2", (len(self.members),))
            fields += [WireField(name, column.code, self._shape(column, number)), of]
            null += [name] if not number else []
            null += [of.name] if is_one or not number else []
        return Rows(fields, capacity, null)

    def _pattern_values(
        self, column: PixelColumn, patterns: Patterns, pixels: NDArray[np.intp], number: int
    ) -> dict[str, Any]:
        found = patterns.values(pixels, number)
        values = [value if column.axes else value[:, None] for value in found]
        return {column.name: values, pattern_column(column): patterns.of[pixels]}

    def _bands(self) -> Iterator[_Band]:
        names = self.pixels.datasets
        datasets = {name: [member.datasets[names[name]] for member in self.members] for name in self.columns}
        rows = self.pixels.placement.rows
        per_row = sum(d.dtype.itemsize * d.size // max(d.shape[-2], 1) for those in datasets.values() for d in those)
        height = _band_rows(per_row)
        for first in range(0, rows, height):
            last = min(first + height, rows)
            read = {name: [_flat(d[..., first:last, :]) for d in those] for name, those in datasets.items()}
            yield _Band(self._pixel_ids(first, last), read)

    def _values(self, band: _Band, pixels: NDArray[np.intp], *, alone: bool) -> dict[str, Any]:
        """Give what is no flag; `alone` where the pixels are one of the parts that the whole band is cut into."""
        chosen: Any = slice(pixels[0], pixels[-1] + 1) if alone else pixels  # a slice copies nothing
        values: dict[str, Any] = {"block_id": self.block_id, "pixel_id": band.ids[chosen]}
        for name in self.values:
            parts = [array[..., chosen] for array in band.arrays[name]]
            if self.columns[name].holds == "dn":
                parts = [_signed(part) for part in parts]
            # Pixels first, as the values are stored: shape (pixels, integrations, groups).
            by_pixel = [np.moveaxis(part, -1, 0) if part.ndim > 1 else part[:, None] for part in parts]
            values[self.columns[name].name] = by_pixel
        return values

    def _pixel_ids(self, first: int, last: int) -> NDArray[np.int64]:
        """Number the pixels of detector rows (0-based)."""
        place, detector = self.pixels.placement, self.pixels.detector
        row = np.arange(place.y - 1 + first, place.y - 1 + last) * (detector.columns // self.step)
        start = detector.first_reference if REFERENCE in self.columns else 1
        column = np.arange(self.width) + (place.x - 1) // self.step + start
        ids: NDArray[np.int64] = np.add.outer(row, column).reshape(-1)
        return ids

    def _defaults(self, name: str) -> list[Any]:
        null = self.columns[name].null
        return [{"common": member.common, "zeros": 0}.get(null) for member in self.members]


def _by_form(found: Sequence[Patterns], pixels: int) -> list[tuple[_Form, NDArray[np.intp]]]:
    """Sort the pixels of a band by how many patterns they have of each kind of flags, and whether that is one alone."""
    key = np.zeros(pixels, np.int64)
    for patterns in found:
        key = key * 2 * (patterns.of.shape[1] + 1) + 2 * patterns.number + patterns.is_one
    groups = [np.flatnonzero(key == value) for value in np.unique(key)]
    return [(tuple((int(p.number[g[0]]), bool(p.is_one[g[0]])) for p in found), g) for g in groups]


def _band_rows(row_bytes: int) -> int:
    """Detector rows to read at once: about as many as a row of tiles has, more where they are small."""
    return max(32, min(512, _BAND_BYTES // max(row_bytes, 1)))


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    """Give detector rows and columns one axis, the last."""
    return array.reshape(*array.shape[:-2], array.shape[-2] * array.shape[-1])


def _signed(values: NDArray[Any]) -> NDArray[np.int16]:
    """Give DN - 32768: the other signedness of the same bits but the first."""
    signed: NDArray[np.int16] = np.bitwise_xor(values, np.uint16(0x8000)).view(np.int16)
    return signed
