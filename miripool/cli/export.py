"""The command that writes FITS files out of a pool, as copies or as links."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import AlreadyExists, InvalidInput
from ..system.words import counted
from .choosing import AllVersions, Kind, Tagged, Where, Which, choose, count_versions
from .output import emit, human_bytes, say
from .progress import counting
from .session import AsOf, Csv, DryRun, Json, PoolName, one_form, open_pool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..pool.reference import ProductRef
    from ..session.pool import Pool
    from .choosing import Chosen

__all__ = ["register"]


def _export(
    context: typer.Context,
    name: PoolName,
    specs: Annotated[
        list[str],
        typer.Argument(
            metavar="[SPEC]… DEST", help="Versions, then a file, or a folder for several.", show_default=False
        ),
    ],
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    jwst: Annotated[
        bool, typer.Option("--jwst", help="Write an exposure of a ground test as a Level-1b file.")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Make links to the files where `miripool mount` shows the pool, not copies.")
    ] = False,
    as_of: AsOf = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Write FITS files as they were saved, bit for bit.

    With --dry-run, --json or --csv, lists the files: path, urn, bytes, and with --link the target.
    """
    one_form(as_json=as_json, as_csv=as_csv)
    if link and jwst:
        raise InvalidInput("--link leads to the files as they were saved; leave out --jwst, or leave out --link")
    *named, destination = specs
    with open_pool(context, name, as_of) as pool:
        chosen = choose(pool, named, Which(kind, where, tag, all_versions))
        paths = _export_paths(chosen, destination, jwst=jwst)
        _refuse_taken(paths, overwrite=overwrite)
        rows = _export_rows(pool, paths, jwst=jwst, link=link)
        if not dry_run:
            _write_files(pool, paths, rows, overwrite=overwrite, jwst=jwst)
    if dry_run or as_json or as_csv:
        columns = ["path", "urn", "bytes", *(["target"] if link else [])]
        emit(rows, columns, as_json_list=as_json, as_csv=as_csv)
    if dry_run:
        size = human_bytes(sum(row["bytes"] for row in rows))
        say(f"would make {counted(len(rows), 'link')}" if link else f"would write {counted(len(rows), 'file')}, {size}")


def _export_paths(chosen: Chosen, destination: str, *, jwst: bool) -> dict[Path, ProductRef]:
    """Choose where each version goes."""
    from ..pool.export import export_name, file_names
    from ..system.outfile import is_folder

    folder = Path(destination)
    if len(chosen.refs) == 1 and not chosen.selected:
        ref = chosen.refs[0]
        return {folder / export_name(ref, jwst=jwst) if is_folder(folder) else folder: ref}
    if not is_folder(folder):
        several = count_versions(len(chosen.refs))
        raise InvalidInput(f"there is no folder {destination} for {several}; create it first")
    return {folder / file: ref for file, ref in file_names(chosen.refs, jwst=jwst).items()}


def _refuse_taken(paths: Iterable[Path], *, overwrite: bool) -> None:
    taken = [path for path in paths if os.path.lexists(path)]
    if taken and not overwrite:
        more = f" and {len(taken) - 1} more exist" if len(taken) > 1 else " exists"
        raise AlreadyExists(f"{taken[0]}{more} already; nothing was written; --overwrite replaces existing files")


def _export_rows(pool: Pool, paths: dict[Path, ProductRef], *, jwst: bool, link: bool) -> list[dict[str, Any]]:
    """List what is to be written; links have their targets."""
    from ..pool.export import export_size

    targets: dict[Path, Path] = {}
    if link:
        from ..files.links import link_targets

        targets = link_targets(pool, paths)
    return [
        {
            "path": str(path),
            "urn": ref.urn,
            "bytes": export_size(ref, jwst=jwst),
            **({"target": str(targets[path])} if link else {}),
        }
        for path, ref in paths.items()
    ]


def _write_files(
    pool: Pool, paths: dict[Path, ProductRef], rows: list[dict[str, Any]], *, overwrite: bool, jwst: bool
) -> None:
    from ..files.links import make_link

    with counting("files") if len(paths) > 1 else nullcontext() as told:
        for done, ((path, ref), row) in enumerate(zip(paths.items(), rows, strict=True), 1):
            if "target" in row:
                make_link(path, Path(row["target"]), overwrite=overwrite)
                say(f"linked {path}")
            else:
                written = pool.export(ref, path, overwrite=overwrite, jwst=jwst)
                say(f"wrote {written} ({human_bytes(written.stat().st_size)})")
            if told is not None:
                told(done, len(paths))


def register(app: typer.Typer) -> None:
    """Add the command.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("export")(_export)
