"""The server among the programs of the user's desktop: a SAMP client from the first time that the page asks for it."""

from __future__ import annotations

import importlib.util
import logging
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from ..errors import MiripoolError, ProgramError
from ..samp import connect, leave_hubs, need_samp
from ..samp.lockfile import running_hub
from .heard import Heard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..samp import Client, Connection
    from ..samp.lockfile import HubAddress

__all__ = ["INSTALL", "Desktop", "is_available", "title_of"]

_log = logging.getLogger(__name__)

INSTALL = "pip install 'miripool[samp]'"
"""What brings the extra that sending needs."""

_NAME = "miripool"
_TITLES = {"ds9": "DS9", "topcat": "TOPCAT", "aladin": "Aladin"}
_STAY = 180.0
"""Seconds for which the server stays at the hub after a page has asked: pages that are out of sight ask each minute."""
_END = 2.0
"""Seconds that leaving the hub may take when the server ends: a hub may hang."""
_LOOK = 2.0
"""Seconds between two looks for a hub, and at whether it is still there."""


def is_available() -> bool:
    """Tell whether the extra ``samp`` is installed; it is not loaded.

    Returns
    -------
    bool
        Whether programs can be reached.
    """
    return importlib.util.find_spec("pyvo") is not None


def title_of(name: str) -> str:
    """Give the name of a program as people know it.

    Parameters
    ----------
    name : str
        As the program calls itself, e.g. ``SAOImageDS9``.

    Returns
    -------
    str
        E.g. ``DS9``.
    """
    return next((title for part, title in _TITLES.items() if part in name.lower()), name)


class Desktop:
    """The programs of the desktop, as far as they listen. Several threads may use it.

    Parameters
    ----------
    receiving : mapping of str to callable
        For each type of message that other programs send, what is called with the program's name and the message's
        parameters; it gives the event for the pages, or None if the message is about nothing of ours.

    Attributes
    ----------
    heard : Heard
        What the other programs said.
    """

    def __init__(self, receiving: Mapping[str, Callable[[str, dict[str, Any]], dict[str, Any] | None]]) -> None:
        self.heard = Heard()
        self._receiving = {mtype: self._taker(function) for mtype, function in receiving.items()}
        self._changing = threading.Lock()
        """Held while the server comes to a hub, which takes a while."""
        self._connection: Connection | None = None
        self._stack = ExitStack()
        self._names: dict[str, str] = {}
        self._asked = 0.0
        self._keeper: threading.Thread | None = None
        self._keeping = threading.Lock()
        self._closed = threading.Event()

    def listen(self) -> None:
        """Be at the hub, if one runs and as soon as one runs, for as long as pages ask. It waits for no hub."""
        self._asked = time.monotonic()
        with self._keeping:
            if self._closed.is_set() or (self._keeper is not None and self._keeper.is_alive()):
                return
            self._keeper = threading.Thread(target=self._keep, daemon=True)
            self._keeper.start()

    def join(self) -> None:
        """Be at the hub at once; one is started if there is none.

        Raises
        ------
        InvalidInput
            If the extra ``samp`` is not installed.
        ProgramError
            If the hub can't be started or does not answer.
        """
        self.listen()
        self._leave_gone()
        self._connect()

    def clients(self) -> list[Client]:
        """List the programs that listen.

        Returns
        -------
        list of Client
            None of them if the server is not at the hub.

        Raises
        ------
        ProgramError
            If the hub does not answer.
        """
        self.listen()
        # This question finds out whether the hub hangs: questions of the connection would wait for each other.
        if self._connection is None or self._leave_gone() is None or (connection := self._connection) is None:
            return []
        try:
            return connection.clients()
        except ProgramError:
            if self._leave_gone() is not None:  # it is there, and has no answer
                raise
            return []

    def end(self) -> None:
        """Let go of all who wait: pages for events, senders for answers. It does not wait itself."""
        self._closed.set()
        self.heard.end()
        threading.Thread(target=leave_hubs, daemon=True).start()

    def close(self) -> None:
        """Leave the hub for good. A second call does nothing."""
        self.end()
        leaving = threading.Thread(target=self._leave, daemon=True)
        leaving.start()
        leaving.join(_END)

    def _keep(self) -> None:
        """Look after the connection: hubs come and go, and so do pages."""
        while not self._closed.is_set() and time.monotonic() - self._asked < _STAY:
            try:
                if self._leave_gone() is not None and not self._closed.is_set():
                    self._connect()
            except MiripoolError as error:  # who asks for it gets the words
                _log.debug("not at the hub: %s", error)
            self._closed.wait(_LOOK)
        self._leave()

    def _leave_gone(self) -> HubAddress | None:
        """Forget a hub that has ended; gives the one that runs now."""
        connection, address = self._connection, running_hub()
        if connection is not None and (address is None or address.secret != connection.address.secret):
            self._leave(connection)
        return address

    def _connect(self) -> None:
        with self._changing:
            if self._connection is None:
                need_samp()
                self._connection = self._stack.enter_context(connect(_NAME, receiving=self._receiving))

    def _leave(self, gone: Connection | None = None) -> None:
        """Leave the hub; with `gone`, only if no other connection has taken the place of that one."""
        with self._changing:
            if gone not in (None, self._connection):
                return
            self._connection = None
            self._names.clear()
            leaving = self._stack.pop_all()
        leaving.close()

    def _taker(self, function: Callable[[str, dict[str, Any]], dict[str, Any] | None]) -> Callable[..., None]:
        def take(sender: str, parameters: dict[str, Any]) -> None:
            event = function(self._name_of(sender), parameters)
            if event is not None:
                self.heard.add(event)

        return take

    def _name_of(self, sender: str) -> str:
        connection = self._connection
        if sender not in self._names and connection is not None:
            with suppress(ProgramError):  # a message is taken without a name, too
                self._names.update({client.id: client.name for client in connection.clients()})
        return title_of(self._names.get(sender, sender))
