"""Short waits for other sessions' locks, repeated later: no session waits for long while it holds a pool's lock."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

import psycopg2
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from .sqlerrors import LOCK_TIMEOUT, sqlstate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

__all__ = ["Blocked", "brief", "retrying"]

_T = TypeVar("_T")
_PATIENCE = 300.0
"""Seconds to try, as long as a connection waits for any lock (`connection.py`)."""
_PAUSE = 0.2
"""Seconds between two tries, in which others get the locks that this session let go of."""


class Blocked(Exception):
    """Another session holds a lock; the transaction was rolled back."""


@contextlib.contextmanager
def brief(connection: Connection, *, deadline: float = 0.0, seconds: float = 1.0) -> Iterator[None]:
    """Wait for locks of other sessions only for moments, from here to the end of the transaction.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    deadline : float, keyword-only
        By the monotonic clock, seconds: until then a lock that is not to be had raises `Blocked`, for `retrying`;
        afterwards the database's own error, which names the sessions in the way.
    seconds : float, keyword-only
        How long to wait for each lock.

    Yields
    ------
    None
        For the statements that may have to wait.
    """
    connection.execute(select(func.set_config("lock_timeout", f"{round(seconds * 1000)}ms", True)))
    try:
        yield
    except (SQLAlchemyError, psycopg2.Error) as error:
        if sqlstate(error) == LOCK_TIMEOUT and time.monotonic() < deadline:
            raise Blocked from error
        raise


def retrying(work: Callable[[float], _T]) -> _T:
    """Repeat a transaction until no other session's lock is in its way; it holds no lock in between.

    Parameters
    ----------
    work : callable
        One whole transaction; gets the deadline for `brief`.

    Returns
    -------
    object
        What the work gave.

    Raises
    ------
    ServerError
        If another session was in the way all the time.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return work(deadline)
        except Blocked:
            time.sleep(_PAUSE)
