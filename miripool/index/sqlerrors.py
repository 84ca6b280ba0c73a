"""What PostgreSQL's errors mean for a pool, in one place, by SQLSTATE."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ..errors import (
    AlreadyExists,
    DiskFull,
    IntegrityError,
    InvalidInput,
    MiripoolError,
    PoolNotFound,
    ReadOnly,
    ServerError,
    ServerUnavailable,
)
from ..model.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LOCK_TIMEOUT", "MISSING_TABLE", "missing_table", "no_slot", "refusing_no_text", "sqlstate", "translate"]

LOCK_TIMEOUT = "55P03"
"""lock_not_available."""

_NO_SLOT = "53300"
_NO_SLOT_WORDS = ("too many clients", "connection slots are reserved", "too many connections")
"""psycopg2 gives no SQLSTATE where a connection was refused; words of a server that speaks English."""

MISSING_TABLE = frozenset({"42P01", "3F000"})
"""undefined_table, invalid_schema_name."""

_UNAVAILABLE = frozenset({"57P01", "57P02", "57P03", "57P05", "3D000", "25P03", "25P04"})
"""Shutdown, crash, start-up, time-outs of idle sessions, no such database."""

_START = "Start it, or correct MIRIPOOL_DATABASE_URL"
_START_AGAIN = "Try again: miripool starts it if it was stopped"
"""Remedies where a server by URL, or the embedded one, can't be used."""

_MEANINGS: tuple[tuple[frozenset[str], type[MiripoolError], str], ...] = (
    (frozenset({"53100"}), DiskFull, "the PostgreSQL server's disk is full ({}); make room, nothing was changed"),
    (frozenset({"25006", "42501"}), ReadOnly, "the index can't be written by this user ({})"),
    (frozenset({"XX001", "XX002"}), IntegrityError, "the index is damaged ({}); run `miripool reindex POOL`"),
    (frozenset({"42P06"}), AlreadyExists, "the database already has a schema of that name ({})"),
    (
        MISSING_TABLE,
        ServerError,
        "tables of the index are missing ({}): was the pool renamed or deleted meanwhile? Open the pool again, or "
        "run the command again: `miripool pools` lists the pools",
    ),
    (frozenset({"57014"}), ServerError, "PostgreSQL stopped the statement ({}); ask for less, or raise the time limit"),
    (
        frozenset({"40001", "40P01", LOCK_TIMEOUT}),
        ServerError,
        "another session blocked this one ({}); nothing was changed, try again",
    ),
    (
        frozenset({"53200"}),
        ServerError,
        "PostgreSQL is out of memory ({}); raise max_locks_per_transaction, or give PostgreSQL more memory",
    ),
)


@contextlib.contextmanager
def refusing_no_text() -> Iterator[None]:
    """Refuse what a user has typed in bytes that are no text: the database has nothing like it.

    Yields
    ------
    None
        For the body, which asks the database.

    Raises
    ------
    InvalidInput
        If psycopg2 can't write it.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{shown(error.object)} contains bytes that are not text; check how it was typed") from None


def sqlstate(error: BaseException) -> str | None:
    """Give the five characters by which PostgreSQL tells what went wrong.

    Parameters
    ----------
    error : Exception
        As psycopg2 or SQLAlchemy raised it.

    Returns
    -------
    str or None
        None where the server did not get to say it.
    """
    origin = getattr(error, "orig", None) or error
    code = getattr(origin, "pgcode", None)
    return code if isinstance(code, str) else None


def missing_table(error: BaseException) -> bool:
    """Tell whether an error says that a table, or its schema, is not there.

    Parameters
    ----------
    error : Exception
        As psycopg2 or SQLAlchemy raised it.

    Returns
    -------
    bool
        True if so.
    """
    return sqlstate(error) in MISSING_TABLE


def no_slot(error: BaseException) -> bool:
    """Tell whether the server refused a connection because all are in use.

    Parameters
    ----------
    error : Exception
        As psycopg2 or SQLAlchemy raised it.

    Returns
    -------
    bool
        True if so.
    """
    code = sqlstate(error)
    words = str(getattr(error, "orig", None) or error)
    return code == _NO_SLOT or (code is None and any(known in words for known in _NO_SLOT_WORDS))


def translate(
    error: BaseException,
    where: str,
    clean: Callable[[str], str] = str,
    blockers: str = "",
    confirm: Callable[[], None] | None = None,
    *,
    embedded: bool = False,
) -> MiripoolError:
    """Say what an error of the database means.

    Parameters
    ----------
    error : Exception
        As psycopg2 or SQLAlchemy raised it.
    where : str
        The server, for the message; without a password.
    clean : callable, optional
        Takes secrets out of a text.
    blockers : str, optional
        Whose transactions are in the way, in words.
    confirm : callable, optional
        Called where a table is not there; raises PoolNotFound if that is because the pool is gone.
    embedded : bool, keyword-only
        It is the embedded server, which miripool starts by itself.

    Returns
    -------
    MiripoolError
        To be raised by the caller.
    """
    origin = getattr(error, "orig", None) or error
    words = clean(_words(origin))
    code = sqlstate(error)
    if no_slot(error):
        return ServerUnavailable(
            f"the PostgreSQL server {where} has no connection left ({words}); close other sessions and pools, or raise "
            "its max_connections, and try again"
        )
    if code is None or code.startswith(("08", "28")) or code in _UNAVAILABLE:
        remedy = _START_AGAIN if embedded else _START
        return (
            _without_state(error, origin, words, where, remedy) if code is None else _unavailable(words, where, remedy)
        )
    if code in MISSING_TABLE and confirm is not None:
        try:
            confirm()
        except PoolNotFound as gone:
            return gone
    for codes, meaning, message in _MEANINGS:
        if code in codes:
            return meaning(message.format(f"{words}; the oldest transactions are: {blockers}" if blockers else words))
    if code == "58030" and "No space left" in words:
        return DiskFull(f"the PostgreSQL server's disk is full ({words}); make room, nothing was changed")
    if code.startswith("22"):
        return InvalidInput(f"PostgreSQL can't compute this: {words}")
    if code.startswith("54"):  # its limits; those of memory and connections are 53
        if "index row" in words:
            return InvalidInput(f"a text, e.g. a keyword's, is too long for PostgreSQL's indexes ({words}); shorten it")
        return InvalidInput(f"this is more than PostgreSQL can do: {words}")
    return ServerError(f"PostgreSQL refused ({code}): {words}")


def _words(origin: BaseException) -> str:
    diagnosis = getattr(origin, "diag", None)
    primary = getattr(diagnosis, "message_primary", None)
    return str(primary or origin).strip()


def _unavailable(words: str, where: str, remedy: str) -> ServerUnavailable:
    return ServerUnavailable(
        f"the PostgreSQL server {where} can't be used: {words}\n{remedy}; the pool's products are safe in its folder."
    )


def _without_state(error: BaseException, origin: BaseException, words: str, where: str, remedy: str) -> MiripoolError:
    """Judge an error that has no SQLSTATE: mostly a connection that could not be made or broke."""
    name = type(origin).__name__
    if name in {"OperationalError", "InterfaceError"} or getattr(error, "connection_invalidated", False):
        return _unavailable(words, where, remedy)
    if name == "TimeoutError":
        return ServerError("too many threads ask the index at once; use fewer threads")
    return ServerError(f"the PostgreSQL server {where} failed: {words}")
