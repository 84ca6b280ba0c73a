"""Prepared: a product that was measured and named, and waits for its turn; its blobs may be stored ahead of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import formats
from ..errors import Conflict, IntegrityError
from ..model.canonical import canonical_json, digest_bytes
from ..model.names import check_product_name
from ..model.product import Link, Product
from ..store.manifest import Manifest
from .identity import Identity, refuse_other_exposure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..index import ProductRow
    from ..model.product import Context, Origin
    from ..store.archive import Archive
    from ..store.measured import Measured
    from ..store.notes import Ticket
    from ..store.storage.gathering import Gathering

__all__ = [
    "ArraysElsewhere",
    "Prepared",
    "from_file",
    "near_blobs",
    "prepare",
    "prepare_context",
    "same_version",
    "write_ahead",
]

_NEAREST = 4
"""Versions that are looked at for tiles that a new one may share: an analyst goes back and forth between a few."""


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
    identity: Identity
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
    return Prepared(manifest, content, measured, Identity.of(manifest))


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


def write_ahead(
    archive: Archive,
    rows: Sequence[ProductRow],
    prepared: Prepared,
    ticket: Ticket,
    *,
    gathering: Gathering,
    force: bool = False,
) -> None:
    """Store a product's blobs and manifest before its turn to be saved comes, unless there seems to be no need.

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
    gathering : Gathering, keyword-only
        They are durable once it has settled.
    force : bool, keyword-only
        As for `save_together`.
    """
    track = [row for row in rows if (row.kind, row.name) == prepared.track]
    if not force and same_version(track, prepared) is not None:
        return
    try:
        refuse_other_exposure([row for row in rows if row.head], *prepared.track, prepared.identity)
    except Conflict:
        return  # said when its turn comes
    near = near_blobs(archive, track, prepared.manifest)
    archive.announce(prepared.manifest, ticket, near)
    sources = prepared.measured.sources
    prepared.stored_bytes = archive.write(prepared.manifest, sources, near, gathering=gathering)
    prepared.measured.sources.clear()
    prepared.ticket = ticket


def near_blobs(archive: Archive, track: Iterable[ProductRow], manifest: Manifest) -> dict[str, list[str]]:
    """Find the blobs of which a version's arrays may take tiles: those of the same datasets in the newest versions.

    An array that is there already may need others, too: what they need has to be announced with it.

    Parameters
    ----------
    archive : Archive
        The pool's.
    track : iterable of ProductRow
        The versions of its kind and name; those in the trash are passed over.
    manifest : Manifest
        The version.

    Returns
    -------
    dict of str to list of str
        For the digest of each array that may share tiles, the blobs.
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


def same_version(track: Iterable[ProductRow], p: Prepared) -> ProductRow | None:
    """Find the living version with the same data: the one from the same file if there is one, else the newest.

    Parameters
    ----------
    track : iterable of ProductRow
        The versions of its kind and name.
    p : Prepared
        What is to be saved.

    Returns
    -------
    ProductRow or None
        None where its data are new.
    """
    rows = [row for row in track if row.content == p.content and row.removed is None]
    digest = None if p.manifest.origin is None else p.manifest.origin.digest
    return max(rows, key=lambda row: (row.file_digest == digest, row.version), default=None)


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
