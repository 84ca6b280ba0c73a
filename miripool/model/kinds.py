"""Kinds of product: one record for each, with what its files, its pixel rows and its exposure are.

Everything that depends on the kind reads these records when it needs them. A further kind is a class and a record in
this module, and a migration that makes the table of its blocks of pixel rows and the view of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import InvalidInput
from .product import Context, Exposure, Product

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "KINDS",
    "Code",
    "ExposureStatistics",
    "Kind",
    "Monitor",
    "PixelColumn",
    "Ramp",
    "Rate",
    "RateInts",
    "Raw",
    "beside",
    "derived",
    "kind_class",
    "kind_of",
    "kinds_matching",
    "pixel_axes",
    "pixel_columns",
    "pixel_kinds",
    "pixel_tables",
    "slots",
    "sources",
]

Code: TypeAlias = Literal["i2", "i4", "i8", "f4"]
"""smallint, integer, bigint or real."""


class Raw(Product):
    """Level-1b: DN as read out. SCI uint16 (nints, ngroups, ny, nx); REFOUT (nints, ngroups, ny, nx/4)."""

    kind = "Raw"


class Ramp(Product):
    """Corrected ramps in DN. SCI float32 (nints, ngroups, ny, nx), GROUPDQ uint8, PIXELDQ uint32 (ny, nx)."""

    kind = "Ramp"


class RateInts(Product):
    """Slopes per integration in DN/s. SCI, ERR float32, DQ uint32, each (nints, ny, nx)."""

    kind = "RateInts"


class Rate(Product):
    """Slopes per exposure in DN/s. SCI, ERR float32, DQ uint32, each (ny, nx)."""

    kind = "Rate"


class Monitor(Product):
    """What a monitor of pixels found: tables of exposures, states and trends, and maps; see `miripool.monitors`."""

    kind = "Monitor"


class ExposureStatistics(Product):
    """Statistics of the versions of one exposure, by integration and amplifier; see `miripool.monitors.statistics`."""

    kind = "ExposureStatistics"


@dataclass(frozen=True, slots=True)
class PixelColumn:
    """A column of the pixel rows of a kind.

    Attributes
    ----------
    name : str
        As conditions on pixels name it.
    dataset : str
        The dataset that it is from.
    axes : int
        Of the value of one pixel: 0 for a number, 1 for one by integration, 2 for one by integration and group.
    code : {'i2', 'i4', 'i8', 'f4'}
        Type of its elements in PostgreSQL.
    holds : {'dn', 'flags', 'real'}
        16-bit DN, which are stored less 32768; flags of the data quality; float32.
    unit : str
        Of its values; empty for flags.
    null : {'', 'zeros', 'common'}
        What NULL stands for: that there is no such dataset, that no flag is set, or the flags that most pixels share.
    """

    name: str
    dataset: str
    axes: int
    code: Code
    holds: Literal["dn", "flags", "real"]
    unit: str = ""
    null: Literal["", "zeros", "common"] = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of product.

    Attributes
    ----------
    cls : type of Product
        Its class.
    instrument : str
        The instrument (card INSTRUME) whose files are of this kind, rather than of one for any; empty for any.
    datamodel : str
        The datamodel (card DATAMODL) of its files; empty where the kind is none of the jwst package's.
    suffix : str
        What the names of its files end in, before ``.fits``.
    axes : int
        Of its dataset SCI; 0 for any.
    unit : str
        Of SCI.
    pixel_table : str
        View of its pixel rows; empty where it has none.
    columns : tuple of PixelColumn
        Of that view.
    reference_table : str
        View of the reference output; empty where it has none.
    reference : PixelColumn or None
        Where the reference output is from.
    slot : str
        Name of the reference in an `Exposure`; empty where exposures don't refer to it.
    parents : tuple of str
        Kinds that the pipeline makes it from: the nearest first.
    beside : bool
        Whether it says something of other products, and is found only where its kind is named.
    """

    cls: type[Product]
    instrument: str = ""
    datamodel: str = ""
    suffix: str = ""
    axes: int = 0
    unit: str = ""
    pixel_table: str = ""
    columns: tuple[PixelColumn, ...] = ()
    reference_table: str = ""
    reference: PixelColumn | None = None
    slot: str = ""
    parents: tuple[str, ...] = ()
    beside: bool = False

    @property
    def name(self) -> str:
        """Its name, e.g. ``RateInts``."""
        return self.cls.kind

    @property
    def is_rate(self) -> bool:
        """Whether it holds slopes."""
        return self.unit == "DN/s"

    @property
    def science(self) -> PixelColumn | None:
        """The column of SCI."""
        return next((column for column in self.columns if column.dataset == "SCI"), None)


_RAW = Kind(
    Raw,
    datamodel="Level1bModel",
    suffix="uncal",
    axes=4,
    unit="DN",
    pixel_table="raw_pixel",
    columns=(PixelColumn("dn", "SCI", 2, "i2", "dn", "DN"),),
    reference_table="ref_pixel",
    reference=PixelColumn("dn", "REFOUT", 2, "i2", "dn", "DN"),
    slot="raw",
)
_RAMP = Kind(
    Ramp,
    datamodel="RampModel",
    suffix="ramp",
    axes=4,
    unit="DN",
    pixel_table="ramp_pixel",
    columns=(
        PixelColumn("sci", "SCI", 2, "f4", "real", "DN"),
        PixelColumn("groupdq", "GROUPDQ", 2, "i2", "flags", null="common"),
        PixelColumn("err", "ERR", 2, "f4", "real", "DN"),
        PixelColumn("pixeldq", "PIXELDQ", 0, "i8", "flags"),
    ),
    slot="ramp",
    parents=("Raw",),
)
_RATEINTS = Kind(
    RateInts,
    datamodel="CubeModel",
    suffix="rateints",
    axes=3,
    unit="DN/s",
    pixel_table="rateints_pixel",
    columns=(
        PixelColumn("rate", "SCI", 1, "f4", "real", "DN/s"),
        PixelColumn("err", "ERR", 1, "f4", "real", "DN/s"),
        PixelColumn("dq", "DQ", 1, "i8", "flags", null="zeros"),
    ),
    slot="rateints",
    parents=("Ramp", "Raw"),
)
_RATE = Kind(
    Rate,
    datamodel="ImageModel",
    suffix="rate",
    axes=2,
    unit="DN/s",
    pixel_table="rate_pixel",
    columns=(
        PixelColumn("rate", "SCI", 0, "f4", "real", "DN/s"),
        PixelColumn("err", "ERR", 0, "f4", "real", "DN/s"),
        PixelColumn("dq", "DQ", 0, "i8", "flags", null="zeros"),
    ),
    slot="rate",
    parents=("Ramp", "Raw"),
)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *(Kind(Product), _RAW, _RAMP, _RATEINTS, _RATE),
        *(Kind(Context, beside=True), Kind(Exposure, beside=True)),
        *(Kind(Monitor), Kind(ExposureStatistics, beside=True)),
    )
}
"""All kinds by name. Where several fit, the first is meant."""


def kind_class(kind: str) -> type[Product]:
    """Give the class of a kind, any case.

    Parameters
    ----------
    kind : str
        E.g. ``RateInts``.

    Returns
    -------
    type of Product
        The class.

    Raises
    ------
    InvalidInput
        If there is no such kind; the message lists them.
    """
    for name, known in KINDS.items():
        if name.lower() == kind.lower():
            return known.cls
    raise InvalidInput(f"no kind {kind!r}; the kinds are {', '.join(KINDS)}")


def kind_of(product: Product) -> Kind:
    """Give the record of a product's kind.

    Parameters
    ----------
    product : Product
        Of any class.

    Returns
    -------
    Kind
        One that says nothing where the class is none of the known.
    """
    return KINDS.get(product.kind) or Kind(type(product))


def kinds_matching(cls: type[Product]) -> Sequence[str]:
    """List the names of a class's kind and of all kinds derived from it, for "subclasses match".

    Parameters
    ----------
    cls : type of Product
        The class asked for; `Product` means every kind but those that stand beside others.

    Returns
    -------
    sequence of str
        Names of kinds.
    """
    asked = cls.kind in KINDS and KINDS[cls.kind].beside
    return [name for name, kind in KINDS.items() if issubclass(kind.cls, cls) and kind.beside == asked]


def beside() -> frozenset[str]:
    """List the kinds that say something of other products, and are found only where their kind is named.

    Returns
    -------
    frozenset of str
        Their names.
    """
    return frozenset(name for name, kind in KINDS.items() if kind.beside)


def pixel_kinds() -> tuple[str, ...]:
    """List the kinds that have pixel rows.

    Returns
    -------
    tuple of str
        Their names.
    """
    return tuple(name for name, kind in KINDS.items() if kind.pixel_table)


def pixel_tables() -> tuple[str, ...]:
    """List the views of pixel rows, those of the reference output too.

    Returns
    -------
    tuple of str
        Their names.
    """
    tables = (table for kind in KINDS.values() for table in (kind.pixel_table, kind.reference_table))
    return tuple(dict.fromkeys(table for table in tables if table))


def pixel_columns(kind: str) -> Mapping[str, PixelColumn]:
    """Give the columns of a kind's pixel rows that hold values.

    Parameters
    ----------
    kind : str
        Its name.

    Returns
    -------
    mapping of str to PixelColumn
        By name; empty for a kind without pixel rows.
    """
    return {column.name: column for column in KINDS[kind].columns} if kind in KINDS else {}


def pixel_axes(kind: str) -> Mapping[str, int]:
    """Give all columns of a kind's pixel rows that conditions can name, those of the place last.

    Parameters
    ----------
    kind : str
        Its name.

    Returns
    -------
    mapping of str to int
        The number of axes of each: integrations, groups. Empty for a kind without pixel rows.
    """
    axes = {name: column.axes for name, column in pixel_columns(kind).items()}
    return {**axes, "x": 0, "y": 0, "pixel_id": 0} if axes else {}


def slots() -> Mapping[str, str]:
    """Give the names of the references in an `Exposure`.

    Returns
    -------
    mapping of str to str
        By kind.
    """
    return {name: kind.slot for name, kind in KINDS.items() if kind.slot}


def sources() -> tuple[str, ...]:
    """List the kinds that others are made of, and that are made of none.

    Returns
    -------
    tuple of str
        Their names.
    """
    parents = {parent for kind in KINDS.values() for parent in kind.parents}
    return tuple(name for name, kind in KINDS.items() if name in parents and not kind.parents)


def derived() -> tuple[str, ...]:
    """List the kinds that the pipeline makes of others.

    Returns
    -------
    tuple of str
        Their names.
    """
    return tuple(name for name, kind in KINDS.items() if kind.parents)
