"""Reading pixel rows: some pixels of one set, the pixels that satisfy a condition.

The tables of blocks are read, not the views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import text

from ...instruments.known import detector_named
from ...model.kinds import KINDS, PixelColumn
from ..selection import array_text
from .arrays import array_of, arrays_of, meant
from .blocks import block_table, partition, value_of
from .conditions import Box, Writer
from .sets import BlockPlace, SetRow, places_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ...query.tree import Node
    from ..connection import Database

__all__ = ["count_pixels", "count_rows", "read_pixels", "scan_pixels"]

_CHUNK = 20_000


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
        For each pixel_id that the set has its columns: arrays of shape (nints, ngroups) or (nints,), or numbers; None
        for NULL.
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
    database : Database
        The index.
    kind : str
        Of the sets.
    sets : sequence of SetRow
        Where to look.
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
        As for `read_pixels`.
    chosen : SetRow
        The set.
    condition, box : object
        As for `count_pixels`.
    limit : int, optional
        At most so many.

    Yields
    ------
    dict
        pixel_id, x, y and the columns, in the order of pixel_id: a sequence of what `read_pixels` gives, or one array
        of all if none is NULL.
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


def _sent(kind: str, chosen: SetRow, place: BlockPlace) -> str:
    """Write the kind's columns in one slot."""
    slot, nints = str(place.slot), str(chosen.nints or 0)
    sent = []
    for column in KINDS[kind].columns:
        value = value_of(column, row="p", slot=slot, nints=nints)
        if column.axes:
            # A slice of all there is would be a copy.
            value = f"array_send({f'p.{column.name}' if place.is_whole_block else value})"
        sent.append(value)
    return ", ".join(sent)


def _unpacked(column: PixelColumn, value: Any) -> Any:
    if value is None:
        return None
    if not column.axes:
        # A real comes as the shortest text that means it, which is another number in float64.
        return np.float32(value) if column.holds == "real" else value
    return meant(column, array_of(value))


def _unpacked_together(column: PixelColumn, values: Sequence[Any]) -> Sequence[Any] | NDArray[Any]:
    present = [value for value in values if value is not None]
    arrays = arrays_of(present) if column.axes and present else None
    if arrays is None:
        return [_unpacked(column, value) for value in values]
    those = meant(column, arrays)
    if len(present) == len(values):
        return those
    following = iter(those)
    return [None if value is None else next(following) for value in values]
