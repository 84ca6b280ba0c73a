"""A simple calibration of simulated exposures, from counts to slopes, done in NumPy.

It is not the JWST pipeline and does not stand in for it: it knows the detector's own maps, and takes the steps in the
pipeline's order without its refinements (no RSCD, interpixel capacitance, reference pixels, showers, or flags around
jumps). What it shares with the pipeline is the form of the products and the meaning of their flags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from miripool.errors import InvalidInput
from miripool.simulate.flags import DO_NOT_USE, JUMP_DET, SATURATED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from miripool.simulate.detector import Detector
    from miripool.simulate.readout import Readout

    Map = NDArray[np.float32]

__all__ = [
    "Calibration",
    "RampArrays",
    "RateArrays",
    "RateIntsArrays",
    "average_rates",
    "calibrate_ramp",
    "fit_slopes",
    "slope_variances",
]

_ROWS = 32
"""Rows whose differences are sorted together: a block stays below 20 MB for 100 groups of the FULL array."""

_FEWEST_GROUPS = 4
"""With fewer groups the first and the last are kept: a slope needs two."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration assumes about the detector.

    Attributes
    ----------
    label : str
        For people, e.g. ``"v1"``.
    gain : float
        Electrons per DN. It sets the photon noise, and so ERR and, slightly, the slopes through the weights of the
        fit. It does not affect the ramp.
    dark_scale : float
        Factor of the detector's true dark current; 0 leaves the dark step out.
    linearity_scale : float
        Factor of the true quadratic and cubic coefficients of the linearity correction.
    jump_threshold : float
        Standard deviations beyond which a difference of groups is a jump.
    crds_context : str
        For CRDS_CTX.
    cal_ver : str or None
        For CAL_VER; None: ``simulated <label>``.
    """

    label: str = "v1"
    gain: float = 5.5
    dark_scale: float = 1.0
    linearity_scale: float = 1.0
    jump_threshold: float = 5.0
    crds_context: str = "jwst_9001.pmap"
    cal_ver: str | None = None

    def __post_init__(self) -> None:
        for what in ("gain", "jump_threshold"):
            if not 0 < getattr(self, what) < float("inf"):
                msg = f"{what} is {getattr(self, what)}; it must be a positive number."
                raise InvalidInput(msg)
        for what in ("dark_scale", "linearity_scale"):
            if not np.isfinite(getattr(self, what)):
                msg = f"{what} is {getattr(self, what)}; it must be a finite number."
                raise InvalidInput(msg)
        for what in ("label", "crds_context", "cal_ver"):
            text = getattr(self, what) or ""
            if not (text.isascii() and text.isprintable()):
                msg = f"{what} is {text!r}; a FITS header takes printable ASCII characters only."
                raise InvalidInput(msg)


@dataclass(frozen=True, slots=True, eq=False)
class RampArrays:
    """Calibrated groups.

    Attributes
    ----------
    sci : ndarray of float32, shape (nints, ngroups, ny, nx)
        Linear DN; the bias is still in it, as in JWST's MIRI ramps.
    pixeldq : ndarray of uint32, shape (ny, nx)
        The detector's mask.
    groupdq : ndarray of uint8, shape (nints, ngroups, ny, nx)
        DO_NOT_USE in the first and the last group (of four or more) and in all groups of pixels not to be used;
        SATURATED from the first saturated group on; JUMP_DET where a jump lies between the group before and this one.
    refout : ndarray of float32, shape (nints, ngroups, ny, nx // 4)
        Reference output, raw DN.
    """

    sci: Map
    pixeldq: NDArray[np.uint32]
    groupdq: NDArray[np.uint8]
    refout: Map


@dataclass(frozen=True, slots=True, eq=False)
class RateIntsArrays:
    """Slopes of each integration, all of shape (nints, ny, nx).

    Attributes
    ----------
    sci : ndarray of float32
        DN/s; NaN where `dq` has DO_NOT_USE.
    err : ndarray of float32
        Standard deviation, DN/s: the root of the sum of both variances; 0 where `sci` is NaN, as in JWST's files.
    dq : ndarray of uint32
        The pixel's flags, SATURATED and JUMP_DET if any group has them, DO_NOT_USE where no slope can be told.
    var_poisson, var_rnoise : ndarray of float32
        Variance by photons and by read noise, (DN/s)**2; 0 where `sci` is NaN.
    """

    sci: Map
    err: Map
    dq: NDArray[np.uint32]
    var_poisson: Map
    var_rnoise: Map


@dataclass(frozen=True, slots=True, eq=False)
class RateArrays(RateIntsArrays):
    """Mean slopes of an exposure: as in `RateInts`, with shape (ny, nx)."""


def calibrate_ramp(exposure: Readout, calibration: Calibration) -> RampArrays:
    """Correct an exposure for the reset anomaly, non-linearity and dark current, and flag its groups.

    The noise that a jump is held against follows from the detector's true gain, not from the calibration's: two
    calibrations that differ in gain alone give the same ramp.

    Parameters
    ----------
    exposure : Readout
        Raw DN.
    calibration : Calibration
        What to believe of the detector.

    Returns
    -------
    RampArrays
        Linear DN and flags.
    """
    detector = exposure.detector
    sci = np.empty(exposure.sci.shape, np.float32)
    groupdq = np.zeros(exposure.sci.shape, np.uint8)
    groupdq[:, :, (detector.mask & DO_NOT_USE) != 0] = DO_NOT_USE
    if exposure.ngroups >= _FEWEST_GROUPS:
        groupdq[:, [0, -1]] |= DO_NOT_USE
    reset = detector.reset_anomaly(exposure.ngroups)
    dark = np.float32(calibration.dark_scale * exposure.group_time) * detector.dark_current
    for i in range(exposure.nints):
        saturated = np.zeros(detector.mask.shape, bool)
        for g in range(exposure.ngroups):
            raw = exposure.sci[i, g].astype(np.float32)
            saturated |= raw >= detector.saturation
            groupdq[i, g][saturated] |= SATURATED
            sci[i, g] = detector.linearise(raw - reset[g], scale=calibration.linearity_scale) - dark * (g + 1)
    _flag_jumps(sci, groupdq, detector, calibration.jump_threshold)
    return RampArrays(sci, detector.mask, groupdq, exposure.refout.astype(np.float32))


def _flag_jumps(sci: Map, groupdq: NDArray[np.uint8], detector: Detector, threshold: float) -> None:
    usable = (groupdq & (DO_NOT_USE | SATURATED)) == 0
    for first in range(0, sci.shape[2], _ROWS):
        rows = slice(first, first + _ROWS)
        differences = np.diff(sci[:, :, rows], axis=1)
        usable_pairs = usable[:, 1:, rows] & usable[:, :-1, rows]
        middle = _median_where(differences, usable_pairs)
        photons = np.maximum(middle, 0) / np.float32(detector.gain)
        sigma = np.sqrt(2 * detector.read_noise[rows] ** 2 + photons)
        jumps = usable_pairs & (np.abs(differences - middle) > threshold * sigma)
        groupdq[:, 1:, rows] |= jumps * np.uint8(JUMP_DET)


def _median_where(values: Map, usable: NDArray[np.bool_]) -> Map:
    """Give the lower median over the first two axes of what is usable; 0 where nothing is."""
    ny, nx = values.shape[-2:]
    # A missing value sorts to the end; numpy.nanmedian takes many times as long.
    line = np.where(usable, values, np.float32(np.inf)).reshape(-1, ny, nx).transpose(1, 2, 0).copy()
    n = usable.sum(axis=(0, 1))
    if line.shape[2] == 0:
        return np.zeros((ny, nx), np.float32)
    line.sort(axis=2)
    middle = np.take_along_axis(line, np.maximum(n - 1, 0)[..., None] // 2, axis=2)[..., 0]
    return np.where(n > 0, middle, np.float32(0))


def fit_slopes(ramp: RampArrays, *, read_noise: Map, gain: float, group_time: float) -> RateIntsArrays:
    """Fit a slope to each integration by generalised least squares.

    The unknown is the slope; the data are differences of neighbouring groups, with the covariance that read noise
    (shared by neighbours) and photons (proportional to the slope) give them. Weights are then parabolic along the ramp
    for faint pixels and uniform for bright ones. Differences across a jump, or of flagged groups, are left out.

    Parameters
    ----------
    ramp : RampArrays
        Linear DN and flags.
    read_noise : ndarray of float32, shape (ny, nx)
        Standard deviation of one reading, DN.
    gain : float
        Electrons per DN.
    group_time : float
        Seconds.

    Returns
    -------
    RateIntsArrays
        DN/s.
    """
    shape = (ramp.sci.shape[0], *ramp.pixeldq.shape)
    sci, var_poisson, var_rnoise = (np.empty(shape, np.float32) for _ in range(3))
    dq = np.empty(shape, np.uint32)
    for i, (groups, flags) in enumerate(zip(ramp.sci, ramp.groupdq, strict=True)):
        usable = (flags & (DO_NOT_USE | SATURATED)) == 0
        pairs = usable[1:] & usable[:-1] & ((flags[1:] & JUMP_DET) == 0)
        sci[i], var_poisson[i], var_rnoise[i] = _fit_integration(np.diff(groups, axis=0), pairs, read_noise, gain)
        found = np.bitwise_or.reduce(flags, axis=0) & (SATURATED | JUMP_DET)
        dq[i] = ramp.pixeldq | found | np.where(pairs.any(axis=0), 0, DO_NOT_USE).astype(np.uint32)
    sci /= np.float32(group_time)
    var_poisson /= np.float32(group_time**2)
    var_rnoise /= np.float32(group_time**2)
    sci[(dq & DO_NOT_USE) != 0] = np.nan
    return RateIntsArrays(sci, np.sqrt(var_poisson + var_rnoise), dq, var_poisson, var_rnoise)


def _fit_integration(differences: Map, pairs: NDArray[np.bool_], read_noise: Map, gain: float) -> tuple[Map, Map, Map]:
    """Give slope and both variances per group, of one integration; 0 where there is no pair of usable groups."""
    readings = read_noise**2
    n = pairs.sum(axis=0)
    some = n > 0
    mean = np.sum(differences, axis=0, where=pairs) / np.maximum(n, 1).astype(np.float32)
    photons = np.maximum(mean, 0) / np.float32(gain)
    weights = _solve_weights(pairs, readings, photons)
    scale = np.divide(1, weights.sum(axis=0), where=some, out=np.zeros_like(mean))
    weights *= scale
    squares = (weights**2).sum(axis=0)
    # Outside the pairs weights are 0, so that the product vanishes wherever neighbours are not coupled.
    coupled = (weights[1:] * weights[:-1]).sum(axis=0)
    return (weights * differences).sum(axis=0), photons * squares, 2 * readings * np.maximum(squares - coupled, 0)


def _solve_weights(pairs: NDArray[np.bool_], readings: Map, photons: Map) -> Map:
    """Solve C w = 1 for every pixel, C the tridiagonal covariance of the differences, by Thomas's algorithm.

    C has ``2 readings + photons`` on its diagonal and ``-readings`` beside it where both differences are used.
    """
    weights = np.zeros(pairs.shape, np.float32)
    ratios = np.zeros(pairs.shape, np.float32)
    diagonal = 2 * readings + photons
    for k, pair in enumerate(pairs):
        couples = pair & pairs[k - 1] if k else np.zeros_like(pair)
        before_weight, before_ratio = (weights[k - 1], ratios[k - 1]) if k else (weights[k], ratios[k])
        beside = np.where(couples, -readings, np.float32(0))
        pivot = diagonal - beside * before_ratio
        weights[k] = np.where(pair, (1 - beside * before_weight) / pivot, np.float32(0))
        if k + 1 < len(pairs):
            ratios[k] = np.where(pair & pairs[k + 1], -readings / pivot, np.float32(0))
    for k in range(len(pairs) - 2, -1, -1):
        weights[k] -= ratios[k] * weights[k + 1]
    return weights


def slope_variances(rates: Map, *, ngroups: int, read_noise: Map, gain: float, group_time: float) -> tuple[Map, Map]:
    """Give the variances that the JWST pipeline states for the slope of a whole ramp, without jumps.

    Of four or more groups the first and the last are left out, as `calibrate_ramp` does. With n groups left, t seconds
    between them and readings of noise R, the variance by read noise is 12 R**2 / ((n**3 - n) t**2), and the variance by
    photons is rate / (gain t (n - 1)). Source: documentation of the pipeline's step ramp_fitting, "Description" and
    "Appendix", for one segment.

    Parameters
    ----------
    rates : ndarray of float32, shape (ny, nx)
        DN/s. A negative rate counts as 0.
    ngroups : int
        Groups of the ramp, two or more.
    read_noise : ndarray of float32, shape (ny, nx)
        Standard deviation of one reading, DN.
    gain : float
        Electrons per DN.
    group_time : float
        Seconds.

    Returns
    -------
    var_poisson, var_rnoise : ndarray of float32, shape (ny, nx)
        (DN/s)**2.

    Raises
    ------
    InvalidInput
        If there is one group only.
    """
    if ngroups < 2:
        msg = f"ngroups is {ngroups}; a slope takes two groups or more."
        raise InvalidInput(msg)
    n = ngroups - 2 if ngroups >= _FEWEST_GROUPS else ngroups
    var_poisson: Map = np.maximum(rates, 0) * np.float32(1 / (gain * group_time * (n - 1)))
    return var_poisson, np.float32(12 / ((n**3 - n) * group_time**2)) * read_noise**2


def average_rates(rates: RateIntsArrays) -> RateArrays:
    """Average the slopes of all integrations.

    Each is weighted by the inverse of its variance by read noise, which tells how many groups it rests on and, unlike
    the photons', does not favour the integrations that happen to be faint.

    Parameters
    ----------
    rates : RateIntsArrays
        Shape (nints, ny, nx), DN/s.

    Returns
    -------
    RateArrays
        Shape (ny, nx), DN/s. DQ has every flag of any integration, DO_NOT_USE only where no integration is usable.
    """
    usable = (rates.dq & DO_NOT_USE) == 0
    some = usable.any(axis=0)
    weights = np.divide(1, rates.var_rnoise, where=usable, out=np.zeros_like(rates.sci))
    weights *= np.divide(1, weights.sum(axis=0), where=some, out=np.zeros_like(rates.sci[0]))
    sci = np.sum(weights * rates.sci, axis=0, where=usable)
    sci[~some] = np.nan
    var_poisson, var_rnoise = ((weights**2 * v).sum(axis=0) for v in (rates.var_poisson, rates.var_rnoise))
    flags = np.bitwise_or.reduce(rates.dq & ~np.uint32(DO_NOT_USE), axis=0)
    dq = flags | np.where(some, 0, DO_NOT_USE).astype(np.uint32)
    return RateArrays(sci, np.sqrt(var_poisson + var_rnoise), dq, var_poisson, var_rnoise)
