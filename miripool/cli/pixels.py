"""Commands on pixels, and questions in SQL."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..records.plain import table_records
from ..system.words import counted
from .choosing import AllVersions, Kind, SomeSpecs, Tagged, Where, Which, choose, count_versions
from .commands import Commands
from .lives import Ramps, show_life, times_of
from .output import emit, report, say
from .progress import counting
from .session import AsOf, Csv, DryRun, Json, PoolName, core_of, gaps_said, home_of, limit_from, one_form, open_pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..errors import MiripoolError
    from ..index.pixels import Merge
    from ..model.product import Product
    from ..session.pool import Pool

__all__ = ["pixel_named", "register"]

_Kind = Annotated[str, typer.Option("--kind", metavar="KIND", help="Raw, Ramp, RateInts or Rate.")]
_Query = Annotated[
    str, typer.Option("--query", metavar="EXPR", help="Condition on versions; see `ls --where`.", show_default=False)
]
_Detector = Annotated[
    str | None, typer.Option("--detector", metavar="NAME", help="Only this detector, e.g. MIRIMAGE; case is ignored.")
]
_Columns = Annotated[
    str | None,
    typer.Option("--columns", metavar="A,B", help="Columns to show, separated by commas.", show_default=False),
]
_Names = Annotated[bool, typer.Option("--dq-names", help="Show DQ flags by name.")]

_index = Commands(name="index", help="Pixel rows in the index.", no_args_is_help=True)


def _pixel(
    context: typer.Context,
    name: PoolName,
    x: Annotated[int, typer.Argument(metavar="X", help="Column 1…1032 of the FULL array.", show_default=False)],
    y: Annotated[int, typer.Argument(metavar="Y", help="Row 1…1024 of the FULL array.", show_default=False)],
    kind: _Kind = "RateInts",
    where: Annotated[
        str, typer.Option("--where", metavar="EXPR", help="Condition on versions; see `ls`.", show_default=False)
    ] = "1",
    tag: Tagged = None,
    all_versions: AllVersions = False,
    detector: _Detector = None,
    columns: _Columns = None,
    dq_names: _Names = False,
    plot: Annotated[
        str | None, typer.Option("--plot", metavar="FILE", help="Plot ramps, or rates against time.")
    ] = None,
    life: Annotated[
        bool, typer.Option("--life", help="Show the rates and states that a monitor found; see `monitor life`.")
    ] = False,
    monitor: Annotated[
        str | None, typer.Option("--monitor", metavar="NAME", help="The monitor, if the pool has several.")
    ] = None,
    ramps: Ramps = None,
    as_of: AsOf = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Follow one pixel through all exposures.

    Shows its ramps (Raw, Ramp) or rates (RateInts, Rate); with --life its states.
    """
    from ..errors import InvalidInput
    from ..model.kinds import KINDS, kind_class

    one_form(as_json=as_json, as_csv=as_csv)
    if life or monitor is not None or ramps is not None:
        if where != "1" or tag is not None or all_versions or columns is not None or dq_names:
            raise InvalidInput(
                "--life shows all exposures of a monitor; --where, --tag, --all-versions, --columns and --dq-names "
                "can't be used with it"
            )
        with open_pool(context, name, as_of) as pool:
            found = pool.pixel(x, y, detector=detector).life(monitor, flags=True, ramps=times_of(ramps))
        show_life(found, plot, as_json=as_json, as_csv=as_csv)
        return
    cls = kind_class(kind)
    with open_pool(context, name, as_of) as pool:
        pixel = pool.pixel(x, y, detector=detector)
        read = pixel.history if KINDS[cls.kind].is_rate else pixel.ramps
        table = read(cls, where, tag=tag, all_versions=all_versions, dq_names=dq_names)
        if not len(table):
            _tell_no_versions(pool, cls, where, tag, all_versions)
        if plot is not None:
            from ..pixels.plots import plot_pixel

            bits = read(cls, where, tag=tag, all_versions=all_versions) if dq_names else table
            plot_pixel(bits, plot)
            say(f"wrote {plot}")
            if not (as_json or as_csv):
                return
    chosen = _chosen_columns(table, columns)
    emit(table_records(table, chosen), chosen, as_json_list=as_json, as_csv=as_csv, exact_times=True)


def _pixels(
    context: typer.Context,
    name: PoolName,
    where: Annotated[
        str, typer.Option("--where", metavar="EXPR", help="Condition on pixels; see above.", show_default=False)
    ] = "",
    kind: _Kind = "RateInts",
    x: Annotated[str | None, typer.Option("--x", metavar="A:B", help="Columns A to B, both included.")] = None,
    y: Annotated[str | None, typer.Option("--y", metavar="A:B", help="Rows A to B, both included.")] = None,
    query: _Query = "1",
    tag: Tagged = None,
    all_versions: AllVersions = False,
    detector: _Detector = None,
    columns: _Columns = None,
    dq_names: _Names = False,
    count: Annotated[bool, typer.Option("--count", help="Show only their number.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", callback=limit_from(1), help="Show at most N pixels.")
    ] = 1000,
    as_of: AsOf = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Find the pixels that satisfy a condition.

    \b
      --kind RateInts --where "rate > 1.0 and dq is null"    in any integration
      --kind RateInts --where "ALL(rate > 1.0)"    in every integration
      --kind RateInts --where "rate[integration == 1] > 1.0"    in the first
      --kind Ramp --where "has(groupdq, 'JUMP_DET') and sci[integration == 1, group == 5] > 20000"
      --kind Raw --where "dn >= 65535" --x 1:72 --y 779:842
    """  # noqa: D301 - to the help, the character \b says that lines stay as they are
    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, name, as_of) as pool:
        found = pool.pixels(
            kind,
            where,
            x=_range(x, "--x"),
            y=_range(y, "--y"),
            query=query,
            tag=tag,
            all_versions=all_versions,
            detector=detector,
        )
        if count:
            number = found.count()
            emit([{"pixels": number}], ["pixels"], as_json_list=as_json, as_csv=as_csv)
            return
        table = found.to_table(dq_names=dq_names, limit=limit)
        chosen = _chosen_columns(table, columns)
        emit(table_records(table, chosen), chosen, as_json_list=as_json, as_csv=as_csv, exact_times=True)
    if not len(table):
        say("no pixel satisfies the condition")
    if len(table) == limit:
        say(f"only the first {limit} are shown; --limit N shows more, --count counts them")


def pixel_named(text: str | None) -> tuple[int, int] | None:
    """Read the pixel that an option names.

    Parameters
    ----------
    text : str or None
        ``X,Y``.

    Returns
    -------
    tuple of int, or None
        Column and row, as they are given; None for None.

    Raises
    ------
    InvalidInput
        If it is not two numbers.
    """
    from ..errors import InvalidInput

    if text is None:
        return None
    x, comma, y = text.partition(",")
    if not (comma and x.strip().isdigit() and y.strip().isdigit()):
        raise InvalidInput(f"--pixel {text}: write X,Y, e.g. 41,809")
    return int(x), int(y)


def _range(text: str | None, option: str) -> tuple[int, int] | None:
    from ..errors import InvalidInput

    if text is None:
        return None
    first, _, last = text.partition(":")
    try:
        return int(first), int(last or first)
    except ValueError:
        raise InvalidInput(f"{option} {text}: write first:last, e.g. 1:72") from None


def _chosen_columns(table: Any, columns: str | None) -> list[str]:
    from ..errors import InvalidInput
    from ..pool.listing import column_names

    chosen = column_names(columns) or list(table.colnames)
    unknown = [column for column in chosen if column not in table.colnames]
    if unknown:
        raise InvalidInput(f"there is no column {', '.join(unknown)}; there are {', '.join(table.colnames)}")
    return chosen


def _sql(
    context: typer.Context,
    name: PoolName,
    statement: Annotated[
        str | None,
        typer.Argument(metavar="[STATEMENT]", help="Must return rows; by default, psql is opened.", show_default=False),
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Query the index in SQL, read-only. The reference in docs/ lists the tables and views.

    Views of pixel values leave out versions without pixel rows. If the pool has such versions, a notice on stderr says
    so, and `SELECT * FROM missing_pixel_rows` lists them.
    """
    one_form(as_json=as_json, as_csv=as_csv)
    home = home_of(context)
    if statement is None:
        _psql(context, name)
        return
    if not statement.strip():
        from ..errors import InvalidInput

        raise InvalidInput(
            "the statement is empty; write one such as 'SELECT * FROM exposures', or leave it out to open psql"
        )
    with gaps_said(), home.sql(name, statement) as answer:
        columns = _unique(answer.columns)
        rows = [dict(zip(columns, row, strict=True)) for row in answer]
    emit(rows, columns, as_json_list=as_json, as_csv=as_csv)


def _unique(columns: list[str]) -> list[str]:
    made: list[str] = []
    for column in columns:
        number, candidate = 2, column
        while candidate in made:
            candidate, number = f"{column}_{number}", number + 1
        made.append(candidate)
    return made


def _psql(context: typer.Context, name: str) -> None:
    from ..errors import ServerUnavailable
    from ..index import psql_call

    home = home_of(context)
    with gaps_said():
        url, schema = home.psql_url(name)
    program = shutil.which("psql") if home.external_url is not None else str(home.server.psql)
    if program is None:
        raise ServerUnavailable(f"psql is not installed here; give a statement: miripool sql {name} 'SELECT …'")
    arguments, environment = psql_call(url, schema, os.environ)
    sys.stdout.flush()
    os.execve(program, [program, *arguments], environment)  # noqa: S606 - in this one's place


def _tell_no_versions(pool: Pool, cls: type[Product], where: str, tag: str | None, all_versions: bool) -> None:
    """Say so where a pixel's table is empty because there is no version to look at."""
    from ..pixels.asked import select_versions

    if not select_versions(core_of(pool), cls, where, tag, all_versions):
        every = where == "1" and tag is None
        say(f"nothing found: no {cls.kind} in pool {core_of(pool)}{'' if every else ' satisfies all conditions'}")


def _tell_left_out(pool: Pool) -> None:
    """Say why versions have no pixel rows, none of which is pending, and how those are made that can be made."""
    from ..index.pixels import missing
    from ..pixels.gaps import spell_missing
    from ..pool.pixelrows import NOWHERE

    reasons = missing(core_of(pool).catalog.database, core_of(pool).pixel_rows.policy)
    if reasons:
        say(spell_missing(reasons, "none"))
    if set(reasons) - {NOWHERE}:
        again = f"miripool index pixels {shlex.quote(pool.name)}"
        say(f"rows that were dropped, or left out with --no-pixels, are made by {again} SPEC…, all by --all-versions")


@_index.command("pixels")
def _make_rows(
    context: typer.Context,
    name: PoolName,
    specs: SomeSpecs = None,
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
) -> None:
    """Make missing pixel rows, for all versions whose rows are pending or for the versions that you choose.

    The rows of versions that you choose stay until `index drop` drops them or the version goes into the trash. Under
    the policy `tagged` you can choose only newest and tagged versions: rows of others would be dropped at once.
    """
    which = Which(kind, where, tag, all_versions)
    with open_pool(context, name) as pool:
        core_of(pool).catch_up()
        serials = [ref.serial for ref in choose(pool, specs, which).refs] if specs or which else None
        core_of(pool).pixel_rows.refuse_unwanted(serials or [])
        with counting("pixel rows") as told:
            made, failures = core_of(pool).pixel_rows.make_pending(serials, told)
        core_of(pool).pixel_rows.tidy()
        for error in failures:
            report(str(error))
        say(f"pixel rows of {count_versions(made)} made, {len(failures)} failed")
        if serials is None and not made and not failures:
            _tell_left_out(pool)
    if failures:
        raise typer.Exit(failures[0].exit_code)


@_index.command("drop")
def _drop_rows(
    context: typer.Context,
    name: PoolName,
    specs: SomeSpecs = None,
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    everything: Annotated[bool, typer.Option("--all", help="Drop the rows of all versions.")] = False,
) -> None:
    """Drop pixel rows; `index pixels POOL SPEC…` makes them again."""
    from ..errors import InvalidInput

    which = Which(kind, where, tag, all_versions)
    if bool(specs or which) == everything:
        raise InvalidInput("give either versions or --all")
    with open_pool(context, name) as pool:
        core_of(pool).catch_up()
        if everything:
            serials = [serial for _, serial in pool.select(all_versions=True).keys]
        else:
            serials = [ref.serial for ref in choose(pool, specs, which).refs]
        dropped = core_of(pool).pixel_rows.drop(serials)
    say(f"{counted(dropped, 'set')} of pixel rows dropped")


@_index.command("optimize")
def _optimize(context: typer.Context, name: PoolName, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Merge pixel rows of exposures that were added one by one, so that they take less space and answer sooner.

    Exposures of one detector, subarray and shape share a table, as if they had been added together. Rows that were
    dropped free their space then. The rows are made from the pool's files; questions are answered meanwhile. Where a
    file is missing or damaged, the rows that would share a table with its rows stay as they are.
    """
    with open_pool(context, name) as pool:
        core_of(pool).catch_up()
        pixel_rows = core_of(pool).pixel_rows
        merges = pixel_rows.merges()
        failures: list[tuple[Merge, MiripoolError]] = []
        if not dry_run:
            with counting("sets of pixel rows") as progress:
                _, failures = pixel_rows.optimize(merges, progress)
    failed = [merge for merge, _ in failures]
    merges = [merge for merge in merges if merge not in failed]
    records = [
        {**{key: getattr(m, key) for key in _SHAPE}, "sets": len(m.sets), "tables": len(m.blocks), "apart": apart}
        for m, apart in zip(merges, _why_apart(merges), strict=True)
    ]
    if as_json or (dry_run and records):
        titles = {"first_x": "x", "first_y": "y", "apart": "why a table of its own"}
        emit(records, [*_SHAPE, "sets", "tables", "apart"], as_json_list=as_json, titles=titles)
    sets, tables = (
        sum(len(part) for part in parts) for parts in ([m.sets for m in merges], [m.blocks for m in merges])
    )
    would = "would be merged" if dry_run else "merged"
    for _, error in failures:
        report(str(error))
    if merges or failures:
        say(f"{counted(sets, 'set')} of pixel rows {would}: {counted(len(merges), 'table')} instead of {tables}")
    else:
        say("no pixel rows to merge")
    if failures:
        say(f"{counted(sum(len(merge.sets) for merge in failed), 'set')} could not be merged; their rows are as before")
        raise typer.Exit(failures[0][1].exit_code)


_SHAPE = ("kind", "detector", "first_x", "first_y", "columns", "rows", "nints", "ngroups")
"""What exposures have in common that share a table, beside the datasets that have values."""


def _why_apart(merges: Sequence[Merge]) -> Iterator[str | None]:
    """Say of each new table why its exposures are not in one before it of as many columns and rows."""
    for number, merge in enumerate(merges):
        alike = [_differences(m, merge) for m in merges[:number] if _area(m) == _area(merge)]
        least = min(reversed(alike), key=len, default=None)
        full = f"full: it holds {counted(merge.most, 'exposure')}"
        yield None if least is None else ", ".join(least) or full


def _area(merge: Merge) -> tuple[str, str, int, int]:
    return merge.kind, merge.detector, merge.columns, merge.rows


def _differences(other: Merge, merge: Merge) -> list[str]:
    return [
        words
        for words, keys in (
            ("another place on the detector", ("first_x", "first_y")),
            ("another number of integrations", ("nints",)),
            ("another number of groups", ("ngroups",)),
            (f"other arrays: {', '.join(merge.datasets)}", ("datasets",)),
        )
        if any(getattr(other, key) != getattr(merge, key) for key in keys)
    ]


@_index.command("policy")
def _policy(
    context: typer.Context,
    name: PoolName,
    policy: Annotated[
        str | None,
        typer.Argument(metavar="[all|tagged|none]", help="tagged: newest and tagged versions.", show_default=False),
    ] = None,
) -> None:
    """Show or set which versions get pixel rows automatically."""
    with open_pool(context, name) as pool:
        if policy is not None:
            pool.set_pixel_policy(policy)
            say(f"pixel policy of {name}: {policy}; `miripool index pixels {name}` makes the missing rows")
            return
        core_of(pool).catch_up()
        pending = len(core_of(pool).pixel_rows.pending())
        emit([{"policy": core_of(pool).pixel_rows.policy, "pending": pending}], ["policy", "pending"])


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("pixel")(_pixel)
    app.command("pixels")(_pixels)
    app.command("sql")(_sql)
    app.add_typer(_index)
