"""Work that a request asks for: in a thread, within a time, and only as long as somebody waits for the answer."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute

from ..errors import Interrupted, InvalidInput
from ..index import Interrupt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from fastapi import Request, Response

__all__ = ["LIMIT", "QuestionRoute", "WaitingRoute", "WatchedRoute"]

LIMIT = 30.0
"""Seconds that one request may take."""

AT_ONCE = 20
"""Requests that are answered at a time, of some 40 threads: the page's own files never wait for others."""

_QUESTIONS = 12
"""Questions of those: what is quick does not wait for what may be slow."""

_LOOK = 0.5
"""Seconds between two looks at whether the reader is still there."""


class WatchedRoute(APIRoute):
    """A route whose work in the database is cancelled when its reader leaves, or after `LIMIT` seconds."""

    places = AT_ONCE
    """Requests of such routes that are answered at a time."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give the handler.

        Returns
        -------
        callable
            FastAPI's own, watched.
        """
        handle = super().get_route_handler()

        async def watched(request: Request) -> Response:
            _refuse_unknown(request)
            with Interrupt() as stop:
                watcher = asyncio.create_task(_watch(request, stop))
                try:
                    async with _room(request, self.places):
                        return await handle(request)
                except asyncio.CancelledError:
                    stop.now("the server ends")  # its thread would go on, and the server wait for it
                    raise
                finally:
                    watcher.cancel()

        return watched


def _refuse_unknown(request: Request) -> None:
    """Refuse parameters that the address does not have: a slip of the pen would give another answer, silently."""
    method = request.method.lower().replace("head", "get")
    described = request.app.openapi()["paths"].get(request.scope["route"].path_format, {}).get(method, {})
    known = sorted(one["name"] for one in described.get("parameters", ()) if one["in"] == "query")
    unknown = sorted(set(request.query_params) - {*known, "token"})
    if unknown:
        there = f"its parameters are {', '.join(known)}" if known else "it has none"
        raise InvalidInput(f"this address has no parameter {unknown[0]!r}; {there}")


class WaitingRoute(APIRoute):
    """A route that waits for something to happen: it takes no place among the requests that have work to do."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give the handler.

        Returns
        -------
        callable
            FastAPI's own, with parameters checked.
        """
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            _refuse_unknown(request)
            return await handle(request)

        return checked


class QuestionRoute(WatchedRoute):
    """A route whose work may take long: a question to the whole pool."""

    places = _QUESTIONS


@contextlib.asynccontextmanager
async def _room(request: Request, number: int) -> AsyncIterator[None]:
    """Wait for a place among the requests that are answered at a time."""
    places: asyncio.Semaphore = request.app.state.places.setdefault(number, asyncio.Semaphore(number))
    try:
        await asyncio.wait_for(places.acquire(), LIMIT)
    except TimeoutError:
        raise Interrupted(f"the server has had {number} slow questions for {LIMIT:.0f} s; ask again") from None
    try:
        yield
    finally:
        places.release()


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
