"""Pool: a folder of products (the truth) and its index, as one thing to work with."""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import contexts, exposures, selecting, tagging
from .commit import Committer
from .difference import Difference, compare, compare_products
from .errors import (
    FileMissing,
    IntegrityError,
    InvalidInput,
    MiripoolError,
    NotFound,
    ProductNotFound,
    ServerUnavailable,
)
from .exporting import export_name
from .finding import Finder, kept, only_one
from .formats import doubt_kind, layout_of, read_fits, to_datamodel, to_hdulist, write_fits
from .index import order_by
from .journal import Action, Purge, Remove, Restore
from .keywords import dictionary
from .lineage import Lineage, Use, find_uses, trace
from .listing import list_rows
from .names import Urn, check_label
from .notebook import html_table
from .outfile import is_folder
from .pixelrows import PixelRows
from .poolinfo import PIXEL_POLICIES
from .product import Context, Product, kind_class
from .query.queries import as_query, functions_in
from .reasons import why_empty
from .reference import ProductRef, ProductRefs, Version
from .saving import Prepared, Saved, from_file, prepare, save_known, save_together, write_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Executor

    from .archive import Archive
    from .explain import Explanation
    from .finding import Reference
    from .index import Catalog, Position, ProductRow, TagEvent, TagSummary
    from .ingest import Outcome
    from .manifest import Manifest
    from .pixel import Pixel, Pixels
    from .product import Link, Origin

__all__ = ["Pool", "Ready"]

_T = TypeVar("_T")


@dataclass(slots=True)
class Ready:
    """A product that waits for its turn to be saved; `close` it afterwards, whatever came of it.

    Attributes
    ----------
    product : Product or None
        What is to be saved; None where it was read by others.
    name : str
        The track's name.
    history : sequence of mapping
        What it was made from and how.
    prepared : Prepared or None
        Its arrays measured, where that was necessary.
    """

    product: Product | None
    name: str
    history: Sequence[Mapping[str, Any]] = ()
    prepared: Prepared | None = None
    _notes: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def close(self) -> None:
        """Remove the pending note: blobs that no version refers to are gc's from now on."""
        self._notes.close()

    @property
    def origin(self) -> Origin | None:
        """The file that it is, bit for bit; metadata that were set since make it another product than the file."""
        if self.product is None:
            return None if self.prepared is None else self.prepared.manifest.origin
        return None if self.product.layout is None else layout_of(self.product).origin

    @property
    def track(self) -> tuple[str, str]:
        """Kind and name."""
        if self.product is None:
            return ("", self.name) if self.prepared is None else self.prepared.track
        return self.product.kind, self.name

    def measure(self, archive: Archive) -> Prepared:
        """Give it measured.

        Parameters
        ----------
        archive : Archive
            The pool's folder.

        Returns
        -------
        Prepared
            The same each time.
        """
        if self.prepared is None:
            if self.product is None:
                raise InvalidInput(f"{self.name} has neither a product nor its measures")
            self.prepared = prepare(archive, self.product, name=self.name, history=self.history)
        return self.prepared


class Pool:
    """A named store of products. `PoolManager.getPool` gives one.

    Parameters
    ----------
    name : str
        The pool's name.
    archive : Archive
        Its folder.
    open_catalog : callable
        Connects to its index; called when the index is first needed.
    opened_by : tuple, optional
        A function, and arguments that it opens the pool with in another process: what is pickled of the pool.
    """

    def __init__(
        self,
        name: str,
        archive: Archive,
        open_catalog: Callable[[], Catalog],
        *,
        opened_by: tuple[Callable[..., Pool], tuple[str, ...]] | None = None,
    ) -> None:
        self._name = name
        self.archive = archive
        self._open_catalog = open_catalog
        self._opened_by = opened_by
        self._catalog: Catalog | None = None
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[Callable[..., Pool], tuple[str, ...]]:
        if self._opened_by is None:
            raise TypeError(f"pool {self._name} was not opened by a Home, and can't be pickled")
        return self._opened_by

    @property
    def name(self) -> str:
        """The pool's name."""
        return self._name

    @property
    def id(self) -> str:
        """What tells this pool from all others, for ever, whatever its name."""
        return self.archive.info.id

    @property
    def catalog(self) -> Catalog:
        """The index; connecting starts the embedded server if there is need."""
        with self._opening:
            if self._catalog is None:
                self.archive.confirm()  # or an index would be made for a pool that is gone
                catalog = self._open_catalog()
                try:
                    Committer(self.archive, catalog).check()
                except BaseException:
                    catalog.close()
                    raise
                catalog.database.confirm = self.archive.confirm
                self._catalog = catalog
            return self._catalog

    def index_position(self) -> Position | None:
        """Tell what the index has followed, whether the folder agrees or not.

        Returns
        -------
        Position or None
            None where there is no index to ask.
        """
        try:
            with self._open_catalog() as catalog:
                return catalog.position()
        except MiripoolError:
            return None

    @property
    def _committer(self) -> Committer:
        return Committer(self.archive, self.catalog)

    @property
    def _finder(self) -> Finder:
        return Finder(self.catalog, self.archive.info, self.name)

    @property
    def pixel_rows(self) -> PixelRows:
        """The rows of detector pixels in the index."""
        return PixelRows(self.name, self.archive, self.catalog)

    def set_pixel_policy(self, policy: str) -> None:
        """Say which versions get pixel rows by themselves from now on.

        Parameters
        ----------
        policy : {'all', 'tagged', 'none'}
            All versions; heads and tagged ones; none.

        Raises
        ------
        InvalidInput
            If it is another word.
        """
        if policy not in PIXEL_POLICIES:
            raise InvalidInput(f"pixel rows are made of {', '.join(PIXEL_POLICIES)} versions, not {policy!r}")
        self.archive.set_pixel_policy(PIXEL_POLICIES[policy])

    def catch_up(self) -> Position:
        """Take into the index what others have written to the journal since.

        Returns
        -------
        Position
            Where the index stands.
        """
        was_open = self._catalog is not None
        try:
            return self._committer.catch_up()
        except ServerUnavailable:
            if not was_open:
                raise
        self.close()  # the embedded server was stopped meanwhile: connecting starts it
        return self._committer.catch_up()

    def _rows(self, serials: Sequence[int]) -> list[ProductRow]:
        """Read versions for a reference that was made long ago; the server may have been stopped since."""
        return self.again(lambda: self.catalog.rows(serials))

    def again(self, work: Callable[[], _T]) -> _T:
        """Do what may be done twice; once more if the embedded server was stopped meanwhile: connecting starts it."""
        try:
            return work()
        except ServerUnavailable as error:
            self.close()
            try:
                return work()
            except ServerUnavailable:
                raise error from None  # it says what was done before the server went away

    def reindex(self, *, progress: Callable[[int], None] | None = None) -> None:
        """Make the index anew from the folder, e.g. because it is damaged or belongs to an older state of the folder.

        Others may read and write meanwhile: the new index takes the place of the old one when it is done. Its pixel
        rows are pending then; `PixelRows.make_pending` or the next `add` makes them.

        Parameters
        ----------
        progress : callable, keyword-only, optional
            Told how many entries of the journal were looked at so far.

        Raises
        ------
        IntegrityError
            If the journal is damaged; the index is as it was then.
        """
        self.close()
        self.archive.confirm()
        with self._open_catalog() as catalog:
            catalog.renew(
                self.archive.journal.since,
                self.archive.manifest,
                has=self.archive.journal.has,
                first_serial=self.archive.info.first_serial,
                progress=progress,
            )
        self.catch_up()

    def close(self) -> None:
        """Let go of the database connection; the next use makes a new one."""
        with self._opening:
            if self._catalog is not None:
                self._catalog.close()
                self._catalog = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Pool {self.name}>"

    def _repr_html_(self) -> str:
        self.catch_up()
        kinds = self.catalog.statistics().kinds.items()
        rows = ((kind, s.heads, s.products, f"{s.bytes / 1e6:.2f}", f"{s.stored_bytes / 1e6:.2f}") for kind, s in kinds)
        return html_table(f"Pool {self.name}", ("kind", "products", "versions", "FITS (MB)", "blobs (MB)"), rows)

    # Saving

    def save(
        self,
        source: Any,
        *,
        name: str | None = None,
        kind: str | type[Product] | None = None,
        tag: str | None = None,
        force: bool = False,
        history: Sequence[Mapping[str, Any]] = (),
        pixels: bool | None = None,
        truncate: bool = False,
    ) -> ProductRef:
        """Save a product: a new track, a further version, or nothing if a living version has the same data.

        Parameters
        ----------
        source : path-like, Product, astropy HDUList or jwst datamodel
            What to save; ``.fits`` or ``.fits.gz`` where it is a path.
        name : str, keyword-only, optional
            The track's name; unless given, the file's stem without ``_uncal``, ``_ramp``, ``_rateints``, ``_rate``.
        kind : str or type of Product, keyword-only, optional
            Unless given, found out from the content.
        tag : str, keyword-only, optional
            Label for the version, also where it was there before.
        force : bool, keyword-only
            Make a version even of data that are there.
        history : sequence of mapping, keyword-only, optional
            What it was made from and how; JSON-able.
        pixels : bool, keyword-only, optional
            Whether the version gets pixel rows in the index; as the pool's setting says unless given.
        truncate : bool, keyword-only
            Of a ground test's file with frames missing or too many, keep the whole integrations.

        Returns
        -------
        ProductRef
            The version; its `notice` says so where nothing was new. Its `product` is read-only; a product that was
            given stays the draft that it was.

        Raises
        ------
        FileMissing, FormatError
            If the file can't be read.
        Conflict
            If the name belongs to another exposure.
        InvalidName
            If the tag or the name can't be one.
        """
        saved = self.save_detailed(
            source, name=name, kind=kind, tag=tag, force=force, history=history, pixels=pixels, truncate=truncate
        )
        return ProductRef(self, saved.row, notice=saved.notice)

    def save_detailed(
        self,
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
        """Save a product as `save` does, and say what came of it.

        Parameters
        ----------
        source, name, kind, tag, force, history, pixels, truncate : object
            As for `save`.

        Returns
        -------
        Saved
            The version, whether it is new, and the bytes stored.
        """
        _check_tag(tag)
        if isinstance(source, Context):
            return self._save_context(source if name is None else source.renamed(name), tag)
        ready = self.read(source, name=name, kind=kind, history=history, truncate=truncate)
        saved = self.commit(ready, tag=tag, force=force)
        return self.finish(saved, pixels=pixels)

    def ingest(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        tag: str | None = None,
        name: str | None = None,
        force: bool = False,
        jobs: int | None = None,
        executor: Executor | None = None,
        pixels: bool | None = None,
        truncate: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Outcome]:
        """Save many files; one bad file does not stop the others. Repeated, it goes on where it was interrupted.

        Parameters
        ----------
        paths : path-like, or an iterable of them
            Files; folders with FITS files; patterns.
        tag, name, force, pixels, truncate : object, keyword-only
            As for `save`.
        jobs : int, keyword-only, optional
            Files at a time; one, or as many as the executor works at, unless given.
        executor : concurrent.futures.Executor, keyword-only, optional
            Who reads, measures and stores the files: a process pool, Dask's ``client.get_executor()``; threads of this
            process unless given. Versions are made here, in the order of the files.
        progress : callable, keyword-only, optional
            Told after each file how many bytes of how many are done.

        Returns
        -------
        list of Outcome
            One for each file, in order, and for each pattern or folder without a FITS file, which has failed;
            `miripool.ingest.ingest` gives them one by one.

        Raises
        ------
        PoolNotFound
            If the pool was deleted or renamed meanwhile.
        InvalidName
            If the tag can't be one.
        """
        from .ingest import find_files, ingest

        files = find_files([paths] if isinstance(paths, (str, Path)) else paths)
        outcomes = ingest(
            self,
            files,
            tag=tag,
            name=name,
            force=force,
            jobs=jobs,
            executor=executor,
            pixels=pixels,
            truncate=truncate,
            progress=progress,
        )
        return list(outcomes)

    def _save_context(self, context: Context, tag: str | None) -> Saved:
        """Save a context and what of it is in no pool yet, in one entry; a tag reaches all that it refers to."""
        self.catch_up()
        ready = contexts.gather(self.archive, context, pool_id=self.id, find=self._finder.row)

        def reach(serials: Sequence[int]) -> Sequence[ProductRow]:
            return contexts.reached(self.archive, self.catalog, self.catalog.rows(serials))

        saves = save_together(self.archive, self.catalog, self._committer, ready, tag=tag, reach=reach)
        return [self.finish(saved) for saved in saves][-1]

    def keep_exposures(self, made: Iterable[ProductRef], known: Iterable[ProductRef] = ()) -> list[ProductRef]:
        """Keep the `Exposure` contexts of products: a version for each run of the pipeline of which something is new.

        Parameters
        ----------
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
        self.catch_up()
        serials = (selecting.serials_of(made), selecting.serials_of(known))
        keeping = exposures.plan(
            self.archive, self.catalog, *serials, is_ours=self._finder.is_ours, load=self.load_version
        )
        saves = [s for ready in keeping for s in save_together(self.archive, self.catalog, self._committer, ready)]
        return [ProductRef(self, saved.row, notice=saved.notice) for saved in saves]

    def prepare(
        self,
        source: Any,
        *,
        name: str | None = None,
        kind: str | type[Product] | None = None,
        force: bool = False,
        history: Sequence[Mapping[str, Any]] = (),
        truncate: bool = False,
    ) -> Ready:
        """Do the long part of a save, which may run beside others: read, measure and store the arrays.

        Parameters
        ----------
        source, name, kind, force, history, truncate : object
            As for `save`.

        Returns
        -------
        Ready
            For `commit`; no version is made before that.
        """
        ready = self.read(source, name=name, kind=kind, history=history, truncate=truncate)
        self.catch_up()
        rows = self.catalog.living([ready.name])
        known = None if force else from_file(rows, ready.origin, ready.track)
        if known is None or not self.archive.is_whole(known.manifest):
            ticket = self.archive.notes.ticket()
            ready._notes.callback(self.archive.notes.withdraw, ticket)
            try:
                write_ahead(self.archive, rows, ready.measure(self.archive), ticket, force=force)
            except BaseException:
                ready.close()
                raise
        return ready

    @property
    def work_folder(self) -> Path:
        """Where work in progress has its files."""
        return self.archive.work_folder

    def commit(self, ready: Ready | Prepared, *, tag: str | None = None, force: bool = False) -> Saved:
        """Make a version of what was prepared; those of one track count in the order of these calls.

        It is saved then; its pixel rows are `finish`'s.

        Parameters
        ----------
        ready : Ready or Prepared
            From `prepare`, or what another process measured and stored.
        tag, force : object, keyword-only
            As for `save`.

        Returns
        -------
        Saved
            The version, whether it is new, and the bytes stored.

        Raises
        ------
        ArraysElsewhere
            If another process did not store the arrays, as they were there, and they are no more: `read` it here.
        """
        if isinstance(ready, Prepared):
            ready = Ready(None, ready.manifest.name, prepared=ready)
        if force:  # done twice it would be saved twice
            return self._commit(ready, tag, force)
        return self.again(lambda: self._commit(ready, tag, force))

    def _commit(self, ready: Ready, tag: str | None, force: bool) -> Saved:
        self.catch_up()
        committer = self._committer
        if not force:
            known = save_known(self.archive, self.catalog, committer, ready.origin, ready.track, tag=tag)
            if known is not None:
                return known
        prepared = ready.measure(self.archive)
        (saved,) = save_together(self.archive, self.catalog, committer, [prepared], tag=tag, force=force)
        return saved

    def commit_together(
        self,
        ready: Sequence[Ready | Prepared],
        *,
        tag: str | None = None,
        pixels: bool | None = None,
        raw: ProductRef | None = None,
    ) -> list[ProductRef]:
        """Make versions of what was read, in one journal entry: all of them, or none.

        Parameters
        ----------
        ready : sequence of Ready or Prepared
            From `read` or `prepare`, or what another process measured and stored; of different tracks.
        tag, pixels : object, keyword-only
            As for `save`.
        raw : ProductRef, keyword-only, optional
            What they were made from: they and it become references of its `Exposure`, in the same entry.

        Returns
        -------
        list of ProductRef
            In their order; the `notice` of one says so where nothing was new.
        """
        self.catch_up()
        prepared = [r if isinstance(r, Prepared) else r.measure(self.archive) for r in ready]
        if raw is not None:
            targets: dict[str, Link | Prepared] = {"raw": contexts.link_to(self._finder.row(raw))}
            targets |= {contexts.EXPOSURE_REFS[p.manifest.kind]: p for p in prepared}
            prepared += contexts.follow_exposures(self.archive, {raw.name: targets}, lambda _: raw.product)
        saves = save_together(self.archive, self.catalog, self._committer, prepared, tag=tag)
        done = [self.finish(saved, pixels=pixels) for saved in saves]
        return [ProductRef(self, saved.row, notice=saved.notice) for saved in done]

    def finish(self, saved: Saved, *, pixels: bool | None = None) -> Saved:
        """Make the pixel rows of what was saved, which may run beside others.

        Parameters
        ----------
        saved : Saved
            From `commit`.
        pixels : bool, keyword-only, optional
            As for `save`.

        Returns
        -------
        Saved
            The same; its notice says so where the rows could not be made, or where the kind is not what the file's name
            says.
        """
        doubt = None
        if saved.status != "unchanged" and saved.row.kind == Product.kind and saved.row.filename:
            doubt = doubt_kind(self.load_version(saved.row), saved.row.filename)
        notice = self._make_pixels(saved.row, pixels)
        return replace(saved, notice="; ".join(filter(None, (saved.notice, doubt, notice))) or None)

    def _make_pixels(self, row: ProductRow, wanted: bool | None = None) -> str | None:
        """Make a version's pixel rows as far as they are wanted; what the user should know."""
        try:
            return self.again(lambda: self.pixel_rows.after_save(row, wanted=wanted))
        except MiripoolError as error:
            return f"pixel rows pending, `miripool index pixels {self.name}` makes them ({error})"

    def read(
        self,
        source: Any,
        *,
        name: str | None = None,
        kind: str | type[Product] | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        truncate: bool = False,
    ) -> Ready:
        """Find out what a source would be saved as; no array is read.

        Parameters
        ----------
        source, name, kind, history, truncate : object
            As for `save`.

        Returns
        -------
        Ready
            For `commit`.
        """
        wanted = kind.kind if isinstance(kind, type) else kind_class(kind).kind if kind else None
        product = source.product if isinstance(source, ProductRef) else source
        if not isinstance(product, Product):
            product = read_fits(product, name=name, kind=wanted, truncate=truncate)
        elif wanted is not None and wanted != product.kind:
            raise InvalidInput(f"this product is a {product.kind}, not a {wanted}")
        elif name is not None:
            product = product.renamed(name)
        if not product.name:
            raise InvalidInput(f"a {product.kind} that does not come from a file needs a name: save(product, name=…)")
        return Ready(product, product.name, history)

    # Finding

    def select(
        self,
        query: Any = "1",
        previous: ProductRef | Sequence[ProductRef] | None = None,
        *,
        tag: str | None = None,
        all_versions: bool | None = None,
        order: str | Sequence[str] | None = None,
        limit: int | None = None,
        allVersions: bool | None = None,  # noqa: N803 -- HIPE's name
        executor: Executor | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> ProductRefs:
        """Find products.

        Parameters
        ----------
        query : Query, str, callable or type of Product
            ``"ngroups >= 20 and detector == 'MIRIMAGE'"``, a MetaQuery, a function of a product …
        previous : ProductRef or sequence of them, optional
            Look only at these, whichever versions they are.
        tag : str, keyword-only, optional
            Look at the versions that this tag marks.
        all_versions : bool, keyword-only, optional
            Look at every living version, not only at heads.
        order : str or sequence of str, keyword-only, optional
            Fields or keywords to sort by; ``-created`` for descending. In the order of saving unless given.
        limit : int, keyword-only, optional
            At most so many.
        allVersions : bool, keyword-only, optional
            `all_versions`, in HIPE's word.
        executor : concurrent.futures.Executor, keyword-only, optional
            Who looks at the data where the index does not answer: a process pool, Dask's ``client.get_executor()``;
            threads on all cores unless given.
        progress : callable, keyword-only, optional
            Told then how many products of how many were looked at.

        Returns
        -------
        ProductRefs
            Lazily loading references.

        Raises
        ------
        QueryError
            If the query can't be read.
        UnknownKeyword
            If it names a keyword that no product has.
        """
        frame = inspect.currentframe()
        functions = functions_in(frame.f_back if frame is not None else None) if isinstance(query, str) else None
        asked = as_query(query, functions=functions)
        previous = _earlier(previous)
        _check_tag(tag)
        all_versions = allVersions if all_versions is None else all_versions
        keys = selecting.sort_keys(order)
        label = asked.tag if tag is None else tag
        if label is not None and not self.tag_exists(label):
            raise tagging.no_such_tag(self, label)
        self.catch_up()
        selecting.refuse_unknown([self], asked, keys)
        serials = selecting.select(
            self,
            asked,
            previous,
            tag=label,
            all_versions=all_versions,
            order=keys,
            limit=limit,
            executor=executor,
            progress=progress,
        )
        why = partial(why_empty, self, asked, previous, tag=label, all_versions=all_versions)
        return ProductRefs([(self, s) for s in serials], why=None if limit == 0 else why)

    def explain(self, query: Any = "1", *, tag: str | None = None, all_versions: bool | None = None) -> Explanation:
        """Tell how a query is answered: who answers each condition, and how many products are left after it.

        Parameters
        ----------
        query, tag, all_versions : object
            As for `select`.

        Returns
        -------
        Explanation
            Printed as a table; where nothing is left it names the nearest values that are there.
        """
        from .explain import explain

        frame = inspect.currentframe()
        functions = functions_in(frame.f_back if frame is not None else None) if isinstance(query, str) else None
        asked = as_query(query, functions=functions)
        label = asked.tag if tag is None else tag
        if label is not None and not self.tag_exists(label):
            raise tagging.no_such_tag(self, label)
        self.catch_up()
        selecting.refuse_unknown([self], asked)
        return explain(self, asked, tag=label, all_versions=all_versions)

    def fetch(self, serials: Sequence[int]) -> list[ProductRef]:
        """Give references by serials.

        Parameters
        ----------
        serials : sequence of int
            Of this pool.

        Returns
        -------
        list of ProductRef
            In that order, also of what is in the trash.
        """
        return [ProductRef(self, row) for row in self._rows(serials)]

    def listing(
        self, serials: Sequence[int], columns: str | Sequence[str] | None = None, *, check: bool = True
    ) -> list[dict[str, Any]]:
        """Give versions as dictionaries.

        Parameters
        ----------
        serials : sequence of int
            Which.
        columns : sequence of str, optional
            Fields and keywords; unless given urn, kind, name, version, tags, created, bytes.
        check : bool, keyword-only
            Refuse columns that nobody knows, instead of giving None.

        Returns
        -------
        list of dict
            In that order.

        Raises
        ------
        UnknownKeyword
            If a column is neither a field nor a keyword of any product.
        """
        rows = self._rows(serials)
        return list_rows(self.catalog, self.name, rows, columns, check=check)

    def ref(self, spec: Reference, *, removed: bool = False) -> ProductRef:
        """Find one version by its URN or SPEC.

        Parameters
        ----------
        spec : str, Urn or ProductRef
            ``urn:jpl8:Ramp:3``, ``Ramp/name``, ``Ramp/name@1``, ``Ramp/name@cal v1``, or a name that is clear by
            itself; without version or tag, the head (where all is in the trash, the newest there).
        removed : bool, keyword-only
            Find it in the trash too.

        Returns
        -------
        ProductRef
            The version.

        Raises
        ------
        ProductNotFound
            If there is none; the message names the nearest.
        AmbiguousSpec
            If the name stands for products of several kinds.
        """
        self.catch_up()
        row = self._finder.row(spec)
        return ProductRef(self, row if removed else self._finder.living(row))

    def load(self, urn_or_tag: Reference) -> ProductRef:
        """Find one version by URN, SPEC, or by a tag that marks one version only.

        Parameters
        ----------
        urn_or_tag : str
            What to load.

        Returns
        -------
        ProductRef
            Its ``.product`` loads.

        Raises
        ------
        AmbiguousSpec
            If the tag marks several versions; the message lists them.
        """
        if isinstance(urn_or_tag, str) and not urn_or_tag.lower().startswith("urn:"):
            marked = self.select(tag=urn_or_tag) if self.tag_exists(urn_or_tag) else ()
            if marked:
                return only_one(marked, urn_or_tag)
        return self.ref(urn_or_tag)

    def versions(self, ref: Reference, *, removed: bool = False) -> list[ProductRef]:
        """List the versions of a track, oldest first.

        Parameters
        ----------
        ref : ProductRef or str
            Any version of it.
        removed : bool, keyword-only
            Those in the trash too.

        Returns
        -------
        list of ProductRef
            The living ones.
        """
        found = self.ref(ref, removed=True)
        rows = self.catalog.track(found.kind, found.name)
        return [ProductRef(self, row) for row in rows if removed or row.removed is None]

    def head(self, ref: Reference) -> ProductRef:
        """Give the newest living version of a track.

        Parameters
        ----------
        ref : ProductRef or str
            Any version of it.

        Returns
        -------
        ProductRef
            The head.

        Raises
        ------
        ProductNotFound
            If all versions are in the trash.
        """
        versions = self.versions(ref)
        if not versions:
            raise ProductNotFound(f"every version of {self.ref(ref, removed=True).name} is in the trash")
        return versions[-1]

    # Tags

    def tag(self, refs: Reference | Iterable[Reference], label: str, *, keep: bool = False) -> int:
        """Put a label on versions; in each track it leaves the version that it marked before.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them
            At most one version of each track; a context stands for itself and all that it refers to.
        label : str
            E.g. ``using cal v2``.
        keep : bool, keyword-only
            Refuse to take the label from another version.

        Returns
        -------
        int
            How many versions were newly marked.

        Raises
        ------
        InvalidName
            If the label can't be one.
        InvalidInput
            If two versions of one track are given.
        Conflict
            If the label would leave another version, with `keep`.
        """
        _check_tag(label)
        self.catch_up()
        return len(tagging.put(self, self._serials(refs), label, keep=keep))

    def untag(self, label: str, refs: Reference | Iterable[Reference] | None = None) -> int:
        """Take a label off versions.

        Parameters
        ----------
        label : str
            The tag.
        refs : ProductRef, str, or an iterable of them, optional
            All that it marks unless given.

        Returns
        -------
        int
            How many it was taken off.

        Raises
        ------
        TagNotFound
            If there is no such tag.
        """
        self.catch_up()
        return len(tagging.take_off(self, label, None if refs is None else self._serials(refs)))

    def tags(self) -> list[TagSummary]:
        """List the tags in use.

        Returns
        -------
        list of TagSummary
            Label, how many living versions it marks, contexts apart, first and last use.
        """
        self.catch_up()
        return self.catalog.tags()

    def tag_events(
        self, label: str | None = None, *, kind: str | None = None, name: str | None = None
    ) -> list[TagEvent]:
        """List the moves of a tag, or of all, oldest first.

        Parameters
        ----------
        label : str, optional
            The tag.
        kind, name : str, keyword-only, optional
            Only in these tracks.

        Returns
        -------
        list of TagEvent
            One for each version that it came to or went from.
        """
        self.catch_up()
        return self.catalog.tag_events(label=label, kind=kind, name=name)

    def tag_exists(self, label: str) -> bool:
        """Tell whether a label marks a living version.

        Parameters
        ----------
        label : str
            The tag.

        Returns
        -------
        bool
            True if so.
        """
        self.catch_up()
        return self.catalog.count(tag=label) > 0

    def tagged(self, label: str) -> ProductRefs:
        """Give the versions that a tag marks.

        Parameters
        ----------
        label : str
            The tag.

        Returns
        -------
        ProductRefs
            In the order of saving; contexts too.

        Raises
        ------
        TagNotFound
            If it marks none.
        """
        self.catch_up()
        serials = self.catalog.serials(tag=label)
        if not serials:
            raise tagging.no_such_tag(self, label)
        return ProductRefs([(self, serial) for serial in serials])

    def tags_of(self, serial: int) -> tuple[str, ...]:
        """Give the labels that mark a version now.

        Parameters
        ----------
        serial : int
            The version.

        Returns
        -------
        tuple of str
            Sorted.
        """
        self.catch_up()
        rows = self.catalog.rows([serial])
        return rows[0].tags if rows else ()

    # Trash

    def remove(self, refs: Reference | Iterable[Reference], *, cascade: bool = False) -> int:
        """Put versions into the trash; numbers stay used, nothing is deleted, `restore` brings them back.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them
            The versions.
        cascade : bool, keyword-only
            The living contexts of users that refer to them go, too. The exposures that `add` and `reprocess` made of
            them go by themselves, and come back with them.

        Returns
        -------
        int
            How many went.

        Raises
        ------
        Conflict
            If contexts of users refer to them, without `cascade`.
        """
        self.catch_up()
        serials = self._serials(refs)
        for row in self.catalog.rows(serials):
            self._finder.living(row)
        count = self._move(
            serials,
            Remove,
            removed=False,
            widen=lambda found: contexts.widen_removal(self.catalog, self.name, found, cascade=cascade),
        )
        with contextlib.suppress(MiripoolError):  # the next save, or `index pixels`, makes up for it
            self.pixel_rows.tidy()
        return count

    def removed_with(self, refs: Reference | Iterable[Reference], *, cascade: bool = False) -> list[ProductRef]:
        """Tell what `remove` would put into the trash; nothing is changed.

        Parameters
        ----------
        refs, cascade : object
            As for `remove`.

        Returns
        -------
        list of ProductRef
            The versions, and with `cascade` the contexts that refer to them.
        """
        self.catch_up()
        serials = contexts.widen_removal(self.catalog, self.name, self._serials(refs), cascade=cascade)
        return list(self.fetch(serials))

    def trash(
        self,
        kind: str | type[Product] | None = None,
        *,
        order: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> ProductRefs:
        """List the versions in the trash.

        Parameters
        ----------
        kind : str or type of Product, optional
            Of this kind only; otherwise of all, contexts too.
        order, limit : object, keyword-only
            As for `select`.

        Returns
        -------
        ProductRefs
            In the order of saving, unless ordered otherwise.
        """
        asked = as_query(kind_class(kind) if isinstance(kind, str) else kind or Product)
        keys = selecting.sort_keys(order)
        self.catch_up()
        selecting.refuse_unknown([self], asked, keys)
        rows = self.catalog.select(
            kinds=None if kind is None else asked.kinds,
            removed=True,
            order_by=order_by(keys, names=dictionary()),
            limit=limit,
        )
        return ProductRefs([(self, row.serial) for row in rows])

    def in_trash(self, spec: Reference) -> ProductRef:
        """Find the version that `restore` would bring back.

        Parameters
        ----------
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
        self.catch_up()
        return ProductRef(self, self._finder.row_in_trash(spec))

    def restore(self, refs: Reference | Iterable[Reference]) -> int:
        """Take versions out of the trash. A tag that they had is theirs again, unless it has moved on meanwhile.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them
            The versions; a SPEC without version means the newest of its track that is in the trash. What contexts
            refer to comes back with them.

        Returns
        -------
        int
            How many came back; what was not in the trash does not count.

        Raises
        ------
        Conflict
            If a context refers to what was removed for good.
        """
        self.catch_up()
        serials: Sequence[int] = self._serials(refs, find=self._finder.row_in_trash)

        def widen(given: Sequence[int]) -> Sequence[int]:
            nonlocal serials
            serials = contexts.widen_restoring(self.archive, self.catalog, self.name, given)
            return serials

        count = self._move(serials, Restore, removed=True, widen=widen)
        for row in self.catalog.rows(serials):
            if row.removed is None:
                self._make_pixels(row)
        return count

    def expired(self, grace: timedelta) -> list[ProductRef]:
        """List what has been in the trash for long.

        Parameters
        ----------
        grace : timedelta
            For longer than this.

        Returns
        -------
        list of ProductRef
            In the order of saving.
        """
        since = datetime.now(UTC) - grace
        return [ref for ref in self.trash() if ref.removed is not None and ref.removed < since]

    def purge(self, refs: Reference | Iterable[Reference]) -> int:
        """Give versions in the trash up for good: `restore` does not bring them back, `miripool gc` frees their arrays.

        Their numbers stay used, their manifests stay: what was made from them can still be traced.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them
            The versions.

        Returns
        -------
        int
            How many; what is not in the trash does not count, nor what somebody else has given up meanwhile.
        """
        self.catch_up()

        def find(ref: Reference) -> ProductRow:
            return self._finder.row(ref) if isinstance(ref, ProductRef) else self._finder.row_in_trash(ref)

        return self._move(self._serials(refs, find=find), Purge, removed=True)

    def _move(
        self,
        serials: Sequence[int],
        action: type[Remove] | type[Restore] | type[Purge],
        *,
        removed: bool,
        widen: Callable[[Sequence[int]], Sequence[int]] = lambda found: found,
    ) -> int:
        count = 0

        def decide(_: Position) -> Sequence[Action]:
            nonlocal count
            rows = self.catalog.rows(widen(serials))
            moved = tuple(row.serial for row in rows if (row.removed is not None) == removed and row.purged is None)
            count = len(moved)
            return [action(moved)] if moved else []

        self._committer.commit(decide)
        return count

    def _serials(
        self, refs: Reference | Iterable[Reference], *, find: Callable[[Reference], ProductRow] | None = None
    ) -> list[int]:
        """Give the serials of versions, each once; the index is caught up."""
        if isinstance(refs, ProductRefs):
            for other, serial in refs.keys:
                if other.id != self.id:
                    raise ProductNotFound(f"version {serial} of pool {other.name!r} is not in pool {self.name!r}")
            return list(dict.fromkeys(serial for _, serial in refs.keys))
        if isinstance(refs, (ProductRef, Urn, str)):
            refs = [refs]
        return list(dict.fromkeys((find or self._finder.row)(ref).serial for ref in refs))

    # Pixels

    def pixel(self, x: int, y: int, detector: str | None = None) -> Pixel:
        """Follow one detector pixel.

        Parameters
        ----------
        x, y : int
            Column 1…1032 and row 1…1024 of the FULL array.
        detector : str, optional
            E.g. ``"MIRIMAGE"``, in capitals or not; needed where the versions asked about are of several.

        Returns
        -------
        Pixel
            Its ``ramps`` and ``history`` are astropy tables.

        Raises
        ------
        InvalidInput
            If there is no such pixel.
        """
        from .pixel import Pixel

        return Pixel(self, x, y, detector=detector)

    def pixels(
        self,
        kind: str | type[Product],
        where: str = "",
        *,
        x: tuple[int, int] | None = None,
        y: tuple[int, int] | None = None,
        query: Any = "1",
        tag: str | None = None,
        all_versions: bool = False,
        detector: str | None = None,
    ) -> Pixels:
        """Find the pixels that satisfy a condition.

        Parameters
        ----------
        kind : type of Product or str
            Raw, Ramp, RateInts or Rate.
        where : str, optional
            Condition on a pixel's columns, e.g. ``"rate > 1.0 and dq is null"``; see `miripool.query.pixelwhere`.
        x, y : (int, int), keyword-only, optional
            First and last column, first and last row to look at, in the FULL array; ends included.
        query : Query or str, keyword-only, optional
            Of which versions.
        tag : str, keyword-only, optional
            The versions that this tag marks.
        all_versions : bool, keyword-only
            Not only heads.
        detector : str, keyword-only, optional
            Of this detector, in capitals or not; of all unless given, told apart by the column ``detector``.

        Returns
        -------
        Pixels
            Read by ``to_table()``, ``chunks()`` or ``count()``.

        Raises
        ------
        QueryError
            If the condition can't be read, or the kind has no such column.
        """
        from .pixel import Pixels

        return Pixels(self, kind, where, x=x, y=y, query=query, tag=tag, all_versions=all_versions, detector=detector)

    # Loading and writing out

    def manifest(self, version: Version | Reference) -> Manifest:
        """Read a version's manifest.

        Parameters
        ----------
        version : ProductRow, ProductRef or str
            From the index; or a reference, or a SPEC.

        Returns
        -------
        Manifest
            What was saved.

        Raises
        ------
        IntegrityError
            If it is missing or damaged.
        """
        version = self._version(version)
        try:
            return self.archive.manifest(version.manifest)
        except IntegrityError as error:
            raise IntegrityError(f"{Urn(self.name, version.kind, version.serial)}: {error}") from error

    def history(self, ref: Reference) -> tuple[Mapping[str, Any], ...]:
        """Tell what a version was made from and how.

        Parameters
        ----------
        ref : ProductRef or str
            The version.

        Returns
        -------
        tuple of dict
            As it was given to `save`; `reprocess` tells tool, version, context, parameters, references with digests,
            steps, and the URNs of inputs.
        """
        return copy.deepcopy(self.manifest(self._finder.row(ref)).history)  # the manifest is kept

    def diff(self, old: Reference, new: Reference, *, elements: bool = True) -> Difference:
        """Tell what differs between two versions.

        Parameters
        ----------
        old, new : ProductRef or str
            The versions, of one track or of two.
        elements : bool, keyword-only
            Read the arrays that differ, and tell how many elements do and by how much; not of versions whose arrays are
            gone.

        Returns
        -------
        Difference
            From `old` to `new`: keywords, datasets, elements, references.
        """
        before, after = self._finder.row(old), self._finder.row(new)
        found = compare(self.manifest(before), self.manifest(after))
        if not elements or before.purged or after.purged:
            return found
        return compare_products(self.load_version(before), self.load_version(after), found)

    def lineage(self, ref: Reference) -> Lineage:
        """Tell what a version was made from and what was made of it; no array is read.

        Parameters
        ----------
        ref : ProductRef or str
            The version.

        Returns
        -------
        Lineage
            A list of Descent: the versions that it goes back to, or it itself; each with all that leads to this
            version, and all that was made of this version.
        """
        row = self._finder.row(ref)
        self.catch_up()
        return Lineage(trace(self.archive, self.catalog, row, self._finder.is_ours))

    def uses(self, of: Reference) -> list[Use]:
        """Find the versions that a version, or a reference file, went into.

        Parameters
        ----------
        of : ProductRef or str
            A version; or the name of a reference file, as in the cards R_GAIN, R_DARK, … or in a history.

        Returns
        -------
        list of Use
            Living versions in the order of saving: what was made of it, directly or by others, calibrated with it, or
            refers to it.

        Raises
        ------
        ProductNotFound
            If there is no such version, and no version was calibrated with such a file.
        """
        self.catch_up()
        missing: ProductNotFound | None = None
        row = None
        try:
            row = self._finder.row(of)
        except (ProductNotFound, InvalidInput) as error:
            if not isinstance(of, str):
                raise
            missing = error if isinstance(error, ProductNotFound) else ProductNotFound(str(error))
        names = [of.removeprefix("crds://")] if isinstance(of, str) and row is None else []
        found = find_uses(self.catalog, self._finder.is_ours, row=row, names=names)
        if missing is not None and not found:
            raise ProductNotFound(f"{missing}; and nothing here was calibrated with a reference file {of!r}")
        return found

    def _version(self, given: Version | Reference) -> Version:
        return self._finder.row(given) if isinstance(given, (ProductRef, Urn, str)) else given

    def load_version(self, version: Version | Reference) -> Product:
        """Give a version's product; its manifest is read, its arrays are not.

        Parameters
        ----------
        version : ProductRow, ProductRef or str
            From the index; or a reference, or a SPEC.

        Returns
        -------
        Product
            Of its kind.

        Raises
        ------
        ProductNotFound
            If it was removed for good.
        """
        version = self._version(version)
        kept(self.name, version)
        urn = str(Urn(self.name, version.kind, version.serial))
        product = self.archive.product(self.manifest(version), urn, version.serial)
        product.ref = ProductRef(self, version)
        return product

    def export(self, ref: Reference, destination: Path | str, *, overwrite: bool = False, jwst: bool = False) -> Path:
        """Write the FITS file that was saved, bit for bit.

        Parameters
        ----------
        ref : ProductRef or str
            The version.
        destination : path-like
            A file, or a folder that is there: then under the name it came with.
        overwrite : bool, keyword-only
            Replace a file of that name.
        jwst : bool, keyword-only
            Write a ground test's exposure as the Level-1b file that it means, ``…_uncal.fits``.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        AlreadyExists
            If the file is there and `overwrite` is False.
        FileMissing
            If the folder is not there.
        IntegrityError
            If what is stored is missing, or no longer gives the bytes that were saved.
        """
        found = ref if isinstance(ref, ProductRef) else self.ref(ref)
        path = Path(destination)
        if is_folder(path):
            path /= export_name(found, jwst=jwst)
        elif str(destination).endswith(("/", os.sep)):
            raise FileMissing(f"there is no folder {path}; make it first, or name a file")
        try:
            write_fits(found.product, path, overwrite=overwrite, jwst=jwst)
        except (FileMissing, ProductNotFound):
            raise
        except NotFound as error:
            raise IntegrityError(f"{found.urn} can't be written: {error}") from error
        return path

    def to_hdulist(self, product: Product | Reference) -> Any:
        """Give a product as astropy HDUs, in memory.

        Parameters
        ----------
        product : Product, ProductRef or str
            A product of any pool; a reference, or a SPEC.

        Returns
        -------
        astropy.io.fits.HDUList
            Independent of the pool.
        """
        return to_hdulist(product if isinstance(product, Product) else self.ref(product).product)

    def to_datamodel(self, product: Product | Reference) -> Any:
        """Give a product as a jwst datamodel, in memory.

        Parameters
        ----------
        product : Product, ProductRef or str
            A product of any pool; a reference, or a SPEC.

        Returns
        -------
        stdatamodels.jwst.datamodels.JwstDataModel
            Independent of the pool.
        """
        return to_datamodel(product if isinstance(product, Product) else self.ref(product).product)


def _earlier(previous: Any) -> Sequence[ProductRef] | None:
    if isinstance(previous, ProductRef):
        return [previous]
    if isinstance(previous, (type, str)):
        shown = previous.__name__ if isinstance(previous, type) else repr(previous)
        raise InvalidInput(
            f"select(query, previous) wants an earlier result second, not {shown}; "
            'for a kind, write MetaQuery(Ramp, "p", "ngroups >= 20") or "kind == \'Ramp\' and ngroups >= 20"'
        )
    return previous  # type: ignore[no-any-return]


def _check_tag(label: object) -> None:
    if isinstance(label, str):
        check_label(label)
    elif label is not None:
        raise InvalidInput(
            f"a tag is one text, not a {type(label).__name__}: save(…, tag='using cal v1'), tag(refs, 'using cal v1')"
        )
