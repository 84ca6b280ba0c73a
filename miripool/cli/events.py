"""Commands on what happens to a detector: events, how long states last, alarms, and their causes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..system.words import counted
from .output import emit, say
from .session import Csv, Json, PoolName, moment, one_form, open_pool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..monitors import PixelMonitor
    from .commands import Commands

__all__ = ["DIGITS", "NAME", "RAISED", "RED", "add_commands", "show_rows"]

NAME = Annotated[str, typer.Argument(metavar="NAME", help="Name of the monitor.", show_default=False)]
DIGITS = 4
"""Of measured numbers in tables for people."""
RAISED, RED = 3, 4
"""Exit codes of `monitor alarms`: there are alarms, and at least one of them is red."""

_EVENT_COLUMNS = (
    *("time", "kind", "note", "stratum", "state", "bad", "healed", "healed_fraction", "healed_low", "healed_high"),
    *("good", "born", "born_fraction"),
)
_SURVIVAL_COLUMNS = ("stratum", "state", "days", "at_risk", "ended", "survival", "low", "high")
_ALARM_COLUMNS = (
    *("what", "level", "detector", "amplifier", "onset", "raised", "end", "size", "sigma", "significance", "urn"),
    "stratum",
)
_PERSISTENCE_COLUMNS = (
    *("detector", "x", "y", "pixels", "level", "amplitude", "error", "significance", "relative", "hours"),
    *("hours_error", "stratum"),
)
_COMPARED_COLUMNS = (
    *("detector", "subarray", "amplifier", "onset", "cause", "first", "second", "difference", "error", "references"),
    *("exposures", "urn"),
)


def show_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    as_json: bool,
    as_csv: bool,
    exact_times: bool = False,
) -> None:
    """Write what a monitor found; a table for people has no column for a stratum that all rows share.

    Parameters
    ----------
    rows : sequence of mapping
        The rows.
    columns : sequence of str
        Of the table.
    as_json, as_csv : bool, keyword-only
        The form; a table unless given.
    exact_times : bool, keyword-only
        As for `emit`.
    """
    alone = not (as_json or as_csv) and len({row["stratum"] for row in rows if "stratum" in row}) == 1
    shown = [column for column in columns if column != "stratum" or not alone]
    emit(rows, shown, as_json_list=as_json, as_csv=as_csv, digits=DIGITS, exact_times=exact_times)


def _events(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    add: Annotated[
        str | None,
        typer.Option("--add", metavar="TIME", help="Note an event at this time, UTC unless it has a zone."),
    ] = None,
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="Kind of the event to add.")] = "anneal",
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Note on the event.", show_default=False)] = "",
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Note the events of a CSV file: time,kind,note.")
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="TIME", help="Take out the events noted at this time.")
    ] = None,
    keyword: Annotated[
        str | None,
        typer.Option("--keyword", metavar="KEY", help="Show the changes of this keyword instead of noted events."),
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Note events such as anneals, and list what they did.

    For each event: which fraction of the bad pixels healed, with its 95 % interval, and how many good pixels became bad
    with it. Bad are hot, warm, dead, low_qe, open, noisy, rc, rts and unstable pixels.
    """
    from ..monitors.events import effect_records

    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, pool_name) as pool:
        monitor = pool.monitor(name)
        _change(monitor, add, kind, note, file, remove)
        events = monitor.events if keyword is None else monitor.changes_of(keyword)
        rows = effect_records(monitor.ref.product, events)
    show_rows(rows, _EVENT_COLUMNS, as_json=as_json, as_csv=as_csv)


def _change(
    monitor: PixelMonitor, add: str | None, kind: str, note: str, file: Path | None, remove: str | None
) -> None:
    from ..errors import ProductNotFound
    from ..monitors import Event
    from ..monitors.events import read_events

    if remove is not None:
        time = moment(remove)
        old = [event for event in monitor.events if event.time == time]
        if not old:
            raise ProductNotFound(f"monitor {monitor.name} has no event at {time.isoformat()}")
        monitor.remove_events(*old)
    new = [] if file is None else read_events(file)
    new += [] if add is None else [Event(moment(add), kind, note)]
    if new:
        monitor.add_events(*new)
        say(f"{counted(len(new), 'event')} noted")


def _survival(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    state: Annotated[str, typer.Option("--state", metavar="STATE", help="The state.")] = "hot",
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Show for how long pixels stay in a state: the Kaplan-Meier estimate with its 95 % interval.

    Episodes that had begun before the first exposure are left out.
    """
    from ..monitors.survival import survival_records

    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, pool_name) as pool:
        rows = survival_records(pool.monitor(name).ref.product, state=state)
    show_rows(rows, _SURVIVAL_COLUMNS, as_json=as_json, as_csv=as_csv)


def _alarms(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only alarms raised since then: 1d, 12h, 2w or a date (UTC)."),
    ] = None,
    yellow: Annotated[
        str | None,
        typer.Option("--yellow", metavar="LOW:HIGH", help="Also raise a yellow alarm for levels outside, DN/s."),
    ] = None,
    red: Annotated[
        str | None, typer.Option("--red", metavar="LOW:HIGH", help="Also raise a red alarm for levels outside, DN/s.")
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List changes of the level of each amplifier, and levels outside your limits.

    A change is red from 5 standard deviations of one exposure on, yellow below. With limits there is a row for each run
    of exposures outside them, red if any is; size is the largest distance from the limit.

    Exits with 0 if there are no alarms, with 3 if there are yellow ones only, with 4 if one is red.
    """
    from ..monitors import Limits

    one_form(as_json=as_json, as_csv=as_csv)
    limits = [None if text is None else Limits.parse(text) for text in (yellow, red)]
    with open_pool(context, pool_name) as pool:
        begin = None if since is None else moment(since)
        rows = pool.monitor(name).alarm_records(begin, *limits)
    show_rows(rows, _ALARM_COLUMNS, as_json=as_json, as_csv=as_csv)
    if rows:
        raise typer.Exit(RED if any(row["level"] == "red" for row in rows) else RAISED)


def _compare(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    other: Annotated[
        str, typer.Argument(metavar="OTHER", help="Monitor of the same exposures in another calibration.")
    ],
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Compare the trends of the same exposures in two calibrations.

    The first row of each amplifier has the levels of the whole series (DN/s), the others, with an onset, the sizes of
    changes. The cause is detector if both calibrations show the change, reference if only one shows it and its
    reference files or steps changed then, and unknown otherwise.
    """
    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, pool_name) as pool:
        first, second = pool.monitor(name), pool.monitor(other)
        rows = first.compare_records(second)
    show_rows(rows, _COMPARED_COLUMNS, as_json=as_json, as_csv=as_csv)


def _persistence(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    exposure: Annotated[
        str,
        typer.Argument(metavar="SPEC", help="The exposure with saturated pixels: Ramp/name, RateInts/name@1, a URN …"),
    ],
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Follow the pixels that were saturated in an exposure: how their rates decay.

    The rate of a pixel is level + amplitude · exp(-t / hours), t hours after the end of the exposure. The first row has
    all pixels together. Level, amplitude and error are in DN/s; relative is amplitude / level. A pixel has a time
    constant of its own if its amplitude is 5 errors or more.
    """
    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, pool_name) as pool:
        rows = pool.monitor(name).persistence_records(exposure)
    show_rows(rows, _PERSISTENCE_COLUMNS, as_json=as_json, as_csv=as_csv)


def add_commands(group: Commands) -> None:
    """Add the commands to those on monitors.

    Parameters
    ----------
    group : Commands
        ``monitor``.
    """
    group.command("events")(_events)
    group.command("survival")(_survival)
    group.command("alarms")(_alarms)
    group.command("compare")(_compare)
    group.command("persistence")(_persistence)
