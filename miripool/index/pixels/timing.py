"""Times of integrations, as a version's table INT_TIMES and its header have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql

from ..message import Message
from ..schema import timing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model.timing import Timing
    from ..connection import Database

__all__ = ["insert_timings", "keep_timings"]


_INSERT = postgresql.insert(timing).on_conflict_do_nothing()


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
            message = Message(database, connection)
            insert_timings(message, timings)
            message.send()


def insert_timings(message: Message, timings: Mapping[int, Timing]) -> None:
    """Have a message keep the times of versions.

    Parameters
    ----------
    message : Message
        In a transaction.
    timings : mapping of int to Timing
        By serial. What is there already stays.
    """
    for serial, found in timings.items():
        integrations = zip(("int_started", "int_middle", "int_ended"), found.integrations.tolist(), strict=True)
        message.add_kept(_INSERT, serial=serial, middle=found.middle, ended=found.ended, **dict(integrations))
