"""Who may enter: the user who started the server. A token in the URL, then a cookie; Host and Origin are checked."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlencode

from .replies import Reply
from .visitors import Knock, Visitor, host_of, is_same, split_host

__all__ = ["Access"]

_LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
_BASIC = ((b"www-authenticate", b'Basic realm="miripool"'),)


def _secret() -> str:
    return secrets.token_hex(24)  # begins with no "-", which programs would take for an option


@dataclass(frozen=True, slots=True)
class Access:
    """The secrets of one server, and what it allows: the door for the user who has started it.

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
        name, port = split_host(host.lower())
        if name in self.hosts or host.lower() in self.hosts:
            return True
        return name in _LOCAL and (port or "80") == str(self.port)

    def admit(self, knock: Knock) -> Visitor | Reply:
        """Let a request in that has the token, or the cookie; a browser with the token gets the cookie.

        Parameters
        ----------
        knock : Knock
            The request.

        Returns
        -------
        Visitor or Reply
            The user who started the server.
        """
        host = knock.headers.get("host", [])
        if len(host) != 1 or not self.is_own_host(host[0]):
            message = (
                f"this server does not answer as {', '.join(host) or 'a server without a name'}; "
                "start it with --allow-host NAME if a proxy calls it so"
            )
            return Reply(403, "host", message)
        for origin in knock.headers.get("origin", []):
            if not self.is_own_host(host_of(origin)):
                return Reply(403, "origin", f"requests of pages from {origin} are not answered")
        if not (self._is_sent_by_program(knock) or self._has_token_or_cookie(knock)):
            return _refuse_stranger(knock)
        if knock.method == "GET" and knock.path in ("", "/") and "token" in knock.query:
            return self._welcome(knock)
        return Visitor(write=self.write)

    def refuse_change(self, knock: Knock, visitor: Visitor) -> Reply | None:
        """Refuse a change on a server that only reads, and one that neither the page nor a program with the token asks.

        Parameters
        ----------
        knock : Knock
            The request.
        visitor : Visitor
            Its sender.

        Returns
        -------
        Reply or None
            None if it may change something.
        """
        if not visitor.write:
            message = "this server may not change pools; start `miripool serve` with --write"
            return Reply(403, "read-only", message)
        if self._is_sent_by_program(knock) or is_same(knock.header("x-miripool-token"), self.write_token):
            return None
        message = "a change needs the page's own token, which this tab lacks; open the address that miripool printed"
        return Reply(403, "token", message)

    def _welcome(self, knock: Knock) -> Reply:
        """Give a browser that comes with the token a cookie, and an address without the token."""
        left = [(key, value) for key, values in knock.query.items() if key != "token" for value in values]
        # A browser sends cookies to every port of this machine, but no fragment to any: so the page alone can write.
        key = f"#key={self.write_token}" if self.write else ""
        # Lax, not Strict: a browser sends no strict cookie where a file or another page has led to this one.
        cookie = f"{self.cookie_name}={self.cookie}; Path=/; HttpOnly; SameSite=Lax"
        headers = (
            (b"location", ("./" + (f"?{urlencode(left)}" if left else "") + key).encode()),
            (b"set-cookie", cookie.encode()),
            (b"cache-control", b"no-store"),
        )
        return Reply(303, headers=headers)

    def _is_sent_by_program(self, knock: Knock) -> bool:
        """Tell whether the header Authorization holds the token; as a password, programs for files can send it only."""
        scheme, _, given = knock.header("authorization").partition(" ")
        if knock.is_for_files and scheme.lower() == "basic":
            return is_same(_password(given), self.token)
        return scheme.lower() == "bearer" and is_same(given.strip(), self.token)

    def _has_token_or_cookie(self, knock: Knock) -> bool:
        given = knock.query.get("token")
        if given is not None:
            return is_same(given[0], self.token)
        pairs = [pair.strip().partition("=") for line in knock.headers.get("cookie", []) for pair in line.split(";")]
        return any(name == self.cookie_name and is_same(value, self.cookie) for name, _, value in pairs)


def _refuse_stranger(knock: Knock) -> Reply:
    if knock.is_for_files:
        message = "the token is missing or wrong; give it as the password, with any user name"
        return Reply(401, "token", message, _BASIC)
    message = "the token is missing or wrong; open the address that miripool printed when the server started"
    return Reply(401, "token", message)


def _password(given: str) -> str:
    """Read the password of HTTP Basic; the user's name does not matter."""
    try:
        return base64.b64decode(given.strip(), validate=True).decode("utf-8", "surrogateescape").partition(":")[2]
    except ValueError:  # no Base64
        return ""
