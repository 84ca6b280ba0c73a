"""The command that shows the main job on data it makes itself."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from .output import say, write
from .session import home_at
from .web import browse_home, need_web

__all__ = ["register"]


def _demo(
    context: typer.Context,
    plot: Annotated[Path, typer.Option("--plot", metavar="FILE", help="File for the plot.")] = Path(
        "miripool-demo.png"
    ),
    browse: Annotated[
        bool, typer.Option("--browse", help="Look at the pool in a browser afterwards, until Ctrl-C.")
    ] = False,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="With --browse, do not open the system's browser.")
    ] = False,
) -> None:
    """Show the main job on simulated exposures.

    Simulates exposures, calibrates them twice with the JWST pipeline, runs queries, and explains each step.

    The pool 'demo' is made in a temporary home and deleted at the end; with --home FOLDER it stays there. This takes
    about a minute.
    """
    from ..simulate.demo import run_demo

    if browse:
        need_web()
    source = context.parent.get_parameter_source("home") if context.parent is not None else None
    if source is not None and source.name == "COMMANDLINE":
        run_demo(home_at(context.obj), write, plot=plot)
        if browse:
            browse_home(home_at(context.obj), "demo", open_browser=not no_open)
        return
    with tempfile.TemporaryDirectory(prefix="miripool-home-", ignore_cleanup_errors=True) as folder:
        home = home_at(Path(folder))
        say(f"temporary home, deleted afterwards: {folder}; with --home FOLDER the pool stays")
        try:
            run_demo(home, write, plot=plot)
            if browse:
                browse_home(home, "demo", open_browser=not no_open)
        finally:
            if home.external_url is None:
                home.server.remove()
            elif "demo" in home.names():
                home.delete("demo")


def register(app: typer.Typer) -> None:
    """Add the command.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("demo")(_demo)
