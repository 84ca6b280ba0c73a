"""Blocks: partitions of 64 exposures each, between a table of pixel rows and its sets.

ATTACH reads the bounds of all partitions that the new one comes beside. With all sets side by side it took the server
2 ms at 10 of them, 15 ms at 1000 and 32 ms at 2000, in each of an exposure's tables; in blocks it takes 3 to 5 ms
however many there are (PostgreSQL 18, two shared cores, time of the processor). For the same reason the first question
of a connection about one exposure takes 6 ms instead of 33 among 2000. Questions about all exposures take as long as
before, within the noise.

An index of before has sets side by side. They stay; exposures whose range has such sets go on beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from ..connection import lock_key

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ..connection import Database

__all__ = ["EXPOSURES", "find_block"]

EXPOSURES = 64
"""Of one block: a table of 4000 exposures has as many blocks as a block has exposures."""

_IS_THERE = text(
    "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = :schema AND c.relname = :name)"
)
_SETS_BESIDE = text(
    "SELECT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = CAST(:parent AS regclass) AND c.relkind = 'r' "
    "AND CAST(substring(c.relname FROM '_pixel_(\\d+)_\\d+$') AS integer) BETWEEN :first AND :last)"
)


def find_block(database: Database, connection: Connection, table: str, exp_id: int) -> str:
    """Find what a set is to be attached to; a block that is not there yet is made.

    Parameters
    ----------
    database : Database
        The index.
    connection : Connection
        In the transaction that attaches. Whoever makes a block holds the others of its exposures off until its end.
    table : str
        The table of pixel rows.
    exp_id : int
        The set's exposure.

    Returns
    -------
    str
        Name of the block, or of the table itself where sets of these exposures stand side by side in it.
    """
    number = exp_id // EXPOSURES
    name = f"{table}_block_{number}"
    wanted = {"schema": database.schema, "name": name}
    if connection.execute(_IS_THERE, wanted).scalar_one():
        return name
    connection.execute(select(func.pg_advisory_xact_lock(lock_key(f"block {database.schema} {name}"))))
    # A statement of its own, which sees what was committed while this one waited.
    if connection.execute(_IS_THERE, wanted).scalar_one():
        return name
    first, end = number * EXPOSURES, (number + 1) * EXPOSURES
    parent, block = database.table(table), database.table(name)
    if connection.execute(_SETS_BESIDE, {"parent": parent, "first": first, "last": end - 1}).scalar_one():
        return table
    for statement in (
        f"CREATE TABLE {block} (LIKE {parent} INCLUDING STORAGE) PARTITION BY RANGE (exp_id, set_id)",
        f"ALTER TABLE {parent} ATTACH PARTITION {block} FOR VALUES FROM ({first}, MINVALUE) TO ({end}, MINVALUE)",
    ):
        connection.exec_driver_sql(statement.replace("%", "%%"))
    return name
