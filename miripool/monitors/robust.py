"""Medians and scatters along the first axis of arrays in which NaN stands for no value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating]

__all__ = ["MEDIAN_ERROR", "NORMAL_MAD", "centre_and_sigma", "median", "quantile"]

NORMAL_MAD: Final = 1.4826
"""Standard deviation of a normal distribution, in median absolute deviations."""

MEDIAN_ERROR: Final = 1.2533
"""Standard error of a median, in those of a mean: the root of pi / 2."""


def quantile(values: Array, q: float) -> Array:
    """Give a quantile along the first axis, without the NaN.

    Parameters
    ----------
    values : ndarray of float, shape (n, …)
        NaN where there is no value.
    q : float
        Between 0 and 1. Between two values the quantile is interpolated linearly, as NumPy does.

    Returns
    -------
    ndarray of float, shape (…)
        NaN where all values are NaN. Faster than `numpy.nanquantile` by an order of magnitude.
    """
    ordered = np.sort(values, axis=0)  # NaN comes last
    count = np.count_nonzero(~np.isnan(ordered), axis=0)
    place = q * np.maximum(count - 1, 0)
    low = np.floor(place).astype(np.intp)
    high = np.ceil(place).astype(np.intp)
    below = np.take_along_axis(ordered, low[None], axis=0)[0]
    above = np.take_along_axis(ordered, high[None], axis=0)[0]
    with np.errstate(invalid="ignore", over="ignore"):  # infinities
        found: Array = (below + (above - below) * (place - low).astype(ordered.dtype)).astype(ordered.dtype, copy=False)
    return found


def median(values: Array) -> Array:
    """Give the median along the first axis, without the NaN; see `quantile`."""
    return quantile(values, 0.5)


def centre_and_sigma(values: Array) -> tuple[float, float]:
    """Give the median of all finite values, and 1.4826 times the median of the absolute deviations from it.

    Parameters
    ----------
    values : ndarray of float
        Any shape; NaN and infinities are left out.

    Returns
    -------
    centre, sigma : float
        NaN if there are no values.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan"), float("nan")
    centre = np.median(known)
    return float(centre), NORMAL_MAD * float(np.median(np.abs(known - centre)))
