"""The command that tells what happened: to one product, or in the whole pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .choosing import count_versions
from .output import as_json as to_json
from .output import human_bytes, say, write
from .session import Json, PoolName, core_of, moment, open_pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from ..pool.difference import Difference
    from ..pool.reference import ProductRef
    from ..session.pool import Pool

__all__ = ["register"]

_LATEST = 50
"""Events of a pool that are shown unless --limit says otherwise."""
_SHOWN = 3
"""Versions of an event that are named; JSON names all."""
_WORDS = {"removed": "was put into the trash", "restored": "came back from the trash", "purged": "was removed for good"}


def _log(
    context: typer.Context,
    name: PoolName,
    spec: Annotated[
        str | None,
        typer.Argument(metavar="[SPEC]", help="Of this product; without it of the whole pool.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="Only from then on: 1d, 12h, 2w, or a date in UTC."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=0,
            max=2**63 - 1,
            help="Of a pool: at most so many events, the latest.",
            show_default=f"{_LATEST}",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the versions of a product, who saved them, what changed in each, the moves of its tags and what went into
    the trash or came back; or, without SPEC, what happened in the pool, newest last.
    """  # noqa: D205 - one sentence
    from ..errors import InvalidInput

    begin = None if since is None else moment(since)
    if spec is not None and limit is not None:
        raise InvalidInput("--limit goes with the log of a whole pool; leave it out, or SPEC")
    with open_pool(context, name) as pool:
        if spec is None:
            _log_of_pool(pool, begin, _LATEST if limit is None else limit, as_json=as_json)
        else:
            _log_of_product(pool, spec, begin, as_json=as_json)


def _log_of_pool(pool: Pool, begin: datetime | None, limit: int, *, as_json: bool) -> None:
    from ..pool.events import events

    found = list(events(core_of(pool), since=begin, limit=limit))[::-1]
    rows = core_of(pool).catalog.rows(sorted({serial for event in found for serial in event.serials}))
    names = {row.serial: f"{row.kind}/{row.name}@{row.version}" for row in rows}
    if as_json:
        write(
            to_json(
                [
                    {
                        "entry": event.entry,
                        "time": event.time,
                        "what": event.what,
                        "tag": event.label,
                        "versions": [names.get(serial, str(serial)) for serial in event.serials],
                        "by": event.by,
                    }
                    for event in found
                ]
            )
        )
        return
    for event in found:
        named = [names.get(serial, str(serial)) for serial in event.serials[:_SHOWN]]
        more = len(event.serials) - len(named)
        label = "" if event.label is None else f" {event.label!r}"
        others = f" and {count_versions(more)} more" if more else ""
        write(f"{_utc(event.time)}  {event.what}{label} {', '.join(named)}{others}{_by(event.by)}")
    if not found and limit:
        say("nothing has happened yet" if begin is None else f"nothing since {_utc(begin)}")


def _log_of_product(pool: Pool, spec: str, begin: datetime | None, *, as_json: bool) -> None:
    track = list(_track(pool, spec))
    versions = [version for version, _ in track]
    words = {v["version"]: ["first version"] if c is None else c.words() for v, c in track}
    first = pool.ref(spec, removed=True)
    number = {v["serial"]: v["version"] for v in versions}
    moves = [
        {
            "time": e.time,
            "tag": e.label,
            "version": number.get(e.serial),
            "previous": number.get(e.previous),
            "by": e.by,
        }
        for e in pool.tag_events(kind=first.kind, name=first.name)
        if begin is None or e.time >= begin
    ]
    trash = list(_trash_events(pool, number, begin))
    if begin is not None:
        moved = {event["version"] for event in trash}
        versions = [v for v in versions if v["created"] >= begin or v["version"] in moved]
    if as_json:
        told = {"kind": first.kind, "name": first.name, "versions": versions, "tags": moves, "trash": trash}
        write(to_json(told))
        return
    write(f"{first.kind}/{first.name}")
    if begin is not None and not versions and not moves:
        say(f"nothing since {_utc(begin)}")
    for v in versions:
        _write_version(v, words[v["version"]])
    for event in sorted([*moves, *trash], key=lambda event: event["time"]):
        write(f"{_utc(event['time'])}  {_told(event)}{_by(event['by'])}")


def _write_version(v: dict[str, Any], words: Sequence[str]) -> None:
    tags = f"  [{', '.join(v['tags'])}]" if v["tags"] else ""
    gone = f"  removed for good on {_utc(v['purged'])}" if v["purged"] else ""
    trash = gone
    if v["removed"] and not gone:
        trash = f"  in the trash since {_utc(v['removed'])}{_by(v['removed_by'])}"
    sizes = f"{human_bytes(v['bytes'])}, {human_bytes(v['stored_bytes'])} stored"
    write(f"version {v['version']}  {_utc(v['created'])}{_by(v['saved_by'])}  {v['urn']}  {sizes}{tags}{trash}")
    for line in words:
        write(f"    {line}")


def _told(event: dict[str, Any]) -> str:
    if "what" in event:
        return f"version {event['version']} {_WORDS[event['what']]}"
    came = "was taken off" if event["version"] is None else f"marks version {event['version']}"
    before = "" if event["previous"] is None else f" (before: version {event['previous']})"
    return f"tag {event['tag']!r} {came}{before}"


def _utc(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _by(who: object) -> str:
    return "" if who is None else f" by {who}"


def _trash_events(pool: Pool, number: dict[int, int], begin: datetime | None) -> Iterator[dict[str, Any]]:
    """Give what went into the trash of a product, came back, or was given up for good; the oldest first."""
    from ..errors import IntegrityError, NotFound
    from ..pool.events import events

    try:
        found = list(events(core_of(pool), since=begin, among=number))[::-1]
    except (IntegrityError, NotFound) as error:  # the index still knows versions and tags
        say(f"{error}; what went into the trash before is not told")
        return
    for event in found:
        if event.what in _WORDS:
            for serial in event.serials:
                yield {"time": event.time, "what": event.what, "version": number[serial], "by": event.by}


def _track(pool: Pool, spec: str) -> Iterator[tuple[dict[str, Any], Difference | None]]:
    """Give the versions of a track, each with what changed against the one before."""
    previous = None
    for ref in pool.versions(spec, removed=True):
        pool.history(ref)  # a lost manifest is an error, even if there is nothing to compare
        change = None if previous is None else _changes(pool, previous, ref)
        yield (
            {
                "urn": ref.urn,
                "serial": ref.serial,
                "version": ref.version,
                "created": ref.created,
                "saved_by": ref.row.saved_by,
                "removed": ref.removed,
                "removed_by": ref.row.removed_by,
                "purged": ref.purged,
                "tags": list(ref.row.tags),
                "bytes": ref.bytes,
                "stored_bytes": ref.stored_bytes,
                "changes": None if change is None else change.to_json(),
            },
            change,
        )
        previous = ref


def _changes(pool: Pool, old: ProductRef, new: ProductRef) -> Difference:
    """Tell what changed; of damaged arrays, that they did."""
    from ..errors import IntegrityError

    try:
        return pool.diff(old, new)
    except IntegrityError as error:
        say(f"{error}; their elements are not compared")
        return pool.diff(old, new, elements=False)


def register(app: typer.Typer) -> None:
    """Add the command.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("log")(_log)
