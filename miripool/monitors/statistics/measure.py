"""Measuring one version: its slopes or ramps, by integration and amplifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import FormatError
from ...instruments.known import detector_of
from ...query.pixelwhere import FLAGS
from ..amplifiers import AMPLIFIERS, amplifiers_of
from ..robust import NORMAL_MAD, centre_and_sigma
from ..shapes import TELLING_ROWS, check_shapes, group_time, kept_groups, used_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from ...model.dataset import Dataset
    from ...model.metadata import MetaData
    from ...model.product import Product

    Numbers = NDArray[np.float32]
    Flags = NDArray[np.uint32]

__all__ = ["PERCENTILES", "REFERENCE_OUTPUT", "AmplifierStatistics", "measure"]

REFERENCE_OUTPUT: Final = 5
"""Number of the reference output, which is read beside the four amplifiers."""

PERCENTILES: Final = (0, 5, 16, 50, 84, 95, 100)

_NOT_USED: Final = FLAGS["DO_NOT_USE"] | FLAGS["SATURATED"]
_JUMP: Final = FLAGS["JUMP_DET"]
_BLOCK_BYTES: Final = 1 << 27
"""Of a ramp that are read at once."""
_SAMPLE: Final = 1 << 24
"""Values of an integration that noise and settling are measured from; of a larger one, every second, third … row."""
_QUIET_FROM: Final = 5
"""Group, from 0, from which the noise of differences is measured: the first groups still settle."""
_SETTLED_FROM: Final = 15
"""Group, from 0, from which the ramp counts as a line."""
_FOR_A_LINE: Final = 3
_CUBE_AXES: Final = 3
_RAMP_AXES: Final = 4
_PER_THOUSAND: Final = 1000.0


@dataclass(frozen=True, slots=True)
class AmplifierStatistics:
    """One amplifier in one integration, without reference pixels and pixels flagged DO_NOT_USE.

    Attributes
    ----------
    amplifier : int
        1 to 4: it reads columns 1, 5, 9 … of the FULL array; 5 is the reference output.
    integration : int or None
        From 1; None for the mean of an exposure.
    pixels : int
        Pixels in the statistics.
    median, sigma : float
        Of their rates, DN/s: the median, and 1.4826 times the median absolute deviation from it. The rate of a ramp is
        its rise from its first usable group to its last.
    percentiles : tuple of float
        Of the rates, DN/s; by `PERCENTILES`.
    cds_noise : float
        Robust standard deviation of the differences of successive groups (7 less 6, 9 less 8 …), DN; NaN without any.
        It is the read noise times the root of 2, and the noise of the photons.
    cosmic_rays : float
        Jumps that the pipeline found for each 1000 pixels and second; NaN where the version has no flags.
    flags : dict of str to int
        Pixels with each flag, those flagged DO_NOT_USE too; of a ramp, in any group that the pipeline uses.
    residuals : tuple of float
        Of each group: median of the pixels' values less the line through the later groups of each, DN. These are the
        groups from 16 on, or the later half if that has more. NaN for groups that the pipeline does not use; empty for
        slopes. Pixels with a jump or a saturated group are left out.
    """

    amplifier: int
    integration: int | None
    pixels: int
    median: float
    sigma: float
    percentiles: tuple[float, ...]
    cds_noise: float
    cosmic_rays: float
    flags: dict[str, int]
    residuals: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Integration:
    """What is known of an integration; all maps have the shape (ny, nx).

    `sample` has the groups of some rows, NaN where a group must not be used; `jumped` tells between which there is a
    jump. Both have the shape (ngroups, rows, nx), and no groups for slopes.
    """

    number: int | None
    rates: Numbers
    flags: Flags | None
    hits: NDArray[np.int32] | None
    seconds: float
    sample: Numbers
    jumped: NDArray[np.bool_]
    usable: NDArray[np.intp]


def measure(product: Product) -> list[AmplifierStatistics]:
    """Measure a version, by integration and amplifier.

    Parameters
    ----------
    product : Product
        Raw, Ramp, RateInts or Rate. It is read an integration at a time, in blocks of rows.

    Returns
    -------
    list of AmplifierStatistics
        By integration and amplifier; the reference output, where there is one, comes last in each integration.

    Raises
    ------
    FormatError
        If there are no rates or ramps, or the header does not say where the subarray is or, for ramps, how much time
        lies between the groups.
    """
    detector = detector_of(product.meta)
    place = detector.place(product.meta)
    science = _dataset(product, "SCI")
    if science.shape[-2:] != (place.rows, place.columns):
        raise FormatError(
            f"its SCI has {science.shape[-2]} by {science.shape[-1]} pixels, and its subarray "
            f"{place.rows} by {place.columns}"
        )
    amplifier = amplifiers_of(detector, place.x, place.columns)
    found: list[AmplifierStatistics] = []
    reference = product.get("REFOUT") if len(science.shape) == _RAMP_AXES else None
    for i, integration in enumerate(_integrations(product, science)):
        found += [_measure_one(integration, number, amplifier == number) for number in range(1, AMPLIFIERS + 1)]
        if reference is not None:
            whole = _read_ramp(reference, None, None, i, product.meta)
            found.append(_measure_one(whole, REFERENCE_OUTPUT, np.ones(reference.shape[-1], bool)))
    return found


def _dataset(product: Product, name: str) -> Dataset:
    if name not in product or len(product[name].shape) not in (2, _CUBE_AXES, _RAMP_AXES):
        raise FormatError(f"it has no dataset {name} with two, three or four axes")
    dataset: Dataset = product[name]
    return dataset


def _integrations(product: Product, science: Dataset) -> Iterator[_Integration]:
    axes = len(science.shape)
    if axes == _RAMP_AXES:
        if not science.shape[1]:
            raise FormatError("its ramps have no groups")
        reference = (*science.shape[:3], product["REFOUT"].shape[-1]) if "REFOUT" in product else ()
        check_shapes(product, {"GROUPDQ": science.shape, "PIXELDQ": science.shape[-2:], "REFOUT": reference})
        groupdq = product.get("GROUPDQ")
        pixeldq = np.asarray(product["PIXELDQ"][...], np.uint32) if "PIXELDQ" in product else None
        for i in range(science.shape[0]):
            yield _read_ramp(science, groupdq, pixeldq, i, product.meta)
        return
    check_shapes(product, {"DQ": science.shape})
    dq = product.get("DQ")
    cube = axes == _CUBE_AXES
    seconds = _number(product.meta, "EFFINTTM") * (1 if cube else _number(product.meta, "NINTS"))
    for i in range(science.shape[0] if cube else 1):
        key: Any = i if cube else ...
        rates = np.array(science[key], np.float32)
        flags = None if dq is None else np.asarray(dq[key], np.uint32)
        hits = None
        if flags is not None:
            rates[(flags & FLAGS["DO_NOT_USE"]) != 0] = np.nan
            hits = ((flags & _JUMP) != 0).astype(np.int32)
        none = np.zeros((0, *rates.shape), np.float32)
        number = i + 1 if cube else None
        yield _Integration(number, rates, flags, hits, seconds, none, none.astype(bool), np.zeros(0, np.intp))


def _read_ramp(
    science: Dataset, groupdq: Dataset | None, pixeldq: Flags | None, i: int, meta: MetaData
) -> _Integration:
    """Read one integration of a ramp, in blocks of rows."""
    groups, rows, columns = science.shape[1:]
    seconds = group_time(meta)
    usable = _usable_groups(groups, groupdq, i)
    first, last = (usable[0], usable[-1]) if len(usable) else (0, 0)
    rates = np.full((rows, columns), np.nan, np.float32)
    flags = np.zeros((rows, columns), np.uint32)
    hits = np.zeros((rows, columns), np.int32)
    step = max(1, -(-groups * rows * columns // _SAMPLE))
    sample: list[Numbers] = []
    jumped: list[NDArray[np.bool_]] = []
    each = max(32, _BLOCK_BYTES // (4 * groups * columns) // 32 * 32)
    for start in range(0, rows, each):
        block = slice(start, min(start + each, rows))
        ramp = np.array(science[i, :, block, :], np.float32)
        chosen = slice(-start % step, None, step)
        if groupdq is None:
            jumps = np.zeros(ramp[:, chosen].shape, bool)
        else:
            dq = np.asarray(groupdq[i, :, block, :], np.uint32)
            flags[block] = np.bitwise_or.reduce(dq[usable], axis=0)
            jump = (dq & _JUMP) != 0
            hits[block] = np.count_nonzero(jump[1:] & ~jump[:-1], axis=0) + jump[0]
            ramp[(dq & _NOT_USED) != 0] = np.nan
            jumps = jump[:, chosen]
        if pixeldq is not None:
            ramp[:, (pixeldq[block] & FLAGS["DO_NOT_USE"]) != 0] = np.nan
        if last > first:
            with np.errstate(invalid="ignore", over="ignore"):
                rates[block] = (ramp[last] - ramp[first]) / ((last - first) * seconds)
        sample.append(ramp[:, chosen])
        jumped.append(jumps)
    if pixeldq is not None:
        flags |= pixeldq
    known = groupdq is not None
    return _Integration(
        i + 1,
        rates,
        flags if known else None,
        hits if known else None,
        max(len(usable) - 1, 0) * seconds,
        np.concatenate(sample, axis=1),
        np.concatenate(jumped, axis=1),
        usable,
    )


def _usable_groups(groups: int, groupdq: Dataset | None, i: int) -> NDArray[np.intp]:
    """Give the groups, from 0, that the pipeline uses: the first rows of pixels tell it."""
    return kept_groups(groups) if groupdq is None else used_groups(groupdq[i, :, :TELLING_ROWS, :])


def _measure_one(integration: _Integration, number: int, columns: NDArray[np.bool_]) -> AmplifierStatistics:
    rates = integration.rates[:, columns]
    known = rates[np.isfinite(rates)]
    middle, sigma = centre_and_sigma(known)
    percentiles = np.percentile(known, PERCENTILES) if known.size else np.full(len(PERCENTILES), np.nan)
    hits = np.nan
    if integration.hits is not None and integration.seconds > 0 and known.size:
        share = integration.hits[:, columns][np.isfinite(rates)].mean()
        hits = _PER_THOUSAND * float(share) / integration.seconds
    return AmplifierStatistics(
        number,
        integration.number,
        known.size,
        middle,
        sigma,
        tuple(map(float, percentiles)),
        _cds_noise(integration, columns),
        hits,
        {} if integration.flags is None else _count_flags(integration.flags[:, columns]),
        _residuals(integration, columns),
    )


def _count_flags(flags: Flags) -> dict[str, int]:
    there = np.bitwise_or.reduce(flags, axis=None) if flags.size else 0
    return {name: int(np.count_nonzero(flags & bit)) for name, bit in FLAGS.items() if there & bit}


def _cds_noise(integration: _Integration, columns: NDArray[np.bool_]) -> float:
    """Measure the scatter of the differences of successive groups, less what all pixels share, and the pixel's mean."""
    usable = integration.usable
    quiet = usable[usable >= _QUIET_FROM]
    late = quiet if len(quiet) > 1 else usable
    pairs = [(a, b) for a, b in zip(late[::2], late[1::2], strict=False) if b == a + 1]
    if not pairs:
        return float("nan")
    ramps, jumped = integration.sample[:, :, columns], integration.jumped[:, :, columns]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        steps = np.stack([np.where(jumped[b], np.nan, ramps[b] - ramps[a]) for a, b in pairs])
        steps -= np.stack([centre_and_sigma(step)[0] for step in steps])[:, None, None]  # what all pixels share
        there = np.isfinite(steps)
        count = np.count_nonzero(there, axis=0)
        mean = np.where(there, steps, 0).sum(axis=0) / count
        away = (steps - mean) * np.sqrt(count / (count - 1.0)) if len(pairs) > 1 else steps
    away = away[np.isfinite(away)]
    return NORMAL_MAD * float(np.median(np.abs(away))) if away.size else float("nan")


def _residuals(integration: _Integration, columns: NDArray[np.bool_]) -> tuple[float, ...]:
    """Give the median of the pixels' groups less the line through the later groups of each pixel."""
    groups, usable = len(integration.sample), integration.usable
    if not groups:
        return ()
    nothing = tuple(np.full(groups, np.nan).tolist())
    late = max(usable[usable >= _SETTLED_FROM], usable[len(usable) // 2 :], key=len)
    ramps = integration.sample[:, :, columns].reshape(groups, -1)
    jumped = integration.jumped[:, :, columns].reshape(groups, -1)
    ramps = ramps[:, np.isfinite(ramps[usable]).all(axis=0) & ~jumped[usable].any(axis=0)].astype(np.float64)
    if len(late) < _FOR_A_LINE or not ramps.size:
        return nothing
    x = late - late.mean()
    slope = x @ ramps[late] / (x @ x)
    level = ramps[late].mean(axis=0)
    found = np.full(groups, np.nan)
    for group in usable:
        found[group] = np.median(ramps[group] - level - slope * (group - late.mean()))
    return tuple(found.tolist())


def _number(meta: Mapping[str, Any], key: str) -> float:
    value = meta[key].value if key in meta else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")
