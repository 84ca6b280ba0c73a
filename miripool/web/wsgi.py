"""A WSGI application below a path of the server: its answers are streamed, and end when their reader leaves."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any, cast

from a2wsgi import WSGIMiddleware

from ..errors import Interrupted
from .readers import Readers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Below"]

_AT_ONCE = 16
"""Requests of a kind that are answered at a time; each has a thread."""
_GONE = "miripool.gone"


class _ReaderGone(Exception):
    """Nobody waits for the rest of an answer."""


class Below:
    """An application with a WSGI application below one of its paths.

    Parameters
    ----------
    app : ASGI application
        Answers all other paths.
    path : str
        The path, e.g. ``/dav``.
    wsgi : WSGI application
        Answers that path and those below it. It finds the path, after `prefix`, in ``SCRIPT_NAME``.
    prefix : str, keyword-only
        What proxies put before all paths.
    """

    def __init__(self, app: ASGIApp, path: str, wsgi: WSGIApplication, *, prefix: str = "") -> None:
        self._app = app
        self._path = path
        self._prefix = prefix
        # Lists never wait for files, whose readers may be slow.
        self._files, self._lists = _Threads(wsgi), _Threads(wsgi)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or not (scope["path"] + "/").startswith(self._path + "/"):
            await self._app(scope, receive, send)
            return
        gone = threading.Event()
        body = await _body(receive)
        watcher = asyncio.create_task(_watch(receive, gone))
        place = {"root_path": self._prefix + self._path, "path": self._prefix + scope["path"], _GONE: gone}
        try:
            answer = self._files if scope["method"] == "GET" else self._lists
            await answer({**scope, **place}, body, send)
        finally:
            gone.set()  # also where the server ends: the thread must not wait for it
            watcher.cancel()


class _Threads:
    """Threads in which a WSGI application answers, and their readers."""

    def __init__(self, wsgi: WSGIApplication) -> None:
        # a2wsgi has its own names for the types of WSGI and ASGI.
        self._answer: ASGIApp = cast("Any", WSGIMiddleware(cast("Any", _stopping(wsgi)), workers=_AT_ONCE))
        self._readers = Readers(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._readers.send(self._read_out, scope, receive, send)

    async def _read_out(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in a thread. It ends at its next piece where nobody reads on; until then it hands pieces over."""
        gone: threading.Event = scope[_GONE]
        late: Interrupted | None = None

        async def send_on(message: Message) -> None:
            nonlocal late
            if not gone.is_set():
                try:
                    await send(message)
                except Interrupted as error:
                    late = error
                    gone.set()

        try:
            await self._answer(scope, receive, send_on)
        except _ReaderGone:
            if late is not None:
                raise late from None


async def _body(receive: Receive) -> Receive:
    """Read a request's body, and give a way to read it again: all that comes then says that the sender has left."""
    pieces = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(pieces)

    async def receive_body() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


async def _watch(receive: Receive, gone: threading.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()


def _stopping(wsgi: WSGIApplication) -> WSGIApplication:
    """Have an application stop between two pieces of an answer that nobody waits for."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        gone = environ["asgi.scope"][_GONE]
        environ["wsgi.errors"] = sys.stderr
        pieces = wsgi(environ, start_response)
        try:
            for piece in pieces:
                if gone.is_set():
                    raise _ReaderGone
                yield piece
        finally:
            getattr(pieces, "close", lambda: None)()

    return answer
