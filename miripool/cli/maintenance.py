"""Commands that look after a pool."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..records.plain import as_json as to_json
from ..system.words import counted
from .output import emit, human_bytes, report, say, visible, write
from .progress import counting
from .session import DryRun, Json, PoolName, confirm, core_of, home_of, open_pool

if TYPE_CHECKING:
    from ..errors import MiripoolError
    from ..pool.core import Core
    from ..session.pool import Pool

__all__ = ["register"]

_MOST_DAYS = 36_525
"""A century."""

_MOST_NAMED = 20
"""Files that are none of the pool's, each of which is named."""


def _verify(
    context: typer.Context,
    name: PoolName,
    specs: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC]…", help="Check only these versions.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Check only names and manifests.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Read every array and check its digest and statistics.")] = False,
    as_json: Json = False,
) -> None:
    """Check a pool for damage.

    Compares the folder with the index, and the index with the folder. Nothing is changed.

    The exit code is 70 if something is damaged. Others may write to the pool meanwhile.
    """
    from ..errors import IntegrityError, InvalidInput
    from ..maintenance.verify import verify

    if quick and full:
        raise InvalidInput("--quick and --full exclude each other; choose one")
    level = "quick" if quick else "full" if full else "normal"
    with open_pool(context, name) as pool:
        chosen = core_of(pool).catalog.rows([pool.ref(spec, removed=True).serial for spec in specs or []])
        with counting("arrays" if full else "blobs", as_bytes=full) as told:
            report = verify(core_of(pool), chosen, level=level, progress=told)
    if as_json:
        write(to_json(report.to_json()))
    else:
        rows = [{"what": f.what, "where": f.where, "problem": f.problem, "urns": list(f.urns)} for f in report.findings]
        if rows:
            emit(rows, ["what", "where", "problem", "urns"])
        read = f", {human_bytes(report.bytes_read)} read" if report.bytes_read else ""
        rate = report.bytes_read / report.seconds if report.seconds else 0
        speed = f" ({human_bytes(int(rate))}/s)" if report.bytes_read else ""
        say(
            f"{counted(report.entries, 'entry', 'entries')}, "
            f"{counted(report.versions, 'version')}, contexts included, "
            f"{counted(report.manifests, 'manifest')}, {counted(report.blobs, 'blob')}, "
            f"{counted(report.pixel_sets, 'set')} of pixel rows{read} in {report.seconds:.1f} s{speed}: "
            f"{'whole' if report.is_whole else 'DAMAGED'}"
        )
        if report.without_pixel_rows:
            say(
                f"versions without pixel rows in the index: {report.without_pixel_rows}; the view missing_pixel_rows "
                f"lists them with the reasons, and `miripool index pixels {shlex.quote(name)}` makes the rows that are "
                "not made yet"
            )
    if not report.is_whole:
        raise typer.Exit(IntegrityError.exit_code)


def _gc(
    context: typer.Context,
    name: PoolName,
    grace: Annotated[
        float,
        typer.Option(
            metavar="DAYS", min=0, max=_MOST_DAYS, help="Remove versions that have been in the trash for longer."
        ),
    ] = 30.0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Delete files that no version needs.

    These are blobs and manifests that no version refers to, and temporary files that killed writers left.

    Versions that have been in the trash for longer than the grace period are removed for good: their arrays are
    deleted, their metadata and version numbers stay. Others may write meanwhile: files that they are about to refer to
    are kept.
    """
    from dataclasses import asdict
    from datetime import timedelta

    from ..maintenance.gc import collect

    with open_pool(context, name) as pool:
        expired = pool.trash(longer_than=timedelta(days=grace))
        for ref in expired:
            say(f"{'would remove' if dry_run else 'removing'} for good {ref.urn}  {ref.kind}/{ref.name}@{ref.version}")
        if expired and not dry_run:
            pool.purge(expired)
        with counting("files") as told:
            found = collect(
                core_of(pool).archive, dry_run=dry_run, without=[ref.serial for ref in expired], progress=told
            )
    if as_json:
        write(to_json({"purged": len(expired), **asdict(found)}))
        return
    would = "would free" if dry_run else "freed"
    say(
        f"{would} {counted(found.files, 'file')}, {human_bytes(found.bytes)}, and "
        f"{counted(found.temporary, 'temporary file')}, {human_bytes(found.temporary_bytes)}; "
        f"{counted(found.notes, 'note')} of processes that have ended; "
        f"{counted(found.spared, 'file')} kept for running writers"
    )
    for name in found.unknown[:_MOST_NAMED]:
        say(f"left alone: {visible(name, lines=False)} does not belong to a pool; check what it is")
    if len(found.unknown) > _MOST_NAMED:
        say(f"left alone: {len(found.unknown) - _MOST_NAMED} more; --json names them all")


def _reindex(
    context: typer.Context,
    name: PoolName,
    pixels: Annotated[bool, typer.Option("--pixels/--no-pixels", help="Also make the pixel rows again.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before dropping another pool's index.")] = False,
) -> None:
    """Rebuild the index from the pool's folder. Others may read and write meanwhile.

    The old index answers queries until the new index replaces it. The new index has no pixel rows at first: they are
    made afterwards from the arrays, for the versions that the pool's pixel policy selects.
    """
    home = home_of(context)
    owner = home.foreign_index(name)
    if owner is not None:
        confirm(f"The database has the index of another pool ({owner}) under the name {name!r}. Drop it?", yes=yes)
        home.drop_foreign_index(name, owner)
    with open_pool(context, name) as pool:
        total = core_of(pool).archive.journal.last() + 1
        position = core_of(pool).index_position()
        if position is not None and position.n >= total:
            say(
                f"the index knows {position.n + 1} entries of the journal, but the folder has only {total}: the others "
                "are lost with the old index; `miripool repair --from` a copy of the folder can restore them"
            )
        before = core_of(pool).index_identity()
        try:
            made, failures = _make_index(pool, total, pixels=pixels)
        except KeyboardInterrupt:
            say(_where_it_stands(core_of(pool), before))
            raise
        waiting = None if pixels else _rows_to_make(core_of(pool))
    for error in failures:
        report(str(error))
    if pixels:
        say(f"pixel rows of {counted(made, 'version')} made, {len(failures)} failed")
    if waiting is not None:
        say(waiting)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _make_index(pool: Pool, total: int, *, pixels: bool) -> tuple[int, list[MiripoolError]]:
    """Make the index, and then the pixel rows; give how many versions got rows, and what failed."""
    with counting("entries") as told:
        pool.reindex(progress=None if told is None else lambda done: told(done, total))
    statistics = core_of(pool).catalog.statistics()
    sums = statistics.total
    say(f"{counted(sums.products, 'version')} of {counted(sums.tracks, 'product')}")
    if not pixels:
        return 0, []
    with counting("pixel rows") as told:
        return core_of(pool).pixel_rows.make_pending(None, told)


def _where_it_stands(core: Core, before: int | None) -> str:
    """Say which index answers after an interruption, and what is to be done."""
    from ..errors import MiripoolError

    again = f"`miripool reindex {shlex.quote(core.name)}`"
    answers = core.index_identity()
    if answers is not None and answers == before:
        return f"the old index is still in use, with its pixel rows; {again} continues or starts again"
    try:
        waiting = _rows_to_make(core)
    except MiripoolError as error:
        return f"the index can't be used ({error}); the folder is unchanged; {again} starts again"
    return f"the new index has replaced the old one; {waiting or 'it is complete'}"


def _rows_to_make(core: Core) -> str | None:
    """Say how many versions should have pixel rows and have none; None where all have theirs."""
    from .choosing import count_versions

    waiting = len(core.pixel_rows.pending())
    command = f"`miripool index pixels {shlex.quote(core.name)}`"
    return f"pixel rows of {count_versions(waiting)} are not made yet: {command} makes them" if waiting else None


def _repair(
    context: typer.Context,
    name: PoolName,
    sources: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="PATH", help="A pool's folder, a FITS file, or a folder of them; repeatable."),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Repair a pool from copies. Damage that can't be repaired is set aside or left as it is, and listed.

    Missing and damaged blobs are restored from FITS files or from other pools' folders that hold the same arrays;
    manifests and journal entries from a copy of the pool's folder; the index from the pool's folder. The exit code is
    70 if something stays damaged.
    """
    from ..errors import IntegrityError
    from ..maintenance.repair import repair

    with open_pool(context, name) as pool, counting("arrays", as_bytes=True) as told:
        steps = repair(core_of(pool), sources or [], dry_run=dry_run, progress=told)
    rows = [
        {"what": s.what, "where": s.where, "action": s.action, "healed": s.healed, "urns": list(s.urns)} for s in steps
    ]
    columns = ["what", "where", "action", "healed", "urns"]
    if as_json or rows:
        emit(rows, columns, as_json_list=as_json, as_csv=False)
    left = sum(not step.healed for step in steps)
    healed = sum(step.healed for step in steps if step.what != "note")
    would = "would be repaired" if dry_run else "repaired"
    say(f"{counted(healed, 'problem')} {would}, {left} not" if healed + left else "whole")
    if left:
        raise typer.Exit(IntegrityError.exit_code)


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("verify")(_verify)
    app.command("repair")(_repair)
    app.command("gc")(_gc)
    app.command("reindex")(_reindex)
