"""Commands that show the lives of pixels: one pixel's, and plots of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .events import NAME, show_rows
from .output import say
from .session import Csv, Json, PoolName, moment, one_form, open_pool

if TYPE_CHECKING:
    from datetime import datetime

    from ..monitors import PixelLife
    from .commands import Commands

__all__ = ["Ramps", "add_commands", "show_life", "times_of"]

_LIFE_COLUMNS = ("time", "rate", "error", "integrations", "state", "level", "first", "flags", "urn", "stratum")


Ramps = Annotated[
    str | None,
    typer.Option("--ramps", metavar="TIME,…", help="Also plot the ramps of the last exposures at these times, UTC."),
]


def times_of(text: str | None) -> list[datetime]:
    """Read times that are separated by commas; none unless given.

    Parameters
    ----------
    text : str or None
        E.g. ``2026-01-03,2026-01-05T12:00``.

    Returns
    -------
    list of datetime
        Aware.
    """
    return [moment(part) for part in text.split(",")] if text else []


def _life(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    x: Annotated[int, typer.Argument(metavar="X", help="Column 1…1032 of the FULL array.", show_default=False)],
    y: Annotated[int, typer.Argument(metavar="Y", help="Row 1…1024 of the FULL array.", show_default=False)],
    detector: Annotated[
        str | None, typer.Option("--detector", metavar="NAME", help="Only this detector; case is ignored.")
    ] = None,
    plot: Annotated[
        str | None, typer.Option("--plot", metavar="FILE", help="Plot the rates and states against time.")
    ] = None,
    ramps: Ramps = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Follow one pixel through the exposures: rate, error and state in each.

    Rates are in DN/s, times UTC. The column `level` is the median rate of the pixels around this one, `first` the
    rate of the first integration. `monitor states --pixel X,Y` lists the episodes.
    """
    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, pool_name) as pool:
        life = pool.monitor(name).life(x, y, detector=detector, flags=True, ramps=times_of(ramps))
    show_life(life, plot, as_json=as_json, as_csv=as_csv)


def show_life(life: PixelLife, plot: str | None, *, as_json: bool, as_csv: bool) -> None:
    """Plot the life of a pixel, or list it.

    Parameters
    ----------
    life : PixelLife
        The life.
    plot : str or None
        File for the plot. With one, the list is written only as JSON or CSV.
    as_json, as_csv : bool, keyword-only
        The form of the list; a table unless given.
    """
    if plot is not None:
        say(f"wrote {life.plot(plot)}")
        if not (as_json or as_csv):
            return
    show_rows(life.records(), _LIFE_COLUMNS, as_json=as_json, as_csv=as_csv, exact_times=True)


def _plot(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="File for the plot: png, pdf, svg …")],
    what: Annotated[
        str,
        typer.Option("--what", metavar="WHAT", help="state, rate, noise, trends, population, histogram or event."),
    ] = "state",
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TIME", help="Show the last exposure begun by then, or this event; UTC by default."
        ),
    ] = None,
    stratum: Annotated[
        int | None, typer.Option("--stratum", metavar="N", help="Only this stratum, from 0.", show_default=False)
    ] = None,
) -> None:
    """Plot a map of states, rates or noise; or trends, populations or a histogram of rates.

    Maps and the histogram show the stratum with the most exposures, unless --stratum chooses another. The maps of
    states and rates, and the histogram, show the last exposure or, with --at, the last that had begun by then.
    `--what event --at TIME` draws the states before and after the event of that time.
    """
    with open_pool(context, pool_name) as pool:
        made = pool.monitor(name).plot(out, what, at=None if at is None else moment(at), stratum=stratum)
    say(f"wrote {made}")


def add_commands(group: Commands) -> None:
    """Add the commands to those on monitors.

    Parameters
    ----------
    group : Commands
        ``monitor``.
    """
    group.command("life")(_life)
    group.command("plot")(_plot)
