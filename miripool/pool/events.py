"""What happened in a pool, as its journal has it: who saved, tagged, removed and restored what, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import Conflict, InvalidInput
from ..store.journal import Purge, Remove, Restore, Save, Tag, Untag
from .reference import ProductRefs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from ..store.journal import Action, Entry
    from .core import Core

__all__ = ["PoolChange", "PoolEvent", "TakenBack", "change_of", "changes", "events", "is_by", "is_number"]

_WORDS: dict[type[Action], str] = {
    Save: "saved",
    Tag: "tagged",
    Untag: "untagged",
    Remove: "removed",
    Restore: "restored",
    Purge: "purged",
}


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """One thing that a journal entry did.

    Attributes
    ----------
    entry : int
        Number of the entry.
    time : datetime
        Of the entry, aware UTC, by the writer's clock.
    by : str or None
        Who wrote it, as ``user@host``; None where the journal does not say.
    what : str
        ``saved``, ``tagged``, ``untagged``, ``removed`` (into the trash), ``restored`` or ``purged`` (for good).
    serials : tuple of int
        The versions: the numbers of their URNs.
    label : str or None
        The tag.
    refs : ProductRefs
        References to the versions, also to those in the trash.
    undo_of : int or None
        Number of the entry that this one takes back; None where it is no undo, or where a
        miripool wrote it that did not note this yet.
    taken_back_by : int or None
        Number of the entry that took this one back and was not taken back itself. Only the log knows it, which is read
        backwards; None in the feed of changes.
    """

    entry: int
    time: datetime
    by: str | None
    what: str
    serials: tuple[int, ...]
    label: str | None
    refs: ProductRefs = field(repr=False, compare=False)
    undo_of: int | None = None
    taken_back_by: int | None = None


@dataclass(frozen=True, slots=True)
class PoolChange:
    """One journal entry: what took effect together.

    Attributes
    ----------
    entry : int
        Number of the entry: what `Pool.changes` goes on after, and `Pool.undo` takes.
    time : datetime
        Aware UTC, by the writer's clock.
    by : str or None
        Who wrote it, as ``user@host``; None where the journal does not say.
    events : tuple of PoolEvent
        All that the entry did.
    undo_of : int or None
        Number of the entry that it takes back, as for `PoolEvent`.
    """

    entry: int
    time: datetime
    by: str | None
    events: tuple[PoolEvent, ...]
    undo_of: int | None = None


class TakenBack:
    """Tells which entries are taken back, while a journal is read backwards from its end.

    An undo that was taken back itself does not count: what it had taken back holds again.
    """

    def __init__(self) -> None:
        self._by: dict[int, int] = {}

    def by(self, entry: Entry) -> int | None:
        """Tell by which entry one was taken back.

        Parameters
        ----------
        entry : Entry
            The next one; all later ones were asked about before.

        Returns
        -------
        int or None
            The number of the newest undo that holds; None where there is none.
        """
        found = self._by.get(entry.n)
        if entry.undoes is not None and found is None:
            self._by.setdefault(entry.undoes, entry.n)
        return found


def is_number(given: object) -> bool:
    """Tell whether something can be the number of a journal entry.

    Parameters
    ----------
    given : object
        Whatever was given.

    Returns
    -------
    bool
        True for an int from 0 on.
    """
    return isinstance(given, int) and not isinstance(given, bool) and given >= 0


def is_by(writer: str | None, user: str | None) -> bool:
    """Tell whether a user wrote something.

    Parameters
    ----------
    writer : str or None
        Who wrote it, as ``user@host``; None where that is not known.
    user : str or None
        The user's name, or ``user@host``, compared exactly; None for all users.

    Returns
    -------
    bool
        True for all writers where `user` is None.
    """
    return user is None or (writer is not None and user in (writer, writer.rpartition("@")[0]))


def events(
    core: Core,
    *,
    among: Collection[int] | None = None,
    since: datetime | None = None,
    by: str | None = None,
    limit: int | None = None,
) -> Iterator[PoolEvent]:
    """Read a pool's journal backwards, as far as the index has taken it in.

    Parameters
    ----------
    core : Core
        The pool.
    among : collection of int, keyword-only, optional
        What happened to these versions only, by serial; what was before the first of them was saved is not read.
    since : datetime, keyword-only, optional
        Only from then on. The clocks of writers differ, and the time of an entry counts as the latest of its own and
        all earlier ones: what follows an entry of this time or a later one belongs to the answer. So all is read.
    by : str, keyword-only, optional
        Only what this user did, as for `is_by`.
    limit : int, keyword-only, optional
        At most so many.

    Yields
    ------
    PoolEvent
        The newest first. The versions that one entry has saved are one event.

    Raises
    ------
    IntegrityError
        If an entry is damaged.
    NotFound
        If an entry is lost.
    """
    newest = core.catch_up().n
    first = 0 if among is None else min((row.entry for row in core.catalog.rows(sorted(among))), default=0)
    left = limit
    taken_back = TakenBack()
    for entry in _backwards(core, newest, first, since):
        if left == 0:
            return
        undone_by = taken_back.by(entry)
        if not is_by(entry.by, by):
            continue
        for event in reversed(list(_events_of(core, entry, among, undone_by))):
            if left != 0:
                yield event
                left = None if left is None else left - 1


def _backwards(core: Core, newest: int, first: int, since: datetime | None) -> Iterator[Entry]:
    """Read entries from the newest on, as far as a time that counts as in `events`."""
    waiting = newest  # entries down from this one are given once an earlier one turns out to be late enough
    for n in range(newest, first - 1, -1):
        entry = core.archive.journal.read(n)
        if since is None or entry.time >= since:
            yield from (core.archive.journal.read(later) for later in range(waiting, n, -1))
            yield entry
            waiting = n - 1


def changes(core: Core, after: int | None = None) -> Iterator[PoolChange]:
    """Read a pool's journal forwards, as far as it goes now; see `Pool.changes`.

    Parameters
    ----------
    core : Core
        The pool.
    after : int, optional
        Number of the entry after which to begin; by default all are given.

    Returns
    -------
    iterator of PoolChange
        The oldest first.

    Raises
    ------
    InvalidInput
        If `after` is not the number of an entry.
    Conflict
        If the journal ends before it.
    """
    if after is not None and not is_number(after):
        raise InvalidInput(f"{after!r} is not the number of a journal entry; give an int from 0 on, or None for all")
    newest = core.catch_up().n
    first = -1 if after is None else after
    if first > core.archive.journal.last(newest):
        last = f"its last entry is {newest}" if newest >= 0 else "it has no entries"
        raise Conflict(
            f"the journal of pool {core.name} has no entry {first}: {last}. The folder may be an older copy of the "
            "pool, or another pool of that name. Begin again with after=None"
        )
    return _changes(core, first, newest)


def _changes(core: Core, first: int, newest: int) -> Iterator[PoolChange]:
    journal = core.archive.journal
    if first >= newest:
        return
    for entry in journal.since(first, None if first < 0 else journal.read(first).digest):
        yield change_of(core, entry)
        if entry.n == newest:
            return


def change_of(core: Core, entry: Entry) -> PoolChange:
    """Give what an entry did.

    Parameters
    ----------
    core : Core
        The pool.
    entry : Entry
        Of its journal.

    Returns
    -------
    PoolChange
        All of it.
    """
    return PoolChange(entry.n, entry.time, entry.by, tuple(_events_of(core, entry)), entry.undoes)


def _events_of(
    core: Core, entry: Entry, among: Collection[int] | None = None, taken_back_by: int | None = None
) -> Iterator[PoolEvent]:
    """Give what an entry did; the versions that it has saved are one event."""

    def event(what: type[Action], serials: Sequence[int], label: str | None = None) -> Iterator[PoolEvent]:
        told = tuple(serial for serial in serials if among is None or serial in among)
        if told:
            refs = ProductRefs([(core, serial) for serial in told])
            about = (entry.n, entry.time, entry.by, _WORDS[what], told, label)
            yield PoolEvent(*about, refs, entry.undoes, taken_back_by)

    yield from event(Save, [save.serial for save in entry.saves])
    for action in entry.actions:
        if not isinstance(action, Save):
            label = action.label if isinstance(action, (Tag, Untag)) else None
            yield from event(type(action), action.serials, label)
