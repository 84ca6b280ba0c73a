"""Alarms: when the level of an amplifier changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .exposures import AMPLIFIERS
from .levels import read_levels
from .robust import NORMAL_MAD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model.product import Product

    Vector = NDArray[np.float64]

__all__ = ["Shift", "alarm_records", "find_shifts"]

_LIMIT: Final = 4.6
"""Significance of a change at which an alarm is raised."""
_SHORTEST: Final = 2
"""Exposures at a new level, at least: a single one may be off for another reason."""
_LATER: Final = 5
"""Exposures after an alarm that make onset and size more exact."""
_CLIPPED: Final = 3.0
_ROUNDS: Final = 3
_FEWEST: Final = 5
"""Exposures that make up a level."""
RED: Final = 5.0
"""Size of a shift, in standard deviations, from which its alarm is red; yellow below."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A change of level.

    Attributes
    ----------
    onset : int
        First exposure at the new level.
    raised : int
        Exposure at which the alarm was raised.
    size, sigma : float
        New level less old, and the noise of one exposure; in the unit of the values.
    """

    onset: int
    raised: int
    size: float
    sigma: float


def find_shifts(values: Vector, *, floor: float = 0.0) -> list[Shift]:
    """Find changes of the level of a series by CUSUM, as they would have been found exposure by exposure.

    After each exposure, the values since the last change are divided in two where their means differ most, in units of
    the error of the difference [1]_. Five further exposures make onset and size more exact. The noise is that of the
    differences between successive values of the series.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        In the order of time; NaN where there is none.
    floor : float, keyword-only
        Smallest noise of one exposure, in the unit of the values.

    Returns
    -------
    list of Shift
        In the order of time.

    References
    ----------
    .. [1] D. Siegmund, E. S. Venkatraman, Annals of Statistics 23 (1995) 255: CUSUM for a shift of unknown size.
    """
    there = np.flatnonzero(np.isfinite(values))
    if len(there) < _FEWEST + 2:
        return []
    known = values[there]
    sigma = max(_noise(np.diff(known)) / math.sqrt(2), floor)
    if sigma <= 0:
        return []
    found: list[Shift] = []
    start = 0
    while (shift := _first_shift(known[start:], sigma)) is not None:
        onset, raised, size = shift
        found.append(Shift(int(there[start + onset]), int(there[start + raised]), size, sigma))
        start += onset
    return found


def _first_shift(values: Vector, sigma: float) -> tuple[int, int, float] | None:
    """Give onset, alarm and size of the first shift."""
    sums = np.concatenate([[0.0], np.cumsum(values)])

    def split(n: int) -> tuple[int, float, float]:
        k = np.arange(_FEWEST, n - _SHORTEST + 1)
        size = (sums[n] - sums[k]) / (n - k) - sums[k] / k
        z = np.abs(size) * np.sqrt(k * (n - k) / n) / sigma
        best = int(z.argmax())
        return int(k[best]), float(size[best]), float(z[best])

    for n in range(_FEWEST + _SHORTEST, len(values) + 1):
        if split(n)[2] > _LIMIT:
            onset, size, _ = split(min(n + _LATER, len(values)))
            return onset, n - 1, size
    return None


def _noise(steps: Vector) -> float:
    """Give the standard deviation of differences, those beyond three of them left out."""
    kept = steps
    for _ in range(_ROUNDS):
        kept = steps[np.abs(steps) <= _CLIPPED * max(float(np.std(kept)), NORMAL_MAD * float(np.median(np.abs(steps))))]
    return float(np.sqrt(np.mean(kept**2)))


def alarm_records(product: Product, *, since: datetime | None = None) -> list[dict[str, Any]]:
    """List the changes of level of each amplifier.

    See `Levels` for what the level is.

    Parameters
    ----------
    product : Product
        Of a monitor.
    since : datetime, keyword-only, optional
        Only alarms raised then or later; aware.

    Returns
    -------
    list of dict
        ``level`` (yellow or red), ``detector, amplifier, stratum, onset, raised, urn, size, sigma, significance``, by
        the time of raising. The URN is that of the exposure that raised the alarm. Size and noise are in DN/s.
    """
    found = []
    for levels in read_levels(product):
        exposures = levels.exposures
        for amplifier in range(1, AMPLIFIERS + 1):
            for shift in find_shifts(levels.values[:, amplifier - 1]):
                significance = abs(shift.size) / shift.sigma
                found.append(
                    {
                        "level": "red" if significance >= RED else "yellow",
                        "detector": levels.stratum.detector,
                        "amplifier": amplifier,
                        "stratum": str(levels.stratum),
                        "onset": exposures[shift.onset]["time"],
                        "raised": exposures[shift.raised]["time"],
                        "urn": exposures[shift.raised]["urn"],
                        "size": shift.size,
                        "sigma": shift.sigma,
                        "significance": significance,
                    }
                )
    kept = [record for record in found if since is None or record["raised"] >= since]
    return sorted(kept, key=lambda record: (record["raised"], record["stratum"], record["amplifier"]))
