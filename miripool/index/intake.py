"""A batch of journal entries within a transaction: played in memory, written by COPY and a few statements."""

from __future__ import annotations

import itertools
import logging
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, Text, and_, bindparam, cast, delete, func, select, union, update
from sqlalchemy.dialects import postgresql

from ..errors import IntegrityError, MiripoolError
from ..model.kinds import pixel_kinds
from ..store.journal import Save
from . import exposures
from .connection import quote
from .copysource import Lines
from .harvest import COLUMNS, Harvest
from .message import Message
from .past import add_past
from .pixels.uses import leave_new_out
from .plans import FOR_FEW
from .schema import keyword_name, product, state, tag, tag_event
from .selection import GIVEN_SERIALS, array_text, as_table
from .tracks import LoadedVersion, Tracks, touched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Column, Connection, Select, Table, TableValuedAlias

    from ..store.journal import Entry
    from ..store.manifest import Manifest
    from .connection import Database
    from .rows import Known, ProductRow
    from .tracks import TrackVersion

__all__ = ["BrokenEntry", "Taken", "read_state", "take"]

_log = logging.getLogger(__name__)

_ANALYZE_GROWTH = 0.2
_ANALYZE_PRODUCTS = 100
"""New products since the last ANALYZE, as a share and at least, that make another one worth its tenths of a second."""

_FEW = 8
"""Products whose rows go to the server in one message, rather than by a COPY for each table."""


def _given(first: str, second: str) -> TableValuedAlias:
    """Give two arrays of text as a table."""
    arrays = (cast(bindparam(f"{what}s"), ARRAY(Text)) for what in (first, second))
    return func.unnest(*arrays).table_valued(first, second, name="given").render_derived()


def _tracks() -> Select[Any]:
    """Make the statement of all versions of the tracks that serials belong to, and of those named."""
    asked = product.alias("asked")
    named = _given("kind", "name")
    track = union(
        select(asked.c.kind, asked.c.name).where(asked.c.serial == func.any(GIVEN_SERIALS)),
        select(named.c.kind, named.c.name),
    ).subquery("track")
    labels = func.array(select(tag.c.label).where(tag.c.serial == product.c.serial).scalar_subquery())
    p = product.c
    return select(p.serial, p.kind, p.name, p.version, p.head, p.removed, p.purged, p.removed_by, labels).join(
        track, and_(p.kind == track.c.kind, p.name == track.c.name)
    )


def _add_names() -> postgresql.Insert:
    """Make the statement that notes keywords, each with the name of an HDU."""
    given = _given("key", "hdu_name")
    rows = select(given.c.key, given.c.hdu_name)
    return postgresql.insert(keyword_name).from_select(["key", "hdu_name"], rows).on_conflict_do_nothing()


_TRACKS = _tracks()
_ADD_NAMES = _add_names()

_STATE = select(state)

_STAMP = update(state).values(
    applied=bindparam("new_applied"),
    applied_digest=bindparam("new_digest"),
    next_serial=bindparam("new_serial"),
    products=bindparam("new_products"),
    analyzed_products=bindparam("new_analyzed"),
)


class BrokenEntry(Exception):
    """An entry of a batch that can't be taken in; those before it can."""

    def __init__(self, position: int, cause: MiripoolError) -> None:
        super().__init__(position)
        self.position = position
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Taken:
    """What was done with a batch.

    Attributes
    ----------
    entries : int
        Entries that were new.
    analyze : bool
        Whether an ANALYZE is due; it counts as done once this transaction is committed.
    rows : tuple of ProductRow
        The new versions, if there are few.
    """

    entries: int
    analyze: bool
    rows: tuple[ProductRow, ...] = ()


def read_state(database: Database, connection: Connection, *, first: str = "", **values: Any) -> Mapping[str, Any]:
    """Read where the index stands.

    Parameters
    ----------
    database : Database
        The index.
    connection : sqlalchemy.Connection
        In a transaction.
    first : str, keyword-only
        Statements that go to the server before that in the same message, each with a semicolon.
    **values
        Theirs.

    Returns
    -------
    mapping
        The row of `pool_state`, by its columns.
    """
    question, own = database.written(_STATE)
    (row,) = database.answer(connection, first + question, {**own, **values})
    return dict(zip(state.c.keys(), row, strict=True))


def take(
    database: Database,
    connection: Connection,
    batch: Sequence[Entry],
    known: Known,
    *,
    whole: bool = False,
    before: Mapping[str, Any] | None = None,
) -> Taken:
    """Take in a batch, within a transaction that holds the pool's lock.

    A version whose manifest is lost or damaged gets a row with what the entry says of it: it must not stand in the way
    of all others.

    Parameters
    ----------
    database : Database
        The index.
    connection : sqlalchemy.Connection
        In that transaction.
    batch : sequence of Entry
        In order; may begin with entries that were taken in before.
    known : Known
        What need not be looked up; with `standing`, the batch is the one entry that was decided by it.
    whole : bool, keyword-only
        Refuse a version without its manifest.
    before : mapping, keyword-only, optional
        What `read_state` gives in that transaction; asked unless given.

    Returns
    -------
    Taken
        What was done.

    Raises
    ------
    BrokenEntry
        If an entry can't be taken in. The transaction must be rolled back.
    IntegrityError
        If the index was made from another journal.
    """
    before = before or read_state(database, connection)
    start = _first_new(batch, before)
    fresh = batch[start:]
    if not fresh:
        return Taken(0, False)
    tracks = _load(database, connection, fresh, known)
    for position, entry in enumerate(fresh, start):
        try:
            tracks.play(entry)
        except MiripoolError as error:
            raise BrokenEntry(position, error) from None
    manifest = known.manifest if whole else _unless_damaged(known.manifest)
    message = Message(database, connection)  # what reads or changes the new rows is added to it, or waits for `send`
    if len(tracks.saves) <= _FEW:
        message.add(FOR_FEW)
    rows = _add_products(message, tracks, manifest, {e.n: i for i, e in enumerate(batch)})
    changed = tracks.changed()
    if changed or tracks.moved or tracks.events:
        message.send()
        _update_products(connection, changed)
        _write_tags(connection, tracks)
    if before["has_past"]:
        add_past(message, fresh, tracks.states, new={save.serial for _, save in tracks.saves})
    exposures.follow(message, quote(database.schema), tracks)
    if known.without_pixels is not None:
        able = [save.serial for _, save in tracks.saves if save.kind in pixel_kinds()]
        leave_new_out(message, able, known.without_pixels)
    due = _stamp(message, before, fresh[-1], tracks)
    message.send()
    return Taken(len(fresh), due, rows)


def _first_new(batch: Sequence[Entry], before: Mapping[str, Any]) -> int:
    """Give the position of the first entry to take in, having checked that all follow from one another."""
    n, digest = before["applied"], before["applied_digest"]
    start = 0
    for position, entry in enumerate(batch):
        if entry.n < n:
            start = position + 1
            continue
        if entry.n == n:
            if entry.digest != digest:
                raise IntegrityError(
                    f"the index and the pool's folder have different journal entries {n}; `miripool reindex POOL`, or "
                    "pool.reindex() in Python, makes the index again from the folder"
                )
            start = position + 1
            continue
        if entry.n != n + 1:
            gap = IntegrityError(
                f"journal entry {n + 1} is missing, but entry {entry.n} is there; restore it from a copy of the pool"
            )
            raise BrokenEntry(position, gap)
        if entry.previous != digest:
            broken = IntegrityError(
                f"journal entry {entry.n} does not follow from entry {n} in the index; "
                "restore it from a copy of the pool"
            )
            raise BrokenEntry(position, broken)
        n, digest = entry.n, entry.digest
    return start


def _load(database: Database, connection: Connection, entries: Sequence[Entry], known: Known) -> Tracks:
    """Read the tracks that entries touch."""
    if known.standing is not None and all(isinstance(action, Save) for entry in entries for action in entry.actions):
        # Of versions in the trash the labels are not known; no save looks at them.
        return Tracks(
            LoadedVersion(p.serial, p.kind, p.name, p.version, p.head, p.removed, p.purged, p.removed_by, list(p.tags))
            for p in known.standing
        )
    serials, names = touched(entries)
    values = {
        "serials": array_text(serials),
        "kinds": [kind for kind, _ in names],
        "names": [name for _, name in names],
    }
    found = database.answer(connection, *database.written(_TRACKS, **values))
    return Tracks(LoadedVersion(*row) for row in found)


def _unless_damaged(manifest: Callable[[str], Manifest]) -> Callable[[str], Manifest | None]:
    def find(digest: str) -> Manifest | None:
        try:
            return manifest(digest)
        except IntegrityError as error:
            _log.warning("the index has no keywords and datasets of this version: %s", error)
            return None

    return find


def _add_products(
    message: Message,
    tracks: Tracks,
    manifest: Callable[[str], Manifest | None],
    positions: dict[int, int],
) -> tuple[ProductRow, ...]:
    """Load what was saved; manifests are read while PostgreSQL takes in the keywords of those before.

    Gives the new versions, if they are few.
    """
    if not tracks.saves:
        return ()
    harvest = Harvest()

    def keywords() -> Iterator[bytes]:
        for entry, save in tracks.saves:
            try:
                content = manifest(save.manifest)
                yield harvest.keywords(entry, save, content, tracks[save.serial])
            except MiripoolError as error:
                raise BrokenEntry(positions[entry.n], error) from None

    few = len(tracks.saves) <= _FEW
    lines = Lines(chunk for chunk in (list(keywords()) if few else keywords()) if chunk)
    message.copy("keyword", COLUMNS["keyword"], lines)
    if not few:
        message.send()
    for name, chunks in (
        ("product", harvest.products()),
        ("dataset", harvest.datasets()),
        ("link", harvest.links()),
        ("made_from", harvest.origins()),
        ("footprint", harvest.footprints()),
    ):
        first = next(chunks, None)
        if first is None:
            continue
        if few:
            message.insert(name, COLUMNS[name], b"".join((first, *chunks)))
        else:
            message.copy(name, COLUMNS[name], Lines(itertools.chain((first,), chunks)))
    if harvest.names:
        keys, hdus = zip(*sorted(harvest.names), strict=True)
        message.add_kept(_ADD_NAMES, keys=list(keys), hdu_names=list(hdus))
    return tuple(harvest.rows(tracks)) if few else ()


def _insert(table: Table, columns: Sequence[Column[Any]], rows: Sequence[Sequence[Any]]) -> postgresql.Insert:
    return postgresql.insert(table).from_select([c.name for c in columns], select(as_table(columns, rows)))


def _update_products(connection: Connection, versions: Sequence[TrackVersion]) -> None:
    if not versions:
        return
    p = product.c
    columns = [p.serial, p.head, p.removed, p.purged, p.removed_by]
    new = as_table(columns, [(v.serial, *v.state) for v in versions])
    values = {column.name: new.c[column.name] for column in columns[1:]}
    connection.execute(update(product).where(p.serial == new.c.serial).values(values))


def _write_tags(connection: Connection, tracks: Tracks) -> None:
    t, e = tag.c, tag_event.c
    place = (t.label, t.kind, t.name)
    gone = [where for where, serial in tracks.moved.items() if serial is None]
    put = [(*where, serial) for where, serial in tracks.moved.items() if serial is not None]
    if gone:
        old = as_table(place, gone)
        connection.execute(delete(tag).where(and_(*(column == old.c[column.name] for column in place))))
    if put:
        statement = _insert(tag, (*place, t.serial), put)
        connection.execute(
            statement.on_conflict_do_update(index_elements=place, set_={"serial": statement.excluded.serial})
        )
    if tracks.closed:
        at = as_table((*(e[column.name] for column in place), e.until), tracks.closed)
        ended = and_(
            *(e[column.name] == at.c[column.name] for column in place), e.serial.is_not(None), e.until.is_(None)
        )
        connection.execute(update(tag_event).where(ended).values(until=at.c.until))
    if tracks.events:
        columns = (e.entry, e.time, e.label, e.kind, e.name, e.serial, e.previous, e.by, e.until)
        rows = [(*astuple(event), tracks.ends.get(i)) for i, event in enumerate(tracks.events)]
        connection.execute(_insert(tag_event, columns, rows))


def _stamp(message: Message, before: Mapping[str, Any], last: Entry, tracks: Tracks) -> bool:
    """Note how far the index has come; tell whether an ANALYZE is due, which then counts as done."""
    next_serial = max([before["next_serial"], *(save.serial + 1 for _, save in tracks.saves)])
    products = before["products"] + len(tracks.saves)
    if (next_serial, products) != (last.next_serial, last.versions):
        raise IntegrityError(
            f"the index is damaged: after journal entry {last.n} it has {products} versions and numbers below "
            f"{next_serial}, but the journal has {last.versions} versions and numbers below {last.next_serial}. "
            "`miripool reindex POOL`, or pool.reindex() in Python, makes the index again from the folder"
        )
    growth = products - before["analyzed_products"]
    due = growth > max(_ANALYZE_PRODUCTS, _ANALYZE_GROWTH * before["analyzed_products"])
    new = {
        "new_applied": last.n,
        "new_digest": last.digest,
        "new_serial": next_serial,
        "new_products": products,
        "new_analyzed": products if due else before["analyzed_products"],
    }
    message.add_kept(_STAMP, **new)
    return bool(due)
