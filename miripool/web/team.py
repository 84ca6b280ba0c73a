"""Who may enter behind a proxy: users whom the proxy has let in, by the name that it sends; readers and writers."""

from __future__ import annotations

import hmac
import secrets
import shlex
from dataclasses import dataclass, field
from hashlib import sha256

from ..errors import InvalidName
from .replies import Reply
from .usernames import name_in_header
from .visitors import Knock, Visitor, host_of, is_same, split_host

__all__ = ["USER_HEADER", "Team"]

USER_HEADER = "Remote-User"
_OWN_PAGE = frozenset({"", "same-origin", "none"})
"""What a browser says of requests that no other site has caused."""


@dataclass(frozen=True, slots=True)
class Team:
    """The users of a server that only a proxy can reach: the door for them.

    Attributes
    ----------
    header : str
        Name of the header that holds the user's name. The proxy must set it, whatever was sent to it.
    readers : frozenset of str
        Who may read; everybody whom the proxy lets in if empty.
    writers : frozenset of str
        Who may read and change pools.
    hosts : frozenset of str
        Names under which browsers know the proxy, in small letters, where it does not pass the header Host on.
    secret : bytes
        Of this run of the server; keys for changes are made of it.
    """

    header: str = USER_HEADER
    readers: frozenset[str] = frozenset()
    writers: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def admit(self, knock: Knock) -> Visitor | Reply:
        """Let a user in whom the proxy names, if he is among the readers or writers.

        Parameters
        ----------
        knock : Knock
            The request.

        Returns
        -------
        Visitor or Reply
            The user. No page of another site is answered.
        """
        foreign = self._refuse_foreign(knock)
        if foreign is not None:
            return foreign
        name = self._name(knock)
        if isinstance(name, Reply):
            return name
        write = name in self.writers
        if self.readers and not write and name not in self.readers:
            message = (
                f"the user {name} is not among the readers of this server; "
                f"the person who runs it can add --reader {shlex.quote(name)}"
            )
            return Reply(403, "user", message)
        return Visitor(name, write, self._key(name) if write else None)

    def refuse_change(self, knock: Knock, visitor: Visitor) -> Reply | None:
        """Refuse changes of those who are no writers, and changes that another site's page may have caused.

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
        if visitor.key is None:
            message = (
                f"the user {visitor.user} may read here, and change nothing; "
                f"the person who runs this server can add --writer {shlex.quote(visitor.user or '')}"
            )
            return Reply(403, "read-only", message)
        if not _OWN_PAGE.issuperset(knock.headers.get("sec-fetch-site", ())):
            return Reply(403, "origin", "changes that another site's page asks for are not made")
        # A browser adds the password to whatever a page asks for, but no form of another site can send this header.
        if not is_same(knock.header("x-miripool-token"), visitor.key):
            message = (
                "a change needs the key that api/session gives, in the header X-Miripool-Token; load the page again"
            )
            return Reply(403, "token", message)
        return None

    def _refuse_foreign(self, knock: Knock) -> Reply | None:
        host = knock.header("host").lower()
        for origin in knock.headers.get("origin", []):
            asked = host_of(origin)
            if not asked or not (asked == host or {asked, split_host(asked)[0]} & self.hosts):
                message = (
                    f"requests of pages from {origin} are not answered, as the proxy calls this server {host}; if that "
                    "is the proxy's own page, have the proxy pass the header Host on, or start the server with "
                    f"--allow-host {asked or 'NAME'}"
                )
                return Reply(403, "origin", message)
        return None

    def _name(self, knock: Knock) -> str | Reply:
        sent = knock.headers.get(self.header.lower(), [])
        if len(sent) > 1:
            message = f"the header {self.header} came {len(sent)} times; have the proxy set it, not add to it"
            return Reply(400, "user", message)
        if not sent or not sent[0].strip():
            message = (
                f"the proxy sent no user's name in the header {self.header}; have it ask for a login and set this "
                "header, or name the header that it sets with --user-header"
            )
            return Reply(401, "user", message)
        try:
            return name_in_header(sent[0])
        except InvalidName as error:
            return Reply(400, "user", f"the header {self.header} holds no usable name: {error}")

    def _key(self, name: str) -> str:
        return hmac.new(self.secret, name.encode(), sha256).hexdigest()
