"""Pixel sets in the index: what the rows of versions cover, and in which slot of which block they are now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ...instruments.detector import Placement
from ...model.kinds import KINDS
from ..connection import quote
from ..schema import pixel_block, pixel_set, pixel_use
from ..selection import array_text, is_one_of
from .arrays import array_of
from .blocks import block_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from ..connection import Database

__all__ = ["Place", "SetRow", "places_of", "sets_of"]


@dataclass(frozen=True, slots=True)
class SetRow:
    """The pixel rows of one version.

    Attributes
    ----------
    serial : int
        The version's.
    set_id : int
        Their number.
    detector : str
        Whose pixels they are.
    placement : Placement
        What they cover.
    nints, ngroups : int or None
        Length of their axes.
    common : ndarray of int16, shape (nints, ngroups), or None
        Group DQ of pixels that have none of their own.
    kind, digest : str
        What they were made from.
    """

    serial: int
    set_id: int
    detector: str
    placement: Placement
    nints: int | None
    ngroups: int | None
    common: NDArray[np.int16] | None
    kind: str
    digest: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows of a set are, until its block is merged with others.

    Attributes
    ----------
    block_id, slot : int
        The block, and which of its exposures, from 1.
    """

    block_id: int
    slot: int


def sets_of(database: Database, serials: Sequence[int]) -> list[SetRow]:
    """Find the pixel rows of versions.

    Parameters
    ----------
    database : Database
        The index.
    serials : sequence of int
        The versions.

    Returns
    -------
    list of SetRow
        In the order of the serials; versions without rows are left out.
    """
    s, b, u = pixel_set.c, pixel_block.c, pixel_use.c
    statement = (
        select(
            u.serial,
            s.set_id,
            b.detector,
            b.first_x,
            b.first_y,
            b.columns,
            b.rows,
            b.nints,
            b.ngroups,
            func.array_send(s.common_groupdq),
            s.kind,
            s.digest,
        )
        .select_from(pixel_use)
        .join(pixel_set, s.set_id == u.set_id)
        .join(pixel_block, b.block_id == s.block_id)
        .where(is_one_of(u.serial, serials))
    )
    with database.read() as connection:
        rows = {row[0]: row for row in connection.execute(statement)} if serials else {}
    return [
        SetRow(
            *row[:3],
            placement=Placement(*row[3:7]),
            nints=row[7],
            ngroups=row[8],
            common=None if row[9] is None else array_of(row[9]),
            kind=row[10],
            digest=row[11],
        )
        for row in (rows[serial] for serial in serials if serial in rows)
    ]


def places_of(database: Database, connection: Connection, kind: str, set_ids: Iterable[int]) -> dict[int, Place]:
    """Find where sets are, and keep their blocks from being dropped until the end of the transaction.

    The table of all blocks is locked first, as a question locks it that reads them: a block that was merged before is
    no longer named then, and one that is merged later stays until nobody reads it. Names in the transaction's later
    statements mean tables of the index.

    Parameters
    ----------
    database : Database
        The index.
    connection : sqlalchemy.Connection
        The transaction, which then reads the blocks.
    kind : str
        Of the sets.
    set_ids : iterable of int
        The sets.

    Returns
    -------
    dict of int to Place
        By set_id; sets that were dropped are left out.
    """
    table = block_table(KINDS[kind].pixel_table)
    # One message to the server: these questions are asked for each click.
    statement = (
        f"SET LOCAL search_path TO {quote(database.schema)}; "
        f"LOCK TABLE ONLY {table} IN ACCESS SHARE MODE; "
        "SELECT set_id, block_id, slot FROM pixel_set "
        f"WHERE set_id = ANY(CAST('{array_text(sorted(set(set_ids)))}' AS integer[]))"
    )
    found = connection.exec_driver_sql(statement.replace("%", "%%"))
    return {set_id: Place(block_id, slot) for set_id, block_id, slot in found}
