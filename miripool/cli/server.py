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
    """Tell what runs; starts nothing. Folders of homes that were removed by hand go when a server is next set up."""
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
    """Write the URL of the database, for psql; starts the embedded server if there is need."""
    home = home_of(context)
    url = home.database_url()
    write(url.replace("postgresql+psycopg2://", "postgresql://", 1))


@_server.command("stop")
def _stop(context: typer.Context) -> None:
    """Stop the embedded server; the next command that needs it starts it again."""
    home = home_of(context)
    if home.external_url is not None:
        say("the server is not miripool's own; nothing was done")
        raise typer.Exit(1)
    say("stopped" if home.server.stop() else "it was not running")


@_server.command("grant")
def _grant(context: typer.Context, name: PoolName) -> None:
    """Let the role miripool_reader read a pool, and what is added to it later; the role is made if there is none."""
    from ..index import READER, grant_reader

    with open_pool(context, name) as pool:
        core_of(pool).catch_up()
        grant_reader(core_of(pool).catalog.database)
    say(f"{READER} may read pool {name}")


@_server.command("check")
def _check(context: typer.Context, as_json: Json = False) -> None:
    """Look whether miripool can work on the server, and what could be set better; changes nothing."""
    from ..errors import ServerError
    from ..index import advise

    findings = advise(home_of(context).database_url())
    unusable = [finding for finding in findings if finding.verdict == "bad"]
    if as_json:
        write(to_json({"usable": not unusable, "findings": [asdict(finding) for finding in findings]}))
    else:
        emit([asdict(finding) for finding in findings], ["verdict", "name", "value", "advised", "why"])
        advice = sum(finding.verdict == "advice" for finding in findings)
        say(f"{len(findings)} things looked at: {len(unusable)} in the way, {advice} to think about")
    if unusable:
        raise ServerError("miripool can't work on this server: " + ", ".join(finding.name for finding in unusable))


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.add_typer(_server)
