"""Pool: the public methods of a pool. Other modules do the work."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import formats
from ..errors import IncompleteAnswer, InvalidInput, ProductNotFound
from ..model.notebook import html_table
from ..model.product import Product
from ..pool import save as saving
from ..pool import tags as tagging
from ..pool import trash as trashing
from ..pool.find import as_asked, find
from ..pool.reference import ProductRef, ProductRefs
from ..pool.resolve import only_one
from ..pool.trash import serials_among
from ..query.queries import as_query, functions_in
from ..store.poolinfo import PIXEL_POLICIES
from ..system.warning import warn_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor
    from datetime import date, timedelta

    from ..exchange.copy import Received
    from ..exchange.pack import Packed
    from ..index import TagEvent, TagSummary
    from ..maintenance.gc import Collected
    from ..maintenance.repair import RepairStep
    from ..maintenance.verify import Report
    from ..monitors import PixelMonitor
    from ..pipeline import Recipe, Reprocessed
    from ..pixels.matching import Pixels
    from ..pool.citation import Citation
    from ..pool.core import Core
    from ..pool.difference import Difference
    from ..pool.events import PoolChange
    from ..pool.explain import Explanation
    from ..pool.ingest import Outcome
    from ..pool.lineage import Lineage, Use
    from ..pool.resolve import Reference
    from ..pool.undo import Undone
    from .browsing import Browsing
    from .pixel import PoolPixel

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
        """Identifier of the pool; it is unique and does not change when the pool is renamed."""
        return self._core.id

    @property
    def path(self) -> Path:
        """The pool's folder."""
        files = self._core.archive.storage.files
        if files is None:
            raise InvalidInput(
                f"pool {self.name!r} is not a folder of this machine: it is at {self._core.archive.place}"
            )
        return files.root

    def set_pixel_policy(self, policy: str) -> None:
        """Set which versions get pixel rows automatically from now on.

        Parameters
        ----------
        policy : {'all', 'tagged', 'none'}
            All versions; the newest and tagged versions; no versions.

        Raises
        ------
        InvalidInput
            If `policy` is none of these.
        """
        if policy not in PIXEL_POLICIES:
            raise InvalidInput(f"there is no pixel policy {policy!r}; the policies are {', '.join(PIXEL_POLICIES)}")
        self._core.archive.set_pixel_policy(PIXEL_POLICIES[policy])

    def reindex(self, *, progress: Callable[[int], None] | None = None) -> None:
        """Rebuild the index from the folder, e.g. if the index is damaged or older than the folder.

        Others may read and write meanwhile: the new index replaces the old one when it is complete. Its pixel rows are
        then pending; `miripool index pixels` makes them.

        Parameters
        ----------
        progress : callable, keyword-only, optional
            Called with the number of journal entries read so far.

        Raises
        ------
        IntegrityError
            If the journal is damaged. The index is not changed then.
        """
        from ..monitors.statistics import load_pending

        self._core.reindex(progress=progress)
        self._core.catch_up()
        load_pending(self._core)

    def browse(self, *, port: int = 0, open_browser: bool = True, hosts: Iterable[str] = ()) -> Browsing:
        """Show the pool in a browser: tables, images, pixels, versions, monitors. Needs the extra ``web``.

        The page is served by another process, on this machine only, until the returned object is closed or this
        process ends.

        Parameters
        ----------
        port : int, keyword-only
            Port on 127.0.0.1; 0 for any that is free.
        open_browser : bool, keyword-only
            Open the system's browser.
        hosts : iterable of str, keyword-only
            Further names under which the page is reached through a proxy, e.g. that of a Jupyter server.

        Returns
        -------
        Browsing
            Its `url` holds a token; in a notebook it is shown as a link. `close` ends the server.

        Raises
        ------
        ServerUnavailable
            If the page can't be served; the message says why.
        """
        from .browsing import start_browsing

        self._core.refuse_past()
        core = self._core
        _, (home, *_) = core.way_in()
        return start_browsing(home, core.name, port=port, open_browser=open_browser, hosts=hosts)

    def as_of(self, when: date | str | int | None = None, *, tag: str | None = None) -> Pool:
        """Give the pool as it was at an earlier moment: its versions, heads, tags and trash of then.

        Parameters
        ----------
        when : datetime.date, datetime.datetime, str or int, optional
            A date means its end, in UTC. A datetime needs a time zone. Text is a date or a time in ISO form, UTC unless
            it names a zone, or a number. A number is that of a journal entry: the pool right after it.
        tag : str, keyword-only, optional
            The moment when this tag was last put on a version, moved or removed, instead.

        Returns
        -------
        Pool
            It lists, selects, loads and follows pixels; all else raises ReadOnly. Before the first entry it is empty.

        Raises
        ------
        InvalidInput
            If the moment can't be read or lies in the future, or if there is no such entry.
        TagNotFound
            If the tag was never used.
        ReadOnly
            If an older miripool indexed the pool, this is the first question about its past, and this user can't write
            to the index.

        Notes
        -----
        The time of an entry is the latest time of it and of all entries before it: the clocks of writers differ.
        """
        from ..pool.past import as_of

        return Pool(as_of(self._core, when, tag=tag))

    def close(self) -> None:
        """Close the database connection. The next use of the pool opens a new one."""
        self._core.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Pool {self._core}>"

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
        """Save a product: a new product, a new version, or nothing if a version has the same data already.

        Parameters
        ----------
        source : path-like, Product, astropy HDUList or jwst datamodel
            What to save; a path names a ``.fits`` or ``.fits.gz`` file.
        name : str, keyword-only, optional
            The product's name; by default the file's stem without ``_uncal``, ``_ramp``, ``_rateints``, ``_rate``.
        kind : str or type of Product, keyword-only, optional
            The product's kind; by default derived from the content.
        tag : str, keyword-only, optional
            Tag for the version, even if the version was already in the pool.
        force : bool, keyword-only
            Make a new version even if the same data are already in the pool.
        history : sequence of mapping, keyword-only, optional
            What the product was made from and how, as values that JSON can hold.
        pixels : bool, keyword-only, optional
            Whether the version gets pixel rows in the index; by default the pool's pixel policy decides.
        truncate : bool, keyword-only
            Keep only the complete integrations of a ground-test file that has too few or too many frames.

        Returns
        -------
        ProductRef
            The version; its `notice` says if nothing was new. The reference's `product` is read-only. A `Product` given
            as `source` is not changed and can still be edited.

        Raises
        ------
        FileMissing, FormatError
            If the file can't be read.
        Conflict
            If the name belongs to another exposure.
        InvalidName
            If the tag or the name is not valid.
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
        statistics: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Outcome]:
        """Save many files. A bad file does not stop the others; an interrupted call can be repeated.

        Parameters
        ----------
        paths : path-like, or an iterable of them
            Files; folders with FITS files; patterns.
        tag, name, force, pixels, truncate : object, keyword-only
            As for `save`.
        jobs : int, keyword-only, optional
            Number of files processed in parallel; by default as many as the executor has workers or this machine has
            cores, at most four. Many small files are processed by processes of their own, large ones by threads.
        executor : concurrent.futures.Executor, keyword-only, optional
            Executor that reads and stores the files: a process pool, or Dask's ``client.get_executor()``. Versions are
            made in this process, in the order of the files.
        statistics : bool, keyword-only
            Also measure what `exposure_statistics` gives.
        progress : callable, keyword-only, optional
            Called as each file is stored, before its entry, with the numbers of bytes that are done and in all.

        Returns
        -------
        list of Outcome
            One for each file, in order. A pattern or folder without a FITS file gives an outcome that has failed.

        Raises
        ------
        PoolNotFound
            If the pool was deleted or renamed meanwhile.
        InvalidName
            If the tag is not valid.
        """
        from ..pool.ingest import find_files, ingest

        self._core.refuse_past()
        files = find_files([paths] if isinstance(paths, (str, Path)) else paths)
        made = ingest(
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
        outcomes = list(made)
        if statistics:
            self._measure([self.ref(outcome.urn) for outcome in outcomes if outcome.urn is not None])
        return outcomes

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
            Search only these versions, whether or not they are the newest.
        tag : str, keyword-only, optional
            Search the versions that this tag marks.
        all_versions : bool, keyword-only, optional
            Search all versions that are not in the trash, not only the newest.
        order : str or sequence of str, keyword-only, optional
            Fields or keywords to sort by; a leading ``-`` means descending, e.g. ``-created``. By default the order
            of saving.
        limit : int, keyword-only, optional
            Return at most this many products.
        allVersions : bool, keyword-only, optional
            HIPE's name of `all_versions`.
        executor : concurrent.futures.Executor, keyword-only, optional
            Executor that reads data for conditions that the index can't answer: a process pool, or Dask's
            ``client.get_executor()``; by default threads on all cores.
        progress : callable, keyword-only, optional
            Called while data are read, with the number of products done and their total number.

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
        """Show how a query is answered: what answers each condition, and how many products are left after it.

        Parameters
        ----------
        query, tag, all_versions : object
            As for `select`.

        Returns
        -------
        Explanation
            Prints as a table. If no product is left, it names the nearest existing values.
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
            ``urn:jpl8:Ramp:3``, ``Ramp/name``, ``Ramp/name@1``, ``Ramp/name@cal v1``, or a name that only one product
            has. Without version or tag, the newest version that is not in the trash.
        removed : bool, keyword-only
            Search the trash, too. If all versions are in the trash, a name then means the newest of them.

        Returns
        -------
        ProductRef
            The version.

        Raises
        ------
        ProductNotFound
            If there is no such version; the message suggests similar names.
        AmbiguousSpec
            If products of several kinds have the name.
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
        """List the versions of a product, oldest first.

        Parameters
        ----------
        ref : ProductRef or str
            Any version of the product.
        removed : bool, keyword-only
            Include versions in the trash.

        Returns
        -------
        list of ProductRef
            The versions.
        """
        found = self.ref(ref, removed=True)
        rows = self._core.catalog.track(found.kind, found.name)
        return [ProductRef(self._core, row) for row in rows if removed or row.removed is None]

    def head(self, ref: Reference) -> ProductRef:
        """Give the head of a product: its newest version that is not in the trash.

        Parameters
        ----------
        ref : ProductRef or str
            Any version of the product.

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
            raise ProductNotFound(f"all versions of {self.ref(ref, removed=True).name} are in the trash; restore one")
        return versions[-1]

    # Tags

    def tag(self, refs: Reference | Iterable[Reference], label: str, *, keep: bool = False) -> int:
        """Put a tag on versions. In each product, the tag moves from the version that it marked before.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them
            At most one version of each product. A context is tagged with all that it refers to.
        label : str
            The tag, e.g. ``using cal v2``.
        keep : bool, keyword-only
            Refuse to move the tag from another version.

        Returns
        -------
        int
            How many versions did not have the tag before.

        Raises
        ------
        InvalidName
            If the tag is not valid.
        InvalidInput
            If two versions of one product are given.
        Conflict
            If the tag marks another version and `keep` is True.
        """
        tagging.check_tag(label)
        self._core.catch_up()
        return len(tagging.put(self._core, serials_among(self._core, refs), label, keep=keep))

    def untag(self, label: str, refs: Reference | Iterable[Reference] | None = None) -> int:
        """Remove a tag from versions.

        Parameters
        ----------
        label : str
            The tag.
        refs : ProductRef, str, or an iterable of them, optional
            The versions; by default all that the tag marks.

        Returns
        -------
        int
            How many versions lost the tag.

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
            Tag, number of versions that it marks (without contexts and trash), first and last use.
        """
        self._core.catch_up()
        return self._core.catalog.tags()

    def tag_events(
        self, label: str | None = None, *, kind: str | None = None, name: str | None = None
    ) -> list[TagEvent]:
        """List the moves of a tag, or of all tags, oldest first.

        Parameters
        ----------
        label : str, optional
            The tag.
        kind, name : str, keyword-only, optional
            Only moves in products of this kind or name.

        Returns
        -------
        list of TagEvent
            One for each product in which the tag was put on a version, moved or removed.
        """
        self._core.catch_up()
        return self._core.catalog.tag_events(label=label, kind=kind, name=name)

    def tag_exists(self, label: str) -> bool:
        """Tell whether a tag marks a version that is not in the trash.

        Parameters
        ----------
        label : str
            The tag.

        Returns
        -------
        bool
            True if it marks one.
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
            In the order of saving, including contexts.

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
        """Put versions into the trash. Nothing is deleted; `restore` brings them back.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them
            The versions.
        cascade : bool, keyword-only
            Also remove the contexts made by users that refer to the versions. The exposures that `add` and `reprocess`
            made of the versions are always removed and restored with them.

        Returns
        -------
        int
            How many versions were put into the trash. Their numbers are not used again.

        Raises
        ------
        Conflict
            If contexts made by users refer to the versions and `cascade` is False.
        """
        return len(trashing.remove(self._core, refs, cascade=cascade))

    def trash(
        self,
        kind: str | type[Product] | None = None,
        *,
        longer_than: timedelta | None = None,
        order: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> ProductRefs:
        """List the versions in the trash.

        Parameters
        ----------
        kind : str or type of Product, optional
            Only this kind; by default all kinds, including contexts.
        longer_than : timedelta, keyword-only, optional
            Only versions that have been in the trash for longer than this.
        order, limit : object, keyword-only
            As for `select`.

        Returns
        -------
        ProductRefs
            In the order of saving unless `order` is given.
        """
        return trashing.trash(self._core, kind, longer_than=longer_than, order=order, limit=limit)

    def restore(self, refs: Reference | Iterable[Reference]) -> int:
        """Take versions out of the trash. They have their tags again, except tags that have moved to other versions.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them
            The versions. A SPEC without version means the newest version of the product that is in the trash. A context
            is restored with all that it refers to.

        Returns
        -------
        int
            How many versions were restored; versions that were not in the trash do not count.

        Raises
        ------
        Conflict
            If a context refers to a version that was removed for good.
        """
        return len(trashing.restore(self._core, refs))

    def purge(self, refs: Reference | Iterable[Reference]) -> int:
        """Remove versions in the trash for good: they can't be restored, and `miripool gc` deletes their arrays.

        Their numbers are not used again and their manifests stay, so that what was made from them can still be traced.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them
            The versions.

        Returns
        -------
        int
            How many versions were removed; versions that are not in the trash, or that another process removed
            meanwhile, do not count.
        """
        return trashing.purge(self._core, refs)

    # What happened

    def undo(self, entry: int | None = None, *, dry_run: bool = False) -> Undone:
        """Take back what one journal entry did, by a new entry.

        Tags go back to the versions that they marked before. What was removed is restored; what was restored or saved
        goes into the trash, with the exposures that `add` and `reprocess` made of it. An undo can be undone.

        Parameters
        ----------
        entry : int, optional
            Number of the entry, as in `miripool log`; by default the newest entry.
        dry_run : bool, keyword-only
            Only find out what would be done.

        Returns
        -------
        Undone
            What was taken back, and the entry that takes it back.

        Raises
        ------
        NotFound
            If the pool has no such entry.
        Conflict
            If a later entry has touched the same versions or tags, or has taken the entry back already, or saved a
            context that refers to the versions; the message names that entry. Or if versions were removed for good.
        """
        from ..pool.undo import undo

        return undo(self._core, entry, dry_run=dry_run)

    def changes(self, after: int | None = None) -> Iterator[PoolChange]:
        """Read what happened in the pool, entry by entry, the oldest first, up to now.

        A program that follows the pool keeps the `entry` of the last change that it has handled, and goes on after it.

        Parameters
        ----------
        after : int, optional
            Number of the entry after which to begin; by default all are given.

        Returns
        -------
        iterator of PoolChange
            Each with all `events` of one entry, which took effect together. It ends at the newest entry.

        Raises
        ------
        InvalidInput
            If `after` is not the number of an entry.
        Conflict
            If the pool has no entry of this number, e.g. because an older copy of its folder was put back.
        IntegrityError
            If an entry is damaged or lost.
        """
        from ..pool.events import changes

        return changes(self._core, after)

    # Pixels

    def pixel(self, x: int, y: int, detector: str | None = None) -> PoolPixel:
        """Follow one detector pixel.

        Parameters
        ----------
        x, y : int
            Column (1 to 1032) and row (1 to 1024) of the FULL array, 1-based.
        detector : str, optional
            E.g. ``"MIRIMAGE"``; case does not matter. Needed if the versions are of several detectors.

        Returns
        -------
        PoolPixel
            Its ``ramps`` and ``history`` are astropy tables; ``life`` shows which states a monitor found it in.

        Raises
        ------
        InvalidInput
            If there is no such pixel.
        """
        from .pixel import PoolPixel

        return PoolPixel(self._core, x, y, detector)

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
            First and last column, first and last row to search, in the FULL array, 1-based, both ends included.
        query : Query or str, keyword-only, optional
            Condition on versions, as for `select`.
        tag : str, keyword-only, optional
            Search the versions that this tag marks.
        all_versions : bool, keyword-only
            Search all versions, not only the newest.
        detector : str, keyword-only, optional
            Only this detector; case does not matter. By default all; the column ``detector`` names them.

        Returns
        -------
        Pixels
            Read by ``to_table()``, ``chunks()`` or ``count()``.

        Raises
        ------
        QueryError
            If the condition can't be read, or the kind has no such column.
        """
        from ..pixels.matching import Pixels

        options: dict[str, Any] = {"query": query, "tag": tag, "all_versions": all_versions, "detector": detector}
        return Pixels(self._core, kind, where, x=x, y=y, **options)

    def pixels_at(
        self,
        ra: Any,
        dec: Any = None,
        *,
        query: Any = "1",
        tag: str | None = None,
        all_versions: bool = False,
    ) -> Any:
        """Tell which pixel of each image looked at a position on the sky.

        The pixel follows from the linear world coordinates of the header: CRPIX, CRVAL and CD (or PC and CDELT) where
        it has them, else RA_REF, DEC_REF, ROLL_REF, V3I_YANG and VPARITY. The distortion is left out: x and y may be
        wrong by 1.2 % of the distance from the reference pixel, which is the column ``error``, and by the error of the
        telescope's pointing. Measured against JWST's Science Instrument Aperture File (PRDOPSSOC-075), that is at most
        1.0 arcseconds (9 pixels) in the corners of FULL, and 0.34 arcseconds (3 pixels) in the subarrays.

        Parameters
        ----------
        ra : float, str, Quantity or SkyCoord
            Right ascension, in degrees, as an angle with a unit, or as text, ``"10h00m28s"``; or the whole position, a
            `SkyCoord` or text, ``"10h00m28s +02d12m21s"``. ICRS.
        dec : float, str or Quantity, optional
            Declination.
        query : Query or str, keyword-only, optional
            Condition on versions, as for `select`.
        tag : str, keyword-only, optional
            Search the versions that this tag marks.
        all_versions : bool, keyword-only
            Search all versions, not only the newest.

        Returns
        -------
        astropy.table.Table
            A row for each version whose footprint has the position: ``urn, kind, name, version, filter, detector``;
            ``x, y``, column and row of the FULL array, 1-based; ``pixel_id``; ``sky_x, sky_y``, the same with
            fractions, whole numbers in the middle of a pixel; ``error``, pixels; ``non_science``, whether the flags of
            the pixel have NON_SCIENCE, masked where the product has no flags. Its ``meta`` has the position, the error
            in words, and which versions were left out, and why.

        Warns
        -----
        miripool.errors.IncompleteAnswer
            If footprints have the position whose pixel can't be told: those of MRS, LRS and the prism.

        Raises
        ------
        InvalidInput
            If there is no such position.
        """
        from ..pixels.skypixels import pixels_at

        position = (ra,) if dec is None else (ra, dec)
        return pixels_at(self._core, *position, query=query, tag=tag, all_versions=all_versions)

    def exposure_statistics(
        self,
        query: Any = None,
        *,
        tag: str | None = None,
        all_versions: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """Give statistics of exposures by integration and amplifier. What was not measured before is measured now.

        The results are kept in the pool, as products of the kind ExposureStatistics, and for SQL in the view
        ``exposure_statistics``.

        Parameters
        ----------
        query : Query or str, optional
            Which versions, as for `select`; by default all RateInts, Rate and Ramp. Raw exposures are measured where
            the query asks for them.
        tag : str, keyword-only, optional
            The versions that this tag marks.
        all_versions : bool, keyword-only
            Of all versions, not only of the newest.
        progress : callable, keyword-only, optional
            Called with the number of versions measured so far and the number of all.

        Returns
        -------
        astropy.table.Table
            Rows by version, integration and amplifier. Columns: ``urn, kind, name, version, time`` (UTC), ``detector``,
            ``integration`` (masked for the mean of an exposure), ``amplifier`` (5 is the reference output), ``pixels``;
            ``median``, ``sigma`` (1.4826 times the median absolute deviation), ``p0, p5, p16, p50, p84, p95, p100``,
            DN/s; ``cds_noise``, DN, the scatter of differences of successive groups; ``cosmic_rays``, jumps for each
            1000 pixels and second; ``primecrs``, ``extncrs``, the pipeline's own rates; ``flags``, pixels with each DQ
            flag; ``residuals``, the groups less the line through the later ones, DN. Reference pixels and pixels
            flagged DO_NOT_USE are left out.

        Warns
        -----
        miripool.errors.IncompleteAnswer
            If a version can't be measured; the text says why.

        Raises
        ------
        ReadOnly
            If there are versions to be measured and the pool can't be written.
        """
        from ..monitors.statistics import MEASURED, UNITS
        from ..monitors.tables import table_of

        refs = [
            ref
            for ref in self.select("1" if query is None else query, tag=tag, all_versions=all_versions)
            if query is not None or ref.kind in MEASURED
        ]
        table = table_of(self._measure(refs, progress))
        for column in table.colnames:
            table[column].unit = UNITS.get(column)
        return table

    def _measure(
        self, refs: Sequence[ProductRef], progress: Callable[[int, int], None] | None = None
    ) -> list[dict[str, Any]]:
        from ..monitors.statistics import measured_records

        records, left_out = measured_records(self._core, refs, progress=progress)
        for urn, why in left_out:
            warn_caller(f"{urn} has no statistics: {why}", IncompleteAnswer)
        return records

    # Inspecting and exporting versions

    def create_monitor(
        self,
        name: str,
        kind: str | type[Product] = "RateInts",
        where: str = "1",
        *,
        tag: str | None = None,
        region: str | None = None,
        light: str | None = None,
        false_alarms: float = 1e-3,
    ) -> PixelMonitor:
        """Make a monitor, which follows the pixels of exposures through time. `PixelMonitor.update` takes them in.

        Parameters
        ----------
        name : str
            Of the monitor.
        kind : str or type of Product
            RateInts, Rate or Ramp.
        where : str
            Condition on versions, as for `select`.
        tag : str, keyword-only, optional
            Follow the versions that this tag marks; by default the newest ones.
        region : str, keyword-only, optional
            Part of the FULL array, ``X0:X1,Y0:Y1``, all four included; by default all of it.
        light : {'dark', 'flat', 'sky'}, keyword-only, optional
            What fell on the detector; by default the keyword EXP_TYPE of each exposure tells it.
        false_alarms : float, keyword-only
            Fraction of quiet pixels that may get a state at an update, all states together.

        Returns
        -------
        PixelMonitor
            Without exposures yet.

        Raises
        ------
        AlreadyExists
            If the pool has a monitor of that name.
        InvalidInput
            If an argument is not valid.
        """
        from ..monitors import Definition, Region, create_monitor

        place = None if region is None else Region.parse(region)
        kind = kind if isinstance(kind, str) else kind.kind
        return create_monitor(self._core, Definition(name, kind, where, tag, place, light, false_alarms))

    def monitor(self, name: str) -> PixelMonitor:
        """Give a monitor.

        Parameters
        ----------
        name : str
            Of the monitor.

        Returns
        -------
        PixelMonitor
            The monitor, as it was last updated.

        Raises
        ------
        ProductNotFound
            If there is none; the message lists those there are.
        """
        from ..monitors import open_monitor

        return open_monitor(self._core, name)

    def monitors(self) -> list[ProductRef]:
        """List the monitors: the newest version of each, in the order of creation."""
        from ..monitors import list_monitors

        return list_monitors(self._core)

    def history(self, ref: Reference) -> tuple[Mapping[str, Any], ...]:
        """Tell what a version was made from and how.

        Parameters
        ----------
        ref : ProductRef or str
            The version.

        Returns
        -------
        tuple of dict
            The history given to `save`. For results of `reprocess`: tool, version, CRDS context, parameters, reference
            files with digests, steps, and the URNs of the inputs.
        """
        row = self._core.finder.row(ref)
        return copy.deepcopy(self._core.manifest(row).history)  # the manifest is kept

    def cite(self, refs: Reference | Iterable[Reference] | None = None, *, check: str | None = None) -> Citation:
        """Give a SHA-256 by which versions can be cited, and keep the list of them in the pool; or check one.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them, optional
            The versions, e.g. what `select` found in the pool as of a date.
        check : str, keyword-only, optional
            A SHA-256 that was cited, with or without ``sha256:`` before it: find its versions, and make sure that they
            are these. Nothing is changed then.

        Returns
        -------
        Citation
            Its ``sha256`` depends on the versions alone, not on tags or on their order. Its ``context`` is a product of
            the pool that refers to them. Versions that were removed since are among its ``versions``, too.

        Raises
        ------
        InvalidInput
            If no version is given, or if the text is no SHA-256.
        ProductNotFound
            If a version was removed for good, or if the pool has no such citation.
        IntegrityError
            If the versions are not those that were cited, or a manifest is damaged.
        ReadOnly
            If the pool can't be written.
        """
        from ..pool.citation import check_citation, cite

        if (refs is None) == (check is None):
            raise InvalidInput("give either the versions to cite, or check= and a SHA-256 that was cited")
        return check_citation(self._core, check) if check is not None else cite(self._core, refs or ())

    def diff(self, old: Reference, new: Reference, *, elements: bool = True) -> Difference:
        """Tell what differs between two versions.

        Parameters
        ----------
        old, new : ProductRef or str
            The versions, of one product or of two.
        elements : bool, keyword-only
            Read the arrays that differ, and count the elements that differ and by how much. This is left out if a
            version was removed for good.

        Returns
        -------
        Difference
            From `old` to `new`: keywords, datasets, elements, references.
        """
        from ..pool.difference import compare, compare_products

        before, after = self._core.finder.row(old), self._core.finder.row(new)
        found = compare(self._core.manifest(before), self._core.manifest(after))
        if not elements or before.purged or after.purged:
            return found
        return compare_products(self._core.load_version(before), self._core.load_version(after), found)

    def lineage(self, ref: Reference) -> Lineage:
        """Tell what a version was made from and what was made from it. No array is read.

        Parameters
        ----------
        ref : ProductRef or str
            The version.

        Returns
        -------
        Lineage
            A list of Descent, one for each original version that this version goes back to (the version itself if
            there is none). Each is a tree with the versions between, and all versions made from this one.
        """
        from ..pool.lineage import Lineage, trace

        row = self._core.finder.row(ref)
        self._core.catch_up()
        return Lineage(trace(self._core.archive, self._core.catalog, row, self._core.finder.is_ours))

    def uses(self, of: Reference) -> list[Use]:
        """Find the versions that were made from a version or with a reference file.

        Parameters
        ----------
        of : ProductRef or str
            A version; or the name of a reference file, as in the cards R_GAIN, R_DARK, … or in a history.

        Returns
        -------
        list of Use
            Versions that are not in the trash, in the order of saving: those made from it, directly or through other
            versions, calibrated with it, or referring to it.

        Raises
        ------
        ProductNotFound
            If there is no such version, and no version was calibrated with a file of that name.
        """
        from ..pool.lineage import find_uses

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
            raise ProductNotFound(f"{missing}; and no version was calibrated with a reference file {of!r}")
        return found

    def export(self, ref: Reference, destination: Path | str, *, overwrite: bool = False, jwst: bool = False) -> Path:
        """Write the FITS file that was saved, bit for bit.

        Parameters
        ----------
        ref : ProductRef or str
            The version.
        destination : path-like
            A file, or an existing folder, where the file gets its original name.
        overwrite : bool, keyword-only
            Replace an existing file.
        jwst : bool, keyword-only
            Write an exposure of a ground test as a Level-1b file, ``…_uncal.fits``.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        AlreadyExists
            If the file exists and `overwrite` is False.
        FileMissing
            If the folder does not exist.
        IntegrityError
            If stored data are missing or damaged, so that the file would differ from the one that was saved.
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
        return formats.to_hdulist(product if isinstance(product, Product) else self.ref(product).product)

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
        return formats.to_datamodel(product if isinstance(product, Product) else self.ref(product).product)

    # Calibrating, maintaining and sharing

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
        """Run the JWST pipeline's `Detector1Pipeline` on raw products, and save the results of each together.

        The results are the ramp, the rate, and the rateints if the pipeline makes them. Together with the raw product
        they form a new version of its `Exposure`.

        Parameters
        ----------
        raws : ProductRef, str, or an iterable of them
            Products of kind Raw.
        recipe : miripool.pipeline.Recipe, optional
            CRDS context, reference files and steps.
        tag : str, keyword-only, optional
            Tag for the results.
        jobs : int, keyword-only
            Number of exposures processed in parallel, each in its own process with some gigabytes of memory.
        executor : concurrent.futures.Executor, keyword-only, optional
            Executor to use instead of `jobs` threads: a process pool, or Dask's ``client.get_executor()``. Other hosts
            must see the pool's folder, the reference files and the CRDS cache under the same paths; they need no
            database.
        pixels : bool, keyword-only, optional
            As for `save`.
        progress : callable, keyword-only, optional
            Called with the product and the step that begins, from other threads.

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

        self._core.refuse_past()
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
        """Check the pool for damage: compare its folder with its index, and its index with its folder.

        Nothing is changed.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them, optional
            Check only these versions; by default everything.
        level : {'quick', 'normal', 'full'}, keyword-only
            'quick' checks names and manifests; 'normal' also headers of blobs and samples of pixel rows; 'full' also
            every array.
        progress : callable, keyword-only, optional
            Called with the number of blobs done and their total number; with bytes at level 'full'.

        Returns
        -------
        Report
            All findings.
        """
        from ..maintenance.verify import verify

        self._core.refuse_past()
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
        """Repair the pool from copies. What can't be repaired is set aside or left, and nothing more is lost.

        Parameters
        ----------
        sources : sequence of pathlib.Path, optional
            Folders of pools (a copy of this pool, or another pool with the same data), FITS files, or folders of FITS
            files.
        dry_run : bool, keyword-only
            Only list what would be done.
        progress : callable, keyword-only, optional
            As for `verify`.

        Returns
        -------
        list of RepairStep
            Empty if the pool is not damaged. `healed` is False for damage that can't be repaired.

        Raises
        ------
        FileMissing
            If a source does not exist.
        """
        from ..maintenance.repair import repair

        self._core.refuse_past()
        return repair(self._core, sources, dry_run=dry_run, progress=progress)

    def gc(self, *, dry_run: bool = False, progress: Callable[[int, int], None] | None = None) -> Collected:
        """Delete blobs and manifests that no version refers to, and files that killed writers left.

        Others may write meanwhile. Versions in the trash keep their arrays until `purge` removes the versions for good.

        Parameters
        ----------
        dry_run : bool, keyword-only
            Only count what would be deleted; delete nothing.
        progress : callable, keyword-only, optional
            Called with the number of files checked and their total number.

        Returns
        -------
        Collected
            What was freed.
        """
        from ..maintenance.gc import collect

        self._core.refuse_past()
        return collect(self._core.archive, dry_run=dry_run, progress=progress)

    def copy_to(
        self,
        target: Pool,
        refs: Reference | Iterable[Reference] | None = None,
        *,
        tags: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Received]:
        """Copy versions to another pool, with arrays, provenance and tags. Every array is checked.

        An interrupted call can be repeated: versions that are already in the other pool are not stored again.

        Parameters
        ----------
        target : Pool
            The pool to copy to.
        refs : ProductRef, str, or an iterable of them, optional
            The versions; by default all that are not in the trash.
        tags : bool, keyword-only
            Also copy the tags. In the other pool, a tag moves from the version of the same product that it marked.
        progress : callable, keyword-only, optional
            Called with the number of versions done and their total number.

        Returns
        -------
        list of Received
            In the order in which this pool saved them.

        Raises
        ------
        IntegrityError
            If a version is damaged; the versions before it have been saved then.
        Conflict
            If a name belongs to another exposure in the other pool.
        """
        from ..exchange.copy import PoolShelf, receive

        target._core.refuse_past()
        return receive(target._core, PoolShelf(self._core, refs), tags=tags, progress=progress)

    def pack(
        self,
        path: Path | str,
        refs: Reference | Iterable[Reference] | None = None,
        *,
        overwrite: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Packed:
        """Write versions to one tar file. The file gets its name only when it is complete and on disk.

        Parameters
        ----------
        path : path-like
            The file.
        refs : ProductRef, str, or an iterable of them, optional
            The versions; by default all that are not in the trash.
        overwrite : bool, keyword-only
            Replace an existing file.
        progress : callable, keyword-only, optional
            Called with the number of blobs done and their total number.

        Returns
        -------
        Packed
            How many versions and blobs, and the file's size.

        Raises
        ------
        AlreadyExists
            If the file exists and `overwrite` is False.
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
        """Save the versions from a file that `pack` wrote; further errors are those of `copy_to`.

        Parameters
        ----------
        path : path-like
            The file.
        tags, progress : object, keyword-only
            As for `copy_to`.

        Returns
        -------
        list of Received
            In the order of the file.

        Raises
        ------
        FileMissing, FormatError, IntegrityError
            If the file does not exist, is not a pack, or is damaged.
        """
        from ..exchange.copy import receive
        from ..exchange.pack import Pack

        self._core.refuse_past()
        with Pack(Path(path)) as shelf:
            return receive(self._core, shelf, tags=tags, progress=progress)
