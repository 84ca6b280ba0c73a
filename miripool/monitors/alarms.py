"""Alarms: when the level of an amplifier changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .amplifiers import AMPLIFIERS
from .robust import NORMAL_MAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .levels import Levels

    Vector = NDArray[np.float64]

__all__ = ["LIMIT", "Shift", "alarm_records", "find_shifts", "noise_of"]

LIMIT: Final = 4.2
"""Significance of a change at which an alarm is raised. Of series of 60 exposures without a change 2 % raise one. Of
changes by 3 standard deviations after 30 exposures 3 % raise none within 5. A higher limit makes the first rarer and
the second more frequent."""
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


def find_shifts(values: Vector, *, floor: float = 0.0, limit: float = LIMIT) -> list[Shift]:
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
    limit : float, keyword-only
        Significance from which a difference is a change.

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
    sigma = max(noise_of(known), floor)
    if sigma <= 0:
        return []
    found: list[Shift] = []
    start = 0
    while (shift := _first_shift(known[start:], sigma, limit)) is not None:
        onset, raised, size = shift
        found.append(Shift(int(there[start + onset]), int(there[start + raised]), size, sigma))
        start += onset
    return found


def _first_shift(values: Vector, sigma: float, limit: float) -> tuple[int, int, float] | None:
    """Give onset, alarm and size of the first shift."""
    sums = np.concatenate([[0.0], np.cumsum(values)])

    def split(n: int) -> tuple[int, float, float]:
        k = np.arange(_FEWEST, n - _SHORTEST + 1)
        size = (sums[n] - sums[k]) / (n - k) - sums[k] / k
        z = np.abs(size) * np.sqrt(k * (n - k) / n) / sigma
        best = int(z.argmax())
        return int(k[best]), float(size[best]), float(z[best])

    for n in range(_FEWEST + _SHORTEST, len(values) + 1):
        if split(n)[2] > limit:
            onset, size, _ = split(min(n + _LATER, len(values)))
            return onset, n - 1, size
    return None


def noise_of(values: Vector) -> float:
    """Measure the noise of one exposure from the differences of successive values; those beyond 3 sigma are left out.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        In the order of time; NaN where there is none.

    Returns
    -------
    float
        Standard deviation of a value; 0 where there are fewer than two.
    """
    steps = np.diff(values[np.isfinite(values)])
    if not steps.size:
        return 0.0
    kept = steps
    for _ in range(_ROUNDS):
        kept = steps[np.abs(steps) <= _CLIPPED * max(float(np.std(kept)), NORMAL_MAD * float(np.median(np.abs(steps))))]
    return float(np.sqrt(np.mean(kept**2))) / math.sqrt(2)


def alarm_records(found_levels: Sequence[Levels]) -> list[dict[str, Any]]:
    """List the changes of level of each amplifier.

    See `Levels` for what the level is.

    Parameters
    ----------
    found_levels : sequence of Levels
        Of a monitor.

    Returns
    -------
    list of dict
        ``what`` (shift), ``level`` (yellow or red), ``detector, amplifier, stratum, onset, raised, end`` (None), ``urn,
        size, sigma, significance``. The URN is that of the exposure that raised the alarm. Size and noise are in DN/s.
    """
    found = []
    for levels in found_levels:
        exposures = levels.exposures
        for amplifier in range(1, AMPLIFIERS + 1):
            for shift in find_shifts(levels.values[:, amplifier - 1]):
                significance = abs(shift.size) / shift.sigma
                found.append(
                    {
                        "what": "shift",
                        "level": "red" if significance >= RED else "yellow",
                        "detector": levels.stratum.detector,
                        "amplifier": amplifier,
                        "stratum": str(levels.stratum),
                        "onset": exposures[shift.onset]["time"],
                        "raised": exposures[shift.raised]["time"],
                        "end": None,
                        "urn": exposures[shift.raised]["urn"],
                        "size": shift.size,
                        "sigma": shift.sigma,
                        "significance": significance,
                    }
                )
    return found
