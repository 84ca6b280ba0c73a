"""Commands on tags."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MiripoolError, ProductNotFound
from ..model.names import Urn, check_label
from .choosing import AllVersions, Kind, SomeSpecs, Tagged, Where, Which, choose, count_versions
from .output import emit, say
from .session import AsOf, Csv, Json, PoolName, core_of, one_form, open_pool, refuse_reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..index import TagEvent
    from ..session.pool import Pool

__all__ = ["register", "tell_moves"]

_SHOWN = 10
"""Moves that are listed one by one."""
_REPEATED = 50
"""Versions that the suggested command to undo a change may name."""
_Label = Annotated[str, typer.Argument(metavar="LABEL", help="The tag, e.g. 'using cal v1'.", show_default=False)]


def _tag(
    context: typer.Context,
    name: PoolName,
    label: _Label,
    specs: SomeSpecs = None,
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    keep: Annotated[bool, typer.Option("--keep", help="Refuse to move the tag from another version.")] = False,
) -> None:
    """Put a tag on versions. In each product, the tag moves from the version that it marked before."""
    from ..pool import tags as tagging

    check_label(label)
    with open_pool(context, name) as pool:
        refuse_reader(pool)
        try:
            chosen = choose(pool, specs, Which(kind, where, tag, all_versions))
        except ProductNotFound as error:
            if specs and _is_product(pool, label):
                raise ProductNotFound(
                    f"{error}. Write the tag before the versions: miripool tag {name} LABEL SPEC…"
                ) from None
            raise
        if not chosen.refs:
            return
        chosen.announce("tagging")
        events = tagging.put(core_of(pool), [ref.serial for ref in chosen.refs], label, keep=keep)
        tell_moves(pool, label, events)
        _tell_way_back(pool, label, events)
    say(f"{label!r} newly marks {len(events)} of {count_versions(len(chosen.refs))}")


def _is_product(pool: Pool, text: str) -> bool:
    try:
        pool.ref(text, removed=True)
    except MiripoolError:
        return False
    return True


def _untag(
    context: typer.Context,
    name: PoolName,
    label: _Label,
    specs: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC…]", help="Versions to remove the tag from; by default all.")
    ] = None,
    kind: Kind = None,
    where: Where = None,
) -> None:
    """Remove a tag from versions, or from all versions that it marks."""
    from ..pool import tags as tagging

    with open_pool(context, name) as pool:
        refuse_reader(pool)
        serials = None
        if specs or kind or where:
            chosen = choose(pool, specs, Which(kind, where), whole_names=True, marked=label)
            for ref in chosen.refs:
                if label not in ref.tags:
                    say(f"{ref.urn}  {ref.kind}/{ref.name}@{ref.version} does not have the tag {label!r}")
            chosen.announce("removing the tag from")
            serials = [ref.serial for ref in chosen.refs]
        events = tagging.take_off(core_of(pool), label, serials)
        _tell_way_back(pool, label, events)
    say(f"{label!r} was removed from {count_versions(len(events))}")


def tell_moves(pool: Pool, label: str, events: Sequence[TagEvent]) -> None:
    """Say from which version to which a tag moved.

    Parameters
    ----------
    pool : Pool
        The pool.
    label : str
        The tag.
    events : sequence of TagEvent
        What happened to it.
    """
    moves = [event for event in events if event.previous is not None]
    serials = [serial for event in moves for serial in (event.serial, event.previous) if serial is not None]
    versions = {row.serial: row.version for row in core_of(pool).catalog.rows(serials)}
    for event in moves[:_SHOWN]:
        before, after = (versions.get(-1 if s is None else s, "?") for s in (event.previous, event.serial))
        deed = f"removed from version {before}" if event.serial is None else f"moved from version {before} to {after}"
        say(f"{event.kind}/{event.name}: {label!r} {deed}")
    if len(moves) > _SHOWN:
        say(f"{label!r} moved in {len(moves) - _SHOWN} more of the products; `miripool log` shows each move")


def _tell_way_back(pool: Pool, label: str, events: Sequence[TagEvent]) -> None:
    """Print the commands that give each product the tag as it was."""
    if not events or len(events) > _REPEATED:
        return
    back = [Urn(pool.name, event.kind, event.previous) for event in events if event.previous is not None]
    new = [Urn(pool.name, e.kind, e.serial) for e in events if e.previous is None and e.serial is not None]
    for verb, urns in (("tag", back), ("untag", new)):
        if urns:
            say("to undo this: " + shlex.join(["miripool", verb, pool.name, label, *map(str, urns)]))


def _tags(
    context: typer.Context, name: PoolName, as_of: AsOf = None, as_json: Json = False, as_csv: Csv = False
) -> None:
    """List the tags in use."""
    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, name, as_of) as pool:
        rows = [asdict(t) for t in pool.tags()]
    emit(
        rows,
        ["label", "count", "first", "last"],
        as_json_list=as_json,
        as_csv=as_csv,
        titles={"label": "tag", "count": "versions", "first": "first used", "last": "last used"},
    )


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("tag")(_tag)
    app.command("untag")(_untag)
    app.command("tags")(_tags)
