"""Commands that bring versions from one pool to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..records.plain import as_json as to_json
from ..system.words import counted
from .choosing import AllVersions, Kind, SomeSpecs, Tagged, Where, Which, choose, count_versions
from .output import emit, human_bytes, say, write
from .progress import counting
from .session import Json, PoolName, core_of, home_of, open_pool

if TYPE_CHECKING:
    from ..exchange.copy import Received

__all__ = ["register"]

_NoTags = Annotated[bool, typer.Option("--no-tags", help="Leave out the tags.")]
_File = Annotated[Path, typer.Argument(metavar="FILE.tar", help="The file.", show_default=False)]


def _copy(
    context: typer.Context,
    name: PoolName,
    specs: Annotated[
        list[str],
        typer.Argument(metavar="[SPEC]… OTHER", help="Versions, and the pool to copy them to.", show_default=False),
    ],
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    no_tags: _NoTags = False,
    as_json: Json = False,
) -> None:
    """Copy versions to another pool of this home.

    Arrays, provenance and tags are copied.

    A context is copied with all that it refers to. Every array is read and checked. Arrays in OTHER are not stored
    again.
    """
    from ..errors import InvalidInput
    from ..exchange.copy import PoolShelf, receive

    *chosen, other = specs
    if other not in home_of(context).names():
        raise InvalidInput(f"there is no pool {other!r}: `miripool copy POOL SPEC… OTHER` names the other pool last")
    with open_pool(context, name) as pool, home_of(context).pool(other) as target:
        found = choose(pool, chosen, Which(kind, where, tag, all_versions))
        found.announce("copying")
        shelf = PoolShelf(core_of(pool), found.refs)
        with counting("versions") as told:
            done = receive(core_of(target), shelf, tags=not no_tags, progress=told)
    _report(done, as_json=as_json, pool=other)


def _pack(
    context: typer.Context,
    name: PoolName,
    file: _File,
    specs: SomeSpecs = None,
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write versions to one file, for `unpack`.

    The file holds arrays, provenance and tags.

    By default, all versions that are not in the trash are written.
    """
    from ..exchange.copy import PoolShelf
    from ..exchange.pack import pack

    with open_pool(context, name) as pool:
        which = Which(kind, where, tag, all_versions)
        shelf = PoolShelf(core_of(pool), choose(pool, specs, which).refs if specs or which else None)
        with counting("blobs") as told:
            packed = pack(shelf, core_of(pool).archive, file.expanduser(), overwrite=overwrite, progress=told)
    say(f"{count_versions(packed.versions)}, {counted(packed.blobs, 'blob')}, {human_bytes(packed.bytes)} in {file}")


def _unpack(
    context: typer.Context, name: PoolName, file: _File, no_tags: _NoTags = False, as_json: Json = False
) -> None:
    """Save the versions from a file that `pack` wrote. Every array is read and checked."""
    from ..exchange.copy import receive
    from ..exchange.pack import Pack

    with (
        open_pool(context, name) as pool,
        Pack(file.expanduser()) as shelf,
        counting("versions") as told,
    ):
        done = receive(core_of(pool), shelf, tags=not no_tags, progress=told)
    _report(done, as_json=as_json, pool=name)


def _report(done: list[Received], *, as_json: bool, pool: str) -> None:
    from ..records.versions import received_record

    rows = [received_record(pool, received) for received in done]
    if as_json:
        write(to_json(rows))
    elif rows:
        emit(rows, ["urn", "kind", "name", "version", "tags", "from", "status"])
    new = sum(r.saved.status != "unchanged" for r in done)
    stored = sum(r.saved.stored_bytes for r in done)
    there = f"{len(done) - new} already there"
    say(f"{count_versions(new)} saved in pool {pool} ({human_bytes(stored)} stored), {there}")


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("copy")(_copy)
    app.command("pack")(_pack)
    app.command("unpack")(_unpack)
