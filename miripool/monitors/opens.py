"""Open pixels: they see little of a flat's light, and their neighbours see more than their share of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .blocks import Block

    Matrix = NDArray[np.float64]

__all__ = ["mark_open", "response"]

_MORE: Final = 1.05
"""Response of the four neighbours of an open pixel, at least [1]_."""
_SURE: Final = 3.0
"""Standard errors by which each of them exceeds 1."""


def response(block: Block) -> tuple[Matrix, Matrix]:
    """Give the mean rate of each pixel over all exposures, in units of the rates around it.

    Parameters
    ----------
    block : Block
        Pixels in a flat.

    Returns
    -------
    ratio, error : ndarray of float64, shape (npixels,)
        NaN where a pixel has no rate.
    """
    weights = block.series.weights
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(weights > 0, weights * block.series.rates, 0.0).sum(axis=0) / total
        return mean / block.level, 1 / np.sqrt(total) / block.level


def mark_open(episodes: NDArray[np.void], ratio: Matrix, error: Matrix) -> None:
    """Make open pixels of those with a low quantum efficiency whose four neighbours see more than 1.05 of the light.

    Parameters
    ----------
    episodes : ndarray of `EPISODE`
        Of all pixels; changed in place.
    ratio, error : ndarray of float64, shape (ny, nx)
        From `response`.

    References
    ----------
    .. [1] The rule of STScI's jwst_reffiles for OPEN.
    """
    with np.errstate(invalid="ignore"):
        bright = (ratio > _MORE) & (ratio - 1 > _SURE * error)
    framed = np.pad(bright, 1, constant_values=False)
    around = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    low = episodes["state"] == b"low_qe"
    low[low] = around.ravel()[episodes["pixel"][low]]
    episodes["state"][low] = b"open"
