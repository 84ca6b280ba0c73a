"""Core of an open pool: its name, its folder, its index, and how the index is kept up. All work on a pool takes it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from .. import index
from ..errors import IntegrityError, MiripoolError, ServerUnavailable
from ..model.names import Urn
from .commit import Committer
from .export import export
from .listing import list_rows
from .pixelrows import PixelRows
from .reference import ProductRef
from .resolve import Finder, kept

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from ..index import Catalog, Moment, Position, ProductRow
    from ..model.product import Product
    from ..store.archive import Archive
    from ..store.manifest import Manifest
    from .reference import Version
    from .resolve import Reference

__all__ = ["Core", "HasCore", "core_of"]

_T = TypeVar("_T")


class HasCore(Protocol):
    """A pool as people hold it, or its core."""

    @property
    def _core(self) -> Core:
        """The core."""


def core_of(pool: HasCore) -> Core:
    """Give the core of a pool.

    Parameters
    ----------
    pool : Pool or Core
        What a session holds, or the core itself.

    Returns
    -------
    Core
        The same for both.
    """
    return pool._core


class Core:
    """A pool that is open: what references, and all work on it, need.

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
    home : pathlib.Path, optional
        The folder of the home that opened it.

    Attributes
    ----------
    name : str
        The pool's name.
    archive : Archive
        Its folder.
    home : pathlib.Path or None
        As given: where this user's files belong.
    front : object
        What stands for the pool in a session, a reference's `pool`; this unless it was set.
    """

    def __init__(
        self,
        name: str,
        archive: Archive,
        open_catalog: Callable[[], Catalog],
        *,
        opened_by: tuple[Callable[..., HasCore], tuple[str, ...]] | None = None,
        home: Path | None = None,
    ) -> None:
        self.name = name
        self.archive = archive
        self.home = home
        self.front: Any = self
        self._open_catalog = open_catalog
        self._opened_by = opened_by
        self._catalog: Catalog | None = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"<Core of pool {self}>"

    def __str__(self) -> str:
        return self.name

    @property
    def moment(self) -> Moment | None:
        """When the pool was as it is shown; None for the pool as it is now."""
        return None

    @property
    def present(self) -> Core:
        """The pool as it is now."""
        return self

    def refuse_past(self) -> None:
        """Raise ReadOnly for a pool as it was at a moment, before any work is done that makes no sense there."""

    def __reduce__(self) -> tuple[Callable[..., Core], tuple[Any, ...]]:
        return _reopened, self.way_in()

    def way_in(self) -> tuple[Callable[..., HasCore], tuple[str, ...]]:
        """Give the function, and its arguments, that open the pool in another process.

        Returns
        -------
        callable, tuple of str
            What is pickled.

        Raises
        ------
        TypeError
            If there is none.
        """
        if self._opened_by is None:
            raise TypeError(f"pool {self.name} was not opened by a Home, and can't be pickled")
        return self._opened_by

    @property
    def _core(self) -> Self:
        return self

    @property
    def id(self) -> str:
        """Identifier of the pool; it is unique and does not change when the pool is renamed."""
        return self.archive.info.id

    @property
    def work_folder(self) -> Path:
        """Where work in progress has its files."""
        return self.archive.work_folder

    # The index

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

    @property
    def committer(self) -> Committer:
        """How a change gets into the journal."""
        return Committer(self.archive, self.catalog)

    @property
    def finder(self) -> Finder:
        """Which version a URN, a SPEC or a tag means."""
        return Finder(self.catalog, self.archive.info, self.name)

    @property
    def pixel_rows(self) -> PixelRows:
        """The rows of detector pixels in the index."""
        return PixelRows(self.name, self.archive, self.catalog)

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

    def index_identity(self) -> int | None:
        """Tell the index from the one that `reindex` puts in its place, whether the folder agrees with it or not.

        Returns
        -------
        int or None
            Another number once the new index answers; None where there is no index to ask.
        """
        try:
            with self._open_catalog() as catalog:
                return index.identify(catalog.database)
        except MiripoolError:
            return None

    def catch_up(self) -> Position:
        """Take into the index what others have written to the journal since.

        Returns
        -------
        Position
            Where the index stands.
        """
        was_open = self._catalog is not None
        try:
            return self.committer.catch_up()
        except ServerUnavailable:
            if not was_open:
                raise
        self.close()  # the embedded server was stopped meanwhile: connecting starts it
        return self.committer.catch_up()

    def again(self, work: Callable[[], _T]) -> _T:
        """Do what may be done twice; once more if the embedded server was stopped meanwhile: connecting starts it.

        Parameters
        ----------
        work : callable
            What is to be done.

        Returns
        -------
        object
            What it gives.
        """
        try:
            return work()
        except ServerUnavailable as error:
            self.close()
            try:
                return work()
            except ServerUnavailable:
                raise error from None  # it says what was done before the server went away

    def reindex(self, *, progress: Callable[[int], None] | None = None) -> None:
        """Make the index again from the folder; see `Pool.reindex`.

        Parameters
        ----------
        progress : callable, keyword-only, optional
            Takes how many entries of the journal were looked at so far.
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

    # Versions

    def rows(self, serials: Sequence[int]) -> list[ProductRow]:
        """Read versions for a reference that was made long ago; the server may have been stopped since.

        Parameters
        ----------
        serials : sequence of int
            Of this pool.

        Returns
        -------
        list of ProductRow
            In that order.
        """
        return self.again(lambda: self.catalog.rows(serials))

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
        return [ProductRef(self, row) for row in self.rows(serials)]

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
        return list_rows(self.catalog, self.name, self.rows(serials), columns, check=check)

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

    def version(self, given: Version | Reference) -> Version:
        """Find a version, unless it was found before.

        Parameters
        ----------
        given : ProductRow, ProductRef, Urn or str
            From the index; or a reference, or a SPEC.

        Returns
        -------
        Version
            Its row.
        """
        return self.finder.row(given) if isinstance(given, (ProductRef, Urn, str)) else given

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
        version = self.version(version)
        try:
            return self.archive.manifest(version.manifest)
        except IntegrityError as error:
            raise IntegrityError(f"{Urn(self.name, version.kind, version.serial)}: {error}") from error

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
        version = self.version(version)
        kept(self.name, version)
        urn = str(Urn(self.name, version.kind, version.serial))
        product = self.archive.product(self.manifest(version), urn, version.serial)
        product.ref = ProductRef(self, version)
        return product

    def purged_since(self, serials: Sequence[int]) -> dict[int, datetime]:  # noqa: ARG002
        """Tell which versions of a pool as it was were removed for good after its moment.

        Parameters
        ----------
        serials : sequence of int
            Versions.

        Returns
        -------
        dict of int to datetime
            When, aware UTC; empty for the pool as it is now.
        """
        return {}

    def with_arrays(self, serials: Sequence[int]) -> list[int]:
        """Give the versions whose arrays can be read.

        Parameters
        ----------
        serials : sequence of int
            Versions of which none is purged.

        Returns
        -------
        list of int
            All of them, unless the pool is as it was at an earlier moment.
        """
        return list(serials)

    def ref(self, spec: Reference, *, removed: bool = False) -> ProductRef:
        """Find one version by its URN or SPEC; see `Pool.ref`.

        Parameters
        ----------
        spec : str, Urn or ProductRef
            Which.
        removed : bool, keyword-only
            Find it in the trash too.

        Returns
        -------
        ProductRef
            The version.
        """
        self.catch_up()
        row = self.finder.row(spec)
        return ProductRef(self, row if removed else self.finder.living(row))

    def export(self, ref: ProductRef, destination: Path | str, *, overwrite: bool = False, jwst: bool = False) -> Path:
        """Write the FITS file that was saved; see `Pool.export`.

        Parameters
        ----------
        ref : ProductRef
            The version.
        destination, overwrite, jwst : object
            As for `Pool.export`.

        Returns
        -------
        pathlib.Path
            The file.
        """
        return export(ref, destination, overwrite=overwrite, jwst=jwst)


def _reopened(opened_by: Callable[..., HasCore], arguments: tuple[str, ...]) -> Core:
    return core_of(opened_by(*arguments))
