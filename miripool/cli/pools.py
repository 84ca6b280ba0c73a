"""Commands on pools as a whole."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ..errors import MiripoolError
from .choosing import count_versions
from .output import emit, human_bytes, report, say
from .session import Csv, DryRun, Json, PoolName, confirm, core_of, home_of, one_form

__all__ = ["register"]


def _create(context: typer.Context, name: PoolName) -> None:
    """Create a pool."""
    home = home_of(context)
    home.create(name).close()
    say(f"made pool {name} in {home.path}")


def _pools(context: typer.Context, as_json: Json = False, as_csv: Csv = False) -> None:
    """List the pools."""
    from ..records.pools import pool_records

    one_form(as_json=as_json, as_csv=as_csv)
    home = home_of(context)
    sizes = ["bytes", "stored_bytes", "index_bytes"]
    columns = ["name", "products", "versions", "tags", *sizes, "created", "path"]
    rows = []
    failed: MiripoolError | None = None
    for row, error in pool_records(home):
        if error is not None:
            report(f"pool {row['name']}: {error}")
            failed = error
        if error is None or as_json:
            # Tables for people have times in the form that those of versions have.
            rows.append(row if as_json or as_csv else {**row, "created": datetime.fromisoformat(row["created"])})
    emit(
        rows,
        columns,
        as_json_list=as_json,
        as_csv=as_csv,
        titles={"bytes": "FITS", "stored_bytes": "blobs", "index_bytes": "PostgreSQL"},
    )
    if failed is not None:
        raise typer.Exit(failed.exit_code)


def _rename(
    context: typer.Context,
    name: PoolName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="New name of the pool.", show_default=False)],
) -> None:
    """Rename a pool; URNs with the old name stay valid."""
    home_of(context).rename(name, new).close()
    say(f"pool {name} is now called {new}; URNs with the old name stay valid")


def _delete(
    context: typer.Context,
    name: PoolName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Delete a pool with all its products, for good."""
    home = home_of(context)
    with home.pool(name) as pool:
        core_of(pool).catch_up()
        total = core_of(pool).catalog.statistics().total
    versions = count_versions(total.products + total.removed)
    what = f"pool {name} with {versions} ({human_bytes(total.stored_bytes)} stored)"
    if dry_run:
        say(f"would delete {what}")
        return
    confirm(f"Delete {what} for good?", yes=yes)
    home.delete(name)
    say(f"deleted {what}")


def _attach(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The pool's folder.", show_default=False)],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name in this home.", show_default="the folder's")
    ] = None,
) -> None:
    """Attach a pool in a folder elsewhere.

    For example in a folder that is shared with others.

    The folder stays where it is. This home gets its own index of the pool.
    """
    home = home_of(context)
    with home.attach(path, name) as pool:
        attached = pool.name
    versions = count_versions(home.summary(attached).versions)
    only = "" if os.access(path, os.W_OK) else "; you can't write to the folder"
    say(f"attached {Path(path).absolute()} as pool {attached}, with {versions}{only}")


def _detach(context: typer.Context, name: PoolName) -> None:
    """Detach an attached pool. Its folder and its products stay as they are."""
    folder = home_of(context).detach(name)
    say(f"detached pool {name} from this home; its folder {folder} stays as it is")


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("create")(_create)
    app.command("pools")(_pools)
    app.command("rename")(_rename)
    app.command("delete")(_delete)
    app.command("attach")(_attach)
    app.command("detach")(_detach)
