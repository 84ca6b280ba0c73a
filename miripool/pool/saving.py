"""Saving: from a file, datamodel or product to a version in the pool, or to the version it already is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from .. import formats
from ..errors import Conflict, IntegrityError, InvalidInput, MiripoolError
from ..model.canonical import canonical_json, digest_bytes
from ..model.metadata import MetaData
from ..model.names import check_product_name
from ..model.product import Link, Product
from ..store.journal import Action, Save, Tag
from ..store.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..index import Catalog, Position, ProductRow
    from ..model.product import Context, Origin
    from ..store.archive import Archive
    from ..store.measured import Measured
    from ..store.notes import Ticket
    from .commit import Committer

__all__ = [
    "ArraysElsewhere",
    "Prepared",
    "Saved",
    "from_file",
    "one_of_each_track",
    "prepare",
    "prepare_context",
    "save_known",
    "save_together",
    "tell_unchanged",
    "write_ahead",
]

_SAME_START = timedelta(seconds=1)
"""Headers round the start of an exposure, and not all alike."""

_NEAREST = 4
"""Versions that are looked at for tiles that a new one may share: an analyst goes back and forth between a few."""

_IDENTITY = (("DETECTOR", "detector"), ("SUBARRAY", "subarray"), ("OBS_ID", "obs_id"))


@dataclass(frozen=True, slots=True)
class Saved:
    """What a save came to.

    Attributes
    ----------
    row : ProductRow
        The version.
    status : {'new', 'version', 'unchanged'}
        First of its track; a further one; one that was there.
    stored_bytes : int
        Bytes this save added to the pool.
    notice : str or None
        What the user should know.
    """

    row: ProductRow
    status: Literal["new", "version", "unchanged"]
    stored_bytes: int
    notice: str | None = None


class ArraysElsewhere(Exception):
    """A product was measured by another process, and its arrays turn out to be needed here: read it again."""


@dataclass(slots=True)
class Prepared:
    """A product ready to be saved: measured, named, compared by `content`.

    With a `ticket` its blobs are in the pool, and the note of that ticket, the caller's, names them and the manifest.
    `mended` tells that it gave a damaged version its data back. Of a context, `targets` are what it refers to, known
    versions or others that are saved with it; `follows` gives what else, of the living versions of its track by then.
    """

    manifest: Manifest
    content: str
    measured: Measured
    stored_bytes: int = 0
    ticket: Ticket | None = None
    mended: bool = False
    targets: Mapping[str, Link | Prepared] | None = None
    follows: Callable[[Sequence[ProductRow]], Sequence[Link]] | None = None

    @property
    def track(self) -> tuple[str, str]:
        """Kind and name."""
        return self.manifest.kind, self.manifest.name

    @property
    def stored(self) -> bool:
        """Whether its blobs are in the pool, announced by a note of the caller."""
        return self.ticket is not None


def prepare(archive: Archive, product: Product, *, name: str, history: Sequence[Mapping[str, Any]]) -> Prepared:
    """Read and digest all arrays of a product; nothing is written.

    Parameters
    ----------
    archive : Archive
        The pool's folder.
    product : Product
        What to save.
    name : str
        The track's name.
    history : sequence of mapping
        What it was made from and how.

    Returns
    -------
    Prepared
        For `save_together`.
    """
    layout = formats.layout_of(product)
    measured = archive.measure(layout)
    measured.bundle()
    content = digest_bytes(canonical_json(formats.stable_content(layout, measured.digest_of)))
    manifest = Manifest(
        kind=product.kind,
        name=check_product_name(name),
        hdus=tuple(measured.hdus),
        trailer=measured.trailer,
        origin=layout.origin,
        history=tuple(history),
        original=measured.original,
    )
    return Prepared(manifest, content, measured)


def prepare_context(
    archive: Archive,
    context: Context,
    targets: Mapping[str, Link | Prepared],
    *,
    name: str,
    follows: Callable[[Sequence[ProductRow]], Sequence[Link]] | None = None,
) -> Prepared:
    """Prepare a context; what its references are called by number is known when its turn to be saved comes.

    Parameters
    ----------
    archive : Archive
        The pool's folder.
    context : Context
        Of its kind; its metadata are saved.
    targets : mapping of str to Link or Prepared
        What it refers to: versions that are there, or others that are saved before it in the same entry.
    name : str, keyword-only
        The track's name.
    follows : callable, keyword-only, optional
        Given the living versions of its track when its turn comes, tells what else it refers to; the metadata are
        those of the head then.

    Returns
    -------
    Prepared
        For `save_together`.
    """
    prepared = prepare(archive, context, name=name, history=())
    prepared.targets = dict(targets)
    prepared.follows = follows
    return prepared


def save_known(
    archive: Archive,
    catalog: Catalog,
    committer: Committer,
    origin: Origin | None,
    track: tuple[str, str],
    *,
    tag: str | None = None,
) -> Saved | None:
    """Find the living version that was saved from the very same file, so that its arrays need not be read; tag it.

    Parameters
    ----------
    archive, catalog, committer : Archive, Catalog, Committer
        The pool's, caught up.
    origin : Origin or None
        The file; None for what does not come from one.
    track : (str, str)
        Kind and name.
    tag : str, keyword-only, optional
        Label for it.

    Returns
    -------
    Saved or None
        The newest such version; None if there is none, or if it is damaged and the file can mend it.
    """
    rows = [] if origin is None else catalog.living([track[1]])
    found = from_file(rows, origin, track)
    if found is None or not archive.is_whole(found.manifest):
        return None
    if tag is not None and tag not in found.tags:

        def decide(_: Position) -> Sequence[Action]:
            nonlocal found
            found = from_file(catalog.living([track[1]]), origin, track)
            return [] if found is None or tag in found.tags else [Tag(tag, (found.serial,))]

        committer.commit(decide)
        if found is None:
            return None
        rows = catalog.living([track[1]])
        found = next((row for row in rows if row.serial == found.serial), found)
    return Saved(found, "unchanged", 0, tell_unchanged(rows, found, same_file=True))


def from_file(rows: Iterable[ProductRow], origin: Origin | None, track: tuple[str, str]) -> ProductRow | None:
    """Find the version of a track that was saved from a file.

    Parameters
    ----------
    rows : iterable of ProductRow
        Living versions.
    origin : Origin or None
        The file.
    track : (str, str)
        Kind and name.

    Returns
    -------
    ProductRow or None
        The newest one.
    """
    if origin is None:
        return None
    found = [row for row in rows if (row.kind, row.name) == track and row.file_digest == origin.digest]
    return max(found, key=lambda row: row.version, default=None)


def write_ahead(
    archive: Archive, rows: Sequence[ProductRow], prepared: Prepared, ticket: Ticket, *, force: bool = False
) -> None:
    """Store a product's blobs before its turn to be saved comes, unless it looks as if there will be no need.

    Where it turns out to have none after all, e.g. because the same data came first, the blobs are left for gc. The
    index is not asked: this runs in other processes, and on hosts that can't reach it.

    Parameters
    ----------
    archive : Archive
        The pool's.
    rows : sequence of ProductRow
        The living versions of its name, of all kinds, as they were a moment ago.
    prepared : Prepared
        Its arrays are let go of once they are stored.
    ticket : Ticket
        For the pending note, which is to be withdrawn once `save_together` is through.
    force : bool, keyword-only
        As for `save_together`.
    """
    track = [row for row in rows if (row.kind, row.name) == prepared.track]
    if not force and _same_of(track, prepared) is not None:
        return
    try:
        _refuse_other_exposure([row for row in rows if row.head], prepared.manifest)
    except Conflict:
        return  # said when its turn comes
    near = _near(archive, track, prepared.manifest)
    archive.announce(prepared.manifest, ticket, near)
    prepared.stored_bytes = archive.write_blobs(prepared.measured.sources, near)
    prepared.measured.sources.clear()
    prepared.ticket = ticket


def save_together(
    archive: Archive,
    catalog: Catalog,
    committer: Committer,
    prepared: Sequence[Prepared],
    *,
    tag: str | None = None,
    force: bool = False,
    reach: Callable[[Sequence[int]], Sequence[ProductRow]] | None = None,
) -> list[Saved]:
    """Save products in one journal entry: all of them, or none.

    Parameters
    ----------
    archive, catalog, committer : Archive, Catalog, Committer
        The pool's.
    prepared : sequence of Prepared
        Of different tracks.
    tag : str, keyword-only, optional
        Label for all of them, the unchanged ones too.
    force : bool, keyword-only
        Make a version even of what is there already.
    reach : callable, keyword-only, optional
        Gives the versions that versions refer to, directly or by others: the tag marks what contexts refer to, too.

    Returns
    -------
    list of Saved
        In the order given.

    Raises
    ------
    Conflict
        If a name belongs to another exposure.
    InvalidInput
        If the tag would mark two versions of a track.
    ServerError
        If the server went away after the entry was written: the products are saved then, and the message says so.
    """
    if len({p.track for p in prepared}) < len(prepared):
        raise InvalidInput("two products of the same kind and name can't be saved together")
    with contextlib.ExitStack() as notes:
        save = _Save(archive, catalog, prepared, notes, tag=tag, force=force, reach=reach)
        entry = committer.commit(save.decide, is_ready=save.is_announced)
    made = {saved.serial for saved in entry.saves} if entry is not None else set()
    try:
        committer.catch_up()
        rows = catalog.rows(save.serials)
        return [_report(catalog, row, p, row.serial in made) for row, p in zip(rows, prepared, strict=True)]
    except MiripoolError as error:
        if entry is None:
            raise
        raise type(error)(f"saved as journal entry {entry.n}; the index will be updated later ({error})") from error


def one_of_each_track(versions: Iterable[ProductRow | Link]) -> None:
    """Refuse to mark two versions of a track with one tag.

    Parameters
    ----------
    versions : iterable of ProductRow or Link
        What would be marked.

    Raises
    ------
    InvalidInput
        If two of them are of one track.
    """
    seen: dict[tuple[str, str], ProductRow | Link] = {}
    for version in versions:
        name = version.product if isinstance(version, Link) else version.name
        other = seen.setdefault((version.kind, name), version)
        if other.serial != version.serial:
            raise InvalidInput(
                f"a tag can mark only one version of a product, but versions {other.version} and {version.version} "
                f"of {version.kind}/{name} were given"
            )


class _Save:
    """Decides what an entry has to say, and writes what it refers to before it says it."""

    def __init__(
        self,
        archive: Archive,
        catalog: Catalog,
        prepared: Sequence[Prepared],
        notes: contextlib.ExitStack,
        *,
        tag: str | None,
        force: bool,
        reach: Callable[[Sequence[int]], Sequence[ProductRow]] | None,
    ) -> None:
        self.archive = archive
        self.catalog = catalog
        self.reach = reach
        self.prepared = prepared
        self.notes = notes
        self.tag = tag
        self.force = force
        self.serials: list[int] = []
        self._written: dict[tuple[str, ...], tuple[Prepared, str, Ticket]] = {}

    def decide(self, position: Position) -> Sequence[Action]:
        """Give the actions for the pool as it stands at a position of the journal."""
        plain = [p for p in self.prepared if p.targets is None]
        found = {id(p): None if self.force else self._same(p) for p in plain}
        new = [p for p in plain if found[id(p)] is None]
        for p in new:
            _refuse_other_exposure(self.catalog.by_name(p.manifest.name), p.manifest)
        for p in new:
            self._write(p)
        saves: list[Save] = []
        placed: dict[int, Link] = {}
        labelled: set[int] = set()
        for p in self.prepared:
            if p.targets is not None:
                self._refer(p, placed)
                found[id(p)] = _same(self.catalog, p)
                if found[id(p)] is None:
                    self._write(p)
            same = found[id(p)]
            if same is None:
                save = self._version(p, position.next_serial + len(saves))
                saves.append(save)
                placed[id(p)] = Link("", *p.track, save.version, save.serial, save.manifest)
            else:
                placed[id(p)] = Link("", *p.track, same.version, same.serial, same.manifest)
                labelled |= {same.serial} if self.tag is not None and self.tag in same.tags else set()
        self.serials = [placed[id(p)].serial for p in self.prepared]
        if self.tag is None:
            return saves
        marked = dict.fromkeys(placed.values())
        if self.reach is not None:
            targets = [t.serial for p in self.prepared for t in (p.targets or {}).values() if isinstance(t, Link)]
            for row in self.reach(targets):
                marked[Link("", row.kind, row.name, row.version, row.serial, row.manifest)] = None
                labelled |= {row.serial} if self.tag in row.tags else set()
        one_of_each_track(marked)
        to_tag = tuple(link.serial for link in marked if link.serial not in labelled)
        return [*saves, Tag(self.tag, to_tag)] if to_tag else saves

    def _refer(self, p: Prepared, placed: Mapping[int, Link]) -> None:
        """Give a context its references as the pool stands now."""
        targets = p.targets or {}
        links = {n: replace(t if isinstance(t, Link) else placed[id(t)], name=n) for n, t in targets.items()}
        if p.follows is not None:
            track = [row for row in self.catalog.track(*p.track) if row.removed is None]
            if track:
                p.manifest = replace(p.manifest, hdus=self.archive.manifest(track[-1].manifest).hdus)
                links = {link.name: link for link in p.follows(track)} | links
        there = {row.serial: row for row in self.catalog.rows([link.serial for link in links.values()])}
        for link in links.values():
            row = there.get(link.serial)
            if row is not None and row.removed is not None:
                raise Conflict(
                    f"{p.manifest.kind}/{p.manifest.name} can't refer to a version in the trash, as its reference "
                    f"{link.name!r} does; restore that version first"
                )
        p.manifest = replace(p.manifest, references=tuple(links.values()))
        told = [[link.name, link.serial, link.manifest] for link in links.values()]
        header = [] if p.follows is not None else [hdu.header.decode("latin-1") for hdu in p.manifest.hdus]
        p.content = digest_bytes(canonical_json({"references": sorted(told), "headers": header}))

    def _same(self, p: Prepared) -> ProductRow | None:
        """Find the version that a product already is; where its files are damaged, mend them from the product."""
        same = _same(self.catalog, p)
        if same is None or self.archive.is_whole(same.manifest):
            return same
        if same.manifest == digest_bytes(p.manifest.to_bytes()):
            self._write(p)
        else:
            self._write_blobs_of(same.manifest, p)
        p.mended = self.archive.is_whole(same.manifest)
        return same if p.mended else None

    def _write_blobs_of(self, manifest: str, p: Prepared) -> None:
        """Store what a version of the same content shares with a product."""
        try:
            known = self.archive.manifest(manifest)
        except IntegrityError:
            return
        if not p.measured.sources and not p.stored:
            raise ArraysElsewhere
        with contextlib.suppress(IntegrityError):  # the product has not all that is lost
            self.archive.mend(known, p.measured.sources)

    def is_announced(self) -> bool:
        """Tell, right before the entry, whether all that was written for it is still there and announced.

        What is not is written again when `decide` is asked once more.
        """
        lost = [
            written
            for written, (p, digest, ticket) in self._written.items()
            if not self.archive.is_announced(digest, p.manifest, ticket)
        ]
        for written in lost:
            p, *_ = self._written.pop(written)
            p.ticket = None
        return not lost

    def _write(self, p: Prepared) -> None:
        """Store blobs and manifest, once, however often the race for an entry is lost."""
        # A context's manifest may be another each time.
        written = (*p.track, digest_bytes(p.manifest.to_bytes()) if p.targets is not None else "")
        if written in self._written:
            return
        near: dict[str, list[str]] = {}
        ticket = p.ticket
        if ticket is None:
            if p.targets is None and any(r.digest not in p.measured.sources for r in p.manifest.blobs()):
                raise ArraysElsewhere
            near = _near(self.archive, self.catalog.track(*p.track), p.manifest)
            ticket = self.archive.notes.ticket()
            digest = self.notes.enter_context(self.archive.writing(p.manifest, near, ticket))
        else:
            digest = digest_bytes(p.manifest.to_bytes())
        p.stored_bytes += self.archive.write(p.manifest, p.measured.sources, near)
        self._written[written] = p, digest, ticket

    def _version(self, p: Prepared, serial: int) -> Save:
        version = max((row.version for row in self.catalog.track(*p.track)), default=-1) + 1
        return Save(serial, *p.track, version, digest_bytes(p.manifest.to_bytes()), p.content, p.stored_bytes)


def _near(archive: Archive, track: Iterable[ProductRow], manifest: Manifest) -> dict[str, list[str]]:
    """Find the blobs of which a version's arrays may take tiles: those of the same datasets in the newest versions.

    An array that is there already may need others, too: what they need has to be announced with it.
    """
    from ..store.arrays.delta import may_share

    large = {h.name: h.data for h in manifest.hdus if h.data is not None and may_share(h.data.shape, h.data.dtype)}
    near: dict[str, list[str]] = {ref.digest: [] for ref in large.values()}
    if not near:
        return {}
    for own in large.values():
        with contextlib.suppress(IntegrityError):  # what is damaged is written again
            near[own.digest] += archive.blobs.family(own)
    living = [row for row in track if row.removed is None]
    for row in sorted(living, key=lambda row: row.version)[: -_NEAREST - 1 : -1]:
        with contextlib.suppress(IntegrityError):  # what is damaged is of no use here; verify tells it
            for hdu in archive.manifest(row.manifest).hdus:
                ref, old = large.get(hdu.name), hdu.data
                if ref is not None and old is not None and (old.shape, old.dtype) == (ref.shape, ref.dtype):
                    near[ref.digest] += archive.blobs.family(old)
    return {digest: [other for other in dict.fromkeys(found) if other not in near] for digest, found in near.items()}


def _same(catalog: Catalog, p: Prepared) -> ProductRow | None:
    return _same_of(catalog.track(*p.track), p)


def _same_of(track: Iterable[ProductRow], p: Prepared) -> ProductRow | None:
    """Find the living version with the same data: the one from the same file if there is one, else the newest."""
    rows = [row for row in track if row.content == p.content and row.removed is None]
    digest = None if p.manifest.origin is None else p.manifest.origin.digest
    return max(rows, key=lambda row: (row.file_digest == digest, row.version), default=None)


def _refuse_other_exposure(heads: Iterable[ProductRow], manifest: Manifest) -> None:
    meta = MetaData([(hdu.name, hdu.header) for hdu in manifest.hdus])
    for row in heads:
        if (row.kind == Product.kind) != (manifest.kind == Product.kind):
            continue  # a file of unknown kind has words of its own, e.g. a ground test's for a detector
        differences = [
            f"{key} is {meta[key].value}, in the pool {getattr(row, column)}"
            for key, column in _IDENTITY
            if key in meta and getattr(row, column) is not None and meta[key].value != getattr(row, column)
        ]
        differences += _other_start(meta, row.start_time)
        if differences:
            raise Conflict(
                f"{manifest.name} is the name of another exposure in this pool ({row.kind} version {row.version}): "
                f"{'; '.join(differences)}. Nothing was saved; choose another name (name=, --name)"
            )


def _other_start(meta: MetaData, known: datetime | None) -> list[str]:
    date, clock = (None if key not in meta else meta[key].value for key in ("DATE-OBS", "TIME-OBS"))
    if known is None or not isinstance(date, datetime):
        return []
    if date.date() != known.date():
        return [f"DATE-OBS is {date.date()}, in the pool {known.date()}"]
    if isinstance(clock, datetime) and abs(clock - known) > _SAME_START:
        return [f"TIME-OBS is {clock:%H:%M:%S}, in the pool {known:%H:%M:%S}"]
    return []


def _report(catalog: Catalog, row: ProductRow, p: Prepared, made: bool) -> Saved:
    if made:
        return Saved(row, "new" if row.version == 0 else "version", p.stored_bytes)
    # What was made in memory has no file's timestamps that could differ.
    files = {row.file_digest, None if p.manifest.origin is None else p.manifest.origin.digest}
    track = catalog.track(row.kind, row.name)
    notice = tell_unchanged(track, row, same_file=len(files) == 1 or None in files)
    return Saved(row, "unchanged", 0, f"{notice}; its damaged files were written again" if p.mended else notice)


def tell_unchanged(rows: Iterable[ProductRow], row: ProductRow, *, same_file: bool) -> str:
    """Say that nothing was new: "unchanged: version 0; head is 1; this file's own timestamps were not kept".

    Parameters
    ----------
    rows : iterable of ProductRow
        The versions of its name.
    row : ProductRow
        The version that it is.
    same_file : bool, keyword-only
        Whether it came from the very same file.

    Returns
    -------
    str
        For the user.
    """
    track = [r.version for r in rows if (r.kind, r.name) == (row.kind, row.name) and r.removed is None]
    head = max(track, default=row.version)
    words = [f"unchanged: version {row.version}"]
    if head != row.version:
        words.append(f"head is {head}")
    if not same_file:
        words.append("this file's own timestamps were not kept")
    return "; ".join(words)
