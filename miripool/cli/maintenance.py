"""Commands that look after a pool."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..records.plain import as_json as to_json
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
        list[str] | None, typer.Argument(metavar="[SPEC]…", help="Look at these versions only.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Names and manifests only.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Read every array and check its digest and statistics.")] = False,
    as_json: Json = False,
) -> None:
    """Look whether a pool is whole, folder against index and index against folder; nothing is changed.

    Exits with 70 if something is damaged. Safe while others write.
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
            f"{report.entries} entries, {report.versions} versions with those of contexts, "
            f"{report.manifests} manifests, {report.blobs} blobs, "
            f"{report.pixel_sets} sets of pixel rows{read} in {report.seconds:.1f} s{speed}: "
            f"{'whole' if report.is_whole else 'DAMAGED'}"
        )
        if report.without_pixel_rows:
            say(
                f"versions without pixel rows in the index: {report.without_pixel_rows}; the view missing_pixel_rows "
                f"lists them, and `miripool index pixels {shlex.quote(name)}` makes the rows that are not made yet"
            )
    if not report.is_whole:
        raise typer.Exit(IntegrityError.exit_code)


def _gc(
    context: typer.Context,
    name: PoolName,
    grace: Annotated[
        float,
        typer.Option(
            metavar="DAYS", min=0, max=_MOST_DAYS, help="Give up what has been in the trash for longer than this."
        ),
    ] = 30.0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Delete blobs and manifests that no version refers to, and what killed writers left.

    What has been in the trash for longer than the grace period is given up for good: its arrays go, its metadata and
    its numbers stay. Safe while others write: what they are about to refer to is spared.
    """
    from dataclasses import asdict
    from datetime import timedelta

    from ..maintenance.gc import collect

    with open_pool(context, name) as pool:
        expired = pool.expired(timedelta(days=grace))
        for ref in expired:
            say(f"{'would give up' if dry_run else 'giving up'} {ref.urn}  {ref.kind}/{ref.name}@{ref.version}")
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
        f"{would} {found.files} files, {human_bytes(found.bytes)}, and {found.temporary} temporary files, "
        f"{human_bytes(found.temporary_bytes)}; {found.notes} notes of processes that have ended; "
        f"{found.spared} spared for running writers"
    )
    for name in found.unknown[:_MOST_NAMED]:
        say(f"left alone: {visible(name, lines=False)} is nothing that a pool has; look what it is")
    if len(found.unknown) > _MOST_NAMED:
        say(f"left alone: {len(found.unknown) - _MOST_NAMED} more; --json names them all")


def _reindex(
    context: typer.Context,
    name: PoolName,
    pixels: Annotated[bool, typer.Option("--pixels/--no-pixels", help="Make pixel rows again, too.")] = True,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Replace an index of that name that is another pool's; don't ask.")
    ] = False,
) -> None:
    """Make the index again from the folder alone; others may read and write meanwhile.

    The old index answers until the new one takes its place. The new one has no pixel rows yet: they are made from the
    arrays afterwards, of the versions that the pool's policy wants.
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
                f"the index knows {position.n + 1} entries of the journal, and the folder has {total}: what the others "
                "said is given up with the old index; `miripool repair --from` a copy of the folder would bring it back"
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
        say(f"pixel rows of {made} versions made, {len(failures)} failed")
    if waiting is not None:
        say(waiting)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _make_index(pool: Pool, total: int, *, pixels: bool) -> tuple[int, list[MiripoolError]]:
    """Make the index, and then the pixel rows; give how many versions got rows, and what failed."""
    with counting("entries") as told:
        pool.reindex(progress=None if told is None else lambda done: told(done, total))
    statistics = core_of(pool).catalog.statistics()
    say(f"{statistics.total.products} versions of {statistics.total.tracks} tracks")
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
        return f"the old index still answers, with its pixel rows; {again} goes on, or starts again"
    try:
        waiting = _rows_to_make(core)
    except MiripoolError as error:
        return f"the index does not answer ({error}); the folder is as it was, and {again} begins again"
    return f"the new index has taken the place of the old one; {waiting or 'it is whole'}"


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
    """Heal what can be healed, from copies; what can't is set aside or left, and told.

    Missing and damaged blobs come from FITS files or other pools' folders that hold the same arrays, manifests and
    entries of the journal from a copy of the pool's folder, the index from the folder. Exits with 70 if something stays
    damaged.
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
    say(f"{healed} things {'would be healed' if dry_run else 'healed'}, {left} not" if healed + left else "whole")
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
