"""Base of a mask: an older MASK file, or what is known without one. It says what the monitor does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import FileMissing, FormatError, InvalidInput, MiripoolError
from ..formats import layout_of, read_fits
from ..instruments.detector import Placement
from ..instruments.known import DETECTORS
from ..model.product import Product
from ..model.table import TableDataset
from ..pool.find import find
from ..pool.reference import ProductRef
from ..query.pixelwhere import FLAGS
from ..query.queries import MetaQuery
from .amplifiers import amplifiers_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..instruments.detector import DetectorRecord
    from ..pool.core import Core

    Flags = NDArray[np.uint32]

__all__ = ["Base", "bare_base", "open_base", "reference_pixels"]

_REFERENCE: Final = FLAGS["REFERENCE_PIXEL"] | FLAGS["DO_NOT_USE"]
_UNSEEN: Final = FLAGS["OTHER_BAD_PIXEL"] | FLAGS["DO_NOT_USE"]


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """Flags before the monitor is asked.

    Attributes
    ----------
    dq : ndarray of uint32, shape (ny, nx)
        JWST's flags. Reference pixels are flagged.
    place : Placement
        Of the array in the FULL array.
    label : str or None
        What it was read from: a URN, or the name of a file; None without a base.
    urn : str or None
        Of the version, if it is in the pool.
    notices : tuple of str
        What a user should know.
    """

    dq: Flags
    place: Placement
    label: str | None = None
    urn: str | None = None
    notices: tuple[str, ...] = ()


def reference_pixels(detector: DetectorRecord, place: Placement) -> NDArray[np.bool_]:
    """Tell which pixels are reference pixels.

    Parameters
    ----------
    detector : DetectorRecord
        The detector.
    place : Placement
        Of a rectangle.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True for reference pixels.
    """
    mine = amplifiers_of(detector, place.x, place.columns) == 0
    return np.broadcast_to(mine, (place.rows, place.columns)).copy()


def bare_base(detector: DetectorRecord, place: Placement, unseen: NDArray[np.bool_]) -> Base:
    """Make a base without a file.

    Pixels without any rate are flagged OTHER_BAD_PIXEL and DO_NOT_USE: most of them have none because the mask that
    the exposures were calibrated with says DO_NOT_USE.

    Parameters
    ----------
    detector : DetectorRecord
        The detector.
    place : Placement
        What the mask covers.
    unseen : ndarray of bool, shape (ny, nx)
        Monitored pixels that have no rate.

    Returns
    -------
    Base
        Reference pixels and unseen ones are flagged.
    """
    reference = reference_pixels(detector, place)
    dq = np.where(unseen, np.uint32(_UNSEEN), np.uint32(0))
    dq[reference] = _REFERENCE
    number = int(np.count_nonzero(unseen & ~reference))
    notice = (
        f"{number} pixels have no rate near that date, so they are OTHER_BAD_PIXEL and DO_NOT_USE; "
        "to keep their flags, give the mask that the exposures were calibrated with as the base"
    )
    return Base(dq, place, notices=(notice,) if number else ())


def open_base(core: Core, given: Path | str | Product | ProductRef, detector: DetectorRecord) -> Base:
    """Read a MASK file, or a version of the pool.

    Parameters
    ----------
    core : Core
        The pool.
    given : path, str, Product or ProductRef
        A file; or, if there is no such file, how the pool names a version.
    detector : DetectorRecord
        Of the monitor.

    Returns
    -------
    Base
        Its bits are translated by its table DQ_DEF, if it has one.

    Raises
    ------
    FileMissing
        If there is neither such a file nor such a version.
    InvalidInput
        If it is no mask, or one of another detector.
    """
    product, label, urn = _find(core, given)
    _check(product, label, detector)
    raw = np.asarray(product["DQ"][...])
    if raw.ndim != 2 or raw.dtype.kind not in "ui":
        raise InvalidInput(f"the base {label}: its DQ is no image of flags, but {raw.dtype} of shape {raw.shape}")
    place = _place(product, label, detector, (raw.shape[0], raw.shape[1]))
    dq, unknown = _translated(raw.astype(np.uint32), product)
    dq[reference_pixels(detector, place)] |= np.uint32(_REFERENCE)
    notice = f"the base {label} defines flags that JWST does not have, and they are left out: {', '.join(unknown)}"
    return Base(dq, place, label, urn, (notice,) if unknown else ())


def _find(core: Core, given: Path | str | Product | ProductRef) -> tuple[Product, str, str | None]:
    """Give the product, what to call it, and its URN if it is in the pool."""
    if isinstance(given, str) and not Path(given).expanduser().is_file():
        try:
            given = core.ref(given)
        except MiripoolError as error:
            raise FileMissing(f"{given}: there is no such file, and the pool has no such version ({error})") from error
    if isinstance(given, ProductRef):
        return given.product, str(given.urn), str(given.urn)
    if isinstance(given, Product):
        return given, given.name or "given", None
    path = Path(given).expanduser()
    product = read_fits(path, kind=Product.kind)
    origin = layout_of(product).origin
    digest = "" if origin is None else origin.digest
    known = list(find(core, MetaQuery(Product, "p", f"file_digest == '{digest}'"), all_versions=True))
    return (product, str(known[-1].urn), str(known[-1].urn)) if known else (product, path.name, None)


def _check(product: Product, label: str, detector: DetectorRecord) -> None:
    kind = _text(product, "REFTYPE")
    if "DQ" not in product or kind not in ("", "MASK"):
        raise InvalidInput(f"the base {label} is no MASK reference file: {f'REFTYPE is {kind}' if kind else 'no DQ'}")
    name = _text(product, "DETECTOR")
    if name != detector.name:
        known = name if name in DETECTORS else name or "no detector"
        raise InvalidInput(f"the base {label} is of {known}, and the monitor's exposures are of {detector.name}")


def _text(product: Product, key: str) -> str:
    value = product.meta[key].value if key in product.meta else None
    return value.strip().upper() if isinstance(value, str) else ""


def _place(product: Product, label: str, detector: DetectorRecord, shape: tuple[int, int]) -> Placement:
    try:
        place = detector.place(product.meta)
    except FormatError as error:
        if shape == (detector.rows, detector.columns):  # older files of the FULL array don't say it
            return Placement(1, 1, detector.columns, detector.rows)
        raise InvalidInput(f"the base {label}: {error}") from error
    if shape != (place.rows, place.columns):
        raise InvalidInput(
            f"the base {label} has {shape[1]} columns and {shape[0]} rows, but its header says {place.columns} columns "
            f"(SUBSIZE1) and {place.rows} rows (SUBSIZE2)"
        )
    return place


def _translated(dq: Flags, product: Product) -> tuple[Flags, list[str]]:
    """Give JWST's bits for those that the table DQ_DEF defines, and the names that JWST does not have.

    The rule is that of `stdatamodels.dynamicdq.dynamic_mask`: bits that are not in the table are dropped.
    """
    table: Any = product.get("DQ_DEF")
    if not isinstance(table, TableDataset) or not len(table["VALUE"]):
        return dq, []
    found, unknown = np.zeros_like(dq), []
    for value, name in zip(table["VALUE"].tolist(), table["NAME"], strict=True):
        flag = str(name).strip()
        there = dq & np.uint32(int(value) & 0xFFFF_FFFF) != 0  # some files have bit 31 as a negative number
        if flag in FLAGS:
            found[there] |= np.uint32(FLAGS[flag])
        elif there.any():
            unknown.append(flag)
    return found, unknown
