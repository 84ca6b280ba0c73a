"""One pixel through many exposures: its rows in the blocks that hold them.

The tables of blocks are read, not the views: a pixel's row has all exposures of its block, and NumPy finds each one's
part sooner than PostgreSQL.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import ARRAY, Integer, String, bindparam, cast, func, select

from ...model.kinds import KINDS
from ..copiedrows import copy_rows
from ..schema import pixel_set
from ..selection import array_text
from .arrays import array_of, meant
from .blocks import block_table, pattern_column
from .fields import Fields
from .sets import BlockPlace, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ..connection import Database

__all__ = ["PixelRow", "read_common", "read_history"]

_NOWHERE = BlockPlace(0, 0, 0)
_S = pixel_set.c
_COMMON = (
    select(func.array_send(_S.common_groupdq), func.array_send(func.array_agg(_S.set_id)))
    .where(_S.set_id == func.any(cast(bindparam("sets", type_=String), ARRAY(Integer))))
    .where(_S.common_groupdq.is_not(None))
    .group_by(_S.common_groupdq)
)
_FEW_BLOCKS = 50
"""Blocks that are named in a statement, so that the planner leaves out the partitions of all others.

A list of many takes longer to compare with each partition than the partitions that it leaves out.
"""


@dataclass(frozen=True, slots=True)
class PixelRow:
    """What a block has of one pixel.

    Attributes
    ----------
    values : mapping of str to ndarray
        By column: integrations along the first axis, those of the first exposure, or pattern, before those of the
        next; for a column without axes, exposures or patterns. Columns that are NULL are left out.
    patterns : mapping of str to ndarray of int
        By column of flags the pattern of each exposure, from 1; left out where it is 1 for all. 0 stands for what a
        NULL of the column means.
    """

    values: Mapping[str, NDArray[Any]]
    patterns: Mapping[str, NDArray[Any]]


def read_history(
    database: Database,
    kind: str,
    sets: NDArray[np.integer[Any]],
    blocks: NDArray[np.integer[Any]],
    slots: NDArray[np.integer[Any]],
    pixel_id: int,
) -> tuple[list[PixelRow], NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """Read a pixel's rows in the blocks of some sets.

    Parameters
    ----------
    database : Database
        The index.
    kind : str
        Of the sets.
    sets, blocks, slots : ndarray of int
        The sets, which cover the pixel, and where they were when the caller looked.
    pixel_id : int
        The pixel.

    Returns
    -------
    list of PixelRow
        One for each block.
    which, slots : ndarray of int
        For each set its row in the list, -1 for one that was dropped in the meantime, and its exposure in that, from 1.
    """
    wanted, which = np.unique(blocks, return_inverse=True)
    found = _rows(database, kind, wanted.tolist(), pixel_id, database.copied)
    if len(found) < len(wanted):
        # Blocks never change, but a merge has dropped some since the caller looked. Now those of the sets are held.
        with database.read() as connection:
            held = places_of(database, connection, kind, sets.tolist())
            places = [held.get(s, _NOWHERE) for s in sets.tolist()]
            wanted, which = np.unique([place.block_id for place in places], return_inverse=True)
            slots = np.asarray([place.slot for place in places])
            ask = functools.partial(copy_rows, connection.connection.dbapi_connection)
            found = _rows(database, kind, wanted.tolist(), pixel_id, ask)
    order = {block: i for i, block in enumerate(found)}
    return list(found.values()), np.asarray([order.get(block, -1) for block in wanted.tolist()])[which], slots


def _rows(
    database: Database, kind: str, blocks: Sequence[int], pixel_id: int, ask: Callable[[str], Sequence[bytes]]
) -> dict[int, PixelRow]:
    """Read a pixel's rows by block; blocks that are not there any more are left out."""
    fields = Fields(ask(_statement(database, kind, blocks, pixel_id)))
    numbers = fields.numbers("i4")[0].tolist()
    held: dict[str, list[bytes | None]] = {name: fields.contents() for name in _names(kind)}
    found, among = {}, set(blocks)
    for i in (i for i, number in enumerate(numbers) if number in among):
        values, patterns = {}, {}
        for column in KINDS[kind].columns:
            if (sent := held[column.name][i]) is not None:
                values[column.name] = meant(column, array_of(sent))
            if (of := pattern_column(column)) and (sent := held[of][i]) is not None:
                patterns[column.name] = array_of(sent)
        found[numbers[i]] = PixelRow(values, patterns)
    return found


def _names(kind: str) -> list[str]:
    """List the columns of a block: the kind's, and the patterns of those that hold flags."""
    return [name for column in KINDS[kind].columns for name in (column.name, pattern_column(column)) if name]


def _statement(database: Database, kind: str, blocks: Sequence[int], pixel_id: int) -> str:
    """Write the question for a pixel's rows in some blocks, with all that is in them."""
    if len(blocks) <= _FEW_BLOCKS:
        among = f"IN ({', '.join(map(str, blocks))})"
    else:
        among = f"BETWEEN {blocks[0]} AND {blocks[-1]}"
    table = database.table(block_table(KINDS[kind].pixel_table)).replace("%", "%%")
    names = ", ".join(_names(kind))
    return f"SELECT block_id, {names} FROM {table} WHERE pixel_id = {int(pixel_id)} AND block_id {among}"


def read_common(database: Database, sets: Sequence[int]) -> list[tuple[NDArray[np.int16], NDArray[np.int32]]]:
    """Read the group DQ of the pixels that have none of their own.

    Parameters
    ----------
    database : Database
        The index.
    sets : sequence of int
        Of pixel rows.

    Returns
    -------
    list of (ndarray of int16, ndarray of int32)
        Each different pattern, shape (nints, ngroups), and the sets that have it. Sets without group DQ are left out.
    """
    found = database.ask(*database.written(_COMMON, sets=array_text(sets)))
    return [(array_of(pattern), array_of(those)) for pattern, those in found]
