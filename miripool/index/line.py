"""The way to one server: connections for short questions, and SQLAlchemy's engine once there is need of it."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
import urllib.parse
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from .driver import JUST_NOW, cancel, connect, has_news, settings
from .interrupt import in_use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Engine

__all__ = ["ServerLine", "line_to", "plain_parameters"]

_PLAIN_URL = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://(?:(?P<user>[\w.~-]+)(?::(?P<password>[\w.~-]+))?@)?"
    r"(?P<host>[\w.-]+)?(?::(?P<port>[1-9][0-9]*))?/(?P<dbname>[\w.~-]+)?(?:\?(?P<query>[^@]*))?",
    re.ASCII,
)

_Settings: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values."""

_lines: weakref.WeakValueDictionary[tuple[str, bool, tuple[tuple[str, str], ...]], ServerLine] = (
    weakref.WeakValueDictionary()
)
"""One for all pools of a process on a server: hundreds may be open, and a server has some hundred connections."""
_making = threading.Lock()


def _forget_connections() -> None:
    # A socket shared with the parent would mix up both sessions. psycopg2 leaves another process's sockets open.
    for line in list(_lines.values()):
        line.forget()


os.register_at_fork(after_in_child=_forget_connections)


def line_to(url: str, *, read_only: bool, further: _Settings = ()) -> ServerLine:
    """Give this process's way to a server.

    Parameters
    ----------
    url : str
        The database, as users give it.
    read_only : bool, keyword-only
        Have the server refuse every change.
    further : tuple of (str, str), keyword-only
        Names and values of more of the server's settings.

    Returns
    -------
    ServerLine
        The same object for the same URL and settings, as long as it is in use.
    """
    with _making:
        line = _lines.get((url, read_only, further))
        if line is None:
            line = _lines[url, read_only, further] = ServerLine(url, read_only=read_only, further=further)
        return line


def plain_parameters(url: str) -> dict[str, Any] | None:
    """Read a URL as SQLAlchemy does, if it is plain: one host, nothing escaped but in the query, which has no @.

    Parameters
    ----------
    url : str
        As users give it, or the embedded server's.

    Returns
    -------
    dict or None
        Arguments of ``psycopg2.connect``; None where SQLAlchemy must read it, be it to say what is wrong.
    """
    found = _PLAIN_URL.fullmatch(url)
    if found is None:
        return None
    parts = {name: value for name, value in found.groupdict().items() if value is not None}
    pairs = urllib.parse.parse_qsl(parts.pop("query", ""))
    query = dict(pairs)
    is_folder = "host" not in parts and re.fullmatch(r"/[^,:]*", query.get("host", "/"))
    port = query.get("port", "1")
    if len(query) < len(pairs) or "plugin" in query or not (port.isascii() and port.isdecimal()):
        return None
    if not is_folder and "host" in query:
        return None
    return {**parts, **({"port": int(parts["port"])} if "port" in parts else {}), **query}


class ServerLine:
    """Connections to a server, for all pools of a process; a short question needs no SQLAlchemy.

    Parameters
    ----------
    url : str
        The database, as users give it.
    read_only : bool, keyword-only
        Have the server refuse every change.
    further : tuple of (str, str), keyword-only
        Names and values of more of the server's settings.

    Raises
    ------
    InvalidInput
        If it is not the URL of a PostgreSQL database.

    Attributes
    ----------
    users : set
        Those who may ask again; without one, no connection stays open.
    """

    def __init__(self, url: str, *, read_only: bool, further: _Settings = ()) -> None:
        self._text = url
        self._settings = partial(settings, read_only=read_only, further=further)
        self._lock = threading.Lock()
        self._url: URL | None = None
        self._engine: Engine | None = None
        self._spare: tuple[Any, float] | None = None
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        self._parameters = plain_parameters(url)
        if self._parameters is None:
            self._url = self.url
        else:
            self._parameters.pop("options", None)
            self._parameters |= self._settings(dict(urllib.parse.parse_qsl(url.partition("?")[2])))

    @property
    def url(self) -> URL:
        """The URL, read by SQLAlchemy."""
        if self._url is None:
            from .engine import engine_url

            self._url = engine_url(self._text)
        return self._url

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine; from now on it has the connections."""
        with self._lock:
            if self._engine is None:
                from .engine import make_engine

                self._engine = make_engine(self.url, self._settings(self.url.query), self._connect)
            return self._engine

    @property
    def is_direct(self) -> bool:
        """Whether a short question goes without SQLAlchemy."""
        return self._engine is None and self._parameters is not None

    @contextlib.contextmanager
    def lent(self) -> Iterator[Any]:
        """Lend a connection of psycopg2, on which each statement is a transaction of its own.

        Yields
        ------
        psycopg2.extensions.connection
            Kept for the next question or for the engine, unless the body raises.
        """
        driver = self._connect(**(self._parameters or {}))
        gone: list[bool] = []
        try:
            with in_use(partial(cancel, driver), partial(gone.append, True)):
                driver.autocommit = True
                yield driver
                driver.autocommit = False
        except BaseException:
            driver.close()
            raise
        with self._lock:
            if not gone and self._spare is None and self.users:
                self._spare = driver, time.monotonic()
                return
        driver.close()

    def _connect(self, *arguments: Any, **parameters: Any) -> Any:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is None:
            return connect(*arguments, **parameters)
        driver, used = spare
        if time.monotonic() - used < JUST_NOW and not has_news(driver):
            return driver
        driver.close()
        return connect(*arguments, **parameters)

    def close(self) -> None:
        """Close the connections that are not in use; a later use opens new ones."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            spare[0].close()
        if self._engine is not None:
            self._engine.dispose()

    def forget(self) -> None:
        """Let go of the connections without a word to the server: they are the parent process's."""
        self._lock = threading.Lock()
        self._spare = None
        if self._engine is not None:
            self._engine.dispose(close=False)
