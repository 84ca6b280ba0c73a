"""References: the results of a query. They know a version's URN and metadata, and load its product when asked."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, overload

from .. import formats
from ..errors import MiripoolError, UnknownKeyword
from ..model.names import Urn
from ..model.product import Context
from ..system.words import counted

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from ..model.metadata import MetaData
    from ..model.product import Product
    from .images.looks import Look
    from .sending import Sent

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
    def entry(self) -> int:
        """Number of the journal entry that saved it."""

    @property
    def removed(self) -> datetime | None:
        """When it went into the trash, if it did."""

    @property
    def purged(self) -> datetime | None:
        """When it was removed for good, if it was."""

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
    def saved_by(self) -> str | None:
        """Who saved it, as ``user@host``, if the journal says so."""

    @property
    def removed_by(self) -> str | None:
        """Who put it into the trash, if it is there and the journal says so."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Labels that marked it when it was looked up."""


class Loader(Protocol):
    """The pool, as far as references need it."""

    @property
    def name(self) -> str:
        """The pool's name."""

    @property
    def id(self) -> str:
        """Identifier of the pool, unique and unchanged by renaming."""

    def fetch(self, serials: Sequence[int]) -> Sequence[ProductRef]:
        """Give the references of some serials, in order."""

    def listing(
        self, serials: Sequence[int], columns: Sequence[str] | None = None, *, check: bool = True
    ) -> list[dict[str, Any]]:
        """Give the fields and keywords of some serials, in order."""

    def load_version(self, version: Version) -> Product:
        """Give the product, its arrays unread."""

    def tags_of(self, serial: int) -> tuple[str, ...]:
        """Give the labels that mark a version now."""

    def export(self, ref: ProductRef, destination: Path | str, *, overwrite: bool = False, jwst: bool = False) -> Path:
        """Write the file that was saved."""

    @property
    def home(self) -> Path | None:
        """The folder of the home that opened it; None for a pool without one."""

    @property
    def front(self) -> Any:
        """What stands for the pool in a session."""


class ProductRef:
    """A version of a product in a pool. Its metadata and data are loaded when they are first used.

    Parameters
    ----------
    pool : Pool
        The pool of the version.
    version : Version
        Its row in the index.
    notice : str, optional
        Notice of the save that gave this reference, e.g. that nothing was new.
    """

    __slots__ = ("_pool", "_product", "_version", "notice")

    def __init__(self, pool: Loader, version: Version, *, notice: str | None = None) -> None:
        self._pool = pool
        self._version = version
        self._product: Product | None = None
        self.notice = notice

    @property
    def urn(self) -> str:
        """``urn:<pool>:<Kind>:<serial>``; it always means this version."""
        return str(Urn(self._pool.name, self._version.kind, self._version.serial))

    @property
    def key(self) -> tuple[Loader, int]:
        """The core of the pool and the serial, which together identify the version."""
        return self._pool, self._version.serial

    @property
    def pool(self) -> Any:
        """The pool of the version."""
        return self._pool.front

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
        """The kind, under HIPE's name."""
        return self._version.kind

    @property
    def name(self) -> str:
        """Name of the product, the same for all its versions."""
        return self._version.name

    @property
    def version(self) -> int:
        """Number of the version within its product: 0 for the first, 1 for the next."""
        return self._version.version

    @property
    def created(self) -> datetime:
        """When the version was saved; aware, UTC."""
        return self._version.created

    @property
    def removed(self) -> datetime | None:
        """When the version was put into the trash; None if it was not when this reference was made."""
        return self._version.removed

    @property
    def purged(self) -> datetime | None:
        """When the version was removed for good; None if it was not when this reference was made."""
        return self._version.purged

    @property
    def bytes(self) -> int:
        """Size of the FITS file, in bytes."""
        return self._version.bytes

    @property
    def stored_bytes(self) -> int:
        """Number of bytes that saving the version added to the pool."""
        return self._version.stored_bytes

    @property
    def start_time(self) -> datetime | None:
        """When the exposure began: DATE-OBS with TIME-OBS, or DATE-BEG; aware, UTC."""
        found: datetime | None = getattr(self._version, "start_time", None)
        return found

    @property
    def filename(self) -> str | None:
        """Name of the file that was saved; None for a product that was made in memory."""
        return self._version.filename

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags that mark the version now, sorted."""
        return self._pool.tags_of(self._version.serial)

    @property
    def product(self) -> Product:
        """The product. Its metadata are read, its arrays are read when they are used."""
        if self._product is None:
            self._product = self._pool.load_version(self._version)
        return self._product

    @property
    def meta(self) -> MetaData:
        """All keywords of the product."""
        return self.product.meta

    @property
    def row(self) -> Version:
        """The row of the index from which this reference was made."""
        return self._version

    def to_fits(self, destination: Path | str, *, overwrite: bool = False, jwst: bool = False) -> Path:
        """Write the FITS file that was saved, bit for bit.

        Parameters
        ----------
        destination : path-like
            A file, or an existing folder, where the file gets its original name.
        overwrite : bool, keyword-only
            Replace an existing file.
        jwst : bool, keyword-only
            Write an exposure of a ground test as a Level-1b file.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        AlreadyExists
            If the file exists and `overwrite` is False.
        IntegrityError
            If stored data are missing or damaged, so that the file would differ from the one that was saved.
        """
        return self._pool.export(self, destination, overwrite=overwrite, jwst=jwst)

    def to_hdulist(self) -> Any:
        """Give the whole file as astropy HDUs, in memory.

        Returns
        -------
        astropy.io.fits.HDUList
            Independent of the pool.
        """
        return formats.to_hdulist(self.product)

    def to_datamodel(self) -> Any:
        """Give the jwst datamodel, in memory.

        Returns
        -------
        stdatamodels.jwst.datamodels.JwstDataModel
            E.g. a RampModel for a Ramp.
        """
        return formats.to_datamodel(self.product)

    def plot(
        self,
        dataset: str | None = None,
        index: int | Sequence[int] | None = None,
        *,
        pixels: Sequence[tuple[int, int]] = (),
        flags: Sequence[str] = (),
        scale: str = "linear",
        limits: str | Sequence[float] = "zscale",
        cmap: str = "gray",
        out: Path | str | None = None,
        overwrite: bool = True,
    ) -> Look:
        """Draw one frame, its histogram and, if pixels are chosen, their ramps below.

        Parameters
        ----------
        dataset : str, optional
            Name of the dataset; SCI unless given, or the first that has frames.
        index : int or sequence of int, optional
            0-based numbers of integration and group, as for the array; negative ones count from the end. The first of
            each unless given.
        pixels : sequence of (int, int), keyword-only
            Columns x and rows y of the FULL array, 1-based. Their values in all integrations and groups are drawn.
        flags : sequence of str, keyword-only
            Names of DQ flags, e.g. ``JUMP_DET``. The pixels that have one are coloured and counted.
        scale : {'linear', 'log', 'asinh'}, keyword-only
            The scale between the limits.
        limits : {'zscale', 'minmax', 'p99', 'p99.5', 'p99.9'} or pair of float, keyword-only
            Which values get the colours at the ends; ``p99`` holds the central 99 percent of the values. Of a pair, the
            first is below the second.
        cmap : str, keyword-only
            Colour map, as matplotlib knows it.
        out : path-like, keyword-only, optional
            Write the picture to this file too; its name ends in png, pdf, svg, jpg, tif, webp or eps.
        overwrite : bool, keyword-only
            Replace a file that is there.

        Returns
        -------
        Look
            A notebook shows it; its `figure` is one of matplotlib's.

        Raises
        ------
        ProductNotFound
            If there is no such dataset.
        InvalidInput
            If the version has no frames (the message lists its datasets), or no such frame, pixel, flag, scale, limits
            or colour map; if the file's name ends otherwise; or if matplotlib is not installed.
        AlreadyExists
            If there is a file of that name, and `overwrite` is false.
        FileMissing, StorageError, DiskFull
            If the file's folder is not there, or the file can't be written.
        """
        from .images import looks

        return looks.plot(
            self,
            dataset,
            index,
            pixels=pixels,
            flags=flags,
            scale=scale,
            limits=limits,
            cmap=cmap,
            out=out,
            overwrite=overwrite,
        )

    def compare(
        self,
        other: ProductRef,
        dataset: str | None = None,
        index: int | Sequence[int] | None = None,
        *,
        scale: str = "linear",
        limits: str | Sequence[float] = "zscale",
        cmap: str = "gray",
        out: Path | str | None = None,
        overwrite: bool = True,
    ) -> Look:
        """Draw the same frame of this version (A) and of another one (B), with the same limits, and their difference.

        Parameters
        ----------
        other : ProductRef
            The other version.
        dataset, index, scale, limits, cmap : object
            As for `plot`. The limits are those of both frames together.
        out : path-like, keyword-only, optional
            Write the picture to this file too. If its name ends in ``.gif``, the file shows the two frames one after
            the other, instead of side by side.
        overwrite : bool, keyword-only
            Replace a file that is there.

        Returns
        -------
        Look
            The two frames and their difference.

        Raises
        ------
        ProductNotFound, InvalidInput, AlreadyExists, FileMissing, StorageError, DiskFull
            As for `plot`. InvalidInput also if the frames are of other shapes, other pixels or other units.
        """
        from .images import looks

        return looks.compare(
            self, other, dataset, index, scale=scale, limits=limits, cmap=cmap, out=out, overwrite=overwrite
        )

    def _repr_png_(self) -> builtins.bytes | None:
        from .images.preview import preview

        return preview(self)

    def send(self, to: str, *, dataset: str | None = None) -> list[Sent]:
        """Send the version to DS9, TOPCAT or another program of your desktop, by SAMP.

        Parameters
        ----------
        to : str
            The program: its name, or the beginning of it, in any case of letters: ``ds9``, ``topcat``; its id; or
            ``all``.
        dataset : str, keyword-only, optional
            What to send; by default SCI, or the first dataset with frames. A dataset that is a table goes as a table.

        Returns
        -------
        list of Sent
            What each program has taken. A program that shows no images gets the version's metadata as a table.

        Raises
        ------
        NotFound
            If no program listens, or none of that name; the message lists who is there.
        ProgramError
            If the program refuses, has ended, or does not answer in time.
        InvalidInput
            If there is no such dataset or image, or the extra ``samp`` is not installed.
        """
        return ProductRefs([self.key]).send(to, dataset=dataset)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._pool, self._version, self.notice)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProductRef) and (self._pool.id, self.serial) == (other._pool.id, other.serial)

    def __hash__(self) -> int:
        return hash((self._pool.id, self.serial))

    def __repr__(self) -> str:
        return f"<ProductRef {self.urn} {self.name} version {self.version}>"


def _unpickled(pool: Loader, version: Version, notice: str | None) -> ProductRef:
    return ProductRef(pool, version, notice=notice)


class ProductRefs(Sequence[ProductRef]):
    """The result of a query: a sequence of references, which are fetched from the index in pages as they are used.

    Parameters
    ----------
    keys : sequence of (Pool, int)
        Pool and serial of each version, in order.
    why : callable, keyword-only, optional
        Gives the reason if there are none.
    """

    def __init__(self, keys: Sequence[tuple[Loader, int]], *, why: Callable[[], str] | None = None) -> None:
        self.keys = keys
        self._why = why
        self._page: tuple[int, Sequence[ProductRef]] = (-1, ())

    def __reduce__(self) -> tuple[Any, ...]:
        return ProductRefs, (list(self.keys),)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def reason(self) -> str | None:
        """Why nothing was found, in a sentence or two; None if something was found or the reason is not known."""
        return self._why() if self._why is not None and not self.keys else None

    def size(self) -> int:
        """Number of references, under HIPE's name."""
        return len(self)

    @overload
    def __getitem__(self, index: int) -> ProductRef: ...
    @overload
    def __getitem__(self, index: slice) -> ProductRefs: ...
    def __getitem__(self, index: int | slice) -> ProductRef | ProductRefs:
        if isinstance(index, slice):
            return ProductRefs(self.keys[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range: the result has {counted(len(self), 'reference')}")
        number, offset = divmod(index % len(self), _PAGE)
        if self._page[0] != number:
            self._page = (number, _fetch(self.keys[number * _PAGE : (number + 1) * _PAGE]))
        return self._page[1][offset]

    def __iter__(self) -> Iterator[ProductRef]:
        for start in range(0, len(self), _PAGE):
            yield from _fetch(self.keys[start : start + _PAGE])

    def __add__(self, other: ProductRefs) -> ProductRefs:
        if not isinstance(other, ProductRefs):
            return NotImplemented
        unique: dict[tuple[str, int], tuple[Loader, int]] = {}
        for pool, serial in (*self.keys, *other.keys):
            unique.setdefault((pool.id, serial), (pool, serial))
        return ProductRefs(list(unique.values()))

    def to_table(self, columns: Sequence[str] | None = None) -> Any:
        """Give all references as a table. This takes one or two SQL statements for each pool.

        Parameters
        ----------
        columns : sequence of str, optional
            Fields of a reference (urn, kind, name, version, tags, created, bytes …) and keywords; by default urn,
            kind, name, version, tags, created, bytes and some common keywords.

        Returns
        -------
        astropy.table.Table
            Masked where a product lacks the keyword; times as `astropy.time.Time`, UTC.
        """
        from .listing import TABLE_COLUMNS, astropy_table

        chosen = list(columns) if columns else list(TABLE_COLUMNS)
        rows = [row for pool, serials in _runs(self.keys) for row in pool.listing(serials, chosen, check=False)]
        pools = {pool.id: pool for pool, _ in self.keys}
        for column in chosen:
            if pools and all(row[column] is None for row in rows):
                _refuse_unknown(list(pools.values()), column)
        return astropy_table(rows, chosen)

    def send(self, to: str, *, dataset: str | None = None) -> list[Sent]:
        """Send the versions to a program of your desktop, by SAMP.

        Parameters
        ----------
        to, dataset : object
            As for `ProductRef.send`.

        Returns
        -------
        list of Sent
            What each program has taken. A program that shows images, such as DS9, gets an image of each version, in a
            frame of its own; another, such as TOPCAT, gets the table that `to_table` gives.

        Raises
        ------
        NotFound, ProgramError, InvalidInput
            As for `ProductRef.send`; also if these are too many images.
        """
        from .sending import send

        pools = ", ".join(dict.fromkeys(pool.name for pool, _ in self.keys))
        name = f"{pools} {counted(len(self), 'version')}"
        home = self.keys[0][0].home if self.keys else None
        return send(self, to, home=home, dataset=dataset, table=self.to_table, name=name)

    def to_context(self, name: str) -> Context:
        """Make a context that refers to these versions. Save the context to keep this selection.

        Parameters
        ----------
        name : str
            Name of the context.

        Returns
        -------
        Context
            Not saved yet; its references are named ``Kind/name@version``.
        """
        return Context({f"{ref.kind}/{ref.name}@{ref.version}": ref for ref in self}, name=name)

    def _repr_html_(self) -> str:
        import html

        head = self[:20]
        cells = "".join(
            f"<tr><td>{html.escape(r.urn)}</td><td>{html.escape(r.name)}</td><td>{r.version}</td>"
            f"<td>{html.escape(', '.join(r.row.tags))}</td><td>{r.created:%Y-%m-%d %H:%M:%S}</td></tr>"
            for r in head
        )
        more = f"<p>… and {len(self) - len(head)} more</p>" if len(self) > len(head) else ""
        titles = "".join(f"<th>{t}</th>" for t in ("URN", "name", "version", "tags", "saved (UTC)"))
        if not self:
            return f"<p>0 products{html.escape(self._shown_reason().removeprefix('0'))}</p>"
        return f"<p>{counted(len(self), 'product')}</p><table><tr>{titles}</tr>{cells}</table>{more}"

    def _shown_reason(self) -> str:
        with contextlib.suppress(MiripoolError):  # the pool may be closed, or gone
            if self.reason is not None:
                return f"0: {self.reason}"
        return "0: "

    def __repr__(self) -> str:
        if not self:
            return f"<ProductRefs {self._shown_reason()}>"
        shown = ", ".join(r.urn for r in self[:3])
        return f"<ProductRefs {len(self)}: {shown}{', …' if len(self) > 3 else ''}>"


def _runs(keys: Sequence[tuple[Loader, int]]) -> Iterator[tuple[Loader, list[int]]]:
    """Give the serials of each pool that follow one another."""
    for _, run in itertools.groupby(keys, lambda key: key[0].id):
        listed = list(run)
        yield listed[0][0], [serial for _, serial in listed]


def _refuse_unknown(pools: Sequence[Loader], column: str) -> None:
    """Raise UnknownKeyword if none of the pools knows a column."""
    for pool in pools[:-1]:
        with contextlib.suppress(UnknownKeyword):
            pool.listing([], [column])
            return
    pools[-1].listing([], [column])


def _fetch(keys: Sequence[tuple[Loader, int]]) -> list[ProductRef]:
    return [ref for pool, serials in _runs(keys) for ref in pool.fetch(serials)]
