"""Persistence: how the rates of pixels decay to their level after they were saturated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import InvalidInput
from ..formats.level1b import to_mjd
from ..model.timing import timing_of
from ..query.pixelwhere import FLAGS
from .exposures import summary_of
from .robust import MEDIAN_ERROR, median
from .strata import corner_of
from .views import read_views

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model.product import Product
    from .views import StratumView

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]

__all__ = ["Decays", "fit_decays", "persistence_records", "saturated_pixels"]

_TRIED: Final = 160
"""Time constants that are tried, evenly in their logarithm."""
_SIGNIFICANT: Final = 5.0
"""Amplitude of a pixel, in its errors, from which its own time constant is given."""
_AXES: Final = 2
_FEWEST: Final = 4
"""Exposures after the saturation."""
_BEFORE: Final = 3
"""Exposures before it that give the level of a pixel; with fewer, the level is fitted."""
_HOURS: Final = 24.0


@dataclass(frozen=True, slots=True, eq=False)
class Decays:
    """Exponential decays of pixels: ``rate = level + amplitude * exp(-time / constant)``.

    Attributes
    ----------
    constant, constant_error : float
        Of all pixels together, in the unit of the times; NaN where no decay is significant.
    amplitude, error : ndarray of float64, shape (npixels,)
        At time 0 with that constant, in the unit of the rates.
    level : ndarray of float64, shape (npixels,)
        Of each pixel.
    constants, constant_errors : ndarray of float64, shape (npixels,)
        Of each pixel alone; NaN where its amplitude is less than five times its error.
    """

    constant: float
    constant_error: float
    amplitude: Vector
    error: Vector
    level: Vector
    constants: Vector
    constant_errors: Vector


def fit_decays(
    times: Vector, rates: Matrix, errors: Matrix, level: Vector | None, level_error: Vector | None
) -> Decays:
    """Fit decays to the rates of pixels, one time constant for all, and one for each.

    Parameters
    ----------
    times : ndarray of float64, shape (n,)
        Since the saturation; positive.
    rates, errors : ndarray of float64, shape (n, npixels)
        NaN where there is none.
    level, level_error : ndarray of float64, shape (npixels,), or None
        Level before the saturation; it is fitted if it is not given.

    Returns
    -------
    Decays
        The decays.
    """
    steps = np.diff(np.concatenate([[0.0], times]))
    shortest, longest = max(float(steps.min()), float(times[-1]) / 1e3) / 3, 3 * float(times[-1])
    tried = np.geomspace(shortest, longest, _TRIED)
    there = np.isfinite(rates) & np.isfinite(errors) & (errors > 0)
    weight = np.where(there, 1 / np.where(there, errors, 1.0) ** 2, 0.0)
    values = np.where(there, rates, 0.0)
    if level is not None and level_error is not None:  # one further measurement of the level, long after
        known = np.isfinite(level) & (level_error > 0)
        weight = np.vstack([weight, np.where(known, 1 / np.where(known, level_error, 1.0) ** 2, 0.0)])
        values = np.vstack([values, np.where(known, level, 0.0)])
        shapes = [np.append(np.exp(-times / constant), 0.0) for constant in tried]
    else:
        shapes = [np.exp(-times / constant) for constant in tried]
    fits = [_fit_line(shape, values, weight) for shape in shapes]
    misfit = np.array([fit[3] for fit in fits])
    best, constant, spread = _minimum(tried, misfit.sum(axis=1))
    amplitude, error, base, _ = fits[best]
    better = _misfit_without(values, weight) - misfit[best]  # of each pixel; about 1 if there is no decay
    pixels = int(np.count_nonzero(np.isfinite(amplitude)))
    if better.sum() - pixels < _SIGNIFICANT * np.sqrt(2 * pixels) or better.sum() < _SIGNIFICANT**2:
        constant = spread = float("nan")
    own = np.full((2, rates.shape[1]), np.nan)
    for pixel in np.flatnonzero((np.abs(amplitude) > _SIGNIFICANT * error) & (better > _SIGNIFICANT**2)):
        own[:, pixel] = _minimum(tried, misfit[:, pixel])[1:]
    return Decays(constant, spread, amplitude, error, base, own[0], own[1])


def _misfit_without(values: Matrix, weight: Matrix) -> Vector:
    """Give the sum of squared pulls of each pixel from its mean."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weight * values).sum(axis=0) / weight.sum(axis=0)
    found: Vector = np.nan_to_num((weight * (values - mean) ** 2).sum(axis=0))
    return found


def _fit_line(shape: Vector, values: Matrix, weight: Matrix) -> tuple[Vector, Vector, Vector, Vector]:
    """Fit ``base + amplitude * shape``; give amplitude, its error, base and the sum of squared pulls."""
    s = weight.sum(axis=0)
    sx = (weight * shape[:, None]).sum(axis=0)
    sxx = (weight * shape[:, None] ** 2).sum(axis=0)
    sy = (weight * values).sum(axis=0)
    sxy = (weight * values * shape[:, None]).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        room = s * sxx - sx**2
        amplitude = (s * sxy - sx * sy) / room
        base = (sy - amplitude * sx) / s
        error = np.sqrt(s / room)
    misfit = (weight * (values - base - amplitude * shape[:, None]) ** 2).sum(axis=0)
    return amplitude, error, base, np.where(np.isfinite(misfit), misfit, 0.0)


def _minimum(tried: Vector, misfit: Vector) -> tuple[int, float, float]:
    """Give the best of the tried constants, refined by a parabola in the logarithm, and where the misfit is 1 more."""
    best = int(misfit.argmin())
    if not 0 < best < len(tried) - 1:
        return best, float(tried[best]), float("nan")
    before, here, after = misfit[best - 1 : best + 2]
    curvature = before - 2 * here + after
    step = float(np.log(tried[1] / tried[0]))
    if not curvature > 0:
        return best, float(tried[best]), float("nan")
    offset = 0.5 * (before - after) / curvature
    constant = float(tried[best] * np.exp(step * offset))
    return best, constant, constant * step * float(np.sqrt(2 / curvature))


def saturated_pixels(product: Product, view: StratumView) -> NDArray[np.bool_]:
    """Find the pixels of a stratum that were saturated in an exposure.

    Parameters
    ----------
    product : Product
        With DQ or GROUPDQ.
    view : StratumView
        The stratum.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        Of the monitored part.

    Raises
    ------
    InvalidInput
        If the exposure has no flags, or does not cover the part.
    """
    name = next((name for name in ("DQ", "GROUPDQ") if name in product), None)
    if name is None:
        raise InvalidInput("the exposure has neither DQ nor GROUPDQ, so it does not say which pixels were saturated")
    stratum = view.stratum
    row, column = corner_of(product.meta, stratum)
    key = (..., slice(row, row + stratum.rows), slice(column, column + stratum.columns))
    if len(product[name].shape) < _AXES or product[name].dtype.kind not in "ui":
        raise InvalidInput(f"the exposure's {name} has no flags of pixels")
    flags = np.asarray(product[name][key])
    if flags.shape[-2:] != (stratum.rows, stratum.columns):
        raise InvalidInput("the exposure does not cover the pixels of the monitor")
    bits = np.bitwise_or.reduce(flags.reshape(-1, *flags.shape[-2:]), axis=0)
    found: NDArray[np.bool_] = (bits & FLAGS["SATURATED"]) != 0
    return found


def persistence_records(product: Product, exposure: Product, start_mjd: float) -> list[dict[str, Any]]:
    """Follow the pixels that were saturated in an exposure through the later exposures of a monitor.

    Parameters
    ----------
    product : Product
        Of the monitor.
    exposure : Product
        With the saturated pixels: a Ramp, RateInts or Rate.
    start_mjd : float
        Its start, MJD in UTC; its end counts where the header says it.

    Returns
    -------
    list of dict
        By stratum: first all pixels together (``x`` and ``y`` are None; the amplitude is their median), then each
        pixel: ``detector, x, y, pixels, level, amplitude, error, significance, relative`` (amplitude over level),
        ``hours, hours_error`` (time constant; None where it can't be told) and ``stratum``. Level, amplitude and error
        are in DN/s, the amplitude is that at the end of the exposure.

    Raises
    ------
    InvalidInput
        If the monitor has no exposures, none of its pixels was saturated, or fewer than four exposures followed.
    """
    ended = timing_of(exposure).ended
    begin = ended if np.isfinite(ended) and ended >= start_mjd else start_mjd
    detector = exposure.meta["DETECTOR"].value if "DETECTOR" in exposure.meta else None
    found: list[dict[str, Any]] = []
    problems = []
    for view in read_views(product):
        if view.stratum.detector != detector:
            continue
        chosen = saturated_pixels(exposure, view)
        mjd = np.array([to_mjd(time) for time in view.times])
        later = np.flatnonzero(mjd > begin)
        if not chosen.any() or len(later) < _FEWEST:
            word = (
                "no pixel was saturated"
                if not chosen.any()
                else f"only {len(later)} later exposures, but {_FEWEST} are needed"
            )
            problems.append(f"in stratum {view.number} {word}")
            continue
        rates, errors = _series(view, chosen)
        early = np.flatnonzero(mjd < start_mjd)
        known = len(early) >= _BEFORE
        level = np.asarray(median(rates[early]), np.float64) if known else None
        level_error = None
        if known:
            usable = np.maximum(np.count_nonzero(np.isfinite(rates[early]), axis=0), 1)
            level_error = MEDIAN_ERROR / np.sqrt(usable) * median(errors[early])
        fit = fit_decays(_HOURS * (mjd[later] - begin), rates[later], errors[later], level, level_error)
        found += _records(view, chosen, fit)
    if not found:
        why = "; ".join(problems) or "it has no exposures of this detector"
        raise InvalidInput(f"monitor {product.name!r} shows no persistence of this exposure: {why}")
    return found


def _series(view: StratumView, chosen: NDArray[np.bool_]) -> tuple[Matrix, Matrix]:
    """Read rates and errors of the chosen pixels, exposure by exposure."""
    rates, errors = [], []
    for name, number in view.parts:
        summary = summary_of(np.asarray(view.product[name][number]))
        rates.append(summary.rate[chosen].astype(np.float64))
        errors.append(summary.error[chosen].astype(np.float64))
    return np.stack(rates), np.stack(errors)


def _records(view: StratumView, chosen: NDArray[np.bool_], fit: Decays) -> list[dict[str, Any]]:
    stratum = view.stratum
    rows, columns = np.nonzero(chosen)
    amplitude, error, level = (float(median(values)) for values in (fit.amplitude, fit.error, fit.level))
    error = float(error * MEDIAN_ERROR / np.sqrt(len(rows)))
    of_all = (None, None, len(rows), level, amplitude, error, fit.constant, fit.constant_error)
    each = zip(
        (stratum.x + columns).tolist(),
        (stratum.y + rows).tolist(),
        [1] * len(rows),
        fit.level.tolist(),
        fit.amplitude.tolist(),
        fit.error.tolist(),
        fit.constants.tolist(),
        fit.constant_errors.tolist(),
        strict=True,
    )
    return [_record(stratum.detector, str(stratum), *row) for row in (of_all, *each)]


def _record(
    detector: str,
    stratum: str,
    x: int | None,
    y: int | None,
    pixels: int,
    level: float,
    amplitude: float,
    error: float,
    hours: float,
    hours_error: float,
) -> dict[str, Any]:
    def known(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return {
        "detector": detector,
        "x": x,
        "y": y,
        "pixels": pixels,
        "level": known(level),
        "amplitude": known(amplitude),
        "error": known(error),
        "significance": known(abs(amplitude) / error) if error > 0 else None,
        "relative": known(amplitude / level) if abs(level) > _SIGNIFICANT * error else None,
        "hours": known(hours),
        "hours_error": known(hours_error),
        "stratum": stratum,
    }
