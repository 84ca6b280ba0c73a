"""Reprocessing: raw products of a pool go through the pipeline, and the results come back as versions."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, MiripoolError
from ..formats import read_fits, write_fits
from ..model.kinds import sources
from ..model.names import check_label
from ..pool import save
from ..pool.core import core_of
from ..pool.prepared import ArraysElsewhere, prepare, write_ahead
from ..store.archive import archive_at
from ..system.threads import work_ahead, workers_of
from ..system.workfolder import work_folder
from .recipe import Recipe
from .run import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..index import ProductRow
    from ..model.product import Product
    from ..pool.core import Core, HasCore
    from ..pool.prepared import Prepared
    from ..pool.reference import ProductRef
    from ..pool.storing import Stored
    from ..store.notes import Ticket

__all__ = ["Reprocessed", "reprocess"]

_KINDS = ("ramp", "rateints", "rate")
"""Endings of the files that a run may give."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reprocessed:
    """Result of calibrating one raw product.

    Attributes
    ----------
    raw : ProductRef
        The raw product.
    refs : tuple of ProductRef
        Ramp, RateInts if the pipeline makes them, and Rate; empty if the calibration failed. The `notice` of a
        reference says if the result was already in the pool.
    exposure : ProductRef or None
        The `Exposure` context that refers to the results and is saved with them.
    error : MiripoolError or None
        Why the calibration failed; nothing was saved then.
    """

    raw: ProductRef
    refs: tuple[ProductRef, ...] = ()
    exposure: ProductRef | None = None
    error: MiripoolError | None = None


def reprocess(
    pool: HasCore,
    raws: Sequence[ProductRef],
    recipe: Recipe | None = None,
    *,
    tag: str | None = None,
    jobs: int = 1,
    executor: Executor | None = None,
    pixels: bool | None = None,
    progress: Callable[[ProductRef, str], None] | None = None,
) -> Iterator[Reprocessed]:
    """Run the JWST pipeline's `Detector1Pipeline` on raw products, and save the results of each together.

    The results are the ramp, the rate, and the rateints if the pipeline makes them. Together with the raw product they
    form a new version of its `Exposure`.

    Parameters
    ----------
    pool : Pool or Core
        The pool of the raw products, which also gets the results.
    raws : sequence of ProductRef
        Products of kind Raw.
    recipe : Recipe, optional
        CRDS context, reference files and steps.
    tag : str, keyword-only, optional
        Tag for the results.
    jobs : int, keyword-only
        Number of exposures processed in parallel, each in its own process with some gigabytes of memory.
    executor : concurrent.futures.Executor, keyword-only, optional
        Executor to use instead of `jobs` threads: a process pool, or Dask's ``client.get_executor()``. Other hosts must
        see the pool's folder, the reference files and the CRDS cache under the same paths; they need no database. If
        an executor fails on a product, e.g. because a process was killed, the product is calibrated in this process.
    pixels : bool, keyword-only, optional
        As for `Pool.save`.
    progress : callable, keyword-only, optional
        Called with the product and the step that begins, from other threads; not for processes of an executor.

    Yields
    ------
    Reprocessed
        One for each product, in their order. A failure of one does not stop the others.

    Raises
    ------
    InvalidInput
        If one of them is not Raw.
    FileMissing
        If a reference file or the CRDS cache is not there.
    """
    recipe = recipe or Recipe()
    for raw in raws:
        if raw.kind not in sources():
            raise InvalidInput(f"{raw.urn} is a {raw.kind}; the pipeline takes Raw products")
    if jobs < 1:
        raise InvalidInput(f"jobs is {jobs}; it must be 1 or more")
    if tag is not None:
        check_label(tag)
    recipe.check()

    core = core_of(pool)
    with ExitStack() as stack:
        folder = stack.enter_context(work_folder(core.work_folder))
        threads = executor or stack.enter_context(ThreadPoolExecutor(jobs))
        workers = stack.enter_context(Workers(recipe, folder))  # they end first, so that no thread waits for them
        work = _Work(core, recipe, workers, folder, tag, pixels, progress)
        if not isinstance(threads, ThreadPoolExecutor):
            yield from work.by_others(raws, threads)
            return
        running: list[Future[Reprocessed]] = [threads.submit(work.here, raw) for raw in raws]
        try:
            for future in running:
                yield future.result()
        finally:
            for future in running:
                future.cancel()


@dataclass(frozen=True, slots=True)
class _Job:
    """A raw product to be calibrated by another process.

    Attributes
    ----------
    place, pool_id : str
        As for `archive_at`.
    urn : str
        The raw product.
    row : ProductRow
        The same.
    recipe : Recipe
        With absolute paths.
    rows : tuple of ProductRow
        The living versions of its name.
    tickets : tuple of Ticket
        For the pending notes of what is made: one for each kind that may be.
    """

    place: str
    pool_id: str
    urn: str
    row: ProductRow
    recipe: Recipe
    rows: tuple[ProductRow, ...]
    tickets: tuple[Ticket, ...]


class _Work:
    """What is the same for all products of one call."""

    def __init__(
        self,
        pool: Core,
        recipe: Recipe,
        workers: Workers,
        folder: Path,
        tag: str | None,
        pixels: bool | None,
        progress: Callable[[ProductRef, str], None] | None,
    ) -> None:
        self.pool = pool
        self.recipe = recipe
        self.workers = workers
        self.folder = folder
        self.tag = tag
        self.pixels = pixels
        self.progress = progress
        self._turn = threading.Lock()

    def here(self, raw: ProductRef) -> Reprocessed:
        """Calibrate a product in a process of this host, and save what it gives."""
        tell = None if self.progress is None else partial(self.progress, raw)
        try:
            with _calibrated(self.workers, self.folder, raw.product, raw.name, str(raw.urn), self.recipe, tell) as made:
                products, history = made
                return self._save(raw, [save.read(p, name=raw.name) for p in products], history)
        except MiripoolError as error:
            return Reprocessed(raw, error=error)

    def _save(
        self, raw: ProductRef, made: Sequence[Product | Prepared], history: Sequence[Mapping[str, Any]] = ()
    ) -> Reprocessed:
        with self._turn:
            *refs, exposure = save.commit_together(
                self.pool, made, history=history, tag=self.tag, pixels=self.pixels, raw=raw
            )
        return Reprocessed(raw, tuple(refs), exposure)

    def by_others(self, raws: Sequence[ProductRef], executor: Executor) -> Iterator[Reprocessed]:
        """Have products calibrated by an executor; what they give is saved here, in their order."""
        count = 2 * workers_of(executor)
        with ExitStack() as stack:
            ticket = stack.enter_context(self.pool.archive.notes.run())
            jobs = ((raw, self._job(raw, tuple(ticket() for _ in _KINDS))) for raw in raws)
            running = work_ahead(jobs, lambda asked: _submitted(executor, asked[1]), count)
            for (raw, job), future in stack.enter_context(closing(running)):
                yield self._saved(raw, job, future)

    def _job(self, raw: ProductRef, tickets: tuple[Ticket, ...]) -> _Job:
        archive = self.pool.archive
        overrides = {kind: Path(path).absolute() for kind, path in self.recipe.overrides.items()}
        cache = self.recipe.cache
        recipe = replace(self.recipe, overrides=overrides, crds_path=None if cache is None else cache.absolute())
        self.pool.catch_up()
        rows = self.pool.catalog.living([raw.name])
        (row,) = self.pool.catalog.rows([raw.serial])
        return _Job(archive.place, self.pool.id, str(raw.urn), row, recipe, tuple(rows), tickets)

    def _saved(self, raw: ProductRef, job: _Job, future: Future[Stored]) -> Reprocessed:
        try:
            return self._save(raw, _made_by(future))
        except MiripoolError as error:
            return Reprocessed(raw, error=error)
        except ArraysElsewhere:
            pass  # they were there, and are gone since
        except Exception as error:  # the executor failed, or what is wrong comes to light again here
            _log.warning(
                "the worker of %s was lost, so it is calibrated here (%s: %s)", raw.urn, type(error).__name__, error
            )
        finally:
            for ticket in job.tickets:
                self.pool.archive.notes.withdraw(ticket)
        return self.here(raw)


def _made_by(future: Future[Stored]) -> tuple[Prepared, ...]:
    made = future.result()
    if made.error is not None:
        raise made.error
    return made.prepared


def _submitted(executor: Executor, job: _Job) -> Future[Stored]:
    try:
        return executor.submit(_calibrate_elsewhere, job)
    except BrokenExecutor as error:
        lost: Future[Stored] = Future()
        lost.set_exception(error)
        return lost


def _calibrate_elsewhere(job: _Job) -> Stored:
    """Calibrate a product in a process that works for another, and store the blobs of what it gives."""
    try:
        archive = archive_at(job.place, job.pool_id)
        raw = archive.product(archive.manifest(job.row.manifest), job.urn)
        prepared = []
        with (
            work_folder(archive.work_folder) as folder,
            Workers(job.recipe, folder) as workers,
            _calibrated(workers, folder, raw, job.row.name, job.urn, job.recipe, None) as (products, history),
            archive.gathering() as gathering,
        ):
            for product, ticket in zip(products, job.tickets, strict=False):  # there may be no rateints
                made = prepare(archive, product, name=job.row.name, history=history)
                write_ahead(archive, job.rows, made, ticket, gathering=gathering)
                made.measured.sources.clear()  # the files are gone in a moment
                prepared.append(made)
            gathering.settle()
    except MiripoolError as error:
        return Stored(error=error)
    return Stored(prepared=tuple(prepared))


@contextmanager
def _calibrated(
    workers: Workers,
    parent: Path,
    raw: Product,
    name: str,
    urn: str,
    recipe: Recipe,
    progress: Callable[[str], None] | None,
) -> Iterator[tuple[list[Product], list[dict[str, Any]]]]:
    """Calibrate a product; give what it gives, whose files are there as long as this lasts, and their history."""
    with work_folder(parent) as folder:
        path = write_fits(raw, folder / f"{name}_uncal.fits", jwst=True)
        run = workers.run(path, folder, name=f"{name} ({urn})", progress=progress)
        path.unlink()
        history = [
            {
                "tool": "jwst Detector1Pipeline",
                "version": run.version,
                "context": run.context,
                "parameters": recipe.parameters(),
                "references": run.references,
                "steps": run.steps,
                "inputs": [urn],
            }
        ]
        yield [read_fits(run.files[kind]) for kind in _KINDS if kind in run.files], history
