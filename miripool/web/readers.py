"""Readers of answers: how many read at a time, and how long one of them may take for a piece."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ..errors import Interrupted
from ..model.names import shown
from .replies import Reply

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Readers"]

_PATIENCE = 60.0
"""Seconds that a reader may take for a piece. Who keeps a file open and reads nothing, as file systems do, would keep a
place and decoded tiles; such a reader asks for the rest when it goes on."""
_WAIT = 10.0
"""Seconds to wait for a place. rclone tries ten times: longer than slow readers can keep all places."""


class Readers:
    """Those who read answers of a kind, of which each takes memory or a thread.

    Parameters
    ----------
    places : int
        How many read at a time. One user of many has half of the places at most.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._free = asyncio.Semaphore(places)
        self._free_of: WeakValueDictionary[str | None, asyncio.Semaphore] = WeakValueDictionary()

    async def send(self, answer: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an answer when there is a place for its reader; say so if there is none.

        Parameters
        ----------
        answer : ASGI application
            Gives the answer.
        scope : dict
            The request; its state holds the visitor, if there was a guard.
        receive, send : callable
            Of ASGI.

        Raises
        ------
        Interrupted
            If the reader takes too long for a piece: `send` raises it within `answer`.
        """
        visitor = scope.get("state", {}).get("visitor")
        own = self._of(None if visitor is None else visitor.user)
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(_WAIT):
                    await stack.enter_async_context(own)
                    await stack.enter_async_context(self._free)
            except TimeoutError:
                await self._refuse(scope, send)
                return
            await answer(scope, receive, _in_time(send, scope["path"]))

    def _of(self, user: str | None) -> asyncio.Semaphore:
        """Give the places of a user; without names all readers are one user, who may have all places."""
        return self._free_of.setdefault(user, asyncio.Semaphore(self._places if user is None else self._places // 2))

    async def _refuse(self, scope: Scope, send: Send) -> None:
        message = f"the server, or this user, reads as many files as it may at a time; ask again in {_WAIT:.0f} seconds"
        accept = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"accept"), "")
        await Reply(503, "busy", message, ((b"retry-after", str(int(_WAIT)).encode()),)).send(send, accept)


def _in_time(send: Send, path: str) -> Send:
    async def send_in_time(message: Message) -> None:
        try:
            await asyncio.wait_for(send(message), _PATIENCE)
        except TimeoutError:
            raise Interrupted(f"nothing of {shown(path)} was read for {_PATIENCE:.0f} s") from None

    return send_in_time
