"""Reading ramps for a monitor: a slope for each integration, and how much the ramps of a pixel bend."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import FormatError
from ..query.pixelwhere import FLAGS
from .groupslopes import fit_lines
from .robust import NORMAL_MAD, median
from .shapes import TELLING_ROWS, check_shapes, group_time, used_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model.product import Product

    Matrix = NDArray[np.float64]

__all__ = ["RampSlopes", "read_ramps"]

_FEWEST: Final = 6
"""Usable groups of an integration, for two halves of three."""
_MANY: Final = 2
"""Integrations, beyond which the first is left out of the bend."""
_BLOCK_BYTES: Final = 1 << 25
"""Of ramps that are fitted at once."""


@dataclass(frozen=True, slots=True, eq=False)
class RampSlopes:
    """The ramps of an exposure.

    Attributes
    ----------
    slopes, errors : ndarray of float64, shape (nints, ny, nx)
        By integration, DN/s; NaN where fewer than two groups are usable.
    bend, bend_error : ndarray of float64, shape (ny, nx)
        Slope of the first half of the groups less that of the second, mean of the integrations, DN/s. The first
        integration is left out where there are three or more: it settles.
    """

    slopes: Matrix
    errors: Matrix
    bend: Matrix
    bend_error: Matrix


def read_ramps(product: Product, place: tuple[slice, slice]) -> RampSlopes:
    """Fit a line to each ramp, and to each half of it. The noise of a pixel is that of its successive differences.

    Parameters
    ----------
    product : Product
        Ramp, with SCI of shape (nints, ngroups, ny, nx) in DN, and GROUPDQ. Groups flagged DO_NOT_USE or SATURATED are
        left out; lines may jump where a jump is flagged.
    place : tuple of slice
        Rows and columns.

    Returns
    -------
    RampSlopes
        Slopes and bends.

    Raises
    ------
    FormatError
        If the header does not say how much time lies between the groups, or too few groups are usable.
    """
    seconds = group_time(product.meta)
    check_shapes(product, {"GROUPDQ": product["SCI"].shape})
    usable = _usable_groups(product, place)
    if len(usable) < _FEWEST:
        raise FormatError(f"{len(usable)} groups of its ramps are usable, and a monitor needs {_FEWEST}")
    nints, columns = product["SCI"].shape[0], place[1].stop - place[1].start
    each = max(1, _BLOCK_BYTES // (8 * nints * len(usable) * columns))
    groups = slice(int(usable[0]), int(usable[-1]) + 1)
    parts = [
        _fit(product, groups, (slice(start, min(start + each, place[0].stop)), place[1]), seconds)
        for start in range(place[0].start, place[0].stop, each)
    ]
    whole = (np.concatenate([getattr(part, field.name) for part in parts], axis=-2) for field in fields(RampSlopes))
    return RampSlopes(*whole)


def _usable_groups(product: Product, place: tuple[slice, slice]) -> NDArray[np.intp]:
    """Give the groups, from 0, that the pipeline uses: the first rows of pixels tell it."""
    if "GROUPDQ" not in product:
        return np.arange(product["SCI"].shape[1])
    rows = slice(place[0].start, min(place[0].start + TELLING_ROWS, place[0].stop))
    key: Any = (slice(None), slice(None), rows, place[1])
    return used_groups(product["GROUPDQ"][key])


def _fit(product: Product, groups: slice, place: tuple[slice, slice], seconds: float) -> RampSlopes:
    key: Any = (slice(None), groups, *place)
    ramps = np.asarray(product["SCI"][key], np.float64)
    dq = np.asarray(product["GROUPDQ"][key], np.uint32) if "GROUPDQ" in product else np.zeros(ramps.shape, np.uint32)
    noise = _noise(ramps, dq)
    half = ramps.shape[1] // 2
    whole, early, late = (
        [fit_lines(ramp[part], flags[part]) for ramp, flags in zip(ramps, dq, strict=True)]
        for part in (slice(None), slice(half), slice(half, None))
    )
    slopes = np.stack([slope for slope, _, _ in whole]) / seconds
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.stack([noise / np.sqrt(sxx) for _, _, sxx in whole]) / seconds
        bends = np.stack([(a[0] - b[0]) / seconds for a, b in zip(early, late, strict=True)])
        variances = np.stack([noise**2 * (1 / a[2] + 1 / b[2]) / seconds**2 for a, b in zip(early, late, strict=True)])
    settled = slice(1, None) if len(bends) > _MANY else slice(None)
    return RampSlopes(slopes, errors, *_mean(bends[settled], variances[settled]))


def _noise(ramps: Matrix, dq: NDArray[np.uint32]) -> Matrix:
    """Give the noise of one group of each pixel, DN, of shape (ny, nx)."""
    bad = (dq & (FLAGS["DO_NOT_USE"] | FLAGS["SATURATED"])) != 0
    bad = bad[:, 1:] | bad[:, :-1] | ((dq[:, 1:] & FLAGS["JUMP_DET"]) != 0)
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.where(bad, np.nan, np.diff(ramps, axis=1))
    steps -= np.stack([median(one) for one in steps])[:, None]  # each integration rises by its own
    steps = steps.reshape(-1, *steps.shape[2:])
    noise: Matrix = NORMAL_MAD * np.asarray(median(np.abs(steps)), np.float64) / np.sqrt(2)
    return noise


def _mean(values: Matrix, variances: Matrix) -> tuple[Matrix, Matrix]:
    there = np.isfinite(values) & np.isfinite(variances) & (variances > 0)
    weights = np.where(there, 1 / np.where(there, variances, 1.0), 0.0)
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, weights * values, 0.0).sum(axis=0) / total
        return mean, np.where(total > 0, 1 / np.sqrt(total), np.nan)
