"""What only DS9 understands: questions and orders in its own words.

Its words are those of the XPA access points, https://ds9.si.edu/doc/ref/xpa.html.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from ..errors import ProgramError
from .connection import Gone

if TYPE_CHECKING:
    from .connection import Client, Connection

__all__ = ["ask", "ensure_ds9", "invite_ds9", "is_ds9", "order"]

_PROGRAMS = ("ds9", "SAOImageDS9", "/Applications/SAOImageDS9.app/Contents/MacOS/ds9")
_START_SECONDS = 60.0
_XPA_SECONDS = 5.0
_started: list[subprocess.Popen[bytes]] = []
"""They live on after this program; an object that is forgotten would warn of that."""

_SECONDS = 10.0


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


def invite_ds9(connection: Connection) -> Client | None:
    """Make a DS9 that runs without a hub connect to ours, by XPA: by itself it looks for one only when it starts.

    Parameters
    ----------
    connection : Connection
        From `connect`.

    Returns
    -------
    Client or None
        None if there is no such DS9, or XPA's tools are not installed.
    """
    if shutil.which("xpaset") is None:
        return None
    if not _by_xpa("samp connect"):
        _by_xpa("samp disconnect")  # it still holds on to a hub that was killed
        if not _by_xpa("samp connect"):
            return None
    return _wait(connection, _XPA_SECONDS)


def _by_xpa(words: str) -> bool:
    """Give an order to every DS9 of this user; tell whether there is one, and it obeys."""
    command = ["xpaset", "-p", "DS9:*", *words.split()]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_XPA_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def ensure_ds9(connection: Connection) -> Client:
    """Find DS9, or start it. It lives on when this program ends.

    Parameters
    ----------
    connection : Connection
        From `connect`.

    Returns
    -------
    Client
        DS9, ready to load images; of several the one that came last.

    Raises
    ------
    ProgramError
        If it is not installed, there is no screen, or it does not start.
    """
    client = _wait(connection, 0.0) or invite_ds9(connection)
    if client is not None:
        return client
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise ProgramError(
            "DS9 is not installed, or not on the PATH; get it from https://ds9.si.edu, by `apt install saods9`, or by "
            "`conda install -c conda-forge ds9`"
        )
    if sys.platform != "darwin" and not os.environ.get("DISPLAY"):
        raise ProgramError(
            "DS9 needs a screen, and DISPLAY is not set; log in with `ssh -X`, or look at the page of "
            "`miripool browse` or at a picture by `miripool plot`"
        )
    with tempfile.TemporaryFile() as said:
        quiet = subprocess.DEVNULL
        process = subprocess.Popen([program], stdin=quiet, stdout=quiet, stderr=said, start_new_session=True)
        _started.append(process)
        client = _wait(connection, _START_SECONDS, process)
        if client is not None:
            return client
        said.seek(0)
        words = said.read().decode(errors="replace").strip().splitlines() or ["it says nothing"]
    if process.poll() is not None:
        raise ProgramError(f"{program} ended when it should start: {words[0]}")
    raise ProgramError(
        f"{program} runs, but has not connected to the SAMP hub within {_START_SECONDS:.0f} s; choose File, SAMP, "
        "Connect in its window, and try again"
    )


def _wait(connection: Connection, seconds: float, process: subprocess.Popen[bytes] | None = None) -> Client | None:
    """Wait for a DS9 at the hub; not for one whose process has ended."""
    until = time.monotonic() + seconds
    while True:
        for client in reversed(connection.clients()):
            if is_ds9(client):
                with contextlib.suppress(Gone):  # a hub may list one that was killed
                    ask(connection, client, "version")
                    return client
        if time.monotonic() >= until or (process is not None and process.poll() is not None):
            return None
        time.sleep(0.1)
