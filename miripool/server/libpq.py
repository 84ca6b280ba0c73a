"""libpq's own variables (`PGSERVICE`, `PGSSLMODE`, …): they count for the user's server, not for the embedded one."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "SECRETS",
    "is_clients_own",
    "is_embedded",
    "note_embedded",
    "refused_by_libpq",
    "settled",
    "without_variables",
]

SECRETS = ("password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")
"""Parameters of a connection that must stay secret."""

_PREFIX = "PG"
_CONTACT = ("connection to server", "could not translate host name")
"""What libpq says first, from 14 on, once it has tried to reach a server."""

_embedded: set[str] = set()
"""Socket folders of the embedded servers that this process has asked for."""
_lock = threading.Lock()
_hidden = threading.Event()
"""Set when variables were hidden in this process for the first time."""
_taken_out: dict[str, str] = {}


def _put_back() -> None:
    os.environ.update(_taken_out)
    _taken_out.clear()


def _start_over() -> None:
    """In a child that was forked while another thread connected."""
    global _lock
    _lock = threading.Lock()
    _put_back()


os.register_at_fork(after_in_child=_start_over)


def note_embedded(socket_directory: str) -> None:
    """Remember the socket folder of an embedded server.

    Parameters
    ----------
    socket_directory : str
        As it stands in the server's URL.
    """
    _embedded.add(socket_directory)


def is_embedded(host: object) -> bool:
    """Tell whether a connection is one to an embedded server that this process has asked for.

    Parameters
    ----------
    host : object
        libpq's parameter, or None.

    Returns
    -------
    bool
        True if so.
    """
    return isinstance(host, str) and host in _embedded


def without_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Give an environment without libpq's variables.

    Parameters
    ----------
    environment : mapping of str to str
        E.g. ``os.environ``.

    Returns
    -------
    dict of str to str
        What is left.
    """
    return {name: value for name, value in environment.items() if not name.startswith(_PREFIX)}


@contextlib.contextmanager
def settled(*, embedded: bool) -> Iterator[None]:
    """Have libpq's variables hidden, or in force, while a connection is made.

    No parameter of a connection puts `PGSERVICE` out of force, so the variables are taken out of the process's
    environment and put back. Other threads miss them for these milliseconds: a child that another thread starts just
    then does not get them. Other connections of miripool wait. Where no such variable is set, nothing is touched.

    Parameters
    ----------
    embedded : bool, keyword-only
        Whether the connection is one to the embedded server.

    Yields
    ------
    None
        For `psycopg2.connect`.
    """
    if not embedded:
        # Until something is hidden, threads connect side by side.
        with _lock if _hidden.is_set() else contextlib.nullcontext():
            yield
        return
    with _lock:
        _taken_out.update({name: value for name, value in os.environ.items() if name.startswith(_PREFIX)})
        if _taken_out:
            _hidden.set()
        for name in _taken_out:
            os.environ.pop(name, None)
        try:
            yield
        finally:
            _put_back()


def is_clients_own(error: Exception) -> bool:
    """Tell whether libpq refused a connection before it asked any server: a bad parameter, variable or file.

    Parameters
    ----------
    error : psycopg2.Error
        As ``psycopg2.connect`` raised it.

    Returns
    -------
    bool
        True if to wait, or to start a server, does not help.
    """
    import psycopg2

    if isinstance(error, psycopg2.ProgrammingError):
        return True
    return psycopg2.__libpq_version__ >= 140000 and not str(error).startswith(_CONTACT)


def refused_by_libpq(error: Exception, parameters: Mapping[str, Any]) -> InvalidInput:
    """Say that libpq could not begin to connect.

    Parameters
    ----------
    error : psycopg2.Error
        For which `is_clients_own` holds.
    parameters : mapping
        What was given; secrets among it are taken out of libpq's words.

    Returns
    -------
    InvalidInput
        To be raised by the caller.
    """
    words = str(error).strip()
    for secret in filter(None, map(parameters.get, SECRETS)):
        words = words.replace(str(secret), "***")
    there = ", ".join(sorted(name for name in os.environ if name.startswith(_PREFIX))) or "none"
    return InvalidInput(
        f"PostgreSQL's client library can't make a connection: {words}\n"
        f"Correct MIRIPOOL_DATABASE_URL, or the variables of the environment that the library reads (now: {there})."
    )
