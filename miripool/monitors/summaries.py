"""What an exposure says of each pixel: one rate, from which cosmic-ray hits among the integrations were rejected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from .robust import NORMAL_MAD, median

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = NDArray[np.float32]

__all__ = ["PixelSummary", "summarise"]

_REJECTED_FROM: Final = 4.0
"""Standard deviations from the median of the integrations, from which a slope counts as hit by a cosmic ray."""
_ENOUGH: Final = 16
"""Differences from which the scale of the errors is measured."""


@dataclass(frozen=True, slots=True, eq=False)
class PixelSummary:
    """The pixels of one exposure. All maps have the shape (ny, nx); NaN where no integration is usable.

    Attributes
    ----------
    rate : ndarray of float32
        Mean of the usable slopes of the integrations 2…N (of the only one, where there is one), DN/s.
    error : ndarray of float32
        Its standard error, DN/s, from the errors of the slopes.
    first : ndarray of float32
        Slope of the first integration, DN/s; NaN where there is only one integration.
    scatter : ndarray of float32
        Standard deviation of the slopes of the integrations 2…N in units of their errors; NaN for fewer than two.
    count : ndarray of float32
        Integrations in `rate`.
    """

    rate: Map
    error: Map
    first: Map
    scatter: Map
    count: Map


def summarise(rates: NDArray[np.floating], errors: NDArray[np.floating] | None) -> PixelSummary:
    """Reduce the integrations of an exposure to one rate for each pixel.

    An integration of a pixel is left out where it is NaN. It is rejected as a hit where it
    differs from the median of the pixel's integrations by more than four standard deviations, unless this would reject
    half of them or more: such a pixel is not quiet.

    Parameters
    ----------
    rates : ndarray of float, shape (nints, ny, nx)
        Slopes, DN/s; NaN where they must not be used.
    errors : ndarray of float, shape (nints, ny, nx), or None
        Their standard deviations, DN/s. None if they are unknown: then all pixels get that of the exposure.

    Returns
    -------
    PixelSummary
        The pixels.
    """
    slopes = np.array(rates, np.float32)
    sigma = _errors_of(slopes, errors)
    slopes[~(np.isfinite(slopes) & np.isfinite(sigma) & (sigma > 0))] = np.nan
    _reject_hits(slopes, sigma)
    first = slopes[0] if len(slopes) > 1 else np.full(slopes.shape[1:], np.nan, np.float32)
    rest, rest_sigma = (slopes[1:], sigma[1:]) if len(slopes) > 1 else (slopes, sigma)
    there = np.isfinite(rest)
    count = np.count_nonzero(there, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(there, rest, 0).sum(axis=0, dtype=np.float64) / count
        error = np.sqrt(np.where(there, rest_sigma**2, 0).sum(axis=0, dtype=np.float64)) / count
        pulls = np.where(there, (rest - rate) / rest_sigma, 0)
        scatter = np.where(count > 1, np.sqrt((pulls**2).sum(axis=0) / (count - 1)), np.nan)
    rate, error, scatter = (np.asarray(values, np.float32) for values in (rate, error, scatter))
    return PixelSummary(rate, error, first, scatter, count.astype(np.float32))


def _reject_hits(slopes: NDArray[np.float32], sigma: NDArray[np.float32]) -> None:
    away = np.abs(slopes - median(slopes))
    hit = away > _REJECTED_FROM * _scale(slopes, sigma) * sigma  # NaN is no hit
    hit &= 2 * np.count_nonzero(hit, axis=0) < np.count_nonzero(np.isfinite(slopes), axis=0)
    slopes[hit] = np.nan


def _errors_of(slopes: NDArray[np.float32], errors: NDArray[np.floating] | None) -> NDArray[np.float32]:
    if errors is not None:
        return np.asarray(errors, np.float32)
    steps = np.abs(np.diff(slopes, axis=0))
    steps = steps[np.isfinite(steps)]
    spread = NORMAL_MAD * np.median(steps) / np.sqrt(2) if steps.size else np.nan
    return np.full(slopes.shape, spread, np.float32)


def _scale(slopes: NDArray[np.float32], sigma: NDArray[np.float32]) -> float:
    """Measure the noise in units of the errors, from the differences of successive integrations of all pixels."""
    pulls = np.abs(np.diff(slopes, axis=0)) / np.hypot(sigma[1:], sigma[:-1])
    pulls = pulls[np.isfinite(pulls)]
    return NORMAL_MAD * float(np.median(pulls)) if pulls.size >= _ENOUGH else 1.0
