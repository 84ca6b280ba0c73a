"""Saving: from a file, datamodel or product to a version in the pool, or to the version it already is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from .canonical import canonical_json, digest_bytes
from .errors import Conflict, InvalidInput
from .formats import layout_of, stable_content
from .journal import Action, Save, Tag
from .manifest import Manifest
from .metadata import MetaData
from .names import check_product_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .archive import Archive, Measured
    from .commit import Committer
    from .index import Catalog, Position, ProductRow
    from .product import Product

__all__ = ["Prepared", "Saved", "known_file", "prepare", "save_together"]

_IDENTITY = (("DETECTOR", "detector"), ("SUBARRAY", "subarray"))


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


@dataclass(slots=True)
class Prepared:
    """A product ready to be saved: measured, named, compared by `content`."""

    manifest: Manifest
    content: str
    measured: Measured
    stored_bytes: int = 0

    @property
    def track(self) -> tuple[str, str]:
        """Kind and name."""
        return self.manifest.kind, self.manifest.name


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
    layout = layout_of(product)
    measured = archive.measure(layout)
    content = digest_bytes(canonical_json(stable_content(layout, measured.digest_of)))
    manifest = Manifest(
        kind=product.kind,
        name=check_product_name(name),
        hdus=tuple(measured.hdus),
        trailer=measured.trailer,
        origin=layout.origin,
        history=tuple(history),
    )
    return Prepared(manifest, content, measured)


def known_file(catalog: Catalog, product: Product, name: str) -> ProductRow | None:
    """Find the living version that was saved from the very same file, so that its arrays need not be read.

    Parameters
    ----------
    catalog : Catalog
        The index, caught up.
    product : Product
        Read from a file.
    name : str
        The track's name.

    Returns
    -------
    ProductRow or None
        The newest such version.
    """
    origin = product.layout.origin if product.layout is not None else None
    if origin is None:
        return None
    rows = [
        row
        for row in catalog.by_file_digest(origin.digest)
        if (row.kind, row.name) == (product.kind, name) and row.removed is None
    ]
    return max(rows, key=lambda row: row.version, default=None)


def save_together(
    archive: Archive,
    catalog: Catalog,
    committer: Committer,
    prepared: Sequence[Prepared],
    *,
    tag: str | None = None,
    force: bool = False,
) -> list[Saved]:
    """Save products in one journal entry: all of them, or none.

    Parameters
    ----------
    archive, catalog, committer : Archive, Catalog, Committer
        The pool's.
    prepared : sequence of Prepared
        Of different tracks.
    tag : str, optional
        Label for all of them, the unchanged ones too.
    force : bool
        Make a version even of what is there already.

    Returns
    -------
    list of Saved
        In the order given.

    Raises
    ------
    Conflict
        If a name belongs to another exposure.
    """
    if len({p.track for p in prepared}) < len(prepared):
        raise InvalidInput("two products of one kind and name can't be saved in one entry")
    serials: list[int] = []

    def decide(position: Position) -> Sequence[Action]:
        actions, serials[:] = _decide(catalog, position, prepared, tag=tag, force=force)
        return actions

    with contextlib.ExitStack() as notes:
        if force or any(_same(catalog, p) is None for p in prepared):
            for p in prepared:
                _refuse_other_exposure(catalog, p.manifest)
                notes.enter_context(archive.writing(p.manifest))
                p.stored_bytes = archive.write(p.manifest, p.measured.sources)
        entry = committer.commit(decide)
    made = {a.serial for a in entry.actions if isinstance(a, Save)} if entry is not None else set()
    rows = {row.serial: row for row in catalog.rows(serials)}
    return [_report(catalog, rows[s], p, s in made) for s, p in zip(serials, prepared, strict=True)]


def _decide(
    catalog: Catalog, position: Position, prepared: Sequence[Prepared], *, tag: str | None, force: bool
) -> tuple[list[Action], list[int]]:
    actions: list[Action] = []
    serials: list[int] = []
    to_tag: list[int] = []
    serial = position.next_serial
    for p in prepared:
        same = None if force else _same(catalog, p)
        if same is not None:
            serials.append(same.serial)
            if tag is not None and tag not in same.tags:
                to_tag.append(same.serial)
            continue
        _refuse_other_exposure(catalog, p.manifest)
        version = max((row.version for row in catalog.track(*p.track)), default=-1) + 1
        digest = digest_bytes(p.manifest.to_bytes())
        actions.append(Save(serial, *p.track, version, digest, p.content, p.stored_bytes))
        serials.append(serial)
        if tag is not None:
            to_tag.append(serial)
        serial += 1
    if tag is not None and to_tag:
        actions.append(Tag(tag, tuple(to_tag)))
    return actions, serials


def _same(catalog: Catalog, p: Prepared) -> ProductRow | None:
    """Find the living version with the same data: the one from the same file if there is one, else the newest."""
    rows = [row for row in catalog.track(*p.track) if row.content == p.content and row.removed is None]
    digest = None if p.manifest.origin is None else p.manifest.origin.digest
    return max(rows, key=lambda row: (row.file_digest == digest, row.version), default=None)


def _refuse_other_exposure(catalog: Catalog, manifest: Manifest) -> None:
    meta = MetaData([(hdu.name, hdu.header) for hdu in manifest.hdus])
    date = meta.get("DATE-OBS")
    for row in catalog.by_name(manifest.name):
        if row.removed is not None:
            continue
        differences = [
            f"{key} {meta[key].value} against {getattr(row, column)}"
            for key, column in _IDENTITY
            if key in meta and getattr(row, column) is not None and meta[key].value != getattr(row, column)
        ]
        if date is not None and isinstance(date.value, datetime) and row.start_time is not None:
            day, known = date.value.date(), row.start_time.date()
            differences += [f"DATE-OBS {day} against {known}"] if day != known else []
        if differences:
            raise Conflict(
                f"{manifest.name} is another exposure in this pool ({row.kind} version {row.version}): "
                f"{'; '.join(differences)}. Nothing was saved; give this one a name of its own (name=, --name)"
            )


def _report(catalog: Catalog, row: ProductRow, p: Prepared, made: bool) -> Saved:
    if made:
        return Saved(row, "new" if row.version == 0 else "version", p.stored_bytes)
    digest = None if p.manifest.origin is None else p.manifest.origin.digest
    return Saved(row, "unchanged", 0, unchanged_notice(catalog, row, same_file=row.file_digest == digest))


def unchanged_notice(catalog: Catalog, row: ProductRow, *, same_file: bool) -> str:
    """Say that nothing was new.

    Parameters
    ----------
    catalog : Catalog
        The index.
    row : ProductRow
        The version that was there.
    same_file : bool
        Whether it came from the very same bytes.

    Returns
    -------
    str
        E.g. "unchanged: version 0; head is 1; this file's own timestamps were not kept".
    """
    head = max((r.version for r in catalog.track(row.kind, row.name) if r.removed is None), default=row.version)
    words = [f"unchanged: version {row.version}"]
    if head != row.version:
        words.append(f"head is {head}")
    if not same_file:
        words.append("this file's own timestamps were not kept")
    return "; ".join(words)
