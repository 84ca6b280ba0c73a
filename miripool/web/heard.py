"""What other programs pointed at lately, for the pages that are open: each asks what is new since it asked last."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any

__all__ = ["Heard"]

_KEPT = 100
"""Events that a page which was out of sight for a while still gets."""


class Heard:
    """Numbered events. Any thread may add one; requests wait for them without holding a thread."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, dict[str, Any]]] = deque(maxlen=_KEPT)
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()
        self._ended = False
        self.last = 0
        """Number of the newest event."""

    @property
    def has_ended(self) -> bool:
        """Whether nobody needs to wait any longer, for the server ends."""
        return self._ended

    def add(self, event: dict[str, Any]) -> None:
        """Take an event up, and wake those who wait.

        Parameters
        ----------
        event : dict
            Values that JSON can hold.
        """
        with self._lock:
            self.last += 1
            self._events.append((self.last, event))
        self._wake()

    def end(self) -> None:
        """Let go of all who wait, now and later."""
        self._ended = True
        self._wake()

    def after(self, number: int) -> list[dict[str, Any]]:
        """Give the events that are newer than one.

        Parameters
        ----------
        number : int
            Its number.

        Returns
        -------
        list of dict
            The oldest first.
        """
        with self._lock:
            return [event for at, event in self._events if at > number]

    async def wait(self, number: int, seconds: float) -> None:
        """Wait until there is an event newer than one, until the end, or for a while.

        Parameters
        ----------
        number : int
            Number of that event.
        seconds : float
            For how long at most.
        """
        woken = asyncio.Event()
        waiter = (asyncio.get_running_loop(), woken)
        with self._lock:
            self._waiting.add(waiter)
            if self.last > number or self._ended:
                woken.set()
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            return
        finally:
            with self._lock:
                self._waiting.discard(waiter)

    def _wake(self) -> None:
        with self._lock:
            waiting = list(self._waiting)
        for loop, woken in waiting:
            loop.call_soon_threadsafe(woken.set)
