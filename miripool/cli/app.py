"""The commands by name, and the options that all of them share."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from .commands import Commands, Quiet, loading
from .output import quiet, say, write

__all__ = ["app", "saves_one_by_one"]

_MODULES = {
    "pools": "create pools rename delete attach detach",
    "products": "add ls show rm restore",
    "watch": "watch",
    "export": "export",
    "log": "log undo",
    "tags": "tag untag tags",
    "pipeline": "reprocess",
    "provenance": "lineage uses diff",
    "citing": "cite",
    "transfer": "copy pack unpack",
    "pixels": "pixel pixels sql index",
    "looks": "plot compare",
    "monitors": "monitor",
    "statistics": "statistics slopes",
    "maintenance": "verify repair gc reindex",
    "server": "server",
    "simulate": "simulate",
    "demo": "demo",
    "web": "browse",
    "samp": "open send clients",
    "mount": "mount",
    "serving": "serve",
}
"""Modules of this package, and the commands that each registers, in the order of the help; groups come last there."""

_GROUPS = ("index", "monitor", "server")
"""Commands that have commands of their own."""

_SAVING = frozenset({"copy", "demo", "reprocess", "unpack", "watch"})
"""Commands that save version after version: interrupted, they have saved some. `add` says which itself."""


class _Words(logging.Handler):
    """Says warnings of the package's log, of which a user of the command line has no other view."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


_words = _Words(logging.WARNING)
_begun: list[str | None] = []
"""The command that this process runs."""


def saves_one_by_one() -> bool:
    """Tell whether the command that was begun last saves version after version.

    Returns
    -------
    bool
        Where it does, what it has saved stays when it is interrupted.
    """
    return bool(_begun) and _begun[-1] in _SAVING


app = Commands(
    name="miripool",
    cls=loading(_MODULES, last=_GROUPS),
    help="A versioned product pool for MIRI detector calibration data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        write(f"miripool {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            envvar="MIRIPOOL_HOME",
            help="Folder that holds the pools.",
            show_default="the platform's folder for user data",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    be_quiet: Quiet = False,
) -> None:
    del version
    quiet(be_quiet)
    logging.getLogger("miripool").addHandler(_words)  # once, however often it is called
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may hold what the terminal's encoding has not
    context.obj = home
    _begun[:] = [context.invoked_subcommand]
