"""What happened in a pool, as its journal has it: who saved, tagged, removed and restored what, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..store.journal import Purge, Remove, Restore, Save, Tag, Untag

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from ..store.journal import Action, Entry
    from .core import Core

__all__ = ["PoolEvent", "events", "is_by"]

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
        The versions.
    label : str or None
        The tag.
    """

    entry: int
    time: datetime
    by: str | None
    what: str
    serials: tuple[int, ...]
    label: str | None = None


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
        Only from then on. All is read, for the clocks of writers may differ.
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
    for n in range(newest, first - 1, -1):
        if left == 0:
            return
        entry = core.archive.journal.read(n)
        if (since is not None and entry.time < since) or not is_by(entry.by, by):
            continue
        for event in reversed(list(_events_of(entry))):
            serials = event.serials if among is None else tuple(s for s in event.serials if s in among)
            if serials and left != 0:
                yield PoolEvent(event.entry, event.time, event.by, event.what, serials, event.label)
                left = None if left is None else left - 1


def _events_of(entry: Entry) -> Iterator[PoolEvent]:
    saved = tuple(save.serial for save in entry.saves)
    if saved:
        yield PoolEvent(entry.n, entry.time, entry.by, _WORDS[Save], saved)
    for action in entry.actions:
        if not isinstance(action, Save):
            label = action.label if isinstance(action, (Tag, Untag)) else None
            yield PoolEvent(entry.n, entry.time, entry.by, _WORDS[type(action)], action.serials, label)
