"""Commands on the PostgreSQL server."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from ..records.plain import as_json as to_json
from .commands import Commands
from .output import emit, say, write
from .session import Json, PoolName, core_of, home_of, open_pool

__all__ = ["register"]

_server = Commands(name="server", help="The PostgreSQL server behind the index.", no_args_is_help=True)


@_server.command("status")
def _status(context: typer.Context, as_json: Json = False) -> None:
    """Show the state of the server without starting it.

    Server folders of homes that were deleted by hand are listed; they are removed when a server is next set up.
    """
    home = home_of(context)
    status: dict[str, Any]
    if home.external_url is not None:
        from ..index import describe_url

        status = {"kind": "external", "url": describe_url(home.external_url)}
    else:
        from ..server.orphans import find_orphans
        from ..server.placement import OUTSIDE

        status = {"kind": "embedded", **asdict(home.server.status())}
        if orphans := find_orphans(OUTSIDE):
            status["of_removed_homes"] = ", ".join(map(str, orphans))
    if as_json:
        write(to_json({k: str(v) if isinstance(v, Path) else v for k, v in status.items()}))
        return
    for key, value in status.items():
        if value is not None:
            write(f"{key.replace('_', ' '):<18} {value}")


@_server.command("url")
def _url(context: typer.Context) -> None:
    """Print the URL of the database, for psql. The embedded server is started if necessary."""
    home = home_of(context)
    url = home.database_url()
    write(url.replace("postgresql+psycopg2://", "postgresql://", 1))


@_server.command("stop")
def _stop(context: typer.Context) -> None:
    """Stop the embedded server. The next command that needs the server starts it again."""
    home = home_of(context)
    if home.external_url is not None:
        say("miripool does not manage this server; nothing was done")
        raise typer.Exit(1)
    say("stopped" if home.server.stop() else "the server was not running")


@_server.command("grant")
def _grant(context: typer.Context, name: PoolName) -> None:
    """Let the role miripool_reader read a pool, also what is added later. The role is created if it does not exist."""
    from ..index import READER, grant_reader

    with open_pool(context, name) as pool:
        core_of(pool).catch_up()
        grant_reader(core_of(pool).catalog.database)
    say(f"{READER} may read pool {name}")


@_server.command("check")
def _check(context: typer.Context, as_json: Json = False) -> None:
    """Check whether miripool can use the server, and which settings could be better. Nothing is changed."""
    from ..errors import ServerError
    from ..index import advise

    findings = advise(home_of(context).database_url())
    unusable = [finding for finding in findings if finding.verdict == "bad"]
    if as_json:
        write(to_json({"usable": not unusable, "findings": [asdict(finding) for finding in findings]}))
    else:
        emit([asdict(finding) for finding in findings], ["verdict", "name", "value", "advised", "why"])
        advice = sum(finding.verdict == "advice" for finding in findings)
        say(f"{len(findings)} things checked: {len(unusable)} must be changed, {advice} could be better")
    if unusable:
        raise ServerError("miripool can't use this server: " + ", ".join(finding.name for finding in unusable))


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.add_typer(_server)
