"""Serving: one process, on 127.0.0.1 or on a socket file, until it is interrupted or its parent has ended."""

from __future__ import annotations

import asyncio
import contextlib
import html
import importlib
import logging
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import uvicorn

from ..errors import MiripoolError
from ..pool.core import core_of
from ..pool.listing import column_names
from ..pool.page import facets, page
from .access import Access
from .answers import broken_by
from .app import make_app
from .desktop import Desktop
from .listening import listen_on_file, listen_on_port
from .listing import FACETS
from .pointing import receiving
from .pools import Pools

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import WSGIApplication

    from starlette.types import ASGIApp

    from ..session.home import Home
    from .team import Team

__all__ = ["redirect_file", "serve", "serve_team"]

_log = logging.getLogger(__name__)

_PROXY_KEEPS = 300
"""Seconds that a proxy's connection stays open: longer than the 120 s of Caddy, which may use it to its last second."""
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
    prefix: str = "",
    has_desktop: bool = False,
    ready: Callable[[str], None],
) -> None:
    """Serve pools to the user who runs this process, until interrupted.

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
    prefix : str, keyword-only
        What a proxy puts before all paths; from `miripool.web.prefix.read_prefix`.
    has_desktop : bool, keyword-only
        Whether the page sends to programs on this user's desktop, and listens to them.
    ready : callable, keyword-only
        Called with the page's address, token included, once the server answers.

    Raises
    ------
    PoolNotFound
        If there is no such pool.
    AlreadyExists
        If the port is used.
    """
    with _opened(home, pool) as pools, listen_on_port(port) as listener:
        access = Access(listener.getsockname()[1], write, frozenset(host.lower() for host in hosts))
        with contextlib.closing(Desktop(receiving(pools))) if has_desktop else contextlib.nullcontext() as desktop:
            app = make_app(pools, access, pool=pool, dav=dav, prefix=prefix, desktop=desktop)
            ending = None if desktop is None else desktop.end
            _run(app, listener, pools, pool, lambda: ready(access.url_of(pool)), ending=ending)


def serve_team(
    home: Home,
    team: Team,
    socket: Path,
    *,
    group: str | None = None,
    pool: str | None = None,
    dav: WSGIApplication | None = None,
    prefix: str = "",
    ready: Callable[[str], None],
) -> None:
    """Serve pools to the users of a proxy, until interrupted: on a socket file only, so that nobody gets past it.

    Parameters
    ----------
    home : Home
        The pools' home.
    team : Team
        Who may read and write.
    socket : pathlib.Path
        The socket file.
    group : str, keyword-only, optional
        The group that may open it, besides this user.
    pool : str, keyword-only, optional
        Show this pool first.
    dav : WSGI application, keyword-only, optional
        Pools as files, for WebDAV, at ``/dav``.
    prefix : str, keyword-only
        What the proxy puts before all paths; from `miripool.web.prefix.read_prefix`.
    ready : callable, keyword-only
        Called with the socket's path once the server answers.

    Raises
    ------
    PoolNotFound
        If there is no such pool.
    AlreadyExists, FileMissing, InvalidInput
        If there can't be such a socket.
    """
    with _opened(home, pool) as pools, listen_on_file(socket, group) as listener:
        app = make_app(pools, team, pool=pool, dav=dav, prefix=prefix)
        _run(app, listener, pools, pool, lambda: ready(listener.getsockname()), keep_alive=_PROXY_KEEPS)


def _end(*_: object) -> NoReturn:
    raise SystemExit(0)


@contextlib.contextmanager
def _opened(home: Home, pool: str | None) -> Iterator[Pools]:
    """Give a home's pools. SIGTERM, by which a service manager ends the server, leaves nothing open or behind."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        with contextlib.closing(Pools(home)) as pools:
            if pool is not None:
                pools.pool(pool)  # a pool that is not there is said before the server starts
            yield pools
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(
    app: ASGIApp,
    listener: socket.socket,
    pools: Pools,
    pool: str | None,
    ready: Callable[[], None],
    *,
    keep_alive: int = 5,
    ending: Callable[[], None] | None = None,
) -> None:
    # The access log would hold the token.
    config = uvicorn.Config(
        app,
        log_config=None,  # uvicorn's own looks at stdout, which may be closed
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=_END,
    )
    logging.getLogger("uvicorn.error").addFilter(_in_a_sentence)

    def answers() -> None:
        ready()
        threading.Thread(target=_prepare, args=[pools, pool], daemon=True).start()

    asyncio.run(_Server(config, answers, ending).serve(sockets=[listener]))


def _in_a_sentence(record: logging.LogRecord) -> bool:
    """Have the log say in a sentence why an answer broke off, where miripool knows it; a fault keeps its traceback.

    An answer that the server's end breaks off is no fault; that some did, the log says once.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, asyncio.CancelledError):
        return False
    cause = None if error is None else broken_by(error)
    if cause is not None:
        record.msg, record.args, record.exc_info = "an answer broke off: %s", (str(cause),), None
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
    """Uvicorn, which says when it answers, and when it ends."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], ending: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._ready = ready
        self._ending = ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; requests that wait for something to happen wait no longer."""
        if self._ending is not None:
            self._ending()
        await super().shutdown(sockets=sockets)


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
