"""Reprocessing: raw products of a pool go through the pipeline, and the results come back as versions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, MiripoolError
from ..formats import read_fits, write_fits
from ..names import check_label
from ..workfolder import work_folder
from .run import Recipe, run_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from ..pool import Pool, Ready
    from ..reference import ProductRef

__all__ = ["Reprocessed", "reprocess"]


@dataclass(frozen=True, slots=True)
class Reprocessed:
    """What became of one raw product.

    Attributes
    ----------
    raw : ProductRef
        What was calibrated.
    refs : tuple of ProductRef
        Ramp, and RateInts or Rate; empty if it failed. Their `notice` says so where the result was there already.
    exposure : ProductRef or None
        The exposure's context, which refers to them; saved with them.
    error : MiripoolError or None
        Why it failed; nothing was saved then.
    """

    raw: ProductRef
    refs: tuple[ProductRef, ...] = ()
    exposure: ProductRef | None = None
    error: MiripoolError | None = None


def reprocess(
    pool: Pool,
    raws: Sequence[ProductRef],
    recipe: Recipe | None = None,
    *,
    tag: str | None = None,
    jobs: int = 1,
    pixels: bool | None = None,
    progress: Callable[[ProductRef, str], None] | None = None,
) -> Iterator[Reprocessed]:
    """Run the JWST pipeline's `Detector1Pipeline` on raw products; save ramp and rateints (or rate) of each together.

    Parameters
    ----------
    pool : Pool
        Theirs; gets the results.
    raws : sequence of ProductRef
        Of kind Raw.
    recipe : Recipe, optional
        How: context, references, steps.
    tag : str, keyword-only, optional
        Label for the results.
    jobs : int, keyword-only
        How many run at a time, each in a process of its own; some gigabytes of memory each.
    pixels : bool, keyword-only, optional
        As for `Pool.save`.
    progress : callable, keyword-only, optional
        Told the product and the step that begins; from other threads.

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
        if raw.kind != "Raw":
            raise InvalidInput(f"{raw.urn} is a {raw.kind}; the pipeline takes Raw products")
    if jobs < 1:
        raise InvalidInput(f"{jobs} jobs can't do anything; use 1 or more")
    if tag is not None:
        check_label(tag)
    recipe.check()

    turn = threading.Lock()

    def save(raw: ProductRef, ready: Sequence[Ready]) -> Sequence[ProductRef]:
        with turn:
            return pool.commit_together(ready, tag=tag, pixels=pixels, raw=raw)

    def one(raw: ProductRef) -> Reprocessed:
        try:
            *refs, exposure = _process(pool, raw, recipe, save, progress)
            return Reprocessed(raw, tuple(refs), exposure)
        except MiripoolError as error:
            return Reprocessed(raw, error=error)

    with ThreadPoolExecutor(jobs) as threads:
        running: list[Future[Reprocessed]] = [threads.submit(one, raw) for raw in raws]
        try:
            for future in running:
                yield future.result()
        finally:
            for future in running:
                future.cancel()


def _process(
    pool: Pool,
    raw: ProductRef,
    recipe: Recipe,
    save: Callable[[ProductRef, Sequence[Ready]], Sequence[ProductRef]],
    progress: Callable[[ProductRef, str], None] | None,
) -> Sequence[ProductRef]:
    with work_folder(pool.work_folder) as folder:
        path = write_fits(raw.product, folder / f"{raw.name}_uncal.fits", jwst=True)
        tell = None if progress is None else lambda step: progress(raw, step)
        run = run_pipeline(path, recipe, folder, name=f"{raw.name} ({raw.urn})", progress=tell)
        path.unlink()
        history = [
            {
                "tool": "jwst Detector1Pipeline",
                "version": run.version,
                "context": run.context,
                "parameters": recipe.parameters(),
                "references": run.references,
                "steps": run.steps,
                "inputs": [str(raw.urn)],
            }
        ]
        kinds = ["ramp", "rateints" if "rateints" in run.files else "rate"]
        products: list[Any] = [read_fits(run.files[kind]) for kind in kinds]
        return save(raw, [pool.read(product, name=raw.name, history=history) for product in products])
