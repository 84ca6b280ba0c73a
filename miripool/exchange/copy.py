"""Transfer: versions of one pool become versions of another, with arrays, provenance and tags, each checked whole."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import Conflict, FormatError, IntegrityError, InvalidInput, MiripoolError
from ..formats import announced_bytes
from ..model.names import Urn, check_label
from ..model.product import Context, Product
from ..model.statistics import agree
from ..pool.batch import Load
from ..pool.commit import Committer
from ..pool.contexts import link_to, reached
from ..pool.core import core_of
from ..pool.decision import one_of_each_track
from ..pool.prepared import Prepared, prepare, prepare_context, write_ahead
from ..pool.reference import ProductRef
from ..pool.save import finish
from ..pool.saving import Saved, save_together
from ..store.journal import Tag
from ..system.folderlock import lock_folder, open_folder
from ..system.oserrors import storage_error
from ..system.workfolder import make_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from ..index import Position, ProductRow
    from ..model.product import Link
    from ..pool.core import Core, HasCore
    from ..pool.resolve import Reference
    from ..store.archive import Archive
    from ..store.journal import Action
    from ..store.manifest import HduRecord, Manifest
    from ..store.notes import Ticket

__all__ = ["Parcel", "PoolShelf", "Received", "Shelf", "receive"]

_log = logging.getLogger(__name__)

_WAIT = 300.0
"""Seconds to wait for another process that copies into the same pool."""

_WAITING = "another process is copying into pool %r; waiting until it is done, at most %.0f s"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A version that is to be sent.

    Attributes
    ----------
    serial, version : int
        Its numbers where it comes from.
    created : datetime
        When it was saved there; aware, UTC.
    tags : tuple of str
        Labels that mark it there.
    manifest : Manifest
        What it is.
    """

    serial: int
    version: int
    created: datetime
    tags: tuple[str, ...]
    manifest: Manifest


class Shelf(Protocol):
    """Where versions are taken from: a pool, or a file that `pack` wrote.

    Attributes
    ----------
    pool, pool_id : str
        Name and id of the pool they are of.
    """

    pool: str
    pool_id: str

    def __len__(self) -> int:
        """Tell how many versions there are."""

    def parcels(self) -> Iterable[Parcel]:
        """Give the versions: what is referred to before what refers to it, those of a track in their order."""

    def opened(self, manifest: Manifest) -> AbstractContextManager[Archive]:
        """Give a folder that has the blobs of a version, as long as it is needed."""


@dataclass(frozen=True, slots=True)
class Received:
    """A version that was received from another pool or from a file.

    Attributes
    ----------
    urn : str
        Its URN in the pool that it comes from.
    saved : Saved
        The version in this pool.
    """

    urn: str
    saved: Saved


class PoolShelf:
    """Versions of a pool, with all versions that the contexts among them refer to.

    Parameters
    ----------
    pool : Pool or Core
        The pool.
    refs : ProductRef, str, or an iterable of them, optional
        The versions; by default all that are not in the trash.

    Raises
    ------
    ProductNotFound
        If there is no such version, or it is in the trash.
    """

    def __init__(self, pool: HasCore, refs: Reference | Iterable[Reference] | None = None) -> None:
        source = core_of(pool)
        self.pool = source.name
        self.pool_id = source.id
        self._source = source
        if refs is None:
            source.catch_up()
            rows = source.catalog.select(all_versions=True)
        else:
            chosen = [refs] if isinstance(refs, str | Urn | ProductRef) else list(refs)
            rows = source.catalog.rows([source.ref(ref).serial for ref in chosen])
        found = reached(source.archive, source.catalog, rows)
        self.rows: Sequence[ProductRow] = sorted(found, key=lambda row: row.serial)

    def __len__(self) -> int:
        return len(self.rows)

    def parcels(self) -> Iterator[Parcel]:
        """Give the versions in the order of saving: what was referred to was there before."""
        for row in self.rows:
            yield Parcel(row.serial, row.version, row.created, row.tags, self._source.manifest(row))

    def opened(self, manifest: Manifest) -> AbstractContextManager[Archive]:  # noqa: ARG002 - all of them are there
        """Give the pool's folder."""
        return contextlib.nullcontext(self._source.archive)


def receive(
    target: HasCore, shelf: Shelf, *, tags: bool = True, progress: Callable[[int, int], None] | None = None
) -> list[Received]:
    """Save versions of another pool, many by one entry; called again after it was interrupted, it goes on.

    Every array is read and held against its name and its statistics before it is saved. Inputs in histories are called
    by their numbers here where they come along; a step is added that says where the version comes from.

    Parameters
    ----------
    target : Pool or Core
        Where to.
    shelf : Shelf
        Where from.
    tags : bool, keyword-only
        Put the labels on that the versions have there; they leave what they mark here in these tracks.
    progress : callable, keyword-only, optional
        Told how many versions of how many are done.

    Returns
    -------
    list of Received
        In the order of saving there. What is here already, with the same data, is not saved again.

    Raises
    ------
    IntegrityError
        If a version is damaged; those before it have been saved then.
    FormatError
        If the versions can't be what a pool has.
    Conflict
        If a name belongs to another exposure here, or another process copies into this pool all the time.
    """
    core = core_of(target)
    if core.id == shelf.pool_id:
        raise InvalidInput(f"these versions come from pool {core.name!r} itself; choose another pool")
    core.catch_up()
    with _alone(core), core.archive.notes.run() as ticket:
        return _Reception(core, shelf, ticket).run(tags=tags, progress=progress)


@contextlib.contextmanager
def _alone(target: Core) -> Iterator[None]:
    """Wait until nobody else of this host receives anything for this pool: both would save the same versions."""
    folder = target.archive.work_folder
    make_parent(folder)
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(open_folder(folder))
        except OSError as error:
            raise storage_error(error, folder) from error
        try:
            lock_folder(
                descriptor, seconds=_WAIT, pause=0.1, waiting=lambda: _log.warning(_WAITING, target.name, _WAIT)
            )
        except TimeoutError:
            raise Conflict(
                f"another process has been copying into pool {target.name!r} for {_WAIT:.0f} s; nothing was saved. "
                "Try again later; if this continues, look for a suspended process that uses the pool"
            ) from None
        yield


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A version that waits for its entry, or that is there already, and is named in its turn."""

    parcel: Parcel
    wanted: Prepared | ProductRow


class _Reception:
    def __init__(self, target: Core, shelf: Shelf, ticket: Callable[[], Ticket]) -> None:
        self._target = target
        self._shelf = shelf
        self._ticket = ticket
        self._load = Load(target.archive)
        self._waiting: dict[int, _Waiting] = {}
        self._tickets: list[Ticket] = []
        self._placed: dict[int, Link] = {}
        self._last: dict[tuple[str, str], int] = {}
        self._done: list[Received] = []
        self._committer = Committer(target.archive, target.catalog)

    def run(self, *, tags: bool, progress: Callable[[int, int], None] | None) -> list[Received]:
        marked: dict[str, list[int]] = {}
        with contextlib.closing(self._load):
            for parcel in self._shelf.parcels():
                if self._needs_entry_before(parcel):
                    self._commit(progress)
                self._take(parcel, progress)
                for label in parcel.tags:
                    marked.setdefault(check_label(label), []).append(parcel.serial)
                if self._load.is_due:
                    self._commit(progress)
            self._commit(progress)
        if tags:
            for label, serials in sorted(marked.items()):
                self._mark(label, [self._placed[serial] for serial in serials])
        rows = self._target.catalog.rows([received.saved.row.serial for received in self._done])
        now = {row.serial: row for row in rows}
        return [
            replace(r, saved=finish(self._target, replace(r.saved, row=now[r.saved.row.serial]))) for r in self._done
        ]

    def _urn(self, kind: str, serial: int) -> str:
        return str(Urn(self._shelf.pool, kind, serial))

    def _needs_entry_before(self, parcel: Parcel) -> bool:
        """Tell whether those that wait are to be saved first: their numbers, or their tiles, are needed."""
        track = parcel.manifest.kind, parcel.manifest.name
        if any((w.parcel.manifest.kind, w.parcel.manifest.name) == track for w in self._waiting.values()):
            return True
        inputs = (urn for step in parcel.manifest.history for urn in _listed(step.get("inputs")))
        return any(parsed is not None and parsed.serial in self._waiting for parsed in map(_parsed, inputs))

    def _take(self, parcel: Parcel, progress: Callable[[int, int], None] | None) -> None:
        """Have a version wait for its entry, its arrays stored; those before it are saved if it can't be."""
        try:
            self._waiting[parcel.serial] = _Waiting(parcel, self._store(parcel))
        except MiripoolError as error:
            self._commit(progress)
            raise self._with_count(error) from error

    def _store(self, parcel: Parcel) -> Prepared | ProductRow:
        with self._shelf.opened(parcel.manifest) as archive:
            product = archive.product(parcel.manifest, self._urn(parcel.manifest.kind, parcel.serial))
            prepared = self._prepare(parcel, product)
            urn = self._urn(product.kind, parcel.serial)
            _refuse_damage(urn, parcel.manifest, prepared.manifest)
            _refuse_other_headers(urn, prepared.manifest)
            prepared.manifest = replace(prepared.manifest, history=self._history(parcel))
            self._load.add(sum(ref.nbytes for ref in prepared.manifest.blobs()))
            if prepared.targets is not None:
                return prepared  # what a context refers to is looked at when its turn comes
            named = self._target.catalog.named([prepared.track[1]])
            known = self._known(prepared, urn, [row for row in named if (row.kind, row.name) == prepared.track])
            if known is not None:
                self._placed[parcel.serial] = link_to(known)
                return known
            self._tickets.append(self._ticket())
            gathering = self._load.gathering()
            write_ahead(self._target.archive, named, prepared, self._tickets[-1], gathering=gathering, force=True)
            return prepared

    def _commit(self, progress: Callable[[int, int], None] | None) -> None:
        waiting, self._waiting = list(self._waiting.values()), {}
        try:
            self._load.settle()
            self._save(waiting, progress)
        except MiripoolError as error:
            raise self._with_count(error) from error
        finally:
            while self._tickets:
                self._target.archive.notes.withdraw(self._tickets.pop())

    def _with_count(self, error: MiripoolError) -> MiripoolError:
        if not self._done:
            return error
        return type(error)(f"{error} ({len(self._done)} versions before it were saved, without tags)")

    def _save(self, waiting: Sequence[_Waiting], progress: Callable[[int, int], None] | None) -> None:
        """Save versions by one entry, or those before one that can't be saved by entries of their own."""
        try:
            saved = self._save_together(waiting)
        except MiripoolError:
            if len(waiting) == 1:
                raise
            for one in waiting:
                self._save([one], progress)
            return
        for one, result in zip(waiting, saved, strict=True):
            parcel, row = one.parcel, result.row
            self._placed[parcel.serial] = link_to(row)
            self._last[row.kind, row.name] = row.version
            self._done.append(Received(self._urn(parcel.manifest.kind, parcel.serial), result))
            if progress is not None:
                progress(len(self._done), len(self._shelf))

    def _save_together(self, waiting: Sequence[_Waiting]) -> list[Saved]:
        new = {one.parcel.serial: one.wanted for one in waiting if isinstance(one.wanted, Prepared)}
        for one in waiting:
            if isinstance(one.wanted, Prepared) and one.wanted.targets is not None:
                links = one.parcel.manifest.references
                one.wanted.targets = {link.name: self._placed.get(link.serial) or new[link.serial] for link in links}
        target = self._target
        prepared = list(new.values())
        saved = iter(
            save_together(target.archive, target.catalog, self._committer, prepared, force=True) if new else ()
        )
        return [
            next(saved)
            if isinstance(one.wanted, Prepared)
            else Saved(one.wanted, "unchanged", 0, f"unchanged: version {one.wanted.version}")
            for one in waiting
        ]

    def _known(self, prepared: Prepared, urn: str, track: Sequence[ProductRow]) -> ProductRow | None:
        """Find the version here that is this one: a copy of it, or the same data of the same file in the same order.

        So versions keep their order and their number, and what was made from it here is left as it is.
        """
        archive, origin = self._target.archive, prepared.manifest.origin
        rows = [
            row
            for row in track
            if row.removed is None and row.content == prepared.content and archive.is_whole(row.manifest)
        ]
        came = [
            row
            for row in rows
            for step in archive.manifest(row.manifest).history
            if isinstance(told := step.get("copied"), Mapping)
            and (told.get("pool_id"), told.get("urn")) == (self._shelf.pool_id, urn)
        ]
        last = self._last.get(prepared.track, -1)
        later = (r for r in rows if r.version > last and (origin is None or r.file_digest == origin.digest))
        return came[0] if came else next(later, None)

    def _prepare(self, parcel: Parcel, product: Product) -> Prepared:
        manifest, archive = parcel.manifest, self._target.archive
        urn = self._urn(manifest.kind, parcel.serial)
        has_arrays = any(hdu.data is not None or hdu.raw is not None for hdu in manifest.hdus)
        if not manifest.hdus or (has_arrays if isinstance(product, Context) else manifest.references):
            raise FormatError(f"{urn} is not a valid {manifest.kind}")
        if not isinstance(product, Context):
            return prepare(archive, product, name=manifest.name, history=())
        there = self._placed.keys() | self._waiting.keys()
        missing = [link.name for link in manifest.references if link.serial not in there]
        if missing:
            raise FormatError(f"{urn} refers to versions that are not sent with it: {', '.join(missing)}")
        return prepare_context(archive, product, {}, name=manifest.name)

    def _history(self, parcel: Parcel) -> tuple[Mapping[str, Any], ...]:
        steps = []
        for step in parcel.manifest.history:
            inputs = step.get("inputs")
            here = {"inputs": list(map(self._input, inputs))} if isinstance(inputs, list | tuple) else {}
            steps.append({**step, **here})
        came = {
            "pool": self._shelf.pool,
            "pool_id": self._shelf.pool_id,
            "urn": self._urn(parcel.manifest.kind, parcel.serial),
            "version": parcel.version,
            "created": parcel.created.isoformat(),
        }
        return (*steps, {"tool": "miripool", "version": version_of("miripool"), "copied": came})

    def _input(self, urn: Any) -> Any:
        """Say what an input is called here; where it did not come along, that it is another pool's."""
        parsed = _parsed(urn)
        if parsed is None:
            return urn
        placed = self._placed.get(parsed.serial)
        if placed is not None and placed.kind == parsed.kind:
            return str(Urn(self._target.name, placed.kind, placed.serial))
        return f"{urn} (pool {self._shelf.pool_id})"

    def _mark(self, label: str, links: Sequence[Link]) -> None:
        one_of_each_track(links)
        serials = list(dict.fromkeys(link.serial for link in links))

        def decide(_: Position) -> Sequence[Action]:
            now = self._target.catalog.rows(serials)
            new = tuple(row.serial for row in now if row.removed is None and label not in row.tags)
            return [Tag(label, new)] if new else []

        self._committer.commit(decide)


def _listed(inputs: Any) -> Sequence[Any]:
    return inputs if isinstance(inputs, list | tuple) else ()


def _parsed(urn: Any) -> Urn | None:
    """Read a URN; a history may say what it likes."""
    with contextlib.suppress(InvalidInput):
        return Urn.parse(urn) if isinstance(urn, str) else None
    return None


def _refuse_other_headers(urn: str, manifest: Manifest) -> None:
    """Make sure that the headers announce the data that there are: else no file could be written."""
    for number, hdu in enumerate(manifest.hdus):
        parts = (hdu.raw,) if hdu.raw is not None else (hdu.data, hdu.heap)
        size = sum(ref.nbytes for ref in parts if ref is not None)
        announced = announced_bytes(hdu.header, f"{urn}: HDU {number} ({hdu.name})")
        if size != announced:
            raise FormatError(f"{urn}: HDU {number} ({hdu.name}) announces {announced} bytes of data, but has {size}")


def _refuse_damage(urn: str, told: Manifest, found: Manifest) -> None:
    """Hold what was read against what the manifest says."""
    pairs = list(zip(told.hdus, found.hdus, strict=False))
    wrong = [f"HDU {number} ({one.name})" for number, (one, other) in enumerate(pairs) if _differ(one, other)]
    rest = [replace(m, history=(), references=(), hdus=m.hdus[len(pairs) :]) for m in (told, found)]
    if wrong or rest[0] != rest[1]:
        raise IntegrityError(
            f"{urn} is damaged and was not saved: {', '.join(wrong) or 'data outside the HDUs'} "
            f"{'differ' if len(wrong) != 1 else 'differs'} from the manifest"
        )


def _differ(one: HduRecord, other: HduRecord) -> bool:
    same = replace(one, statistics=None) == replace(other, statistics=None)
    return not same or not agree(one.statistics, other.statistics)
