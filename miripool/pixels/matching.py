"""The pixels that satisfy a condition, as astropy tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput
from ..index import pixels as rows
from ..instruments.known import extent
from ..model.kinds import pixel_columns
from ..model.names import Urn
from ..model.times import time_column
from ..pool.select import of_detector, refuse_unknown_detector, warn_beyond, warn_without_rows
from ..query.pixelwhere import parse_pixels
from ..query.queries import check_detector
from .asked import kind_with_pixels, select_versions, whole_number
from .flags import spell_flags
from .table import make_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from astropy.table import Table

    from ..index import ProductRow
    from ..instruments.detector import Placement
    from ..model.kinds import PixelColumn
    from ..pool.core import Core
    from .asked import Kind

__all__ = ["Pixels"]

_MOST_ROWS = 20_000_000
"""Rows of one table; a table of more would take tens of gigabytes."""


class Pixels:
    """The pixels that satisfy a condition. They are read by `count`, `chunks` and `to_table`.

    Parameters
    ----------
    pool : Core
        The pool.
    kind : class or str
        Raw, Ramp, RateInts or Rate.
    where : str
        Condition on the pixels, see `miripool.query.pixelwhere`.
    x, y : (int, int), optional
        First and last column and row to search, in the FULL array, 1-based, both ends included.
    query, tag, all_versions : object
        Versions to search, as for `Pool.select`.
    detector : str, optional
        Only this detector; case does not matter. By default all; the column ``detector`` names them.
    """

    def __init__(
        self,
        pool: Core,
        kind: Kind,
        where: str = "",
        *,
        x: tuple[int, int] | None = None,
        y: tuple[int, int] | None = None,
        query: Any = "1",
        tag: str | None = None,
        all_versions: bool = False,
        detector: str | None = None,
    ) -> None:
        cls = kind_with_pixels(kind)
        self.kind = cls.kind
        self.where = where
        self._pool = pool
        self._condition = parse_pixels(where, cls.kind)
        name = check_detector(detector)
        columns, lines = extent(name)
        self._box = rows.Box(_ends(x, "x", columns), _ends(y, "y", lines))
        serials = select_versions(pool, cls, query, tag, all_versions)
        if name is not None:
            serials = [version.serial for version in of_detector(pool.catalog.rows(serials), name)]
            if not serials:
                refuse_unknown_detector([pool], name)
        self._sets = rows.sets_of(pool.catalog.database, serials)
        warn_beyond(self._condition, self._sets)
        self.versions = len(serials)
        if len(self._sets) < len(serials):
            warn_without_rows(pool, len(serials) - len(self._sets), len(serials))

    def __repr__(self) -> str:
        return f"<Pixels of {len(self._sets)} {self.kind} versions of pool {self._pool.name}: {self.where or 'all'}>"

    def count(self) -> int:
        """Count the pixels. The database counts them, no values are read into this process.

        Returns
        -------
        int
            Number of pixels; a pixel counts once for each version in which it satisfies the condition.
        """
        counts = rows.count_pixels(self._pool.catalog.database, self.kind, self._sets, self._condition, self._box)
        return sum(counts.get(s.set_id, 0) for s in self._sets)

    def chunks(self, *, dq_names: bool = False, limit: int | None = None) -> Iterator[Table]:
        """Read the pixels in tables of bounded size.

        Parameters
        ----------
        dq_names : bool, keyword-only
            Give DQ flags by name instead of bits.
        limit : int, keyword-only, optional
            Read at most this many pixels.

        Yields
        ------
        astropy.table.Table
            As from `to_table`, with some thousands of pixels of one version.
        """
        left = limit
        versions = {v.serial: v for v in self._pool.catalog.rows([s.serial for s in self._sets])}
        for s in self._sets:
            if left == 0:
                return
            scanned = rows.scan_pixels(
                self._pool.catalog.database, self.kind, s, self._condition, self._box, limit=left
            )
            for part in scanned:
                yield self._chunk(versions[s.serial], s, part, dq_names)
                left = None if left is None else left - len(part["pixel_id"])

    def to_table(self, *, dq_names: bool = False, limit: int | None = None) -> Table:
        """Read the pixels as one table.

        Parameters
        ----------
        dq_names : bool, keyword-only
            Give DQ flags by name instead of bits.
        limit : int, keyword-only, optional
            Read at most this many pixels.

        Returns
        -------
        astropy.table.Table
            One row for each pixel of each version: urn, name, version, time, detector (empty if the header names
            none), pixel_id, x, y, and the columns of the kind. A cell holds an array by integration and group. If the
            versions have different numbers of integrations or groups, the columns are of dtype object.

        Raises
        ------
        InvalidInput
            If there are too many pixels for one table; `chunks` reads them in parts.
        """
        from astropy.table import Table, vstack

        most = sum(_pixels_in(s.placement, self._box) for s in self._sets)
        if min(most, limit or most) > _MOST_ROWS and (number := self.count()) > _MOST_ROWS and not limit:
            raise InvalidInput(
                f"this would be a table of {number:,} pixels; narrow the condition or the region, set a limit, "
                "or read it in parts: for table in pixels.chunks(): …"
            )
        tables = list(self.chunks(dq_names=dq_names, limit=limit))
        if not tables:
            made = Table(
                names=["urn", "name", "version", "detector", "pixel_id", "x", "y"],
                dtype=["U1", "U1", "i8", "U1", "i8", "i8", "i8"],
            )
            made.add_column(time_column([]), name="time", index=3)
            return made
        return tables[0] if len(tables) == 1 else vstack(_alike(tables), metadata_conflicts="silent")

    def _chunk(
        self, version: ProductRow, s: rows.SetRow, part: Mapping[str, Sequence[Any] | np.ndarray], dq_names: bool
    ) -> Table:
        count = len(part["pixel_id"])
        table: dict[str, Any] = {
            "urn": [str(Urn(self._pool.name, version.kind, version.serial))] * count,
            "name": [version.name] * count,
            "version": np.full(count, version.version),
            "time": time_column([version.start_time], [count]),
            "detector": [version.detector or ""] * count,
        }
        for name in ("pixel_id", "x", "y"):
            table[name] = np.asarray(part[name])
        columns = pixel_columns(self.kind)
        for name, column in columns.items():
            values = _whole_column(part[name], column, s)
            if values is None:
                continue
            table[name] = values
            if dq_names and column.holds == "flags":
                table[name] = spell_flags(table[name])
        return make_table(table, {name: column.unit for name, column in columns.items()})


def _alike(tables: list[Table]) -> list[Table]:
    """Make arrays of unlike lengths objects, one array in each row, so that the tables can be put together."""
    for name in dict.fromkeys(name for table in tables for name in table.colnames):
        having = [table for table in tables if name in table.colnames]
        if len({table[name].shape[1:] for table in having}) > 1:
            for table in having:
                made, unit = np.empty(len(table), object), table[name].unit
                made[:] = list(np.asarray(table[name]))
                table.replace_column(name, made)
                table[name].unit = unit
    return tables


def _ends(given: Any, what: str, most: int) -> tuple[int, int] | None:
    """Give the first and the last column, or row."""
    if given is None:
        return None
    ends = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else ()
    if len(ends) != 2:
        raise InvalidInput(f"{what}={given!r} is not a range; give the first and the last, e.g. {what}=(1, 72)")
    first, last = (whole_number(end, what) for end in ends)
    if not 1 <= first <= last <= most:
        raise InvalidInput(
            f"{what}={given!r} is not a range on the detector; give two numbers from 1 to {most}, the smaller first"
        )
    return first, last


def _whole_column(values: Sequence[Any] | np.ndarray, column: PixelColumn, s: rows.SetRow) -> np.ndarray | None:
    """Give a column with what its NULLs stand for; None if nothing is in it."""
    if isinstance(values, np.ndarray):
        return values
    null = s.meant_by_null(column)
    if all(value is None for value in values):
        return None if null is None else np.tile(null, (len(values), *(1 for _ in np.shape(null))))
    filled = [null if value is None else value for value in values]
    return np.stack(filled) if column.axes else np.asarray(filled)


def _pixels_in(placement: Placement, box: rows.Box) -> int:
    columns, lines = box.x or (1, 1 << 20), box.y or (1, 1 << 20)
    wide = min(columns[1], placement.x + placement.columns - 1) - max(columns[0], placement.x) + 1
    high = min(lines[1], placement.y + placement.rows - 1) - max(lines[0], placement.y) + 1
    return max(wide, 0) * max(high, 0)
