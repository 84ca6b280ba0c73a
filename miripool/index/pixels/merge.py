"""Merging small blocks into full ones: their sets are loaded again from the arrays, into a new block.

Until that transaction ends, everybody reads the old blocks; then the sets are in the new one, and the old ones are
empty and can be swept. Places of sets that were dropped since go with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import ARRAY, Integer, String, cast, func, literal, select, update

from ..connection import lock_key
from ..message import Message
from ..schema import pixel_block, pixel_set, pixel_use
from ..selection import array_text
from .blocks import capacity
from .forms import SlotMember
from .load import fill_block, insert_block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ...model.dataset import Dataset
    from ..connection import Database
    from ..pixelset import PixelSet

__all__ = ["Merge", "merge_sets", "plan_merges"]


@dataclass(frozen=True, slots=True)
class Merge:
    """Sets that are to share a block.

    Attributes
    ----------
    kind, detector : str
        Theirs.
    first_x, first_y : int
        Column and row of their first pixel in the FULL array, from 1.
    columns, rows : int
        Of each exposure.
    nints, ngroups : int or None
        Length of the axes of integrations and of groups, where the kind has them.
    datasets : tuple of str
        Columns that hold values.
    most : int
        Sets that a block has room for.
    sets : mapping of int to int
        For each set_id the serial of a version that uses it, in the order of the exposures.
    blocks : frozenset of int
        The block_id of those that they are in.
    """

    kind: str
    detector: str
    first_x: int
    first_y: int
    columns: int
    rows: int
    nints: int | None
    ngroups: int | None
    datasets: tuple[str, ...]
    most: int
    sets: Mapping[int, int]
    blocks: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Block:
    """A block as it is."""

    block_id: int
    slots: int
    sets: list[tuple[int, int, int]]
    """exp_id, set_id, serial of those that are used."""


def plan_merges(database: Database) -> list[Merge]:
    """Find the sets that would fill blocks better.

    Parameters
    ----------
    database : Database
        The index.

    Returns
    -------
    list of Merge
        Of each detector, place and shape those that together make fewer blocks, or blocks without places of dropped
        sets.
    """
    merges = []
    for key, blocks in _read_blocks(database).items():
        kind, detector, x, y, columns, rows, nints, ngroups, datasets = key
        most = capacity(kind, columns * rows, nints, ngroups, datasets)
        sparse = [b for b in blocks if len(b.sets) < most or b.slots > len(b.sets)]
        sets = sorted((one, b.block_id) for b in sparse for one in b.sets)
        needed = math.ceil(len(sets) / most)
        if needed == len(sparse) and all(b.slots == len(b.sets) for b in sparse):
            continue
        for start in range(0, len(sets), most):
            part = sets[start : start + most]
            members = {set_id: serial for (_, set_id, serial), _ in part}
            common = (kind, detector, x, y, columns, rows, nints, ngroups, datasets)
            merges.append(Merge(*common, most, members, frozenset(block for _, block in part)))
    return merges


def _read_blocks(database: Database) -> dict[tuple[Any, ...], list[_Block]]:
    """Read the blocks that hold used sets, by what those that are merged have in common."""
    b, s, u = pixel_block.c, pixel_set.c, pixel_use.c
    statement = (
        select(
            *(b.kind, b.detector, b.first_x, b.first_y, b.columns, b.rows, b.nints, b.ngroups, b.datasets),
            *(b.block_id, b.slots, s.exp_id, s.set_id, func.min(u.serial)),
        )
        .join(pixel_set, s.block_id == b.block_id)
        .join(pixel_use, u.set_id == s.set_id)
        .group_by(b.block_id, s.set_id)
        .order_by(b.block_id, s.set_id)
    )
    found: dict[tuple[Any, ...], dict[int, _Block]] = {}
    with database.read() as connection:
        for *common, datasets, block_id, slots, exp_id, set_id, serial in connection.execute(statement):
            group = found.setdefault((*common, tuple(datasets)), {})
            group.setdefault(block_id, _Block(block_id, slots, [])).sets.append((exp_id, set_id, serial))
    return {key: list(group.values()) for key, group in found.items()}


def merge_sets(
    database: Database, merge: Merge, pixels: PixelSet, datasets: Mapping[int, Mapping[str, Dataset]]
) -> int:
    """Load sets again, into a block of their own.

    Parameters
    ----------
    database : Database
        The index.
    merge : Merge
        From `plan_merges`.
    pixels : PixelSet
        What the rows of one of them are made from.
    datasets : mapping
        For each set_id the datasets of a version that uses it.

    Returns
    -------
    int
        Sets that are in the new block: not those that were dropped meanwhile, and none where another process merged
        some of them meanwhile.
    """
    c = pixel_set.c
    held = select(c.set_id, c.exp_id, c.block_id, c.common_groupdq).where(c.set_id.in_(list(datasets)))
    # Moving a set changes a unique key. The lock for that comes before any table's: loaders also take the sets first,
    # in this order, and attach their block after. A loader that shares one of the sets waits for the whole merge.
    # Readers take no lock on sets, and never wait.
    held = held.order_by(c.set_id).with_for_update()
    with database.write() as connection:
        # Of two that merge the same sets the second finds them moved.
        connection.execute(select(func.pg_advisory_xact_lock(lock_key(f"merge {database.schema}"))))
        locked = connection.execute(held).all()
        found = sorted(locked, key=lambda row: (row.exp_id, row.set_id))
        if not found or any(row.block_id not in merge.blocks for row in found):
            return 0
        block_id = insert_block(database, connection, pixels, len(found))
        members = [SlotMember(datasets[row.set_id], _pattern(row.common_groupdq)) for row in found]
        fill_block(Message(database, connection), block_id, pixels, members)
        sets = cast(literal(array_text([row.set_id for row in found]), String), ARRAY(Integer))
        moved = update(pixel_set).where(c.set_id == func.any(sets))
        connection.execute(moved.values(block_id=block_id, slot=func.array_position(sets, c.set_id)))
        return len(found)


def _pattern(common: Sequence[Sequence[int]] | None) -> NDArray[np.int16] | None:
    return None if common is None else np.asarray(common, np.int16)
