"""An index made again from the folder alone, beside the one there is: to be compared with it, or to take its place."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import secrets
from typing import TYPE_CHECKING

from sqlalchemy import exists, func, select, text

from ..errors import Conflict, MiripoolError
from . import apply, migrate
from .connection import lock_key, quote
from .discard import drop_left_over, drop_now, mark_unfinished, set_aside
from .footprints import complete
from .locks import brief, retrying
from .reader import grant_reader, is_granted
from .schema import (
    corrected_exposure,
    dataset,
    exposure,
    footprint,
    keyword,
    keyword_name,
    link,
    made_from,
    moment,
    product,
    state,
    tag,
    tag_event,
    version_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection, Table

    from ..store.journal import Entry
    from ..store.manifest import Manifest
    from .connection import Database

__all__ = ["compare_with", "identify", "renew"]

_TABLES: tuple[Table, ...] = (
    state, product, dataset, keyword, keyword_name, tag, tag_event, link, made_from, exposure, corrected_exposure,
    moment, version_state, footprint,
)  # fmt: skip
_SCHEMA = text("SELECT oid FROM pg_namespace WHERE nspname = :schema")
_LOADS_SECONDS = 5.0
"""Pixel rows of a FULL exposure are loaded in 6.5 s: of two tries one comes late enough."""
_OBJECTS = text(
    "SELECT relkind, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
    "WHERE nspname = :schema AND relkind IN ('r', 'p', 'v', 'i', 'I') AND NOT relispartition"
)
_LEFT_OUT = {"pool_state": {"analyzed_products", "has_past"}, "footprint": {"cells"}}
"""Columns that do not follow from the folder alone: cells depend on the library that finds them, too."""
_ORDER = {("tag_event", "id"): "row_number() OVER (ORDER BY id) AS id"}
"""Numbers of which the order alone does: after a crash PostgreSQL leaves some out."""


def compare_with(
    database: Database,
    pool_id: str,
    first_serial: int,
    since: Callable[[int, str | None], Iterable[Entry]],
    manifest: Callable[[str], Manifest],
) -> tuple[int, list[tuple[str, str]]]:
    """Compare an index with its journal and manifests; others may write meanwhile.

    Parameters
    ----------
    database : Database
        The index.
    pool_id : str
        The pool's.
    first_serial : int
        The pool's.
    since : callable
        Gives the entries after a number, of which the digest is given.
    manifest : callable
        Gives the manifest of a digest.

    Returns
    -------
    n : int
        Number of the last entry that the index has taken in.
    list of (str, str)
        Tables that differ, and how.

    Raises
    ------
    IntegrityError
        If the journal is damaged, or is not the one that the index has followed.
    ReadOnly
        If this user can't make tables.
    """
    complete(database)
    with database.immediately() as keeper:
        drop_left_over(database, keeper, but=None)
    while (compared := _compare_at_once(database, pool_id, first_serial, since, manifest)) is None:
        pass  # a new index has taken the place of the one that was looked at
    return compared


def _compare_at_once(
    database: Database,
    pool_id: str,
    first_serial: int,
    since: Callable[[int, str | None], Iterable[Entry]],
    manifest: Callable[[str], Manifest],
) -> tuple[int, list[tuple[str, str]]] | None:
    """Compare the tables as they are at one moment; None where the index was replaced meanwhile.

    All of it is one transaction, which is rolled back: the new index is never on the disk, nothing has to be dropped,
    and a process that is killed leaves nothing.
    """
    scratch = database.beside(f"miripool new {secrets.token_hex(6)}")
    with contextlib.closing(scratch), scratch.read() as connection:
        # What others write from here on is not seen, what this transaction writes to the other schema is.
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        before = connection.execute(_SCHEMA, {"schema": database.schema}).scalar()
        index = f"{quote(database.schema)}.{quote(state.name)}".replace("%", "%%")
        taken, has_past = connection.exec_driver_sql(f"SELECT applied, has_past FROM {index}").one()
        migrate.make(scratch, connection, pool_id, first_serial=first_serial)
        objects = _compare_objects(connection, database, scratch)
        apply.play(scratch, connection, _until(taken, since(-1, None)), manifest)
        compared = _TABLES if has_past else [table for table in _TABLES if table not in (moment, version_state)]
        found = [(table.name, _compare(connection, database, scratch, table)) for table in compared]
    # By a transaction of its own, which sees what was renamed.
    if identify(database) != before:
        return None
    return taken, [(name, problem) for name, problem in (*found, ("schema", objects)) if problem is not None]


def _until(n: int, entries: Iterable[Entry]) -> Iterator[Entry]:
    return itertools.takewhile(lambda entry: entry.n <= n, entries)


def identify(database: Database) -> int | None:
    """Tell an index from the one that takes its place.

    Parameters
    ----------
    database : Database
        The index.

    Returns
    -------
    int or None
        PostgreSQL's number of its schema: another one once `renew` has put a new index there. None where there is none.
    """
    with database.read() as connection:
        found: int | None = connection.execute(_SCHEMA, {"schema": database.schema}).scalar()
    return found


def renew(
    database: Database,
    pool_id: str,
    first_serial: int,
    since: Callable[[int, str | None], Iterable[Entry]],
    manifest: Callable[[str], Manifest],
    progress: Callable[[int], None] | None,
    *,
    has: Callable[[int, str | None], bool],
) -> None:
    """Replace the index by a new one; the old one answers until then. Pixel rows have to be made again.

    Parameters
    ----------
    database : Database
        The index.
    pool_id, first_serial, manifest : object
        As for `compare_with`.
    since : callable
        Gives the entries after a number, of which the digest is given.
    progress : callable or None
        Told how many entries were looked at so far.
    has : callable, keyword-only
        Tells whether an entry is the journal's, by number and digest.

    Notes
    -----
    If a call was killed, the next one continues its work, unless the folder is in another state by then.
    """
    with _scratch(database, f"miripool reindex {pool_id}") as scratch:
        _begin_or_resume(scratch, pool_id, first_serial, has)
        apply.take_in(scratch, pool_id, since(*_position(scratch)), manifest, progress, alone=True)
        with database.read() as connection:
            granted = is_granted(connection, database.schema)
        if granted:
            grant_reader(scratch)
        old = retrying(lambda deadline: _swap(database, scratch, pool_id, since, manifest, deadline))
    drop_now(database, old)


def _swap(
    database: Database,
    scratch: Database,
    pool_id: str,
    since: Callable[[int, str | None], Iterable[Entry]],
    manifest: Callable[[str], Manifest],
    deadline: float,
) -> str:
    """Put the new schema in the place of the old one; give the name that the old one has from then on."""
    with database.write() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(lock_key(f"pool {pool_id}"))))
        owner = connection.execute(select(state.c.pool_id)).scalar()
        if owner != pool_id:
            raise Conflict(f"the schema {database.schema!r} now belongs to pool {owner}; it was not changed")
        # From here on nobody writes: what was written meanwhile is the last that is missing.
        apply.take_in(scratch, pool_id, since(*_position(scratch)), manifest, alone=True)
        with brief(connection, deadline=deadline, seconds=_LOADS_SECONDS):
            old = set_aside(database, connection)
            ours, new = quote(database.schema), quote(scratch.schema)
            database.run(connection, f"COMMENT ON SCHEMA {new} IS NULL; ALTER SCHEMA {new} RENAME TO {ours}")
    return old


@contextlib.contextmanager
def _scratch(database: Database, name: str) -> Iterator[Database]:
    """Give a schema to build an index in, gone afterwards unless it has got another name.

    A process that builds an index holds a lock on the name of its schema; a schema without a lock was left by a killed
    process.
    """
    with database.immediately() as keeper:
        drop_left_over(database, keeper, but=name)
        keeper.execute(select(func.pg_advisory_lock(lock_key(name))))
        scratch = database.beside(name)
        try:
            yield scratch
        finally:
            try:
                # In a context without an `Interrupt`: what was stopped is cleared away all the same.
                contextvars.Context().run(drop_now, database, scratch.schema)
            finally:
                scratch.close()
                keeper.execute(select(func.pg_advisory_unlock(lock_key(name))))


def _begin_or_resume(
    scratch: Database, pool_id: str, first_serial: int, has: Callable[[int, str | None], bool]
) -> None:
    """Go on where a process that was killed has stopped, unless the folder is no longer what that one has read.

    It may have missed a manifest that is there by now, and an older state of the folder may have been brought back.
    """
    with contextlib.suppress(MiripoolError):
        migrate.prepare(scratch, pool_id, create=False)
        with scratch.read() as connection:
            lost = select(product.c.serial).where(~exists().where(keyword.c.serial == product.c.serial)).limit(1)
            is_whole = connection.execute(lost).first() is None
        if is_whole and has(*_position(scratch)):
            return
    with scratch.write() as connection, brief(connection):
        there = connection.execute(_SCHEMA, {"schema": scratch.schema}).scalar() is not None
        old = set_aside(scratch, connection) if there else None
    if old is not None:
        drop_now(scratch, old)
    migrate.prepare(scratch, pool_id, first_serial=first_serial, create=True)
    mark_unfinished(scratch)


def _position(scratch: Database) -> tuple[int, str | None]:
    with scratch.read() as connection:
        n, digest = connection.execute(select(state.c.applied, state.c.applied_digest)).one()
    return n, digest


def _compare_objects(connection: Connection, ours: Database, folder: Database) -> str | None:
    """Look for tables, views and indexes that are missing; those of pixel sets come and go."""
    there, wanted = (
        {tuple(row) for row in connection.execute(_OBJECTS, {"schema": database.schema})} for database in (ours, folder)
    )
    return ", ".join(f"{name} is missing" for _, name in sorted(wanted - there)) or None


def _compare(connection: Connection, ours: Database, folder: Database, table: Table) -> str | None:
    left_out = _LEFT_OUT.get(table.name, set())
    compared = (c.name for c in table.c if c.name not in left_out)
    columns = ", ".join(_ORDER.get((table.name, name), quote(name)) for name in compared)
    key = next(iter(table.primary_key.columns), next(iter(table.c))).name
    one, two = (f"{quote(d.schema)}.{quote(table.name)}" for d in (ours, folder))
    problems = []
    for label, first, second in (("should not be there", one, two), ("are missing", two, one)):
        differing = f"SELECT {columns} FROM {first} EXCEPT ALL SELECT {columns} FROM {second}"
        statement = f"SELECT count(*), min({quote(key)}::text) FROM ({differing}) d"
        count, example = connection.exec_driver_sql(statement.replace("%", "%%")).one()
        if count:
            problems.append(f"{count} rows {label} (e.g. {key} {example})")
    return "; ".join(problems) or None
