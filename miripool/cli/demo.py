"""The command that shows the main job on data it makes itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

import typer

from .output import say, write

__all__ = ["register"]


def _demo(context: typer.Context) -> None:
    """Simulate an exposure, keep it in two calibrations, ask questions of it, and tell each step.

    In a temporary home, unless --home names one: then a pool 'demo' stays there.
    """
    from ..demo import run_demo
    from ..home import Home

    source = context.parent.get_parameter_source("home") if context.parent is not None else None
    if source is not None and source.name == "COMMANDLINE":
        run_demo(Home(context.obj, progress=say), write)
        return
    with tempfile.TemporaryDirectory(prefix="miripool-home-", ignore_cleanup_errors=True) as folder:
        home = Home(Path(folder), progress=say)
        say(f"a temporary home, gone afterwards: {folder}; with --home FOLDER the pool stays")
        try:
            run_demo(home, write)
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
