"""RC pixels: their ramps bend, by more than the noise of one exposure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .robust import NORMAL_MAD
from .states import EPISODE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .blocks import Planes

    Matrix = NDArray[np.float64]

__all__ = ["BEND", "mark_bent"]

BEND: Final = slice(5, 7)
"""Planes of the bend and its error, of exposures whose ramps were read."""
_BENT: Final = 7.0
"""Bend, in errors of one exposure, from which a pixel is RC."""


def mark_bent(exposures: Sequence[Planes], episodes: NDArray[np.void], npixels: int) -> NDArray[np.void]:
    """Find pixels whose ramps bend, up or down; that is their only episode.

    What most pixels of an exposure share, as the settling of the first groups, is taken out, and the errors are scaled
    to the scatter of all pixels.

    Parameters
    ----------
    exposures : sequence of Planes
        Of ramps, in the order of time.
    episodes : ndarray of `EPISODE`
        Found from the rates.
    npixels : int
        Of the region.

    Returns
    -------
    ndarray of `EPISODE`
        In the order of pixels and begins. The amplitude is the bend: early slope less late slope, DN/s.
    """
    total, weighted, count = np.zeros(npixels), np.zeros(npixels), np.zeros(npixels)
    scales = []
    for planes in exposures:
        bend, error = (np.asarray(plane, np.float64).ravel() for plane in planes[BEND, slice(None)])
        there = np.isfinite(bend) & np.isfinite(error) & (error > 0)
        if not there.any():
            continue
        bend = bend - np.median(bend[there])
        pulls = np.abs(bend[there] / error[there])
        scales.append(NORMAL_MAD * float(np.median(pulls)))
        weight = np.where(there, 1 / np.where(there, error, 1.0) ** 2, 0.0)
        total += weight
        weighted += np.where(there, weight * bend, 0.0)
        count += there
    scale = max(1.0, float(np.median(scales))) if scales else 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, error = weighted / total, scale / np.sqrt(total)
        bent = np.flatnonzero(np.abs(mean) > _BENT * error * np.sqrt(count))
    found = np.zeros(len(bent), EPISODE)
    found["pixel"], found["state"], found["end"] = bent, b"rc", len(exposures)
    found["amplitude"], found["error"] = mean[bent], error[bent]
    found["significance"] = np.abs(mean[bent]) / error[bent]
    found["fraction"] = found["dwell"] = np.nan
    both = np.concatenate([episodes[~np.isin(episodes["pixel"], bent)], found])
    return both[np.lexsort((both["begin"], both["pixel"]))]
