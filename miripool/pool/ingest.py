"""Ingest: many files into a pool, several at a time; one bad file does not stop the others.

Files are read, measured and stored by this thread, by threads, by processes or by any executor (`turns`). The versions
are made here, in the order of the files, many by one journal entry (`batch`). So the outcome does not depend on the
workers. If a worker is killed, only its files are processed again: by Dask on another worker, or by this process if the
executor fails.
"""

from __future__ import annotations

import glob
import logging
import shlex
import traceback
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FileMissing, InvalidInput, MiripoolError
from ..model.names import Urn, check_label
from ..system.oserrors import storage_error
from . import save
from .batch import Batch
from .core import core_of
from .pixelstage import PixelStage
from .reference import ProductRefs
from .saving import Saved
from .turns import StoringWorkers, Turn, Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Executor

    from .core import Core, HasCore

__all__ = ["ENDINGS", "Outcome", "Summary", "find_files", "ingest", "summarise"]

_log = logging.getLogger(__name__)

ENDINGS = (".fits", ".fit", ".fits.gz", ".fit.gz")


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
        Files; folders, of which every FITS file is taken, sub-folders too, but nothing whose name begins with a dot;
        patterns with ``*``, ``?``, ``[…]``, ``**``.

    Returns
    -------
    list of pathlib.Path
        Each once; those of a folder or pattern sorted. A path without files is kept as it is, a folder as the
        pattern of its files: it fails, and the others are saved.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if _is_meant(p.relative_to(path)) and p.is_file())
            inside = inside or [path / "*.fits"]
        elif glob.has_magic(str(path)) and not path.exists():
            inside = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 - Path.glob wants a folder first
            inside = find_files(inside) or [path]
        else:
            inside = [path]
        found.update(dict.fromkeys(inside))
    return list(found)


def _is_meant(path: Path) -> bool:
    """Tell whether a folder's file is one of its FITS files, by its name: hidden ones may be unfinished copies."""
    return path.name.lower().endswith(ENDINGS) and not any(part.startswith(".") for part in path.parts)


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
    """Save files in a pool, many by one journal entry, and at the end the `Exposure` contexts they belong to.

    Files already in the pool are recognised by their digest and not parsed. So an interrupted run can be repeated.

    Parameters
    ----------
    pool : Pool or Core
        The pool.
    files : sequence of pathlib.Path
        The files.
    tag, name, force, pixels, truncate : object, keyword-only
        As for `Pool.save`; with a name, all files must be of one exposure. Pixel rows are made behind, on separate
        connections; where the database fails, they stay pending, which is logged.
    jobs : int, keyword-only, optional
        Number of files processed in parallel; by default as many as the executor has workers. Without an executor, many
        small files are processed by processes of ours, large ones by threads, by default one per core and at most four;
        a few small files by this thread unless threads are asked for. The versions are made in the order of the files.
    executor : concurrent.futures.Executor, keyword-only, optional
        Executor that reads and stores the files. Other processes and hosts must see the pool's folder and the files
        under the same paths; they need no database. If an executor fails on a file, e.g. because a process was killed,
        this process reads the file.
    progress : callable, keyword-only, optional
        Called as each file is stored, before its entry, with the numbers of bytes that are done and in all.

    Yields
    ------
    Outcome
        One for each file, in their order, once the entry that saved it is durable.

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
    made: list[int] = []
    known: list[int] = []
    saving = _Saving(pool, tag=tag, name=name, force=force, truncate=truncate, stored=_count(files, progress))
    with PixelStage(pool, pixels) as stage, closing(saving.run(files, stage, jobs, executor)) as outcomes:
        for outcome in outcomes:
            if outcome.urn is not None:
                (known if outcome.status == "unchanged" else made).append(Urn.parse(outcome.urn).serial)
            yield outcome
    kept = [ProductRefs([(pool, serial) for serial in serials]) for serials in (made, known)]
    pool.again(lambda: save.keep_exposures(pool, *kept))


def _count(files: Sequence[Path], progress: Callable[[int, int], None] | None) -> Callable[[], None]:
    """Give what is called as each file is stored, in their order: it says how many bytes are done."""
    if progress is None:
        return lambda: None
    sizes = [_size(path) for path in files]
    total, done = sum(sizes), accumulate(sizes)
    return lambda: progress(next(done), total)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # said when its turn comes


class _Saving:
    """The files of one call become versions, many by one entry."""

    def __init__(
        self,
        pool: Core,
        *,
        tag: str | None,
        name: str | None,
        force: bool,
        truncate: bool,
        stored: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._stored = stored
        self._tag = tag
        self._name = name
        self._force = force
        self._truncate = truncate

    def run(
        self, files: Sequence[Path], stage: PixelStage, jobs: int | None, executor: Executor | None
    ) -> Generator[Outcome]:
        """Save the files; give what they come to, in their order, once it is durable."""
        options: dict[str, Any] = {"name": self._name, "force": self._force, "truncate": self._truncate}
        with ExitStack() as stack:
            ticket = stack.enter_context(self._pool.archive.notes.run())
            batch = Batch(self._pool, self._read, tag=self._tag, force=self._force)
            stack.callback(batch.load.close)
            turns = Turns(self._pool, files, pixels=stage.wanted, ticket=ticket, **options)
            workers = StoringWorkers.wanted(self._pool, files, jobs, executor)
            if workers is not None:
                stack.enter_context(closing(workers))
            coming = turns.here(batch.load.gathering) if workers is None else turns.ahead(workers)
            for turn in stack.enter_context(closing(coming)):
                if turn is None or not batch.takes(turn):
                    yield from self._commit(batch, turns, stage)
                if turn is not None:
                    batch.add(turn)
                    self._stored()
                if batch.load.is_due:
                    yield from self._commit(batch, turns, stage)
            yield from self._commit(batch, turns, stage)

    def _commit(self, batch: Batch, turns: Turns, stage: PixelStage) -> Iterator[Outcome]:
        results = batch.commit()
        saved = {turn.path: result for turn, result in results if isinstance(result, Saved)}
        for turn, result in results:
            new = isinstance(result, Saved) and result.status != "unchanged"
            turns.close(turn, result.row if isinstance(result, Saved) and new else None)
        refused = stage.add([s.row for s in saved.values() if s.status != "unchanged" or not turns.is_settled(s.row)])
        for turn, result in results:
            if isinstance(result, Saved):
                yield _outcome(self._pool, turn, result, refused.get(result.row.serial))
            else:
                yield _failure(self._pool, turn.path, result)

    def _read(self, turn: Turn) -> Saved:
        """Save a file from the beginning to the end in this thread."""
        product = save.read(turn.path, name=self._name, truncate=self._truncate)
        return save.commit(self._pool, product, tag=self._tag, force=self._force)


def _failure(pool: Core, path: Path, error: Exception) -> Outcome:
    """Say why a file was not saved. Without a pool no file can be saved."""
    pool.archive.confirm()
    if isinstance(error, FileMissing) and glob.has_magic(str(path)):
        error = FileMissing(f"no FITS file matches {path}; check the name")
    elif isinstance(error, OSError):
        error = storage_error(error, path)
    elif not isinstance(error, MiripoolError):
        _log.debug("%s could not be saved", path, exc_info=error)
        error = MiripoolError(f"{path}: internal error, please report it: {type(error).__name__}: {error}")
    traceback.clear_frames(error.__traceback__)  # they hold the file open, and arrays
    return Outcome(path, "failed", message=str(error), error=error)


def _outcome(pool: Core, turn: Turn, saved: Saved, refused: str | None) -> Outcome:
    row = saved.row
    notices = (saved.notice, _way_back(pool, saved), save.doubt_kind(pool, saved), refused)
    notice = "; ".join(filter(None, notices)) or None
    urn = str(Urn(pool.name, row.kind, row.serial))
    return Outcome(turn.path, saved.status, turn.size, saved.stored_bytes, urn, row.version, notice)


def _way_back(pool: Core, saved: Saved) -> str | None:
    """Give the command that brings a version of the same data back from the trash."""
    if saved.trashed is None:
        return None
    version = f"{saved.row.kind}/{saved.row.name}@{saved.trashed}"
    return f"`{shlex.join(['miripool', 'restore', pool.name, version])}` brings it back"


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
