"""Loading a pixel set: a partition made, filled, indexed and attached in one transaction, or nothing.

A set belongs to one exposure and is claimed by inserting its row: of two processes the second waits, and finds it made.
The partition is attached last, so nobody who reads waits; before that it is nobody else's, so COPY can write it frozen
and, with ``wal_level=minimal``, unlogged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from ...errors import FormatError, ProductNotFound
from ...model.kinds import KINDS
from ..connection import quote
from ..pixelset import REFERENCE
from ..schema import exposure, pixel_set, pixel_use, product
from .blocks import find_block
from .forms import common_groupdq, rows_of
from .timing import insert_timings
from .wire import CopyReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from ...model.dataset import Dataset
    from ...model.timing import Timing
    from ..connection import Database
    from ..pixelset import PixelSet

__all__ = ["load_rows"]

_MOST_NUMBERED = (1 << 20) - 1
"""Greatest exp_id, and serial, that fits into the keys of the views: 20 bits of 63."""
_MOST_PIXELS = (1 << 21) - 1
"""Greatest pixel_id that fits into the keys."""
_IN_VIEWS = frozenset({"raw_pixel", "ramp_pixel", "rateints_pixel"})
"""Tables that the views read, which are MIRI's."""
_MOST_GROUPS = (1 << 22) - 1
"""Groups of one pixel, through all integrations, that fit into the keys."""


def load_rows(
    database: Database,
    serial: int,
    pixels: PixelSet,
    datasets: Mapping[str, Dataset],
    timing: Timing | None = None,
) -> bool:
    """Give a version its pixel rows: those that are there, or new ones.

    Parameters
    ----------
    database : Database
        The index.
    serial : int
        The version's.
    pixels : PixelSet
        What they are made from.
    datasets : mapping of str to Dataset
        The version's.
    timing : Timing, optional
        When the version's integrations took place, to be kept with the rows.

    Returns
    -------
    bool
        True if rows were made, False if the version shares another's.

    Raises
    ------
    FormatError
        If the pool has more exposures than keys.
    ProductNotFound
        If the version is in the trash by now.
    """
    while True:
        with database.write() as connection:
            row = connection.execute(
                select(exposure.c.exp_id)
                .join(product, product.c.name == exposure.c.name)
                .where(product.c.serial == serial, product.c.removed.is_(None))
            ).first()
            if row is None:
                raise ProductNotFound(f"version {serial} is in the trash; it gets its pixel rows when it is restored")
            _refuse_what_has_no_key(row.exp_id, serial, pixels)
            set_id, made = _claim(connection, row.exp_id, pixels, datasets)
            if set_id is None:
                continue  # it was there, and has just been dropped
            if made:
                for table in _tables(pixels):
                    _load_table(database, connection, table, row.exp_id, set_id, pixels, datasets)
            statement = postgresql.insert(pixel_use).values(serial=serial, set_id=set_id)
            connection.execute(
                statement.on_conflict_do_update(index_elements=["serial"], set_={"set_id": set_id, "reason": None})
            )
            if timing is not None:
                insert_timings(connection, {serial: timing})
            return made


def _refuse_what_has_no_key(exp_id: int, serial: int, pixels: PixelSet) -> None:
    groups = (pixels.nints or 1) * (pixels.ngroups or 1)
    if groups > _MOST_GROUPS:
        raise FormatError(f"it has {groups} groups of each pixel, and pixel rows can hold {_MOST_GROUPS}")
    detector = pixels.detector
    if KINDS[pixels.kind].pixel_table in _IN_VIEWS and detector.pixels > _MOST_PIXELS:
        raise FormatError(
            f"{detector.name} has {detector.pixels} pixels, more than the {_MOST_PIXELS} that the SQL views, made for "
            "MIRI, can hold; its products need a kind with a table of its own"
        )
    if exp_id > _MOST_NUMBERED or serial > _MOST_NUMBERED:
        raise FormatError(
            f"pixel rows can hold {_MOST_NUMBERED} exposures and versions of a pool; this is exposure {exp_id}, "
            f"version {serial}"
        )


def _tables(pixels: PixelSet) -> list[str]:
    kind = KINDS[pixels.kind]
    return [kind.pixel_table, *([kind.reference_table] if REFERENCE in pixels.datasets else [])]


def _claim(
    connection: Connection, exp_id: int, pixels: PixelSet, datasets: Mapping[str, Dataset]
) -> tuple[int | None, bool]:
    """Find the set, and keep it from being dropped, or make its row; waits for who makes the same one now."""
    c = pixel_set.c
    named = (c.exp_id == exp_id, c.kind == pixels.kind, c.digest == pixels.digest)
    held = select(c.set_id).where(*named).with_for_update(read=True, key_share=True)
    known = connection.execute(held).scalar()
    if known is not None:
        return known, False
    common = common_groupdq(pixels, datasets)
    values: dict[str, Any] = {
        "exp_id": exp_id,
        "kind": pixels.kind,
        "digest": pixels.digest,
        "first_x": pixels.placement.x,
        "first_y": pixels.placement.y,
        "columns": pixels.placement.columns,
        "rows": pixels.placement.rows,
        "nints": pixels.nints,
        "ngroups": pixels.ngroups,
        "common_groupdq": None if common is None else common.tolist(),
    }
    made = connection.execute(
        postgresql.insert(pixel_set).values(values).on_conflict_do_nothing().returning(c.set_id)
    ).scalar()
    return (made, True) if made is not None else (connection.execute(held).scalar(), False)


def _load_table(
    database: Database,
    connection: Connection,
    table: str,
    exp_id: int,
    set_id: int,
    pixels: PixelSet,
    datasets: Mapping[str, Dataset],
) -> None:
    common = connection.execute(select(pixel_set.c.common_groupdq).where(pixel_set.c.set_id == set_id)).scalar_one()
    pattern = None if common is None else np.asarray(common, np.int16)
    columns, chunks = rows_of(pixels, datasets, table, exp_id=exp_id, set_id=set_id, common=pattern)
    name = f"{table}_{exp_id}_{set_id}"
    part, parent = database.table(name), database.table(table)
    constraint = quote(f"{name}_bounds")
    _run(
        connection,
        f"CREATE TABLE {part} (LIKE {parent} INCLUDING STORAGE, "
        f"CONSTRAINT {constraint} CHECK (exp_id = {exp_id} AND set_id = {set_id})) "
        "WITH (toast_tuple_target = 8160, autovacuum_enabled = off)",
    )
    reader = CopyReader(chunks)
    try:
        database.copy(connection, name, columns, reader, options="FORMAT binary, FREEZE")
    except BaseException:
        if reader.error is not None:
            raise reader.error from None
        raise
    # Unique indexes tell the planner how many rows a pixel has; an ANALYZE would cost up to a second.
    _run(connection, f"CREATE UNIQUE INDEX ON {part} (pixel_id)")
    _run(connection, f"CREATE UNIQUE INDEX ON {part} (y, x)")
    bounds = f"FROM ({exp_id}, {set_id}) TO ({exp_id}, {set_id + 1})"
    block = database.table(find_block(database, connection, table, exp_id))
    _run(connection, f"ALTER TABLE {block} ATTACH PARTITION {part} FOR VALUES {bounds}")
    _run(connection, f"ALTER TABLE {part} DROP CONSTRAINT {constraint}")


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement.replace("%", "%%"))
