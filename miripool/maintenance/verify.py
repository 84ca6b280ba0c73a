"""Verify: whether a pool is whole, folder against index and index against folder; nothing is changed."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import IntegrityError, MiripoolError, NotFound, ReadOnly
from ..index import Interrupt
from ..index import pixels as rows
from ..index.pixelset import pixel_set_of
from ..model.names import Urn
from ..model.statistics import agree
from ..pixels.data import first_disagreement
from ..pool.core import core_of
from ..store.arrays.digest import LARGE_BYTES
from ..store.journal import purged_serials
from ..store.poolfolder import list_folder
from ..system.scratch import Room
from ..system.threads import map_bounded, one_of_many
from .gc import referenced_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..index import ProductRow
    from ..index.pixels import SetRow
    from ..pool.core import Core, HasCore
    from ..store.journal import Entry, Save
    from ..store.manifest import BlobRef, HduRecord, Manifest

__all__ = ["LEVELS", "Finding", "Report", "verify"]

LEVELS = ("quick", "normal", "full")
"""Names and manifests only; every blob opened, too; every array read and held against its digest and statistics."""

_SAMPLES = 3
"""Pixels of each set whose rows are held against the arrays."""


_Array = tuple["BlobRef", "HduRecord | None"]
"""An array, and the HDU that has its statistics."""

_OTHER_BYTES = "has other bytes than were written; its arrays are whole, and `miripool repair` mends the file"

_MOST_NAMED = 100
"""Files that are none of the pool's, each of which is named."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that `verify` found wrong, or worth a note.

    Attributes
    ----------
    what : str
        ``journal``, ``manifest``, ``blob``, ``index`` or ``pixels``; ``note`` for something harmless.
    where : str
        File, table or URN.
    problem : str
        What is wrong, and what to do.
    urns : tuple of str
        Versions that are concerned.
    """

    what: str
    where: str
    problem: str
    urns: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """What `verify` looked at, and what it found.

    Attributes
    ----------
    level : str
        One of `LEVELS`.
    findings : list of Finding
        In the order in which they were found.
    entries, versions, manifests, blobs, pixel_sets : int
        How many were looked at.
    without_pixel_rows : int
        Living versions that have no pixel rows in the index; no damage, for they can be made.
    bytes_read : int
        Of arrays.
    unreferenced : int
        Number of blobs and manifests that belong to no version: killed writers left them.
    unreferenced_bytes : int
        Their size.
    seconds : float
        How long it took.
    """

    level: str
    findings: list[Finding] = field(default_factory=list)
    entries: int = 0
    versions: int = 0
    manifests: int = 0
    blobs: int = 0
    pixel_sets: int = 0
    without_pixel_rows: int = 0
    bytes_read: int = 0
    unreferenced: int = 0
    unreferenced_bytes: int = 0
    seconds: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether nothing harmful was found."""
        return all(finding.what == "note" for finding in self.findings)

    def add(self, what: str, where: str, problem: object, urns: Sequence[str] = ()) -> None:
        """Write down a finding.

        Parameters
        ----------
        what, where, problem, urns : object
            As in `Finding`.
        """
        self.findings.append(Finding(what, where, str(problem), tuple(urns)))

    def to_json(self) -> dict[str, Any]:
        """Give the report as a dictionary that JSON can hold.

        Returns
        -------
        dict
            An item for each attribute, and ``whole``.
        """
        counts = {name: getattr(self, name) for name in self.__slots__ if name != "findings"}
        listed = [{"what": f.what, "where": f.where, "problem": f.problem, "urns": list(f.urns)} for f in self.findings]
        return {"whole": self.is_whole, **counts, "findings": listed}


def verify(
    pool: HasCore,
    refs: Sequence[ProductRow] = (),
    *,
    level: str = "normal",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check whether a pool is whole. Others may write meanwhile.

    Parameters
    ----------
    pool : Pool or Core
        The pool.
    refs : sequence of ProductRow, optional
        Check these versions only; the whole pool unless given.
    level : str, keyword-only
        One of `LEVELS`.
    progress : callable, keyword-only, optional
        Called with the number of blobs that are done and their total; at level ``full`` with bytes instead.

    Returns
    -------
    Report
        With all that was found.
    """
    start = time.monotonic()
    report = Report(level)
    _Verification(core_of(pool), report, {row.serial for row in refs}, progress).run()
    report.seconds = time.monotonic() - start
    return report


class _Verification:
    def __init__(
        self, pool: Core, report: Report, chosen: set[int], progress: Callable[[int, int], None] | None
    ) -> None:
        self.pool = pool
        self.archive = pool.archive
        self.report = report
        self.chosen = chosen
        self.progress = progress
        self.manifests: dict[str, Manifest] = {}
        self.room = Room(LARGE_BYTES)

    def run(self) -> None:
        entries = self._journal()
        saves = [save for entry in entries for save in entry.saves]
        if self.chosen:
            saves = [save for save in saves if save.serial in self.chosen]
        self.report.versions = len(saves)
        self._manifests(saves)
        purged = purged_serials(entries)
        with self._index_meanwhile(entries) as index:
            self._blobs([save for save in saves if save.serial not in purged])
            if not self.chosen and not self.report.findings:  # else what damaged manifests refer to would seem unused
                self._leftovers()
            is_there = index()
        if is_there:
            self._pixels([save.serial for save in saves])

    @contextlib.contextmanager
    def _index_meanwhile(self, entries: Sequence[Entry]) -> Iterator[Callable[[], bool]]:
        """Look at the index while blobs are read: the server works at that, and this process waits for it.

        What is given waits for the end, adds what was found, and tells whether the index is there to be asked more.
        """
        if self.report.level == "quick":
            yield lambda: False
            return
        beside = copy.copy(self)
        beside.report = Report(self.report.level)
        stop = Interrupt()

        def look() -> bool:
            with stop:
                return beside._whole_index(entries)

        def wait() -> bool:
            is_there = looking.result()
            self.report.findings += beside.report.findings
            self.report.without_pixel_rows = beside.report.without_pixel_rows
            return is_there

        with ThreadPoolExecutor(1) as executor:
            # In this thread's context: who stops the one stops the other.
            looking = executor.submit(contextvars.copy_context().run, look)
            try:
                yield wait
            except BaseException:
                stop.now("the verification was stopped")
                raise

    def _whole_index(self, entries: Sequence[Entry]) -> bool:
        """Bring the index up to the journal, and hold all of it against the folder; tell whether it is there."""
        try:
            self.pool.catch_up()
        except MiripoolError as error:
            self.report.add("index", "state", error)
            return False
        if not self.chosen:
            self._index(entries)
            self._server()
            missing = rows.missing(self.pool.catalog.database, self.pool.pixel_rows.policy)
            self.report.without_pixel_rows = sum(missing.values())
        return True

    def _journal(self) -> list[Entry]:
        entries: list[Entry] = []
        try:
            entries.extend(self.archive.journal.since(-1, None))
        except MiripoolError as error:
            self.report.add("journal", f"after entry {len(entries) - 1}", error)
        self.report.entries = len(entries)
        return entries

    def _urn(self, save: Save) -> str:
        return str(Urn(self.pool.name, save.kind, save.serial))

    def _manifests(self, saves: Sequence[Save]) -> None:
        users: dict[str, list[Save]] = {}
        for save in saves:
            users.setdefault(save.manifest, []).append(save)
        for digest, of in users.items():
            key = self.archive.manifest_key(digest)
            try:
                manifest = self.archive.read_manifest(digest)
            except MiripoolError as error:
                self.report.add("manifest", key, error, [self._urn(save) for save in of])
                continue
            self.manifests[digest] = manifest
            wrong = [save for save in of if (save.kind, save.name) != (manifest.kind, manifest.name)]
            if wrong:
                problem = f"describes {manifest.kind}/{manifest.name}, not {wrong[0].kind}/{wrong[0].name}"
                self.report.add("manifest", key, problem, [self._urn(save) for save in wrong])
        self.report.manifests = len(users)

    def _manifest(self, digest: str) -> Manifest:
        """Give a manifest that was read, or one that came meanwhile."""
        return self.manifests.get(digest) or self.archive.read_manifest(digest)

    def _blobs(self, saves: Sequence[Save]) -> None:
        files: dict[str, dict[str, _Array]] = {}
        users: dict[str, list[Save]] = {}
        for save in saves:
            manifest = self.manifests.get(save.manifest)
            if manifest is None:
                continue
            for hdu in manifest.hdus:
                if hdu.data is not None:
                    files.setdefault(hdu.data.blob, {}).setdefault(hdu.data.digest, (hdu.data, hdu))
            for ref in manifest.blobs():
                files.setdefault(ref.blob, {}).setdefault(ref.digest, (ref, None))
                users.setdefault(ref.blob, []).append(save)
        full = self.report.level == "full"
        weights = {name: sum(ref.nbytes for ref, _ in arrays.values()) if full else 1 for name, arrays in files.items()}
        done, total = 0, sum(weights.values())
        # The largest first: those that are left in the end keep all cores at work.
        largest_first = sorted(files, key=weights.__getitem__, reverse=True)
        looked = map_bounded(self._check_blob, [list(files[name].values()) for name in largest_first])
        for name, problem, size in looked:
            self.report.bytes_read += size
            done += weights[name]
            if problem is not None and (of := self._not_given_up(users[name])):
                urns = sorted({self._urn(save) for save in of})
                self.report.add("blob", self.archive.blobs.key(name), problem, urns)
            if self.progress is not None:
                self.progress(done, total)
        self.report.blobs = len(files)

    def _not_given_up(self, saves: Sequence[Save]) -> list[Save]:
        """Leave out what was purged since the journal was read: its blobs may be gone."""
        try:
            purged = purged_serials(self.archive.journal.since(-1, None))
        except MiripoolError:
            return list(saves)  # the journal was reported
        return [save for save in saves if save.serial not in purged]

    def _check_blob(self, arrays: Sequence[_Array]) -> tuple[str, str | None, int]:
        """Look at the arrays of one blob; give its name, what is wrong, and how many bytes were read."""
        problems: dict[str, None] = {}  # in order
        size = 0
        with one_of_many():
            for ref, hdu in arrays:
                try:
                    problem, read = self._look(ref, hdu)
                except MiripoolError as error:
                    problem, read = str(error), 0
                size += read
                if problem is not None:
                    problems[problem] = None
            refs = [ref for ref, _ in arrays]
            if not problems and refs[0].bundle is not None and not self._is_as_written(refs):
                problems[_OTHER_BYTES] = None
        return refs[0].blob, "; ".join(problems) or None, size

    def _is_as_written(self, refs: Sequence[BlobRef]) -> bool:
        """Look at what the file of a bundle has besides its arrays; in full, whether HDF5 finds them there."""
        if self.report.level == "quick":
            return True
        blobs = [self.archive.blobs.open(ref) for ref in refs]
        return blobs[0].is_sound() and (self.report.level != "full" or all(blob.is_sound_itself() for blob in blobs))

    def _look(self, ref: BlobRef, hdu: HduRecord | None) -> tuple[str | None, int]:
        if self.report.level == "quick":
            lost = [digest for digest in self.archive.blobs.family(ref) if not self.archive.blobs.exists(digest)]
            if lost:
                what = "is missing" if lost == [ref.digest] else f"needs {', '.join(lost)}, which is missing"
                return f"{what}; restore it from a copy of the pool", 0
            return None, 0
        blob = self.archive.blobs.open(ref)
        if self.report.level != "full":
            blob.check()
            return None, 0
        is_consistent = ref.bundle is not None or blob.check_with_list()  # the file of a bundle is looked at as a whole
        numeric = hdu is not None
        scale = hdu.scale if hdu is not None else None
        flags = hdu is not None and hdu.statistics is not None and hdu.statistics.n_flagged is not None
        found, statistics = self.archive.blobs.reread(blob, self.room, scale=scale, flags=flags, numeric=numeric)
        size = ref.nbytes
        if found != ref.digest:
            return f"is damaged: its array has the digest {found}; restore it from a copy of the pool", size
        if not is_consistent:
            return (
                "lists its tiles in two ways that differ; its array is whole, and `miripool repair` mends the file",
                size,
            )
        if hdu is not None and not agree(hdu.statistics, statistics):
            return f"has the statistics {statistics}, but the manifest says {hdu.statistics}", size
        return None, size

    def _leftovers(self) -> None:
        """Count what no version refers to, nor a writer is about to."""
        storage = self.archive.storage
        listed = list_folder(storage)
        self._unknown(listed.unknown)
        there = listed.keys
        try:
            spared = self.archive.notes.pending()
        except IntegrityError as error:
            self.report.add("note", "pending", error)
            return
        try:  # read last: what was written meanwhile is used by now, or pending
            used = set(referenced_keys(self.archive, list(self.archive.journal.since(-1, None)), lenient=True))
        except MiripoolError:
            return  # nobody can tell; the journal was reported
        for key in there:
            if key in used or key in spared:
                continue
            with contextlib.suppress(NotFound):  # collected meanwhile
                self.report.unreferenced_bytes += storage.status(key).size
                self.report.unreferenced += 1
        if self.report.unreferenced:
            what = f"{self.report.unreferenced} files, {self.report.unreferenced_bytes} bytes, belong to no version"
            self.report.add(
                "note", "blobs and manifests", f"{what}: interrupted saves left them; `miripool gc` deletes them"
            )

    def _unknown(self, names: Sequence[str]) -> None:
        for name in names[:_MOST_NAMED]:
            self.report.add("note", name, "does not belong to a pool; miripool leaves it alone; check what it is")
        if len(names) > _MOST_NAMED:
            rest = f"has {len(names) - _MOST_NAMED} more that do not belong to a pool; `miripool gc --dry-run --json`"
            self.report.add("note", "the pool's folder", f"{rest} names them all")

    def _index(self, entries: Sequence[Entry]) -> None:
        """Make the index again beside the one there is, from the folder alone, and compare them."""
        try:
            n, differences = self.pool.catalog.compare_with(
                self.archive.journal.since, self._manifest, first_serial=self.archive.info.first_serial
            )
        except ReadOnly as error:
            self.report.add("note", "index", f"was not compared with the folder: {error}")
            return
        except (IntegrityError, NotFound) as error:
            self.report.add("index", "journal", error)
            return
        for table, problem in differences:
            self.report.add("index", table, f"{problem}; `miripool reindex {self.pool.name}` makes the index again")
        if n < len(entries) - 1:
            self.report.add("index", "state", f"has entries of the journal up to {n}, not up to {len(entries) - 1}")

    def _server(self) -> None:
        found = self.pool.catalog.left_over_files()
        if found is not None:
            folder, number, size = found
            problem = (
                f"{number} files, {size} bytes, are left of tables that a killed server did not finish; nothing "
                "refers to them, and PostgreSQL does not delete them"
            )
            self.report.add("note", f"PostgreSQL's {folder}", problem)

    def _pixels(self, serials: Sequence[int]) -> None:
        """Count the pixel rows of each version, and hold some of them against the arrays."""
        catalog = self.pool.catalog
        found = rows.sets_of(catalog.database, serials)
        versions = {row.serial: row for row in catalog.rows([s.serial for s in found])}
        wrong = [s for s in found if s.serial not in versions or versions[s.serial].kind != s.kind]
        for s in wrong:
            self.report.add(
                "pixels", f"set {s.set_id}", f"is of kind {s.kind}, but version {s.serial} is not; {self._anew}"
            )
        found = [s for s in found if s not in wrong]
        counts = rows.count_rows(catalog.database, {s.set_id: s.kind for s in found})
        seen: Counter[int] = Counter()
        samples = _SAMPLES * (5 if self.report.level == "full" else 1)
        for s in found:
            version = versions[s.serial]
            urn = str(Urn(self.pool.name, version.kind, version.serial))
            seen[s.set_id] += 1
            problem = self._describe_set(s, version)
            if problem is None and seen[s.set_id] > 1:
                continue
            expected = s.placement.rows * s.placement.columns
            if problem is None and counts.get(s.set_id, 0) != expected:
                problem = f"has {counts.get(s.set_id, 0)} pixel rows, not {expected}"
            if problem is None:
                problem = self._sample(s, version, samples)
            if problem is not None and any(
                s.set_id == now.set_id for now in rows.sets_of(catalog.database, [s.serial])
            ):
                self._report_pixels(urn, problem)
        self.report.pixel_sets = len(seen)

    def _describe_set(self, s: SetRow, version: ProductRow) -> str | None:
        """Hold what the index says of a pixel set against the version's manifest."""
        try:
            described = pixel_set_of(self._manifest(version.manifest))
        except MiripoolError:
            return None  # the manifest was reported
        told = (
            None if described is None else (described.digest, described.placement, described.nints, described.ngroups)
        )
        if told != (s.digest, s.placement, s.nints, s.ngroups):
            return "has pixel rows whose description does not match its arrays"
        return None

    def _sample(self, s: SetRow, version: ProductRow, number: int) -> str | None:
        """Hold some rows against the arrays; give what differs."""
        generator = random.Random()  # noqa: S311 - which pixels are looked at is no secret, and others each time
        where = s.placement
        places = [
            (where.x + generator.randrange(where.columns), where.y + generator.randrange(where.rows))
            for _ in range(number)
        ]
        try:
            found = first_disagreement(self.pool, version, s, places)
        except IntegrityError:
            return None  # the blob was reported
        except NotFound as error:
            return str(error)
        if found is None:
            return None
        x, y = found
        return f"has other values in the pixel row of x={x}, y={y} than in its arrays"

    @property
    def _anew(self) -> str:
        return f"`miripool index drop`, then `miripool index pixels {self.pool.name}`, make them again"

    def _report_pixels(self, urn: str, problem: str) -> None:
        self.report.add("pixels", urn, f"{problem}; {self._anew}", [urn])
