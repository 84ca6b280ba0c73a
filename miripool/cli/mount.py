"""The command that mounts a pool: its files appear in a folder."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import flush, report, say, write
from .session import PoolName, home_of

__all__ = ["register"]


def _mount(
    context: typer.Context,
    name: PoolName,
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER", help="An empty folder, outside the folder that holds the pools.", show_default=False
        ),
    ],
) -> None:
    """Show a pool as read-only folders of FITS files, by kind, tag and date, until Ctrl-C.

    Prints the folder once its files can be read. Versions that are saved meanwhile appear by themselves. `fusermount3
    -u FOLDER` ends it too. The README.txt in the folder says what lies where.
    """
    from ..files.mount import mount
    from ..files.mountpoint import checked_folder, need_fuse, unmount_words

    need_fuse()
    home = home_of(context)
    with home.pool(name) as pool:
        place = checked_folder(folder, apart_from=home.path)

        def ready() -> None:
            write(str(place))
            flush()
            say(f"pool {name} is mounted; Ctrl-C or {unmount_words(place)} ends that")

        mount(pool, place, ready=ready, tell=report)
    say(f"the mount of pool {name} at {place} has ended")


def register(app: typer.Typer) -> None:
    """Add the command.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("mount")(_mount)
