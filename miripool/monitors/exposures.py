"""Reading an exposure: the planes that are kept of it, and its statistics by amplifier and integration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import FormatError
from ..instruments.known import detector_named
from ..model.kinds import Ramp
from .amplifiers import AMPLIFIERS, amplifiers_of
from .ramps import read_ramps
from .robust import centre_and_sigma
from .shapes import check_shapes
from .strata import corner_of
from .summaries import PixelSummary, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..model.product import Product
    from .strata import Stratum

__all__ = ["PLANES", "TREND", "ExposureData", "read_exposure", "summary_of"]

PLANES: Final = ("rate", "error", "first", "scatter", "count")
"""Planes that are kept of an exposure, as float32; see `PixelSummary`."""

TREND: Final = np.dtype(
    [
        ("exposure", "i4"),
        ("amplifier", "u1"),
        ("integration", "i4"),
        ("median", "f4"),
        ("sigma", "f4"),
        ("noise", "f4"),
    ]
)
"""One amplifier in one integration: the median of its pixels, their robust standard deviation, and the robust standard
deviation of the differences to the integration before (after, for the first) over the root of 2; all DN/s. NaN where
there is none."""

_DO_NOT_USE: Final = 1
_RAMP_AXES: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class ExposureData:
    """What a monitor keeps of an exposure.

    Attributes
    ----------
    planes : ndarray of float32, shape (5, ny, nx)
        By `PLANES`; NaN where a pixel is not usable, and for reference pixels. Of ramps two more: see `bends.BEND`.
    trends : ndarray of `TREND`, shape (nints * 4,)
        By integration and amplifier.
    settling : float
        Median over all pixels of the first integration less the others, in errors of one integration; NaN where there
        is only one.
    integrations : int
        How many the exposure has.
    """

    planes: NDArray[np.float32]
    trends: NDArray[np.void]
    settling: float
    integrations: int


def read_exposure(product: Product, stratum: Stratum) -> ExposureData:
    """Read the rates of an exposure and reduce them.

    Parameters
    ----------
    product : Product
        RateInts, Rate or Ramp.
    stratum : Stratum
        Its stratum, which says what is monitored.

    Returns
    -------
    ExposureData
        What is kept.

    Raises
    ------
    FormatError
        If it has no rates of two or three axes, and no ramps of four; or fewer pixels than its header says.
    """
    row, column = corner_of(product.meta, stratum)
    place = slice(row, row + stratum.rows), slice(column, column + stratum.columns)
    if product.kind == Ramp.kind:
        return _read_ramp(product, stratum, place)
    rates = _cube(product, "SCI", place)
    if rates is None:
        raise FormatError("it has no dataset SCI with rates of shape (nints, ny, nx) or (ny, nx)")
    if rates.shape[1:] != (stratum.rows, stratum.columns):
        raise FormatError(f"its arrays have fewer pixels than the subarray {stratum.subarray} of its header")
    check_shapes(product, dict.fromkeys(("ERR", "DQ"), tuple(product["SCI"].shape)))
    errors, dq = _cube(product, "ERR", place), _cube(product, "DQ", place)
    return _reduce(np.array(rates, np.float32), errors, dq, stratum)


def _read_ramp(product: Product, stratum: Stratum, place: tuple[slice, slice]) -> ExposureData:
    """Reduce ramps to slopes, and keep two further planes: how much they bend, and its error."""
    if "SCI" not in product or len(product["SCI"].shape) != _RAMP_AXES:
        raise FormatError("it has no dataset SCI with ramps of shape (nints, ngroups, ny, nx)")
    check_shapes(product, {"PIXELDQ": tuple(product["SCI"].shape[-2:])})
    dq = np.asarray(product["PIXELDQ"][place])[None] if "PIXELDQ" in product else None
    ramps = read_ramps(product, place)
    if ramps.bend.shape != (stratum.rows, stratum.columns):
        raise FormatError(f"its arrays have fewer pixels than the subarray {stratum.subarray} of its header")
    data = _reduce(ramps.slopes.astype(np.float32), ramps.errors, dq, stratum)
    bend = np.stack([ramps.bend, ramps.bend_error]).astype(np.float32)
    bend[:, ~np.isfinite(data.planes[0])] = np.nan
    return replace(data, planes=np.concatenate([data.planes, bend]))


def _reduce(
    slopes: NDArray[np.float32], errors: NDArray[np.floating] | None, dq: NDArray[Any] | None, stratum: Stratum
) -> ExposureData:
    amplifier = amplifiers_of(detector_named(stratum.detector), stratum.x, stratum.columns)
    slopes[:, :, amplifier == 0] = np.nan
    if dq is not None:
        slopes[np.broadcast_to((dq & _DO_NOT_USE) != 0, slopes.shape)] = np.nan
    summary = summarise(slopes, errors)
    planes = np.stack([np.asarray(getattr(summary, name), np.float32) for name in PLANES])
    return ExposureData(planes, _trends(slopes, amplifier), _settling(summary), len(slopes))


def summary_of(planes: NDArray[np.float32]) -> PixelSummary:
    """Give the summary that some planes are, of shape (5, ny, nx); further planes are left aside."""
    return PixelSummary(*planes[: len(PLANES)])


def _cube(product: Product, name: str, place: tuple[slice, slice]) -> NDArray[Any] | None:
    """Read a part of a dataset as (nints, ny, nx); None if there is no such dataset."""
    if name not in product:
        return None
    dataset = product[name]
    if len(dataset.shape) == 3:
        return np.asarray(dataset[:, place[0], place[1]])
    return np.asarray(dataset[place])[None] if len(dataset.shape) == 2 else None


def _trends(slopes: NDArray[np.float32], amplifier: NDArray[np.intp]) -> NDArray[np.void]:
    rows = np.zeros(len(slopes) * AMPLIFIERS, TREND)
    for k, values in enumerate(_statistics(slopes, amplifier)):
        rows[k] = (0, k % AMPLIFIERS + 1, k // AMPLIFIERS + 1, *values)
    return rows


def _statistics(slopes: NDArray[np.float32], amplifier: NDArray[np.intp]) -> Iterator[tuple[float, float, float]]:
    for i, frame in enumerate(slopes):
        beside = slopes[i - 1] if i else slopes[1] if len(slopes) > 1 else None
        for number in range(1, AMPLIFIERS + 1):
            part = frame[:, amplifier == number]
            middle, sigma = centre_and_sigma(part)
            other = None if beside is None else part - beside[:, amplifier == number]
            yield middle, sigma, float("nan") if other is None else centre_and_sigma(other)[1] / 2**0.5


def _settling(summary: PixelSummary) -> float:
    sigma = summary.error * np.sqrt(summary.count.astype(np.float32))
    with np.errstate(invalid="ignore", divide="ignore"):
        pulls = (summary.first - summary.rate) / sigma
    known = pulls[np.isfinite(pulls)]
    return float(np.median(known)) if known.size else float("nan")
