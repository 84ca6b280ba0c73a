"""Signals that end programs, noted instead of obeyed, so that what is at work comes to its end first."""

from __future__ import annotations

import contextlib
import queue
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ending_noted"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def ending_noted(*, only_first: bool = False) -> Iterator[queue.SimpleQueue[None]]:
    """Put something into a queue when a signal comes that ends programs.

    A signal that was ignored before, as by ``nohup``, is ignored further.

    Parameters
    ----------
    only_first : bool, keyword-only
        A second signal does what it did before, so that the user can end what takes too long.

    Yields
    ------
    queue.SimpleQueue
        For the main thread. An event would not do: its lock may be held when the signal comes.
    """
    came: queue.SimpleQueue[None] = queue.SimpleQueue()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(*_: object) -> None:
        came.put(None)
        if only_first:
            restore()

    try:
        for number in _SIGNALS:
            if before[number] != signal.SIG_IGN:
                signal.signal(number, note)
        yield came
    finally:
        restore()
