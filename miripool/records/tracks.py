"""Records of what happened: to one product, and in a whole pool."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import IntegrityError, NotFound
from ..pool.core import core_of
from ..pool.events import events, is_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from ..pool.difference import Difference
    from ..pool.events import PoolEvent
    from ..pool.reference import ProductRef
    from ..session.pool import Pool

__all__ = ["TrackRecord", "event_records", "told_events", "track_record"]

_TRASH = frozenset({"removed", "restored", "purged"})


@dataclass(slots=True)
class TrackRecord:
    """What happened to a product.

    Attributes
    ----------
    kind, name : str
        Its track.
    versions : list of dict
        With ``urn``, ``serial``, ``version``, times, sizes, tags, who saved and removed it, and ``changes`` against
        the version before.
    tags : list of dict
        Moves of tags: ``time``, ``tag``, ``version``, ``previous``, ``by``; ``entry``, ``undo_of``, ``taken_back_by``
        as for `event_records`.
    trash : list of dict
        ``time``, ``what`` (``removed``, ``restored``, ``purged``), ``version``, ``by``, and the same three.
    words : dict
        By number of a version, what changed in it, for people.
    notices : list of str
        What could not be determined, and why.
    """

    kind: str
    name: str
    versions: list[dict[str, Any]] = field(default_factory=list)
    tags: list[dict[str, Any]] = field(default_factory=list)
    trash: list[dict[str, Any]] = field(default_factory=list)
    words: dict[int, list[str]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Give it as plain data, without what is for people only.

        Returns
        -------
        dict
            ``kind``, ``name``, ``versions``, ``tags``, ``trash``.
        """
        return {name: getattr(self, name) for name in ("kind", "name", "versions", "tags", "trash")}


def track_record(pool: Pool, spec: str, *, since: datetime | None = None, by: str | None = None) -> TrackRecord:
    """Find out what happened to a product.

    Parameters
    ----------
    pool : Pool
        The pool.
    spec : str
        The product.
    since : datetime, keyword-only, optional
        Only from then on; aware.
    by : str, keyword-only, optional
        Only what this user did: the name, or ``user@host``.

    Returns
    -------
    TrackRecord
        The oldest first.

    Raises
    ------
    ProductNotFound
        If there is no such product.
    IntegrityError
        If a manifest is missing or damaged.
    """
    first = pool.ref(spec, removed=True)
    found = TrackRecord(first.kind, first.name)
    for version, change in _versions(pool, spec, found.notices):
        found.versions.append(version)
        found.words[version["version"]] = ["first version"] if change is None else change.words()
    number = {version["serial"]: version["version"] for version in found.versions}
    happened: list[PoolEvent] = []
    try:
        happened += list(events(core_of(pool), since=since, by=by, among=number))[::-1]
    except (IntegrityError, NotFound) as error:  # the index still knows versions and tags
        found.notices.append(f"{error}; earlier moves into and out of the trash are not listed, undos are not marked")
    found.trash = list(_trash(happened, number))
    of_entry = {event.entry: event for event in happened}
    found.tags = [
        {
            "time": event.time,
            "tag": event.label,
            "version": number.get(event.serial),
            "previous": number.get(event.previous),
            "by": event.by,
            "entry": event.entry,
            **_marks(of_entry.get(event.entry)),
        }
        for event in pool.tag_events(kind=first.kind, name=first.name)
        if (since is None or event.time >= since) and is_by(event.by, by)
    ]
    moved = {event["version"] for event in found.trash}
    found.versions = [
        version
        for version in found.versions
        if version["version"] in moved
        or ((since is None or version["created"] >= since) and is_by(version["saved_by"], by))
    ]
    return found


def _trash(happened: Iterable[PoolEvent], number: Mapping[int, int]) -> Iterator[dict[str, Any]]:
    """Give the versions of a product that were put into the trash, restored, or removed for good."""
    for event in happened:
        if event.what in _TRASH:
            for serial in event.serials:
                about = {"time": event.time, "what": event.what, "version": number[serial], "by": event.by}
                yield {**about, "entry": event.entry, **_marks(event)}


def _marks(event: PoolEvent | None) -> dict[str, int | None]:
    """Say what an event's entry takes back, and what took it back; the journal may have lost it."""
    return {
        "undo_of": None if event is None else event.undo_of,
        "taken_back_by": None if event is None else event.taken_back_by,
    }


def _versions(pool: Pool, spec: str, notices: list[str]) -> Iterator[tuple[dict[str, Any], Difference | None]]:
    """Give the versions of a track, each with what changed against the one before."""
    previous = None
    for ref in pool.versions(spec, removed=True):
        pool.history(ref)  # a lost manifest is an error, even if there is nothing to compare
        change = None if previous is None else _changes(pool, previous, ref, notices)
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


def _changes(pool: Pool, old: ProductRef, new: ProductRef, notices: list[str]) -> Difference:
    """Tell what changed; of damaged arrays, that they did."""
    try:
        return pool.diff(old, new)
    except IntegrityError as error:
        notices.append(f"{error}; the elements of these versions are not compared")
        return pool.diff(old, new, elements=False)


def event_records(
    pool: Pool, *, since: datetime | None = None, by: str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Give what happened in a pool.

    Parameters
    ----------
    pool : Pool
        The pool.
    since : datetime, keyword-only, optional
        Only from then on; aware.
    by : str, keyword-only, optional
        Only what this user did: the name, or ``user@host``.
    limit : int, keyword-only, optional
        At most so many, the latest.

    Returns
    -------
    list of dict
        ``entry`` (number in the journal), ``time``, ``what``, ``tag``, ``versions`` as ``Kind/name@number``, ``by``,
        ``undo_of`` and ``taken_back_by`` (numbers of entries, or None); the oldest first.
    """
    return told_events(pool, list(events(core_of(pool), since=since, by=by, limit=limit))[::-1])


def told_events(pool: Pool, found: Sequence[PoolEvent]) -> list[dict[str, Any]]:
    """Give events as plain data.

    Parameters
    ----------
    pool : Pool
        The pool.
    found : sequence of PoolEvent
        What happened in it.

    Returns
    -------
    list of dict
        As for `event_records`, in the order given.
    """
    rows = core_of(pool).catalog.rows(sorted({serial for event in found for serial in event.serials}))
    names = {row.serial: f"{row.kind}/{row.name}@{row.version}" for row in rows}
    return [
        {
            "entry": event.entry,
            "time": event.time,
            "what": event.what,
            "tag": event.label,
            "versions": [names.get(serial, str(serial)) for serial in event.serials],
            "by": event.by,
            **_marks(event),
        }
        for event in found
    ]
