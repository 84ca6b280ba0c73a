"""Pixel sets in the index: what the rows of versions cover, and in which slot of which block they are now."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import func, select

from ...instruments.detector import Placement
from ...model.kinds import KINDS
from ..connection import quote
from ..schema import pixel_block, pixel_set, pixel_use
from ..selection import GIVEN_SERIALS, array_text
from .arrays import array_of
from .blocks import block_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from ...model.kinds import PixelColumn
    from ..connection import Database

__all__ = ["BlockPlace", "SetRow", "places_of", "sets_of"]


_S, _B, _U = pixel_set.c, pixel_block.c, pixel_use.c
_SETS = (
    select(
        *(_U.serial, _S.set_id, _B.detector, _B.first_x, _B.first_y, _B.columns, _B.rows, _B.nints, _B.ngroups),
        *(func.array_send(_S.common_groupdq), _S.kind, _S.digest),
    )
    .select_from(pixel_use)
    .join(pixel_set, _S.set_id == _U.set_id)
    .join(pixel_block, _B.block_id == _S.block_id)
    .where(_U.serial == func.any(GIVEN_SERIALS))
)


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

    def meant_by_null(self, column: PixelColumn) -> Any:
        """Give what NULL stands for in a pixel's row.

        Parameters
        ----------
        column : PixelColumn
            Of the kind.

        Returns
        -------
        ndarray, int or None
            Flags; None where there is no such dataset.
        """
        if not column.null:
            return None
        if column.null == "common":
            return self.common
        shape = (self.nints or 0, self.ngroups or 0)[: column.axes]
        return _zeros(shape) if shape else 0


@functools.lru_cache(maxsize=16)
def _zeros(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Make flags of which none is set, once for all exposures of a shape."""
    made = np.zeros(shape, np.int64)
    made.flags.writeable = False
    return made


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where the rows of a set are, until its block is merged with others.

    Attributes
    ----------
    block_id, slot : int
        The block, and which of its exposures, from 1.
    slots : int
        How many exposures the block has room for.
    """

    block_id: int
    slot: int
    slots: int

    @property
    def is_whole_block(self) -> bool:
        """Whether the arrays of the block are those of the set, so that nothing has to be cut out of them."""
        return self.slot == self.slots == 1


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
    if not serials:
        return []
    found = {row[0]: row for row in database.ask(*database.written(_SETS, serials=array_text(serials)))}
    # Sets of one block have the same placement, and most exposures the same pattern.
    placements: dict[tuple[int, ...], Placement] = {}
    patterns: dict[bytes, NDArray[np.int16]] = {}
    rows = []
    for serial in serials:
        if serial in found:
            _, set_id, detector, *place, nints, ngroups, sent, kind, digest = found[serial]
            key = tuple(place)
            if key not in placements:
                placements[key] = Placement(*key)
            pattern = None if sent is None else bytes(sent)
            if pattern is not None and pattern not in patterns:
                patterns[pattern] = array_of(pattern)
            common = None if pattern is None else patterns[pattern]
            rows.append(SetRow(serial, set_id, detector, placements[key], nints, ngroups, common, kind, digest))
    return rows


def places_of(database: Database, connection: Connection, kind: str, set_ids: Iterable[int]) -> dict[int, BlockPlace]:
    """Find where sets are, and keep their blocks from being dropped until the end of the transaction.

    The table of all blocks is locked first, as a question locks it that reads them: a block that was merged before is
    no longer named then, and one that is merged later stays until it is no longer read. Names in the transaction's
    later statements mean tables of the index.

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
    dict of int to BlockPlace
        By set_id; sets that were dropped are left out.
    """
    table = block_table(KINDS[kind].pixel_table)
    # One message to the server: these questions are asked for each click.
    statement = (
        f"SET LOCAL search_path TO {quote(database.schema)}; "
        f"LOCK TABLE ONLY {table} IN ACCESS SHARE MODE; "
        "SELECT set_id, block_id, slot, slots FROM pixel_set JOIN pixel_block USING (block_id) "
        f"WHERE set_id = ANY(CAST('{array_text(sorted(set(set_ids)))}' AS integer[]))"
    )
    found = connection.exec_driver_sql(statement.replace("%", "%%"))
    return {set_id: BlockPlace(*place) for set_id, *place in found}
