"""The trash: versions are put into it, restored, or removed for good."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .. import index
from ..errors import MiripoolError, ProductNotFound
from ..model.keywords import dictionary
from ..model.kinds import kind_class
from ..model.names import Urn
from ..model.product import Product
from ..query.queries import as_query
from ..store.journal import Action, Purge, Remove, Restore
from . import contexts
from .reference import ProductRef, ProductRefs
from .save import make_pixels
from .select import refuse_unknown, sort_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta

    from ..index import Position, ProductRow
    from .core import Core
    from .resolve import Reference

__all__ = [
    "follow_removal",
    "follow_restoring",
    "in_trash",
    "purge",
    "remove",
    "removed_with",
    "restore",
    "serials_among",
    "trash",
]


def remove(core: Core, refs: Reference | Iterable[Reference], *, cascade: bool = False) -> list[int]:
    """Put versions into the trash. Nothing is deleted; `restore` brings them back.

    Parameters
    ----------
    core : Core
        The pool.
    refs : ProductRef, str, or an iterable of them
        The versions.
    cascade : bool, keyword-only
        Also remove the contexts made by users that refer to the versions. The exposures that `add` and `reprocess`
        made of the versions are always removed and restored with them.

    Returns
    -------
    list of int
        Serials of the versions that were put into the trash. Their numbers are not used again.

    Raises
    ------
    Conflict
        If contexts made by users refer to the versions and `cascade` is False.
    """
    core.catch_up()
    serials = serials_among(core, refs)
    for row in core.catalog.rows(serials):
        core.finder.living(row)
    moved = _move(
        core,
        serials,
        Remove,
        removed=False,
        widen=lambda found: contexts.widen_removal(core.catalog, core.name, found, cascade=cascade),
    )
    follow_removal(core)
    return moved


def follow_removal(core: Core) -> None:
    """Drop the pixel rows that no living version needs any more.

    Parameters
    ----------
    core : Core
        The pool, after versions went into the trash.
    """
    with contextlib.suppress(MiripoolError):  # the next save, or `index pixels`, makes up for it
        core.pixel_rows.tidy()


def removed_with(core: Core, refs: Reference | Iterable[Reference], *, cascade: bool = False) -> list[ProductRef]:
    """Tell what `remove` would put into the trash; nothing is changed.

    Parameters
    ----------
    core : Core
        The pool.
    refs, cascade : object
        As for `remove`.

    Returns
    -------
    list of ProductRef
        The versions, and with `cascade` the contexts that refer to them.
    """
    core.catch_up()
    serials = contexts.widen_removal(core.catalog, core.name, serials_among(core, refs), cascade=cascade)
    return core.fetch(serials)


def trash(
    core: Core,
    kind: str | type[Product] | None = None,
    *,
    longer_than: timedelta | None = None,
    order: str | Sequence[str] | None = None,
    limit: int | None = None,
) -> ProductRefs:
    """List the versions in the trash.

    Parameters
    ----------
    core : Core
        The pool.
    kind : str or type of Product, optional
        Of this kind only; otherwise of all, contexts too.
    longer_than : timedelta, keyword-only, optional
        Only those that have been there for longer.
    order, limit : object, keyword-only
        As for `Pool.select`.

    Returns
    -------
    ProductRefs
        In the order of saving, unless ordered otherwise.
    """
    asked = as_query(kind_class(kind) if isinstance(kind, str) else kind or Product)
    keys = sort_keys(order)
    core.catch_up()
    refuse_unknown([core], asked, keys)
    rows = core.catalog.select(
        kinds=None if kind is None else asked.kinds,
        removed=True,
        order_by=index.order_by(keys, names=dictionary()),
        limit=limit if longer_than is None else None,
    )
    if longer_than is not None:
        since = datetime.now(UTC) - longer_than
        rows = [row for row in rows if row.removed is not None and row.removed < since][:limit]
    return ProductRefs([(core, row.serial) for row in rows])


def in_trash(core: Core, spec: Reference) -> ProductRef:
    """Find the version that `restore` would bring back.

    Parameters
    ----------
    core : Core
        The pool.
    spec : ProductRef, Urn or str
        One version; without version or tag, the newest of its track that is in the trash.

    Returns
    -------
    ProductRef
        The version; its `removed` is None where it is named exactly and not in the trash.

    Raises
    ------
    ProductNotFound
        If there is none.
    """
    core.catch_up()
    return ProductRef(core, core.finder.row_in_trash(spec))


def restore(core: Core, refs: Reference | Iterable[Reference]) -> list[int]:
    """Take versions out of the trash. They have their tags again, except tags that have moved to other versions.

    Parameters
    ----------
    core : Core
        The pool.
    refs : ProductRef, str, or an iterable of them
        The versions. A SPEC without version means the newest version of the product that is in the trash. A context
        is restored with all that it refers to.

    Returns
    -------
    list of int
        Serials of the versions that were restored, without those that were not in the trash.

    Raises
    ------
    Conflict
        If a context refers to a version that was removed for good.
    """
    core.catch_up()
    serials: Sequence[int] = serials_among(core, refs, find=core.finder.row_in_trash)

    def widen(given: Sequence[int]) -> Sequence[int]:
        nonlocal serials
        serials = contexts.widen_restoring(core.archive, core.catalog, core.name, given)
        return serials

    moved = _move(core, serials, Restore, removed=True, widen=widen)
    follow_restoring(core, serials)
    return moved


def follow_restoring(core: Core, serials: Sequence[int]) -> None:
    """Make the pixel rows of versions that came out of the trash.

    Parameters
    ----------
    core : Core
        The pool.
    serials : sequence of int
        The versions; those that are in the trash are passed over.
    """
    for row in core.catalog.rows(serials):
        if row.removed is None:
            make_pixels(core, row)


def purge(core: Core, refs: Reference | Iterable[Reference]) -> int:
    """Remove versions in the trash for good: they can't be restored, and `miripool gc` deletes their arrays.

    Their numbers are not used again and their manifests stay, so that what was made from them can still be traced.

    Parameters
    ----------
    core : Core
        The pool.
    refs : ProductRef, str, or an iterable of them
        The versions.

    Returns
    -------
    int
        How many versions were removed; versions that are not in the trash, or that another process removed
        meanwhile, do not count.
    """
    core.catch_up()

    def find(ref: Reference) -> ProductRow:
        return core.finder.row(ref) if isinstance(ref, ProductRef) else core.finder.row_in_trash(ref)

    return len(_move(core, serials_among(core, refs, find=find), Purge, removed=True))


def _move(
    core: Core,
    serials: Sequence[int],
    action: type[Remove] | type[Restore] | type[Purge],
    *,
    removed: bool,
    widen: Callable[[Sequence[int]], Sequence[int]] = lambda found: found,
) -> list[int]:
    moved: tuple[int, ...] = ()

    def decide(_: Position) -> Sequence[Action]:
        nonlocal moved
        rows = core.catalog.rows(widen(serials))
        moved = tuple(row.serial for row in rows if (row.removed is not None) == removed and row.purged is None)
        return [action(moved)] if moved else []

    core.committer.commit(decide)
    return list(moved)


def serials_among(
    core: Core, refs: Reference | Iterable[Reference], *, find: Callable[[Reference], ProductRow] | None = None
) -> list[int]:
    """Give the serials of versions, each once; the index is caught up.

    Parameters
    ----------
    core : Core
        The pool.
    refs : ProductRef, Urn, str, or an iterable of them
        The versions.
    find : callable, keyword-only, optional
        Gives the row of one; among all versions unless given.

    Returns
    -------
    list of int
        In that order.

    Raises
    ------
    ProductNotFound
        If one is of another pool, or is not there.
    """
    if isinstance(refs, ProductRefs):
        for other, serial in refs.keys:
            if other.id != core.id:
                raise ProductNotFound(f"version {serial} of pool {other.name!r} is not in pool {core.name!r}")
        return list(dict.fromkeys(serial for _, serial in refs.keys))
    if isinstance(refs, (ProductRef, Urn, str)):
        refs = [refs]
    return list(dict.fromkeys((find or core.finder.row)(ref).serial for ref in refs))
