"""Straight lines through the levels of amplifiers, which outliers do not pull away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .amplifiers import AMPLIFIERS
from .drift import theil_sen
from .levels import read_levels
from .robust import centre_and_sigma

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model.product import Product

    Vector = NDArray[np.float64]

__all__ = ["Line", "fit_robust_line", "trend_line_records"]

_CLIPPED: Final = 3.0
"""Standard deviations from the line beyond which a value is left out."""
_ROUNDS: Final = 20
_FEWEST: Final = 4
"""Values that a line and its scatter need."""


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line.

    Attributes
    ----------
    level : float
        Value in the middle of the times: the mean of first and last.
    slope, error : float
        Change per day, and its standard error.
    sigma : float
        Standard deviation of one value from the line.
    used : int
        Values that are not left out.
    """

    level: float
    slope: float
    error: float
    sigma: float
    used: int


def fit_robust_line(times: Vector, values: Vector) -> Line | None:
    """Fit a straight line to a series some of whose values are off.

    The median of the slopes between all pairs of values [1]_ gives a first line. Values more than three robust standard
    deviations away are left out, and the line is made again, until no value changes sides. The line by least squares
    through what is left is the result.

    Parameters
    ----------
    times : ndarray of float64, shape (n,)
        Days.
    values : ndarray of float64, shape (n,)
        NaN where there is none.

    Returns
    -------
    Line or None
        None if fewer than four values are known, or all are of one time.

    References
    ----------
    .. [1] P. K. Sen, Journal of the American Statistical Association 63 (1968) 1379.
           The first line stands as long as less than 29 % of the values are off.
    """
    known = np.isfinite(values)
    t, v = times[known], values[known]
    if len(t) < _FEWEST or np.ptp(t) == 0:
        return None
    kept = np.ones(len(t), bool)
    for _ in range(_ROUNDS):
        residuals = v - theil_sen(t[kept], v[kept][:, None])[0] * t
        centre = np.median(residuals[kept])
        sigma = centre_and_sigma(residuals)[1]
        now = np.abs(residuals - centre) <= _CLIPPED * sigma
        if np.array_equal(now, kept) or np.count_nonzero(now) < _FEWEST or np.ptp(t[now]) == 0:
            break
        kept = now
    t0 = (times[0] + times[-1]) / 2
    x, y = t[kept], v[kept]
    apart = x - x.mean()
    spread = float((apart**2).sum())
    slope = float((apart * y).sum()) / spread
    scatter = y - y.mean() - slope * apart
    sigma = math.sqrt(float((scatter**2).sum()) / (len(x) - 2))
    level = float(y.mean()) + slope * float(t0 - x.mean())
    return Line(level, slope, sigma / math.sqrt(spread), sigma, len(x))


def trend_line_records(product: Product, *, amplifier: int | None = None) -> list[dict[str, Any]]:
    """Fit a line to the level of each amplifier.

    Parameters
    ----------
    product : Product
        Of a monitor.
    amplifier : int, keyword-only, optional
        Only this one, from 1.

    Returns
    -------
    list of dict
        ``detector, amplifier, stratum, begin, end, exposures, used, level, slope, error, significance, sigma``: times
        of the first and the last exposure (UTC), their number and that of the exposures that are not left out as
        outliers; the level in the middle of the time (DN/s), its change (DN/s per day) with its standard error, and the
        scatter of one exposure (DN/s). Strata with fewer than four exposures have no row.
    """
    found = []
    for levels in read_levels(product):
        times = np.array([exposure["mjd"] for exposure in levels.exposures])
        for number in range(1, AMPLIFIERS + 1):
            line = fit_robust_line(times, levels.values[:, number - 1])
            if line is None or amplifier not in (None, number):
                continue
            found.append(
                {
                    "detector": levels.stratum.detector,
                    "amplifier": number,
                    "stratum": str(levels.stratum),
                    "begin": levels.exposures[0]["time"],
                    "end": levels.exposures[-1]["time"],
                    "exposures": len(levels.exposures),
                    "used": line.used,
                    "level": line.level,
                    "slope": line.slope,
                    "error": line.error,
                    "significance": abs(line.slope) / line.error if line.error > 0 else None,
                    "sigma": line.sigma,
                }
            )
    return found
