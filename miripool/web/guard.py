"""The guard: it lets requests in through the server's door, or answers them there; and keeps all answers safe."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ..store.journal import acting_as
from .replies import Reply
from .visitors import Knock

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .visitors import Door, Visitor

__all__ = ["Guard"]

_MOST_BODY = 2 << 20
"""Bytes of a request's body; 100,000 serial numbers take less than half of it."""
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_READING_FILES = _READING | {"PROPFIND"}
_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'self'; base-uri 'none'; object-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Guard:
    """Refuses requests that may not enter, before anything else of the server sees them.

    Parameters
    ----------
    app : ASGI application
        What is guarded. It finds the visitor in the request's state.
    door : Door
        Who may enter.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        knock = Knock.of(scope)
        found = self._admit(knock)
        if isinstance(found, Reply):
            await found.send(send_safely, knock.header("accept"))
            return
        entered = {**scope, "state": {**scope.get("state", {}), "visitor": found}, "query_string": _query(knock)}
        with contextlib.nullcontext() if found.user is None else acting_as(found.user):
            await self._app(entered, _limited(receive), send_safely)

    def _admit(self, knock: Knock) -> Visitor | Reply:
        found = self._door.admit(knock)
        if isinstance(found, Reply):
            return found
        return _refuse(knock) or self._refuse_change(knock, found) or found

    def _refuse_change(self, knock: Knock, visitor: Visitor) -> Reply | None:
        if knock.method in (_READING_FILES if knock.is_for_files else _READING):
            return None
        if knock.is_for_files:
            message = "files of a pool can't be changed; use the page, or miripool itself"
            # Where a folder is to be made, 405 would mean that it is there.
            status = 403 if knock.method == "MKCOL" else 405
            return Reply(status, "read-only", message, ((b"allow", ", ".join(sorted(_READING_FILES)).encode()),))
        return self._door.refuse_change(knock, visitor)


def _refuse(knock: Knock) -> Reply | None:
    if "\0" in knock.path or any("\0" in text for key, values in knock.query.items() for text in (key, *values)):
        return Reply(400, "invalid-input", "an address can't hold the character NUL; leave it out")
    return None


def _query(knock: Knock) -> bytes:
    """Leave out parameters without a value: a form sends them for what was not filled in."""
    return urlencode([(key, value) for key, values in knock.query.items() for value in values if value]).encode()


def _limited(receive: Receive) -> Receive:
    """Cut a body off that is too long: what is left of it is no JSON, and is refused as such."""
    left = _MOST_BODY

    async def receive_some() -> Message:
        nonlocal left
        message = await receive()
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                return {"type": "http.request", "body": b"", "more_body": False}
        return message

    return receive_some
