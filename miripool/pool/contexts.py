"""Contexts in a pool: what is saved with them, what they reach, what they hold fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import Conflict, InvalidInput, ProductNotFound
from ..model.kinds import slots
from ..model.metadata import MetaData
from ..model.names import Urn
from ..model.product import Context, Exposure, Link, Product
from .prepared import Prepared, prepare, prepare_context
from .reference import ProductRef

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..index import Catalog, ProductRow
    from ..store.archive import Archive
    from .resolve import Reference

__all__ = ["follow_exposures", "gather", "go_with", "link_to", "reached", "widen_removal", "widen_restoring"]

_ABOUT = (
    "TELESCOP", "ORIGIN", "INSTRUME", "DETECTOR", "CHANNEL", "BAND", "FILTER", "SUBARRAY", "READPATT", "EXP_TYPE",
    "OBS_ID", "DATE-OBS", "TIME-OBS", "NINTS", "NGROUPS",
)  # fmt: skip
"""Keywords that an exposure has from its products."""


def link_to(row: ProductRow, name: str = "") -> Link:
    """Say what a context says of a version.

    Parameters
    ----------
    row : ProductRow
        The version.
    name : str, optional
        The reference's.

    Returns
    -------
    Link
        For a manifest.
    """
    return Link(name, row.kind, row.name, row.version, row.serial, row.manifest)


def gather(
    archive: Archive, context: Context, *, pool_id: str, find: Callable[[Reference], ProductRow]
) -> list[Prepared]:
    """Prepare a context and all in it that is in no pool yet.

    Parameters
    ----------
    archive : Archive
        The pool's folder.
    context : Context
        To be saved.
    pool_id : str, keyword-only
        The pool's.
    find : callable, keyword-only
        Gives the row of a version of this pool.

    Returns
    -------
    list of Prepared
        What is referred to before what refers to it; the context last.

    Raises
    ------
    InvalidInput
        If it refers to itself, by whatever way, to another pool, or to something that has no name.
    """
    ready: list[Prepared] = []
    known: dict[int, Prepared] = {}

    def visit(product: Product, above: tuple[int, ...]) -> Prepared:
        if id(product) in above:
            raise InvalidInput(f"{product.kind} {product.name} refers to itself")
        if id(product) in known:
            return known[id(product)]
        if not product.name:
            raise InvalidInput(f"a {product.kind} that does not come from a file needs a name to be saved")
        if isinstance(product, Context):
            targets = {name: target(name, value, (*above, id(product))) for name, value in product.refs.items()}
            made = prepare_context(archive, product, targets, name=product.name)
        else:
            made = prepare(archive, product, name=product.name, history=())
        known[id(product)] = made
        ready.append(made)
        return made

    def target(name: str, value: Any, above: tuple[int, ...]) -> Link | Prepared:
        if isinstance(value, Product) and value.ref is not None:
            value = value.ref
        if isinstance(value, Product):
            return visit(value, above)
        if not isinstance(value, ProductRef | Urn | str):
            raise InvalidInput(
                f"reference {name!r} is a {type(value).__name__}; give a ProductRef, a SPEC, a URN, or a product"
            )
        if isinstance(value, ProductRef) and value.pool.id != pool_id:
            raise InvalidInput(f"reference {name!r} refers to {value.urn}, which is in another pool")
        return link_to(find(value))

    visit(context, ())
    return ready


def follow_exposures(
    archive: Archive,
    changes: Mapping[str, Mapping[str, Link | Prepared]],
    about: Callable[[str], Product],
    inherit: Mapping[str, Callable[[Sequence[ProductRow]], Sequence[Link]]] | None = None,
) -> list[Prepared]:
    """Prepare the exposures of products that one run made.

    Parameters
    ----------
    archive : Archive
        The pool's folder.
    changes : mapping
        By name of the exposure, what its references are.
    about : callable
        Gives a product of the exposure of a name: its metadata are told of a new one.
    inherit : mapping, optional
        By name of the exposure, what gives further references of its living versions; none unless given.

    Returns
    -------
    list of Prepared
        One for each name.
    """
    made = []
    for name, targets in changes.items():
        exposure = Exposure(meta=_about_exposure(about(name)), name=name)
        follows = (inherit or {}).get(name, _inherit_nothing)
        made.append(prepare_context(archive, exposure, targets, name=name, follows=follows))
    return made


def _about_exposure(product: Product) -> MetaData:
    """Give what an exposure has from a product; files have values that no header may hold, and those are left out."""
    cards = {key: value for key, value in product.meta.to_dict(_ABOUT).items() if value is not None}
    try:
        return MetaData.from_mapping(cards)
    except InvalidInput:
        return MetaData.from_mapping({key: value for key, value in cards.items() if _is_writable(key, value)})


def _is_writable(key: str, value: Any) -> bool:
    try:
        MetaData.from_mapping({key: value})
    except InvalidInput:
        return False
    return True


def _inherit_nothing(_: Sequence[ProductRow]) -> Sequence[Link]:
    return ()


def reached(archive: Archive, catalog: Catalog, rows: Sequence[ProductRow]) -> list[ProductRow]:
    """Give versions, and all that those of them which are contexts refer to, directly or by others.

    Parameters
    ----------
    archive, catalog : Archive, Catalog
        The pool's.
    rows : sequence of ProductRow
        Versions.

    Returns
    -------
    list of ProductRow
        Each once.
    """
    found: dict[int, ProductRow] = {}
    level = list(rows)
    while level:
        found |= {row.serial: row for row in level}
        links = [link for row in level if is_context(row) for link in archive.manifest(row.manifest).references]
        level = catalog.rows([serial for serial in dict.fromkeys(k.serial for k in links) if serial not in found])
    return list(found.values())


def is_context(row: ProductRow) -> bool:
    """Tell whether a version is a context.

    Parameters
    ----------
    row : ProductRow
        The version.

    Returns
    -------
    bool
        True for kinds derived from Context.
    """
    return row.kind in (Context.kind, Exposure.kind)


def widen_restoring(archive: Archive, catalog: Catalog, name: str, serials: Sequence[int]) -> list[int]:
    """Find what comes back with versions: what those of them that are contexts refer to, and their exposures.

    An exposure that went with a version comes back with it, once all that it refers to is there.

    Parameters
    ----------
    archive, catalog : Archive, Catalog
        The pool's.
    name : str
        The pool's, for messages.
    serials : sequence of int
        What is to be restored.

    Returns
    -------
    list of int
        Serials, the given ones first.

    Raises
    ------
    Conflict
        If a context refers to what was removed for good.
    """
    given = catalog.rows(list(serials))
    found = reached(archive, catalog, [row for row in given if row.purged is None])
    found += _exposures_gone_with(catalog, found)
    gone = [row for row in found if row.purged is not None]
    if gone:
        raise Conflict(f"contexts to restore refer to versions that were removed for good: {_listed(name, gone)}")
    return [*serials, *(row.serial for row in found if row.serial not in set(serials))]


def _exposures_gone_with(catalog: Catalog, rows: Sequence[ProductRow]) -> list[ProductRow]:
    """Find the exposures in the trash that went in one entry with some of these, and miss nothing but these."""
    moments = {row.removed for row in rows if row.removed is not None}
    coming = {row.serial for row in rows}
    gone = [e for e in catalog.referring(list(coming), removed=True) if e.removed in moments and e.purged is None]
    return [
        exposure
        for exposure in gone
        if exposure.serial not in coming
        and (parts := _kept_parts(catalog, exposure))
        and all(part.removed is None or part.serial in coming for part in parts)
    ]


def _kept_parts(catalog: Catalog, context: ProductRow) -> list[ProductRow]:
    """Give what an exposure refers to, if it is one as `add` and `reprocess` make them; nothing otherwise."""
    if context.kind != Exposure.kind:
        return []
    links = catalog.links(context.serial)
    parts = catalog.rows(list(links.values()))
    named = {row.serial: slots().get(row.kind) for row in parts if row.name == context.name}
    return parts if all(named.get(serial) == name for name, serial in links.items()) else []


def widen_removal(catalog: Catalog, name: str, serials: Sequence[int], *, cascade: bool) -> list[int]:
    """Find what has to be removed with versions: the living contexts that refer to them.

    The exposures that `add` and `reprocess` have made go by themselves, others only where they may.

    Parameters
    ----------
    catalog : Catalog
        The pool's.
    name : str
        The pool's, for messages.
    serials : sequence of int
        What is to be removed.
    cascade : bool, keyword-only
        Whether contexts of users may go too.

    Returns
    -------
    list of int
        Serials, the given ones first.

    Raises
    ------
    Conflict
        If contexts refer to them, and are not to go.
    ProductNotFound
        If a version is not there.
    """
    if len(catalog.rows(list(dict.fromkeys(serials)))) < len(set(serials)):
        raise ProductNotFound("one of these versions is not in this pool")
    found, held = go_with(catalog, serials, cascade=cascade)
    if held:
        raise Conflict(
            f"contexts refer to the versions to remove: {_listed(name, held)}; remove the contexts as well "
            "(cascade=True, --cascade), or keep the versions"
        )
    return found


def go_with(catalog: Catalog, serials: Sequence[int], *, cascade: bool = False) -> tuple[list[int], list[ProductRow]]:
    """Find the living contexts that go into the trash with versions, and those that hold the versions fast.

    Parameters
    ----------
    catalog : Catalog
        The pool's.
    serials : sequence of int
        What is to be removed.
    cascade : bool, keyword-only
        Whether contexts of users may go too.

    Returns
    -------
    list of int
        Serials, the given ones first.
    list of ProductRow
        Contexts of users that are not to go; empty with `cascade`.
    """
    found = dict.fromkeys(serials)
    held: list[ProductRow] = []
    while not held:
        holding = [row for row in catalog.referring(list(found)) if row.serial not in found]
        if not holding:
            break
        held = [] if cascade else [row for row in holding if not _kept_parts(catalog, row)]
        found |= dict.fromkeys(row.serial for row in holding)
    return list(found), held


def _listed(name: str, rows: Sequence[ProductRow]) -> str:
    shown = ", ".join(f"{Urn(name, r.kind, r.serial)} ({r.kind}/{r.name}@{r.version})" for r in rows[:5])
    return f"{shown} and {len(rows) - 5} more" if len(rows) > 5 else shown
