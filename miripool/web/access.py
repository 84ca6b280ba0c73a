"""Who may enter: the user who started the server. A token in the URL, then a cookie; Host and Origin are checked."""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Access", "Guard"]

_LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
_MOST_BODY = 2 << 20
"""Bytes of a request's body; 100,000 serial numbers take less than half of it."""
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'self'; base-uri 'none'; object-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Access:
    """The secrets of one server, and what it allows.

    Attributes
    ----------
    port : int
        The server's port; cookies don't know ports, so the cookie's name carries it.
    write : bool
        Whether requests may change pools.
    hosts : frozenset of str
        Names in the header Host that are answered besides this machine's own, in small letters: names of proxies.
    token : str
        Opens the page once, or each request of a program.
    cookie : str
        What the page's browser keeps instead of the token.
    write_token : str
        What the page sends with each change.
    """

    port: int
    write: bool
    hosts: frozenset[str] = frozenset()
    token: str = field(default_factory=_secret, repr=False)
    cookie: str = field(default_factory=_secret, repr=False)
    write_token: str = field(default_factory=_secret, repr=False)

    @property
    def cookie_name(self) -> str:
        """Name of the cookie."""
        return f"miripool-{self.port}"

    def url_of(self, pool: str | None = None) -> str:
        """Give the address of the page, with the token.

        Parameters
        ----------
        pool : str, optional
            The pool that it shows first.

        Returns
        -------
        str
            For a browser.
        """
        query = {"token": self.token, **({} if pool is None else {"pool": pool})}
        return f"http://127.0.0.1:{self.port}/?{urlencode(query)}"

    def is_own_host(self, host: str) -> bool:
        """Tell whether a Host header, or the host of an Origin, names this server.

        Parameters
        ----------
        host : str
            With or without a port.

        Returns
        -------
        bool
            False for a name that somebody else's page could have resolved to this machine.
        """
        name, port = _split_host(host.lower())
        if name in self.hosts or host.lower() in self.hosts:
            return True
        return name in _LOCAL and (port or "80") == str(self.port)


def _split_host(host: str) -> tuple[str, str]:
    if host.startswith("["):
        name, _, port = host.partition("]")
        return name + "]", port.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # e.g. half an IPv6 address
        return ""


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())


class Guard:
    """Refuses requests that may not enter, before anything else of the server sees them.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    access : Access
        The server's secrets.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await _answer(send_safely, *refused)
        elif self._opens_page(scope):
            await _answer(send_safely, 303, "", "", self._welcome(scope))
        else:
            await self._app(_without_empty(scope), _limited(receive), send_safely)

    def _opens_page(self, scope: Scope) -> bool:
        """Tell whether a browser comes with the token: it gets a cookie, and an address without the token."""
        return scope["method"] == "GET" and scope["path"] in ("", "/") and "token" in _query(scope)

    def _welcome(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        left = [(key, value) for key, values in _query(scope).items() if key != "token" for value in values]
        # A browser sends cookies to every port of this machine, but no fragment to any: so the page alone can write.
        key = f"#key={self._access.write_token}" if self._access.write else ""
        # Lax, not Strict: a browser sends no strict cookie where a file or another page has led to this one.
        cookie = f"{self._access.cookie_name}={self._access.cookie}; Path=/; HttpOnly; SameSite=Lax"
        return [
            (b"location", ("./" + (f"?{urlencode(left)}" if left else "") + key).encode()),
            (b"set-cookie", cookie.encode()),
            (b"cache-control", b"no-store"),
        ]

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Give status, kind and sentence for a request that is not let in."""
        headers: dict[str, list[str]] = {}
        for key, value in scope["headers"]:
            headers.setdefault(key.decode("latin-1"), []).append(value.decode("latin-1"))
        host = headers.get("host", [])
        if len(host) != 1 or not self._access.is_own_host(host[0]):
            return (
                403,
                "host",
                (
                    f"this server does not answer as {', '.join(host) or 'a server without a name'}; "
                    "start it with --allow-host NAME if a proxy calls it so"
                ),
            )
        for origin in headers.get("origin", []):
            if not self._access.is_own_host(_host_of(origin)):
                return 403, "origin", f"requests of pages from {origin} are not answered"
        bearer = self._bears_token(headers)
        if not (bearer or self._knows_token(scope, headers)):
            return (
                401,
                "token",
                ("the token is missing or wrong; open the address that miripool printed when the server started"),
            )
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return 400, "invalid-input", "an address can't hold the character NUL; leave it out"
        if scope["method"] in _READING:
            return None
        return self._writing_refusal(headers, bearer)

    def _writing_refusal(self, headers: dict[str, list[str]], bearer: bool) -> tuple[int, str, str] | None:
        if not self._access.write:
            return 403, "read-only", "this server may not change pools; start `miripool serve` with --write"
        given = headers.get("x-miripool-token", [""])[0]
        if not (bearer or _same(given, self._access.write_token)):
            return (
                403,
                "token",
                ("a change needs the page's own token, which this tab lacks; open the address that miripool printed"),
            )
        return None

    def _bears_token(self, headers: dict[str, list[str]]) -> bool:
        scheme, _, given = headers.get("authorization", [""])[0].partition(" ")
        return scheme.lower() == "bearer" and _same(given.strip(), self._access.token)

    def _knows_token(self, scope: Scope, headers: dict[str, list[str]]) -> bool:
        given = _query(scope).get("token")
        if given is not None:
            return _same(given[0], self._access.token)
        pairs = [pair.strip().partition("=") for line in headers.get("cookie", []) for pair in line.split(";")]
        return any(name == self._access.cookie_name and _same(value, self._access.cookie) for name, _, value in pairs)


def _without_empty(scope: Scope) -> Scope:
    """Leave out parameters without a value: a form sends them for what was not filled in."""
    given = [(key, value) for key, values in _query(scope).items() for value in values if value]
    return {**scope, "query_string": urlencode(given).encode()}


def _limited(receive: Receive) -> Receive:
    """Cut a body off that is too long: what is left of it is no JSON, and is refused as such."""
    left = _MOST_BODY

    async def receive_some() -> Message:
        nonlocal left
        message = await receive()
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                return {"type": "http.request", "body": b"", "more_body": False}
        return message

    return receive_some


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)


async def _answer(
    send: Send, status: int, kind: str, message: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = json.dumps({"error": {"kind": kind, "message": message}}).encode() if message else b""
    told = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*told, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
