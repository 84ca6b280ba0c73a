"""The command that serves pools: to programs of this machine, or to a team behind a proxy."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urljoin

import typer

from ..errors import InvalidInput, InvalidName
from ..model.names import shown
from .output import say
from .session import home_of
from .web import FirstPool, HostsOption, PortOption, need_web, tell_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from wsgiref.types import WSGIApplication

    from ..session.home import Home
    from ..web.team import Team

__all__ = ["register"]

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _serve(
    context: typer.Context,
    name: FirstPool = None,
    port: PortOption = 0,
    may_write: Annotated[bool, typer.Option("--write", help="Allow changes: tags, trash, contexts, copies.")] = False,
    allow_host: HostsOption = None,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="PATH", help="What the proxy puts before all paths, e.g. /miripool.")
    ] = "",
    with_dav: Annotated[bool, typer.Option("--dav", help="Also serve pools as files, by WebDAV, for reading.")] = False,
    socket: Annotated[
        Path | None,
        typer.Option("--socket", metavar="FILE", help="Listen on this socket only, for a proxy that names the user."),
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="The group that may open the socket: the proxy's.")
    ] = None,
    user_header: Annotated[
        str | None,
        typer.Option(
            "--user-header",
            metavar="NAME",
            help="The header with the user's name, if not Remote-User.",
            show_default=False,
        ),
    ] = None,
    reader: Annotated[
        list[str] | None,
        typer.Option("--reader", metavar="NAME", help="A user who may read; without any, all whom the proxy lets in."),
    ] = None,
    writer: Annotated[
        list[str] | None, typer.Option("--writer", metavar="NAME", help="A user who may read and change pools.")
    ] = None,
) -> None:
    """Serve pools by HTTP: to programs on this machine, or to a team behind a proxy.

    Without --socket, prints the address of the page, with the token that each request needs: as a parameter, or in
    the header `Authorization: Bearer TOKEN`. It is for reading unless --write is given. `api/openapi.json` describes
    the API.

    With --socket, prints the path of the socket. A proxy asks for the login and sends the user's name; changes are
    recorded under that name. Ctrl-C ends the server.
    """
    need_web()
    from ..web.prefix import read_prefix
    from ..web.serving import serve, serve_team

    home = home_of(context)
    before = read_prefix(prefix)
    hosts = allow_host or []
    if socket is None:
        _refuse(
            "needs --socket: a name is believed only from a proxy that nobody can get past",
            {"--group": group, "--user-header": user_header, "--reader": reader, "--writer": writer},
        )
        with _files(home, with_dav) as dav:

            def ready(url: str) -> None:
                tell_address(url)
                if with_dav:
                    say(f"WebDAV: {urljoin(url, 'dav/')} (any user name; the token is the password)")

            serve(home, pool=name, port=port, write=may_write, hosts=hosts, dav=dav, prefix=before, ready=ready)
        return
    _refuse("has no place beside --socket: the server then listens on the socket only", {"--port": port})
    _refuse("has no place beside --socket: name each user who may change pools with --writer", {"--write": may_write})
    team = _team(user_header, reader or [], writer or [], hosts)
    with _files(home, with_dav) as dav:
        serve_team(home, team, socket, group=group, pool=name, dav=dav, prefix=before, ready=tell_address)


def _refuse(why: str, given: dict[str, object]) -> None:
    for option, value in given.items():
        if value:
            raise InvalidInput(f"{option} {why}")


def _team(header: str | None, readers: Sequence[str], writers: Sequence[str], hosts: Sequence[str]) -> Team:
    from ..web.team import USER_HEADER, Team
    from ..web.usernames import typed_name

    header = USER_HEADER if header is None else header
    if not _HEADER.fullmatch(header):
        raise InvalidInput(f"{shown(header)} is no name of a header; choose one such as {USER_HEADER}")

    def names(given: Sequence[str], option: str) -> Iterator[str]:
        for name in given:
            try:
                yield typed_name(name)
            except InvalidName as error:
                raise InvalidInput(f"{option} {shown(name)} is no user's name: {error}") from None

    return Team(
        header,
        frozenset(names(readers, "--reader")),
        frozenset(names(writers, "--writer")),
        frozenset(host.lower() for host in hosts),
    )


@contextlib.contextmanager
def _files(home: Home, wanted: bool) -> Iterator[WSGIApplication | None]:
    """Give the pools as files, if they are wanted."""
    if not wanted:
        yield None
        return
    from ..files.dav import dav_app

    with contextlib.closing(dav_app(home)) as dav:
        yield dav


def register(app: typer.Typer) -> None:
    """Add the command.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("serve")(_serve)
