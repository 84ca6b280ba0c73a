"""References: what a query gives. They know a version's URN and metadata, and load its product when asked."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, overload

from .names import Urn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from .metadata import MetaData
    from .product import Product

__all__ = ["ProductRef", "ProductRefs", "Version"]

_PAGE = 500
"""References fetched at once when a result is walked."""


class Version(Protocol):
    """What the index knows of one version without reading its manifest."""

    @property
    def serial(self) -> int:
        """Number in the pool."""

    @property
    def kind(self) -> str:
        """Kind of the product."""

    @property
    def name(self) -> str:
        """What stays the same across versions."""

    @property
    def version(self) -> int:
        """Number in the track, from 0."""

    @property
    def created(self) -> datetime:
        """When it was saved; aware, UTC."""

    @property
    def removed(self) -> datetime | None:
        """When it went into the trash, if it did."""

    @property
    def manifest(self) -> str:
        """Digest of its manifest."""

    @property
    def bytes(self) -> int:
        """Size of its FITS file."""

    @property
    def stored_bytes(self) -> int:
        """What its save added to the pool."""

    @property
    def filename(self) -> str | None:
        """Name of the file it came from."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Labels that marked it when it was looked up."""


class Loader(Protocol):
    """The pool, as far as references need it."""

    @property
    def name(self) -> str:
        """The pool's name."""

    def load_version(self, version: Version) -> Product:
        """Give the product, its arrays unread."""

    def tags_of(self, serial: int) -> tuple[str, ...]:
        """Give the labels that mark a version now."""

    def export(self, ref: ProductRef, destination: Path | str, *, overwrite: bool = False) -> Path:
        """Write the file that was saved."""

    def to_hdulist(self, product: Product) -> Any:
        """Give a product as astropy HDUs."""

    def to_datamodel(self, product: Product) -> Any:
        """Give a product as a jwst datamodel."""


class Results(Protocol):
    """Whatever can fetch the rows of a result: a pool, or several."""

    def fetch(self, keys: Sequence[tuple[Loader, int]]) -> Sequence[ProductRef]:
        """Give the references of some keys, in order."""

    def table(self, keys: Sequence[tuple[Loader, int]], columns: Sequence[str] | None) -> Any:
        """Give an astropy Table of some keys, in order."""


class ProductRef:
    """A version of a product in a pool; nothing but its row in the index is loaded until it is asked for.

    Parameters
    ----------
    pool : Pool
        Where it is.
    version : Version
        Its row in the index.
    notice : str, optional
        What a save has to say of it, e.g. that nothing was new.
    """

    __slots__ = ("_pool", "_product", "_version", "notice")

    def __init__(self, pool: Loader, version: Version, *, notice: str | None = None) -> None:
        self._pool = pool
        self._version = version
        self._product: Product | None = None
        self.notice = notice

    @property
    def urn(self) -> str:
        """``urn:<pool>:<Kind>:<serial>``: this version, for ever."""
        return str(Urn(self._pool.name, self._version.kind, self._version.serial))

    @property
    def pool(self) -> Any:
        """The pool it is in."""
        return self._pool

    @property
    def serial(self) -> int:
        """The number at the end of the URN."""
        return self._version.serial

    @property
    def kind(self) -> str:
        """Kind of the product."""
        return self._version.kind

    @property
    def type(self) -> str:
        """The kind, in HIPE's word."""
        return self._version.kind

    @property
    def name(self) -> str:
        """What stays the same across versions."""
        return self._version.name

    @property
    def version(self) -> int:
        """Number in the track: 0 for the first version, 1 for the next."""
        return self._version.version

    @property
    def created(self) -> datetime:
        """When it was saved; aware, UTC."""
        return self._version.created

    @property
    def removed(self) -> datetime | None:
        """When it went into the trash; None unless it did before this reference was made."""
        return self._version.removed

    @property
    def bytes(self) -> int:
        """Size of its FITS file."""
        return self._version.bytes

    @property
    def stored_bytes(self) -> int:
        """What its save added to the pool, in bytes."""
        return self._version.stored_bytes

    @property
    def filename(self) -> str | None:
        """Name of the file it came from; None for a product that was made in memory."""
        return self._version.filename

    @property
    def tags(self) -> tuple[str, ...]:
        """Labels that mark it now, sorted."""
        return self._pool.tags_of(self._version.serial)

    @property
    def product(self) -> Product:
        """The product; its manifest is read, its arrays are not."""
        if self._product is None:
            self._product = self._pool.load_version(self._version)
        return self._product

    @property
    def meta(self) -> MetaData:
        """All keywords of the product."""
        return self.product.meta

    @property
    def row(self) -> Version:
        """The row of the index it was made from."""
        return self._version

    def to_fits(self, destination: Path | str, *, overwrite: bool = False) -> Path:
        """Write the FITS file that was saved, bit for bit.

        Parameters
        ----------
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
        return self._pool.export(self, destination, overwrite=overwrite)

    def to_hdulist(self) -> Any:
        """Give the whole file as astropy HDUs, in memory.

        Returns
        -------
        astropy.io.fits.HDUList
            Independent of the pool.
        """
        return self._pool.to_hdulist(self.product)

    def to_datamodel(self) -> Any:
        """Give the jwst datamodel, in memory.

        Returns
        -------
        stdatamodels.jwst.datamodels.JwstDataModel
            E.g. a RampModel for a Ramp.
        """
        return self._pool.to_datamodel(self.product)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProductRef) and self.urn == other.urn

    def __hash__(self) -> int:
        return hash(self.urn)

    def __repr__(self) -> str:
        return f"<ProductRef {self.urn} {self.name} version {self.version}>"


class ProductRefs(Sequence[ProductRef]):
    """A query's result: as many references as matched, fetched page by page when they are looked at.

    Parameters
    ----------
    keys : sequence of (Loader, int)
        Pool and serial of each version, in order.
    source : Results
        Who fetches them.
    """

    def __init__(self, keys: Sequence[tuple[Loader, int]], source: Results) -> None:
        self.keys = keys
        self._source = source
        self._pages: dict[int, Sequence[ProductRef]] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def size(self) -> int:
        """Number of references, in HIPE's word."""
        return len(self)

    @overload
    def __getitem__(self, index: int) -> ProductRef: ...
    @overload
    def __getitem__(self, index: slice) -> ProductRefs: ...
    def __getitem__(self, index: int | slice) -> ProductRef | ProductRefs:
        if isinstance(index, slice):
            return ProductRefs(self.keys[index], self._source)
        if not -len(self) <= index < len(self):
            raise IndexError(f"result has {len(self)} references, there is no number {index}")
        page, offset = divmod(index % len(self), _PAGE)
        if page not in self._pages:
            self._pages = {page: self._source.fetch(self.keys[page * _PAGE : (page + 1) * _PAGE])}
        return self._pages[page][offset]

    def __iter__(self) -> Iterator[ProductRef]:
        for start in range(0, len(self), _PAGE):
            yield from self._source.fetch(self.keys[start : start + _PAGE])

    def __add__(self, other: ProductRefs) -> ProductRefs:
        seen = set(self.keys)
        return ProductRefs([*self.keys, *(s for s in other.keys if s not in seen)], self._source)

    def to_table(self, columns: Sequence[str] | None = None) -> Any:
        """Give all rows as a table, with one SQL statement for each pool.

        Parameters
        ----------
        columns : sequence of str, optional
            Fields of a reference (urn, kind, name, version, tags, created, bytes …) and keywords. Unless given: urn,
            kind, name, version, tags, created, bytes and the most asked keywords.

        Returns
        -------
        astropy.table.Table
            Masked where a product lacks the keyword; times as text in ISO form, UTC.
        """
        return self._source.table(self.keys, columns)

    def _repr_html_(self) -> str:
        head = self[:20]
        cells = "".join(
            f"<tr><td>{html.escape(r.urn)}</td><td>{html.escape(r.name)}</td><td>{r.version}</td>"
            f"<td>{html.escape(', '.join(r.row.tags))}</td><td>{r.created:%Y-%m-%d %H:%M:%S}</td></tr>"
            for r in head
        )
        more = f"<p>… and {len(self) - len(head)} more</p>" if len(self) > len(head) else ""
        titles = "".join(f"<th>{t}</th>" for t in ("URN", "name", "version", "tags", "saved (UTC)"))
        return f"<p>{len(self)} products</p><table><tr>{titles}</tr>{cells}</table>{more}"

    def __repr__(self) -> str:
        shown = ", ".join(r.urn for r in self[:3])
        return f"<ProductRefs {len(self)}: {shown}{', …' if len(self) > 3 else ''}>"
