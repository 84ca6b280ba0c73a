"""The command that shows pools in a browser, and what all commands share that serve them."""

from __future__ import annotations

import os
import select
import signal
import threading
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InvalidInput
from .output import flush, say, write
from .session import home_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..session.home import Home

__all__ = ["FirstPool", "HostsOption", "PortOption", "browse_home", "need_web", "register", "tell_address"]

_PACKAGES = ("a2wsgi", "fastapi", "uvicorn", "wsgidav")
"""What the extra ``web`` brings."""

PortOption = Annotated[int, typer.Option("--port", metavar="N", help="Port on 127.0.0.1.", show_default="any free one")]
HostsOption = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="Also answer under this name, that of a proxy on this machine."),
]
FirstPool = Annotated[str | None, typer.Argument(metavar="[POOL]", help="The pool to show first.", show_default=False)]


def _browse(
    context: typer.Context,
    name: FirstPool = None,
    port: PortOption = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the system's browser.")] = False,
    allow_host: HostsOption = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
) -> None:
    """Look at pools in a browser: tables, images, pixels, versions, monitors.

    The page is for you alone: it answers on this machine only, and its address, which is printed, holds a token. It
    can tag, remove and restore versions. Ctrl-C ends it.
    """
    if until_eof:
        _end_with_parent()
    browse_home(home_of(context), name, port=port, open_browser=not no_open, hosts=allow_host or [])


def browse_home(
    home: Home, name: str | None, *, port: int = 0, open_browser: bool = True, hosts: Sequence[str] = ()
) -> None:
    """Serve the page until interrupted, and open it in the system's browser.

    Parameters
    ----------
    home : Home
        The pools' home.
    name : str or None
        The pool to show first.
    port : int, keyword-only
        Port on 127.0.0.1; 0 for any that is free.
    open_browser : bool, keyword-only
        Open the system's browser.
    hosts : sequence of str, keyword-only
        Further names under which the server answers.
    """
    need_web()
    from ..web.serving import redirect_file, serve

    files: list[Path] = []

    def ready(url: str) -> None:
        tell_address(url)
        if open_browser:
            files.append(redirect_file(url))
            # A browser in the terminal would take it over; opening may wait for the browser, so it has its thread.
            threading.Thread(target=webbrowser.open, args=[files[0].as_uri()], daemon=True).start()

    try:
        serve(home, pool=name, port=port, write=True, hosts=hosts, has_desktop=True, ready=ready)
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def tell_address(address: str) -> None:
    """Print where a server answers, at once: programs wait for this line.

    Parameters
    ----------
    address : str
        URL, or path of a socket.
    """
    write(address)
    flush()
    say("Ctrl-C ends the server")


def need_web() -> None:
    """Refuse to go on where the packages of the extra ``web`` are missing.

    Raises
    ------
    InvalidInput
        The message says how to install them.
    """
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise InvalidInput(
            f"the browser page needs the extra 'web', and {missing[0]} is not installed; "
            "install it with: pip install 'miripool[web]'"
        )


def _end_with_parent() -> None:
    """End when the process that started this one does: its end of the pipe at stdin closes, or this has another parent.

    A fork of the parent keeps the pipe open, so the pipe alone does not tell.
    """
    parent = os.getppid()

    def wait() -> None:
        while os.getppid() == parent:
            readable, _, _ = select.select([0], [], [], 1.0)
            if readable and not os.read(0, 4096):
                break
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def register(app: typer.Typer) -> None:
    """Add the command.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("browse")(_browse)
