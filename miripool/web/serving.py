"""Serving: one process on 127.0.0.1, until it is interrupted or the process that started it has ended."""

from __future__ import annotations

import asyncio
import html
import importlib
import logging
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from ..errors import AlreadyExists, InvalidInput, MiripoolError
from ..pool.core import core_of
from ..pool.listing import column_names
from ..pool.page import facets, page
from .access import Access
from .app import make_app
from .listing import FACETS
from .pools import Pools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import WSGIApplication

    from ..session.home import Home

__all__ = ["redirect_file", "serve"]

_log = logging.getLogger(__name__)

_ADDRESS = "127.0.0.1"
_END = 3
"""Seconds that open requests get when the server stops."""


def serve(
    home: Home,
    *,
    pool: str | None = None,
    port: int = 0,
    write: bool = False,
    hosts: Iterable[str] = (),
    dav: WSGIApplication | None = None,
    ready: Callable[[str], None],
) -> None:
    """Serve pools until interrupted.

    Parameters
    ----------
    home : Home
        The pools' home.
    pool : str, keyword-only, optional
        Show this pool first.
    port : int, keyword-only
        Port on 127.0.0.1; 0 for any that is free.
    write : bool, keyword-only
        Allow changes.
    hosts : iterable of str, keyword-only
        Further names under which proxies call this server.
    dav : WSGI application, keyword-only, optional
        Pools as files, for WebDAV, at ``/dav``.
    ready : callable, keyword-only
        Called with the page's address, token included, once the server answers.

    Raises
    ------
    PoolNotFound
        If there is no such pool.
    AlreadyExists
        If the port is used.
    """
    pools = Pools(home)
    if pool is not None:
        pools.pool(pool)  # a pool that is not there is said before the server starts
    listener = _listen(port)
    access = Access(listener.getsockname()[1], write, frozenset(host.lower() for host in hosts))
    # The access log would hold the token.
    config = uvicorn.Config(
        make_app(pools, access, dav=dav),
        log_config=None,  # uvicorn's own looks at stdout, which may be closed
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_END,
    )
    logging.getLogger("uvicorn.error").addFilter(_in_a_sentence)

    def answers() -> None:
        ready(access.url_of(pool))
        threading.Thread(target=_prepare, args=[pools, pool], daemon=True).start()

    server = _Server(config, answers)
    try:
        asyncio.run(server.serve(sockets=[listener]))
    finally:
        listener.close()
        pools.close()


def _in_a_sentence(record: logging.LogRecord) -> bool:
    """Have the log say in a sentence why an answer broke off, where miripool knows it; a fault keeps its traceback."""
    error = record.exc_info[1] if record.exc_info else None
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MiripoolError):
        record.msg, record.args, record.exc_info = "an answer broke off: %s", (str(error),), None
    return True


def _prepare(pools: Pools, pool: str | None) -> None:
    """Load and count what the first reader needs, before he asks: the first pixel's libraries, 0.4 s, and facets.

    Facets of 1,000,000 products take 3 s; they are kept as long as the pool stays as it is.
    """
    importlib.import_module("astropy.table")
    importlib.import_module("astropy.time")
    try:
        for name in [pool] if pool is not None else pools.names()[:1]:
            core = core_of(pools.pool(name))
            page(core)
            for columns in (FACETS, "PROGRAM", "TARGNAME", "tags"):
                facets(core, columns=column_names(columns))
    except MiripoolError as error:  # the reader's own question will say so
        _log.debug("nothing was prepared: %s", error)


class _Server(uvicorn.Server):
    """Uvicorn, which says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()


def _listen(port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise InvalidInput(f"there is no port {port}; choose one from 1024 to 65535, or 0 for any that is free")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_ADDRESS, port))
    except PermissionError as error:
        listener.close()
        raise InvalidInput(f"port {port} is not for users; choose one from 1024 on") from error
    except OSError as error:
        listener.close()
        raise AlreadyExists(f"port {port} of this machine is used already; choose another with --port") from error
    listener.listen(128)
    return listener


def redirect_file(url: str, folder: Path | None = None) -> Path:
    """Write a page that leads to an address, for this user alone: the address never stands in the list of processes.

    Parameters
    ----------
    url : str
        With the token.
    folder : pathlib.Path, optional
        Where; the system's folder for temporary files unless given.

    Returns
    -------
    pathlib.Path
        The file, mode 0600; to be removed by the caller.
    """
    handle, name = tempfile.mkstemp(prefix="miripool-", suffix=".html", dir=folder)
    with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - mkstemp gives a number
        shown = html.escape(url)
        file.write('<!doctype html><meta charset="utf-8"><title>miripool</title>\n')
        file.write(f'<meta http-equiv="refresh" content="0; url={shown}">\n<a href="{shown}">miripool</a>\n')
    return Path(name)
