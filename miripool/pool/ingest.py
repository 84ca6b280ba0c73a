"""Ingest: many files into a pool, several at a time; one bad file does not stop the others.

Files are read, measured and stored by threads or by any executor (`storing`); the versions are made here, in the order
of the files. So the outcome does not depend on the workers. If a worker is killed, only its files are processed again:
by Dask on another worker, or by this process if the executor fails.
"""

from __future__ import annotations

import glob
import logging
import traceback
from collections import deque
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FileMissing, InvalidInput, MiripoolError
from ..formats import expect, track_name
from ..model.names import Urn, check_label
from ..model.product import Product
from ..system.oserrors import storage_error
from ..system.threads import work_ahead, workers_of
from . import save
from .core import core_of
from .reference import ProductRefs
from .saving import ArraysElsewhere, Saved, tell_unchanged
from .storing import Stored, StoreJob, find_known, store_elsewhere, store_file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from ..index import ProductRow
    from ..store.notes import Ticket
    from .core import Core, HasCore

__all__ = ["Outcome", "Summary", "find_files", "ingest", "summarise"]

_LOADERS = 2
"""Pixel sets that are loaded at a time: PostgreSQL works on one core for each."""

_AHEAD = 2
"""Files in work, or waiting for their turn to be saved, for each worker."""

_AT_ONCE = 200
"""Files that the index is asked about by one statement."""

_log = logging.getLogger(__name__)

_ENDINGS = (".fits", ".fit", ".fits.gz", ".fit.gz")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of adding one file.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    status : str
        ``new``, ``version``, ``unchanged`` or ``failed``.
    bytes : int
        Size of the file.
    stored_bytes : int
        Bytes added to the pool.
    urn : str or None
        The version; None for a failure.
    version : int or None
        Its number.
    message : str or None
        Notice for the user, or why it failed.
    error : MiripoolError or None
        The error, if it failed.
    """

    path: Path
    status: str
    bytes: int = 0
    stored_bytes: int = 0
    urn: str | None = None
    version: int | None = None
    message: str | None = None
    error: MiripoolError | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums over outcomes: files by status, bytes in and bytes stored."""

    new: int
    versions: int
    unchanged: int
    failed: int
    bytes: int
    stored_bytes: int


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """Find the FITS files that some arguments mean.

    Parameters
    ----------
    paths : iterable of path-like
        Files; folders, of which every FITS file is taken, sub-folders too; patterns with ``*``, ``?``, ``[…]``,
        ``**``.

    Returns
    -------
    list of pathlib.Path
        Each once; those of a folder or pattern sorted. A path without files is kept as it is, a folder as the
        pattern of its files: it fails, and the others are saved.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.name.lower().endswith(_ENDINGS) and p.is_file())
            inside = inside or [path / "*.fits"]
        elif glob.has_magic(str(path)) and not path.exists():
            inside = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 - Path.glob wants a folder first
            inside = find_files(inside) or [path]
        else:
            inside = [path]
        found.update(dict.fromkeys(inside))
    return list(found)


def ingest(
    pool: HasCore,
    files: Sequence[Path],
    *,
    tag: str | None = None,
    name: str | None = None,
    force: bool = False,
    jobs: int | None = None,
    executor: Executor | None = None,
    pixels: bool | None = None,
    truncate: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Outcome]:
    """Save files in a pool, each in a journal entry of its own, and at the end the `Exposure` contexts they belong to.

    Files already in the pool are recognised by their digest and not parsed. So an interrupted run can be repeated.

    Parameters
    ----------
    pool : Pool or Core
        The pool.
    files : sequence of pathlib.Path
        The files.
    tag, name, force, pixels, truncate : object, keyword-only
        As for `Pool.save`; with a name, all files must be of one exposure. Pixel rows are made while the next files
        are saved, on separate connections.
    jobs : int, keyword-only, optional
        Number of files processed in parallel; by default one, or as many as the executor has workers. The versions are
        made in the order of the files.
    executor : concurrent.futures.Executor, keyword-only, optional
        Executor that reads and stores the files; by default threads of this process. Other processes and hosts must
        see the pool's folder and the files under the same paths; they need no database. If an executor fails on a
        file, e.g. because a process was killed, this process reads the file.
    progress : callable, keyword-only, optional
        Called after each file with the number of bytes done and the total number of bytes.

    Yields
    ------
    Outcome
        One for each file, in their order.

    Raises
    ------
    InvalidInput
        If `jobs` is less than 1.
    InvalidName
        If the tag is not valid.
    PoolNotFound
        If the pool was deleted or renamed meanwhile. Versions saved before were deleted or renamed with it.
    """
    if tag is not None:
        check_label(tag)
    if jobs is not None and jobs < 1:
        raise InvalidInput(f"jobs is {jobs}; it must be 1 or more")

    pool = core_of(pool)
    sizes = [_size(path) for path in files] if progress is not None else []
    done, total = 0, sum(sizes)
    made: list[int] = []
    known: list[int] = []
    saving = _Saving(pool, files, tag=tag, name=name, force=force, pixels=pixels, truncate=truncate)
    with closing(_with_pixels(pool, saving.run(jobs, executor), pixels)) as outcomes:
        for number, outcome in enumerate(outcomes):
            if outcome.urn is not None:
                (known if outcome.status == "unchanged" else made).append(Urn.parse(outcome.urn).serial)
            if progress is not None:
                done += sizes[number]
                progress(done, total)
            yield outcome
    kept = [ProductRefs([(pool, serial) for serial in serials]) for serials in (made, known)]
    pool.again(lambda: save.keep_exposures(pool, *kept))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # told when its turn comes


@dataclass(frozen=True, slots=True)
class _Names:
    """What the index has of some files' names, at a position of the journal.

    Attributes
    ----------
    position : int
        Number of the journal's last entry.
    versions : dict
        By name, all living versions.
    settled : set of int
        Those that want no pixel rows any more.
    """

    position: int = -2
    versions: dict[str, tuple[ProductRow, ...]] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A file whose turn to be saved comes: `save` tells what it came to, and whether its pixel rows are settled."""

    path: Path
    save: Callable[[], tuple[Saved, bool]]


class _Saving:
    """The files of one call: asks the index about many at a time, has them stored, makes their versions."""

    def __init__(
        self,
        pool: Core,
        files: Sequence[Path],
        *,
        tag: str | None,
        name: str | None,
        force: bool,
        pixels: bool | None,
        truncate: bool,
    ) -> None:
        self.pool = pool
        self.archive = pool.archive
        self.files = files
        self.tag = tag
        self.name = name
        self.force = force
        self.pixels = pixels
        self.truncate = truncate

    def run(self, jobs: int | None, executor: Executor | None) -> Generator[_Turn]:
        """Give what saves each file, to be called in their order."""
        if executor is None and ((jobs or 1) == 1 or len(self.files) < 2):
            for job, names in self._jobs(self.archive.notes.ticket):
                yield _Turn(job.path, partial(self._save_here, job, names))
            return
        count = jobs or (1 if executor is None else workers_of(executor))
        with closing(self._ahead(count, executor)) as stored:
            for job, names, future in stored:
                yield _Turn(job.path, partial(self._save_stored, job, names, future))

    def _jobs(self, ticket: Callable[[], Ticket]) -> Generator[tuple[StoreJob, _Names]]:
        names = _Names()
        for number, path in enumerate(self.files):
            if number % _AT_ONCE == 0:
                names = self.pool.again(partial(self._ask, self.files[number : number + _AT_ONCE]))
            for coming in self.files[number + 1 : number + 2]:
                expect(coming)
            rows = names.versions.get(self.name or track_name(path.name), ())
            yield StoreJob(path, self.name, self.force, self.truncate, rows, ticket()), names

    def _ask(self, files: Sequence[Path]) -> _Names:
        """Ask the index about the names of some files."""
        position = self.pool.catch_up()
        wanted = {self.name} if self.name else {track_name(path.name) for path in files}
        rows = self.pool.catalog.living(sorted(wanted))
        versions: dict[str, tuple[ProductRow, ...]] = {}
        for row in rows:
            versions[row.name] = (*versions.get(row.name, ()), row)
        return _Names(position.n, versions, self.pool.pixel_rows.settled(rows, wanted=self.pixels))

    def _ahead(self, count: int, executor: Executor | None) -> Generator[tuple[StoreJob, _Names, Future[Stored]]]:
        """Have files stored, and give them in their order: versions of a track count by it."""
        with (
            self.archive.notes.run() as ticket,
            closing(_Workers(self.pool, count, executor)) as workers,
            closing(work_ahead(self._jobs(ticket), lambda asked: workers.submit(asked[0]), _AHEAD * count)) as running,
        ):
            for (job, names), future in running:
                yield job, names, future

    def _save_here(self, job: StoreJob, names: _Names) -> tuple[Saved, bool]:
        found = find_known(self.archive, job)
        if isinstance(found, Product):
            return self._save(found), False
        saved = self._unchanged(found, names, job.rows)
        if saved is not None:
            return saved, saved.row.serial in names.settled
        return self._save(job.path), False

    def _save(self, source: Any) -> Saved:
        """Save a file, or what was read of it, from the beginning to the end in this thread."""
        product = save.read(source, name=self.name, truncate=self.truncate)
        return save.commit(self.pool, product, tag=self.tag, force=self.force)

    def _save_stored(self, job: StoreJob, names: _Names, future: Future[Stored]) -> tuple[Saved, bool]:
        try:
            stored = self._result(job, future)
            if stored.error is not None:
                raise stored.error
            if stored.known is not None:
                saved = self._unchanged(stored.known, names, job.rows)
                if saved is not None:
                    return saved, saved.row.serial in names.settled
            if stored.prepared:
                (prepared,) = stored.prepared
                return save.commit(self.pool, prepared, tag=self.tag, force=self.force), False
        except ArraysElsewhere:
            pass  # what made them look needless is gone
        finally:
            self.archive.notes.withdraw(job.ticket)
        return self._save(job.path), False

    def _result(self, job: StoreJob, future: Future[Stored]) -> Stored:
        try:
            return future.result()
        except Exception as error:  # the work itself raises nothing: whatever it is, it is the executor's
            _log.warning(
                "the worker that read %s was lost, so this process reads the file (%s: %s)",
                job.path,
                type(error).__name__,
                error,
            )
            return Stored()

    def _unchanged(self, row: ProductRow, names: _Names, rows: Sequence[ProductRow]) -> Saved | None:
        """Say that a file is a version that was there; None where more than that is to be done."""
        if self.archive.storage.exists(self.archive.journal.key(names.position + 1)):
            self.pool.catch_up()
            rows = self.pool.catalog.living([row.name])
        found = next((r for r in rows if r.serial == row.serial), None)
        if found is None or (self.tag is not None and self.tag not in found.tags):
            return None
        return Saved(found, "unchanged", 0, tell_unchanged(rows, found, same_file=True))


class _Workers:
    """What stores files: threads of this process, or an executor as long as it works.

    Parameters
    ----------
    pool : Core
        Where to.
    count : int
        Files at a time.
    executor : Executor or None
        None for threads of ours.
    """

    def __init__(self, pool: Core, count: int, executor: Executor | None) -> None:
        self._archive = pool.archive
        self._place = pool.archive.place, pool.id
        self._executor = executor
        self._threads = ThreadPoolExecutor(count)  # starts none before it is given something

    def submit(self, job: StoreJob) -> Future[Stored]:
        """Have a file stored.

        Parameters
        ----------
        job : StoreJob
            The file.

        Returns
        -------
        concurrent.futures.Future
            Raises nothing but the executor's own failures.
        """
        try:
            if isinstance(self._executor, ThreadPoolExecutor):
                return self._executor.submit(store_file, self._archive, job)
            if self._executor is not None:
                return self._executor.submit(store_elsewhere, *self._place, replace(job, path=job.path.absolute()))
        except BrokenExecutor as error:
            _log.warning("the executor is broken, so this process reads the other files (%s)", error)
            self._executor = None
        return self._threads.submit(store_file, self._archive, job)

    def close(self) -> None:
        """Wait for our own threads; others' work that can't be cancelled goes on."""
        self._threads.shutdown(cancel_futures=True)


def _with_pixels(pool: Core, turns: Generator[_Turn], pixels: bool | None) -> Generator[Outcome]:
    """Save, and make pixel rows in threads meanwhile; outcomes come in the order of the files."""
    running: deque[Outcome | tuple[Path, int, Future[Saved]]] = deque()
    threads = ThreadPoolExecutor(_LOADERS)
    try:
        with closing(turns):
            for turn in turns:
                done = _attempt(pool, turn)
                if isinstance(done, Outcome):
                    running.append(done)
                else:
                    size, (saved, settled) = done
                    if settled:
                        running.append(_outcome_of(pool, turn.path, size, saved))
                    else:
                        running.append((turn.path, size, threads.submit(save.finish, pool, saved, pixels=pixels)))
                while len(running) > _LOADERS or (running and _is_done(running[0])):
                    yield _outcome(pool, running.popleft())
        while running:
            yield _outcome(pool, running.popleft())
    finally:
        threads.shutdown(cancel_futures=True)


def _is_done(item: Outcome | tuple[Path, int, Future[Saved]]) -> bool:
    return isinstance(item, Outcome) or item[2].done()


def _attempt(pool: Core, turn: _Turn) -> Outcome | tuple[int, tuple[Saved, bool]]:
    """Save a file; its size and what came of it, or the failure's outcome. Without a pool no file can be saved."""
    try:
        size = turn.path.stat().st_size if turn.path.is_file() else 0
        return size, turn.save()
    except MiripoolError as error:
        pool.archive.confirm()
        failure = error
        if isinstance(error, FileMissing) and glob.has_magic(str(turn.path)):
            failure = FileMissing(f"no FITS file matches {turn.path}; check the name")
    except OSError as error:
        pool.archive.confirm()
        failure = storage_error(error, turn.path)
    except Exception as error:
        _log.debug("%s could not be saved", turn.path, exc_info=True)
        failure = MiripoolError(f"{turn.path}: internal error, please report it: {type(error).__name__}: {error}")
    traceback.clear_frames(failure.__traceback__)  # they hold the file open, and arrays
    return Outcome(turn.path, "failed", message=str(failure), error=failure)


def _outcome(pool: Core, item: Outcome | tuple[Path, int, Future[Saved]]) -> Outcome:
    if isinstance(item, Outcome):
        return item
    path, size, future = item
    return _outcome_of(pool, path, size, future.result())


def _outcome_of(pool: Core, path: Path, size: int, saved: Saved) -> Outcome:
    row = saved.row
    urn = str(Urn(pool.name, row.kind, row.serial))
    return Outcome(path, saved.status, size, saved.stored_bytes, urn, row.version, saved.notice)


def summarise(outcomes: Iterable[Outcome]) -> Summary:
    """Count what came of many files.

    Parameters
    ----------
    outcomes : iterable of Outcome
        From `ingest`.

    Returns
    -------
    Summary
        The sums.
    """
    listed = list(outcomes)
    count = {status: sum(o.status == status for o in listed) for status in ("new", "version", "unchanged", "failed")}
    return Summary(
        count["new"],
        count["version"],
        count["unchanged"],
        count["failed"],
        sum(o.bytes for o in listed),
        sum(o.stored_bytes for o in listed),
    )
