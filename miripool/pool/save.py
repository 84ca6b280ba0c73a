"""Save: a product, a file or a datamodel becomes a version of a pool, and gets its pixel rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import formats
from ..errors import InvalidInput, MiripoolError, ServerUnavailable
from ..model.kinds import kind_class, slots
from ..model.product import Context, Product
from . import contexts, exposures
from .pixelrows import LEFT_OUT
from .prepared import Prepared, prepare
from .reference import ProductRef
from .saving import Saved, save_each, save_known, save_together
from .select import serials_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..index import ProductRow
    from ..model.product import Link, Origin
    from .core import Core
    from .decision import Wanted

__all__ = [
    "commit",
    "commit_each",
    "commit_together",
    "doubt_kind",
    "finish",
    "keep_exposures",
    "make_pixels",
    "read",
    "save",
]


def save(
    core: Core,
    source: Any,
    *,
    name: str | None = None,
    kind: str | type[Product] | None = None,
    tag: str | None = None,
    force: bool = False,
    history: Sequence[Mapping[str, Any]] = (),
    pixels: bool | None = None,
    truncate: bool = False,
) -> Saved:
    """Save a product as `Pool.save` does, and say what came of it.

    Parameters
    ----------
    core : Core
        The pool.
    source, name, kind, tag, force, history, pixels, truncate : object
        As for `Pool.save`.

    Returns
    -------
    Saved
        The version, whether it is new, and the bytes stored.
    """
    if isinstance(source, Context):
        return _save_context(core, source if name is None else source.renamed(name), tag)
    product = read(source, name=name, kind=kind, truncate=truncate)
    saved = commit(core, product, history=history, tag=tag, force=force, pixels=pixels)
    return finish(core, saved, pixels=pixels, product=product)


def _save_context(core: Core, context: Context, tag: str | None) -> Saved:
    """Save a context and what of it is in no pool yet, in one entry; a tag reaches all that it refers to."""
    core.catch_up()
    ready = contexts.gather(core.archive, context, pool_id=core.id, find=core.finder.row)

    def reach(serials: Sequence[int]) -> Sequence[ProductRow]:
        return contexts.reached(core.archive, core.catalog, core.catalog.rows(serials))

    saves = save_together(core.archive, core.catalog, core.committer, ready, tag=tag, reach=reach)
    return [finish(core, saved) for saved in saves][-1]


def keep_exposures(core: Core, made: Iterable[ProductRef], known: Iterable[ProductRef] = ()) -> list[ProductRef]:
    """Keep the `Exposure` contexts of products: a version for each run of the pipeline of which something is new.

    Parameters
    ----------
    core : Core
        The pool.
    made : iterable of ProductRef
        New versions; other kinds than those of an exposure are passed over. They are sorted by the run that made
        them, as their headers tell: CRDS context, software, references, steps, and the raw they are from.
    known : iterable of ProductRef, optional
        Versions that were there: those to which no living exposure refers.

    Returns
    -------
    list of ProductRef
        The exposures; those of one name in the order of their making.
    """
    core.catch_up()
    serials = (serials_of(made), serials_of(known))
    keeping = exposures.plan(core.archive, core.catalog, *serials, is_ours=core.finder.is_ours, load=core.load_version)
    saves = [s for ready in keeping for s in save_together(core.archive, core.catalog, core.committer, ready)]
    return [ProductRef(core, saved.row, notice=saved.notice) for saved in saves]


def commit(
    core: Core,
    product: Product | Prepared,
    *,
    history: Sequence[Mapping[str, Any]] = (),
    tag: str | None = None,
    force: bool = False,
    pixels: bool | None = None,
) -> Saved:
    """Make a version of a product; those of one track count in the order of these calls.

    It is saved then; its pixel rows are `finish`'s.

    Parameters
    ----------
    core : Core
        The pool.
    product : Product or Prepared
        From `read`, or what another process measured and stored.
    history, tag, force : object, keyword-only
        As for `Pool.save`; what is prepared has its history.
    pixels : bool, keyword-only, optional
        As for `finish`, if it is False: the index then notes it with the version.

    Returns
    -------
    Saved
        The version, whether it is new, and the bytes stored.

    Raises
    ------
    ArraysElsewhere
        If another process did not store the arrays, as they were there, and they are no more: `read` it here.
    """
    measured = product if isinstance(product, Prepared) else None
    origin, track = _file_and_track(product)

    def attempt() -> Saved:
        nonlocal measured
        if force or origin is not None:  # otherwise the index need not be asked before the arrays are measured
            core.catch_up()
        known = None if force else save_known(core.archive, core.catalog, core.committer, origin, track, tag=tag)
        if known is not None:
            return known
        measured = measured or _measured(core, product, history)
        (saved,) = save_together(
            core.archive, core.catalog, core.committer, [measured], tag=tag, force=force,
            without_pixels=LEFT_OUT if pixels is False else None,
        )  # fmt: skip
        return saved

    return attempt() if force else core.again(attempt)  # done twice by force it would be saved twice


def _file_and_track(product: Product | Prepared) -> tuple[Origin | None, tuple[str, str]]:
    """Give the file that a product is, bit for bit, and its track; metadata that were set since make it another."""
    if isinstance(product, Prepared):
        return product.manifest.origin, product.track
    origin = None if product.layout is None else formats.layout_of(product).origin
    return origin, (product.kind, product.name or "")


def _measured(core: Core, product: Product | Prepared, history: Sequence[Mapping[str, Any]]) -> Prepared:
    if isinstance(product, Prepared):
        return product
    return prepare(core.archive, product, name=product.name or "", history=history)


def commit_each(
    core: Core, wanted: Sequence[Wanted], *, tag: str | None = None, force: bool = False
) -> list[Saved | Exception]:
    """Make versions of products by one journal entry, or by several if one of them spoils it for the others.

    Parameters
    ----------
    core : Core
        The pool.
    wanted : sequence of Prepared or ProductRow
        Products, measured and stored, and versions that files were found to be; of different tracks.
    tag, force : object, keyword-only
        As for `Pool.save`.

    Returns
    -------
    list of Saved or Exception
        In the order given: the version, or why there is none. With ArraysElsewhere, the file is to be `read` here.

    Raises
    ------
    PoolNotFound
        If the pool was deleted or renamed meanwhile.
    """
    if not wanted:
        return []

    def attempt() -> list[Saved | Exception]:
        core.catch_up()
        return save_each(core, wanted, tag=tag, force=force)

    try:
        return attempt() if force else core.again(attempt)
    except Exception as error:
        core.archive.confirm()
        if len(wanted) == 1 or isinstance(error, ServerUnavailable):
            return [error] * len(wanted)
    # What the database refuses, e.g. a text that is too long for its indexes, is found by halving.
    half = len(wanted) // 2
    return [
        *commit_each(core, wanted[:half], tag=tag, force=force),
        *commit_each(core, wanted[half:], tag=tag, force=force),
    ]


def commit_together(
    core: Core,
    products: Sequence[Product | Prepared],
    *,
    history: Sequence[Mapping[str, Any]] = (),
    tag: str | None = None,
    pixels: bool | None = None,
    raw: ProductRef | None = None,
) -> list[ProductRef]:
    """Make versions of products, in one journal entry: all of them, or none.

    Parameters
    ----------
    core : Core
        The pool.
    products : sequence of Product or Prepared
        From `read`, or what another process measured and stored; of different tracks.
    history, tag, pixels : object, keyword-only
        As for `Pool.save`, for all of them; what is prepared has its history.
    raw : ProductRef, keyword-only, optional
        What they were made from: they and it become references of its `Exposure`, in the same entry.

    Returns
    -------
    list of ProductRef
        In their order; the `notice` of one says so where nothing was new.
    """
    core.catch_up()
    prepared = [_measured(core, product, history) for product in products]
    if raw is not None:
        targets: dict[str, Link | Prepared] = {slots()[raw.kind]: contexts.link_to(core.finder.row(raw))}
        targets |= {slots()[p.manifest.kind]: p for p in prepared}
        prepared += contexts.follow_exposures(core.archive, {raw.name: targets}, lambda _: raw.product)
    saves = save_together(core.archive, core.catalog, core.committer, prepared, tag=tag)
    done = [finish(core, saved, pixels=pixels) for saved in saves]
    return [ProductRef(core, saved.row, notice=saved.notice) for saved in done]


def finish(core: Core, saved: Saved, *, pixels: bool | None = None, product: Product | None = None) -> Saved:
    """Make the pixel rows of what was saved, which may run beside others.

    Parameters
    ----------
    core : Core
        The pool.
    saved : Saved
        From `commit`.
    pixels : bool, keyword-only, optional
        As for `Pool.save`.
    product : Product, keyword-only, optional
        What was saved: if it is in memory, its arrays need not be read from the pool.

    Returns
    -------
    Saved
        The same; its notice says so where the rows could not be made, or where the kind is not what the file's name
        says.
    """
    is_in_memory = product is not None and product.layout is None and saved.status != "unchanged"
    notices = (
        saved.notice,
        doubt_kind(core, saved),
        None if saved.is_noted else make_pixels(core, saved.row, pixels, product=product if is_in_memory else None),
    )
    return replace(saved, notice="; ".join(filter(None, notices)) or None)


def doubt_kind(core: Core, saved: Saved) -> str | None:
    """Say so where the kind of a new version is not what its file's name says.

    Parameters
    ----------
    core : Core
        The pool.
    saved : Saved
        From `commit` or `commit_each`.

    Returns
    -------
    str or None
        What the user should know.
    """
    if saved.status == "unchanged" or saved.row.kind != Product.kind or not saved.row.filename:
        return None
    return formats.doubt_kind(core.load_version(saved.row), saved.row.filename)


def make_pixels(
    core: Core, row: ProductRow, wanted: bool | None = None, *, product: Product | None = None
) -> str | None:
    """Make a version's pixel rows as far as they are wanted.

    Parameters
    ----------
    core : Core
        The pool.
    row : ProductRow
        The version.
    wanted : bool, optional
        Make them, or leave them out, whatever the pool's setting says.
    product : Product, keyword-only, optional
        Has the version's arrays; they are read from the pool otherwise.

    Returns
    -------
    str or None
        What the user should know.
    """
    try:
        return core.again(lambda: core.pixel_rows.after_save(row, wanted=wanted, product=product))
    except MiripoolError as error:
        return f"pixel rows pending, `miripool index pixels {core.name}` makes them ({error})"


def read(
    source: Any,
    *,
    name: str | None = None,
    kind: str | type[Product] | None = None,
    truncate: bool = False,
) -> Product:
    """Give the product that a source would be saved as; no array is read.

    Parameters
    ----------
    source, name, kind, truncate : object
        As for `Pool.save`.

    Returns
    -------
    Product
        With a name, for `commit`.
    """
    wanted = kind.kind if isinstance(kind, type) else kind_class(kind).kind if kind else None
    product = source.product if isinstance(source, ProductRef) else source
    if not isinstance(product, Product):
        product = formats.read_fits(product, name=name, kind=wanted, truncate=truncate)
    elif wanted is not None and wanted != product.kind:
        raise InvalidInput(f"this product is a {product.kind}, not a {wanted}")
    elif name is not None:
        product = product.renamed(name)
    if not product.name:
        raise InvalidInput(f"a {product.kind} that does not come from a file needs a name: save(product, name=…)")
    return product
