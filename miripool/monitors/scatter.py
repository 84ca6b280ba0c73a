"""Scatter of pixels: those that are noisy, and those that leave their level now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .series import Series

    Matrix = NDArray[np.float64]

__all__ = ["noise_level", "wide_component"]

_WIDE: Final = 10.0
"""Standard deviation of the wide component, in errors of one exposure."""
_FRACTIONS: Final = tuple(np.round(np.geomspace(0.01, 0.9, 24), 4))


def wide_component(series: Series) -> tuple[Matrix, Matrix]:
    """Fit the fraction of exposures in which a pixel is far from its level: two Gaussians of the same mean [1]_.

    Parameters
    ----------
    series : Series
        The pixels; errors as they were measured.

    Returns
    -------
    fraction : ndarray of float64, shape (npixels,)
        Of the exposures in the wide component, whose standard deviation is ten errors; the most probable of 0, 0.01 …
        0.9.
    evidence : ndarray of float64, shape (npixels,)
        Logarithm of its likelihood, less that of fraction 0.

    References
    ----------
    .. [1] arXiv:1808.02033.
    """
    pulls = (series.rates - series.middle) / series.errors
    pulls = np.where(np.isfinite(pulls), pulls, 0.0)
    there = series.weights > 0
    ratio = np.exp(np.minimum(0.5 * pulls**2 * (1 - 1 / (1 + _WIDE**2)), 600)) / np.sqrt(1 + _WIDE**2)
    best = np.zeros(series.rates.shape[1])
    fraction = np.zeros_like(best)
    for f in _FRACTIONS:
        gain = np.where(there, np.log1p(f * (ratio - 1)), 0.0).sum(axis=0)
        fraction = np.where(gain > best, f, fraction)
        best = np.maximum(best, gain)
    return fraction, best


def noise_level(scatter: Matrix, counts: Matrix) -> Matrix:
    """Give the scatter of the integrations of all exposures of a pixel, in units of their errors.

    Parameters
    ----------
    scatter : ndarray of float64, shape (n, npixels)
        Standard deviation of the integrations of each exposure, in units of their errors; NaN where it is not known.
    counts : ndarray of float64, shape (n, npixels)
        Integrations in it.

    Returns
    -------
    ndarray of float64, shape (npixels,)
        Root of the mean variance, weighted by degrees of freedom; the upper fifth of the exposures is left out where
        there are five or more, since hits make them larger. NaN where no exposure has two integrations.
    """
    freedom = np.where(np.isfinite(scatter), np.maximum(counts - 1, 0), 0)
    variance = np.where(freedom > 0, scatter**2, np.inf)
    last = len(scatter) - len(scatter) // 5 - 1
    if len(scatter):
        freedom = np.where(variance <= np.partition(variance, last, axis=0)[last], freedom, 0)
    total = freedom.sum(axis=0)
    squares = np.where(freedom > 0, variance * freedom, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(squares / total))
