"""From values to shades: limits that suit a frame, and the scale between them, in the same words as the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import InvalidInput
from .blocks import BOUND, bounded, sampled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.colors import Normalize
    from numpy.typing import NDArray

__all__ = [
    "LIMITS",
    "SCALES",
    "check_limits",
    "check_scale",
    "extremes",
    "limits_of",
    "limits_within",
    "scaled",
    "symmetric_limits",
]

SCALES: Final = ("linear", "log", "asinh")
"""Names of scales."""

LIMITS: Final = ("zscale", "minmax", "p99", "p99.5", "p99.9")
"""Names of rules for limits; ``p99`` holds the central 99 percent of the values."""

_LOG: Final = 1000.0
"""Exponent of the log scale: DS9 uses log(1000 t + 1) / log(1001), t from 0 to 1 between the limits."""
_ASINH: Final = 10.0
"""Softening of the asinh scale: DS9 uses asinh(10 t) / 3."""

_SHADES: Final = 256
"""Numbers that there must be between limits."""
_LEAST: Final = 1e-100
"""Distance of limits at least: matplotlib divides by its square."""


def limits_of(values: NDArray[Any], rule: str | Sequence[float] = "zscale") -> tuple[float, float]:
    """Choose the limits of a frame.

    Parameters
    ----------
    values : ndarray of float
        Any shape. NaN and infinite values are left out. The rules but ``minmax`` look at an even sample of four million
        values where there are more.
    rule : str or pair of float
        One of `LIMITS`, or the limits themselves.

    Returns
    -------
    low, high : float
        Finite, `low` < `high`. Around the value where there is only one; 0 and 1 without any.

    Raises
    ------
    InvalidInput
        If there is no such rule, or colours can't be spread between the limits.
    """
    return limits_within(sampled(values), extremes(values), rule)


def limits_within(
    some: NDArray[Any], ends: tuple[float, float], rule: str | Sequence[float] = "zscale"
) -> tuple[float, float]:
    """Choose limits by a sample of values.

    Parameters
    ----------
    some : ndarray of float
        The sample, of any shape. NaN and infinite values are left out.
    ends : tuple of float
        The lowest and the highest of all values, as `extremes` gives them.
    rule : str or pair of float
        As for `limits_of`.

    Returns
    -------
    low, high : float
        As `limits_of` gives them.

    Raises
    ------
    InvalidInput
        As for `limits_of`.
    """
    check_limits(rule)
    if not isinstance(rule, str):
        return float(rule[0]), float(rule[1])
    low, high = (max(-BOUND, min(end, BOUND)) for end in ends)
    if np.isnan(ends).any():
        return 0.0, 1.0
    known = bounded(some)
    known = known[np.isfinite(known)]
    if rule == "minmax" or not known.size:
        found = low, high
    elif rule == "zscale":
        found = _zscale(known)
    else:
        out = (100 - float(rule[1:])) / 2
        found = float(np.percentile(known, out)), float(np.percentile(known, 100 - out))
    low, high = found if found[0] < found[1] else (low, high)  # in a map of states most pixels have one value
    if _are_apart(low, high):
        return low, high
    around = abs(low) * 0.01
    around = around if around > _LEAST else 0.5
    return low - around, high + around


def check_limits(rule: str | Sequence[float]) -> None:
    """Refuse limits between which no colours can be spread, before values are read.

    Parameters
    ----------
    rule : str or pair of float
        As for `limits_of`.

    Raises
    ------
    InvalidInput
        As for `limits_of`.
    """
    if not isinstance(rule, str):
        _check_given(rule)
    elif rule not in LIMITS:
        raise InvalidInput(f"there are no limits {rule!r}; choose one of {', '.join(LIMITS)}, or give two numbers")


def extremes(values: NDArray[Any]) -> tuple[float, float]:
    """Give the lowest and the highest of values.

    Parameters
    ----------
    values : ndarray of float
        Any shape. NaN and infinite values are left out.

    Returns
    -------
    low, high : float
        Both NaN where there is none.
    """
    known = np.isfinite(values)
    if not known.any():
        return np.nan, np.nan
    low = float(np.min(values, where=known, initial=np.inf))
    high = float(np.max(values, where=known, initial=-np.inf))
    return low, high


def _are_apart(low: float, high: float) -> bool:
    return high - low > max(_LEAST, _SHADES * float(np.spacing(max(abs(low), abs(high)))))


def _check_given(rule: Sequence[float]) -> None:
    limits = list(map(float, rule))
    if len(limits) != 2 or not np.isfinite(limits).all():
        raise InvalidInput(f"limits are two finite numbers, e.g. (0, 500), not {tuple(rule)}")
    if limits[0] >= limits[1]:
        raise InvalidInput(f"limits {tuple(rule)}: the first number must be below the second, e.g. (0, 500)")
    if max(map(abs, limits)) > BOUND:
        raise InvalidInput(f"limits lie between -{BOUND:g} and {BOUND:g}; {tuple(rule)} are too large to be drawn")
    if not _are_apart(*limits):
        raise InvalidInput(
            f"limits {tuple(rule)} are too close to each other: there is no room for colours between them"
        )


def _zscale(known: NDArray[np.float64]) -> tuple[float, float]:
    from astropy.visualization import ZScaleInterval

    low, high = ZScaleInterval().get_limits(known)
    return float(low), float(high)


def symmetric_limits(some: NDArray[Any], ends: tuple[float, float]) -> tuple[float, float]:
    """Choose limits for a difference: as far above 0 as below.

    Parameters
    ----------
    some, ends : ndarray of float, tuple of float
        As for `limits_within`.

    Returns
    -------
    low, high : float
        They hold the central 99.5 percent of the values, or all where those are 0; -1 and 1 where all are 0.
    """
    most = max(map(abs, limits_within(some, ends, "p99.5"))) if ends[0] < 0 or ends[1] > 0 else 1.0
    return -most, most


def check_scale(scale: str) -> None:
    """Refuse a scale that there is not.

    Parameters
    ----------
    scale : str
        A name.

    Raises
    ------
    InvalidInput
        If it is none of `SCALES`.
    """
    if scale not in SCALES:
        raise InvalidInput(f"there is no scale {scale!r}; choose one of {', '.join(SCALES)}")


def scaled(scale: str, low: float, high: float) -> Normalize:
    """Give what turns values into places on a colour map.

    Parameters
    ----------
    scale : str
        One of `SCALES`.
    low, high : float
        The limits.

    Returns
    -------
    matplotlib.colors.Normalize
        From 0 at the low limit to 1 at the high one.

    Raises
    ------
    InvalidInput
        If there is no such scale.
    """
    from matplotlib.colors import FuncNorm, Normalize

    check_scale(scale)
    if scale == "linear":
        return Normalize(low, high)
    width = high - low

    def there(values: Any) -> Any:
        place = (np.asarray(values, np.float64) - low) / width
        return np.sign(place) * np.log1p(_LOG * np.abs(place)) if scale == "log" else np.arcsinh(_ASINH * place)

    def back(places: Any) -> Any:
        curved = np.sign(places) * np.expm1(np.abs(places)) / _LOG if scale == "log" else np.sinh(places) / _ASINH
        return low + width * curved

    return FuncNorm((there, back), low, high)
