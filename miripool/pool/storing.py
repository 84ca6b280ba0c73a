"""Storing: the long part of a save, wherever it is done: in a thread, in another process, on another host.

A file is read through once for its digest. If that is a version's, nothing more is read of it; else it is parsed,
measured, compressed, and its blobs are stored. The index is not asked: what it has of the file's name goes with the
job. No array comes back, only the manifest and what else the journal entry needs, which the caller writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import IntegrityError, MiripoolError
from ..formats import classify, open_fits, read_fits, track_name
from ..model.product import Product
from ..store.archive import archive_at
from ..system.threads import one_of_many
from .prepared import from_file, prepare, write_ahead

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..formats import FitsFile
    from ..index import ProductRow
    from ..store.archive import Archive
    from ..store.notes import Ticket
    from ..store.storage.gathering import Gathering
    from .prepared import Prepared

__all__ = ["StoreJob", "Stored", "find_known", "store_elsewhere", "store_file", "store_files"]


@dataclass(frozen=True, slots=True)
class StoreJob:
    """A file to be stored; small, and can be sent to other processes and hosts.

    Attributes
    ----------
    path : Path
        Absolute: others may work in another folder.
    name : str or None
        Of the track, unless the file's name says it.
    force : bool
        Store it whatever is there.
    truncate : bool
        As for `Pool.save`.
    rows : tuple of ProductRow
        The living versions of its name, of all kinds, as they were a moment ago.
    ticket : Ticket
        The caller's, for the pending note.
    """

    path: Path
    name: str | None
    force: bool
    truncate: bool
    rows: tuple[ProductRow, ...]
    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Stored:
    """What a process did for another that is going to write the entry.

    Attributes
    ----------
    known : ProductRow or None
        The version that the file is, by its digest; it looks whole.
    prepared : tuple of Prepared
        What is to be saved; the blobs are in the pool unless it looks as if there were no need for them.
    error : Exception or None
        Why it failed.
    """

    known: ProductRow | None = None
    prepared: tuple[Prepared, ...] = ()
    error: Exception | None = None


def find_known(archive: Archive, job: StoreJob) -> ProductRow | Product:
    """Find the version that a file is, or read the file; no array is read.

    Parameters
    ----------
    archive : Archive
        The pool's folder.
    job : StoreJob
        What to look for.

    Returns
    -------
    ProductRow or Product
        The version, which looks whole; the product where the file is not in the pool, or its version is damaged, or
        `force` is asked for.

    Raises
    ------
    FileMissing, FormatError
        If the file can't be read.
    """
    file = open_fits(job.path)
    row = None if job.force else _version_of(archive, job, file)
    return read_fits(file, name=job.name, truncate=job.truncate) if row is None else row


def _version_of(archive: Archive, job: StoreJob, file: FitsFile) -> ProductRow | None:
    filename = file.origin.filename
    name = job.name or track_name(filename)
    for kind in {row.kind for row in job.rows if row.file_digest == file.origin.digest}:
        row = from_file(job.rows, file.origin, (kind, name))
        if row is None:
            continue
        try:
            manifest = archive.read_manifest(row.manifest)
        except IntegrityError:
            continue
        if manifest.original is not None and manifest.original.rest is not None and not job.truncate:
            continue  # without being asked to, nobody takes a file with frames missing
        # It may have been saved as another kind than it would be as a file of this name.
        layout = archive.product(manifest).layout
        if layout is not None and classify(layout, filename) == kind and archive.looks_whole(manifest):
            return row
    return None


def store_file(archive: Archive, job: StoreJob, gathering: Gathering) -> Stored:
    """Store the blobs and the manifest of a file, unless it is in the pool.

    Parameters
    ----------
    archive : Archive
        The pool's folder.
    job : StoreJob
        What to store.
    gathering : Gathering
        They are durable once it has settled.

    Returns
    -------
    Stored
        With an error if there was one: what is raised where this was called is the executor's own failure.
    """
    try:
        found = find_known(archive, job)
        if not isinstance(found, Product):
            return Stored(found)
        prepared = prepare(archive, found, name=found.name or "", history=())
        write_ahead(archive, job.rows, prepared, job.ticket, gathering=gathering, force=job.force)
        return Stored(prepared=(prepared,))
    except Exception as error:
        return Stored(error=error)


def store_files(archive: Archive, jobs: Sequence[StoreJob]) -> list[Stored]:
    """Store files, durably.

    Parameters
    ----------
    archive : Archive
        The pool's folder.
    jobs : sequence of StoreJob
        What to store.

    Returns
    -------
    list of Stored
        As from `store_file`, in that order.
    """
    try:
        with one_of_many(), archive.gathering() as gathering:
            stored = [store_file(archive, job, gathering) for job in jobs]
            gathering.settle()
            return stored
    except Exception as error:
        if len(jobs) == 1:
            return [Stored(error=error)]
    # The disk is full, say: what is smaller may fit.
    return [stored for job in jobs for stored in store_files(archive, [job])]


def store_elsewhere(place: str, pool_id: str, jobs: Sequence[StoreJob]) -> list[Stored]:
    """Store files in a process that works for another.

    Parameters
    ----------
    place, pool_id : str
        As for `archive_at`.
    jobs : sequence of StoreJob
        What to store.

    Returns
    -------
    list of Stored
        As from `store_files`, and without open files.
    """
    try:
        archive = archive_at(place, pool_id)
    except MiripoolError as error:
        return [Stored(error=error)] * len(jobs)
    stored = store_files(archive, jobs)
    for prepared in (p for one in stored for p in one.prepared):
        prepared.measured.sources.clear()  # where they are needed after all, the caller reads them again
    return stored
