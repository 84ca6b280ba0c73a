"""Schemas that are no pool's: marked, so that they can be dropped later where a reader still holds their tables.

To drop a table is to wait for all who have read it in a transaction that is still open; to rename its schema is not.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from ..errors import Conflict, ReadOnly, ServerError
from .connection import lock_key, quote
from .locks import brief, retrying
from .schema import pixel_set, pixel_use, state

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .connection import Database

__all__ = ["discard_index", "drop_left_over", "drop_now", "mark_unfinished", "set_aside"]

_UNFINISHED = "an index that is being made"
_OUT_OF_USE = "an index that is no longer in use"
"""Comments of schemas that are no pool's, yet or any more."""
_MARKED = text("SELECT nspname FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') = ANY(:marks)")
_TABLES = text(
    "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
    "WHERE nspname = :schema AND relname = ANY(:names) ORDER BY relname"
)
_MAY_RENAME = text("SELECT has_database_privilege(current_database(), 'CREATE')")
_TRIES = 3


def mark_unfinished(database: Database) -> None:
    """Mark a schema in which an index is being made: it can be dropped once no process works on it.

    Parameters
    ----------
    database : Database
        The schema.
    """
    with database.write() as connection:
        database.run(connection, f"COMMENT ON SCHEMA {quote(database.schema)} IS '{_UNFINISHED}'")


def set_aside(database: Database, connection: Connection) -> str:
    """Rename a schema, so that its name is free at the end of the transaction; readers are not waited for.

    Parameters
    ----------
    database : Database
        The schema.
    connection : Connection
        In a transaction, within `brief`: pixel rows that are being loaded are waited for. Their statements name the
        schema, and would go on in the one that takes its place.

    Returns
    -------
    str
        Its name from then on, for `drop_now`.
    """
    names = [pixel_set.name, pixel_use.name]
    there = connection.execute(_TABLES, {"schema": database.schema, "names": names}).scalars().all()
    new = f"miripool old {secrets.token_hex(8)}"
    script = [
        *(f"LOCK TABLE {database.table(name)} IN EXCLUSIVE MODE" for name in there),  # what readers hold is no obstacle
        f"COMMENT ON SCHEMA {quote(database.schema)} IS '{_OUT_OF_USE}'",
        f"ALTER SCHEMA {quote(database.schema)} RENAME TO {quote(new)}",
    ]
    database.run(connection, "; ".join(script))
    return new


def drop_now(database: Database, name: str, *, tries: int = _TRIES) -> bool:
    """Drop a schema that is no pool's, unless a session reads it: then it stays, marked, for `drop_left_over`.

    Parameters
    ----------
    database : Database
        Any schema of the same database.
    name : str
        The schema.
    tries : int, keyword-only
        A second or so each.

    Returns
    -------
    bool
        Whether it is gone.
    """
    for attempt in range(tries):
        time.sleep(0.2 if attempt else 0)
        # ReadOnly: it is another user's.
        with contextlib.suppress(ServerError, ReadOnly), database.write() as connection, brief(connection):
            database.run(connection, f"DROP SCHEMA IF EXISTS {quote(name)} CASCADE")
            return True
    return False


def discard_index(database: Database, pool_id: str) -> None:
    """Drop a pool's index, once no entry is being taken in; what a session reads is dropped later.

    Parameters
    ----------
    database : Database
        The pool's schema.
    pool_id : str
        The pool's.

    Raises
    ------
    Conflict
        If the schema is another pool's.
    """
    old = retrying(lambda deadline: _take_away(database, pool_id, deadline))
    if old is not None:
        drop_now(database, old)


def _take_away(database: Database, pool_id: str, deadline: float) -> str | None:
    """Free the schema's name; give its new one, None where it is gone at once."""
    with database.write() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(lock_key(f"pool {pool_id}"))))
        found = connection.execute(select(state.c.pool_id)).scalar()
        if found != pool_id:
            raise Conflict(f"the schema {database.schema!r} now belongs to pool {found}; it was not dropped")
        with brief(connection, deadline=deadline):
            if connection.execute(_MAY_RENAME).scalar_one():
                return set_aside(database, connection)
            # An administrator made the schema, and this user may make none.
            database.run(connection, f"DROP SCHEMA {quote(database.schema)} CASCADE")
            return None


def drop_left_over(database: Database, keeper: Connection, *, but: str | None) -> None:
    """Drop the marked schemas that no process works on or reads; the others stay.

    Parameters
    ----------
    database : Database
        Any schema of the same database.
    keeper : Connection
        In autocommit; it holds the lock on each schema's name meanwhile.
    but : str or None, keyword-only
        Name of one to be left alone.
    """
    for name in keeper.execute(_MARKED, {"marks": [_UNFINISHED, _OUT_OF_USE]}).scalars().all():
        if name == but or not keeper.execute(select(func.pg_try_advisory_lock(lock_key(name)))).scalar_one():
            continue
        try:
            drop_now(database, name, tries=1)
        finally:
            keeper.execute(select(func.pg_advisory_unlock(lock_key(name))))
