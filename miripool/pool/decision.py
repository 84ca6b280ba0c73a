"""Decision: what an entry has to say of the products of a save, as the pool stands when the turn of the save comes.

The index is asked once for all versions of all names. Whenever another process writes an entry first, the decision is
made again; what was written for it stays. Files are brought to the disk while the index takes in the rows, and waited
for right before the entry.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import Conflict, IntegrityError, InvalidInput
from ..index import Known, ProductRow
from ..model.canonical import canonical_json, digest_bytes
from ..model.product import Link
from ..store.journal import Action, Save, Tag
from .identity import EntryMember, refuse_other_exposure
from .prepared import ArraysElsewhere, Prepared, near_blobs, same_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..index import Catalog, Position
    from ..store.archive import Archive
    from ..store.manifest import Manifest
    from ..store.notes import Ticket

__all__ = ["Decision", "Standing", "Wanted", "one_of_each_track"]

_LITTLE = 1 << 20
"""Bytes of new files up to which the disk is waited for while the index is locked: other writers wait, too."""

Wanted = Prepared | ProductRow
"""A product that is to be saved, or the version that a file was found to be."""


class Standing:
    """All versions of some names, those in the trash too, as the index has them at one moment.

    Parameters
    ----------
    rows : iterable of ProductRow
        By serial.
    """

    def __init__(self, rows: Iterable[ProductRow] = ()) -> None:
        self._rows: dict[int, ProductRow] = {}
        self._tracks: dict[tuple[str, str], list[ProductRow]] = {}
        self._heads: dict[str, list[ProductRow]] = {}
        for row in rows:
            self._rows[row.serial] = row
            self._tracks.setdefault((row.kind, row.name), []).append(row)
            if row.head:
                self._heads.setdefault(row.name, []).append(row)

    def track(self, kind: str, name: str) -> Sequence[ProductRow]:
        """Give the versions of a track.

        Parameters
        ----------
        kind, name : str
            The track.

        Returns
        -------
        sequence of ProductRow
            In their order.
        """
        return self._tracks.get((kind, name), ())

    def heads(self, name: str) -> list[ProductRow]:
        """Give the newest living version of each track of a name.

        Parameters
        ----------
        name : str
            The name.

        Returns
        -------
        list of ProductRow
            By kind.
        """
        return sorted(self._heads.get(name, ()), key=lambda row: row.kind)

    @property
    def rows(self) -> Sequence[ProductRow]:
        """All of them."""
        return tuple(self._rows.values())

    def row(self, serial: int) -> ProductRow | None:
        """Give a version.

        Parameters
        ----------
        serial : int
            The version.

        Returns
        -------
        ProductRow or None
            None where it has none of these names.
        """
        return self._rows.get(serial)


class Decision:
    """Decides what an entry has to say, and writes what it refers to before it says it.

    Parameters
    ----------
    archive, catalog : Archive, Catalog
        The pool's.
    wanted : sequence of Prepared or ProductRow
        What is to be saved, of different tracks, or marked with the tag.
    notes : contextlib.ExitStack
        Keeps the notes of what is written here until the save is over.
    tag : str, keyword-only, optional
        Label for all of them.
    force : bool, keyword-only
        Make a version even of what is there already.
    each : bool, keyword-only
        A product that fails by itself stands in `failures`, and the others are saved. Otherwise none is.
    reach : callable, keyword-only, optional
        Gives the versions that versions refer to, directly or by others: the tag marks them, too.
    without_pixels : str, keyword-only, optional
        Why the new versions get no pixel rows.

    Attributes
    ----------
    failures : dict of int to Exception
        Why a product is not saved, by its place in `wanted`.
    serials : dict of int to int
        The versions that the others come to, by their places.
    standing : Standing
        The versions of their names before the entry.
    """

    def __init__(
        self,
        archive: Archive,
        catalog: Catalog,
        wanted: Sequence[Wanted],
        notes: contextlib.ExitStack,
        *,
        tag: str | None = None,
        force: bool = False,
        each: bool = False,
        reach: Callable[[Sequence[int]], Sequence[ProductRow]] | None = None,
        without_pixels: str | None = None,
    ) -> None:
        self._archive = archive
        self._catalog = catalog
        self._wanted = wanted
        self._notes = notes
        self._tag = tag
        self._force = force
        self._each = each
        self._reach = reach
        self._without_pixels = without_pixels
        self._gathering = notes.enter_context(archive.gathering())
        self._put = 0
        self._written: dict[tuple[str, ...], tuple[Prepared, Ticket]] = {}
        self._manifests: dict[str, Manifest] = {}
        self._same: dict[int, ProductRow] = {}
        self._placed: dict[int, Link] = {}
        self.failures: dict[int, Exception] = {}
        self.serials: dict[int, int] = {}
        self.standing = Standing()

    def look(self) -> Position:
        """Ask the index for all versions of the names, and where it stands.

        Returns
        -------
        Position
            For `decide`.
        """
        names = {one.name if isinstance(one, ProductRow) else one.track[1] for one in self._wanted}
        position, rows = self._catalog.standing(sorted(names))
        self.standing = Standing(rows)
        return position

    def decide(self, position: Position) -> Sequence[Action]:
        """Give the actions for the pool as it stands at a position of the journal.

        Parameters
        ----------
        position : Position
            From `look`.

        Returns
        -------
        sequence of Action
            What the next entry has to say; `is_ready` waits until all that it refers to is durable. Empty if there is
            nothing to do.
        """
        self.failures, self._same, self._placed = {}, {}, {}
        self._compare()
        for number, p in self._new():
            with self._alone(number):
                self._write(p)
        saves = self._place(position)
        if self._put > _LITTLE:
            self._settle()
        self.serials = {number: link.serial for number, link in self._placed.items()}
        return [*saves, *self._marks()]

    @contextlib.contextmanager
    def _alone(self, number: int) -> Iterator[None]:
        """Keep what is wrong with one product for its own result, if the others are to be saved all the same."""
        try:
            yield
        except Exception as error:
            if not self._each:
                raise
            self.failures[number] = error

    def _new(self) -> Iterator[tuple[int, Prepared]]:
        """Give the products that become versions, contexts left out: what they refer to is to be placed first."""
        for number, one in enumerate(self._wanted):
            is_new = number not in self._same and number not in self.failures
            if is_new and isinstance(one, Prepared) and one.targets is None:
                yield number, one

    def _compare(self) -> None:
        """Find what is there already, and refuse what can't be saved, before anything new is written."""
        for number, one in enumerate(self._wanted):
            with self._alone(number):
                if isinstance(one, ProductRow):
                    self._same[number] = self._living(one)
                elif one.targets is None and not self._force and (same := self._find_same(one)) is not None:
                    self._same[number] = same
        members: dict[str, list[EntryMember]] = {}
        for number, p in self._new():
            kind, name = p.track
            with self._alone(number):
                refuse_other_exposure((*self.standing.heads(name), *members.get(name, ())), kind, name, p.identity)
                members.setdefault(name, []).append(EntryMember.of(kind, self._next_version(p), p.identity))

    def _living(self, row: ProductRow) -> ProductRow:
        """Give a version that a file was found to be, as it is now."""
        found = self.standing.row(row.serial)
        if found is None or found.removed is not None:
            raise ArraysElsewhere
        return found

    def _find_same(self, p: Prepared) -> ProductRow | None:
        """Find the version that a product already is; where its files are damaged, mend them from the product."""
        same = same_version(self.standing.track(*p.track), p)
        if same is None or self._archive.is_whole(same.manifest):
            return same
        if same.manifest == p.manifest.digest:
            self._write(p)
            self._settle()
        else:
            self._write_blobs_of(same.manifest, p)
        p.mended = self._archive.is_whole(same.manifest)
        return same if p.mended else None

    def _write_blobs_of(self, manifest: str, p: Prepared) -> None:
        """Store what a version of the same content shares with a product."""
        try:
            known = self._archive.manifest(manifest)
        except IntegrityError:
            return
        if not p.measured.sources and not p.stored:
            raise ArraysElsewhere
        with contextlib.suppress(IntegrityError):  # the product has not all that is lost
            self._archive.mend(known, p.measured.sources)

    def _next_version(self, p: Prepared) -> int:
        track = self.standing.track(*p.track)
        return track[-1].version + 1 if track else 0

    def _place(self, position: Position) -> list[Save]:
        """Number the new versions; a context refers to versions that were placed before it."""
        saves: list[Save] = []
        references: dict[int, Link] = {}
        targets = self._targets()
        for number, one in enumerate(self._wanted):
            if number in self.failures:
                continue
            if isinstance(one, Prepared) and one.targets is not None:
                self._refer(one, references, targets)
                same = same_version(self.standing.track(*one.track), one)
                if same is not None:
                    self._same[number] = same
                else:
                    self._write(one)
            if number in self._same:
                link = _link_to(self._same[number])
            else:
                assert isinstance(one, Prepared)  # noqa: S101 - a version that is there is in `_same`
                serial, version, digest = (
                    position.next_serial + len(saves),
                    self._next_version(one),
                    one.manifest.digest,
                )
                saves.append(Save(serial, *one.track, version, digest, one.content, one.stored_bytes))
                link = Link("", *one.track, version, serial, digest)
            self._placed[number] = references[id(one)] = link
        return saves

    def _targets(self) -> dict[int, ProductRow]:
        """Read the versions that contexts refer to, by one statement."""
        links = [t for p in self._wanted if isinstance(p, Prepared) for t in (p.targets or {}).values()]
        serials = dict.fromkeys(link.serial for link in links if isinstance(link, Link))
        return {row.serial: row for row in self._catalog.rows(list(serials))}

    def _refer(self, p: Prepared, references: dict[int, Link], targets: dict[int, ProductRow]) -> None:
        """Give a context its references as the pool stands now."""
        wanted = p.targets or {}
        links = {n: replace(t if isinstance(t, Link) else references[id(t)], name=n) for n, t in wanted.items()}
        there = targets
        track = [row for row in self.standing.track(*p.track) if row.removed is None]
        if p.follows is not None and track:
            p.manifest = replace(p.manifest, hdus=self._archive.manifest(track[-1].manifest).hdus)
            inherited = p.follows(track)
            links = {link.name: link for link in inherited} | links
            there = targets | {row.serial: row for row in self._catalog.rows([link.serial for link in inherited])}
        for link in links.values():
            row = there.get(link.serial)
            if row is not None and row.removed is not None:
                raise Conflict(
                    f"{p.manifest.kind}/{p.manifest.name} can't refer to a version in the trash, as its reference "
                    f"{link.name!r} does; restore that version first"
                )
        p.manifest = replace(p.manifest, references=tuple(links.values()))
        compared = [[link.name, link.serial, link.manifest] for link in links.values()]
        header = [] if p.follows is not None else [hdu.header.decode("latin-1") for hdu in p.manifest.hdus]
        p.content = digest_bytes(canonical_json({"references": sorted(compared), "headers": header}))

    def _marks(self) -> list[Action]:
        """Put the tag on what does not have it yet."""
        if self._tag is None:
            return []
        marked = dict.fromkeys(self._placed.values())
        labelled = {row.serial for row in self._same.values() if self._tag in row.tags}
        if self._reach is not None:
            for row in self._reach(list(self._targets())):
                marked[_link_to(row)] = None
                labelled |= {row.serial} if self._tag in row.tags else set()
        one_of_each_track(marked)
        serials = tuple(link.serial for link in marked if link.serial not in labelled)
        return [Tag(self._tag, serials)] if serials else []

    def is_ready(self) -> bool:
        """Wait, right before the entry, until all that was written for it is durable; tell whether it is there.

        Returns
        -------
        bool
            Where it is False, what is missing, or is no longer announced, is written again when `decide` is asked once
            more.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If something could not be written.
        """
        self._settle()
        lost = [
            written
            for written, (p, ticket) in self._written.items()
            if not self._archive.is_announced(p.manifest.digest, p.manifest, ticket)
        ]
        for written in lost:
            p, _ = self._written.pop(written)
            p.ticket = None
        return not lost

    def known(self) -> Known:
        """Give what the index need not look up of the entry.

        Returns
        -------
        Known
            Manifests are not read again, nor is what `look` has found.
        """
        return Known(self._manifest, self.standing.rows, self._without_pixels)

    def _manifest(self, digest: str) -> Manifest:
        return self._manifests.get(digest) or self._archive.manifest(digest)

    def _settle(self) -> None:
        """Wait until all that was written is durable."""
        self._gathering.settle()
        self._put = 0

    def _write(self, p: Prepared) -> None:
        """Store blobs and manifest, once, however often the race for an entry is lost."""
        # A context's manifest may be another each time.
        written = (*p.track, p.manifest.digest if p.targets is not None else "")
        if written in self._written:
            return
        self._manifests[p.manifest.digest] = p.manifest
        if p.ticket is not None:
            self._written[written] = p, p.ticket  # `write_ahead` has done it
            return
        if p.targets is None and any(r.digest not in p.measured.sources for r in p.manifest.blobs()):
            raise ArraysElsewhere
        near = near_blobs(self._archive, self.standing.track(*p.track), p.manifest)
        ticket = self._archive.notes.ticket()
        self._notes.enter_context(self._archive.writing(p.manifest, near, ticket))
        put = self._archive.write(p.manifest, p.measured.sources, near, gathering=self._gathering)
        p.stored_bytes += put
        self._put += put
        self._written[written] = p, ticket


def _link_to(row: ProductRow) -> Link:
    return Link("", row.kind, row.name, row.version, row.serial, row.manifest)


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
