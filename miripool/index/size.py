"""How much of the database a pool's index takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Database

__all__ = ["schema_bytes"]

_BYTES = (
    "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind IN ('r', 'm')"
)


def schema_bytes(database: Database) -> int:
    """Give the size of all tables of a schema, with their indexes.

    Parameters
    ----------
    database : Database
        The schema.

    Returns
    -------
    int
        Bytes on the server's disk.
    """
    ((found,),) = database.ask(_BYTES, (database.schema,))
    return int(found)
