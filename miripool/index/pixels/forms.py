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
    Band = Mapping[str, Sequence[NDArray[Any]]]

__all__ = ["Member", "common_groupdq", "rows_of"]

_ELEMENTS = 1 << 19
"""Elements in COPY's form at a time: a few megabytes, which stay in the cache."""
_BAND_BYTES = 48 << 20
"""Bytes of the datasets that are in memory at a time; at least one row of tiles."""
_SAMPLED_ROWS = 2

_PLACE = (WireField("block_id", "i4"), WireField("pixel_id", "i4"))


@dataclass(frozen=True, slots=True)
class Member:
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


def rows_of(pixels: PixelSet, members: Sequence[Member], view: str, block_id: int) -> tuple[list[str], Chunks]:
    """Give the rows of a block: of its pixels, or of its reference output.

    Parameters
    ----------
    pixels : PixelSet
        What the rows of one of its exposures are made from; the others have the same place, shape and columns.
    members : sequence of Member
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


class _Work:
    """The rows of one table of a block; `step` detector columns share a row."""

    def __init__(
        self,
        pixels: PixelSet,
        members: Sequence[Member],
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
        return names, self._chunks(len(names))

    def _shape(self, column: PixelColumn, number: int) -> tuple[int, ...]:
        """Give the shape of so many values of a column in one array: the first axis counts through all of them."""
        depth = self.depth[: column.axes]
        return (number * depth[0], *depth[1:]) if depth else (number,)

    def _chunks(self, fields: int) -> Chunks:
        elements = sum(math.prod(field.shape) for field in self.head)
        step = max(1, _ELEMENTS // elements)
        form: Rows | None = None
        for first, last, arrays in self._bands():
            ids = self._pixel_ids(first, last)
            form = form or Rows(self.head, min(step, len(ids)), told=fields)
            found = [find_patterns(arrays[name], self._defaults(name)) for name in self.flags]
            for start in range(0, len(ids), step):
                part = slice(start, min(start + step, len(ids)))
                count = part.stop - part.start
                values = {self.columns[name].name: self._by_pixel(name, arrays[name], part) for name in self.values}
                filled = form.fill({"block_id": self.block_id, "pixel_id": ids[part], **values}, count)
                yield from self._with_flags(filled, found, part) if found else (filled,)

    def _bands(self) -> Iterator[tuple[int, int, Band]]:
        """Read by detector rows, first to last (0-based, excluded); for each exposure an array (…, pixels)."""
        names = self.pixels.datasets
        datasets = {name: [member.datasets[names[name]] for member in self.members] for name in self.columns}
        rows = self.pixels.placement.rows
        per_row = sum(d.dtype.itemsize * d.size // max(d.shape[-2], 1) for those in datasets.values() for d in those)
        band = _band_rows(per_row)
        for first in range(0, rows, band):
            last = min(first + band, rows)
            read = {name: [_flat(d[..., first:last, :]) for d in those] for name, those in datasets.items()}
            yield first, last, read

    def _by_pixel(self, name: str, arrays: Sequence[NDArray[Any]], part: slice) -> list[NDArray[Any]]:
        """Put pixels first, as the values are stored: shape (pixels, integrations, groups)."""
        chosen = [array[..., part] for array in arrays]
        if self.columns[name].holds == "dn":
            chosen = [_signed(array) for array in chosen]
        return [np.moveaxis(array, -1, 0) if array.ndim > 1 else array[:, None] for array in chosen]

    def _pixel_ids(self, first: int, last: int) -> NDArray[np.int64]:
        """Number the pixels of detector rows (0-based)."""
        place, detector = self.pixels.placement, self.pixels.detector
        row = np.arange(place.y - 1 + first, place.y - 1 + last) * (detector.columns // self.step)
        start = detector.first_reference if REFERENCE in self.columns else 1
        column = np.arange(self.width) + (place.x - 1) // self.step + start
        ids: NDArray[np.int64] = np.add.outer(row, column).reshape(-1)
        return ids

    def _with_flags(self, filled: memoryview[int], found: Sequence[Patterns], part: slice) -> Chunks:
        """Add the fields of flags, whose form depends on how many patterns a pixel has."""
        head = np.frombuffer(filled, np.uint8).reshape(part.stop - part.start, -1)
        # Rows of one form go together.
        forms = np.stack([count[part] for p in found for count in (p.number, p.is_one)], axis=1)
        order = np.lexsort(forms.T)
        ends = np.flatnonzero(np.any(np.diff(forms[order], axis=0), axis=1)) + 1
        for chosen in np.split(order, ends):
            chosen.sort()
            rows = np.concatenate([head[chosen], self._tail(found, chosen + part.start)], axis=1)
            yield memoryview(rows.reshape(-1))  # type: ignore[arg-type]

    def _defaults(self, name: str) -> list[Any]:
        null = self.columns[name].null
        return [{"common": member.common, "zeros": 0}.get(null) for member in self.members]

    def _tail(self, found: Sequence[Patterns], pixels: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Write the fields of flags of pixels that have the same number of patterns; shape (pixels, bytes)."""
        fields: list[WireField] = []
        values: dict[str, Any] = {}
        null = []
        for name, patterns in zip(self.flags, found, strict=True):
            column, number = self.columns[name], int(patterns.number[pixels[0]])
            of = WireField(pattern_column(column), "i2", (len(self.members),))
            fields += [WireField(column.name, column.code, self._shape(column, number)), of]
            values[column.name] = [v if column.axes else v[:, None] for v in patterns.values(pixels, number)]
            values[of.name] = patterns.of[pixels]
            if not number or patterns.is_one[pixels[0]]:
                null += [of.name] if number else [column.name, of.name]
        filled = Rows(fields, len(pixels), null, told=0).fill(values, len(pixels))
        return np.frombuffer(filled, np.uint8).reshape(len(pixels), -1)


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
