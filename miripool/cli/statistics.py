"""Commands that measure exposures: statistics by integration and amplifier, and slopes over some groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .choosing import AllVersions, Kind, SomeSpecs, Tagged, Where, Which, choose
from .output import emit, report
from .progress import counting
from .session import Csv, Json, PoolName, core_of, one_form, open_pool, refuse_reader

if TYPE_CHECKING:
    from ..pool.reference import ProductRef
    from ..session.pool import Pool

__all__ = ["measure_versions", "register"]

_COLUMNS = (
    *("kind", "name", "version", "integration", "amplifier", "pixels", "median", "sigma", "p5", "p95"),
    *("cds_noise", "cosmic_rays"),
)
_DIGITS = 4


def _statistics(
    context: typer.Context,
    name: PoolName,
    specs: SomeSpecs = None,
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="A,B", help="Columns to show, separated by commas.", show_default=False),
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Show statistics of exposures by integration and amplifier.

    Versions that were not measured before are measured now; the results are kept in the pool. By default the newest
    versions of the kinds RateInts, Rate and Ramp.

    Rates (median, sigma, p0 to p100) are in DN/s; sigma is 1.4826 times the median absolute deviation. cds_noise, the
    scatter of differences of successive groups, and residuals, the groups less the line through the later ones, are in
    DN. cosmic_rays is the number of jumps per 1000 pixels and second. Reference pixels and pixels flagged DO_NOT_USE
    are left out. Amplifier 5 is the reference output.
    """
    from ..errors import FormatError, InvalidInput
    from ..monitors.statistics import MEASURED, RECORD
    from ..pool.listing import column_names

    one_form(as_json=as_json, as_csv=as_csv)
    names = column_names(columns) or (list(RECORD) if as_csv else list(_COLUMNS))
    unknown = [column for column in names if column not in RECORD]
    if unknown:
        raise InvalidInput(f"there is no column {', '.join(unknown)}; there are {', '.join(RECORD)}")
    with open_pool(context, name) as pool:
        which = Which(kind, where, tag, all_versions)
        chosen = choose(pool, specs, which if specs or which else Which(where="1")).refs
        refs = [ref for ref in chosen if specs or kind or ref.kind in MEASURED]
        rows, complete = measure_versions(pool, refs)
    if columns:
        rows = [{name: row[name] for name in names} for row in rows]
    if not (as_json or as_csv):
        rows = [_for_people(row) for row in rows]
    emit(rows, names, as_json_list=as_json, as_csv=as_csv, digits=_DIGITS)
    if not complete:
        raise typer.Exit(FormatError.exit_code)


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    """Write flags and residuals as text for a table."""
    shown = dict(row)
    if "flags" in row:
        shown["flags"] = ", ".join(f"{name} {count}" for name, count in row["flags"].items())
    if "residuals" in row:
        shown["residuals"] = " ".join("-" if value is None else f"{value:.1f}" for value in row["residuals"])
    return shown


def measure_versions(pool: Pool, refs: list[ProductRef]) -> tuple[list[dict[str, Any]], bool]:
    """Measure versions, and say which can't be measured.

    Parameters
    ----------
    pool : Pool
        The pool.
    refs : list of ProductRef
        The versions; those of other kinds than Raw, Ramp, RateInts and Rate are passed over.

    Returns
    -------
    records : list of dict
        The statistics.
    complete : bool
        Whether all could be measured.
    """
    from ..monitors.statistics import measured_records

    with counting("versions") as show:
        records, left_out = measured_records(core_of(pool), refs, progress=show)
    for urn, why in left_out:
        report(f"{urn} has no statistics: {why}")
    return records, not left_out


def _slopes(
    context: typer.Context,
    name: PoolName,
    groups: Annotated[str, typer.Option("--groups", metavar="FIRST:LAST", help="Groups, from 1, both included.")],
    specs: SomeSpecs = None,
    kind: Kind = None,
    where: Where = None,
    label: Annotated[str | None, typer.Option("--tag", metavar="LABEL", help="Tag for the slopes.")] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Fit a line to some groups of ramps, and save the slopes as RateInts with the name NAME_groupsFIRST-LAST.

    Takes products of the kind Ramp or Raw. Groups flagged DO_NOT_USE or SATURATED are left out, the first and the last
    group of a Raw as well, and the line may jump where the pipeline found a jump. The error is that from the scatter
    about the line.
    """
    from ..errors import FormatError, InvalidInput

    one_form(as_json=as_json, as_csv=as_csv)
    first, _, last = groups.partition(":")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise InvalidInput(f"{groups!r} is not a range of groups; write FIRST:LAST, e.g. 5:20")
    rows, code = [], 0
    with open_pool(context, name) as pool:
        refuse_reader(pool)
        refs = choose(pool, specs, Which(kind, where)).refs
        with counting("ramps") as show:
            for done, ref in enumerate(refs, 1):
                try:
                    rows.append(_save_slopes(pool, ref, int(first), int(last), label))
                except (InvalidInput, FormatError) as error:
                    report(f"{ref.urn}: {error}")
                    code = error.exit_code
                if show is not None:
                    show(done, len(refs))
    emit(rows, ["urn", "name", "version", "notice"], as_json_list=as_json, as_csv=as_csv)
    if code:
        raise typer.Exit(code)


def _save_slopes(pool: Pool, ref: ProductRef, first: int, last: int, label: str | None) -> dict[str, Any]:
    from .. import __version__
    from ..monitors import fit_group_slopes

    history = {
        "tool": "miripool slopes",
        "version": __version__,
        "parameters": {"first": first, "last": last},
        "inputs": [ref.urn],
    }
    saved = pool.save(fit_group_slopes(ref.product, first, last), tag=label, history=[history])
    return {"urn": saved.urn, "name": saved.name, "version": saved.version, "notice": saved.notice}


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("statistics")(_statistics)
    app.command("slopes")(_slopes)
