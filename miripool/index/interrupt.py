"""Interrupts: a question whose asker has gone, or that takes too long, is stopped from another thread.

The thread that asks holds an `Interrupt`. While one of its statements has a connection, the connection stands there,
and `Interrupt.now` has the server cancel the statement. Where no thread holds one, all of this takes a microsecond for
each connection, of the 30 of the shortest question.
"""

from __future__ import annotations

import contextlib
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ..errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Token
    from types import TracebackType

__all__ = ["Interrupt", "check_interrupt", "in_use", "interrupted"]

_AGAIN_SECONDS = 0.1
"""How long to wait before a statement is cancelled once more: it may not have reached the server before."""

_current: ContextVar[Interrupt | None] = ContextVar("miripool_interrupt", default=None)


class Interrupt:
    """A way to stop, from another thread, what this one asks of an index.

    ::

        with Interrupt() as stop:
            timer = threading.Timer(30, stop.now, ["the question took longer than 30 s"])
            timer.start()
            ...

    It holds for the thread, and the context, in which the body runs. Within the body of another one, either stops it.

    Attributes
    ----------
    reason : str or None
        Why it was stopped; None if it was not.
    """

    __slots__ = ("_cancels", "_lock", "_outer", "_sent", "_token", "reason")

    def __init__(self) -> None:
        self.reason: str | None = None
        self._lock = threading.Lock()
        self._cancels: dict[object, Callable[[], None]] = {}
        self._sent: set[object] = set()
        self._outer: Interrupt | None = None
        self._token: Token[Interrupt | None] | None = None

    def __enter__(self) -> Interrupt:
        self._outer = _current.get()
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
            self._token = None

    def now(self, reason: str) -> None:
        """Stop: a statement that runs is cancelled, and whatever is asked later is refused. Any thread may call this.

        Parameters
        ----------
        reason : str
            Message of the `Interrupted` that the asker gets; the first one counts.
        """
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
        if self._cancel():
            threading.Thread(target=self._repeat, name="miripool interrupt", daemon=True).start()

    def _cancel(self) -> bool:
        """Cancel what runs; tell whether there was anything. Nothing is given back meanwhile."""
        with self._lock:
            for connection, cancel in self._cancels.items():
                self._sent.add(connection)
                cancel()
            return bool(self._cancels)

    def _repeat(self) -> None:
        # A cancel that comes between two statements is ignored by the server.
        pause = threading.Event()
        while not pause.wait(_AGAIN_SECONDS) and self._cancel():
            pass

    def _add(self, connection: object, cancel: Callable[[], None]) -> None:
        with self._lock:
            self._cancels[connection] = cancel

    def _remove(self, connection: object) -> bool:
        """Forget a connection; tell whether a cancel was sent to it."""
        with self._lock:
            self._cancels.pop(connection, None)
            sent = connection in self._sent
            self._sent.discard(connection)
        return sent


def _chain() -> Iterator[Interrupt]:
    found = _current.get()
    while found is not None:
        yield found
        found = found._outer


def interrupted() -> Interrupted | None:
    """Give the error of what this thread does, if it was stopped.

    Returns
    -------
    Interrupted or None
        With the reason given to `Interrupt.now`; None if this thread was not stopped.
    """
    if _current.get() is None:
        return None
    reason = next((one.reason for one in _chain() if one.reason is not None), None)
    return None if reason is None else Interrupted(reason)


def check_interrupt() -> None:
    """Stop here, if what this thread does was stopped: for work in Python between two statements.

    Raises
    ------
    Interrupted
        With the reason that `Interrupt.now` was given.
    """
    error = interrupted()
    if error is not None:
        raise error


@contextlib.contextmanager
def in_use(cancel: Callable[[], None], throw_away: Callable[[], None]) -> Iterator[None]:
    """Let statements be cancelled while a connection is in use.

    Parameters
    ----------
    cancel : callable
        Has the server cancel what runs on the connection; called from other threads.
    throw_away : callable
        Closes the connection for good. A late cancel would stop the next statement on it.

    Yields
    ------
    None
        For the body, which uses the connection.

    Raises
    ------
    Interrupted
        If it was stopped before.
    """
    if _current.get() is None:
        yield
        return
    check_interrupt()
    connection = object()
    chain = list(_chain())
    for one in chain:
        one._add(connection, cancel)
    try:
        check_interrupt()  # it may have been stopped before the connection stood there
        yield
    finally:
        sent = [one._remove(connection) for one in chain]
        if any(sent):
            throw_away()
