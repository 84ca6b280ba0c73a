"""Times of integrations, as a version's table INT_TIMES and its header have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql

from ..schema import timing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from ...model.timing import Timing
    from ..connection import Database

__all__ = ["insert_timings", "keep_timings"]


def keep_timings(database: Database, timings: Mapping[int, Timing]) -> None:
    """Keep the times of versions.

    Parameters
    ----------
    database : Database
        The index; it can be written.
    timings : mapping of int to Timing
        By serial.
    """
    if timings:
        with database.write() as connection:
            insert_timings(connection, timings)


def insert_timings(connection: Connection, timings: Mapping[int, Timing]) -> None:
    """Keep the times of versions within a transaction.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        The transaction.
    timings : mapping of int to Timing
        By serial; not empty. What is there already stays.
    """
    rows = [
        {
            "serial": serial,
            "middle": found.middle,
            "ended": found.ended,
            **dict(zip(("int_started", "int_middle", "int_ended"), found.integrations.tolist(), strict=True)),
        }
        for serial, found in timings.items()
    ]
    connection.execute(postgresql.insert(timing).on_conflict_do_nothing(), rows)
