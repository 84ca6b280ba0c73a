"""The commands that tell what happened, to one product or in the whole pool, and that take it back."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..records.plain import as_json as to_json
from .choosing import count_versions
from .output import human_bytes, say, utc, write
from .session import DryRun, Json, PoolName, limit_from, moment, open_pool, refuse_reader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..pool.undo import Undone
    from ..session.pool import Pool

__all__ = ["register"]

_LATEST = 50
"""Events of a pool that are shown unless --limit says otherwise."""
_SHOWN = 3
"""Versions of an event that are named; JSON names all."""
_REPEATED = 4
"""Commands that a hint writes one by one; more make a loop."""
_WORDS = {"removed": "was put into the trash", "restored": "came back from the trash", "purged": "was removed for good"}


def _log(
    context: typer.Context,
    name: PoolName,
    spec: Annotated[
        str | None,
        typer.Argument(metavar="[SPEC]", help="A product; by default the whole pool.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="Only events since then: 1d, 12h, 2w, or a date in UTC."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="USER", help="Only what this user did: a name, or USER@HOST."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            callback=limit_from(0),
            help=f"For a whole pool: show the latest N events, {_LATEST} if not given.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the history of a product, or of the whole pool.

    With SPEC: the product's versions, who saved them, what changed in each, how tags moved, and which versions were put
    into the trash or restored. Without SPEC: the latest events in the pool, newest last, each after the number of its
    entry, which `miripool undo` takes.
    """
    from ..errors import InvalidInput

    begin = None if since is None else moment(since)
    if spec is not None and limit is not None:
        raise InvalidInput("--limit applies to the log of a whole pool only; leave out --limit or SPEC")
    with open_pool(context, name) as pool:
        if spec is None:
            _log_of_pool(pool, begin, by, _LATEST if limit is None else limit, as_json=as_json)
        else:
            _log_of_product(pool, spec, begin, by, as_json=as_json)


def _log_of_pool(pool: Pool, begin: datetime | None, by: str | None, limit: int, *, as_json: bool) -> None:
    from ..records.tracks import event_records

    found = event_records(pool, since=begin, by=by, limit=limit)
    if as_json:
        write(to_json(found))
        return
    for event in found:
        write(_event_line(event))
    if not found and limit:
        say(_nothing(begin, by))


def _event_line(event: dict[str, Any]) -> str:
    named = event["versions"][:_SHOWN]
    more = len(event["versions"]) - len(named)
    label = "" if event["tag"] is None else f" {event['tag']!r}"
    others = f" and {count_versions(more)} more" if more else ""
    words = f"{event['what']}{label} {', '.join(named)}{others}{_by(event['by'])}{_undo_words(event)}"
    return f"{event['entry']:>6}  {utc(event['time'])}  {words}"


def _undo_words(event: dict[str, Any]) -> str:
    words = [
        f"{meaning} {event[key]}"
        for key, meaning in (("undo_of", "undo of entry"), ("taken_back_by", "taken back by entry"))
        if event[key] is not None
    ]
    return f" ({', '.join(words)})" if words else ""


def _log_of_product(pool: Pool, spec: str, begin: datetime | None, by: str | None, *, as_json: bool) -> None:
    from ..records.tracks import track_record

    track = track_record(pool, spec, since=begin, by=by)
    for notice in track.notices:
        say(notice)
    if as_json:
        write(to_json(track.to_json()))
        return
    write(f"{track.kind}/{track.name}")
    if not track.versions and not track.tags:
        say(_nothing(begin, by))
    for v in track.versions:
        _write_version(v, track.words[v["version"]])
    for event in sorted([*track.tags, *track.trash], key=lambda event: event["time"]):
        write(f"{utc(event['time'])}  {_told(event)}{_by(event['by'])}{_undo_words(event)}")


def _nothing(begin: datetime | None, by: str | None) -> str:
    if begin is None and by is None:
        return "nothing has happened yet"
    return f"nothing{'' if by is None else f' by {by!r}'}{'' if begin is None else f' since {utc(begin)}'}"


def _write_version(v: dict[str, Any], words: Sequence[str]) -> None:
    tags = f"  [{', '.join(v['tags'])}]" if v["tags"] else ""
    gone = f"  removed for good on {utc(v['purged'])}" if v["purged"] else ""
    trash = gone
    if v["removed"] and not gone:
        trash = f"  in the trash since {utc(v['removed'])}{_by(v['removed_by'])}"
    sizes = f"{human_bytes(v['bytes'])}, {human_bytes(v['stored_bytes'])} stored"
    write(f"version {v['version']}  {utc(v['created'])}{_by(v['saved_by'])}  {v['urn']}  {sizes}{tags}{trash}")
    for line in words:
        write(f"    {line}")


def _told(event: dict[str, Any]) -> str:
    if "what" in event:
        return f"version {event['version']} {_WORDS[event['what']]}"
    came = "was taken off" if event["version"] is None else f"marks version {event['version']}"
    before = "" if event["previous"] is None else f" (before: version {event['previous']})"
    return f"tag {event['tag']!r} {came}{before}"


def _by(who: str | None) -> str:
    """Name a writer. A user's name that holds a blank or ``@`` is quoted: it could look like another user's."""
    if who is None:
        return ""
    user, _, host = who.rpartition("@")
    return f" by {user!r}@{host}" if {" ", "@"} & set(user) else f" by {who}"


def _undo(
    context: typer.Context,
    name: PoolName,
    entry: Annotated[
        int | None,
        typer.Argument(metavar="[ENTRY]", help="Number of the entry, as `log` shows it; by default the newest."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Take back what one entry of the journal did: tags, removals, restores and saves.

    Tags go back to the versions that they marked before. What was removed is restored; what was restored or saved goes
    into the trash. Nothing is deleted, and an undo can be undone. An entry is not taken back if a later one has touched
    the same versions or tags: the message names it. The exit code is 40 then.
    """
    from ..records.tracks import told_events

    with open_pool(context, name) as pool:
        if not dry_run:
            refuse_reader(pool)
        done = pool.undo(entry, dry_run=dry_run)
        say(f"{'would undo' if dry_run else 'undid'} entry {done.undone.entry}:")
        for event in told_events(pool, done.undone.events):
            say(_event_line(event))
        say(f"entry {done.new.entry} {'would take' if dry_run else 'takes'} it back:")
        for event in told_events(pool, done.new.events):
            say(_event_line(event))
    if done.files:
        say(_hint_at_files(name, done, dry_run=dry_run))
    if entry is None and done.undone.undo_of is not None:
        again = f"{'would hold' if dry_run else 'holds'} again"
        say(
            f"entry {done.undone.entry} was an undo itself: what entry {done.undone.undo_of} did {again}. To go back "
            "further, give the number of an earlier entry"
        )


def _hint_at_files(pool: str, done: Undone, *, dry_run: bool) -> str:
    """Say that the files of an `add` stay, of which only the exposures were taken back, and how they go too."""
    newest, oldest = done.files[0], done.files[-1]
    by = f"entry {newest}" if newest == oldest else f"entries {oldest} to {newest}"
    command = f"miripool undo {shlex.quote(pool)}"
    commands = [f"{command} {n}" for n in done.files]
    if len(commands) > _REPEATED:
        commands = [f"for n in $(seq {newest} -1 {oldest}); do {command} $n; done"]
    return (
        f"entry {done.undone.entry} only put together the exposures of files that {by} saved. These files "
        f"{'would stay' if dry_run else 'stay'} in the pool; this takes them back, too: {' && '.join(commands)}"
    )


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("log")(_log)
    app.command("undo")(_undo)
