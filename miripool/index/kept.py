"""Answers that are kept: what was counted of an index stays right until the index takes in another entry."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from .interrupt import check_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Answers"]

_T = TypeVar("_T")
_LOOK_SECONDS = 0.1
_LONG_SECONDS = 0.25
"""An answer that took so long may be an earlier one, where the asker does not mind."""


class _Answer(NamedTuple):
    """An answer, of which state it is, when it was found (monotonic clock), and how long it took, in seconds."""

    value: Any
    state: Hashable
    found: float
    took: float

    def is_good(self, state: Hashable, patience: float) -> bool:
        """Tell whether it answers a question about a state of the index."""
        if self.state == state:
            return True
        return self.took >= _LONG_SECONDS and time.monotonic() - self.found < patience * self.took


class Answers:
    """Answers of this process by their questions, the latest used ones. Each question is asked once at a time.

    Parameters
    ----------
    most : int
        How many to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._asked: dict[Hashable, threading.Lock] = {}

    def get(self, question: Hashable, state: Hashable, ask: Callable[[], _T], *, patience: float = 0.0) -> _T:
        """Give an answer; ask unless it is kept. Of several threads with the same question one asks.

        Parameters
        ----------
        question : hashable
            All that the answer depends on, but for the state.
        state : hashable
            Of the index: where it stands.
        ask : callable
            Finds the answer.
        patience : float, keyword-only
            An answer about another state will do for so many times as long as it took to find, if it took long.

        Returns
        -------
        object
            What `ask` gave, now or earlier; not to be changed.

        Raises
        ------
        Interrupted
            If this thread was stopped while another one asked.
        """
        with self._lock:
            known = self._look_up(question, state, patience)
            asking = self._asked.setdefault(question, threading.Lock())
        if known is not None:
            return cast("_T", known.value)
        while not asking.acquire(timeout=_LOOK_SECONDS):
            check_interrupt()
        try:
            with self._lock:
                known = self._look_up(question, state, patience)
            if known is not None:
                return cast("_T", known.value)
            began = time.monotonic()
            value = ask()
            found = time.monotonic()
            with self._lock:
                self._found[question] = _Answer(value, state, found, found - began)
                self._found.move_to_end(question)
                while len(self._found) > self._most:
                    self._asked.pop(self._found.popitem(last=False)[0], None)
            return value
        finally:
            with self._lock:
                if question not in self._found:  # it has failed
                    self._asked.pop(question, None)
            asking.release()

    def _look_up(self, question: Hashable, state: Hashable, patience: float) -> _Answer | None:
        known = self._found.get(question)
        if known is None or not known.is_good(state, patience):
            return None
        self._found.move_to_end(question)
        return known
