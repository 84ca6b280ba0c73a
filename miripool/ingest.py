"""Ingest: many files into a pool, several at a time; one bad file does not stop the others."""

from __future__ import annotations

import glob
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import FileMissing, InvalidInput, MiripoolError
from .names import Urn, check_label
from .storage import storage_error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from .pool import Pool, Ready
    from .saving import Saved

__all__ = ["Outcome", "Summary", "find_files", "ingest", "summarise"]

_LOADERS = 2
"""Pixel sets that are loaded at a time: PostgreSQL works on one core for each."""

_ENDINGS = (".fits", ".fit", ".fits.gz", ".fit.gz")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file.

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
        What the user should know.
    error : MiripoolError or None
        Why it failed.
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
        Each once; those of a folder or pattern sorted. A file that is not there is kept, to fail by itself.

    Raises
    ------
    FileMissing
        If a pattern or folder has no FITS file.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.name.lower().endswith(_ENDINGS) and p.is_file())
            if not inside:
                raise FileMissing(f"there is no FITS file in {path}")
        elif glob.has_magic(str(path)) and not path.exists():
            inside = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 - Path.glob wants a folder first
            if not inside:
                raise FileMissing(f"no file matches {path}")
            inside = find_files(inside)
        else:
            inside = [path]
        found.update(dict.fromkeys(inside))
    return list(found)


def ingest(
    pool: Pool,
    files: Sequence[Path],
    *,
    tag: str | None = None,
    name: str | None = None,
    force: bool = False,
    jobs: int = 1,
    pixels: bool | None = None,
    truncate: bool = False,
) -> Iterator[Outcome]:
    """Save files in a pool, each in a journal entry of its own, and at the end the `Exposure` contexts they belong to.

    Parameters
    ----------
    pool : Pool
        Where to.
    files : sequence of pathlib.Path
        What.
    tag, name, force, pixels, truncate : object, keyword-only
        As for `Pool.save`; a name is for one exposure's files only. Pixel rows are made beside the saves that follow,
        on connections of their own.
    jobs : int, keyword-only
        How many are read, measured and stored at a time; the versions are made in the order of the files.

    Yields
    ------
    Outcome
        One for each file, in their order.
    """
    if tag is not None:
        check_label(tag)
    if jobs < 1:
        raise InvalidInput(f"{jobs} jobs can't do anything; use 1 or more")

    made: list[int] = []
    known: list[int] = []
    with closing(_with_pixels(pool, _saved(pool, files, tag, name, force, jobs, truncate), pixels)) as outcomes:
        for outcome in outcomes:
            if outcome.urn is not None:
                (known if outcome.status == "unchanged" else made).append(Urn.parse(outcome.urn).serial)
            yield outcome
    pool.keep_exposures(pool.fetch(made), pool.fetch(known))


def _saved(
    pool: Pool, files: Sequence[Path], tag: str | None, name: str | None, force: bool, jobs: int, truncate: bool
) -> Generator[tuple[Path, Callable[[], Saved]]]:
    """Give what saves each file, to be called in their order."""
    if jobs == 1 or len(files) < 2:

        def save(path: Path) -> Saved:
            return pool.commit(pool.read(path, name=name, truncate=truncate), tag=tag, force=force)

        for path in files:
            yield path, partial(save, path)
        return

    def prepare(path: Path) -> Ready:
        return pool.prepare(path, name=name, force=force, truncate=truncate)

    def commit(future: Future[Ready]) -> Saved:
        with closing(future.result()) as ready:
            return pool.commit(ready, tag=tag, force=force)

    pool.catch_up()  # connect once, before the threads do
    with closing(_ahead(prepare, files, jobs)) as prepared:
        for path, future in prepared:
            yield path, partial(commit, future)


def _with_pixels(
    pool: Pool, saves: Generator[tuple[Path, Callable[[], Saved]]], pixels: bool | None
) -> Generator[Outcome]:
    """Save, and make pixel rows in threads meanwhile; outcomes come in the order of the files."""
    running: deque[Outcome | tuple[Path, int, Future[Saved]]] = deque()
    threads = ThreadPoolExecutor(_LOADERS)
    try:
        with closing(saves):
            for path, save in saves:
                done = _attempt(path, save)
                if isinstance(done, Outcome):
                    running.append(done)
                else:
                    size, saved = done
                    running.append((path, size, threads.submit(pool.finish, saved, pixels=pixels)))
                while len(running) > _LOADERS or (running and _is_done(running[0])):
                    yield _outcome(pool, running.popleft())
        while running:
            yield _outcome(pool, running.popleft())
    finally:
        threads.shutdown(cancel_futures=True)


def _is_done(item: Outcome | tuple[Path, int, Future[Saved]]) -> bool:
    return isinstance(item, Outcome) or item[2].done()


def _ahead(prepare: Callable[[Path], Ready], files: Iterable[Path], jobs: int) -> Generator[tuple[Path, Future[Ready]]]:
    """Prepare files in threads, and give them in their order: versions of a track count by it."""
    running: deque[tuple[Path, Future[Ready]]] = deque()
    threads = ThreadPoolExecutor(jobs)
    try:
        for path in files:
            running.append((path, threads.submit(prepare, path)))
            if len(running) >= 2 * jobs:
                yield running.popleft()
        while running:
            yield running.popleft()
    finally:
        threads.shutdown(cancel_futures=True)
        for _, future in running:
            if not future.cancelled() and future.exception() is None:
                future.result().close()


def _attempt(path: Path, save: Callable[[], Saved]) -> Outcome | tuple[int, Saved]:
    """Save a file; its size and what came of it, or the failure's outcome."""
    try:
        size = path.stat().st_size if path.is_file() else 0
        return size, save()
    except MiripoolError as error:
        return Outcome(path, "failed", message=str(error), error=error)
    except OSError as error:
        known = storage_error(error, path)
        return Outcome(path, "failed", message=str(known), error=known)


def _outcome(pool: Pool, item: Outcome | tuple[Path, int, Future[Saved]]) -> Outcome:
    if isinstance(item, Outcome):
        return item
    path, size, future = item
    saved = future.result()
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
