"""Change points: where the level of a pixel changes, and the segments of constant level between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .series import Series

    Matrix = NDArray[np.float64]

__all__ = ["Segments", "change_significance", "split_significance", "split_up"]

_LENGTHS: Final = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Lengths of the windows that are held against all other exposures."""


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Segments of constant level of some pixels, ordered by pixel and then by time.

    Attributes
    ----------
    pixel : ndarray of intp, shape (nsegments,)
        Index of the pixel in the series.
    begin, end : ndarray of intp, shape (nsegments,)
        First exposure, and the first after the segment.
    rate, error : ndarray of float64, shape (nsegments,)
        Weighted mean and its standard error, DN/s.
    """

    pixel: NDArray[np.intp]
    begin: NDArray[np.intp]
    end: NDArray[np.intp]
    rate: Matrix
    error: Matrix


def _sums(series: Series) -> tuple[Matrix, Matrix, Matrix]:
    """Give the sums of weights and of weighted rates over the first 0, 1, …, n exposures, and these rates.

    The rates are less their mean, which keeps the sums small; they are 0 where there are none.
    """
    weights = series.weights
    rates = np.where(weights > 0, series.rates, 0.0)
    total = weights.sum(axis=0)
    mean = np.divide((weights * rates).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
    rates = np.where(weights > 0, rates - mean, 0.0)
    return _summed(weights), _summed(weights * rates), rates


def _summed(values: Matrix) -> Matrix:
    sums = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=sums[1:])
    return sums


def split_significance(series: Series, shortest: int) -> Matrix:
    """Give the largest standardised CUSUM of each pixel, over all ways to split its series in two.

    Parameters
    ----------
    series : Series
        The pixels.
    shortest : int
        Exposures before and after the split, at least.

    Returns
    -------
    ndarray of float64, shape (npixels,)
        The difference between the means before and after the best split, in units of its standard error; 0 for series
        that are too short.
    """
    w, s, _ = _sums(series)
    return _split(w, s, shortest)


def _split(w: Matrix, s: Matrix, shortest: int) -> Matrix:
    n = len(w) - 1
    inner = slice(shortest, n - shortest + 1)
    if n < 2 * shortest:
        return np.zeros(w.shape[1])
    total, part = w[-1], w[inner]
    spread = part * (total - part)
    z2 = np.divide(s[inner] ** 2, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.asarray(np.sqrt(z2.max(axis=0) * total))


def change_significance(series: Series, shortest: int) -> tuple[Matrix, Matrix]:
    """Give how much each pixel differs before and after a split, and in and out of a window, in standard errors.

    Parameters
    ----------
    series : Series
        The pixels.
    shortest : int
        Exposures on either side of a split and in a window, at least.

    Returns
    -------
    split : ndarray of float64, shape (npixels,)
        See `split_significance`.
    window : ndarray of float64, shape (npixels,)
        The largest difference between the mean of a window and that of all other exposures: over windows of 2, 3, 4, 6,
        8, 12, … exposures, at most half the series, wherever they begin.
    """
    w, s, _ = _sums(series)
    total, n = w[-1], len(series.rates)
    best = np.zeros(series.rates.shape[1])
    for length in (length for length in _LENGTHS if shortest <= length <= n // 2):
        part, there = w[length:] - w[:-length], s[length:] - s[:-length]
        there *= there
        spread = (total - part) * part
        z2 = np.divide(there, spread, out=np.zeros_like(spread), where=spread > 0)
        np.maximum(best, z2.max(axis=0), out=best)
    return _split(w, s, shortest), np.asarray(np.sqrt(best * total))


def split_up(series: Series, threshold: float, shortest: int) -> Segments:
    """Divide the series of each pixel into segments of constant level.

    The best division has the least sum of squared deviations in units of the errors, plus the square of the threshold
    for each change: optimal partitioning [1]_.

    Parameters
    ----------
    series : Series
        The pixels; those that may have changed, for the work is the square of the number of exposures for each.
    threshold : float
        Standard errors that one change must be worth.
    shortest : int
        Exposures in a segment, at least, unless the series itself is shorter.

    Returns
    -------
    Segments
        One or more for each pixel.

    References
    ----------
    .. [1] B. Jackson et al., IEEE Signal Processing Letters 12 (2005) 105.
    """
    w, s, rates = _sums(series)
    q = _summed(series.weights * rates**2)
    n, npixels = series.rates.shape
    price = threshold**2
    cost = np.full((n + 1, npixels), np.inf)
    cost[0] = -price
    came_from = np.zeros((n + 1, npixels), np.intp)
    for end in range(min(shortest, n), n + 1):
        starts = np.r_[0, shortest : end - shortest + 1] if end >= 2 * shortest else np.array([0])
        weight = w[end] - w[starts]
        deviation = s[end] - s[starts]
        inside = q[end] - q[starts] - np.divide(deviation**2, weight, out=np.zeros_like(weight), where=weight > 0)
        total = cost[starts] + inside + price
        best = total.argmin(axis=0)
        cost[end] = np.take_along_axis(total, best[None], axis=0)[0]
        came_from[end] = starts[best]
    return _traced_back(series, came_from)


def _traced_back(series: Series, came_from: NDArray[np.intp]) -> Segments:
    n, npixels = series.rates.shape
    at = np.full(npixels, n, np.intp)
    parts: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]] = []
    left = np.arange(npixels) if n else np.arange(0)
    while left.size:
        begin = came_from[at[left], left]
        parts.append((left, begin, at[left].copy()))
        at[left] = begin
        left = left[begin > 0]
    pixel, begin, end = (np.concatenate([part[i] for part in parts]) if parts else np.arange(0) for i in range(3))
    order = np.lexsort((begin, pixel))
    pixel, begin, end = pixel[order], begin[order], end[order]
    return Segments(pixel, begin, end, *_means(series, pixel, begin, end))


def _means(
    series: Series, pixel: NDArray[np.intp], begin: NDArray[np.intp], end: NDArray[np.intp]
) -> tuple[Matrix, Matrix]:
    weights = series.weights
    rates = np.where(weights > 0, series.rates, 0.0)
    w, s = _summed(weights), _summed(weights * rates)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = w[end, pixel] - w[begin, pixel]
        return (s[end, pixel] - s[begin, pixel]) / weight, 1 / np.sqrt(weight)
