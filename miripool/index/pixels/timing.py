"""Times of integrations, as a version's table INT_TIMES and its header have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql

from ...model.timing import Timing
from ..message import Message
from ..schema import timing
from ..selection import GIVEN_SERIALS, array_text
from .arrays import array_of, arrays_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..connection import Database

__all__ = ["insert_timings", "keep_timings", "read_timings"]


_T = timing.c
_INSERT = postgresql.insert(timing).on_conflict_do_nothing()
_READ = select(
    *(_T.serial, _T.middle, _T.ended),
    # One array in binary form: thousands of numbers as text take most of the time.
    func.array_send(_T.int_started.concat(_T.int_middle).concat(_T.int_ended)),
).where(_T.serial == func.any(GIVEN_SERIALS))


def read_timings(database: Database, serials: Sequence[int]) -> dict[int, Timing]:
    """Read the times of versions.

    Parameters
    ----------
    database : Database
        The index.
    serials : sequence of int
        The versions'.

    Returns
    -------
    dict of int to Timing
        Of those that were read from their files before.
    """
    found = database.ask(*database.written(_READ, serials=array_text(serials)))
    arrays = arrays_of([row[3] for row in found]) if found else None
    times = arrays if arrays is not None else [array_of(row[3]) for row in found]
    return {
        serial: Timing(middle, ended, of_integrations.reshape(3, -1))
        for (serial, middle, ended, _), of_integrations in zip(found, times, strict=True)
    }


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
