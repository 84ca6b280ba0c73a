"""The command that watches a folder, and adds what arrives there."""

from __future__ import annotations

import queue
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ..records.plain import as_json as to_json
from .adding import Jobs, TagAdded, Truncate, WithPixels, make_up_for_pixels, report_added, tell
from .output import flush, report, say, utc, write
from .session import PoolName, core_of, open_pool, refuse_reader

if TYPE_CHECKING:
    from ..pool.ingest import Outcome
    from ..session.pool import Pool

__all__ = ["register"]


def _watch(
    context: typer.Context,
    name: PoolName,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder.", show_default=False)],
    tag: TagAdded = None,
    jobs: Jobs = None,
    pixels: WithPixels = None,
    truncate: Truncate = False,
    settle: Annotated[
        float,
        typer.Option("--settle", metavar="SECONDS", help="Add a file once it has not changed for so long."),
    ] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="Add what is complete now, and end; for cron.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, one line per file.")] = False,
) -> None:
    """Add the FITS files that arrive in a folder and its sub-folders, until Ctrl-C.

    A file is added once its size and time have not changed for 10 seconds. One that changes later is added again, as a
    new version. Files whose names begin with a dot are left alone. After a restart, only files that are new or have
    changed are read.

    Ctrl-C and SIGTERM end the command after the files at work; a second Ctrl-C ends it at once.
    """
    from ..pool.watch import watch
    from ..system.signals import ending_noted

    with ending_noted(only_first=True) as ended, open_pool(context, name) as pool:
        refuse_reader(pool)
        arriving = watch(
            core_of(pool),
            folder,
            tag=tag,
            jobs=jobs,
            pixels=pixels,
            truncate=truncate,
            settle=settle,
            once=once,
            tell=lambda text: report(f"{utc(datetime.now(UTC))}  {text}"),
            pause=partial(_pause, pool, ended),
        )
        if pixels is not False:
            make_up_for_pixels(pool)
        if not once:
            say(f"watching {folder} for pool {name}; Ctrl-C ends that")
        kept = []
        for outcome in arriving:
            _tell(outcome, as_json=as_json)
            kept += [outcome] if once else []  # otherwise they would become more and more
    if once:
        report_added(kept, as_json=False, as_csv=False)
    else:
        say(f"watching {folder} has ended")


def _pause(pool: Pool, ended: queue.SimpleQueue[None], seconds: float) -> bool:
    """Wait for so many seconds, or for the signal that ends the command; tell whether it came."""
    if seconds:
        pool.close()  # an embedded server that nobody uses may end
    try:
        ended.get(timeout=seconds)
    except queue.Empty:
        return False
    return True


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    from ..records.versions import outcome_record

    if outcome.error is not None or not as_json:
        tell(outcome, before=f"{utc(datetime.now(UTC))}  ")
    if as_json:
        write(to_json({"time": datetime.now(UTC), **outcome_record(outcome)}, indent=None))
    flush()


def register(app: typer.Typer) -> None:
    """Add the command.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("watch")(_watch)
