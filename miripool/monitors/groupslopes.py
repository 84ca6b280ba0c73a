"""Slopes over some groups of a ramp: what the detector does early, or late, in an integration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import FormatError, InvalidInput
from ..model.cards import is_structural
from ..model.kinds import Ramp, RateInts, Raw
from ..query.pixelwhere import FLAGS
from .shapes import check_shapes, group_time, kept_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model.metadata import MetaData
    from ..model.product import Product

    Numbers = NDArray[np.float64]

__all__ = ["FITTED", "fit_group_slopes", "fit_lines"]

_NOT_USED: Final = FLAGS["DO_NOT_USE"] | FLAGS["SATURATED"]
_JUMP: Final = FLAGS["JUMP_DET"]
_AXES: Final = 4
_FEWEST: Final = 3
"""Groups of a slope whose error is known."""
FITTED: Final = "FITGRPS"
"""Keyword with the groups that slopes were fitted to."""
_OF_THE_FILE: Final = frozenset({"FILENAME", "FILETYPE", "DATAMODL", "COMMENT", "HISTORY"})
_BLOCK_BYTES: Final = 1 << 26
"""Of a ramp that are fitted at once."""


def fit_group_slopes(product: Product, first: int, last: int) -> RateInts:
    """Fit a line to the groups `first` to `last` of each pixel and integration, by least squares.

    Groups flagged DO_NOT_USE or SATURATED are left out; of a Raw, the first and the last group are left out, as the
    pipeline does. Where the pipeline found a jump, the line may jump there: the slope is that of the parts before and
    after it together.

    Parameters
    ----------
    product : Product
        Ramp or Raw. SCI has the shape (nints, ngroups, ny, nx), DN.
    first, last : int
        Groups, from 1; both are included.

    Returns
    -------
    RateInts
        A draft with the keywords of the ramp's primary header and the name ``<name>_groups<first>-<last>``. The keyword
        FITGRPS has the groups, NGROUPS their number, and EFFINTTM the seconds from the first to the last. SCI and ERR,
        float32, DN/s, and DQ, uint32, have the shape (nints, ny, nx). ERR is the standard error from the scatter about
        the line. Where fewer than three groups are left, SCI and ERR are NaN, and DQ has DO_NOT_USE.

    Raises
    ------
    InvalidInput
        If the product is no ramp, or has no such groups.
    FormatError
        If its header does not say how much time lies between the groups, or its flags have other shapes.
    """
    if product.kind not in {Ramp.kind, Raw.kind}:
        raise InvalidInput(f"slopes are fitted to products of kind Ramp or Raw; this is a {product.kind}")
    if "SCI" not in product:
        raise FormatError("it has no dataset SCI")
    science = product["SCI"]
    if len(science.shape) != _AXES:
        raise InvalidInput(f"ramps have four axes; SCI of this {product.kind} has {len(science.shape)}")
    nints, ngroups, rows, columns = science.shape
    if last - first < _FEWEST - 1:
        raise InvalidInput(f"a slope needs {_FEWEST} groups or more, and the smaller number first; not {first}:{last}")
    if not 1 <= first < last <= ngroups:
        raise InvalidInput(f"there are no groups {first} to {last}: the ramp has the groups 1 to {ngroups}")
    seconds = group_time(product.meta)
    check_shapes(product, {"GROUPDQ": science.shape, "PIXELDQ": science.shape[-2:]})
    groups = slice(first - 1, last)
    kept = np.isin(np.arange(ngroups), kept_groups(ngroups))[groups]  # of a ramp without flags
    groupdq, pixeldq = product.get("GROUPDQ"), product.get("PIXELDQ")
    slopes = np.full((nints, rows, columns), np.nan, np.float32)
    errors = slopes.copy()
    flags = np.zeros(slopes.shape, np.uint32) if pixeldq is None else _repeated(pixeldq[...], nints)
    each = max(1, _BLOCK_BYTES // (8 * (last - first + 1) * columns))
    for i in range(nints):
        for start in range(0, rows, each):
            block = slice(start, min(start + each, rows))
            dq = None if groupdq is None else np.asarray(groupdq[i, groups, block, :], np.uint32)
            ramp = np.array(science[i, groups, block, :], np.float64)
            if groupdq is None:
                ramp[~kept] = np.nan
            slope, error, _ = fit_lines(ramp, dq)
            slope[~np.isfinite(error)] = np.nan
            slopes[i, block], errors[i, block] = slope / seconds, error / seconds
            if dq is not None:
                flags[i, block] |= np.bitwise_or.reduce(dq & ~np.uint32(FLAGS["DO_NOT_USE"]), axis=0)
    flags[~np.isfinite(errors)] |= np.uint32(FLAGS["DO_NOT_USE"])
    arrays: dict[str, Any] = {"SCI": slopes, "ERR": errors, "DQ": flags}
    return RateInts(_header(product.meta, first, last, seconds), arrays, name=f"{product.name}_groups{first}-{last}")


def _header(meta: MetaData, first: int, last: int, group_seconds: float) -> dict[str, Any]:
    """Give the keywords of the primary header, as far as they are true of slopes."""
    rows = (row for row in meta.rows() if row.hdu == 0 and not is_structural(row.key))
    names = [row.key for row in rows if row.key not in _OF_THE_FILE]
    found = {name: meta[name].value for name in names if meta[name].value is not None}
    fitted = last - first + 1
    seconds = round((fitted - 1) * group_seconds, 6)
    return {**found, "DATAMODL": "CubeModel", "NGROUPS": fitted, "EFFINTTM": seconds, FITTED: f"{first}-{last}"}


def _repeated(pixeldq: NDArray[Any], nints: int) -> NDArray[np.uint32]:
    return np.repeat(np.asarray(pixeldq, np.uint32)[None], nints, axis=0)


def fit_lines(ramp: Numbers, dq: NDArray[np.uint32] | None) -> tuple[Numbers, Numbers, Numbers]:
    """Fit lines to ramps by least squares; the parts between jumps have a common slope.

    Parameters
    ----------
    ramp : ndarray of float64, shape (ngroups, ny, nx)
        NaN where there is no value.
    dq : ndarray of uint32, shape (ngroups, ny, nx), or None
        Groups flagged DO_NOT_USE or SATURATED are left out; JUMP_DET marks the first group after a jump.

    Returns
    -------
    slope, error : ndarray of float64, shape (ny, nx)
        For each group; the error is that from the scatter about the line. NaN where there are too few groups.
    sxx : ndarray of float64, shape (ny, nx)
        Sum of the squared distances of the groups from their mean: the error is the noise of a group over its root.
    """
    good = np.isfinite(ramp)
    part = np.zeros(ramp.shape, np.int32)
    if dq is not None:
        good &= (dq & _NOT_USED) == 0
        part = np.cumsum((dq & _JUMP) != 0, axis=0, dtype=np.int32)
    x = np.broadcast_to(np.arange(len(ramp), dtype=np.float64)[:, None, None], ramp.shape)
    sxx, sxy, syy, count, parts = (np.zeros(ramp.shape[1:]) for _ in range(5))
    values = np.where(good, ramp, 0.0)
    for number in range(int(part.max(initial=0)) + 1):
        mine = good & (part == number)
        n = np.count_nonzero(mine, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            dx = np.where(mine, x - np.where(mine, x, 0).sum(axis=0) / n, 0.0)
            dy = np.where(mine, values - np.where(mine, values, 0).sum(axis=0) / n, 0.0)
        sxx += (dx * dx).sum(axis=0)
        sxy += (dx * dy).sum(axis=0)
        syy += (dy * dy).sum(axis=0)
        count += n
        parts += n > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = sxy / sxx
        free = count - parts - 1
        variance = np.maximum(syy - slope * sxy, 0.0) / free
        error = np.where((free > 0) & (sxx > 0), np.sqrt(variance / sxx), np.nan)
    return slope, error, sxx
