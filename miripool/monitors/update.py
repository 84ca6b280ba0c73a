"""Bringing a monitor up to date: which exposures are new, what is kept of them, and the version that is saved."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError
from ..model.kinds import Monitor, kind_class
from ..pool import save as saving
from ..pool.find import find
from ..pool.reference import ProductRef
from ..query.queries import MetaQuery
from ..store.archive import archive_at
from ..system.threads import map_bounded, one_of_many, work_ahead, workers_of
from ..system.workfolder import work_folder
from .definition import RULES, Definition
from .events import events_of
from .exposures import read_exposure
from .judgement import assess_all, in_order
from .result import Kept, Member, build, check_form, read_kept
from .rows import read_rows
from .strata import stratum_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor, Future
    from datetime import datetime
    from pathlib import Path

    from ..model.product import Product
    from ..pool.core import Core
    from .exposures import ExposureData
    from .strata import Stratum

    _Found = tuple[Stratum, ExposureData]

__all__ = ["Updated", "definition_of", "save_newest", "select_exposures", "update"]


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did.

    Attributes
    ----------
    ref : ProductRef
        The monitor's newest version; a new one if anything changed.
    exposures : int
        Exposures in it.
    read : int
        Exposures whose arrays were read.
    dropped : int
        Exposures that were in the version before and are not any more.
    left_out : tuple of (str, str)
        URN of each version that can't be monitored, and why.
    changed : bool
        Whether there is a new version.
    """

    ref: ProductRef
    exposures: int
    read: int
    dropped: int
    left_out: tuple[tuple[str, str], ...]
    changed: bool


def definition_of(product: Product) -> tuple[Definition, str]:
    """Read what a monitor looks at.

    Parameters
    ----------
    product : Product
        Of the monitor.

    Returns
    -------
    definition : Definition
        What it looks at.
    rules : str
        Version of the rules that the product was made by; empty if its planes are of an older form, too.

    Raises
    ------
    NewerFormat
        If a newer miripool made it.
    """
    values = {row["name"]: row["value"] for row in read_rows(product, "DEFINITION")}
    return Definition.from_texts(values), values["rules"] if check_form(values) else ""


def update(
    core: Core,
    name: str,
    *,
    tag: str | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Updated:
    """Bring a monitor up to date; see `PixelMonitor.update`.

    Parameters
    ----------
    core : Core
        The pool.
    name : str
        Of the monitor.
    tag, executor, progress : object, keyword-only
        As for `PixelMonitor.update`.

    Returns
    -------
    Updated
        What was done.
    """
    core.catch_up()
    head = core.ref(f"{Monitor.kind}/{name}")
    product = head.product
    definition, rules = definition_of(product)
    known = read_kept(product) if rules else {}
    refs = select_exposures(core, definition)
    if known and rules == RULES and known.keys() == {ref.serial for ref in refs} and tag is None:
        return Updated(head, len(known), 0, 0, (), changed=False)
    with work_folder(core.work_folder) as folder:
        reader = _Reader(core, definition, folder, executor)
        kept, left_out, read = _read_all(refs, known, reader, progress)
        draft = build(definition, assess_all(kept, definition), product if rules else None, events_of(product))
        history = {
            "tool": "miripool monitor",
            "version": RULES,
            "parameters": definition.to_texts(),
            "inputs": [exposure.member.urn for exposure in in_order(kept)],
        }
        ref = save_newest(core, draft, [history], tag)
    gone = known.keys() - {exposure.member.serial for exposure in kept}
    return Updated(ref, len(kept), read, len(gone), tuple(left_out), ref.serial != head.serial)


def save_newest(core: Core, draft: Product, history: Sequence[Mapping[str, Any]], tag: str | None = None) -> ProductRef:
    """Save a version of a monitor that becomes the newest one, also if an older version has the same content.

    Parameters
    ----------
    core : Core
        The pool.
    draft : Product
        The monitor's.
    history : sequence of mapping
        What it was made from and how.
    tag : str, optional
        For the version.

    Returns
    -------
    ProductRef
        The version; the newest one as it is if it has the same content.
    """
    saved = saving.save(core, draft, tag=tag, history=history, pixels=False)
    newest = core.ref(f"{Monitor.kind}/{draft.name}")
    if saved.row.serial != newest.serial:
        saved = saving.save(core, draft, tag=tag, history=history, pixels=False, force=True)
    return ProductRef(core, saved.row, notice=saved.notice)


def select_exposures(core: Core, definition: Definition) -> list[ProductRef]:
    """Find the versions that a monitor follows.

    Parameters
    ----------
    core : Core
        The pool; its index is caught up.
    definition : Definition
        Of the monitor.

    Returns
    -------
    list of ProductRef
        In the order of saving.

    Raises
    ------
    QueryError, UnknownKeyword
        If the condition can't be read, or names a keyword that nobody knows.
    """
    cls = kind_class(definition.kind)
    return [
        ref for ref in find(core, MetaQuery(cls, "p", definition.where), tag=definition.tag) if ref.kind == cls.kind
    ]


def _read_all(
    refs: Sequence[ProductRef],
    known: dict[int, Kept],
    reader: _Reader,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Kept], list[tuple[str, str]], int]:
    """Give what is kept of all exposures; those that are not known are read, several at a time."""
    fresh = [ref for ref in refs if ref.serial not in known]
    kept = [known[ref.serial] for ref in refs if ref.serial in known]
    left_out: list[tuple[str, str]] = []
    for i, (ref, found) in enumerate(reader.read(fresh), 1):
        if isinstance(found, str):
            left_out.append((str(ref.urn), found))
        else:
            kept.append(reader.keep(ref, *found))
        if progress is not None:
            progress(i, len(fresh))
    return kept, left_out, len(fresh) - len(left_out)


class _Reader:
    """Reads exposures: in threads of this process, or with an executor in others."""

    def __init__(self, core: Core, definition: Definition, folder: Path, executor: Executor | None) -> None:
        self._core = core
        self._definition = definition
        self._folder = folder
        self._executor = executor

    def read(self, refs: Sequence[ProductRef]) -> Iterator[tuple[ProductRef, _Found | str]]:
        """Give what each exposure says, in their order; the reason where it can't be monitored."""
        executor = self._executor
        if executor is None:
            yield from map_bounded(lambda ref: (ref, _reduce(ref.product, ref.start_time, self._definition)), refs)
            return
        place, pool_id = self._core.archive.place, self._core.id

        def submit(ref: ProductRef) -> Future[_Found | str]:
            manifest = self._core.version(ref).manifest
            return executor.submit(reduce_elsewhere, place, pool_id, manifest, ref.start_time, self._definition)

        with contextlib.closing(work_ahead(refs, submit, 2 * workers_of(executor))) as running:
            for ref, future in running:
                yield ref, future.result()

    def keep(self, ref: ProductRef, stratum: Stratum, data: ExposureData) -> Kept:
        """Put the planes of an exposure into a file, which needs no memory."""
        path = self._folder / f"{ref.serial}.npy"
        np.save(path, data.planes)
        start = ref.start_time
        assert start is not None  # noqa: S101 -- `_reduce` gives a reason then
        member = Member(
            ref.serial, ref.version, str(ref.urn), ref.name, start, stratum, data.integrations, data.settling
        )
        return Kept(member, np.load(path, mmap_mode="r"), data.trends)


def reduce_elsewhere(
    place: str, pool_id: str, manifest: str, start: datetime | None, definition: Definition
) -> _Found | str:
    """Reduce an exposure in a process that works for another.

    Parameters
    ----------
    place, pool_id : str
        As for `archive_at`.
    manifest : str
        Digest of the version's manifest.
    start : datetime or None
        When the exposure began.
    definition : Definition
        Of the monitor.

    Returns
    -------
    (Stratum, ExposureData) or str
        What it says; the reason where it can't be monitored.
    """
    archive = archive_at(place, pool_id)
    with one_of_many():
        return _reduce(archive.product(archive.manifest(manifest)), start, definition)


def _reduce(product: Product, start: datetime | None, definition: Definition) -> _Found | str:
    """Reduce an exposure to what is kept of it; give the reason where it can't be monitored."""
    try:
        if start is None:
            return "its header does not say when the exposure began"
        stratum = stratum_of(product.meta, definition.region, definition.light)
        if stratum is None:
            return f"it has no pixel in the region {definition.region}"
        return stratum, read_exposure(product, stratum)
    except FormatError as error:
        return str(error)
