"""Pool: what a session holds of a pool. It says what one can do; the work is done elsewhere."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, ProductNotFound
from ..formats import to_datamodel, to_hdulist
from ..model.notebook import html_table
from ..model.product import Product
from ..pool import save as saving
from ..pool import tags as tagging
from ..pool import trash as trashing
from ..pool.difference import Difference, compare, compare_products
from ..pool.find import as_asked, find
from ..pool.lineage import Lineage, Use, find_uses, trace
from ..pool.reference import ProductRef, ProductRefs
from ..pool.resolve import only_one
from ..pool.trash import serials_among
from ..query.queries import as_query, functions_in
from ..store.poolinfo import PIXEL_POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor
    from datetime import timedelta

    from ..exchange.copy import Received
    from ..exchange.pack import Packed
    from ..index import TagEvent, TagSummary
    from ..maintenance.gc import Collected
    from ..maintenance.repair import RepairStep
    from ..maintenance.verify import Report
    from ..pipeline import Recipe, Reprocessed
    from ..pixels.pixel import Pixel, Pixels
    from ..pool.core import Core
    from ..pool.explain import Explanation
    from ..pool.ingest import Outcome
    from ..pool.resolve import Reference

__all__ = ["Pool"]


class Pool:
    """A named store of products. `PoolManager.getPool` gives one.

    Parameters
    ----------
    core : Core
        The pool itself: its folder and its index.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        core.front = self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return self._core.way_in()

    @property
    def name(self) -> str:
        """The pool's name."""
        return self._core.name

    @property
    def id(self) -> str:
        """What tells this pool from all others, for ever, whatever its name."""
        return self._core.id

    @property
    def path(self) -> Path:
        """The pool's folder."""
        files = self._core.archive.storage.files
        if files is None:
            raise InvalidInput(f"pool {self.name!r} is no folder of this machine: it is at {self._core.archive.place}")
        return files.root

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
        self._core.archive.set_pixel_policy(PIXEL_POLICIES[policy])

    def reindex(self, *, progress: Callable[[int], None] | None = None) -> None:
        """Make the index again from the folder, e.g. because it is damaged or belongs to an older state of the folder.

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
        self._core.reindex(progress=progress)

    def close(self) -> None:
        """Let go of the database connection; the next use makes a new one."""
        self._core.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Pool {self.name}>"

    def _repr_html_(self) -> str:
        self._core.catch_up()
        kinds = self._core.catalog.statistics().kinds.items()
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
        tagging.check_tag(tag)
        saved = saving.save(
            self._core,
            source,
            name=name,
            kind=kind,
            tag=tag,
            force=force,
            history=history,
            pixels=pixels,
            truncate=truncate,
        )
        return ProductRef(self._core, saved.row, notice=saved.notice)

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
            `miripool.pool.ingest.ingest` gives them one by one.

        Raises
        ------
        PoolNotFound
            If the pool was deleted or renamed meanwhile.
        InvalidName
            If the tag can't be one.
        """
        from ..pool.ingest import find_files, ingest

        files = find_files([paths] if isinstance(paths, (str, Path)) else paths)
        outcomes = ingest(
            self._core,
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
        return find(
            self._core,
            as_query(query, functions=functions),
            previous,
            tag=tag,
            all_versions=allVersions if all_versions is None else all_versions,
            order=order,
            limit=limit,
            executor=executor,
            progress=progress,
        )

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
        from ..pool.explain import explain

        frame = inspect.currentframe()
        functions = functions_in(frame.f_back if frame is not None else None) if isinstance(query, str) else None
        asked, label = as_asked(self._core, as_query(query, functions=functions), tag)
        return explain(self._core, asked, tag=label, all_versions=all_versions)

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
        return self._core.ref(spec, removed=removed)

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
        rows = self._core.catalog.track(found.kind, found.name)
        return [ProductRef(self._core, row) for row in rows if removed or row.removed is None]

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
        tagging.check_tag(label)
        self._core.catch_up()
        return len(tagging.put(self._core, serials_among(self._core, refs), label, keep=keep))

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
        self._core.catch_up()
        serials = None if refs is None else serials_among(self._core, refs)
        return len(tagging.take_off(self._core, label, serials))

    def tags(self) -> list[TagSummary]:
        """List the tags in use.

        Returns
        -------
        list of TagSummary
            Label, how many living versions it marks, contexts apart, first and last use.
        """
        self._core.catch_up()
        return self._core.catalog.tags()

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
        self._core.catch_up()
        return self._core.catalog.tag_events(label=label, kind=kind, name=name)

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
        return tagging.exists(self._core, label)

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
        self._core.catch_up()
        serials = self._core.catalog.serials(tag=label)
        if not serials:
            raise tagging.no_such_tag(self._core, label)
        return ProductRefs([(self._core, serial) for serial in serials])

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
        return trashing.remove(self._core, refs, cascade=cascade)

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
        return trashing.trash(self._core, kind, order=order, limit=limit)

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
        return trashing.restore(self._core, refs)

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
        return trashing.expired(self._core, grace)

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
        return trashing.purge(self._core, refs)

    # Pixels

    def pixel(self, x: int, y: int, detector: str | None = None) -> Pixel:
        """Follow one detector pixel.

        Parameters
        ----------
        x, y : int
            Column and row of the FULL array, from 1; MIRI's has 1032 columns and 1024 rows.
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
        from ..pixels.pixel import Pixel

        return Pixel(self._core, x, y, detector)

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
        from ..pixels.pixel import Pixels

        options: dict[str, Any] = {"query": query, "tag": tag, "all_versions": all_versions, "detector": detector}
        return Pixels(self._core, kind, where, x=x, y=y, **options)

    # Looking at versions, and writing them out

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
        row = self._core.finder.row(ref)
        return copy.deepcopy(self._core.manifest(row).history)  # the manifest is kept

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
        before, after = self._core.finder.row(old), self._core.finder.row(new)
        found = compare(self._core.manifest(before), self._core.manifest(after))
        if not elements or before.purged or after.purged:
            return found
        return compare_products(self._core.load_version(before), self._core.load_version(after), found)

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
        row = self._core.finder.row(ref)
        self._core.catch_up()
        return Lineage(trace(self._core.archive, self._core.catalog, row, self._core.finder.is_ours))

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
        self._core.catch_up()
        missing: ProductNotFound | None = None
        row = None
        try:
            row = self._core.finder.row(of)
        except (ProductNotFound, InvalidInput) as error:
            if not isinstance(of, str):
                raise
            missing = error if isinstance(error, ProductNotFound) else ProductNotFound(str(error))
        names = [of.removeprefix("crds://")] if isinstance(of, str) and row is None else []
        found = find_uses(self._core.catalog, self._core.finder.is_ours, row=row, names=names)
        if missing is not None and not found:
            raise ProductNotFound(f"{missing}; and nothing here was calibrated with a reference file {of!r}")
        return found

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
        return self._core.export(found, destination, overwrite=overwrite, jwst=jwst)

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

    # Calibrating, looking after it, and giving it on

    def reprocess(
        self,
        raws: Reference | Iterable[Reference],
        recipe: Recipe | None = None,
        *,
        tag: str | None = None,
        jobs: int = 1,
        executor: Executor | None = None,
        pixels: bool | None = None,
        progress: Callable[[ProductRef, str], None] | None = None,
    ) -> Iterator[Reprocessed]:
        """Run the JWST pipeline's `Detector1Pipeline` on raw products; save what it makes of each together.

        These are the ramp, the rate, and the rateints where the pipeline gives them. With the raw product they make a
        version of its `Exposure`.

        Parameters
        ----------
        raws : ProductRef, str, or an iterable of them
            Of kind Raw.
        recipe : miripool.pipeline.Recipe, optional
            How: context, references, steps.
        tag : str, keyword-only, optional
            Label for the results.
        jobs : int, keyword-only
            How many run at a time, each in a process of its own; some gigabytes of memory each.
        executor : concurrent.futures.Executor, keyword-only, optional
            Who runs them, instead of `jobs` threads: a process pool, Dask's ``client.get_executor()``. Other hosts need
            to see the pool's folder, the references and the CRDS cache under the same paths; they need no database.
        pixels : bool, keyword-only, optional
            As for `save`.
        progress : callable, keyword-only, optional
            Takes the product and the step that begins; from other threads.

        Yields
        ------
        Reprocessed
            One for each product, in their order. A failure of one does not stop the others.

        Raises
        ------
        InvalidInput
            If one of them is not Raw.
        FileMissing
            If a reference file or the CRDS cache is not there.
        """
        from ..pipeline import reprocess

        self._core.catch_up()
        refs = self._core.fetch(serials_among(self._core, raws))
        options: dict[str, Any] = {"jobs": jobs, "executor": executor, "pixels": pixels, "progress": progress}
        return reprocess(self._core, refs, recipe, tag=tag, **options)

    def verify(
        self,
        refs: Reference | Iterable[Reference] = (),
        *,
        level: str = "normal",
        progress: Callable[[int, int], None] | None = None,
    ) -> Report:
        """Look whether the pool is whole, folder against index and index against folder; nothing is changed.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them, optional
            Look at these versions only; at everything unless given.
        level : {'quick', 'normal', 'full'}, keyword-only
            Names and manifests; also headers of blobs and samples of pixel rows; also every array.
        progress : callable, keyword-only, optional
            Takes how many of how many blobs are done; bytes of arrays where they are read.

        Returns
        -------
        Report
            With all that was found.
        """
        from ..maintenance.verify import verify

        self._core.catch_up()
        chosen = self._core.rows(serials_among(self._core, refs))
        return verify(self._core, chosen, level=level, progress=progress)

    def repair(
        self,
        sources: Sequence[Path] = (),
        *,
        dry_run: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[RepairStep]:
        """Heal what can be healed, from copies; set aside what can't, and lose nothing more.

        Parameters
        ----------
        sources : sequence of pathlib.Path, optional
            Folders of pools (a copy of this one, or another that has the same data), FITS files, folders of FITS files.
        dry_run : bool, keyword-only
            Only tell what would be done.
        progress : callable, keyword-only, optional
            As for `verify`.

        Returns
        -------
        list of RepairStep
            Nothing if the pool is whole. What can't be healed stays: its `healed` is False.

        Raises
        ------
        FileMissing
            If a source is not there.
        """
        from ..maintenance.repair import repair

        return repair(self._core, sources, dry_run=dry_run, progress=progress)

    def gc(self, *, dry_run: bool = False, progress: Callable[[int, int], None] | None = None) -> Collected:
        """Delete blobs and manifests that no version refers to, and what killed writers left. Safe while others write.

        Versions in the trash keep theirs, until they are given up by `purge`.

        Parameters
        ----------
        dry_run : bool, keyword-only
            Delete nothing, only tell what would be deleted.
        progress : callable, keyword-only, optional
            Takes how many of how many files were looked at.

        Returns
        -------
        Collected
            What was freed.
        """
        from ..maintenance.gc import collect

        return collect(self._core.archive, dry_run=dry_run, progress=progress)

    def copy_to(
        self,
        target: Pool,
        refs: Reference | Iterable[Reference] | None = None,
        *,
        tags: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Received]:
        """Copy versions to another pool, with arrays, provenance and tags; each is checked whole.

        Called again after it was interrupted, it goes on: what is there already is not stored again.

        Parameters
        ----------
        target : Pool
            Where to.
        refs : ProductRef, str, or an iterable of them, optional
            The versions; all living ones unless given.
        tags : bool, keyword-only
            Put the labels on that the versions have here; they leave what they mark there in these tracks.
        progress : callable, keyword-only, optional
            Takes how many versions of how many are done.

        Returns
        -------
        list of Received
            In the order of saving here.

        Raises
        ------
        IntegrityError
            If a version is damaged; those before it have been saved then.
        Conflict
            If a name belongs to another exposure there.
        """
        from ..exchange.copy import PoolShelf, receive

        return receive(target._core, PoolShelf(self._core, refs), tags=tags, progress=progress)

    def pack(
        self,
        path: Path | str,
        refs: Reference | Iterable[Reference] | None = None,
        *,
        overwrite: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Packed:
        """Write versions into one tar file. It appears under its name when it is complete and on disk, or not at all.

        Parameters
        ----------
        path : path-like
            The file.
        refs : ProductRef, str, or an iterable of them, optional
            The versions; all living ones unless given.
        overwrite : bool, keyword-only
            Replace a file of that name.
        progress : callable, keyword-only, optional
            Takes how many of how many blobs are done.

        Returns
        -------
        Packed
            How many versions and blobs, and the file's size.

        Raises
        ------
        AlreadyExists
            If the file is there and `overwrite` is False.
        IntegrityError
            If a version is damaged.
        """
        from ..exchange.copy import PoolShelf
        from ..exchange.pack import pack

        shelf = PoolShelf(self._core, refs)
        return pack(shelf, self._core.archive, Path(path), overwrite=overwrite, progress=progress)

    def unpack(
        self, path: Path | str, *, tags: bool = True, progress: Callable[[int, int], None] | None = None
    ) -> list[Received]:
        """Save the versions that a packed file holds; the parameters and errors are those of `copy_to`.

        Parameters
        ----------
        path : path-like
            What `pack` wrote.
        tags, progress : object, keyword-only
            As for `copy_to`.

        Returns
        -------
        list of Received
            In the order of the file.

        Raises
        ------
        FileMissing, FormatError, IntegrityError
            If there is no such file, or it is no pack, or damaged.
        """
        from ..exchange.copy import receive
        from ..exchange.pack import Pack

        with Pack(Path(path)) as shelf:
            return receive(self._core, shelf, tags=tags, progress=progress)
