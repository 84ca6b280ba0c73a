"""Repair: heal what can be healed, from copies; set aside what can't, and lose nothing more."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FileMissing, IntegrityError, MiripoolError, NotFound
from ..formats import read_fits
from ..model.canonical import digest_bytes
from ..model.names import Urn
from ..pool.core import core_of
from ..store.archive import Archive
from ..store.arrays.blob import Blob
from ..store.arrays.delta import may_share
from ..store.journal import Entry, Journal
from ..store.manifest import BlobRef, Manifest
from ..store.storage import storage_at
from .verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..model.dataset import ArraySource
    from ..pool.core import Core, HasCore
    from ..store.journal import Save

__all__ = ["RepairStep", "repair"]


@dataclass(frozen=True, slots=True)
class RepairStep:
    """One step of a repair, done or, in a dry run, proposed.

    Attributes
    ----------
    what : str
        ``journal``, ``manifest``, ``blob``, ``index`` or ``pixels``; ``note`` for something that is only reported.
    where : str
        File, table or URN.
    action : str
        What was done, or would be done.
    healed : bool
        Whether it is whole afterwards.
    urns : tuple of str
        Versions that are concerned.
    """

    what: str
    where: str
    action: str
    healed: bool
    urns: tuple[str, ...] = ()


@dataclass(slots=True)
class _Sources:
    """Where lost files may be found: folders of pools, and FITS files."""

    pools: list[Archive] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    candidates: list[Path] = field(default_factory=list)
    arrays: dict[str, tuple[BlobRef, ArraySource, Path]] = field(default_factory=dict)
    placed: dict[str, dict[str, dict[str, BlobRef]]] = field(default_factory=dict)

    @classmethod
    def of(cls, paths: Sequence[Path]) -> _Sources:
        found = cls()
        for path in paths:
            if (path / "pool.json").is_file():
                found.pools.append(Archive.open(storage_at(str(path))))
            elif path.is_dir():
                found.files += sorted(p for p in path.rglob("*") if p.name.lower().endswith((".fits", ".fits.gz")))
            elif path.is_file():
                found.files.append(path)
            else:
                raise FileMissing(f"there is no {path} to restore from")
        found.candidates = list(found.files)
        return found

    def blob(self, archive: Archive, ref: BlobRef) -> tuple[ArraySource, str] | None:
        """Find an array, checked against its digest."""
        for other in self.pools:
            for place in self._places(other, ref):
                blob = other.blobs.open(place)
                try:
                    if other.blobs.measure(blob, numeric=False)[0].digest == ref.digest:
                        return blob, blob.where
                except MiripoolError:
                    continue
        while ref.digest not in self.arrays and self.files:
            self._measure(archive, self.files.pop(0))
        if ref.digest in self.arrays:
            _, source, path = self.arrays[ref.digest]
            return source, str(path)
        return None

    def _places(self, other: Archive, ref: BlobRef) -> Iterator[BlobRef]:
        """Give where another pool may have an array: where this one has it, then where its manifests say."""
        yield ref
        if may_share(ref.shape, ref.dtype):
            return
        if other.place not in self.placed:
            self.placed[other.place] = {}
            for key in other.storage.keys("manifests"):
                with contextlib.suppress(MiripoolError):  # it is no use to us
                    for found in other.read_manifest(key.rpartition("/")[2].removesuffix(".json")).blobs():
                        self.placed[other.place].setdefault(found.digest, {})[found.blob] = found
        yield from self.placed[other.place].get(ref.digest, {}).values()

    def _measure(self, archive: Archive, path: Path) -> None:
        try:
            product = read_fits(path)
        except MiripoolError:
            return  # it is no use to us
        if product.layout is not None:
            for ref, source in archive.measure(product.layout).sources.values():
                self.arrays.setdefault(ref.digest, (ref, source, path))

    def manifest(self, archive: Archive, digest: str, kind: str, name: str) -> tuple[bytes, str] | None:
        """Find the file that a version was saved from, and make its manifest again."""
        for path in self.candidates:
            try:
                product = read_fits(path, kind=kind, name=name)
                if product.layout is None:
                    continue
                measured = archive.measure(product.layout)
            except MiripoolError:
                continue  # it is no use to us
            for bundled in (False, True):  # not before folder format 4
                if bundled:
                    measured.bundle()
                made = Manifest(
                    kind, name, tuple(measured.hdus), measured.trailer, product.layout.origin, (), measured.original
                ).to_bytes()
                if digest_bytes(made) == digest:
                    return made, str(path)
        return None

    def read(self, key: str, check: Callable[[bytes], object]) -> tuple[bytes, str] | None:
        """Find a file of a pool's folder that passes a check."""
        for other in self.pools:
            try:
                data = other.storage.read(key)
                check(data)
            except MiripoolError:
                continue
            return data, other.storage.name(key)
        return None


def repair(
    pool: HasCore,
    sources: Sequence[Path] = (),
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[RepairStep]:
    """Repair a pool.

    Parameters
    ----------
    pool : Pool or Core
        The pool.
    sources : sequence of Path, optional
        Folders of pools (a copy of this one, or another that has the same data), FITS files, folders of FITS files.
    dry_run : bool, keyword-only
        Change nothing, only report what would be done.
    progress : callable, keyword-only, optional
        As for `miripool.maintenance.verify.verify`.

    Returns
    -------
    list of RepairStep
        Empty if the pool is whole. Steps that could not be healed have ``healed = False``.

    Raises
    ------
    FileMissing
        If a source is not there.
    """
    return list(_Repair(core_of(pool), _Sources.of(sources), dry_run, progress).run())


@dataclass(slots=True)
class _Repair:
    pool: Core
    sources: _Sources
    dry_run: bool
    progress: Callable[[int, int], None] | None

    def run(self) -> Iterator[RepairStep]:
        # In the order of what stands on what: a blob is known by its manifest, a manifest by the journal.
        journal = list(self._journal())
        yield from journal
        yield from self._manifests()
        report = verify(self.pool, level="full", progress=self.progress)
        refs = self._refs()
        damaged = [finding for finding in report.findings if finding.what == "blob"]
        for finding in sorted(damaged, key=lambda finding: self._needs_others(refs[finding.where][0])):
            held = refs[finding.where]
            if held[0].bundle is None:
                yield self._blob(finding.where, held[0], finding.urns)
            else:
                yield self._bundle(finding.where, held, finding.urns)
        whole = all(step.healed for step in journal)
        index = [finding for finding in report.findings if finding.what in ("index", "pixels")]
        if index and whole and not self.dry_run:
            self.pool.reindex()
            self.pool.pixel_rows.make_pending()
        for finding in index:
            action = f"the index is made again {'from the folder' if whole else 'once the journal is whole'}"
            yield RepairStep(finding.what, finding.where, action, whole, finding.urns)
        for finding in report.findings:
            if finding.what == "note":
                yield RepairStep("note", finding.where, f"left alone: {finding.problem}", True)

    def _journal(self) -> Iterator[RepairStep]:
        """Put back entries that are lost or damaged, as long as a copy has the very ones that were there."""
        journal = self.pool.archive.journal
        position = self.pool.index_position()
        last = max(journal.newest(), -1 if position is None else position.n)
        there: dict[int, Entry] = {}
        problems: dict[int, str] = {}
        for n in range(last + 1):
            try:
                there[n] = journal.read(n)
            except MiripoolError as error:
                problems[n] = str(error)
        known = {} if position is None or position.digest is None else {position.n: position.digest}
        # What follows says what an entry was: a copy that went another way since has others of the same numbers.
        known |= {n - 1: entry.previous for n, entry in there.items() if entry.previous is not None}
        previous: str | None = None
        for n in range(last + 1):
            if n not in problems:
                if there[n].previous != previous:
                    yield RepairStep("journal", journal.key(n), "does not follow from the entry before it", False)
                    return
                previous = there[n].digest
                continue
            check = functools.partial(_check_entry, n, previous, known.get(n))
            copy = self.sources.read(journal.key(n), check)
            if copy is None:
                yield RepairStep("journal", journal.key(n), f"{problems[n]}; no source has it", False)
                return
            if not self.dry_run:
                self._set_aside(journal.key(n))
                self._put(journal.key(n), copy[0])
            previous = Entry.from_bytes(copy[0], journal.key(n)).digest
            yield RepairStep("journal", journal.key(n), f"restored from {copy[1]}", True)

    def _manifests(self) -> Iterator[RepairStep]:
        archive = self.pool.archive
        for digest, saves in self._digests().items():
            try:
                archive.read_manifest(digest)
                continue
            except MiripoolError as error:
                problem = str(error)
            key = archive.manifest_key(digest)
            urns = tuple(str(Urn(self.pool.name, save.kind, save.serial)) for save in saves)
            check = functools.partial(_check_manifest, digest)
            copy = self.sources.read(key, check) or self.sources.manifest(archive, digest, saves[0].kind, saves[0].name)
            if copy is None:
                yield RepairStep("manifest", key, f"{problem}; no source has it", False, urns)
                continue
            if not self.dry_run:
                self._set_aside(key)
                self._put(key, copy[0])
            yield RepairStep("manifest", key, f"restored from {copy[1]}", True, urns)

    def _digests(self) -> dict[str, list[Save]]:
        """Give the manifests of all versions, as far as the journal can be read."""
        found: dict[str, list[Save]] = {}
        with contextlib.suppress(MiripoolError):  # what is wrong with the journal was told
            for entry in self.pool.archive.journal.since(-1, None):
                for save in entry.saves:
                    found.setdefault(save.manifest, []).append(save)
        return found

    def _refs(self) -> dict[str, Sequence[BlobRef]]:
        """Give what each blob's key should hold."""
        archive = self.pool.archive
        found: dict[str, dict[str, BlobRef]] = {}
        for digest in self._digests():
            try:
                manifest = archive.read_manifest(digest)
            except MiripoolError:
                continue
            for ref in manifest.blobs():
                found.setdefault(archive.blobs.key(ref.blob), {})[ref.digest] = ref
        return {key: list(arrays.values()) for key, arrays in found.items()}

    def _bundle(self, key: str, refs: Sequence[BlobRef], urns: tuple[str, ...]) -> RepairStep:
        """Write a bundle again, of its arrays that are whole and those that a source has."""
        archive = self.pool.archive
        members: list[tuple[BlobRef, ArraySource]] = []
        whences: dict[str, None] = {}  # in order
        lost = []
        try:
            if all(map(self._is_whole, refs)) and archive.blobs.open(refs[0]).is_sound():
                return RepairStep("blob", key, "is whole: this time it could be read", True, urns)
            for ref in refs:
                if self._reads(ref):
                    members.append((ref, archive.blobs.open(ref)[...]))  # before it is set aside
                elif (found := self.sources.blob(archive, ref)) is not None:
                    members.append((ref, found[0]))
                    whences[found[1]] = None
                else:
                    lost.append(ref.digest)
        except MiripoolError as error:  # nobody knows whether it is damaged
            return RepairStep("blob", key, f"left alone: {error}", False, urns)
        if lost:
            there = not archive.storage.is_free(key)
            how = "left as it is: " if there else "is missing, and "
            return RepairStep("blob", key, f"{how}no source has {', '.join(lost)}", False, urns)
        aside = self._set_aside(key)
        if not self.dry_run:
            archive.blobs.write_bundle(members)
        whence = ", ".join(whences) or "its own arrays, which are whole"
        return RepairStep("blob", key, f"restored from {whence}{aside}", True, urns)

    def _blob(self, key: str, ref: BlobRef, urns: tuple[str, ...]) -> RepairStep:
        archive = self.pool.archive
        there = not archive.storage.is_free(key)
        try:
            whole = self._is_whole(ref)
            lost = [] if whole else self._lacks(ref)
        except MiripoolError as error:  # nobody knows whether it is damaged
            return RepairStep("blob", key, f"left alone: {error}", False, urns)
        if whole:
            return RepairStep("blob", key, "is whole: this time it could be read", True, urns)
        found = self.sources.blob(archive, ref)
        if found is None and lost:
            return RepairStep("blob", key, f"left as it is: it is sound, but needs {', '.join(lost)}", False, urns)
        if found is None and there and self._reads(ref):
            aside = self._set_aside(key)
            kept = key if self.dry_run else aside.rpartition(" ")[2]
            itself = Blob(archive.storage, ref, key=kept)
            found, whence = (itself, itself.where), "its own array, which is whole"
        else:
            whence = "" if found is None else found[1]
            aside = self._set_aside(key)
        if found is None:
            return RepairStep(
                "blob", key, f"no source has it{aside}" if there else "is missing, and no source has it", False, urns
            )
        if not self.dry_run:
            archive.blobs.write(ref, found[0])
        return RepairStep("blob", key, f"restored from {whence}{aside}", True, urns)

    def _needs_others(self, ref: BlobRef) -> bool:
        """Tell whether it takes other blobs to read one: those are healed first, and it may be whole then."""
        try:
            return len(self.pool.archive.blobs.family(ref)) > 1
        except MiripoolError:
            return True

    def _lacks(self, ref: BlobRef) -> list[str]:
        """Name the blobs that one needs and that are lost, if there is nothing wrong with its own file."""
        blobs = self.pool.archive.blobs
        try:
            blob = blobs.open(ref)
            owners = blob.owners()
            if not owners or not blob.is_sound_itself():
                return []
        except IntegrityError:
            return []
        return [digest for digest in owners if not self._is_whole(BlobRef(digest, ref.dtype, ref.shape))]

    def _is_whole(self, ref: BlobRef) -> bool:
        try:
            return self.pool.archive.blobs.is_whole(ref)
        except IntegrityError:
            return False

    def _reads(self, ref: BlobRef) -> bool:
        """Tell whether an array can be read as it was, whatever else is wrong with its file."""
        archive = self.pool.archive
        try:
            return archive.blobs.measure(archive.blobs.open(ref), numeric=False)[0].digest == ref.digest
        except MiripoolError:
            return False

    def _set_aside(self, key: str) -> str:
        """Move what is there out of the way, to a name that nothing else has; tell which."""
        storage = self.pool.archive.storage
        if storage.is_free(key):
            return ""
        name = key.rpartition("/")[2]
        aside, number = f"quarantine/{name}", 1
        while not storage.is_free(aside):
            aside, number = f"quarantine/{number}-{name}", number + 1
        if not self.dry_run:
            storage.set_aside(key, aside)
        return f"; what was there is set aside as {aside}"

    def _put(self, key: str, data: bytes) -> None:
        self.pool.archive.storage.replace(key, data)


def _check_entry(n: int, previous: str | None, digest: str | None, data: bytes) -> None:
    entry = Entry.from_bytes(data, Journal.key(n))
    if (entry.n, entry.previous) != (n, previous) or digest not in (None, entry.digest):
        raise NotFound(f"{Journal.key(n)} is of another journal")


def _check_manifest(digest: str, data: bytes) -> None:
    Manifest.from_bytes(data, digest)
