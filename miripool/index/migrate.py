"""Migrations: numbered SQL files that make a pool's tables, and make them newer.

A new schema is made by all of them in one transaction. An older one is made newer step by step, each in one
transaction together with its stamp in `pool_state`. Both are under an advisory lock, so that processes that open a pool
at once wait for the first; a killed one leaves the version before.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from ..errors import Conflict, NewerFormat, PoolNotFound, ReadOnly
from .connection import Database, lock_key, quote
from .sqlerrors import missing_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

__all__ = ["Migration", "find_owner", "make", "migrations", "prepare"]

_FILE = re.compile(r"(\d{4})_\w+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step.

    Attributes
    ----------
    number : int
        The schema version that it leads to.
    name : str
        Its file.
    script : str
        SQL, names unqualified.
    """

    number: int
    name: str
    script: str


@functools.cache
def migrations() -> tuple[Migration, ...]:
    """List the migrations that this miripool ships.

    Returns
    -------
    tuple of Migration
        From 1 without gaps.
    """
    files = Path(__file__).with_name("migrations").iterdir()
    found = sorted((f for f in files if _FILE.fullmatch(f.name)), key=lambda f: f.name)
    return tuple(Migration(int(f.name[:4]), f.name, f.read_text("utf-8")) for f in found)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What a schema says of itself."""

    pool_id: str
    version: int


def prepare(
    database: Database,
    pool_id: str,
    *,
    first_serial: int = 0,
    create: bool = True,
    steps: Sequence[Migration] | None = None,
) -> None:
    """Make sure that a schema holds a pool's tables as this miripool knows them.

    Where all is there, this is one statement.

    Parameters
    ----------
    database : Database
        The schema.
    pool_id : str
        The pool that it must belong to.
    first_serial : int, keyword-only
        The first serial that a new pool will use.
    create : bool, keyword-only
        Make what is missing.
    steps : sequence of Migration, keyword-only, optional
        Instead of those that are shipped.

    Raises
    ------
    Conflict
        If the schema belongs to another pool or to something else.
    NewerFormat
        If a newer miripool made it.
    PoolNotFound
        If there is none and `create` is False, or nothing may be written.
    ReadOnly
        If it is older and nothing may be written.
    """
    steps = migrations() if steps is None else steps
    latest = steps[-1].number
    stamp = _find_stamp(database)
    if stamp is not None:
        _check(database, stamp, pool_id, latest)
        if stamp.version == latest:
            return
        if database.read_only:
            raise ReadOnly(
                f"the index {database.schema!r} has schema version {stamp.version}, but this miripool needs "
                f"{latest}; open the pool once as a user who can write, which brings the index up to date"
            )
    elif database.read_only or not create:
        raise PoolNotFound(
            f"there is no index {database.schema!r} at {database.where}; "
            "open the pool as a user who can write, which makes the index"
        )
    from .locks import retrying

    while not retrying(lambda deadline: _step(database, pool_id, first_serial, steps, deadline)):
        pass


def make(
    database: Database,
    connection: Connection,
    pool_id: str,
    *,
    first_serial: int = 0,
    steps: Sequence[Migration] | None = None,
) -> None:
    """Make a new schema, within a transaction.

    Parameters
    ----------
    database : Database
        The schema; there is none of that name, or it is empty.
    connection : sqlalchemy.Connection
        In the transaction.
    pool_id : str
        The pool that it will belong to.
    first_serial : int, keyword-only
        The first serial that the pool will use.
    steps : sequence of Migration, keyword-only, optional
        Instead of those that are shipped.

    Raises
    ------
    Conflict
        If the schema holds something else.
    """
    from sqlalchemy import insert

    from .schema import state

    first, *others = migrations() if steps is None else steps
    _make_schema(database, connection)
    database.run(connection, first.script)
    latest = others[-1].number if others else first.number
    connection.execute(insert(state).values(_new_state(pool_id, latest, first_serial)))
    for migration in others:
        database.run(connection, migration.script)


def find_owner(url: str, schema: str) -> str | None:
    """Tell whose index a schema is.

    Parameters
    ----------
    url : str
        The database.
    schema : str
        Its name.

    Returns
    -------
    str or None
        The pool's id; None where it is no index.
    """
    database = Database(url, schema)
    try:
        stamp = _find_stamp(database)
    finally:
        database.close()
    return None if stamp is None else stamp.pool_id


def _find_stamp(database: Database) -> _Stamp | None:
    with database.translating():
        try:
            rows = database.fetch(*database.prepared("stamp"))
        except psycopg2.Error as error:
            if missing_table(error):
                return None
            raise
    return _Stamp(*rows[0]) if rows else None


def _read_stamp(connection: Connection) -> _Stamp | None:
    from sqlalchemy import select

    from .schema import state

    row = connection.execute(select(state.c.pool_id, state.c.schema_version)).first()
    return None if row is None else _Stamp(*row)


def _check(database: Database, stamp: _Stamp, pool_id: str, latest: int) -> None:
    if stamp.pool_id != pool_id:
        raise Conflict(
            f"the schema {database.schema!r} at {database.where} is the index of pool {stamp.pool_id}, "
            f"not of pool {pool_id}. If pool {stamp.pool_id} no longer exists, e.g. because it was deleted from "
            "another home, `miripool reindex POOL --yes` replaces its index by the one of this pool; for a pool that "
            "is yet to be created, drop the schema in the database. Otherwise give the pool another name, or use "
            "another database"
        )
    if stamp.version > latest:
        raise NewerFormat(
            f"the index {database.schema!r} has schema version {stamp.version}, but this miripool knows versions up to "
            f"{latest}; update miripool"
        )


def _step(database: Database, pool_id: str, first_serial: int, steps: Sequence[Migration], deadline: float) -> bool:
    """Make a new schema, or run the next migration of an older one; tell whether none is missing then."""
    from sqlalchemy import func, select, update

    from .locks import brief
    from .schema import state

    latest = steps[-1].number
    with database.write() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(lock_key(f"schema {database.schema}"))))
        stamp = _read_stamp(connection) if _has_state(database, connection) else None
        if stamp is None:
            make(database, connection, pool_id, first_serial=first_serial, steps=steps)
            return True
        _check(database, stamp, pool_id, latest)
        for migration in steps:
            if migration.number == stamp.version + 1:
                with brief(connection, deadline=deadline):
                    database.run(connection, migration.script)
                connection.execute(update(state).values(schema_version=migration.number))
                return migration.number == latest
    return True


def _has_state(database: Database, connection: Connection) -> bool:
    from sqlalchemy import text

    from .schema import state

    # Not by to_regclass: it may remember that the schema was not there before this transaction waited for the lock.
    look = text(
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON c.relnamespace = n.oid "
        "WHERE n.nspname = :schema AND c.relname = :table)"
    )
    return bool(connection.execute(look, {"schema": database.schema, "table": state.name}).scalar_one())


def _make_schema(database: Database, connection: Connection) -> None:
    """Make the schema, or take an empty one that an administrator made."""
    from sqlalchemy import text

    look = text(
        "SELECT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid) "
        "FROM pg_namespace n WHERE n.nspname = :schema"
    )
    in_use = connection.execute(look, {"schema": database.schema}).scalar()
    if in_use is None:
        database.run(connection, f"CREATE SCHEMA {quote(database.schema)}")
    elif in_use:
        raise Conflict(
            f"the schema {database.schema!r} at {database.where} holds tables that do not belong to a pool; "
            "give the pool another name, or use another database"
        )


def _new_state(pool_id: str, version: int, first_serial: int) -> dict[str, Any]:
    return {
        "pool_id": pool_id,
        "schema_version": version,
        "applied": -1,
        "applied_digest": None,
        "next_serial": first_serial,
        "products": 0,
        "analyzed_products": 0,
    }
