"""One pixel in the exposures of many versions: where each one's values are, and all of them under one another.

Nothing is done for each version: rows of the table are found by numbers, in what all blocks have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ..index.pixels import PixelRow
    from ..model.kinds import PixelColumn

__all__ = ["PixelExposures"]


@dataclass(frozen=True, slots=True)
class PixelExposures:
    """A pixel's values in many versions.

    Attributes
    ----------
    rows : sequence of PixelRow
        Of the blocks of the versions; for a version without pixel rows, of its arrays, as if it were alone in a block.
    which, slots : ndarray of int, shape (n,)
        For each version its row, and its exposure in that, from 1.
    count : ndarray of int, shape (n,)
        How many rows of the table each version has: its integrations, or 1.
    sets : ndarray of int, shape (n,)
        Their sets of pixel rows; 0 for a version without.
    common : callable
        Gives the flags that most pixels share in some sets: see `miripool.index.pixels.read_common`.
    """

    rows: Sequence[PixelRow]
    which: NDArray[np.integer[Any]]
    slots: NDArray[np.integer[Any]]
    count: NDArray[np.integer[Any]]
    sets: NDArray[np.integer[Any]]
    common: Callable[[Sequence[int]], Sequence[tuple[NDArray[Any], NDArray[Any]]]]

    def column(self, column: PixelColumn) -> NDArray[Any] | None:
        """Give a column of the table.

        Parameters
        ----------
        column : PixelColumn
            Of the kind.

        Returns
        -------
        ndarray or None
            One row for each integration of each version; of dtype object, an array in each row, if these are of unlike
            lengths or some version does not have the column; a masked array if these are numbers of the whole pixel.
            None if no version has the column.
        """
        if not len(self.which):
            return np.empty(0)
        parts, first, missing = self._places(column)
        if missing.all():
            return None
        count, absent = self.count, np.repeat(missing, self.count)
        if not column.axes:
            found = np.concatenate(parts)[np.where(missing, 0, first)]
            found[missing] = 0
            found = np.repeat(found, count)
            return np.ma.array(found, mask=absent) if missing.any() else found
        index = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(len(absent))
        if not missing.any() and len({part.shape[1:] for part in parts}) == 1:
            return np.concatenate(parts)[index]
        index[absent] = 0
        found = _as_objects(parts)[index]
        found[absent] = None
        return found

    def _places(self, column: PixelColumn) -> tuple[list[NDArray[Any]], NDArray[np.int64], NDArray[np.bool_]]:
        """Give arrays, the place of each version's first value in all of them together, and who has none."""
        parts = [row.values.get(column.name) for row in self.rows]
        first, missing = _offsets(parts, self.which)
        place = self._patterns(column) if column.holds == "flags" else self.slots
        missing |= place == 0
        step = self.count if column.axes else 1
        first += (place - 1) * step
        there = [part for part in parts if part is not None]
        length = sum(map(len, there))
        for value, those in self._meant_by_null(column, missing & (self.sets > 0)):
            there.append(value)
            first[those], missing[those] = length, False
            length += len(value)
        return there, first, missing

    def _patterns(self, column: PixelColumn) -> NDArray[np.integer[Any]]:
        """Give the pattern of flags of each version, from 1."""
        parts = [row.patterns.get(column.name) for row in self.rows]
        first, missing = _offsets(parts, self.which)
        found = np.ones(len(self.which), np.int64)
        if not missing.all():
            numbers = np.concatenate([part for part in parts if part is not None])
            found[~missing] = numbers[(first + self.slots - 1)[~missing]]
        return found

    def _meant_by_null(
        self, column: PixelColumn, those: NDArray[np.bool_]
    ) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
        """Give what NULL stands for in some versions, and in which of them."""
        if not column.null or not those.any():
            return
        if column.null == "common":
            for pattern, sets in self.common(self.sets[those].tolist()):
                yield pattern, those & np.isin(self.sets, sets)
            return
        depths = [() if column.axes < 2 else _depth(row) for row in self.rows]
        for depth in set(depths):
            those_so_deep = those & np.asarray([one == depth for one in depths])[self.which]
            yield np.zeros((self.count.max(), *depth), np.int64), those_so_deep


def _depth(row: PixelRow) -> tuple[int, ...]:
    """Give the length of the axis of groups."""
    return next(value.shape[1:] for value in row.values.values() if value.ndim > 1)


def _offsets(
    parts: Sequence[NDArray[Any] | None], which: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Give where each version's part begins in all of them together, and whose there is none."""
    lengths = np.asarray([0 if part is None else len(part) for part in parts], np.int64)
    return (np.cumsum(lengths) - lengths)[which], (lengths == 0)[which]


def _as_objects(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Make an array of rows, each an object: rows of unlike lengths fit into no other."""
    listed = [row for part in parts for row in part]
    made = np.empty(len(listed), object)
    for i, row in enumerate(listed):
        made[i] = row
    return made
