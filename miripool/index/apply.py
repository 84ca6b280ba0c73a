"""Taking in journal entries: one transaction under the pool's advisory lock, with COPY for what is bulky.

Entries are gathered into batches. What they do to heads and tags is played in memory (`tracks`), on the tracks that
they touch; then the outcome is written. A batch is whole or not at all, so the index always stands between entries.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    and_,
    delete,
    func,
    select,
    union,
    update,
)
from sqlalchemy.dialects import postgresql

from ..errors import IntegrityError, MiripoolError
from ..journal import Save
from .connection import lock_key
from .harvest import COLUMNS, Harvest, Lines
from .schema import keyword_name, product, state, tag, tag_event
from .selection import as_table, is_one_of
from .tracks import LoadedVersion, Tracks, touched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Column, Connection, RowMapping, Table

    from ..journal import Entry
    from ..manifest import Manifest
    from .connection import Database
    from .tracks import Version

__all__ = ["ANALYZED", "take_in"]

_BATCH_SAVES = 1000
_BATCH_ENTRIES = 5000
"""A batch of products takes about a second: short enough for progress and for who waits behind the lock."""
ANALYZED = ("product", "dataset", "keyword", "tag")
"""Tables whose statistics the planner needs."""
_ANALYZE_GROWTH = 0.2
_ANALYZE_PRODUCTS = 100
"""New products since the last ANALYZE, as a share and at least, that make another one worth its tenths of a second."""


class _BrokenEntry(Exception):
    """An entry of a batch that can't be taken in; those before it can."""

    def __init__(self, position: int, cause: MiripoolError) -> None:
        super().__init__(position)
        self.position = position
        self.cause = cause


def take_in(
    database: Database,
    pool_id: str,
    entries: Iterable[Entry],
    manifest: Callable[[str], Manifest],
    progress: Callable[[int], None] | None = None,
) -> int:
    """Take in journal entries that the index does not have yet.

    Parameters
    ----------
    database : Database
        The index.
    pool_id : str
        The pool's.
    entries : iterable of Entry
        In order; may begin with entries that were taken in before.
    manifest : callable
        Gives the manifest of a digest.
    progress : callable, optional
        Told after each transaction how many entries were looked at so far.

    Returns
    -------
    int
        How many entries this call took in.

    Raises
    ------
    IntegrityError
        If an entry is missing, does not follow from the one before it, or names what is not there. All entries
        before it have been taken in then.
    """
    taken = seen = 0
    analyze = False
    try:
        for batch in _batches(entries):
            count, due = _take_in_batch(database, pool_id, batch, manifest)
            taken += count
            seen += len(batch)
            analyze |= due
            if progress is not None:
                progress(seen)
    finally:
        if analyze:
            _analyze(database)
    return taken


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    saves = 0
    try:
        for entry in entries:
            batch.append(entry)
            saves += sum(isinstance(action, Save) for action in entry.actions)
            if saves >= _BATCH_SAVES or len(batch) >= _BATCH_ENTRIES:
                yield batch
                batch, saves = [], 0
    except MiripoolError:
        # What comes before a damaged entry is good.
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _take_in_batch(
    database: Database, pool_id: str, batch: Sequence[Entry], manifest: Callable[[str], Manifest]
) -> tuple[int, bool]:
    try:
        return _transact(database, pool_id, batch, manifest)
    except _BrokenEntry as broken:
        if broken.position:
            _transact(database, pool_id, batch[: broken.position], manifest)
        raise broken.cause from None


def _transact(
    database: Database, pool_id: str, batch: Sequence[Entry], manifest: Callable[[str], Manifest]
) -> tuple[int, bool]:
    """Take in a batch; give the number of entries, and whether an ANALYZE is due."""
    with database.write() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(lock_key(f"pool {pool_id}"))))
        before = connection.execute(select(state)).mappings().one()
        start = _first_new(batch, before)
        fresh = batch[start:]
        if not fresh:
            return 0, False
        tracks = _load(connection, fresh)
        for position, entry in enumerate(fresh, start):
            try:
                tracks.play(entry)
            except MiripoolError as error:
                raise _BrokenEntry(position, error) from None
        _copy_products(database, connection, tracks, manifest, {e.n: i for i, e in enumerate(batch)})
        _update_products(connection, tracks.changed())
        _write_tags(connection, tracks)
        return len(fresh), _stamp(connection, before, fresh[-1], tracks)


def _first_new(batch: Sequence[Entry], before: RowMapping) -> int:
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
                    f"the index holds another journal entry {n} than the pool's folder; "
                    "rebuild the index from the folder"
                )
            start = position + 1
            continue
        if entry.n != n + 1:
            gap = IntegrityError(f"journal entry {n + 1} is missing before {entry.n}; verify the pool")
            raise _BrokenEntry(position, gap)
        if entry.previous != digest:
            broken = IntegrityError(
                f"journal entry {entry.n} does not follow from entry {n} in the index; verify the pool"
            )
            raise _BrokenEntry(position, broken)
        n, digest = entry.n, entry.digest
    return start


def _load(connection: Connection, entries: Sequence[Entry]) -> Tracks:
    """Read the tracks that entries touch."""
    serials, names = touched(entries)
    asked = product.alias("asked")
    named = as_table([product.c.kind, product.c.name], names)
    track = union(
        select(asked.c.kind, asked.c.name).where(is_one_of(asked.c.serial, serials)),
        select(named.c.kind, named.c.name),
    ).subquery("track")
    labels = func.array(select(tag.c.label).where(tag.c.serial == product.c.serial).scalar_subquery())
    p = product.c
    statement = select(p.serial, p.kind, p.name, p.version, p.head, p.removed, labels).join(
        track, and_(p.kind == track.c.kind, p.name == track.c.name)
    )
    return Tracks(LoadedVersion(*row) for row in connection.execute(statement))


def _copy_products(
    database: Database,
    connection: Connection,
    tracks: Tracks,
    manifest: Callable[[str], Manifest],
    positions: dict[int, int],
) -> None:
    """Load what was saved; manifests are read while PostgreSQL takes in the keywords of those before."""
    if not tracks.saves:
        return
    harvest = Harvest()

    def keywords() -> Iterator[bytes]:
        for entry, save in tracks.saves:
            try:
                content = manifest(save.manifest)
                yield harvest.keywords(entry, save, content, tracks[save.serial])
            except MiripoolError as error:
                raise _BrokenEntry(positions[entry.n], error) from None

    lines = Lines(chunk for chunk in keywords() if chunk)
    try:
        database.copy(connection, "keyword", COLUMNS["keyword"], lines)
    except BaseException:
        if lines.error is not None:
            raise lines.error from None
        raise
    for name, chunks in (("product", harvest.products()), ("dataset", harvest.datasets())):
        database.copy(connection, name, COLUMNS[name], Lines(chunks))
    _add_names(connection, sorted(harvest.names))


def _add_names(connection: Connection, names: Sequence[tuple[str, str]]) -> None:
    if names:
        columns = (keyword_name.c.key, keyword_name.c.hdu_name)
        connection.execute(_insert(keyword_name, columns, names).on_conflict_do_nothing())


def _insert(table: Table, columns: Sequence[Column[Any]], rows: Sequence[Sequence[Any]]) -> postgresql.Insert:
    return postgresql.insert(table).from_select([c.name for c in columns], select(as_table(columns, rows)))


def _update_products(connection: Connection, versions: Sequence[Version]) -> None:
    if not versions:
        return
    p = product.c
    new = as_table([p.serial, p.head, p.removed], [(v.serial, v.head, v.removed) for v in versions])
    statement = update(product).where(p.serial == new.c.serial).values(head=new.c.head, removed=new.c.removed)
    connection.execute(statement)


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
    if tracks.events:
        columns = (e.entry, e.time, e.label, e.kind, e.name, e.serial, e.previous)
        connection.execute(_insert(tag_event, columns, [astuple(event) for event in tracks.events]))


def _stamp(connection: Connection, before: RowMapping, last: Entry, tracks: Tracks) -> bool:
    """Note how far the index has come; tell whether an ANALYZE is due, which then counts as done."""
    serials = [save.serial + 1 for _, save in tracks.saves]
    products = before["products"] + len(serials)
    growth = products - before["analyzed_products"]
    due = growth > max(_ANALYZE_PRODUCTS, _ANALYZE_GROWTH * before["analyzed_products"])
    connection.execute(
        update(state).values(
            applied=last.n,
            applied_digest=last.digest,
            next_serial=max([before["next_serial"], *serials]),
            products=products,
            analyzed_products=products if due else before["analyzed_products"],
        )
    )
    return bool(due)


def _analyze(database: Database) -> None:
    tables = ", ".join(database.table(name) for name in ANALYZED)
    with database.immediately() as connection:
        connection.exec_driver_sql(f"ANALYZE {tables}".replace("%", "%%"))
