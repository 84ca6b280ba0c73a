"""Work that a request asks for: in a thread, within a time, and only as long as somebody waits for the answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute

from ..index import Interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Request, Response

__all__ = ["LIMIT", "WatchedRoute"]

LIMIT = 30.0
"""Seconds that one request may take."""

_LOOK = 0.5
"""Seconds between two looks at whether the reader is still there."""


class WatchedRoute(APIRoute):
    """A route whose work in the database is cancelled when its reader leaves, or after `LIMIT` seconds."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give the handler.

        Returns
        -------
        callable
            FastAPI's own, watched.
        """
        handle = super().get_route_handler()

        async def watched(request: Request) -> Response:
            with Interrupt() as stop:
                watcher = asyncio.create_task(_watch(request, stop))
                try:
                    return await handle(request)
                finally:
                    watcher.cancel()

        return watched


async def _watch(request: Request, stop: Interrupt) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + LIMIT
    while loop.time() < end:
        await asyncio.sleep(_LOOK)
        # A request that changes something has a body to be read, and is carried through once it has begun.
        if request.method == "GET" and await request.is_disconnected():
            await asyncio.to_thread(stop.now, "the reader has left")
            return
    if request.method == "GET":
        seconds = f"{LIMIT:.0f} seconds"
        await asyncio.to_thread(stop.now, f"this took longer than {seconds}; ask for less, or ask on the command line")
