"""Commit: how a change gets into the journal while others write too, and how the index follows."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING

from ..errors import IntegrityError, MiripoolError, NotFound, ReadOnly, ServerError, StorageError
from ..index import Known

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..index import Catalog, Position, ProductRow
    from ..store.archive import Archive
    from ..store.journal import Action, Entry

__all__ = ["Committer"]

_log = logging.getLogger(__name__)

_LONGEST_TURN = 10.0
"""Seconds after which a writer goes on without its turn: who has it may have been stopped."""

_LOOKS = 3
"""Looks for an entry that should be there."""

_TRIES = 5
"""Races lost in a row to nobody whose entry can be read, after which something must be wrong."""


@functools.lru_cache(maxsize=100)
def _tell_behind(pool_id: str, n: int, why: str) -> None:
    """Warn, once for each state of an index."""
    _log.warning(
        "the index of pool %s ends at journal entry %d; a user who may write to the index can add the later ones (%s)",
        pool_id, n, why,
    )  # fmt: skip


class Committer:
    """Writes journal entries for one pool and keeps its index up to date.

    Parameters
    ----------
    archive : Archive
        The pool's folder.
    catalog : Catalog
        Its index.

    Attributes
    ----------
    saved : dict of int to ProductRow
        Versions of the entry that the last `commit` wrote, as the index took them in; none where they are many.
    """

    def __init__(self, archive: Archive, catalog: Catalog) -> None:
        self._archive = archive
        self._catalog = catalog
        self.saved: dict[int, ProductRow] = {}

    def catch_up(self, look: Callable[[], Position] | None = None) -> Position:
        """Take into the index what the journal has and the index has not.

        Parameters
        ----------
        look : callable, optional
            Asks the index where it stands, for who wants to know more of it at that moment.

        Returns
        -------
        Position
            The last journal entry in the index: the journal's last, unless another process is just writing one, or
            this user may not write to the index.
        """
        look = look or self._catalog.position
        position = look()
        journal = self._archive.journal
        if not self._archive.storage.exists(journal.key(position.n + 1)):
            if position.n < 0:
                journal.refuse_gap(position.n, thorough=True)
            return position
        try:
            self._catalog.apply(journal.since(position.n, position.digest), self._archive.manifest)
        except ReadOnly as error:  # who may only read, reads what the index has
            _tell_behind(self._archive.info.id, position.n, str(error))
            return position
        return look()

    def check(self) -> None:
        """Make sure that the index has followed this journal, and not that of a copy or of what was here before.

        Raises
        ------
        IntegrityError
            If the last entry that the index took in is not in the journal, or tells of other numbers than the index
            has, or if the one after it is missing.
        """
        self._check(self._catalog.position())

    def _check(self, position: Position) -> Entry | None:
        """Give the last entry that the index took in, having made sure that it is that, and the journal's last."""
        journal = self._archive.journal
        journal.refuse_gap(position.n)
        last = None if position.n < 0 else self._read(position)
        next_serial = self._archive.info.first_serial if last is None else last.next_serial
        if position.next_serial != next_serial:
            raise IntegrityError(
                f"the index is damaged: its next URN number is {position.next_serial}, but the journal's is "
                f"{next_serial}; `miripool reindex POOL`, or pool.reindex() in Python, makes it again from the folder"
            )
        return last

    def _read(self, position: Position) -> Entry:
        found: Entry | None = None
        for _ in range(_LOOKS):
            with contextlib.suppress(NotFound):
                found = self._archive.journal.latest(position.n)
            if found is not None and found.digest == position.digest:
                return found
            self._archive.confirm()  # renamed and back again within a moment, its folder was away: look once more
        folder = self._archive.storage.name("journal")
        raise IntegrityError(
            f"the index has journal entry {position.n}, but {folder} has {'a different' if found else 'no'} entry of "
            "that number: the folder is a copy or an older state of the pool. Restore the folder that belongs to this "
            "index, or make the index again from this folder: `miripool reindex POOL`, pool.reindex() in Python"
        )

    def commit(
        self,
        decide: Callable[[Position], Sequence[Action]],
        *,
        look: Callable[[], Position] | None = None,
        is_ready: Callable[[], bool] | None = None,
        known: Callable[[], Known] | None = None,
        undoes: int | None = None,
    ) -> Entry | None:
        """Write an entry. If another process writes one first, decide again.

        Parameters
        ----------
        decide : callable
            Looks at the index, which then stands at the position given, and says what to do. If the index moves while
            it looks, the entry's number is taken and it is asked again.
        look : callable, keyword-only, optional
            As for `catch_up`; called before `decide` each time.
        is_ready : callable, keyword-only, optional
            Tells right before the entry is written whether all that it refers to is there; if not, `decide` is asked
            again.
        known : callable, keyword-only, optional
            Gives what `decide` knows of the entry; by default the index looks up all.
        undoes : int, keyword-only, optional
            Number of the entry that the new one takes back.

        Returns
        -------
        Entry or None
            The entry, in the index too if the database let it; None if there was nothing to do.

        Raises
        ------
        IntegrityError
            If the journal is not the one that the index has followed, or has lost an entry, or if the index is damaged.
        PoolNotFound
            If the pool was deleted or renamed meanwhile.
        """
        self.saved = {}  # what later entries did to those of an earlier one is not known
        attempt = functools.partial(self._commit, decide, look, is_ready, known, undoes)
        try:
            return attempt()
        except IntegrityError:
            self._archive.confirm()  # of a pool that is gone, that is all there is to say
            self.check()
            return attempt()  # it had been renamed, and got its name back: nothing is damaged
        except (StorageError, ServerError):
            self._archive.confirm()
            raise

    def _commit(
        self,
        decide: Callable[[Position], Sequence[Action]],
        look: Callable[[], Position] | None,
        is_ready: Callable[[], bool] | None,
        known: Callable[[], Known] | None,
        undoes: int | None,
    ) -> Entry | None:
        stuck = 0
        last: int | None = None
        waited = False
        with contextlib.ExitStack() as turn:
            while stuck < _TRIES:
                if last is not None and not waited:
                    # Somebody was faster: who lost queue up, or of many writers all but one would work for nothing.
                    turn.enter_context(self._archive.storage.turn("journal", seconds=_LONGEST_TURN))
                    waited = True
                position = self.catch_up(look)
                stuck = stuck + 1 if position.n == last else 0
                last = position.n
                actions = decide(position)
                if not actions:
                    return None
                entry = self._archive.journal.next_entry(
                    self._check(position), actions, first_serial=self._archive.info.first_serial, undoes=undoes
                )
                if self._write(entry, is_ready, Known(self._archive.manifest) if known is None else known()):
                    return entry
        path = self._archive.storage.name(self._archive.journal.key(position.n + 1))
        raise IntegrityError(
            f"{path} is not a journal entry, but has the name of the next one; check what it is and remove it"
        )

    def _write(self, entry: Entry, is_ready: Callable[[], bool] | None, known: Known) -> bool:
        written = False

        def write() -> bool:
            nonlocal written
            if is_ready is not None and not is_ready():
                return False
            written = self._archive.journal.write(entry)
            return written

        try:
            rows = self._catalog.apply_and_write(entry, known, write)
        except MiripoolError as error:
            if not written:
                raise
            # The entry is durable: what it says is done. Whoever comes next applies it.
            _log.warning("saved as journal entry %d; the index will be updated later (%s)", entry.n, error)
            return True
        self.saved |= {row.serial: row for row in rows or ()}
        return rows is not None
