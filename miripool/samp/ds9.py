"""What only DS9 understands: questions and orders in its own words.

Its words are those of the XPA access points, https://ds9.si.edu/doc/ref/xpa.html.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import ProgramError

if TYPE_CHECKING:
    from .connection import Client, Connection

__all__ = ["ask", "check_shown", "is_ds9", "order"]

_SECONDS = 10.0
_SHOWN_SECONDS = 3.0
"""To wait until a frame has the file: while frames blink, another may be asked."""


def is_ds9(client: Client) -> bool:
    """Tell whether a program is DS9.

    Parameters
    ----------
    client : Client
        The program.

    Returns
    -------
    bool
        Whether it takes DS9's words.
    """
    return "ds9" in client.name.lower() and client.takes("ds9.get")


def ask(connection: Connection, client: Client, words: str) -> str:
    """Ask DS9.

    Parameters
    ----------
    connection : Connection
        From `connect`.
    client : Client
        DS9.
    words : str
        E.g. ``file``, ``fits size``, ``frame all``.

    Returns
    -------
    str
        Empty if there is nothing to say.

    Raises
    ------
    ProgramError
        If it does not answer, or does not know the words.
    """
    return str(connection.call(client, "ds9.get", {"cmd": words}, seconds=_SECONDS).get("value", ""))


def order(connection: Connection, client: Client, words: str) -> None:
    """Make DS9 do something.

    Parameters
    ----------
    connection, client : object
        As for `ask`.
    words : str
        E.g. ``zscale``, ``blink yes``.

    Raises
    ------
    ProgramError
        If it does not answer, or does not know the words.
    """
    connection.call(client, "ds9.set", {"cmd": words}, seconds=_SECONDS)


def check_shown(connection: Connection, client: Client, path: str) -> None:
    """Make sure that DS9 has loaded a file: it answers that all is well also if it has not.

    Parameters
    ----------
    connection, client : object
        As for `ask`.
    path : str
        The file.

    Raises
    ------
    ProgramError
        If no frame has it.
    """
    until = time.monotonic() + _SHOWN_SECONDS
    while True:
        shown, size = ask(connection, client, "file"), ask(connection, client, "fits size")
        if shown.partition("[")[0] == path and size not in ("", "0 0"):
            return
        if time.monotonic() > until:
            raise ProgramError(f"{client.name} could not load {path}; look at its window for the reason")
        time.sleep(0.1)
