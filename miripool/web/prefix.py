"""What a proxy puts before the server's paths: taken off where it is known, and recognised where it is not."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..errors import InvalidInput
from ..model.names import shown
from .visitors import DAV

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Prefixed", "nothing_at", "read_prefix"]

_OWN = frozenset({"api", "files", "static", DAV.strip("/")})
"""First parts of the server's paths."""
_PREFIX = re.compile(r"(/[\w.~@:+-]+)+", re.ASCII)
_MOST_PATH = 100


def read_prefix(text: str) -> str:
    """Read what a user gives as the proxy's prefix.

    Parameters
    ----------
    text : str
        E.g. ``/miripool``, with or without a slash at the end; empty for none.

    Returns
    -------
    str
        Without a slash at the end.

    Raises
    ------
    InvalidInput
        If no address can begin so, or the server's own addresses do.
    """
    prefix = text.rstrip("/")
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise InvalidInput(f"{shown(text)} is no prefix of paths; write it as the proxy has it, e.g. /miripool")
    if prefix.split("/")[1:2] and prefix.split("/")[1] in _OWN:
        raise InvalidInput(f"the prefix {prefix} begins as the server's own addresses do; choose another in the proxy")
    return prefix


class Prefixed:
    """An application whose paths may come with a prefix, or without it, as proxies take it off.

    Parameters
    ----------
    app : ASGI application
        Knows nothing of the prefix.
    prefix : str
        From `read_prefix`.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            if scope["path"] == self._prefix:
                # The page's addresses are relative: they need the slash.
                headers = [(b"location", f"{self._prefix}/".encode()), (b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 308, "headers": headers})
                await send({"type": "http.response.body"})
                return
            if scope["path"].startswith(self._prefix + "/"):
                scope = {**scope, "path": scope["path"].removeprefix(self._prefix)}
        await self._app(scope, receive, send)


def nothing_at(path: str, prefix: str = "") -> str:
    """Say that there is nothing at a path, and what to do where a proxy seems to have put something before it.

    Parameters
    ----------
    path : str
        As the server got it, without its own prefix.
    prefix : str
        What the server takes off; from `read_prefix`.

    Returns
    -------
    str
        A sentence.
    """
    parts = path.strip("/").split("/")
    if parts[0] == DAV.strip("/"):
        return "this server does not show pools as files; start `miripool serve` with --dav"
    nothing = "there is nothing at this address"
    if parts[0] in _OWN:
        return nothing
    before = list(itertools.takewhile(lambda part: part not in _OWN, parts))
    is_unknown = before == parts
    if is_unknown and "." in parts[-1]:
        before.pop()  # a file, such as /favicon.ico, which browsers ask for by themselves
    found = "/" + "/".join(before)
    if not before or len(found) > _MOST_PATH or (is_unknown and prefix):  # rather mistyped
        return nothing
    return (
        f"{nothing}; if a proxy puts {quote(found)} before the server's addresses, start the server with "
        f"--prefix {quote(found)}, or have the proxy take it off (Caddy: handle_path, not handle)"
    )
