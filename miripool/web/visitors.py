"""What a request says of its sender, and what becomes of it: a visitor who is let in, or an answer at the door."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from starlette.types import Scope

    from .replies import Reply

__all__ = ["DAV", "Door", "Knock", "Visitor", "host_of", "is_same", "split_host"]

DAV = "/dav"
"""Where pools are files for WebDAV."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who has sent a request.

    Attributes
    ----------
    user : str or None
        The user's name, as a proxy gives it; None for the user who has started the server.
    write : bool
        Whether the visitor may change pools.
    key : str or None
        What the page of this visitor sends with each change, if the server gives it away by ``api/session``.
    """

    user: str | None = None
    write: bool = False
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Knock:
    """A request at the door.

    Attributes
    ----------
    method, path : str
        The path without the proxy's prefix.
    query : dict
        Parameters: the values of each, in order.
    headers : dict
        Values of each header, by its name in small letters; bytes are read as Latin-1.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, list[str]]

    @classmethod
    def of(cls, scope: Scope) -> Knock:
        """Read a request.

        Parameters
        ----------
        scope : dict
            Of ASGI.

        Returns
        -------
        Knock
            What it says.
        """
        headers: dict[str, list[str]] = {}
        for key, value in scope["headers"]:
            headers.setdefault(key.decode("latin-1"), []).append(value.decode("latin-1"))
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return cls(scope["method"], scope["path"], query, headers)

    @property
    def is_for_files(self) -> bool:
        """Whether it is for pools as files (WebDAV)."""
        return self.path == DAV or self.path.startswith(DAV + "/")

    def header(self, name: str) -> str:
        """Give the first value of a header.

        Parameters
        ----------
        name : str
            In small letters.

        Returns
        -------
        str
            Empty if the request has no such header.
        """
        return self.headers.get(name, [""])[0]


class Door(Protocol):
    """Who may enter a server."""

    def admit(self, knock: Knock) -> Visitor | Reply:
        """Let the sender of a request in, or say why not.

        Parameters
        ----------
        knock : Knock
            The request.

        Returns
        -------
        Visitor or Reply
            An answer goes out at once.
        """
        ...

    def refuse_change(self, knock: Knock, visitor: Visitor) -> Reply | None:
        """Say why a request of a visitor may not change anything.

        Parameters
        ----------
        knock : Knock
            The request.
        visitor : Visitor
            From `admit`.

        Returns
        -------
        Reply or None
            None if it may.
        """
        ...


def host_of(origin: str) -> str:
    """Give the host of an Origin, in small letters.

    Parameters
    ----------
    origin : str
        As a browser sends it.

    Returns
    -------
    str
        With the port if it has one; empty where there is none, or half an IPv6 address.
    """
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def split_host(host: str) -> tuple[str, str]:
    """Take a host apart.

    Parameters
    ----------
    host : str
        As in the header Host.

    Returns
    -------
    str, str
        Its name, with brackets if it is an IPv6 address, and its port, which may be empty.
    """
    if host.startswith("["):
        name, _, port = host.partition("]")
        return name + "]", port.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port


def is_same(given: str, secret: str) -> bool:
    """Tell whether a secret was given, in a time that says nothing about it.

    Parameters
    ----------
    given, secret : str
        Any text.

    Returns
    -------
    bool
        Whether they are equal.
    """
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())
