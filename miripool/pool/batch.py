"""Batch: files that are stored and wait for one journal entry.

A batch ends by number, by bytes and by age, so that the outcome of each file comes soon. A file counts as saved once
its entry is written; if the process is killed before, the file has to be added again.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from ..index import ProductRow
from . import save
from .prepared import ArraysElsewhere
from .saving import Saved

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..store.archive import Archive
    from ..store.storage.gathering import Gathering
    from .core import Core
    from .decision import Wanted
    from .turns import Turn

__all__ = ["Batch", "Load"]

_MOST_PRODUCTS = 128
"""Products of an entry."""

_MOST_BYTES = 256 << 20
"""Bytes of the products of an entry."""

_MOST_AGE = 1.0
"""Seconds for which the first product of an entry waits for others."""

_log = logging.getLogger(__name__)


class Load:
    """How much waits for the next entry, since when, and what its files are put in.

    Parameters
    ----------
    archive : Archive
        The pool's.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._open = contextlib.ExitStack()
        self._gathering: Gathering | None = None
        self._count = self._bytes = 0
        self._began = 0.0

    def gathering(self) -> Gathering:
        """Give the gathering of the files that this process writes.

        Returns
        -------
        Gathering
            Settled by `settle`.
        """
        if self._gathering is None:
            self._gathering = self._open.enter_context(self._archive.gathering())
        return self._gathering

    def add(self, size: int) -> None:
        """Count a product.

        Parameters
        ----------
        size : int
            Its bytes.
        """
        if not self._count:
            self._began = time.monotonic()
        self._count += 1
        self._bytes += size

    @property
    def is_due(self) -> bool:
        """Whether the entry is to be written now."""
        if not self._count:
            return False
        is_old = time.monotonic() - self._began >= _MOST_AGE
        return is_old or self._count >= _MOST_PRODUCTS or self._bytes >= _MOST_BYTES

    def settle(self) -> None:
        """Make durable what was put; what is put from now on is of the next entry.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If something could not be stored; none of it counts as durable then.
        """
        gathering, self._gathering = self._gathering, None
        self._count = self._bytes = 0
        if gathering is not None:
            with self._open:
                gathering.settle()

    def close(self) -> None:
        """Give up what was put."""
        self._open.close()


class Batch:
    """Files of different tracks that are saved by the next entry.

    Parameters
    ----------
    pool : Core
        Where to.
    read : callable
        Reads a file from the beginning and saves it by itself.
    tag, force : object, keyword-only
        As for `Pool.save`.

    Attributes
    ----------
    load : Load
        How much there is.
    """

    def __init__(self, pool: Core, read: Callable[[Turn], Saved], *, tag: str | None, force: bool) -> None:
        self._pool = pool
        self._read = read
        self._tag = tag
        self._force = force
        self._turns: list[Turn] = []
        self._tracks: set[tuple[str, str]] = set()
        self.load = Load(pool.archive)

    def takes(self, turn: Turn) -> bool:
        """Tell whether a file may be of this batch.

        Parameters
        ----------
        turn : Turn
            The file.

        Returns
        -------
        bool
            False where another of its track is in it: an entry has one version of a track at most.
        """
        return _track(turn) not in self._tracks

    def add(self, turn: Turn) -> None:
        """Take a file in.

        Parameters
        ----------
        turn : Turn
            The file.
        """
        self._turns.append(turn)
        self.load.add(turn.size)
        track = _track(turn)
        if track is not None:
            self._tracks.add(track)

    def commit(self) -> list[tuple[Turn, Saved | Exception]]:
        """Save what is in it, and begin a new one.

        Returns
        -------
        list of (Turn, Saved or Exception)
            What each file came to, in their order.
        """
        if not self._turns:
            return []
        turns, self._turns = self._turns, []
        self._tracks.clear()
        results: dict[int, Saved | Exception] = {}
        for number, turn in enumerate(turns):
            if turn.stored.error is not None:
                results[number] = turn.stored.error
        there = self._settle()
        wanted = {n: w for n, turn in enumerate(turns) if there and (w := _wanted(turn)) is not None}
        saved = save.commit_each(self._pool, list(wanted.values()), tag=self._tag, force=self._force)
        results |= dict(zip(wanted, saved, strict=True))
        for number, turn in enumerate(turns):
            if isinstance(results.setdefault(number, ArraysElsewhere()), ArraysElsewhere):
                results[number] = self._alone(turn)
        return [(turn, results[number]) for number, turn in enumerate(turns)]

    def _settle(self) -> bool:
        """Make durable what was stored in this process; False where something could not be."""
        try:
            self.load.settle()
        except Exception as error:
            _log.debug("a batch could not be stored together", exc_info=error)
            return False
        return True

    def _alone(self, turn: Turn) -> Saved | Exception:
        try:
            return self._read(turn)
        except Exception as error:
            return error


def _wanted(turn: Turn) -> Wanted | None:
    """Give what a file is, as far as it was stored."""
    if turn.stored.known is not None:
        return turn.stored.known
    return next(iter(turn.stored.prepared), None)


def _track(turn: Turn) -> tuple[str, str] | None:
    found = _wanted(turn)
    if found is None:
        return None
    return (found.kind, found.name) if isinstance(found, ProductRow) else found.track
