"""Commands on products: into the pool, looked at, out of it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import as_json as to_json
from .output import console, emit, human_bytes, say, write
from .session import Csv, DryRun, Json, PoolName, Spec, Specs, open_pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..ingest import Outcome
    from ..pool import Pool
    from ..reference import ProductRef

__all__ = ["register"]

_WORDS = {"new": "added", "version": "new version", "unchanged": "unchanged", "failed": "failed"}


def _add(
    context: typer.Context,
    name: PoolName,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="FITS files, folders, or patterns.", show_default=False)
    ],
    tag: Annotated[str | None, typer.Option("--tag", metavar="LABEL", help="Tag what is added or was there.")] = None,
    product_name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the product, instead of the file's stem.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Make a version even of data that are there.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Files at a time.")] = 1,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Add FITS files: new products, new versions of known ones, or nothing where the data are there."""
    from ..ingest import find_files, ingest, summarise

    with open_pool(context, name) as pool:
        found = find_files(files)
        listed = as_json or as_csv
        outcomes = []
        for outcome in _progress(ingest(pool, found, tag=tag, name=product_name, force=force, jobs=jobs), len(found)):
            outcomes.append(outcome)
            if outcome.error is not None or not listed:
                _tell(outcome)
    if listed:
        rows = [_outcome_row(o) for o in outcomes]
        emit(rows, list(rows[0]) if rows else [], as_json_list=as_json, as_csv=as_csv)
    total = summarise(outcomes)
    say(
        f"{total.new} added, {total.versions} new versions, {total.unchanged} unchanged, {total.failed} failed; "
        f"{human_bytes(total.bytes)} in, {human_bytes(total.stored_bytes)} stored"
    )
    codes = {o.error.exit_code for o in outcomes if o.error is not None}
    if codes:
        raise typer.Exit(codes.pop() if len(codes) == 1 else 1)


def _progress(outcomes: Iterator[Outcome], count: int) -> Iterator[Outcome]:
    if not (sys.stdout.isatty() and sys.stderr.isatty()) or count < 2:
        yield from outcomes
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("adding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        yield from bar.track(outcomes, total=count)


def _tell(outcome: Outcome) -> None:
    if outcome.error is not None:
        say(f"failed       {outcome.path}: {outcome.message}")
        return
    stored = f"  ({human_bytes(outcome.stored_bytes)} stored)" if outcome.stored_bytes else ""
    notice = f"  ({outcome.message})" if outcome.message else ""
    write(f"{_WORDS[outcome.status]:<12} {outcome.urn}  version {outcome.version}  {outcome.path.name}{stored}{notice}")


def _outcome_row(outcome: Outcome) -> dict[str, Any]:
    return {
        "file": str(outcome.path),
        "status": outcome.status,
        "urn": outcome.urn,
        "version": outcome.version,
        "bytes": outcome.bytes,
        "stored_bytes": outcome.stored_bytes,
        "message": outcome.message,
    }


def _ls(
    context: typer.Context,
    name: PoolName,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Raw, Ramp, RateInts, Rate …")] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="EXPR", help="\"ngroups >= 20 and detector == 'MIRIMAGE'\"")
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", metavar="LABEL", help="Versions that this tag marks.")] = None,
    all_versions: Annotated[bool, typer.Option("--all-versions", help="Not only the newest.")] = False,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B", help="Fields and keywords to show, by commas.")
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="KEY", help="Field or keyword; with a '-' before it, descending.")
    ] = "-created",
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=0, help="At most so many.")] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List products, newest first."""
    from ..listing import BASIC
    from ..product import Product, kind_class
    from ..query import Query

    chosen = [c.strip() for c in columns.split(",") if c.strip()] if columns else []
    cls = kind_class(kind) if kind is not None else Product
    with open_pool(context, name) as pool:
        # functions={}: what a user types calls no function of this program.
        query = Query(cls, "p", where if where is not None else "1", all_versions=all_versions, tag=tag, functions={})
        refs = pool.select(query, order=[sort, "-serial"], limit=limit)
        wanted = list(dict.fromkeys([*BASIC, *chosen])) if as_json else chosen or list(BASIC)
        rows = pool.listing([serial for _, serial in refs.keys], wanted)
    emit(rows, wanted, as_json_list=as_json, as_csv=as_csv)


def _show(context: typer.Context, name: PoolName, spec: Spec, as_json: Json = False) -> None:
    """Show one version: its metadata and datasets."""
    with open_pool(context, name) as pool:
        ref = pool.ref(spec)
        product = ref.product
        datasets = [_dataset_row(d) for d in product.datasets.values()]
        keywords = [
            {"keyword": row.key, "hdu": row.hdu_name, "value": _value(row), "time": row.time}
            for row in product.meta.rows()
        ]
        version = _version_row(pool, ref)
        if as_json:
            write(to_json({**version, "datasets": datasets, "keywords": keywords}))
            return
        for key, value in version.items():
            write(f"{key:<12} {', '.join(value) if isinstance(value, list) else '' if value is None else value}")
        write("")
        emit(datasets, ["dataset", "dtype", "shape", "unit", "min", "max", "mean", "std", "nan", "flagged", "blob"])
        write("")
        rows = [
            {"keyword": k, "value": p.value, "unit": p.unit or "", "description": p.description or ""}
            for k, p in product.meta.items()
        ]
        emit(rows, ["keyword", "value", "unit", "description"])


def _version_row(pool: Pool, ref: ProductRef) -> dict[str, Any]:
    columns = ["urn", "kind", "name", "version", "tags", "created", "bytes", "stored_bytes", "filename"]
    (row,) = pool.listing([ref.serial], columns)
    return row


def _value(row: Any) -> Any:
    return row.flag if row.flag is not None else row.number if row.number is not None else row.text


def _dataset_row(dataset: Any) -> dict[str, Any]:
    s = dataset.statistics
    number = {k: None if s is None else _finite(getattr(s, k)) for k in ("min", "max", "mean", "std")}
    return {
        "dataset": dataset.name,
        "dtype": "table" if dataset.dtype.names else str(dataset.dtype),
        "shape": list(dataset.shape),
        "unit": dataset.unit,
        **number,
        "nan": None if s is None else s.n_nan,
        "flagged": None if s is None else s.n_flagged,
        "blob": dataset.source.key,
    }


def _finite(value: float | None) -> float | str | None:
    """Give a number that JSON has, with the digits that a float32 has; others by name."""
    if value is None or math.isfinite(value):
        return None if value is None else float(f"{value:.7g}")
    return str(value)


def _log(context: typer.Context, name: PoolName, spec: Spec, as_json: Json = False) -> None:
    """Show a track: its versions, what changed in each, and the moves of its tags."""
    with open_pool(context, name) as pool:
        versions = list(_track(pool, spec))
        first = pool.ref(spec, removed=True)
        number = {v["serial"]: v["version"] for v in versions}
        events = [
            {"time": e.time, "tag": e.label, "version": number.get(e.serial), "previous": number.get(e.previous)}
            for e in pool.tag_events(kind=first.kind, name=first.name)
        ]
    if as_json:
        write(to_json({"kind": first.kind, "name": first.name, "versions": versions, "tags": events}))
        return
    write(f"{first.kind}/{first.name}")
    for v in versions:
        tags = f"  [{', '.join(v['tags'])}]" if v["tags"] else ""
        trash = "  in the trash" if v["removed"] else ""
        sizes = f"{human_bytes(v['bytes'])}, {human_bytes(v['stored_bytes'])} stored"
        write(f"version {v['version']}  {v['created']:%Y-%m-%d %H:%M:%S}  {v['urn']}  {sizes}{tags}{trash}")
        for line in v["changes"]:
            write(f"    {line}")
    for e in events:
        came = "was taken off" if e["version"] is None else f"marks version {e['version']}"
        before = "" if e["previous"] is None else f" (before: version {e['previous']})"
        write(f"{e['time']:%Y-%m-%d %H:%M:%S}  tag {e['tag']!r} {came}{before}")


def _track(pool: Pool, spec: str) -> Iterator[dict[str, Any]]:
    from ..difference import compare

    previous = None
    for ref in pool.versions(spec, removed=True):
        manifest = pool.manifest(ref.row)
        changes: Sequence[str] = [] if previous is None else compare(previous, manifest).words()
        yield {
            "urn": ref.urn,
            "serial": ref.serial,
            "version": ref.version,
            "created": ref.created,
            "removed": ref.removed,
            "tags": list(ref.row.tags),
            "bytes": ref.bytes,
            "stored_bytes": ref.stored_bytes,
            "changes": changes if previous is not None else ["first version"],
        }
        previous = manifest


def _export(
    context: typer.Context,
    name: PoolName,
    spec: Spec,
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A file, or a folder.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
) -> None:
    """Write the FITS file that was saved, bit for bit."""
    with open_pool(context, name) as pool:
        path = pool.export(spec, destination, overwrite=overwrite)
    say(f"wrote {path} ({human_bytes(path.stat().st_size)})")


def _rm(context: typer.Context, name: PoolName, specs: Specs, dry_run: DryRun = False) -> None:
    """Put versions into the trash; nothing is deleted, `restore` brings them back."""
    with open_pool(context, name) as pool:
        refs = [pool.ref(spec) for spec in specs]
        for ref in refs:
            say(f"{'would remove' if dry_run else 'removing'} {ref.urn}  {ref.kind}/{ref.name}@{ref.version}")
        if not dry_run:
            pool.remove(refs)


def _restore(context: typer.Context, name: PoolName, specs: Specs) -> None:
    """Take versions out of the trash."""
    with open_pool(context, name) as pool:
        count = pool.restore(specs)
    say(f"restored {count} of {len(specs)} versions")


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
    app.command("log")(_log)
    app.command("export")(_export)
    app.command("rm")(_rm)
    app.command("restore")(_restore)
