"""Blocks: some pixels of a region through all exposures of a stratum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .series import Series
    from .summaries import PixelSummary

    Matrix = NDArray[np.float64]

__all__ = ["Block", "Planes", "rate_of"]


class Planes(Protocol):
    """The planes of one exposure, (5, ny, nx) or, of ramps, (7, ny, nx), which can be read in parts."""

    def __getitem__(self, key: tuple[slice, slice], /) -> NDArray[np.float32]:
        """Read some planes and rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some pixels through all exposures of a stratum.

    Attributes
    ----------
    first : int
        Index of the first pixel in the region.
    series : Series
        Rates, from which changes that all pixels share were taken out.
    level : ndarray of float64, shape (npixels,)
        Rate of the neighbours of each pixel, DN/s.
    scatter, counts : ndarray of float64, shape (n, npixels)
        Of the integrations in each exposure: their standard deviation in units of their errors, NaN where it is not
        known; and their number.
    """

    first: int
    series: Series
    level: Matrix
    scatter: Matrix
    counts: Matrix


def rate_of(summary: PixelSummary, *, first: bool) -> tuple[Matrix, Matrix]:
    """Give the rate of each pixel of an exposure, with the first integration or without.

    Parameters
    ----------
    summary : PixelSummary
        The exposure.
    first : bool, keyword-only
        Whether the first integration counts like the others.

    Returns
    -------
    rate, error : ndarray of float64, shape (ny, nx)
        DN/s; NaN where no integration is usable.
    """
    rate, error = summary.rate.astype(np.float64), summary.error.astype(np.float64)
    if not first:
        return rate, error
    extra = summary.first.astype(np.float64)
    there, alone = np.isfinite(extra), ~np.isfinite(rate)
    count = summary.count.astype(np.float64)
    both = there & ~alone
    total = np.where(both, count + 1, 1.0)
    mean = np.where(both, (np.where(alone, 0.0, rate) * count + np.where(there, extra, 0.0)) / total, rate)
    shrunk = np.where(both, error * np.sqrt(count / total), error)
    return mean, shrunk
