"""When an exposure and its integrations took place, as a product's header and its table INT_TIMES say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .product import Product

__all__ = ["Timing", "timing_of"]

_COLUMNS: Final = ("int_start_MJD_UTC", "int_mid_MJD_UTC", "int_end_MJD_UTC")
_NUMBER: Final = "integration_number"


class Timing(NamedTuple):
    """Times in MJD, UTC; NaN where the file does not say.

    Attributes
    ----------
    middle, ended : float
        Of the exposure: EXPMID and EXPEND.
    integrations : ndarray of float64, shape (3, nints)
        Start, middle and end of each integration of the file, all three or none; shape (3, 0) for a product without
        integrations, or without INT_TIMES.
    """

    middle: float
    ended: float
    integrations: NDArray[np.float64]


def timing_of(product: Product) -> Timing:
    """Read a product's times.

    The rows of INT_TIMES are found by their integration_number: the file of a segment has the integrations INTSTART to
    INTEND of the exposure, and its table may list those of the other segments as well.

    Parameters
    ----------
    product : Product
        With a dataset SCI.

    Returns
    -------
    Timing
        Times of zero and below are unknown ones.

    Raises
    ------
    MiripoolError
        If INT_TIMES can't be read.
    """
    return Timing(_day(product, "EXPMID"), _day(product, "EXPEND"), _integrations(product))


def _integrations(product: Product) -> NDArray[np.float64]:
    from .table import TableDataset

    table = product.get("INT_TIMES")
    shape = product["SCI"].shape if "SCI" in product else ()
    if not isinstance(table, TableDataset) or len(shape) < 3:
        return np.empty((3, 0))
    if not {_NUMBER, *_COLUMNS} <= set(table.colnames):
        return np.empty((3, 0))
    numbers, *times = map(np.asarray, table.read_columns([_NUMBER, *_COLUMNS]))
    found = np.full((3, shape[0]), np.nan)
    if numbers.ndim != 1 or any(t.shape != numbers.shape or t.dtype.kind != "f" for t in times):
        return np.empty((3, 0))
    first = product.meta["INTSTART"].value if "INTSTART" in product.meta else 1
    places = numbers - (first if isinstance(first, int) else 1)
    inside = (places >= 0) & (places < shape[0])
    found[:, places[inside]] = [t[inside] for t in times]
    found[:, ~(np.isfinite(found) & (found > 0)).all(axis=0)] = np.nan
    return found


def _day(product: Product, key: str) -> float:
    value = product.meta[key].value if key in product.meta else None
    return float(value) if isinstance(value, (int, float)) and value > 0 else np.nan
