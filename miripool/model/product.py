"""Product: metadata and named datasets, and products that refer to products."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from ..errors import InvalidInput, ProductNotFound, ReadOnly
from .cards import parse_header
from .metadata import MetaData
from .notebook import html_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .dataset import ArraySource, Dataset, Scale
    from .statistics import Statistics

__all__ = [
    "Context",
    "Encoding",
    "Exposure",
    "Hdu",
    "Layout",
    "Link",
    "Origin",
    "Original",
    "Product",
]

Encoding: TypeAlias = Literal["none", "image", "table", "opaque"]

_ATTRIBUTES = {"avg_dark_current": "AVDRKCUR"}
"""Names of the jwst datamodels whose FITS extension is not the same word in capitals."""


@dataclass(frozen=True, slots=True)
class Hdu:
    """One header-data unit as a FITS file has it: enough to write it again bit for bit.

    Attributes
    ----------
    header : bytes
        Verbatim, with END and padding: a multiple of 2880 bytes.
    name : str
        Key of its dataset in the product: EXTNAME, with ``,EXTVER`` where the name occurs before; ``PRIMARY``.
    encoding : {'none', 'image', 'table', 'opaque'}
        How the data unit follows from `data`; 'opaque' when it does not and `raw` holds it.
    data : ArraySource or None
        Image as stored (unsigned integers unfolded, native byte order, axes in C order), or table rows as a
        structured array.
    heap, raw, tail : ndarray of uint8, or None
        All bytes of a table behind its rows; the whole data unit where encoding it again would not give the same
        bytes; what stands between the end of the data and the next header where that is not the usual padding.
    scale : Scale or None
        From stored to physical values, where it is more than the offset of unsigned integers.
    unit : str or None
        BUNIT.
    """

    header: bytes
    name: str
    encoding: Encoding = "none"
    data: ArraySource | None = None
    heap: ArraySource | None = None
    raw: ArraySource | None = None
    tail: ArraySource | None = None
    scale: Scale | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a product's bytes came from.

    Attributes
    ----------
    filename : str
        Name of the file, without its folder.
    size : int
        Bytes of the FITS stream (decompressed, for a ``.gz``).
    digest : str
        xxh3_128 of that stream, hexadecimal; what an export must equal.
    """

    filename: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Original:
    """A ground test's file, where a product is that exposure in another form: what of it is in no HDU of the product.

    The file is one image of frames, (frames, rows, columns): rows of SCI, and behind them REFOUT in as many columns.

    Attributes
    ----------
    header : bytes
        Verbatim.
    rest : ArraySource or None
        Frames that make no whole integration, uint16.
    tail : ArraySource or None
        What stands behind the image where that is not the usual padding.
    """

    header: bytes
    rest: ArraySource | None = None
    tail: ArraySource | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """What a context says of one product that it refers to.

    Attributes
    ----------
    name : str
        The reference's.
    kind, product : str
        The product's track.
    version, serial : int
        Its version, and the number of its URN.
    manifest : str
        Digest of the version: what it is, wherever it is.
    """

    name: str
    kind: str
    product: str
    version: int
    serial: int
    manifest: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The FITS file a product came from, or would be written as.

    Attributes
    ----------
    hdus : tuple of Hdu
        In file order.
    trailer : ArraySource or None
        Bytes after the last HDU, uint8.
    origin : Origin or None
        None for a product that was made in memory.
    original : Original or None
        Where the file was a ground test's: `hdus` are those of the Level-1b file that it means.
    """

    hdus: tuple[Hdu, ...]
    trailer: ArraySource | None = None
    origin: Origin | None = field(default=None)
    original: Original | None = None


_OWN = frozenset({"meta", "_datasets", "name", "layout", "ref", "links"})
_RECIPE = "make another product, product.replace(SCI=array), and save that"


def _of_version(attribute: str, doc: str) -> Any:
    def read(product: Product) -> Any:
        return None if product.ref is None else getattr(product.ref, attribute)

    return property(read, doc=doc)


class Product(Mapping[str, "Dataset"]):
    """Metadata and named datasets. A dataset is ``p["SCI"]``, or ``p.data`` by the datamodel's name.

    A product in memory is a draft: its metadata can be set, and `Pool.save` saves it as it is then, as a version. The
    product of a version, e.g. ``pool.save(product).product``, can't be changed, nor can its metadata and datasets;
    `replace` and ``copy.copy`` make a draft from it. Arrays that are read from a version are copies.

    Parameters
    ----------
    meta : MetaData or mapping, optional
        Keywords (or datamodel paths) and values.
    datasets : mapping of str to array, optional
        E.g. ``{"SCI": array}``; float32 of shape (nints, ngroups, ny, nx) for a ramp. A pool gives booleans back
        as uint8, because FITS images can't hold booleans.
    name : str, keyword-only, optional
        Name of the product, the same for all versions; needed to save a product that was not read from a file.
    layout : Layout, keyword-only, optional
        The file it came from.

    Attributes
    ----------
    ref : ProductRef or None
        The version that the product was loaded from; then it is read-only. None for a draft.
    """

    kind: ClassVar[str] = "Product"

    def __init__(
        self,
        meta: MetaData | Mapping[str, Any] | None = None,
        datasets: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        layout: Layout | None = None,
    ) -> None:
        given = meta if isinstance(meta, MetaData) else MetaData.from_mapping(meta or {})
        self.meta = given.copy() if given.is_frozen else given
        self._datasets: Mapping[str, Dataset] = {k: _as_dataset(k, v) for k, v in (datasets or {}).items()}
        self.name = name
        self.layout = layout
        self.ref: Any = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _OWN:
            raise InvalidInput(f"{name} of a product can't be set; {_RECIPE}")
        saved = self.__dict__.get("ref")
        if saved is not None:
            raise ReadOnly.of_version(saved.urn, name)
        object.__setattr__(self, name, value)
        if name == "ref" and value is not None:
            self._freeze(value.urn)

    def _freeze(self, urn: str) -> None:
        self.meta.freeze(urn)
        if isinstance(self._datasets, _Opened):
            self._datasets.freeze(urn)
        else:
            for dataset in self._datasets.values():
                dataset.freeze(urn)

    def __setitem__(self, key: str, value: Any) -> None:
        raise InvalidInput(f"dataset {key} of a product can't be set; {_RECIPE}")

    def replace(self, datasets: Mapping[str, Any] | None = None, **more: Any) -> Product:
        """Give a product with other arrays and with the metadata, units and name of this one.

        Parameters
        ----------
        datasets : mapping of str to array, optional
            Arrays by the name of a dataset, which this product may have or not.
        **more
            The same: ``product.replace(SCI=array)``.

        Returns
        -------
        Product
            A draft, to be saved as a further version; this product does not change.
        """
        from .dataset import Dataset

        changed = {key.upper(): value for key, value in {**(datasets or {}), **more}.items()}
        arrays: dict[str, Any] = dict(self._datasets)
        for key, value in changed.items():
            old = self._datasets.get(key)
            unit = None if old is None else old.unit_text
            arrays[key] = value if isinstance(value, Dataset) else _as_dataset(key, value, unit=unit)
        return type(self)(self.meta.copy(), arrays, name=self.name)

    urn = _of_version("urn", "URN of the version that the product was loaded from; None for a draft.")
    serial = _of_version("serial", "Number at the end of the URN.")
    version = _of_version("version", "Number of the version in its track.")
    created = _of_version("created", "When the version was saved; aware, UTC.")
    tags = _of_version("tags", "Labels that mark the version.")
    bytes = _of_version("bytes", "Size of the version's FITS file.")
    filename = _of_version("filename", "Name of the file the version came from.")
    stored_bytes = _of_version("stored_bytes", "Bytes that saving the version added to the pool.")
    start_time = _of_version("start_time", "When the exposure began: DATE-OBS with TIME-OBS, or DATE-BEG; aware, UTC.")

    @staticmethod
    def from_layout(
        layout: Layout,
        *,
        kind: type[Product] | None = None,
        name: str | None = None,
        statistics: Mapping[str, Statistics] | None = None,
    ) -> Product:
        """Make a product of the parts of a FITS file; no array is read.

        Parameters
        ----------
        layout : Layout
            The file.
        kind : type of Product, keyword-only, optional
            Its class; `Product` unless given.
        name : str, keyword-only, optional
            The product's name.
        statistics : mapping, keyword-only, optional
            What is known of the datasets, by name.

        Returns
        -------
        Product
            Of that kind.
        """
        bench = None if layout.original is None else layout.original.header
        meta = MetaData([(hdu.name, hdu.header) for hdu in layout.hdus], bench=bench)
        cls = kind or Product
        product: Product = cls(meta=meta, name=name) if issubclass(cls, Context) else cls(meta, name=name)
        product.layout = layout
        product._datasets = _Opened(layout, statistics or {})
        return product

    @property
    def type(self) -> str:
        """The kind, under HIPE's name for it."""
        return self.kind

    def renamed(self, name: str) -> Product:
        """Give the same product under another name.

        Parameters
        ----------
        name : str
            Of its track.

        Returns
        -------
        Product
            A draft. It shares metadata and datasets with this one, unless this one is a saved version.
        """
        product = type(self)(self.meta, name=name, layout=self.layout)
        product._datasets = self._datasets if self.ref is None else _drafts(self._datasets)
        return product

    def __copy__(self) -> Product:
        product = type(self)(self.meta.copy(), name=self.name, layout=self.layout)
        product._datasets = _drafts(self._datasets)
        return product

    def __deepcopy__(self, memo: dict[int, Any]) -> Product:
        product = copy.copy(self)
        if self.layout is None and self.ref is None:  # otherwise nobody can write into its arrays
            product._datasets = copy.deepcopy(dict(product._datasets), memo)
        return product

    @property
    def datasets(self) -> Mapping[str, Dataset]:
        """All datasets by name, in file order; read-only."""
        return MappingProxyType(self._datasets)

    def __getitem__(self, key: str) -> Dataset:
        found = self._datasets.get(key, self._datasets.get(key.upper())) if isinstance(key, str) else None
        if found is None:
            raise ProductNotFound(f"no dataset {key!r} in this {self.kind}; it has {', '.join(self) or 'none'}")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets)

    def __len__(self) -> int:
        return len(self._datasets)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __getattr__(self, attribute: str) -> Dataset:
        # Only called for what is not there otherwise.
        datasets = self.__dict__.get("_datasets", {})
        key = _ATTRIBUTES.get(attribute, attribute.upper())
        if attribute == "data":
            key = "SCI" if "SCI" in datasets else next(iter(datasets), "SCI")
        if key in datasets:
            return datasets[key]  # type: ignore[no-any-return]
        has = ", ".join(datasets) or "no datasets"
        raise AttributeError(f"this {self.kind} has no attribute or dataset {attribute!r}; it has {has}")

    def __repr__(self) -> str:
        shapes = ", ".join(f"{d.name} {d.shape}" for d in self._datasets.values())
        return f"<{self.kind} {self.name or '(not named)'}: {shapes or 'no datasets'}>"

    def _repr_html_(self) -> str:
        rows = (
            (d.name, d.dtype if d.dtype.names is None else "table", d.shape, d.unit_text)
            for d in self._datasets.values()
        )
        return html_table(f"{self.kind} {self.name or '(not named)'}", ("dataset", "dtype", "shape", "unit"), rows)


class Context(Product):
    """A product that refers to versions of other products by names that you choose. The references never change.

    Parameters
    ----------
    refs : mapping of str to ProductRef, SPEC, URN or Product, optional
        The references by name; products that are in no pool yet are saved together with the context.
    meta, name : object
        As for `Product`.
    """

    kind = "Context"

    def __init__(
        self,
        refs: Mapping[str, Any] | None = None,
        *,
        meta: MetaData | Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(meta, name=name)
        for key in refs or {}:
            if not isinstance(key, str) or not key.strip():
                raise InvalidInput(f"{key!r} can't be the name of a reference; give a text that is not empty")
        object.__setattr__(self, "_given", dict(refs or {}))
        self.links = ()

    @property
    def refs(self) -> Mapping[str, Any]:
        """References by name; each reference of a saved context knows its version and loads it when asked."""
        if self.links and self.ref is not None:
            found = self.ref.key[0].fetch([link.serial for link in self.links])
            return MappingProxyType({link.name: ref for link, ref in zip(self.links, found, strict=True)})
        return MappingProxyType(self._given)

    links: tuple[Link, ...]
    """What a context from a pool refers to, without looking it up."""

    _given: Mapping[str, Any]

    def renamed(self, name: str) -> Context:
        """Give the same context under another name.

        Parameters
        ----------
        name : str
            Of its track.

        Returns
        -------
        Context
            With the same references.
        """
        return type(self)(self.refs, meta=self.meta, name=name)

    def __copy__(self) -> Context:
        return type(self)(self.refs, meta=self.meta.copy(), name=self.name)

    def replace(self, datasets: Mapping[str, Any] | None = None, **more: Any) -> Context:
        """Give a context with other references and with the metadata and name of this one.

        Parameters
        ----------
        datasets : mapping of str to ProductRef or Product, optional
            References by name, which this context may have or not; None removes one.
        **more
            The same: ``context.replace(ramp=ref)``.

        Returns
        -------
        Context
            A draft, to be saved as a further version; this context does not change.
        """
        merged = {**self.refs, **(datasets or {}), **more}
        kept = {key: value for key, value in merged.items() if value is not None}
        return type(self)(kept, meta=self.meta.copy(), name=self.name)

    def __repr__(self) -> str:
        named = ", ".join(link.name for link in self.links) or ", ".join(self._given)
        return f"<{self.kind} {self.name or '(not named)'}: {named or 'no references'}>"

    def _repr_html_(self) -> str:
        rows = ((link.name, f"{link.kind}/{link.product}@{link.version}") for link in self.links)
        return html_table(f"{self.kind} {self.name or '(not named)'}", ("reference", "version"), rows)


class Exposure(Context):
    """The products of one exposure, by the references ``raw``, ``ramp``, ``rateints`` and ``rate`` (those that exist).

    `add` and `reprocess` save one version for each run of the pipeline. It refers to the products of that run and to
    the raw exposure that they were made from.
    """

    kind = "Exposure"


class _Opened(Mapping[str, "Dataset"]):
    """Datasets of a layout, each made when it is first asked for: a table's columns stand in its header."""

    def __init__(self, layout: Layout, statistics: Mapping[str, Statistics]) -> None:
        self._hdus = {hdu.name: hdu for hdu in layout.hdus if hdu.data is not None}
        self._statistics = statistics
        self._made: dict[str, Dataset] = {}
        self._saved: str | None = None

    def freeze(self, urn: str) -> None:
        """Make these the datasets of a saved version, also those that are opened later."""
        self._saved = urn
        for dataset in self._made.values():
            dataset.freeze(urn)

    def __getitem__(self, name: str) -> Dataset:
        if name not in self._made:
            made = _open_dataset(self._hdus[name], self._statistics.get(name))
            if self._saved is not None:
                made.freeze(self._saved)
            self._made[name] = made
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._hdus

    def __iter__(self) -> Iterator[str]:
        return iter(self._hdus)

    def __len__(self) -> int:
        return len(self._hdus)


def _drafts(datasets: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Give the same datasets, so that those who have them may set their attributes."""
    return {name: copy.copy(dataset) for name, dataset in datasets.items()}


def _open_dataset(hdu: Hdu, statistics: Statistics | None) -> Dataset:
    assert hdu.data is not None  # noqa: S101 - the caller looked
    if hdu.data.dtype.names is not None:
        from .table import TableDataset

        return TableDataset.from_cards(hdu.name, hdu.data, parse_header(hdu.header), hdu.heap)
    from .dataset import Dataset

    return Dataset(hdu.name, hdu.data, scale=hdu.scale, unit=hdu.unit, statistics=statistics)


def _as_dataset(name: str, value: Any, *, unit: str | None = None) -> Dataset:
    from .dataset import Dataset

    if isinstance(value, Dataset):
        return value.renamed(name)
    array: NDArray[Any] = np.asarray(value)
    if array.dtype.kind not in "buifSV":
        raise InvalidInput(f"dataset {name}: arrays of {array.dtype} can't be stored; use numbers, bytes or a table")
    return Dataset(name, array.astype(array.dtype.newbyteorder("="), copy=False), unit=unit)
