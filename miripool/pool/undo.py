"""Undo: a new entry takes back what an entry of the journal did, unless a later one has touched the same.

Whether it can be done shows in the index, which has the state of all versions and the moves of all tags, each with the
version that the tag left. The journal is read only to name the entry that stands in the way: backwards, as far as it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import Conflict, InvalidInput, NotFound
from ..model.names import shown
from ..model.product import Exposure
from ..store.journal import Journal, Purge, Remove, Restore, Save, Tag, Untag
from . import contexts
from .events import PoolChange, TakenBack, change_of, is_number
from .trash import follow_removal, follow_restoring

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ..index import Position, ProductRow, TagEvent
    from ..store.journal import Action, Entry
    from .core import Core

__all__ = ["Undone", "undo"]

Place = tuple[str, str, str]
"""A tag in a track: label, kind and name."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did.

    Attributes
    ----------
    undone : PoolChange
        The entry that was taken back.
    new : PoolChange
        The entry that takes it back; in a dry run, the one that would.
    files : tuple of int
        Where `undone` only put together the exposures of files that other entries had saved, as the last entry of an
        `add` does: the numbers of those entries, the newest first. The files stay in the pool. Else empty.
    """

    undone: PoolChange
    new: PoolChange
    files: tuple[int, ...] = ()


def undo(core: Core, entry: int | None = None, *, dry_run: bool = False) -> Undone:
    """Take back what a journal entry did; see `Pool.undo`.

    Parameters
    ----------
    core : Core
        The pool.
    entry : int, optional
        Number of the entry; by default the newest.
    dry_run : bool, keyword-only
        Only find out what would be done.

    Returns
    -------
    Undone
        Both entries.

    Raises
    ------
    InvalidInput, NotFound
        If there is no entry of that number.
    Conflict
        If it can't be taken back.
    """
    core.refuse_past()
    # Chosen once: after a race that is lost, the newest entry would be another one.
    taken = core.archive.journal.read(_number(core, entry))

    def decide(position: Position) -> Sequence[Action]:
        return _Reversal(core, taken, position.n).actions()

    if dry_run:
        position = core.catch_up()
        made = Journal.next_entry(core.archive.journal.read(position.n), decide(position), undoes=taken.n)
    else:
        written = core.committer.commit(decide, undoes=taken.n)
        assert written is not None  # noqa: S101 - `decide` gives actions, or raises
        made = written
        _follow(core, made)
    return Undone(change_of(core, taken), change_of(core, made), _entries_of_files(core, taken))


def _number(core: Core, entry: int | None) -> int:
    """Give the number of the entry that is meant."""
    if entry is not None and not is_number(entry):
        raise InvalidInput(f"{entry!r} is not the number of a journal entry; `miripool log {core.name}` shows them")
    newest = core.catch_up().n
    if newest < 0:
        raise NotFound(f"there is nothing to undo: the journal of pool {core.name} has no entries")
    if entry is not None and entry > newest:
        raise NotFound(f"the journal of pool {core.name} has no entry {entry}; its last entry is {newest}")
    return newest if entry is None else entry


def _entries_of_files(core: Core, taken: Entry) -> tuple[int, ...]:
    """Give the entries that saved the files of an `add`, if another entry only kept the exposures of these files."""
    kept = [save.serial for save in taken.saves if save.kind == Exposure.kind]
    if not kept or len(kept) < len(taken.saves):
        return ()
    linked = sorted({serial for exposure in kept for serial in core.catalog.links(exposure).values()})
    found = {row.entry for row in core.catalog.rows(linked) if row.removed is None and row.entry < taken.n}
    # Exposures also refer to files of earlier calls, before whose last entries there are those of exposures.
    newest = max(found, default=-1)
    return tuple(itertools.takewhile(found.__contains__, range(newest, -1, -1)))


def _follow(core: Core, made: Entry) -> None:
    """Keep the pixel rows up with what came and went."""
    for action in made.actions:
        if isinstance(action, Remove):
            follow_removal(core)
        elif isinstance(action, Restore):
            follow_restoring(core, action.serials)


class _Marks:
    """Where the tags of some tracks stood before an entry, after it, and where they stand now.

    Parameters
    ----------
    events : sequence of TagEvent
        All moves in these tracks, in order.
    n : int
        Number of the entry.

    Attributes
    ----------
    before : dict of Place to (int or None)
        The version that each tag marked that the entry moved; None for no version.
    then, now : dict of Place to (int or None)
        What each tag marked after the entry, and what it marks now.
    """

    def __init__(self, events: Sequence[TagEvent], n: int) -> None:
        self.before: dict[Place, int | None] = {}
        self.then: dict[Place, int | None] = {}
        self.now: dict[Place, int | None] = {}
        self._later = [event for event in events if event.entry > n]
        for event in events:
            place = _place(event)
            if event.entry == n:
                self.before.setdefault(place, event.previous)
            if event.entry <= n:
                self.then[place] = event.serial
            self.now[place] = event.serial

    def moved_since(self, serials: Collection[int]) -> dict[Place, TagEvent]:
        """Find what no longer stands as the entry left it: tags that it moved, and tags of some versions.

        Gives the last later move of such a tag: from one of the versions, or to one of them.
        """
        last: dict[Place, TagEvent] = {}
        for event in self._later:
            place = _place(event)
            if place in self.before or event.serial in serials or event.previous in serials:
                last[place] = event
        return {
            place: event
            for place, event in last.items()
            if (then := self.then.get(place)) != (now := self.now[place])
            and (place in self.before or then in serials or now in serials)
        }

    def actions(self) -> Iterator[Action]:
        """Put the tags back where they were before the entry."""
        back: dict[str, list[int]] = {}
        off: dict[str, list[int]] = {}
        for place, before in self.before.items():
            now = self.now[place]
            if before is not None and before != now:
                back.setdefault(place[0], []).append(before)
            elif before is None and now is not None:
                off.setdefault(place[0], []).append(now)
        yield from (Tag(label, tuple(serials)) for label, serials in back.items())
        yield from (Untag(label, tuple(serials)) for label, serials in off.items())


def _place(event: TagEvent) -> Place:
    return event.label, event.kind, event.name


class _Reversal:
    """What takes an entry back.

    Parameters
    ----------
    core : Core
        The pool; its index is caught up.
    taken : Entry
        What is to be taken back.
    newest : int
        Number of the last entry.
    """

    def __init__(self, core: Core, taken: Entry, newest: int) -> None:
        self._core = core
        self._taken = taken
        self._newest = newest
        self._lived: dict[int, bool] = {}  # before the entry
        self._left: dict[int, bool] = {}  # after it
        for action in taken.actions:
            for serial in _moved(action):
                self._lived.setdefault(serial, isinstance(action, Remove))
                self._left[serial] = not isinstance(action, Remove)
        named = {serial for action in taken.actions for serial in _named(action)}
        self._marks = _Marks(core.catalog.moves(sorted(named)), taken.n)
        named |= {serial for serial in self._marks.before.values() if serial is not None}
        self._rows = {row.serial: row for row in core.catalog.rows(sorted(named))}

    def actions(self) -> list[Action]:
        """Give the actions of the new entry; what is in the way is an error."""
        if any(isinstance(action, Purge) for action in self._taken.actions):
            raise self._error("it removed versions for good, and their arrays may be deleted")
        self._refuse_touched()
        back = [serial for serial, lived in self._lived.items() if lived and not self._left[serial]]
        gone = [serial for serial, lived in self._lived.items() if not lived and self._left[serial]]
        self._refuse_missing(back)
        gone = self._with_exposures(gone)
        found: list[Action] = [Restore(tuple(back))] if back else []
        found += self._marks.actions()
        found += [Remove(tuple(gone))] if gone else []
        if not found:
            raise self._error("it changed nothing")
        return found

    def _refuse_touched(self) -> None:
        """Refuse where what the entry touched is not as the entry left it, and a later entry is why."""
        moves = self._marks.moved_since(self._left).values()
        versions = {
            row.serial: row
            for row in self._rows.values()
            if (row.removed is None) != self._left.get(row.serial, True) or row.purged is not None
        }
        why = self._newest_of(versions, [move.entry for move in moves])
        if why is None:
            return
        if self._is_taken_back():
            raise Conflict(self._already(why))
        if row := _first_moved(why, versions):
            raise self._blocked(why, f"touched {_version(row)}")
        raise self._blocked(why, _told_move(next(move for move in moves if move.entry == why.n)))

    def _already(self, last: Entry) -> str:
        """Say that nothing is left to do: the journal tells the undo, if it was one."""
        seen, journal = TakenBack(), self._core.archive.journal
        for n in range(self._newest, self._taken.n, -1):
            seen.by(journal.read(n))
        undo = seen.by(self._taken)
        if undo is None:
            return (
                f"nothing is left to undo of {_told(self._taken)}: all that it changed is as it was before; "
                f"the same was changed last by {_told(last)}"
            )
        by = _told(journal.read(undo))
        return f"{_told(self._taken)} was taken back already, by {by}; undo entry {undo} to have it again"

    def _newest_of(self, versions: Mapping[int, ProductRow], moved: Iterable[int] = ()) -> Entry | None:
        """Give the newest later entry that moved some versions, or is among others; None where there is none."""
        journal = self._core.archive.journal
        last = max(moved, default=self._taken.n)
        for n in range(self._newest, last, -1) if versions else ():
            if _first_moved(entry := journal.read(n), versions):
                return entry
        return None if last == self._taken.n else journal.read(last)

    def _is_taken_back(self) -> bool:
        """Tell whether all that the entry touched is as it was before."""
        rows = (self._rows[serial] for serial in self._lived)
        return all((row.removed is None) == self._lived[row.serial] and row.purged is None for row in rows) and all(
            self._marks.now[place] == before for place, before in self._marks.before.items()
        )

    def _refuse_missing(self, back: Sequence[int]) -> None:
        """Refuse to restore a context without what it refers to."""
        rows = [self._rows[serial] for serial in back]
        parts = contexts.reached(self._core.archive, self._core.catalog, rows)
        coming = set(back)
        missing = {row.serial: row for row in parts if row.removed is not None and row.serial not in coming}
        why = self._newest_of(missing)
        if why is not None and (row := _first_moved(why, missing)):
            raise self._blocked(why, f"removed {_version(row)}, to which a context refers that would come back")

    def _with_exposures(self, gone: list[int]) -> list[int]:
        """Add the exposures that go with versions; refuse where contexts of users refer to these."""
        found, holding = contexts.go_with(self._core.catalog, gone)
        if not holding:
            return found
        held = {row.serial: row for row in holding}
        why = self._newest_of(held) or self._taken
        row = _first_moved(why, held) or holding[0]
        raise self._blocked(why, f"saved or restored {_version(row)}, which refers to its versions")

    def _blocked(self, why: Entry, what: str) -> Conflict:
        is_final = any(isinstance(action, Purge) for action in why.actions)
        remedy = "that can't be undone" if is_final else f"undo entry {why.n} first"
        return self._error(f"{_told(why)} {what} since; {remedy}")

    def _error(self, why: str) -> Conflict:
        return Conflict(f"{_told(self._taken)} can't be undone: {why}. Nothing was changed")


def _moved(action: Action) -> tuple[int, ...]:
    """Give the versions that an action saves, or moves into the trash or out of it."""
    return () if isinstance(action, (Tag, Untag)) else _named(action)


def _named(action: Action) -> tuple[int, ...]:
    return (action.serial,) if isinstance(action, Save) else action.serials


def _first_moved(entry: Entry, versions: Mapping[int, ProductRow]) -> ProductRow | None:
    """Give one of some versions that an entry saved or moved; None where it touched none of them."""
    moved = (serial for action in entry.actions for serial in _moved(action))
    return next((versions[serial] for serial in moved if serial in versions), None)


def _told(entry: Entry) -> str:
    by = "" if entry.by is None else f" by {shown(entry.by)}"
    return f"entry {entry.n} ({entry.time:%Y-%m-%d %H:%M:%S} UTC{by})"


def _told_move(move: TagEvent) -> str:
    of = f"the tag {move.label!r}"
    if move.previous is None:
        return f"added {of} to {move.kind}/{move.name}"
    if move.serial is None:
        return f"removed {of} from {move.kind}/{move.name}"
    return f"moved {of} of {move.kind}/{move.name}"


def _version(row: ProductRow) -> str:
    return f"{row.kind}/{row.name}@{row.version}"
