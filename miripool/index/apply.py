"""Taking in journal entries: in transactions under the pool's advisory lock.

Entries are gathered into batches, and a batch is whole or not at all (`intake`), so the index always stands between
entries. An empty index that has much to take in is filled in one long transaction, with the indexes on keywords'
values made at the end: 12,000 products take the server 6 s instead of 13.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from ..errors import IntegrityError, MiripoolError
from .connection import lock_key
from .intake import BrokenEntry, Taken, read_state, take
from .locks import Blocked, brief
from .rows import Known
from .schema import keyword

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from ..store.journal import Entry
    from ..store.manifest import Manifest
    from .connection import Database
    from .rows import ProductRow

__all__ = ["ANALYZED", "play", "take_in", "take_in_and_write"]

_BATCH_SAVES = 1000
_BATCH_ENTRIES = 5000
"""A batch of products takes about a second: short enough for progress and for who waits behind the lock."""
_FILL_SAVES = 100_000
"""Most products to take in by one transaction; interrupted, it starts again, so it must end within some minutes."""
ANALYZED = ("product", "dataset", "keyword", "tag", "tag_event", "version_state")
"""Tables whose statistics the planner needs."""
_VALUE_INDEXES = text(
    "SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid) FROM pg_index "
    "WHERE indrelid = CAST(:table AS regclass) AND NOT indisprimary"
)


def take_in(
    database: Database,
    pool_id: str,
    entries: Iterable[Entry],
    manifest: Callable[[str], Manifest],
    progress: Callable[[int], None] | None = None,
    *,
    alone: bool = False,
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
        Told after each batch how many entries were looked at so far.
    alone : bool, keyword-only
        Nobody else knows of this index: take no lock.

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
    work = _Work(database, pool_id, manifest, progress, alone=alone)
    batches = _batches(entries)
    try:
        for batch in batches:
            if _saves(batch) < _BATCH_SAVES or not work.fill(batch, batches):
                work.take_batch(batch)
    finally:
        if work.analyze:
            _analyze(database)
    return work.taken


def play(
    database: Database,
    connection: Connection,
    entries: Iterable[Entry],
    manifest: Callable[[str], Manifest],
) -> None:
    """Fill a new index that answers no questions later, within the transaction that has made it.

    Parameters
    ----------
    database : Database
        The index. It loses its indexes on keywords' values: to keep them takes half of the time.
    connection : sqlalchemy.Connection
        In the transaction.
    entries : iterable of Entry
        From the first on.
    manifest : callable
        Gives the manifest of a digest.

    Raises
    ------
    IntegrityError
        As by `take_in`.
    """
    _drop_indexes(database, connection)
    try:
        for batch in _batches(entries):
            take(database, connection, batch, Known(manifest))
    except BrokenEntry as broken:
        raise broken.cause from None


class _Lost(Exception):
    """Somebody else wrote an entry of that number first."""


def take_in_and_write(
    database: Database,
    pool_id: str,
    entry: Entry,
    known: Known,
    write: Callable[[], bool],
) -> Sequence[ProductRow] | None:
    """Take in an entry that is about to be written, then write it: an entry that the index refuses is not written.

    Parameters
    ----------
    database : Database
        The index.
    pool_id : str
        The pool's.
    entry : Entry
        Follows from the last one that the index took in, as far as its maker knows.
    known : Known
        What its maker knows of it.
    write : callable
        Writes the entry to the journal; False if another writer took its number first. Called when the database has
        accepted all rows, before the transaction is committed.

    Returns
    -------
    sequence of ProductRow or None
        The versions that it saves, if there are few; None if another writer was faster: then nothing was done.

    Raises
    ------
    IntegrityError
        If the index has lost versions. Nothing was written.
    """
    work = _Work(database, pool_id, known.manifest, None)
    try:
        with database.write() as connection:
            before = work.lock(connection)
            if before["applied"] != entry.n - 1:
                return None
            # What is lost in the index must not get into the journal: a version's number would be used twice.
            if before["lost"]:
                raise IntegrityError(
                    "the index is damaged: versions were deleted from its tables. `miripool reindex POOL`, or "
                    "pool.reindex() in Python, makes it again from the folder"
                )
            taken = take(database, connection, [entry], known, whole=True, before=before)
            if not write():
                raise _Lost  # noqa: TRY301 - it has to leave the transaction
    except _Lost:
        return None
    except BrokenEntry as broken:
        raise broken.cause from None
    if taken.analyze:
        _analyze(database)
    return taken.rows


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    saves = 0
    try:
        for entry in entries:
            batch.append(entry)
            saves += _saves([entry])
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


def _saves(entries: Iterable[Entry]) -> int:
    return sum(len(entry.saves) for entry in entries)


class _Work:
    """One call of `take_in`."""

    def __init__(
        self,
        database: Database,
        pool_id: str,
        manifest: Callable[[str], Manifest],
        progress: Callable[[int], None] | None,
        *,
        alone: bool = False,
    ) -> None:
        self._alone = alone
        self._database = database
        self._pool_id = pool_id
        self._manifest = manifest
        self._progress = progress
        self._seen = 0
        self.taken = 0
        self.analyze = False

    def take_batch(self, batch: Sequence[Entry]) -> None:
        """Take in a batch by a transaction, or what comes before a broken entry."""
        try:
            taken = self._transact(batch)
        except BrokenEntry as broken:
            if broken.position:
                self._note(self._transact(batch[: broken.position]), broken.position)
            raise broken.cause from None
        self._note(taken, len(batch))

    def _transact(self, batch: Sequence[Entry]) -> Taken:
        with self._database.write() as connection:
            before = self.lock(connection)
            return take(self._database, connection, batch, Known(self._manifest), before=before)

    def lock(self, connection: Connection) -> Mapping[str, Any]:
        """Wait until no other session takes in entries of this pool; keep others off until the transaction ends.

        Gives where the index stands then.
        """
        if self._alone:
            return read_state(self._database, connection)
        # The commit does not wait for the disk: what a crash of the server takes, the next one takes in again. All is
        # sent at once, and the last statement sees what was committed while the one before it waited.
        first = "SET LOCAL synchronous_commit TO off; SELECT pg_advisory_xact_lock(%(pool)s); "
        return read_state(self._database, connection, first=first, pool=lock_key(f"pool {self._pool_id}"))

    def _note(self, taken: Taken, seen: int) -> None:
        self.taken += taken.entries
        self.analyze |= taken.analyze
        self._seen += seen
        if self._progress is not None:
            self._progress(self._seen)

    def fill(self, first: Sequence[Entry], batches: Iterator[list[Entry]]) -> bool:
        """Take in many batches by one transaction; False, with nothing done, if the index is not empty or is read."""
        before = self.taken, self.analyze
        failure: MiripoolError | None = None
        try:
            with self._database.write() as connection:
                if self.lock(connection)["applied"] >= 0:
                    return False
                with brief(connection, deadline=math.inf):
                    make_indexes = _drop_indexes(self._database, connection)
                try:
                    saves = 0
                    for batch in itertools.chain([first], batches):
                        self._take_nested(connection, batch)
                        saves += _saves(batch)
                        if saves >= _FILL_SAVES:
                            break
                except MiripoolError as error:
                    failure = error
                self._database.run(connection, make_indexes)
        except Blocked:
            return False  # a session has read the empty table and not ended its transaction
        except BaseException:
            self.taken, self.analyze = before
            raise
        if failure is not None:
            raise failure
        return True

    def _take_nested(self, connection: Connection, batch: Sequence[Entry]) -> None:
        try:
            with connection.begin_nested():
                taken = take(self._database, connection, batch, Known(self._manifest))
        except BrokenEntry as broken:
            if broken.position:
                taken = take(self._database, connection, batch[: broken.position], Known(self._manifest))
                self._note(taken, broken.position)
            raise broken.cause from None
        self._note(taken, len(batch))


def _drop_indexes(database: Database, connection: Connection) -> str:
    """Drop the indexes on keywords' values; give the script that makes them again."""
    table = database.table(keyword.name)
    found = connection.execute(_VALUE_INDEXES, {"table": table}).all()
    # Truncated in this transaction, the table need not be logged (with wal_level=minimal).
    database.run(connection, "; ".join([f"TRUNCATE {table}", *(drop for drop, _ in found)]))
    return "; ".join(["SET LOCAL maintenance_work_mem = '256MB'", *(make for _, make in found)])


def _analyze(database: Database) -> None:
    tables = ", ".join(database.table(name) for name in ANALYZED)
    with database.immediately() as connection:
        # VACUUM marks what all can see: without, each entry of an index that answers alone is looked up in its table
        # (three conditions on 100,000 products: 6.5 ms for 30 ms). It takes 0.4 s for 3 million keywords.
        connection.exec_driver_sql(f"VACUUM (ANALYZE) {tables}".replace("%", "%%"))
