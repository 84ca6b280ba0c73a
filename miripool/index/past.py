"""The pool as it was: the moment of each journal entry, and the states of versions after each.

`intake` adds to both tables with each entry. The views ``product_then``, ``tag_then`` … read them (migration 0017), and
a connection that is at a moment reads those views in place of the tables (`miripool.index.connection.Database.at`). So
no statement is written twice.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, Text, bindparam, cast, func, select, update
from sqlalchemy.dialects import postgresql

from ..store.journal import Tag, Untag
from .connection import lock_key
from .message import Message
from .schema import STILL, moment, state, version_state
from .tracks import Tracks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Column, TableValuedAlias, Update
    from sqlalchemy.types import TypeEngine

    from ..store.journal import Entry
    from .connection import Database
    from .tracks import State

__all__ = ["add_past", "fill_past"]

_FILLED_AT_ONCE = 10_000
"""Rows of one statement."""


def _given(columns: Iterable[Column[Any]], name: str) -> TableValuedAlias:
    """Give arrays as a table, a column each; their parameters are called by both names."""
    listed = list(columns)
    arrays = [cast(bindparam(f"{name}_{c.name}"), ARRAY(_without_collation(c.type))) for c in listed]
    return func.unnest(*arrays).table_valued(*(c.name for c in listed), name=name).render_derived()


def _without_collation(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    return Text() if isinstance(kind, Text) else kind  # a collation can't stand within an array's type


def _add_moments() -> postgresql.Insert:
    """Make the statement that notes entries."""
    new = _given(moment.c, "moment")
    # The clocks of writers differ: times must not fall behind.
    latest = func.greatest(new.c.time, select(func.max(moment.c.time)).scalar_subquery())
    rows = select(new.c.entry, latest, new.c.digest, new.c.next_serial)
    return postgresql.insert(moment).from_select([c.name for c in moment.c], rows)


def _end_states() -> Update:
    """Make the statement that ends the states that versions have."""
    s, ends = version_state.c, _given((version_state.c.serial, version_state.c.until), "ends")
    return update(version_state).where(s.serial == ends.c.serial, s.until == STILL).values(until=ends.c.until)


_ADD_MOMENTS = _add_moments()
_END_STATES = _end_states()
_ADD_STATES = postgresql.insert(version_state).from_select(
    [c.name for c in version_state.c], select(_given(version_state.c, "state"))
)


def add_past(
    message: Message,
    entries: Sequence[Entry],
    states: Mapping[int, Mapping[int, State]],
    *,
    new: Collection[int] = (),
) -> None:
    """Have a message note when entries were written, and what versions were after them.

    Parameters
    ----------
    message : Message
        In a transaction that holds the pool's lock.
    entries : sequence of Entry
        Those that follow the last one noted, in order.
    states : mapping
        `Tracks.states` of these entries.
    new : collection of int, keyword-only
        Serials that had no state before.
    """
    rows = [
        (serial, first, until, *state)
        for serial, given in states.items()
        for (first, state), until in zip(given.items(), [*list(given)[1:], STILL], strict=True)
    ]
    times = itertools.accumulate((e.time for e in entries), max)
    moments = [(e.n, time, e.digest, e.next_serial) for e, time in zip(entries, times, strict=True)]
    message.add_kept(_ADD_MOMENTS, **_arrays(moment.c, "moment", moments))
    ends = {serial: min(given) for serial, given in states.items() if serial not in new}
    if ends:
        message.add_kept(_END_STATES, ends_serial=list(ends), ends_until=list(ends.values()))
    if rows:
        message.add_kept(_ADD_STATES, **_arrays(version_state.c, "state", rows))


def _arrays(columns: Iterable[Column[Any]], name: str, rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    return {f"{name}_{column.name}": [row[i] for row in rows] for i, column in enumerate(columns)}


def fill_past(database: Database, pool_id: str, since: Callable[[int, str | None], Iterable[Entry]]) -> None:
    """Look through the journal of a pool that an older miripool indexed, once.

    It takes some 500 bytes of memory for each version.

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
        message, tracks = Message(database, connection), Tracks()
        entries: list[Entry] = []
        for entry in since(-1, None):
            if entry.n > applied:
                break
            untagged = tuple(action for action in entry.actions if not isinstance(action, Tag | Untag))
            tracks.play(replace(entry, actions=untagged))
            tracks.saves.clear()
            entries.append(replace(entry, actions=()))
            if len(entries) + len(tracks.states) >= _FILLED_AT_ONCE:
                add_past(message, entries, tracks.states)
                message.send()
                entries.clear()
                tracks.states.clear()
        if entries:
            add_past(message, entries, tracks.states)
            message.send()
        connection.execute(update(state).values(has_past=True))
    with database.immediately() as connection:
        tables = ", ".join(database.table(table.name) for table in (moment, version_state))
        connection.exec_driver_sql(f"ANALYZE {tables}".replace("%", "%%"))
