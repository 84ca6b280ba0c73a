"""Reading pixel rows: one pixel through many sets, some pixels of one set, the pixels that satisfy a condition.

The tables of blocks are read, not the views: a pixel's row has all exposures of its block, and NumPy finds each one's
part sooner than PostgreSQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import text

from ...instruments.known import detector_named
from ...model.kinds import KINDS, PixelColumn
from ..selection import array_text
from .arrays import array_of, arrays_of
from .blocks import block_table, partition, pattern_column, value_of
from .conditions import Box, Writer
from .sets import BlockPlace, SetRow, places_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ...query.tree import Node
    from ..connection import Database

__all__ = ["count_pixels", "count_rows", "read_pixel", "read_pixels", "scan_pixels"]

_FEW_BLOCKS = 50
"""Blocks that are named in a statement, so that the planner leaves out the partitions of all others.

A list of many takes longer to compare with each partition than the partitions that it leaves out.
"""
_CHUNK = 20_000


def read_pixel(database: Database, kind: str, sets: Sequence[SetRow], pixel_id: int) -> dict[int, dict[str, Any]]:
    """Read one pixel's row in each of many sets.

    Parameters
    ----------
    database : Database
        The index.
    kind : str
        Of the sets.
    sets : sequence of SetRow
        Where to look.
    pixel_id : int
        The pixel.

    Returns
    -------
    dict
        For each set_id that has the pixel its columns: arrays of shape (nints, ngroups) or (nints,), or numbers;
        None for NULL.
    """
    if not sets:
        return {}
    with database.read() as connection:
        places = places_of(database, connection, kind, [s.set_id for s in sets])
        if not places:
            return {}
        blocks = sorted({place.block_id for place in places.values()})
        statement = (
            f"SELECT p.block_id, {_stored(kind)} FROM {block_table(KINDS[kind].pixel_table)} p "
            f"WHERE p.pixel_id = {int(pixel_id)} AND "
        )
        if len(blocks) <= _FEW_BLOCKS:
            statement += f"p.block_id IN ({', '.join(map(str, blocks))})"
        else:
            statement += f"p.block_id BETWEEN {blocks[0]} AND {blocks[-1]}"
        found = {row[0]: row[1:] for row in connection.exec_driver_sql(statement)}
    lengths = {places[s.set_id].block_id: s.nints for s in sets if s.set_id in places}
    rows = {number: _BlockRow.unpack(kind, found[number], lengths[number]) for number in blocks if number in found}
    return {s: rows[place.block_id].at(place.slot) for s, place in places.items() if place.block_id in rows}


def read_pixels(database: Database, kind: str, chosen: SetRow, pixels: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Read the rows of some pixels in one set.

    Parameters
    ----------
    database : Database
        The index.
    kind : str
        Of the set.
    chosen : SetRow
        The set.
    pixels : sequence of int
        The pixels.

    Returns
    -------
    dict
        For each pixel_id that the set has its columns, as `read_pixel` gives them.
    """
    with database.read() as connection:
        places = places_of(database, connection, kind, [chosen.set_id])
        if not places:
            return {}
        place = places[chosen.set_id]
        statement = (
            f"SELECT p.pixel_id, {_sent(kind, chosen, place)} FROM {block_table(KINDS[kind].pixel_table)} p "
            f"WHERE p.block_id = {place.block_id} AND p.pixel_id = ANY(CAST(:pixels AS integer[]))"
        )
        found = connection.execute(text(statement), {"pixels": array_text(sorted(set(pixels)))}).all()
    columns = KINDS[kind].columns
    return {row[0]: {c.name: _unpacked(c, v) for c, v in zip(columns, row[1:], strict=True)} for row in found}


def count_rows(database: Database, sets: Mapping[int, str]) -> dict[int, int]:
    """Count the rows of sets.

    Parameters
    ----------
    database : Database
        The index.
    sets : mapping of int to str
        Kind by set_id.

    Returns
    -------
    dict of int to int
        Rows by set_id; sets that were dropped are left out.
    """
    found = {}
    for kind in sorted(set(sets.values())):
        table = block_table(KINDS[kind].pixel_table)
        with database.read() as connection:
            places = places_of(database, connection, kind, [s for s, of in sets.items() if of == kind])
            counts: dict[int, int] = {}
            for set_id, place in places.items():
                if place.block_id not in counts:
                    statement = f"SELECT count(*) FROM {table} WHERE block_id = {place.block_id}"
                    counts[place.block_id] = connection.exec_driver_sql(statement).scalar_one()
                found[set_id] = counts[place.block_id]
    return found


def count_pixels(
    database: Database, kind: str, sets: Sequence[SetRow], condition: Node, box: Box | None = None
) -> dict[int, int]:
    """Count the pixels of each set that satisfy a condition.

    Parameters
    ----------
    database, kind, sets : object
        As for `read_pixel`.
    condition : Node
        From `miripool.query.pixelwhere.parse_pixels`.
    box : Box, optional
        Where to look.

    Returns
    -------
    dict
        For each set_id with at least one such pixel their number.
    """
    counts: dict[int, int] = {}
    with database.read() as connection:
        places = places_of(database, connection, kind, [s.set_id for s in sets])
        blocks: dict[int, dict[int, SetRow]] = {}
        for s in sets:
            if s.set_id in places:
                blocks.setdefault(places[s.set_id].block_id, {})[s.set_id] = s
        for number, those in blocks.items():
            writer = Writer(kind)
            pixels = writer.pixels(next(iter(those.values())), condition, box or Box())
            wanted = [writer.condition(s, places[set_id], condition) for set_id, s in those.items()]
            block = f"FROM {partition(KINDS[kind].pixel_table, number)} p WHERE {pixels}"
            if len(wanted) == 1:  # rows of which none get to the aggregate cost two thirds
                statement = f"SELECT count(*) {block} AND {wanted[0]}"
            else:  # one reading of the block for all of its sets
                statement = f"SELECT {', '.join(f'count(*) FILTER (WHERE {one})' for one in wanted)} {block}"
            found = connection.execute(text(statement), writer.parameters).one()
            counts |= {set_id: count for set_id, count in zip(those, found, strict=True) if count}
    return counts


def scan_pixels(
    database: Database, kind: str, chosen: SetRow, condition: Node, box: Box | None = None, limit: int | None = None
) -> Iterator[dict[str, Sequence[Any] | NDArray[Any]]]:
    """Give the pixels of one set that satisfy a condition, some thousands at a time.

    Parameters
    ----------
    database, kind : object
        As for `read_pixel`.
    chosen : SetRow
        The set.
    condition, box : object
        As for `count_pixels`.
    limit : int, optional
        At most so many.

    Yields
    ------
    dict
        pixel_id, x, y and the columns, in the order of pixel_id: a sequence of what `read_pixel` gives, or one array of
        all if none is NULL.
    """
    across = detector_named(chosen.detector).columns
    with database.read() as connection:
        places = places_of(database, connection, kind, [chosen.set_id])
        if not places:
            return
        place, writer = places[chosen.set_id], Writer(kind)
        pixels = writer.pixels(chosen, condition, box or Box())
        statement = (
            f"SELECT p.pixel_id, {_sent(kind, chosen, place)} "
            f"FROM {partition(KINDS[kind].pixel_table, place.block_id)} p "
            f"WHERE {pixels} AND {writer.condition(chosen, place, condition)} ORDER BY p.pixel_id"
        )
        if limit is not None:
            statement += f" LIMIT {int(limit)}"
        rows = connection.execution_options(stream_results=True, max_row_buffer=_CHUNK).execute(
            text(statement), writer.parameters
        )
        for part in rows.partitions(_CHUNK):
            ids, *values = zip(*part, strict=True)
            pixel_ids = np.asarray(ids)
            columns = zip(KINDS[kind].columns, values, strict=True)
            yield {
                "pixel_id": pixel_ids,
                "x": (pixel_ids - 1) % across + 1,
                "y": (pixel_ids - 1) // across + 1,
                **{c.name: _unpacked_together(c, v) for c, v in columns},
            }


def _stored(kind: str) -> str:
    """Write all of a row of a block: the kind's columns, and the patterns of those that hold flags."""
    columns = KINDS[kind].columns
    names = [name for column in columns for name in (column.name, pattern_column(column)) if name]
    return ", ".join(f"array_send(p.{name})" for name in names)


def _sent(kind: str, chosen: SetRow, place: BlockPlace) -> str:
    """Write the kind's columns in one slot."""
    slot, nints = str(place.slot), str(chosen.nints or 0)
    sent = []
    for column in KINDS[kind].columns:
        value = value_of(column, row="p", slot=slot, nints=nints)
        if column.axes:
            # A slice of all there is would be a copy.
            value = f"array_send({f'p.{column.name}' if place.slots == 1 else value})"
        sent.append(value)
    return ", ".join(sent)


@dataclass(frozen=True, slots=True)
class _BlockRow:
    """What a block has of one pixel.

    Attributes
    ----------
    values : mapping of str to ndarray
        By column, the exposure, or the pattern, along the first axis; columns that are NULL are left out.
    patterns : mapping of str to ndarray of int
        By column of flags the pattern of each exposure, from 1; left out where it is 1 for all.
    columns : sequence of PixelColumn
        Of the kind.
    """

    values: Mapping[str, NDArray[Any]]
    patterns: Mapping[str, NDArray[Any]]
    columns: Sequence[PixelColumn]

    @classmethod
    def unpack(cls, kind: str, sent: Sequence[Any], nints: int | None) -> _BlockRow:
        columns = KINDS[kind].columns
        values, patterns = {}, {}
        parts = iter(sent)
        for column in columns:
            value = next(parts)
            of = next(parts) if pattern_column(column) else None
            if value is not None:
                array = _meant(column, array_of(value))
                values[column.name] = array.reshape(-1, nints or 1, *array.shape[1:]) if column.axes else array
            if of is not None:
                patterns[column.name] = array_of(of)
        return cls(values, patterns, columns)

    def at(self, slot: int) -> dict[str, Any]:
        """Give the columns of one exposure, as `read_pixel` does."""
        return {column.name: self._value(column, slot) for column in self.columns}

    def _value(self, column: PixelColumn, slot: int) -> Any:
        values = self.values.get(column.name)
        if values is None:
            return None
        place = slot
        if column.holds == "flags":
            place = int(self.patterns[column.name][slot - 1]) if column.name in self.patterns else 1
            if not place:
                return None
        value = values[place - 1]
        return value if column.axes or column.holds == "real" else int(value)


def _unpacked(column: PixelColumn, value: Any) -> Any:
    if value is None:
        return None
    if not column.axes:
        # A real comes as the shortest text that means it, which is another number in float64.
        return np.float32(value) if column.holds == "real" else value
    return _meant(column, array_of(value))


def _unpacked_together(column: PixelColumn, values: Sequence[Any]) -> Sequence[Any] | NDArray[Any]:
    present = [value for value in values if value is not None]
    arrays = arrays_of(present) if column.axes and present else None
    if arrays is None:
        return [_unpacked(column, value) for value in values]
    meant = _meant(column, arrays)
    if len(present) == len(values):
        return meant
    following = iter(meant)
    return [None if value is None else next(following) for value in values]


def _meant(column: PixelColumn, stored: NDArray[Any]) -> NDArray[Any]:
    return (stored.astype(np.int32) + 32768).astype(np.uint16) if column.holds == "dn" else stored
