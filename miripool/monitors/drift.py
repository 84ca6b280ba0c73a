"""Drifts: rates that grow or fall steadily."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .robust import median

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .series import Series

    Matrix = NDArray[np.float64]

__all__ = ["fit_line", "theil_sen"]


def fit_line(times: Matrix, series: Series) -> tuple[Matrix, Matrix, Matrix]:
    """Fit a straight line to the rates of each pixel by least squares.

    Parameters
    ----------
    times : ndarray of float64, shape (n,)
        Days.
    series : Series
        The pixels.

    Returns
    -------
    slope, error : ndarray of float64, shape (npixels,)
        DN/s per day; NaN where fewer than three rates are known.
    chi2 : ndarray of float64, shape (npixels,)
        Sum of squared residuals in units of the errors.
    """
    weights = series.weights
    rates = np.where(weights > 0, series.rates, 0.0)
    total = np.maximum(weights.sum(axis=0), 1e-300)
    t = times[:, None] - (weights * times[:, None]).sum(axis=0) / total
    v = rates - (weights * rates).sum(axis=0) / total
    spread = (weights * t**2).sum(axis=0)
    enough = (np.count_nonzero(weights, axis=0) >= 3) & (spread > 0)
    spread = np.where(enough, spread, np.nan)
    slope = (weights * t * v).sum(axis=0) / spread
    chi2 = (weights * v**2).sum(axis=0) - slope**2 * spread
    return slope, 1 / np.sqrt(spread), chi2


def theil_sen(times: Matrix, rates: Matrix) -> Matrix:
    """Give the median of the slopes between all pairs of exposures [1]_.

    Parameters
    ----------
    times : ndarray of float64, shape (n,)
        Days.
    rates : ndarray of float64, shape (n, npixels)
        DN/s; NaN where there is none.

    Returns
    -------
    ndarray of float64, shape (npixels,)
        DN/s per day; NaN where fewer than two rates are known.

    References
    ----------
    .. [1] P. K. Sen, Journal of the American Statistical Association 63 (1968) 1379.
    """
    if len(times) < 2:
        return np.full(rates.shape[1], np.nan)
    i, j = np.triu_indices(len(times), 1)
    apart = times[j] - times[i]
    i, j, apart = i[apart > 0], j[apart > 0], apart[apart > 0]
    return np.array([median(((column[j] - column[i]) / apart)[:, None])[0] for column in rates.T])
