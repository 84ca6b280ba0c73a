"""Turns: files are read and stored, here or by others some way ahead, and come back in their order.

What is stored ahead of its turn is compared with the versions that are there when it is handed out. A file waits for
another one of its name and ending until that one's entry is written: it may share tiles with it.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..formats import expect, track_name
from ..system.processes import WorkerProcesses
from ..system.threads import cores, workers_of
from .storing import Stored, StoreJob, store_elsewhere, store_file, store_files

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from ..index import ProductRow
    from ..store.notes import Ticket
    from ..store.storage.gathering import Gathering
    from .core import Core

__all__ = ["StoringWorkers", "Turn", "Turns"]

_AT_ONCE = 200
"""Files that the index is asked about by one statement."""

_AHEAD = 2
"""Pieces of work that a worker has, or has done before their turn comes."""

_WAIT = 0.1
"""Seconds to wait for the next file before those before it are saved."""

_PIECE_FILES = 4
_PIECE_BYTES = 32 << 20
"""Most files and bytes that a process of ours gets at once: together they wait for the disk.

Four small ones are done in less than `_WAIT`, so that batches fill.
"""

_LEAST_FILES = 32
"""Files from which processes of ours repay the 0.4 s of computing time that each takes to start."""

_LARGE = 64 << 20
"""Bytes of a file, on average, from which threads do as well: they work at its tiles without Python's lock.

Two FULL files at a time take a tenth less than one after the other, for some of the work on each needs one core only.
"""

_MOST_DEFAULT = 4
"""Threads or processes unless more are asked for: this one, which writes the entries, keeps pace with about as many."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """A file whose turn to be saved has come.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    size : int
        Its bytes; 0 where it is no file.
    key : str
        What it has in common with other versions of its product: name and ending.
    ticket : Ticket
        Of the pending note.
    stored : Stored
        What it is.
    """

    path: Path
    size: int
    key: str
    ticket: Ticket
    stored: Stored


@dataclass(slots=True)
class _Names:
    """What the index has of some files' names, and what was saved since.

    Attributes
    ----------
    versions : dict
        By name, all living versions.
    settled : set of int
        Those that want no pixel rows any more.
    """

    versions: dict[str, list[ProductRow]] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)


class Turns:
    """The files of one ingest.

    Parameters
    ----------
    pool : Core
        Where to.
    files : sequence of pathlib.Path
        The files.
    name, force, truncate, pixels : object, keyword-only
        As for `Pool.save`.
    ticket : callable, keyword-only
        Gives tickets for pending notes.
    """

    def __init__(
        self,
        pool: Core,
        files: Sequence[Path],
        *,
        name: str | None,
        force: bool,
        truncate: bool,
        pixels: bool | None,
        ticket: Callable[[], Ticket],
    ) -> None:
        self._pool = pool
        self._files = files
        self._name = name
        self._force = force
        self._truncate = truncate
        self._pixels = pixels
        self._ticket = ticket
        self._names = _Names()
        self._open: set[str] = set()

    def here(self, gathering: Callable[[], Gathering]) -> Generator[Turn | None]:
        """Store the files in this thread, one after the other.

        Parameters
        ----------
        gathering : callable
            Gives what the files of the next entry are put in.

        Yields
        ------
        Turn or None
            None where what came before is to be saved first.
        """
        for number, path in enumerate(self._files):
            if self._key(path) in self._open:
                yield None
            job = self._job(number)
            for coming in self._files[number + 1 : number + 2]:
                expect(coming)
            yield self._turn(job, store_file(self._pool.archive, job, gathering()))

    def ahead(self, workers: StoringWorkers) -> Generator[Turn | None]:
        """Have the files stored by others.

        Parameters
        ----------
        workers : StoringWorkers
            They store them.

        Yields
        ------
        Turn or None
            None where what came before is to be saved now: the next one takes its time, or has to wait for it.
        """
        running: deque[tuple[list[StoreJob], Future[list[Stored]]]] = deque()
        number = 0
        try:
            while running or number < len(self._files):
                while len(running) < workers.most and (jobs := self._piece(number, workers)):
                    running.append((jobs, workers.submit(jobs)))
                    number += len(jobs)
                if not running or not wait([running[0][1]], _WAIT).done:
                    yield None
                if running:
                    jobs, future = running.popleft()
                    yield from map(self._turn, jobs, _stored(jobs, future))
        finally:
            for _, future in running:
                future.cancel()

    def _piece(self, start: int, workers: StoringWorkers) -> list[StoreJob]:
        """Take the next files, as many as a worker gets at once; none that wait for others of their kind."""
        jobs: list[StoreJob] = []
        size = 0
        for number in range(start, min(start + workers.piece, len(self._files))):
            path = self._files[number]
            size += _size(path)
            if self._key(path) in self._open or (jobs and size > _PIECE_BYTES):
                break
            jobs.append(self._job(number))
        return jobs

    def _key(self, path: Path) -> str:
        name = track_name(path.name)
        return f"{self._name or name}/{path.name.removeprefix(name)}"

    def _job(self, number: int) -> StoreJob:
        path = self._files[number]
        if number % _AT_ONCE == 0:
            self._names = self._pool.again(partial(self._ask, self._files[number : number + _AT_ONCE]))
        rows = self._names.versions.get(self._name or track_name(path.name), ())
        self._open.add(self._key(path))
        return StoreJob(path, self._name, self._force, self._truncate, tuple(rows), self._ticket())

    def _ask(self, files: Iterable[Path]) -> _Names:
        """Ask the index about the names of some files."""
        self._pool.catch_up()
        wanted = {self._name} if self._name else {track_name(path.name) for path in files}
        rows = self._pool.catalog.living(sorted(wanted))
        found = _Names(settled=self._pool.pixel_rows.settled(rows, wanted=self._pixels))
        for row in rows:
            found.versions.setdefault(row.name, []).append(row)
        return found

    def _turn(self, job: StoreJob, stored: Stored) -> Turn:
        return Turn(job.path, _size(job.path), self._key(job.path), job.ticket, stored)

    def close(self, turn: Turn, row: ProductRow | None) -> None:
        """Note that a file is through.

        Parameters
        ----------
        turn : Turn
            The file.
        row : ProductRow or None
            The version that it came to.
        """
        self._pool.archive.notes.withdraw(turn.ticket)
        self._open.discard(turn.key)
        if row is not None:
            self._names.versions.setdefault(row.name, []).append(row)

    def is_settled(self, row: ProductRow) -> bool:
        """Tell whether a version that was there wants no pixel rows any more.

        Parameters
        ----------
        row : ProductRow
            The version.

        Returns
        -------
        bool
            As the index had it a moment ago.
        """
        return row.serial in self._names.settled


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0  # said when it is read


def _stored(jobs: Sequence[StoreJob], future: Future[list[Stored]]) -> list[Stored]:
    try:
        return future.result()
    except Exception as error:  # the work itself raises nothing: whatever it is, it is the executor's
        for job in jobs:
            _log.warning(
                "the worker that read %s was lost, so this process reads the file (%s: %s)",
                job.path,
                type(error).__name__,
                error,
            )
        return [Stored()] * len(jobs)


class StoringWorkers:
    """What stores files: an executor as long as it works, processes of ours, or threads.

    Parameters
    ----------
    pool : Core
        Where to.
    count : int
        Pieces of work done at a time.
    executor : Executor or None
        None for threads of ours.
    piece : int, optional
        Files in a piece of work.

    Attributes
    ----------
    most : int
        Pieces of work to hand out before the first is done.
    piece : int
        Files in a piece of work, at most.
    """

    def __init__(self, pool: Core, count: int, executor: Executor | None, piece: int = 1) -> None:
        self._archive = pool.archive
        self._place = pool.archive.place, pool.id
        self._executor = executor
        self._threads = ThreadPoolExecutor(count)  # starts none before it is given something
        self.most = _AHEAD * count
        self.piece = piece

    @classmethod
    def wanted(
        cls, pool: Core, files: Sequence[Path], jobs: int | None, executor: Executor | None
    ) -> StoringWorkers | None:
        """Choose who stores files.

        Parameters
        ----------
        pool : Core
            Where to.
        files : sequence of pathlib.Path
            The files.
        jobs : int or None
            How many are to be processed in parallel; None for as many as the executor has workers, or this machine has
            cores.
        executor : concurrent.futures.Executor or None
            Who stores them.

        Returns
        -------
        StoringWorkers or None
            To be closed; None where this thread does it best.
        """
        if executor is not None:
            return cls(pool, jobs or workers_of(executor), executor)
        count = jobs or min(cores(), _MOST_DEFAULT)
        if count == 1 or len(files) < 2:
            return None
        are_large = sum(map(_size, files)) >= _LARGE * len(files)
        if len(files) >= _LEAST_FILES and not are_large:
            return cls(pool, count, WorkerProcesses(count), _PIECE_FILES)
        return None if jobs is None and not are_large else cls(pool, count, None)

    def submit(self, jobs: Sequence[StoreJob]) -> Future[list[Stored]]:
        """Have files stored.

        Parameters
        ----------
        jobs : sequence of StoreJob
            The files.

        Returns
        -------
        concurrent.futures.Future
            Raises nothing but the executor's own failures.
        """
        try:
            if isinstance(self._executor, ThreadPoolExecutor):
                return self._executor.submit(store_files, self._archive, jobs)
            if self._executor is not None:
                there = [replace(job, path=job.path.absolute()) for job in jobs]
                return self._executor.submit(store_elsewhere, *self._place, there)
        except BrokenExecutor as error:
            _log.warning("the executor is broken, so this process reads the other files (%s)", error)
            self._executor = None
        return self._threads.submit(store_files, self._archive, jobs)

    def close(self) -> None:
        """Wait for our own threads and processes; others' work that can't be cancelled goes on."""
        self._threads.shutdown(cancel_futures=True)
        if isinstance(self._executor, WorkerProcesses):
            self._executor.shutdown(cancel_futures=True)
