"""Pool: a folder of products (the truth) and its index, as one thing to work with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from . import selecting
from .commit import Committer
from .errors import AmbiguousSpec, InvalidInput, NotFound, ProductNotFound, TagNotFound
from .formats import read_fits, to_datamodel, to_hdulist, track_name, write_fits
from .journal import Action, Remove, Restore, Tag, Untag
from .keywords import suggest
from .listing import astropy_table, list_rows
from .names import Spec, Urn, check_label, parse_spec
from .product import Product, kind_class
from .reference import Loader, ProductRef, ProductRefs, Version
from .saving import Saved, known_file, prepare, save_together, unchanged_notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .archive import Archive
    from .index import Catalog, Position, ProductRow, TagEvent, TagSummary

__all__ = ["Pool", "Reference", "export_name", "only_one"]

Reference: TypeAlias = "ProductRef | Urn | str"
"""How callers may name a version: a reference, a URN, or a SPEC such as ``Ramp/name@cal v1``."""


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
    """

    def __init__(self, name: str, archive: Archive, open_catalog: Callable[[], Catalog]) -> None:
        self._name = name
        self.archive = archive
        self._open_catalog = open_catalog
        self._catalog: Catalog | None = None

    @property
    def name(self) -> str:
        """The pool's name."""
        return self._name

    @property
    def catalog(self) -> Catalog:
        """The index; connecting starts the embedded server if there is need."""
        if self._catalog is None:
            self._catalog = self._open_catalog()
        return self._catalog

    @property
    def _committer(self) -> Committer:
        return Committer(self.archive, self.catalog)

    def catch_up(self) -> Position:
        """Take into the index what others have written to the journal since.

        Returns
        -------
        Position
            Where the index stands.
        """
        return self._committer.catch_up()

    def close(self) -> None:
        """Let go of the database connection; the next use makes a new one."""
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Pool {self.name}>"

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

        Returns
        -------
        ProductRef
            The version; its `notice` says so where nothing was new.

        Raises
        ------
        FileMissing, FormatError
            If the file can't be read.
        Conflict
            If the name belongs to another exposure.
        InvalidName
            If the tag or the name can't be one.
        """
        saved = self.save_detailed(source, name=name, kind=kind, tag=tag, force=force, history=history)
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
    ) -> Saved:
        """Save a product as `save` does, and say what came of it.

        Parameters
        ----------
        source, name, kind, tag, force, history : object
            As for `save`.

        Returns
        -------
        Saved
            The version, whether it is new, and the bytes stored.
        """
        if tag is not None:
            check_label(tag)
        product = self._as_product(source, name, kind)
        if not product.name:
            raise InvalidInput(f"a {product.kind} that does not come from a file needs a name: save(product, name=…)")
        committer = self._committer
        committer.catch_up()
        row = None if force else known_file(self.catalog, product, product.name)
        if row is not None:
            if tag is not None:
                self._tag_serials([row.serial], tag)
            (row,) = self.catalog.rows([row.serial])
            return Saved(row, "unchanged", 0, unchanged_notice(self.catalog, row, same_file=True))
        prepared = prepare(self.archive, product, name=product.name, history=history)
        (saved,) = save_together(self.archive, self.catalog, committer, [prepared], tag=tag, force=force)
        return saved

    def _as_product(self, source: Any, name: str | None, kind: str | type[Product] | None) -> Product:
        if isinstance(source, ProductRef):
            source = source.product
        wanted = kind.kind if isinstance(kind, type) else kind_class(kind).kind if kind else None
        if not isinstance(source, Product):
            path = Path(source) if isinstance(source, (str, Path)) else source
            return read_fits(path, name=name, kind=wanted)
        if wanted is not None and wanted != source.kind:
            raise InvalidInput(f"this product is a {source.kind}, not a {wanted}")
        if name is not None:
            source = source.renamed(name)
        return source

    # Finding

    def select(
        self,
        query: Any = "1",
        previous: Sequence[ProductRef] | None = None,
        *,
        tag: str | None = None,
        all_versions: bool | None = None,
        order: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> ProductRefs:
        """Find products.

        Parameters
        ----------
        query : Query, str, callable or type of Product
            ``"ngroups >= 20 and detector == 'MIRIMAGE'"``, a MetaQuery, a function of a product …
        previous : sequence of ProductRef, optional
            Look only at these, whichever versions they are.
        tag : str, keyword-only, optional
            Look at the versions that this tag marks.
        all_versions : bool, keyword-only, optional
            Look at every living version, not only at heads.
        order : str or sequence of str, keyword-only, optional
            Fields or keywords to sort by; ``-created`` for descending. In the order of saving unless given.
        limit : int, keyword-only, optional
            At most so many.

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
        self.catch_up()
        serials = selecting.select(self, query, previous, tag=tag, all_versions=all_versions, order=order, limit=limit)
        return ProductRefs([(self, s) for s in serials], self)

    def fetch(self, keys: Sequence[tuple[Loader, int]]) -> Sequence[ProductRef]:
        """Give the references of a page of a result.

        Parameters
        ----------
        keys : sequence of (Pool, int)
            This pool and serials.

        Returns
        -------
        sequence of ProductRef
            In that order.
        """
        return [ProductRef(self, row) for row in self.catalog.rows([serial for _, serial in keys])]

    def table(self, keys: Sequence[tuple[Loader, int]], columns: Sequence[str] | None) -> Any:
        """Give an astropy Table of a result.

        Parameters
        ----------
        keys : sequence of (Pool, int)
            This pool and serials.
        columns : sequence of str, optional
            Fields and keywords.

        Returns
        -------
        astropy.table.Table
            One row each.
        """
        chosen = list(columns) if columns else list(selecting.TABLE_COLUMNS)
        return astropy_table(self.listing([serial for _, serial in keys], chosen), chosen)

    def listing(self, serials: Sequence[int], columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Give versions as dictionaries.

        Parameters
        ----------
        serials : sequence of int
            Which.
        columns : sequence of str, optional
            Fields and keywords; unless given urn, kind, name, version, tags, created, bytes.

        Returns
        -------
        list of dict
            In that order.
        """
        return list_rows(self.catalog, self.name, self.catalog.rows(serials), columns)

    def ref(self, spec: Reference, *, removed: bool = False) -> ProductRef:
        """Find one version by its URN or SPEC.

        Parameters
        ----------
        spec : str, Urn or ProductRef
            ``urn:jpl8:Ramp:3``, ``Ramp/name``, ``Ramp/name@1``, ``Ramp/name@cal v1``, or a name that is clear by
            itself; without version or tag, the head.
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
        if isinstance(spec, ProductRef):
            spec = spec.urn
        self.catch_up()
        parsed = Spec(urn=spec) if isinstance(spec, Urn) else parse_spec(spec)
        row = self._by_urn(parsed.urn) if parsed.urn is not None else self._by_track(parsed, str(spec), removed)
        if row.removed is not None and not removed:
            raise ProductNotFound(
                f"{Urn(self.name, row.kind, row.serial)} is in the trash since {row.removed:%Y-%m-%d %H:%M} UTC; "
                "`miripool restore` brings it back"
            )
        return ProductRef(self, row)

    def _by_urn(self, urn: Urn) -> ProductRow:
        if urn.pool != self.name and urn.pool not in self.archive.info.former_names:
            raise ProductNotFound(f"{urn} is of pool {urn.pool!r}, this is {self.name!r}")
        rows = self.catalog.rows([urn.serial])
        if not rows or rows[0].kind != urn.kind:
            raise ProductNotFound(f"no {urn} in this pool")
        return rows[0]

    def _by_track(self, spec: Spec, text: str, removed: bool) -> ProductRow:
        assert spec.name is not None  # noqa: S101 - a Spec without URN has a name
        kind = kind_class(spec.kind).kind if spec.kind is not None else None
        heads = self.catalog.by_name(spec.name, kind)
        if not heads:
            near = suggest(spec.name, self.catalog.names_like(spec.name[:3]))
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ProductNotFound(f"no {kind or 'product'} {spec.name!r} in pool {self.name}{hint}")
        kinds = sorted({row.kind for row in heads if removed or row.removed is None} or {row.kind for row in heads})
        if len(kinds) > 1:
            choices = ", ".join(f"{k}/{spec.name}" for k in kinds)
            raise AmbiguousSpec(f"{text!r} is not clear: there are {choices}")
        track = self.catalog.track(kinds[0], spec.name)
        living = [row for row in track if row.removed is None]
        if spec.version is not None:
            found = [row for row in track if row.version == spec.version]
        elif spec.label is not None:
            found = [row for row in living if spec.label in row.tags]
        else:
            found = living[-1:] or (track[-1:] if removed else [])
        if not found:
            raise ProductNotFound(_not_in_track(text, kinds[0], spec.name, track))
        return found[0]

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
            marked = self.select("1", tag=urn_or_tag) if self.tag_exists(urn_or_tag) else None
            if marked is not None:
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

    def tag(self, refs: Reference | Iterable[Reference], label: str) -> int:
        """Put a label on versions; in each track it leaves the version that it marked before.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them
            At most one version of each track.
        label : str
            E.g. ``using cal v2``.

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
        """
        check_label(label)
        found = self._resolve(refs)
        tracks: dict[tuple[str, str], ProductRef] = {}
        for ref in found:
            other = tracks.setdefault((ref.kind, ref.name), ref)
            if other.serial != ref.serial:
                raise InvalidInput(
                    f"a tag marks one version of a track, and {ref.kind}/{ref.name} was given in versions "
                    f"{other.version} and {ref.version}"
                )
        return self._tag_serials([ref.serial for ref in found], label)

    def _tag_serials(self, serials: Sequence[int], label: str) -> int:
        count = 0

        def decide(_: Position) -> Sequence[Action]:
            nonlocal count
            new = [row.serial for row in self.catalog.rows(serials) if row.removed is None and label not in row.tags]
            count = len(new)
            return [Tag(label, tuple(new))] if new else []

        self._committer.commit(decide)
        return count

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
        serials = None if refs is None else {ref.serial for ref in self._resolve(refs)}
        count = 0

        def decide(_: Position) -> Sequence[Action]:
            nonlocal count
            marked = [row.serial for row in self.catalog.select(tag=label)]
            if not marked:
                raise self._no_tag(label)
            gone = tuple(s for s in marked if serials is None or s in serials)
            count = len(gone)
            return [Untag(label, gone)] if gone else []

        self._committer.commit(decide)
        return count

    def tags(self) -> list[TagSummary]:
        """List the tags in use.

        Returns
        -------
        list of TagSummary
            Label, how many living versions it marks, first and last use.
        """
        self.catch_up()
        return self.catalog.tags()

    def tag_events(self, label: str | None = None) -> list[TagEvent]:
        """List the moves of a tag, or of all, oldest first.

        Parameters
        ----------
        label : str, optional
            The tag.

        Returns
        -------
        list of TagEvent
            One for each version that it came to or went from.
        """
        self.catch_up()
        return self.catalog.tag_events(label=label)

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
            In the order of saving.

        Raises
        ------
        TagNotFound
            If it marks none.
        """
        if not self.tag_exists(label):
            raise self._no_tag(label)
        return self.select("1", tag=label)

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

    def _no_tag(self, label: str) -> TagNotFound:
        near = suggest(label, [t.label for t in self.catalog.tags()])
        hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        return TagNotFound(f"no version of pool {self.name} has the tag {label!r}{hint}")

    # Trash

    def remove(self, refs: Reference | Iterable[Reference]) -> int:
        """Put versions into the trash; numbers stay used, nothing is deleted, `restore` brings them back.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them
            The versions.

        Returns
        -------
        int
            How many went.
        """
        return self._move([ref.serial for ref in self._resolve(refs)], Remove, removed=False)

    def restore(self, refs: Reference | Iterable[Reference]) -> int:
        """Take versions out of the trash.

        Parameters
        ----------
        refs : ProductRef, str, or an iterable of them
            The versions.

        Returns
        -------
        int
            How many came back.
        """
        return self._move([ref.serial for ref in self._resolve(refs, removed=True)], Restore, removed=True)

    def _move(self, serials: Sequence[int], action: type[Remove] | type[Restore], *, removed: bool) -> int:
        count = 0

        def decide(_: Position) -> Sequence[Action]:
            nonlocal count
            moved = tuple(row.serial for row in self.catalog.rows(serials) if (row.removed is not None) == removed)
            count = len(moved)
            return [action(moved)] if moved else []

        self._committer.commit(decide)
        return count

    def _resolve(self, refs: Reference | Iterable[Reference], *, removed: bool = False) -> list[ProductRef]:
        if isinstance(refs, (ProductRef, Urn, str)):
            refs = [refs]
        if isinstance(refs, ProductRefs):
            for other, _ in refs.keys:
                if other.name != self.name:
                    raise ProductNotFound(f"a product of pool {other.name!r} is not in pool {self.name!r}")
            return list(refs)
        unique = {found.serial: found for found in (self.ref(ref, removed=removed) for ref in refs)}
        return list(unique.values())

    # Loading and writing out

    def load_version(self, version: Version) -> Product:
        """Give a version's product; its manifest is read, its arrays are not.

        Parameters
        ----------
        version : ProductRow
            From the index.

        Returns
        -------
        Product
            Of its kind.
        """
        product = self.archive.product(self.archive.manifest(version.manifest))
        product.ref = ProductRef(self, version)
        return product

    def export(self, ref: Reference, destination: Path | str, *, overwrite: bool = False) -> Path:
        """Write the FITS file that was saved, bit for bit.

        Parameters
        ----------
        ref : ProductRef or str
            The version.
        destination : path-like
            A file, or a folder that is there: then under the name it came with.
        overwrite : bool, keyword-only
            Replace a file of that name.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        AlreadyExists
            If the file is there and `overwrite` is False.
        IntegrityError
            If what is stored no longer gives the bytes that were saved.
        """
        found = ref if isinstance(ref, ProductRef) else self.ref(ref)
        path = Path(destination)
        if path.is_dir():
            path /= export_name(found)
        try:
            write_fits(found.product, path, overwrite=overwrite)
        except NotFound as error:
            raise ProductNotFound(f"{found.urn}: {error}") from error
        return path

    def to_hdulist(self, product: Product) -> Any:
        """Give a product as astropy HDUs, in memory.

        Parameters
        ----------
        product : Product
            Of any pool.

        Returns
        -------
        astropy.io.fits.HDUList
            Independent of the pool.
        """
        return to_hdulist(product)

    def to_datamodel(self, product: Product) -> Any:
        """Give a product as a jwst datamodel, in memory.

        Parameters
        ----------
        product : Product
            Of any pool.

        Returns
        -------
        stdatamodels.jwst.datamodels.JwstDataModel
            Independent of the pool.
        """
        return to_datamodel(product)


def export_name(ref: ProductRef) -> str:
    """Choose a file name for a version: the one it came with, made safe, or one from its track.

    Parameters
    ----------
    ref : ProductRef
        The version.

    Returns
    -------
    str
        A file name without folder, ending in ``.fits``.
    """
    filename = ref.filename
    if filename and track_name(filename) == ref.name and Path(filename).name == filename:
        return filename.removesuffix(".gz")
    return f"{ref.name}_{ref.kind.lower()}.fits"


def _not_in_track(text: str, kind: str, name: str, track: Sequence[ProductRow]) -> str:
    there = ", ".join(
        f"{row.version}{' (in the trash)' if row.removed is not None else ''}"
        f"{' [' + ', '.join(row.tags) + ']' if row.tags else ''}"
        for row in track[-20:]
    )
    return f"no version {text!r}; {kind}/{name} has {there}"


def only_one(refs: ProductRefs, label: str) -> ProductRef:
    """Insist that a tag marks one version.

    Parameters
    ----------
    refs : ProductRefs
        What it marks.
    label : str
        The tag.

    Returns
    -------
    ProductRef
        The version.

    Raises
    ------
    AmbiguousSpec
        If there are several; the message lists them.
    """
    if len(refs) > 1:
        shown = ", ".join(ref.urn for ref in refs[:10])
        more = f" and {len(refs) - 10} more" if len(refs) > 10 else ""
        raise AmbiguousSpec(f"tag {label!r} marks {len(refs)} versions: {shown}{more}")
    return refs[0]
