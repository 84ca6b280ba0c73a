"""Commands on monitors: the lives of pixels through many exposures."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import AlreadyExists, FileMissing, InvalidInput
from ..system.outfile import is_folder
from ..system.words import comma_separated, counted
from . import events, lives
from .choosing import Tagged, Where
from .commands import Commands
from .events import NAME, show_rows
from .output import emit, report, say
from .pixels import pixel_named
from .progress import counting
from .session import Csv, Json, PoolName, moment, one_form, open_pool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..monitors import DatedMask, Updated
    from ..pool.reference import ProductRef

__all__ = ["register"]

_States = Annotated[str | None, typer.Option("--state", metavar="A,B", help="Only these states, separated by commas.")]

_Base = Annotated[
    str | None, typer.Option("--base", metavar="FILE|SPEC", help="An older mask: a file, or a version of the pool.")
]
_Flag = Annotated[
    list[str] | None, typer.Option("--flag", metavar="STATE=FLAG", help="Another flag for a state; NONE for none.")
]
_Use = Annotated[str | None, typer.Option("--use", metavar="A,B", help="States that do not set DO_NOT_USE.")]
_DoNotUse = Annotated[str | None, typer.Option("--do-not-use", metavar="A,B", help="States that set DO_NOT_USE.")]
_Stratum = Annotated[
    str | None, typer.Option("--stratum", metavar="N,M", help="Strata to join, from 0; by default the only one.")
]
_SaveAs = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Its name in the pool; by default MONITOR_mask_DATE."),
]
_MaskTag = Annotated[str | None, typer.Option("--tag", metavar="LABEL", help="Tag for the mask.", show_default=False)]

_STATE_COLUMNS = (
    *("detector", "x", "y", "state", "begin", "end", "amplitude", "error", "significance", "number"),
    *("fraction", "dwell", "stratum"),
)
_TREND_COLUMNS = ("detector", "amplifier", "time", "integration", "median", "sigma", "noise", "urn", "stratum")
_LINE_COLUMNS = (
    *("detector", "amplifier", "begin", "end", "exposures", "used", "level", "slope", "error", "significance", "sigma"),
    "stratum",
)
_POPULATION_COLUMNS = ("stratum", "state", "time", "count", "born", "healed", "urn")
_MASK_COLUMNS = ("state", "flags", "pixels")
_LIST_COLUMNS = ("name", "version", "updated", "exposures", "pixels", "kind", "where", "tag", "region", "light")

_monitor = Commands(name="monitor", help="The lives of pixels through many exposures.", no_args_is_help=True)


@_monitor.command("create")
def _create(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="RateInts, Rate or Ramp.")] = "RateInts",
    where: Where = None,
    tag: Tagged = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="X0:X1,Y0:Y1", help="Only these columns and rows of the FULL array, from 1."),
    ] = None,
    light: Annotated[
        str | None,
        typer.Option(
            "--light",
            metavar="LIGHT",
            help="What fell on the detector: dark, flat or sky; by default EXP_TYPE tells it.",
            show_default=False,
        ),
    ] = None,
    false_alarms: Annotated[
        float, typer.Option("--false-alarms", metavar="F", help="Fraction of quiet pixels that may get a state.")
    ] = 1e-3,
) -> None:
    """Create a monitor: which exposures to follow. `monitor update` takes them in.

    It follows the newest versions that satisfy the condition or, with --tag, those that the tag marks.
    """
    with open_pool(context, pool_name) as pool:
        made = pool.create_monitor(
            name, kind, where or "1", tag=tag, region=region, light=light, false_alarms=false_alarms
        )
    say(f"created {made.ref.urn}; `miripool monitor update {quote(pool_name)} {quote(name)}` takes in the exposures")


@_monitor.command("update")
def _update(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="LABEL", help="Tag for the result.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Take in new exposures and judge all pixels again.

    Reads only versions that the monitor has not seen. A new version of the monitor is saved if anything changed.
    """
    from ..monitors import answers

    with open_pool(context, pool_name) as pool:
        with counting("exposures") as show:
            done = pool.monitor(name).update(tag=tag, progress=show)
        states = answers.count_states(done.ref.product)
    for urn, why in done.left_out:
        report(f"{urn} is left out: {why}")
    if as_json:
        emit([_update_record(done, states)], [], as_json_list=True)
        return
    counts = f"{done.read} read, {done.dropped} dropped, {len(done.left_out)} left out"
    unchanged = "" if done.changed else "unchanged: "
    say(f"{counted(done.exposures, 'exposure')}: {counts}; {unchanged}version {done.ref.version}")
    emit([{"state": state, "pixels": count} for state, count in states.items()], ["state", "pixels"])


def _update_record(done: Updated, states: dict[str, int]) -> dict[str, Any]:
    left_out = [{"urn": urn, "reason": why} for urn, why in done.left_out]
    return {
        "urn": str(done.ref.urn),
        "version": done.ref.version,
        "changed": done.changed,
        "exposures": done.exposures,
        "read": done.read,
        "dropped": done.dropped,
        "left_out": left_out,
        "states": states,
    }


@_monitor.command("states")
def _states(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    state: _States = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Only states at this time, UTC unless it has a zone."),
    ] = None,
    pixel: Annotated[
        str | None, typer.Option("--pixel", metavar="X,Y", help="Only this pixel of the FULL array, from 1.")
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List the states of pixels: when each began and ended, its amplitude and its significance.

    States: hot, warm, dead, low_qe, open, noisy, rc, rts, unstable, step, drift. Amplitude and error are in DN/s. The
    column `end` is empty while a state lasts.
    """
    from ..monitors import answers

    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, pool_name) as pool:
        product = pool.monitor(name).ref.product
        when = None if at is None else moment(at)
        rows = answers.state_records(product, states=comma_separated(state), at=when, pixel=pixel_named(pixel))
    shown = rows if as_json else [{**row, "number": len(row["exposures"])} for row in rows]
    show_rows(shown, _STATE_COLUMNS, as_json=as_json, as_csv=as_csv)


@_monitor.command("trends")
def _trends(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    amplifier: Annotated[
        int | None, typer.Option("--amplifier", min=1, max=4, help="Only this amplifier.", show_default=False)
    ] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Fit a line to the level of each amplifier instead; outliers are left out.")
    ] = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List median, spread and noise of each amplifier in each integration, DN/s.

    Amplifier 1 reads columns 1, 5, 9 … of the FULL array. Reference pixels and pixels flagged DO_NOT_USE are left out.
    """
    from ..monitors import answers, trendlines

    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, pool_name) as pool:
        records = trendlines.trend_line_records if fit else answers.trend_records
        rows = records(pool.monitor(name).ref.product, amplifier=amplifier)
    columns = _LINE_COLUMNS if fit else _TREND_COLUMNS
    show_rows(rows, columns, as_json=as_json, as_csv=as_csv)


@_monitor.command("population")
def _population(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    state: _States = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Count the pixels in each state at each exposure, and those that entered or left the state."""
    from ..monitors import answers

    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, pool_name) as pool:
        rows = answers.population_records(pool.monitor(name).ref.product, states=comma_separated(state))
    show_rows(rows, _POPULATION_COLUMNS, as_json=as_json, as_csv=as_csv)


@_monitor.command("mask")
def _mask(
    context: typer.Context,
    pool_name: PoolName,
    name: NAME,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="The date, UTC unless it has a zone.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file, or a folder for it.")],
    base: _Base = None,
    flag: _Flag = None,
    use: _Use = None,
    do_not_use: _DoNotUse = None,
    stratum: _Stratum = None,
    save_as: _SaveAs = None,
    tag: _MaskTag = None,
    author: Annotated[str, typer.Option("--author", metavar="NAME", help="For the keyword AUTHOR.")] = "miripool",
    no_save: Annotated[bool, typer.Option("--no-save", help="Write the file only.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Write a MASK reference file for a date, and save it in the pool.

    Flags come from the states that pixels had then. What the monitor can't judge comes from the base. Reports how
    many pixels are DO_NOT_USE now but not in the base (born), and the reverse (healed); --json lists them.
    """
    if no_save and (save_as is not None or tag is not None):
        raise InvalidInput("--name and --tag are for the version in the pool; leave out --no-save")
    with open_pool(context, pool_name) as pool:
        monitor = pool.monitor(name)
        made = monitor.mask(
            moment(at),
            base=base,
            flags=_flags(flag or []),
            use=comma_separated(use),
            do_not_use=comma_separated(do_not_use),
            strata=_numbers(stratum),
        )
        path = _mask_path(out.expanduser(), f"{save_as or made.name}.fits", overwrite=overwrite)
        if no_save:
            saved = None
            made.write(path, overwrite=overwrite, author=author)
        else:
            saved = monitor.save_mask(made, save_as, tag=tag, author=author)
            pool.export(saved, path, overwrite=overwrite)
    _write_mask(made, path, saved, as_json=as_json)


def _write_mask(mask: DatedMask, path: Path, saved: ProductRef | None, *, as_json: bool) -> None:
    for notice in mask.notices:
        report(notice)
    if as_json:
        emit([_mask_record(mask, path, saved)], [], as_json_list=True)
        return
    text = mask.origin.flags_text()
    emit([{"state": state, "flags": text[state], "pixels": n} for state, n in mask.states.items()], _MASK_COLUMNS)
    since = f"since {mask.origin.base}" if mask.origin.base else "without a base"
    bad = counted(mask.counts.get("DO_NOT_USE", 0), "pixel")
    say(f"{bad} DO_NOT_USE; {since}: {len(mask.born)} born, {len(mask.healed)} healed")
    there = "" if saved is None else f", saved as {saved.urn}: {saved.name} version {saved.version}"
    say(f"wrote {path}{there}")


def _mask_path(out: Path, file_name: str, *, overwrite: bool) -> Path:
    """Choose the file, and refuse one that is there before anything is saved."""
    path = out / file_name if is_folder(out) else out
    if not overwrite and os.path.lexists(path):
        raise AlreadyExists(f"{path} exists already; nothing was written; --overwrite replaces an existing file")
    if not is_folder(path.parent):
        raise FileMissing(f"{path.parent}: no such folder; make it first")
    return path


def _flags(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        state, equals, flag = (part.strip() for part in text.partition("="))
        if not (state and equals and flag):
            raise InvalidInput(f"--flag {text}: write STATE=FLAG, e.g. step=OTHER_BAD_PIXEL")
        found[state] = flag
    return found


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    if not all(number.isdigit() for number in comma_separated(text)):
        raise InvalidInput(f"--stratum {text}: write numbers from 0, e.g. 0 or 0,1")
    return [int(number) for number in comma_separated(text)]


def _mask_record(mask: DatedMask, path: Path, saved: ProductRef | None) -> dict[str, Any]:
    def changes(table: NDArray[np.void]) -> list[dict[str, Any]]:
        return [{"x": x, "y": y, "before": flags_in(b), "after": flags_in(a)} for x, y, b, a in table.tolist()]

    from ..monitors.maskflags import flags_in

    return {
        "file": str(path),
        "urn": None if saved is None else str(saved.urn),
        "name": None if saved is None else saved.name,
        "version": None if saved is None else saved.version,
        "monitor": mask.origin.monitor,
        "at": mask.at,
        "detector": mask.detector.name,
        "columns": [mask.place.x, mask.place.x + mask.place.columns - 1],
        "rows": [mask.place.y, mask.place.y + mask.place.rows - 1],
        "strata": list(mask.origin.strata),
        "base": mask.origin.base,
        "states": mask.states,
        "flags": mask.counts,
        "born": changes(mask.born),
        "healed": changes(mask.healed),
        "notices": list(mask.notices),
    }


@_monitor.command("list")
def _list(context: typer.Context, pool_name: PoolName, as_json: Json = False, as_csv: Csv = False) -> None:
    """List the monitors of a pool: what they follow, and how many exposures and pixels with a state they have."""
    from ..records.monitors import monitor_records

    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, pool_name) as pool:
        rows = monitor_records(pool)
    emit(rows, _LIST_COLUMNS, as_json_list=as_json, as_csv=as_csv)


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    lives.add_commands(_monitor)
    events.add_commands(_monitor)
    app.add_typer(_monitor)
