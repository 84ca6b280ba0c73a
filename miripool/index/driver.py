"""Connections of psycopg2, with the settings that the index relies on."""

from __future__ import annotations

import contextlib
import os
import random
import select
import time
from typing import TYPE_CHECKING, Any

import psycopg2

from ..server.libpq import is_clients_own, is_embedded, refused_by_libpq, settled
from .sqlerrors import no_slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["JUST_NOW", "cancel", "connect", "has_news", "settings"]

_SETTINGS = {
    # On Debian's server it is on and makes 51 ms of 571 (PIXELS.md, traps).
    "jit": "off",
    "timezone": "UTC",
}
_PATIENCE = "-c lock_timeout=300s"
"""A setting of the user comes first. No session locks others out for longer than it takes in 100,000 products."""
_CONNECT_SECONDS = 10
_NOT_LIBPQ = {"async", "async_", "connection_factory", "cursor_factory", "dsn"}
"""What psycopg2 takes as well, for its own use: libpq has no such parameters, so a URL may not have them."""
_SLOT_SECONDS = 20.0
"""How long to try again where the server has no connection left."""
JUST_NOW = 1.0
"""Seconds for which a connection that answered is taken to be good, unless the server said that it ends."""


def settings(query: Mapping[str, Any], *, read_only: bool, further: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """Give what each connection has besides what its URL says.

    Parameters
    ----------
    query : mapping
        Parameters in the URL's query.
    read_only : bool, keyword-only
        Have the server refuse every change.
    further : iterable of (str, str), keyword-only
        Names and values, without blanks, of more of the server's settings.

    Returns
    -------
    dict
        Parameters for `connect`, which count instead of the URL's.
    """
    wanted = {**_SETTINGS, **({"default_transaction_read_only": "on"} if read_only else {}), **dict(further)}
    embedded = is_embedded(query.get("host"))
    given = query.get("options") or ("" if embedded else os.environ.get("PGOPTIONS", ""))
    options = [_PATIENCE, given if isinstance(given, str) else " ".join(given)]
    options += [f"-c {name}={value}" for name, value in wanted.items()]
    limited = "connect_timeout" in query or ("PGCONNECT_TIMEOUT" in os.environ and not embedded)
    return {
        "options": " ".join(options).strip(),
        "application_name": "miripool",
        "client_encoding": "utf8",
        **({} if limited else {"connect_timeout": _CONNECT_SECONDS}),
    }


def connect(*arguments: Any, **parameters: Any) -> Any:
    """Connect; where the server has no connection left, wait for one: commands need theirs for moments.

    Parameters
    ----------
    *arguments, **parameters
        As psycopg2 takes them.

    Returns
    -------
    psycopg2.extensions.connection
        Open.

    Raises
    ------
    InvalidInput
        If libpq refuses the parameters, or would.
    psycopg2.Error
        If the server does.
    """
    _refuse(parameters)
    deadline = time.monotonic() + _SLOT_SECONDS
    while True:
        try:
            with settled(embedded=is_embedded(parameters.get("host"))):
                return psycopg2.connect(*arguments, **parameters)
        except psycopg2.Error as error:
            if is_clients_own(error):
                raise refused_by_libpq(error, parameters) from None
            if not no_slot(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.1 + 0.2 * random.random())  # noqa: S311 - so that those who wait don't come all at once


def _refuse(parameters: Mapping[str, Any]) -> None:
    """Refuse what comes from a URL and would mean something else to psycopg2, or nothing."""
    for name in sorted(_NOT_LIBPQ & parameters.keys()):
        raise refused_by_libpq(ValueError(f'invalid connection option "{name}"'), parameters)
    for name, value in parameters.items():
        if "\0" in str(value):
            raise refused_by_libpq(ValueError(f'the value of "{name}" has a zero byte'), parameters)


def has_news(driver: Any) -> bool:
    """Tell whether the server said anything on a connection that waits for nothing, e.g. that it goes down.

    Parameters
    ----------
    driver : psycopg2.extensions.connection
        Not in use.

    Returns
    -------
    bool
        True if so.
    """
    news = select.poll()
    news.register(driver.fileno(), select.POLLIN)
    return bool(news.poll(0))


def cancel(driver: Any) -> None:
    """Have the server cancel what runs on a connection.

    Parameters
    ----------
    driver : psycopg2.extensions.connection
        Perhaps closed by now.
    """
    with contextlib.suppress(psycopg2.Error):  # it is closed, or the server is gone
        driver.cancel()
