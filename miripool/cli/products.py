"""Commands on products: into the pool, looked at, out of it."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..model.cards import is_structural
from ..records.plain import as_json as to_json
from .adding import Jobs, TagAdded, Truncate, WithPixels, make_up_for_pixels, report_added, tell, telling_where_it_ends
from .choosing import (
    AllVersions,
    Kind,
    SomeSpecs,
    Tagged,
    Where,
    Which,
    WholeSpecs,
    choose,
    choose_in_trash,
    count_versions,
    query_of,
)
from .output import copied_from, emit, say, write
from .progress import counting
from .session import AsOf, Csv, DryRun, Json, PoolName, core_of, limit_from, one_form, open_pool, refuse_reader
from .statistics import measure_versions
from .tags import tell_moves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..pool.explain import Explanation
    from ..pool.ingest import Outcome
    from ..pool.reference import ProductRef, ProductRefs
    from ..query import Query
    from ..session.pool import Pool

__all__ = ["register"]


def _add(
    context: typer.Context,
    name: PoolName,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="FITS files, folders, or patterns.", show_default=False)
    ],
    tag: TagAdded = None,
    product_name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the product; by default the file's stem.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Make a new version even if the data are already there.")
    ] = False,
    jobs: Jobs = None,
    pixels: WithPixels = None,
    truncate: Truncate = False,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Also measure the files' statistics; see `statistics`.")
    ] = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Add FITS files as new products or new versions. A file whose data are already in the pool adds nothing."""
    from ..pool.ingest import find_files, ingest
    from ..pool.tags import events_since

    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, name) as pool:
        refuse_reader(pool)
        found = find_files(files)
        listed = as_json or as_csv
        outcomes: list[Outcome] = []
        first_entry = 0 if tag is None else core_of(pool).archive.journal.last() + 1
        options: dict[str, Any] = {"force": force, "jobs": jobs, "pixels": pixels, "truncate": truncate}
        with telling_where_it_ends(outcomes, len(found), forced=force):
            with counting(f"adding {len(found)} files", as_bytes=True) if len(found) > 1 else nullcontext() as told:
                for outcome in ingest(core_of(pool), found, tag=tag, name=product_name, progress=told, **options):
                    outcomes.append(outcome)
                    if outcome.error is not None or not listed:
                        tell(outcome)
                    elif outcome.message and outcome.status != "unchanged":
                        say(f"{outcome.path}: {outcome.message}")
            if tag is not None:
                tell_moves(pool, tag, events_since(core_of(pool), tag, first_entry))
            if pixels is not False:
                make_up_for_pixels(pool)
            if statistics:
                measure_versions(pool, [pool.ref(outcome.urn) for outcome in outcomes if outcome.urn is not None])
    report_added(outcomes, as_json=as_json, as_csv=as_csv)


_Covers = Annotated[
    str | None,
    typer.Option("--covers", metavar="POSITION", help="Only versions whose footprint has it.", show_default=False),
]


def _ls(
    context: typer.Context,
    name: PoolName,
    specs: SomeSpecs = None,
    kind: Kind = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="EXPR", help="Condition on versions; see above.", show_default=False),
    ] = None,
    covers: _Covers = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    trash: Annotated[bool, typer.Option("--trash", help="List versions in the trash instead.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show how each condition is answered, and how many versions it leaves.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B", help="Fields and keywords to show, separated by commas.")
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="KEY", help="Field or keyword to sort by; a leading '-' means descending.")
    ] = "-created",
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", callback=limit_from(0), help="List at most N versions.")
    ] = None,
    as_of: AsOf = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List products, newest first.

    \b
    A condition EXPR combines comparisons with and, or, not:
      --where "ngroups >= 20 and detector == 'MIRIMAGE'"    any keyword of any header; text in quotes
      --where "filename like '%_SCE1%' and DATE-OBS between '2018-03-08' and '2018-03-09'"
      --where "kind == 'RateInts' and p.data.max() > 100"   max, min, mean, std of a dataset
      --where "overlaps(circle(150.1, 2.2, 0.5))"           also separation(ra, dec) < 2, in degrees, ICRS

    \b
    A POSITION is '10h00m28s +02d12m21s', or '150.1167 2.2058' in degrees.
    """  # noqa: D301 - to the help, the character \b says that lines stay as they are
    from ..errors import InvalidInput
    from ..pool.listing import BASIC, column_names

    one_form(as_json=as_json, as_csv=as_csv)
    if trash and (where is not None or covers is not None or tag is not None or all_versions):
        raise InvalidInput("--trash can't be combined with --where, --covers, --tag or --all-versions; leave these out")
    chosen = column_names(columns)
    basic = [*BASIC, "removed"] if trash else list(BASIC)
    query = query_of(Which(kind, where, tag, all_versions))
    if covers is not None:
        query = _covering(query, covers)
    order = [sort, "-serial"]
    with open_pool(context, name, as_of) as pool:
        if trash:
            refs = _in_trash(pool, specs, kind, order, limit)
        else:
            if explain:
                _show_steps(pool.explain(query), as_json=as_json, as_csv=as_csv)
                return
            among = choose(pool, specs, Which(None, None, tag, all_versions)).refs if specs else None
            with counting("looking at data") as told:
                refs = pool.select(query, among, order=order, limit=limit, progress=told)
        wanted = list(dict.fromkeys([*basic, *chosen])) if as_json else chosen or basic
        rows = core_of(pool).listing([serial for _, serial in refs.keys], wanted)
        reason = "the trash is empty" if trash else refs.reason
    emit(rows, wanted, as_json_list=as_json, as_csv=as_csv)
    if not rows and reason is not None and limit != 0:
        say(f"nothing found: {reason}")


def _covering(query: Query, position: str) -> Query:
    """Narrow a query to what has a position; an error names the option."""
    from ..errors import InvalidInput
    from ..query.skywords import covering

    try:
        return query.narrowed(covering(position))
    except InvalidInput as error:
        raise InvalidInput(f"--covers: {error}") from None


def _in_trash(
    pool: Pool, specs: list[str] | None, kind: str | None, order: list[str], limit: int | None
) -> ProductRefs:
    from ..pool.reference import ProductRefs

    if not specs and kind is None:
        return pool.trash(order=order, limit=limit)
    refs = pool.trash(order=order)
    named = {ref.serial for ref in choose_in_trash(pool, specs or [], kind=kind).refs}
    return ProductRefs([key for key in refs.keys if key[1] in named][:limit])


def _show_steps(steps: Explanation, *, as_json: bool, as_csv: bool) -> None:
    """Write who answers each condition of a query."""
    if as_json or as_csv:
        columns = ["condition", "answered_by", "left", "hint"]
        emit(steps.rows(), columns, as_json_list=as_json, as_csv=as_csv)
    else:
        write(str(steps))


def _show(
    context: typer.Context,
    name: PoolName,
    specs: SomeSpecs = None,
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    everything: Annotated[bool, typer.Option("--all", help="Also show keywords of the file's structure.")] = False,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Show versions: their metadata and datasets."""
    from ..records.versions import version_record

    with open_pool(context, name, as_of) as pool:
        chosen = choose(pool, specs, Which(kind, where, tag, all_versions))
        if as_json:
            found = [version_record(pool, ref) for ref in chosen.refs]
            write(to_json(found[0] if len(found) == 1 and not chosen.selected else found))
            return
        for number, ref in enumerate(chosen.refs):
            if number:
                write("")
            _show_version(version_record(pool, ref), everything=everything)


def _show_version(found: dict[str, Any], *, everything: bool) -> None:
    datasets, references, history, keywords = (
        found.pop(key, []) for key in ("datasets", "references", "history", "keywords")
    )
    purged = found.pop("purged", None)
    for key, value in found.items():
        shown = ", ".join(value) if isinstance(value, list) else "" if value is None else value
        write(f"{key:<12} {shown:%Y-%m-%d %H:%M:%S} UTC" if isinstance(shown, datetime) else f"{key:<12} {shown}")
    if purged is not None:
        write(f"{'purged':<12} {purged:%Y-%m-%d %H:%M:%S} UTC: removed for good since, its arrays may be gone")
    for line in (line for step in history for line in _history_lines(step)):
        write(line)
    write("")
    if references:
        emit(references, ["reference", "urn", "name", "version"])
        write("")
    shown_datasets = [{k: f"{v:.7g}" if isinstance(v, float) else v for k, v in row.items()} for row in datasets]
    if datasets or not references:
        columns = ["dataset", "dtype", "shape", "unit", "min", "max", "mean", "std", "nan", "flagged", "blob"]
        emit(shown_datasets, columns)
        write("")
    rows = [
        {**row, "keyword": row["keyword"] if row["hdu"] == "PRIMARY" else f"{row['hdu']}.{row['keyword']}"}
        for row in keywords
        if everything or not is_structural(row["keyword"])
    ]
    emit(rows, ["keyword", "value", "unit", "description"])


def _history_lines(step: dict[str, Any]) -> Iterator[str]:
    """Tell what a version was made from, one line for each word that there is."""
    if isinstance(step.get("copied"), dict):
        yield f"{'copied from':<12} {copied_from(step['copied'])}"
        return
    made = f"{step.get('tool', 'made')} {step.get('version', '')}".strip()
    context = f" with {step['context']}" if step.get("context") not in (None, "", "N/A") else ""
    yield f"{'made by':<12} {made}{context}"
    if step.get("inputs"):
        yield f"{'from':<12} {', '.join(map(str, step['inputs']))}"
    parameters = step.get("parameters") or {}
    for what in ("overrides", "skip"):
        if parameters.get(what):
            given = parameters[what]
            shown = ", ".join(f"{k}={v}" for k, v in given.items()) if isinstance(given, dict) else ", ".join(given)
            yield f"{what:<12} {shown}"


def _rm(
    context: typer.Context,
    name: PoolName,
    specs: WholeSpecs = None,
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    cascade: Annotated[bool, typer.Option("--cascade", help="Also remove the contexts that refer to them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before removing a selection.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Put versions into the trash. Nothing is deleted; `restore` brings them back. Give whole names or patterns."""
    from ..pool.trash import removed_with

    with open_pool(context, name) as pool:
        if not dry_run:
            refuse_reader(pool)
        chosen = choose(pool, specs, Which(kind, where, tag, all_versions), whole_names=True)
        refs = removed_with(core_of(pool), chosen.refs, cascade=cascade)
        given = {ref.serial for ref in chosen.refs}
        for ref in refs:
            deed = "would remove" if dry_run else "to be removed:" if chosen.selected else "removing"
            say(f"{deed} {_named(ref)}{'' if ref.serial in given else ', which refers to one of these'}")
        if dry_run:
            return
        chosen.confirm("put into the trash", yes=yes)
        pool.remove(refs, cascade=cascade)
    if chosen.selected:
        say(f"{count_versions(len(refs))} went into the trash")


def _named(ref: ProductRef) -> str:
    return f"{ref.urn}  {ref.kind}/{ref.name}@{ref.version}"


def _restore(context: typer.Context, name: PoolName, specs: WholeSpecs = None, kind: Kind = None) -> None:
    """Take versions out of the trash. Give whole names or patterns."""
    with open_pool(context, name) as pool:
        refuse_reader(pool)
        chosen = choose_in_trash(pool, specs or [], kind=kind)
        for ref in chosen.refs:
            if ref.removed is None:
                say(f"{_named(ref)} is not in the trash")
        chosen.announce("restoring")
        count = pool.restore(chosen.refs)
    named = sum(ref.removed is not None for ref in chosen.refs)
    more = f", and {count - named} more that belong to them" if count > named else ""
    say(f"restored {named} of {count_versions(len(chosen.refs))}{more}")


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("add")(_add)
    app.command("ls")(_ls)
    app.command("show")(_show)
    app.command("rm")(_rm)
    app.command("restore")(_restore)
