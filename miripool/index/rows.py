"""Rows of the index as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..model.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from ..store.manifest import Manifest

__all__ = [
    "NEWEST_FIRST",
    "CatalogStatistics",
    "DatasetRow",
    "FileOrigin",
    "KeywordValue",
    "KindStatistics",
    "Known",
    "Position",
    "ProductRow",
    "TagEvent",
    "TagSummary",
    "array_text",
]

KeywordValue: TypeAlias = "float | str | bool | datetime | None"

NEWEST_FIRST = ("-created", "-serial")
"""The order in which a listing shows versions unless another is asked for."""


def array_text(serials: Sequence[int]) -> str:
    """Write serials as PostgreSQL reads an array.

    Parameters
    ----------
    serials : sequence of int
        Up to some 100,000.

    Returns
    -------
    str
        In braces.
    """
    return "{" + ",".join(map(str, map(int, serials))) + "}"


@dataclass(frozen=True, slots=True)
class Position:
    """How far an index has followed the journal.

    Attributes
    ----------
    n : int
        Number of the last entry taken in; -1 for none.
    digest : str or None
        Digest of that entry.
    next_serial : int
        Greater than every serial used.
    """

    n: int
    digest: str | None
    next_serial: int


@dataclass(frozen=True, slots=True)
class Known:
    """What the writer of an entry knows of it, so that the index need not look it up.

    Attributes
    ----------
    manifest : callable
        Gives the manifest of a digest.
    standing : sequence of ProductRow, optional
        All versions of the names that the entry saves, those in the trash too, as the index had them right before it.
        The index looks unless they are given.
    without_pixels : str, optional
        Why the versions that the entry saves get no pixel rows; None where that is decided later.
    """

    manifest: Callable[[str], Manifest]
    standing: Sequence[ProductRow] | None = None
    without_pixels: str | None = None


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """Something that a version was made from, as its history tells.

    Attributes
    ----------
    serial : int
        The version.
    what : str
        ``input``, or the keyword of a reference file.
    name : str
        URN of the input, name of the file.
    digest : str or None
        xxh3_128 of the file.
    input : int or None
        The input's serial.
    """

    serial: int
    what: str
    name: str
    digest: str | None
    input: int | None


class ProductRow(NamedTuple):
    """One product version; a tuple, for results have thousands of them.

    Attributes
    ----------
    serial : int
        The URN's number.
    kind, name : str
        Its track.
    version : int
        From 0 in each track.
    head : bool
        Whether it is the newest living version of its track.
    removed : datetime or None
        When it went into the trash, aware UTC; None for the living.
    created : datetime
        Time of the journal entry that saved it, aware UTC.
    entry : int
        That entry's number.
    manifest, content : str
        Digests: of its manifest, and of what is compared to tell whether data changed.
    bytes, stored_bytes : int
        Size of its FITS file; bytes that its save added to the pool.
    filename, file_digest : str or None
        Of the file it came from.
    start_time : datetime or None
        DATE-OBS with TIME-OBS, or DATE-BEG; aware UTC.
    instrument, detector, subarray, exp_type, readpatt, filter, channel, band, obs_id, cal_ver, crds_ctx : str or None
        Keywords; None where the header has none or no text.
    ngroups, nints : float or None
        Keywords; None where the header has none or no number.
    purged : datetime or None
        When it was removed for good, aware UTC: its arrays may be gone; None if it was not.
    saved_by, removed_by : str or None
        Who saved it, and who put it into the trash, as ``user@host``; None where the journal does not say.
    tags : tuple of str
        Labels that mark it, sorted; none while it is in the trash.
    """

    serial: int
    kind: str
    name: str
    version: int
    head: bool
    removed: datetime | None
    created: datetime
    entry: int
    manifest: str
    content: str
    bytes: int
    stored_bytes: int
    filename: str | None
    file_digest: str | None
    start_time: datetime | None
    instrument: str | None = None
    detector: str | None = None
    subarray: str | None = None
    exp_type: str | None = None
    readpatt: str | None = None
    filter: str | None = None
    channel: str | None = None
    band: str | None = None
    obs_id: str | None = None
    ngroups: float | None = None
    nints: float | None = None
    cal_ver: str | None = None
    crds_ctx: str | None = None
    purged: datetime | None = None
    saved_by: str | None = None
    removed_by: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One array or table of a product version.

    Attributes
    ----------
    serial : int
        The version's.
    hdu : int
        Number of its HDU, 0 for the primary.
    name : str
        Its key in the product.
    digest : str
        Name of its blob.
    dtype : str
        As the manifest has it: ``<f4``, or JSON for a table.
    shape : tuple of int
        Slowest axis first.
    unit : str or None
        BUNIT.
    min, max, mean, std : float or None
        NaN ignored.
    n, n_nan, n_flagged : int or None
        Elements, NaN among them, elements that are not zero (data quality arrays).
    """

    serial: int
    hdu: int
    name: str
    digest: str
    dtype: str
    shape: tuple[int, ...]
    unit: str | None
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    n: int | None
    n_nan: int | None
    n_flagged: int | None

    @property
    def statistics(self) -> Statistics | None:
        """The statistics together; None for tables."""
        if self.n is None or self.n_nan is None:
            return None
        return Statistics(self.min, self.max, self.mean, self.std, self.n, self.n_nan, self.n_flagged)


@dataclass(frozen=True, slots=True)
class TagSummary:
    """A label in use.

    Attributes
    ----------
    label : str
        The tag.
    count : int
        Living versions that it marks, contexts not counted: as many as a query with this tag gives.
    first, last : datetime
        Its first and its latest event, aware UTC.
    contexts : int
        Living contexts that it marks besides.
    """

    label: str
    count: int
    first: datetime
    last: datetime
    contexts: int = 0


@dataclass(frozen=True, slots=True)
class TagEvent:
    """A move of a tag in one track.

    Attributes
    ----------
    entry : int
        Number of the journal entry.
    time : datetime
        Of the entry, aware UTC.
    label, kind, name : str
        The tag and the track.
    serial : int or None
        The version marked from then on; None where the tag was taken away.
    previous : int or None
        The version marked until then.
    by : str or None
        Who moved it, as ``user@host``; None where the journal does not say.
    """

    entry: int
    time: datetime
    label: str
    kind: str
    name: str
    serial: int | None
    previous: int | None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class KindStatistics:
    """Sums over the versions of one kind, or of all.

    Attributes
    ----------
    products, removed, heads, tracks : int
        Living versions, versions in the trash (not those removed for good), heads, and tracks (those without a living
        version too).
    bytes, stored_bytes : int
        FITS files of the living versions; bytes that all saves added to the pool.
    """

    products: int = 0
    removed: int = 0
    heads: int = 0
    tracks: int = 0
    bytes: int = 0
    stored_bytes: int = 0

    @classmethod
    def sum_of(cls, kinds: Iterable[KindStatistics]) -> KindStatistics:
        """Sum up kinds.

        Parameters
        ----------
        kinds : iterable of KindStatistics
            None of them twice.

        Returns
        -------
        KindStatistics
            The sums.
        """
        listed = list(kinds)
        return cls(*(sum(getattr(one, name) for one in listed) for name in cls.__slots__))


@dataclass(frozen=True, slots=True)
class CatalogStatistics:
    """Sums over a pool.

    Attributes
    ----------
    total : KindStatistics
        Of all kinds.
    kinds : mapping of str to KindStatistics
        Of each kind that the pool has.
    tags : int
        Labels that mark a living version.
    """

    total: KindStatistics
    kinds: Mapping[str, KindStatistics]
    tags: int

    def without(self, kinds: Collection[str]) -> KindStatistics:
        """Sum up all kinds but some.

        Parameters
        ----------
        kinds : collection of str
            Those to leave out.

        Returns
        -------
        KindStatistics
            Of the others.
        """
        return KindStatistics.sum_of(found for kind, found in self.kinds.items() if kind not in kinds)
