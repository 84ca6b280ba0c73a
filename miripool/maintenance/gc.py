"""Collect: free what no version refers to, in no writer's way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import MiripoolError, NotFound
from ..store.journal import purged_serials
from ..store.notes import COLLECT_WITHIN
from ..store.poolfolder import list_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from ..store.archive import Archive
    from ..store.journal import Entry

__all__ = ["Collected", "collect", "referenced_keys"]

_AT_ONCE = 200
"""Files that one note names, so few that no writer has to wait for long until the note is removed."""

_OLD_FILE = 86400.0
"""Seconds after which a temporary file counts as left over."""


@dataclass(slots=True)
class Collected:
    """What `gc` deleted or, in a dry run, would delete.

    Attributes
    ----------
    files, bytes : int
        Blobs and manifests that no version refers to.
    temporary, temporary_bytes : int
        Unfinished files that killed writers left.
    notes : int
        Notes of processes that have ended.
    spared : int
        Files that were kept because a running writer needs them.
    names : list of str
        Keys of all these files and notes, without those that were kept.
    unknown : list of str
        Files and folders that do not belong to a pool; they are left alone.
    """

    files: int = 0
    bytes: int = 0
    temporary: int = 0
    temporary_bytes: int = 0
    notes: int = 0
    spared: int = 0
    names: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def collect(
    archive: Archive,
    *,
    dry_run: bool = False,
    without: Collection[int] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Collected:
    """Delete blobs and manifests that no version refers to, and what killed writers left.

    Versions in the trash keep theirs; those that were purged keep their manifests. Safe while others write.

    Parameters
    ----------
    archive : Archive
        The pool's folder.
    dry_run : bool, keyword-only
        Only tell what would go.
    without : collection of int, keyword-only
        For `dry_run`: as if these versions were purged.
    progress : callable, keyword-only, optional
        Told how many of how many files are done.

    Returns
    -------
    Collected
        What went.

    Raises
    ------
    IntegrityError
        If the journal, a manifest or a delta blob is damaged, so that it is not known which files are needed. Nothing
        was deleted.
    """
    found = Collected()
    storage, notes = archive.storage, archive.notes
    with archive.held():  # where its folder is away, all locks seem to be free
        dead = notes.dead() if dry_run else notes.sweep()
    found.notes = len(dead)
    found.names += dead
    listed = list_folder(storage)
    found.unknown = listed.unknown
    there = listed.keys
    entries = list(archive.journal.since(-1, None))
    used = set(referenced_keys(archive, entries, without=without if dry_run else ()))
    unused = [key for key in there if key not in used]
    pending = notes.pending(without=dead)
    found.spared = sum(key in pending for key in unused)
    candidates = [key for key in unused if key not in pending]
    last = entries[-1] if entries else None
    for start in range(0, len(candidates), _AT_ONCE):
        chunk = candidates[start : start + _AT_ONCE]
        if dry_run:
            found.files += len(chunk)
            found.bytes += sum(_size(archive, key) for key in chunk)
            found.names += chunk
            continue
        last = _delete(archive, chunk, last, found)
        if progress is not None:
            progress(min(start + _AT_ONCE, len(candidates)), len(candidates))
    for key in listed.temporaries:
        size = storage.discard(key, age=_OLD_FILE, dry_run=dry_run)
        if size is not None:
            found.temporary += 1
            found.temporary_bytes += size
            found.names.append(key)
    return found


def _delete(archive: Archive, chunk: Sequence[str], last: Entry | None, found: Collected) -> Entry | None:
    """Delete the files that are still not referred to; give the newest entry of the journal.

    The pool is not renamed meanwhile: where its folder is away, there seem to be no notes and no further entries.
    """
    with archive.held(), archive.notes.collecting(chunk) as ticket:
        begin = time.monotonic()
        # In this order: a writer's note goes when its entry is there.
        spared = archive.notes.pending()
        entries = list(archive.journal.since(*((-1, None) if last is None else (last.n, last.digest))))
        spared |= set(referenced_keys(archive, entries))
        for key in chunk:
            if key in spared:
                found.spared += 1
                continue
            if time.monotonic() - begin > COLLECT_WITHIN or not archive.notes.is_there(ticket):
                break  # stopped for long: a user may have removed the note, so that writers don't wait for it
            size = _size(archive, key)
            if archive.storage.delete(key):
                found.files += 1
                found.bytes += size
                found.names.append(key)
    return entries[-1] if entries else last


def referenced_keys(
    archive: Archive, entries: Sequence[Entry], *, without: Collection[int] = (), lenient: bool = False
) -> Iterable[str]:
    """Give the keys that the versions of some entries refer to.

    Parameters
    ----------
    archive : Archive
        The pool's folder.
    entries : sequence of Entry
        Of its journal.
    without : collection of int, keyword-only
        As if these versions were purged.
    lenient : bool, keyword-only
        Pass over manifests and delta blobs that are damaged.

    Yields
    ------
    str
        Manifests and blobs.

    Raises
    ------
    IntegrityError
        If a manifest, or a blob that may need others, is damaged.
    """
    purged = purged_serials(entries).union(without)
    kept: dict[str, bool] = {}
    for save in (save for entry in entries for save in entry.saves):
        kept[save.manifest] = kept.get(save.manifest, False) or save.serial not in purged
    for digest, has_blobs in kept.items():
        yield archive.manifest_key(digest)
        if not has_blobs:
            continue
        try:
            manifest = archive.read_manifest(digest)
        except MiripoolError:
            if not lenient:
                raise
            continue
        for ref in manifest.blobs():
            try:
                family = archive.blobs.family(ref)
            except MiripoolError:
                if not lenient:
                    raise
                family = (ref.blob,)
            yield from map(archive.blobs.key, family)


def _size(archive: Archive, key: str) -> int:
    try:
        return archive.storage.status(key).size
    except NotFound:
        return 0
