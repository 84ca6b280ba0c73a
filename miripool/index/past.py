"""The pool as it was: the moment of each journal entry, and the states of versions after each.

`intake` adds to both tables with each entry. The views ``product_then``, ``tag_then`` … read them (migration 0017), and
a connection that is at a moment reads those views in place of the tables (`miripool.index.connection.Database.at`). So
no statement is written twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import ARRAY, and_, bindparam, cast, func, select, update
from sqlalchemy.dialects import postgresql

from ..store.journal import Tag, Untag
from .connection import lock_key
from .schema import STILL, moment, state, version_state
from .selection import as_table
from .tracks import Tracks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from ..store.journal import Entry
    from .connection import Database
    from .tracks import State

__all__ = ["add_moments", "add_states", "fill_past"]

_FILLED_AT_ONCE = 10_000
"""Rows of one statement."""


def _add_moments() -> postgresql.Insert:
    """Make the statement that notes entries; clocks of writers differ, so that times must not fall behind."""
    kinds = {column.name: column.type for column in moment.c}
    arrays = (cast(bindparam(name), ARRAY(kind)) for name, kind in kinds.items())
    given = func.unnest(*arrays).table_valued(*kinds, name="given").render_derived()
    before = select(func.max(moment.c.time)).scalar_subquery()
    latest = func.greatest(func.max(given.c.time).over(order_by=given.c.entry), before)
    rows = select(given.c.entry, latest, given.c.digest, given.c.next_serial)
    return postgresql.insert(moment).from_select(list(kinds), rows)


_ADD_MOMENTS = _add_moments()


def add_moments(database: Database, connection: Connection, entries: Sequence[Entry]) -> None:
    """Note when entries were written.

    Parameters
    ----------
    database : Database
        The index.
    connection : sqlalchemy.Connection
        In a transaction that holds the pool's lock.
    entries : sequence of Entry
        Those that follow the last one noted, in order.
    """
    values = {
        "entry": [entry.n for entry in entries],
        "time": [entry.time for entry in entries],
        "digest": [entry.digest for entry in entries],
        "next_serial": [entry.next_serial for entry in entries],
    }
    connection.exec_driver_sql(*database.written(_ADD_MOMENTS, **values))


def add_states(connection: Connection, states: Mapping[int, Mapping[int, State]]) -> None:
    """Note what entries say of versions.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In that transaction.
    states : mapping
        `Tracks.states`.
    """
    if not states:
        return
    s = version_state.c
    ends = as_table((s.serial, s.until), [(serial, min(new)) for serial, new in states.items()])
    ended = and_(s.serial == ends.c.serial, s.until == STILL)
    connection.execute(update(version_state).where(ended).values(until=ends.c.until))
    rows = [
        (serial, first, until, *state)
        for serial, new in states.items()
        for (first, state), until in zip(new.items(), [*list(new)[1:], STILL], strict=True)
    ]
    columns = list(version_state.c)
    given = select(as_table(columns, rows))
    connection.execute(postgresql.insert(version_state).from_select([c.name for c in columns], given))


def fill_past(database: Database, pool_id: str, since: Callable[[int, str | None], Iterable[Entry]]) -> None:
    """Look through the journal of a pool that an older miripool indexed, once.

    Memory is some 500 bytes for each version.

    Parameters
    ----------
    database : Database
        The index.
    pool_id : str
        The pool's.
    since : callable
        Gives the entries after a number, of which the digest is given.

    Raises
    ------
    IntegrityError
        If the journal is damaged.
    ReadOnly
        If this user can't write to the index.
    """
    with database.write() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(lock_key(f"pool {pool_id}"))))
        applied, has_past = connection.execute(select(state.c.applied, state.c.has_past)).one()
        if has_past:
            return
        tracks = Tracks()
        entries: list[Entry] = []
        for entry in since(-1, None):
            if entry.n > applied:
                break
            untagged = tuple(action for action in entry.actions if not isinstance(action, Tag | Untag))
            tracks.play(replace(entry, actions=untagged))
            tracks.saves.clear()
            entries.append(replace(entry, actions=()))
            if len(entries) + len(tracks.states) >= _FILLED_AT_ONCE:
                _add(database, connection, entries, tracks)
        _add(database, connection, entries, tracks)
        connection.execute(update(state).values(has_past=True))
    with database.immediately() as connection:
        tables = ", ".join(database.table(table.name) for table in (moment, version_state))
        connection.exec_driver_sql(f"ANALYZE {tables}".replace("%", "%%"))


def _add(database: Database, connection: Connection, entries: list[Entry], tracks: Tracks) -> None:
    if entries:
        add_moments(database, connection, entries)
        add_states(connection, tracks.states)
    entries.clear()
    tracks.states.clear()
