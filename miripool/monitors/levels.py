"""Levels of amplifiers: one number for each amplifier and exposure, through time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .amplifiers import AMPLIFIERS
from .robust import median
from .rows import read_members, read_strata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model.product import Product
    from .strata import Stratum

__all__ = ["Levels", "read_levels"]


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Levels of the amplifiers in one stratum.

    Attributes
    ----------
    stratum : Stratum
        The stratum.
    exposures : list of dict
        In the order of time, as `read_members` gives them.
    values : ndarray of float64, shape (nexposures, 4)
        Median over the integrations of the medians of each amplifier's pixels, DN/s; the first integration is left out
        where there are three or more. NaN where there is none.
    """

    stratum: Stratum
    exposures: list[dict[str, Any]]
    values: NDArray[np.float64]


def read_levels(product: Product) -> list[Levels]:
    """Read the levels of the amplifiers of a monitor.

    Parameters
    ----------
    product : Product
        Of the monitor.

    Returns
    -------
    list of Levels
        By stratum.
    """
    strata = read_strata(product)
    if not strata:
        return []
    trends: NDArray[np.void] = np.asarray(product["TRENDS"][...])
    found = []
    for stratum, exposures in zip(strata, read_members(product), strict=True):
        places = np.array([exposure["place"] for exposure in exposures])
        begins, ends = (np.searchsorted(trends["exposure"], places, side) for side in ("left", "right"))
        values = [_levels_of(trends[begin:end]) for begin, end in zip(begins, ends, strict=True)]
        found.append(Levels(stratum, exposures, np.array(values).reshape(-1, AMPLIFIERS)))
    return found


def _levels_of(rows: NDArray[np.void]) -> NDArray[np.float64]:
    """Give the level of each amplifier in one exposure, whose rows are by integration and amplifier."""
    medians = rows["median"].astype(np.float64).reshape(-1, AMPLIFIERS)
    return np.asarray(median(medians[1:] if len(medians) > 2 else medians))
